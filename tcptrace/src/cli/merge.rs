//! The arguments of `tcptrace merge`.

use super::{Command, FilterText, LineWidth, parse};
use clap::error::ErrorKind;
use std::path::PathBuf;
use tcptrace_common::wire::tunnel::Decap;

/// The arguments of `merge` as typed.
#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Capture files, or lines of JSON, each of one vantage
    ///
    /// Each may be compressed with gzip or zstd, and one may be `-`, the standard input. Of `tcptrace --json` the lines have to have
    /// the segments: `--events all`. `NAME=FILE` gives a vantage another name than that of its file. Where nothing else tells which
    /// vantage is nearer to the clients, the first is.
    #[arg(value_name = "[NAME=]FILE", required = true, num_args = 2.., value_parser = VantageFile::parse)]
    files: Vec<VantageFile>,

    /// Only connections that match, in tcpdump's language
    ///
    /// Behind a translation of addresses, name what is the same everywhere. [default: all connections]
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,

    /// Tell of each connection, not only of what is odd
    ///
    /// Without this the text is about connections that lost something, or to which something came from between.
    #[arg(long)]
    all: bool,

    /// Print JSON: a line a connection, and one for all
    ///
    /// All connections are told of. `tcptrace schema merge` prints the JSON Schema.
    #[arg(long)]
    json: bool,

    /// How wide text is: a number of columns, or none
    ///
    /// [default: as wide as the terminal, and 80 in a pipe or file]
    #[arg(long, value_name = "COLUMNS", value_parser = LineWidth::parse)]
    width: Option<LineWidth>,

    /// Look into tunnels too: all, or those in LIST
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap)]
    decap: Option<Decap>,
}

/// The file of a vantage, and what the vantage is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VantageFile {
    /// The name that was given.
    pub name: Option<String>,
    /// The file.
    pub path: PathBuf,
}

impl VantageFile {
    /// Parses `NAME=FILE` or `FILE`. A file whose own name has an equals sign is given with its folder, as in `./a=b`.
    #[expect(clippy::unnecessary_wraps, reason = "a parser of clap's can fail")]
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !name.contains('/') && !path.is_empty() => {
                Self { name: Some(name.to_owned()), path: path.into() }
            }
            _ => Self { name: None, path: text.into() },
        })
    }
}

/// What `tcptrace merge` is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeConfig {
    /// The files, each of one vantage.
    pub files: Vec<VantageFile>,
    /// The expression that chooses connections.
    pub filter: FilterText,
    /// Whether connections are told of about which there is nothing to say.
    pub all: bool,
    /// Whether lines of JSON are printed.
    pub json: bool,
    /// How wide text is.
    pub width: LineWidth,
    /// The tunnels that are looked into.
    pub decap: Decap,
}

impl MergeArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        if self.files.iter().filter(|file| file.path.as_os_str() == "-").count() > 1 {
            let message = "the standard input can be the file of one vantage only\n";
            return Err(clap::Error::raw(ErrorKind::ValueValidation, message));
        }
        Ok(Command::Merge(MergeConfig {
            files: self.files,
            filter: FilterText::Given(self.filter),
            all: self.all,
            json: self.json,
            width: self.width.unwrap_or_default(),
            decap: self.decap.unwrap_or(Decap::NONE),
        }))
    }
}

//! The arguments of `tcptrace report`.

use super::{Command, FilterText, parse};
use std::path::PathBuf;
use tcptrace_common::wire::tunnel::Decap;

/// The arguments of `report` as typed.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Captures, or files of JSON lines
    ///
    /// They may be compressed with gzip or zstd, and `-` is the standard input. Captures are read as one trace. Of `tcptrace --json`
    /// the lines have the segments for ladders with `--events all`.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Only connections that match, in tcpdump's language
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,

    /// Look into tunnels too: all, or those in LIST
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap)]
    decap: Option<Decap>,

    /// Write the page to a file
    ///
    /// A file that is there is replaced once the page is whole, and only its owner can read a new one. [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `tcptrace report` is to make a page of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportConfig {
    /// The captures and files of JSON lines.
    pub files: Vec<PathBuf>,
    /// The expression that chooses connections.
    pub filter: FilterText,
    /// The tunnels that are looked into.
    pub decap: Decap,
    /// Where the page goes; `None` for the standard output.
    pub output: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn command(self) -> Command {
        let Self { files, filter, decap, output } = self;
        Command::Report(ReportConfig {
            files,
            filter: FilterText::Given(filter),
            decap: decap.unwrap_or(Decap::NONE),
            output: output.filter(|path| path.as_os_str() != "-"),
        })
    }
}

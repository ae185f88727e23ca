//! The arguments of `tcptrace show`.

use super::{Command, FilterText, LineWidth, parse};
use std::path::PathBuf;
use tcptrace_common::wire::tunnel::Decap;

/// The arguments of `show` as typed.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Capture file, or lines of JSON
    ///
    /// It may be compressed with gzip or zstd, and `-` is the standard input. Of `tcptrace --json` the lines have to have the
    /// segments: `--events all`.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Connection's number, or a filter in tcpdump's language
    ///
    /// The number is the `id` in JSON. [default: all connections]
    #[arg(value_name = "ID|FILTER")]
    which: Vec<String>,

    /// Draw the first connection that matches in SVG
    #[arg(long)]
    svg: bool,

    /// How wide text is: columns from 72 on
    ///
    /// [default: as wide as the terminal, and 80 in a pipe or file]
    #[arg(long, value_name = "COLUMNS", value_parser = LineWidth::parse)]
    width: Option<LineWidth>,

    /// Look into tunnels too: all, or those in LIST
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap)]
    decap: Option<Decap>,
}

/// What `tcptrace show` is to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowConfig {
    /// The capture file, or the file of JSON lines.
    pub file: PathBuf,
    /// The only connection that is drawn, by its number; `None` where the filter chooses.
    pub only: Option<u64>,
    /// The expression that chooses connections.
    pub filter: FilterText,
    /// Whether the first ladder is drawn as a picture in SVG, and no other.
    pub svg: bool,
    /// How wide text is.
    pub width: LineWidth,
    /// The tunnels that are looked into.
    pub decap: Decap,
}

impl ShowArgs {
    pub(super) fn command(self) -> Command {
        let only = match &self.which[..] {
            [one] => one.parse().ok(),
            _ => None,
        };
        let filter = if only.is_some() { String::new() } else { self.which.join(" ") };
        Command::Show(ShowConfig {
            file: self.file,
            only,
            filter: FilterText::Given(filter),
            svg: self.svg,
            width: self.width.unwrap_or_default(),
            decap: self.decap.unwrap_or(Decap::NONE),
        })
    }
}

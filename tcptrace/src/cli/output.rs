//! Arguments that say what is printed, and how.

use super::{Only, habits, parse};
use crate::{
    event::{Kind, Kinds},
    sink::text::TimeFormat,
};
use clap::ArgAction;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Arguments that say what is printed, and how, as typed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub(super) struct OutputArgs {
    /// Print one JSON object a line (see `tcptrace schema`)
    #[arg(long)]
    json: bool,

    /// Shorter JSON: no field that is null, false or [].
    ///
    /// What reads the lines takes a field that is missing for null, false or an empty array, as the schema has it. It holds for
    /// all JSON, also that in files.
    #[arg(long, hide_short_help = true)]
    compact: bool,

    /// Kinds of events to print, such as connection,stats.
    ///
    /// LIST names them, separated by commas: established, connection, stats, transition, segment, anomaly, icmp_error, start, or
    /// all. `connection` alone has all times of a handshake, `established` tells them at once and has the options of both ends.
    /// With --json `start` comes first in any case. [default: established,connection, and stats with --json or --stats-interval]
    #[expect(clippy::doc_markdown, reason = "printed as it stands")]
    #[arg(long, value_name = "LIST", value_parser = parse::kinds, conflicts_with = "verbose", hide_short_help = true)]
    events: Option<Kinds>,

    /// Print each change of state; twice (-vv): each segment.
    ///
    /// The changes are those of both ends, and with them come segments that cannot be, and ICMP errors. The segments are those of
    /// a lifecycle.
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,

    /// Report a connection once, not on each interface.
    ///
    /// It is reported as seen nearest to one of its ends, a tenth of a second later, and with the path of interfaces that it was
    /// seen on.
    #[arg(long)]
    once: bool,

    /// No notices and no summary on stderr.
    ///
    /// Errors are still reported. With --output there are no events on stdout either.
    #[arg(short, long)]
    quiet: bool,

    /// Names of hosts, ports and units.
    ///
    /// The system's resolver is asked for names of hosts, by a process without rights, and may ask the network for them. A live
    /// trace does not wait for it: a name that is not known yet is in a later line. Only lines on stdout have names.
    #[arg(short = 'N', long, conflicts_with = "json", hide_short_help = true)]
    names: bool,

    /// How lines say when, as in tcpdump: -t to -ttttt.
    ///
    /// Not at all (-t), in seconds since 1970 (-tt), as time since the line before (-ttt), with the date (-tttt), or as time
    /// since the first line (-ttttt). [default: local time of day]
    #[arg(short = 't', action = ArgAction::Count, conflicts_with = "json", hide_short_help = true)]
    times: u8,

    /// How lines say when, by name
    #[arg(long, value_name = "HOW", value_enum, conflicts_with_all = ["times", "json"], hide_short_help = true)]
    time: Option<Time>,

    /// Times of day in UTC, not local.
    ///
    /// That is also so in the names of files. Times in JSON are always UTC.
    #[arg(long, hide_short_help = true)]
    utc: bool,

    /// When text has colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, hide_short_help = true)]
    color: Color,

    /// How wide text is at most: columns, or `none`.
    ///
    /// There are 40 columns at least. What is longer goes on below, and words that only explain are left out. `none` leaves lines
    /// as long as they are. [default: as wide as the terminal, and none in a pipe or file]
    #[arg(long, value_name = "COLUMNS", value_parser = LineWidth::parse, hide_short_help = true)]
    width: Option<LineWidth>,

    /// Print counters, loss and cost this often.
    ///
    /// DURATION is from 100ms to 24h, such as 10s or 1m. [default: in the end only]
    #[arg(long, value_name = "DURATION", value_parser = parse::stats_interval, hide_short_help = true)]
    pub(super) stats_interval: Option<Duration>,
}

impl OutputArgs {
    /// The kinds of events that are written in a format.
    pub(super) fn kinds(&self, format: Format) -> Kinds {
        self.events.unwrap_or_else(|| kinds(self.verbose, format, self.stats_interval.is_some()))
    }

    /// Refuses `--compact` where neither stdout nor the file, whose format is `file`, has JSON.
    pub(super) fn check_compact(&self, file: Format) -> Result<(), clap::Error> {
        if self.compact && !self.json && file != Format::Json {
            let line = "--compact is about JSON: it needs --json, or --output FILE.jsonl\n";
            return Err(clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, line));
        }
        Ok(())
    }

    pub(super) fn config(&self, only: Only) -> Result<OutputConfig, clap::Error> {
        let format = if self.json { Format::Json } else { Format::Text };
        let events = self.kinds(format);
        let times = match self.time {
            Some(time) => time.format(),
            None => habits::times(self.times).ok_or_else(|| {
                clap::Error::raw(clap::error::ErrorKind::TooManyValues, "'-t' is given five times at most\n")
            })?,
        };
        Ok(OutputConfig {
            format,
            compact: self.compact,
            events,
            times,
            utc: self.utc,
            names: self.names,
            only,
            color: self.color,
            width: self.width.unwrap_or_default(),
            quiet: self.quiet,
            once: self.once,
        })
    }
}

/// What to print, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct OutputConfig {
    /// Lines for people or for programs.
    pub format: Format,
    /// Whether JSON is without fields that are null, false or empty.
    pub compact: bool,
    /// The kinds of events that are printed.
    pub events: Kinds,
    /// Which of the connections are printed.
    pub only: Only,
    /// How text says when something was.
    pub times: TimeFormat,
    /// Whether times of day are those of UTC, and not local.
    pub utc: bool,
    /// Whether text has names for addresses and ports.
    pub names: bool,
    /// Whether text has colour.
    pub color: Color,
    /// How wide text is.
    pub width: LineWidth,
    /// Whether notices and the summary are left out on stderr.
    pub quiet: bool,
    /// Whether each connection is reported once, however many interfaces it passes.
    pub once: bool,
}

impl OutputConfig {
    /// The time zone of times of day. The local one is read from a file, which cannot be opened once the process is confined.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        if self.utc { TimeZone::UTC } else { TimeZone::system() }
    }
}

/// The names of the formats in which lines say when something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Time {
    /// Time of day, after the date where the day changes
    Day,
    /// Date and time
    Date,
    /// Seconds since 1970
    Epoch,
    /// Time since the first line
    Relative,
    /// Time since the line before
    Delta,
    /// Not at all
    None,
}

impl Time {
    const fn format(self) -> TimeFormat {
        match self {
            Self::Day => TimeFormat::OfDay,
            Self::Date => TimeFormat::Date,
            Self::Epoch => TimeFormat::Epoch,
            Self::Relative => TimeFormat::SinceFirst,
            Self::Delta => TimeFormat::SincePrevious,
            Self::None => TimeFormat::None,
        }
    }
}

/// Lines for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether text has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// In a pipe or file too
    Always,
    /// Nowhere
    Never,
}

impl Color {
    /// Whether text is coloured, given whether stdout is a terminal and the value of `NO_COLOR`
    /// (<https://no-color.org>: any value but the empty one means no).
    #[must_use]
    pub fn enabled(self, is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
        match self {
            Self::Auto => is_terminal && no_color.is_none_or(std::ffi::OsStr::is_empty),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// How wide text is at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineWidth {
    /// As wide as the terminal that the text goes to; without a limit where it goes anywhere else.
    #[default]
    Terminal,
    /// At most so many columns.
    Columns(u16),
    /// Without a limit.
    Endless,
}

impl LineWidth {
    /// Parses the value of `--width`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        /// A time, an outcome and the shortest addresses fit into so many columns.
        const LEAST: u16 = 40;
        match (text, text.parse()) {
            ("none", _) => Ok(Self::Endless),
            (_, Ok(columns @ LEAST..)) => Ok(Self::Columns(columns)),
            _ => Err(format!(
                "a number of columns from {LEAST} to {} is needed, such as 100, or none",
                u16::MAX
            )),
        }
    }
}

/// The kinds of events that are printed where `--events` does not name them: the default, and what `-v` and `-vv` add
/// to it.
fn kinds(verbosity: u8, format: Format, stats_interval: bool) -> Kinds {
    let mut kinds = Kinds::NONE.with(Kind::Established).with(Kind::Connection);
    // Text has the summary for what the last stats say.
    if format == Format::Json || stats_interval {
        kinds = kinds.with(Kind::Stats);
    }
    if format == Format::Json {
        kinds = kinds.with(Kind::Start);
    }
    if verbosity >= 1 {
        kinds = kinds.with(Kind::Anomaly).with(Kind::IcmpError).with(Kind::Transition);
    }
    if verbosity >= 2 {
        kinds = kinds.with(Kind::Segment);
    }
    kinds
}

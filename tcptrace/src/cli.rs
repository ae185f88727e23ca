//! The command line: arguments, validated by clap, become a [`Command`]; nothing here has side effects.

mod args;
mod habits;
mod parse;

pub use args::Args;
pub use habits::meant;

use crate::{
    event::{Event, Kind, Kinds},
    kernel::{attach, namespaces::Namespaces},
    sink::{summary::By, text::Times},
};
use std::{path::PathBuf, time::Duration};
use tcptrace_common::{admission::Admission, wire::tunnel::Decap};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Trace connections.
    Trace(Box<Config>),
    /// List the interfaces that can be traced.
    ListInterfaces {
        /// Those in here.
        netns: Namespaces,
    },
    /// Tell what is there before a trace, and whether it could begin.
    Check(CheckConfig),
    /// Print the JSON Schema of the events.
    Schema,
}

/// What to look at before a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// Those that would be traced.
    pub interfaces: Interfaces,
    /// The network namespaces that they are in.
    pub netns: Namespaces,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// Tunnels that would be looked into.
    pub decap: Decap,
    /// Bytes of the ring that would be made.
    pub ring_bytes: u32,
    /// One JSON object instead of lines for people.
    pub json: bool,
}

impl CheckConfig {
    /// Not each of the interfaces was asked for by its name: a trace leaves out those that it cannot attach to.
    #[must_use]
    pub fn may_leave_out(&self) -> bool {
        self.netns == Namespaces::All || self.interfaces == Interfaces::Any
    }
}

/// How to trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the packets come from.
    pub input: Input,
    /// The network namespaces that the interfaces are in.
    pub netns: Namespaces,
    /// Which connections.
    pub filter: FilterText,
    /// Write the lifecycle segments to this pcapng file; `-` is the standard output, which then has no events.
    pub write: Option<PathBuf>,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// What to print.
    pub output: OutputConfig,
    /// End after this many connections were reported.
    pub count: Option<u64>,
    /// End after so long.
    pub duration: Option<Duration>,
    /// Print the summary so far this often.
    pub summary_interval: Option<Duration>,
    /// What the summary sums connections up by, each once.
    pub summary_by: Vec<By>,
    /// Of these, rows for so many of the busiest.
    pub summary_top: usize,
    /// A `stats` event this often, besides the one at the end.
    pub stats_interval: Option<Duration>,
    /// Bounds of the tracker.
    pub limits: Limits,
    /// Bytes of the ring buffer between the kernel and this process: a power of two.
    pub ring_bytes: u32,
    /// The part of connections that is followed at most.
    pub sample: Admission,
    /// How late after it happened something may be told of.
    pub latency: Duration,
    /// Which tunnels are looked into.
    pub decap: Decap,
    /// Log what the kernel programs log.
    pub kernel_log: bool,
}

impl Config {
    /// More than one interface can occur, so that the output has to say which.
    #[must_use]
    pub fn has_many_interfaces(&self) -> bool {
        self.netns == Namespaces::All || self.input.has_many_interfaces()
    }
}

/// Where the filter expression is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterText {
    /// On the command line; empty for all connections.
    Given(String),
    /// In this file.
    File(PathBuf),
}

/// Where the packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// From interfaces, as they pass.
    Live(Interfaces),
    /// From capture files, at least one; `-` is the standard input.
    Files(Vec<PathBuf>),
}

impl Input {
    /// More than one interface can occur, so that the output has to say which.
    #[must_use]
    pub fn has_many_interfaces(&self) -> bool {
        match self {
            Self::Live(interfaces) => interfaces.are_many(),
            // The files tell.
            Self::Files(_) => false,
        }
    }
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// The one with the default route.
    Default,
    /// All that there are, and those that come later.
    Any,
    /// These; never empty, each once.
    Named(Vec<String>),
}

impl Interfaces {
    /// More than one can occur, so that the output has to say which.
    #[must_use]
    pub fn are_many(&self) -> bool {
        match self {
            Self::Default => false,
            Self::Any => true,
            Self::Named(names) => names.len() > 1,
        }
    }
}

/// The hook for packets that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IngressHook {
    /// Traffic control: sees what the stack sees, disturbs nothing
    Tc,
    /// XDP, in the driver where it can: earlier and cheaper, but attaching may reset the link
    Xdp,
}

impl From<IngressHook> for attach::IngressHook {
    fn from(hook: IngressHook) -> Self {
        match hook {
            IngressHook::Tc => Self::Tc,
            IngressHook::Xdp => Self::Xdp,
        }
    }
}

/// What to print, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// Lines for people or for programs.
    pub format: Format,
    /// Which kinds of events.
    pub events: Kinds,
    /// Which of those.
    pub only: Only,
    /// How text says when something was.
    pub times: Times,
    /// Whether text has colour.
    pub color: Color,
    /// How wide text is.
    pub width: LineWidth,
    /// No notices and no summary on stderr.
    pub quiet: bool,
    /// Each connection once, however many interfaces it passes.
    pub once: bool,
}

/// Which connections are printed; all are counted and summed up. With neither, all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Those whose handshake failed.
    pub failed: bool,
    /// Those whose handshake took at least so long.
    pub slower: Option<Duration>,
}

impl Only {
    /// The event is printed.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        if *self == Self::default() {
            return true;
        }
        let is_slow = |ns: Option<u64>| {
            let least = self.slower.map(|least| least.as_nanos());
            least.zip(ns).is_some_and(|(least, ns)| u128::from(ns) >= least)
        };
        match event {
            Event::Established(event) => is_slow(event.times.syn_to_established_ns),
            Event::Connection(event) => {
                is_slow(event.times.syn_to_established_ns) || (self.failed && event.failed)
            }
            _ => true,
        }
    }
}

/// Lines for people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether text has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Decides, for a stdout that is or is not a terminal and the value of `NO_COLOR` (<https://no-color.org>: any
    /// value but the empty one means no).
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
    /// As the terminal is that it goes to; anywhere else without end.
    #[default]
    Terminal,
    /// So many columns.
    Columns(u16),
    /// As long as it is.
    Endless,
}

/// Bounds of the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in the table; beyond this the oldest is evicted, and said to be.
    pub max_connections: usize,
    /// No answer for this long after the last SYN (or SYN-ACK) means unanswered.
    pub syn_timeout: Duration,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
}

/// What `-v` adds to the default: none, once, twice.
pub(crate) fn kinds(verbosity: u8, format: Format, stats_interval: bool) -> Kinds {
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

//! The command line: arguments, validated by clap, become a [`Command`]; nothing here has side effects. Help, man pages and
//! completions come from this one definition.
//!
//! Each subcommand has a file with its arguments and what they become, and so has a trace. Arguments that several of
//! them take are a group in a file of its own.

mod check;
mod extcap;
mod files;
mod habits;
mod help;
mod interfaces;
mod kernel;
mod limits;
mod merge;
mod metrics;
mod output;
mod parse;
mod report;
mod selection;
mod settings;
mod show;
mod summary;
mod top;
mod trace;
mod who;

pub use check::CheckConfig;
pub use extcap::{ExtcapQuestion, PREFIX as EXTCAP_PREFIX};
pub use files::{FilesConfig, OutputFile};
pub use habits::meant;
pub use interfaces::Interfaces;
pub use kernel::IngressHook;
pub use limits::Limits;
pub use merge::{MergeConfig, VantageFile};
pub use metrics::{MetricsAddress, MetricsConfig};
pub use output::{Color, Format, LineWidth, OutputConfig};
pub use report::ReportConfig;
pub use selection::{FilterText, Only};
pub use settings::{ParseError, Source, Surroundings, parse};
pub use show::ShowConfig;
pub use trace::{Config, Input};
pub use who::Who;

use crate::kernel::namespaces::Namespaces;
use clap::{Parser, Subcommand, ValueEnum};

/// The command line as typed.
#[derive(Debug, Parser)]
#[command(name = "tcptrace", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
#[command(about = help::ABOUT, long_about = help::LONG_ABOUT)]
#[command(after_help = help::TRACE_SHORT, after_long_help = help::TRACE_LONG)]
pub struct Args {
    #[command(subcommand)]
    subcommand: Option<Sub>,

    #[command(flatten)]
    trace: trace::TraceArgs,
}

/// The subcommands as typed.
#[derive(Debug, Subcommand)]
enum Sub {
    /// Tell what a trace would attach where, and what stands in its way
    ///
    /// It looks at the interfaces, and at the programs of others on them, and has the kernel take the programs of a trace to see
    /// that it does. It attaches nothing.
    #[command(after_help = help::CHECK_SHORT, after_long_help = help::CHECK_LONG)]
    Check(check::CheckArgs),
    /// Draw connections as ladders of their segments
    ///
    /// The segments are arrows between the two ends, one below the other, with the states of both ends at the margins and the
    /// milliseconds since the first and since the one before.
    #[command(after_help = help::SHOW, after_long_help = help::SHOW)]
    Show(show::ShowArgs),
    /// Tell one story of what two or more vantages saw
    ///
    /// The connections of their files are matched by their initial sequence numbers, also where addresses are translated between
    /// them. It is told where each segment was seen and where it was lost, how the clocks differ, and who sent a RST.
    #[command(after_help = help::MERGE, after_long_help = help::MERGE)]
    Merge(merge::MergeArgs),
    /// Make a page in HTML of what happened
    ///
    /// It is one file that loads nothing: how long handshakes took, what failed and when, how long each state lasted, who reset
    /// connections, the slowest and the oddest with their ladders, and a table of connections.
    #[command(after_help = help::REPORT, after_long_help = help::REPORT)]
    Report(report::ReportArgs),
    /// Capture for Wireshark, which calls this
    ///
    /// A script of the package in Wireshark's folder for such programs makes interfaces of it there: `tcptrace-eth0` has the
    /// lifecycle segments of `eth0`.
    #[command(hide = true, override_usage = "tcptrace extcap [OPTIONS]")]
    #[command(after_help = help::EXTCAP, after_long_help = help::EXTCAP)]
    Extcap(extcap::ExtcapArgs),
    /// Show services, their connections and the ladder of one on a screen
    ///
    /// It is a trace whose connections are summed up by service, client, process, container or interface, as they come and go: how
    /// many are open and new, how many fail and why, and how long handshakes take. `?` shows the keys, and q ends it.
    #[command(after_help = help::TOP, after_long_help = help::TOP)]
    Top(Box<top::TopArgs>),
    /// Print the settings in force, and whence they are
    ///
    /// They are printed as a file that --config reads: those of the options given here, of the environment and of the file, and
    /// all others as comments with their defaults.
    #[command(after_help = help::CONFIG, after_long_help = help::CONFIG)]
    Config(Box<trace::TraceArgs>),
    /// Print the JSON Schema of the events
    ///
    /// It describes each line that `tcptrace --json` prints.
    Schema {
        /// What is described: events, or what `tcptrace merge --json` prints
        #[arg(value_enum, value_name = "OF", default_value_t = SchemaOf::Events)]
        of: SchemaOf,
    },
}

/// The lines of JSON that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// What a trace prints with --json
    Events,
    /// What merge prints with --json
    Merge,
}

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Trace connections.
    Trace(Box<Config>),
    /// List the interfaces that can be traced.
    ListInterfaces {
        /// The network namespaces whose interfaces are listed.
        netns: Namespaces,
    },
    /// Tell what is there before a trace, and whether it could begin.
    Check(CheckConfig),
    /// Draw connections of a file.
    Show(ShowConfig),
    /// Tell what several vantages saw together.
    Merge(MergeConfig),
    /// Make a page of files.
    Report(ReportConfig),
    /// Answer what Wireshark asks.
    Extcap(ExtcapQuestion),
    /// Show connections on a screen.
    Top(Box<Config>),
    /// Print this text, the settings in force.
    PrintConfig(String),
    /// Print a JSON Schema.
    Schema(SchemaOf),
}

impl Args {
    /// Turns the arguments into what is to be done. The error is one of clap's, which prints itself and chooses the
    /// exit code.
    pub fn command(self) -> Result<Command, clap::Error> {
        match self.subcommand {
            None => self.trace.command(),
            Some(Sub::Check(args)) => args.command(),
            Some(Sub::Show(args)) => Ok(args.command()),
            Some(Sub::Merge(args)) => args.command(),
            Some(Sub::Report(args)) => Ok(args.command()),
            Some(Sub::Extcap(args)) => args.command(),
            Some(Sub::Top(args)) => args.command(),
            Some(Sub::Config(args)) => args.command(),
            Some(Sub::Schema { of }) => Ok(Command::Schema(of)),
        }
    }
}

/// The values without repetitions, each in the place where it came first.
fn unique<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut unique = Vec::with_capacity(all.len());
    for one in all {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}

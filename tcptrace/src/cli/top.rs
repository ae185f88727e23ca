//! The arguments of `tcptrace top`.

use super::{
    Color, Command, Config, Format, LineWidth, Only, OutputConfig, interfaces::InterfaceArgs,
    kernel::KernelArgs, limits::LimitArgs, selection::FilterArgs, settings::SettingsFile, trace::Traced,
    who::Who,
};
use crate::{event::Kinds, sink::text::TimeFormat};
use std::path::PathBuf;

/// The arguments of `top` as typed: those of a trace that say what is traced.
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    interfaces: InterfaceArgs,

    /// Read a capture file, or lines of JSON.
    ///
    /// `-` is a capture on the standard input. What is read stays to be looked at. It may be given several times.
    #[arg(short, long, value_name = "FILE", help_heading = "Packets", conflicts_with_all = ["interfaces", "netns", "all_netns", "ingress", "process", "pod_names", "no_sockets", "ring_size", "once"])]
    read: Vec<PathBuf>,

    #[command(flatten)]
    kernel: KernelArgs,

    #[command(flatten)]
    who: Who,

    #[command(flatten)]
    filter: FilterArgs,

    /// Count a connection once, not on each interface
    #[arg(long, help_heading = "Connections")]
    once: bool,

    /// Names of hosts and ports.
    ///
    /// The system's resolver is asked for names of hosts, by a process without rights, and may ask the network for them. The screen
    /// does not wait for it: an address is a number until its name is known. Rows are found by both.
    #[arg(short = 'N', long, help_heading = "Output")]
    names: bool,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    file: SettingsFile,
}

impl TopArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        let output = OutputConfig {
            names: self.names,
            compact: false,
            utc: false,
            format: Format::Text,
            events: Kinds::NONE,
            times: TimeFormat::Date,
            only: Only::default(),
            color: Color::Auto,
            width: LineWidth::Terminal,
            quiet: false,
            once: self.once,
        };
        let traced = Traced {
            interfaces: self.interfaces,
            read: self.read,
            kernel: self.kernel,
            who: self.who,
            filter: self.filter.config(),
            limits: self.limits,
        };
        Ok(Command::Top(Box::new(Config { screen: true, ..traced.config(output)? })))
    }
}

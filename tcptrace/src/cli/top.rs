//! The arguments of `tcptrace top`.

use super::{
    Color, Command, Config, FilesConfig, Format, Input, LineWidth, Only, OutputConfig,
    interfaces::InterfaceArgs, kernel::KernelArgs, limits::LimitArgs, selection::FilterArgs,
    settings::SettingsFile, who::Who,
};
use crate::{event::Kinds, sink::files::Rotation, sink::text::TimeFormat};
use std::path::PathBuf;

/// The arguments of `top` as typed: those of a trace that say what is traced.
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    interfaces: InterfaceArgs,

    /// Read a capture file, or lines of JSON.
    ///
    /// `-` is a capture on the standard input. What is read stays to be looked at. It may be given several times.
    #[arg(short, long, value_name = "FILE", help_heading = "Packets", conflicts_with_all = ["interfaces", "netns", "all_netns", "ingress", "process", "no_sockets", "ring_size", "once"])]
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

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    file: SettingsFile,
}

impl TopArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        let (interfaces, netns) = self.interfaces.config()?;
        let kernel = self.kernel.config();
        Ok(Command::Top(Box::new(Config {
            input: if self.read.is_empty() { Input::Live(interfaces) } else { Input::files(self.read)? },
            netns,
            filter: self.filter.config(),
            write: None,
            ingress: kernel.ingress,
            output: OutputConfig {
                names: false,
                utc: false,
                format: Format::Text,
                events: Kinds::NONE,
                times: TimeFormat::Date,
                only: Only::default(),
                color: Color::Auto,
                width: LineWidth::Terminal,
                quiet: false,
                once: self.once,
            },
            files: FilesConfig { output: None, mode: 0o600, rotation: Rotation::default() },
            count: None,
            duration: None,
            summary_interval: None,
            summary_by: Vec::new(),
            summary_top: 0,
            stats_interval: None,
            metrics: None,
            limits: self.limits.config(),
            ring_bytes: kernel.ring_bytes,
            sockets: kernel.sockets,
            processes: kernel.processes || self.who.wants_processes(),
            who: self.who,
            first_byte: kernel.first_byte,
            server_name: kernel.server_name,
            sample: self.limits.sample,
            latency: self.limits.latency,
            decap: kernel.decap,
            kernel_log: false,
            screen: true,
        })))
    }
}

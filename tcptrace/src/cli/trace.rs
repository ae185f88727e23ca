//! The arguments of a trace, which is what tcptrace does without a subcommand.

use super::{
    Command, FilesConfig, FilterText, IngressHook, Interfaces, Limits, MetricsConfig, OutputConfig,
    files::FileArgs, habits::HabitArgs, interfaces::InterfaceArgs, kernel::KernelArgs, limits::LimitArgs,
    metrics::MetricsArgs, output::OutputArgs, parse, selection::SelectionArgs, settings::SettingsFile,
    summary::SummaryArgs, who::Who,
};
use crate::{
    event::Kinds,
    kernel::namespaces::Namespaces,
    sink::{files::Rotation, summary::GroupBy},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tcptrace_common::{admission::Admission, wire::tunnel::Decap};

/// The arguments of a trace as typed.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    #[command(flatten)]
    interfaces: InterfaceArgs,

    /// List the interfaces and exit
    // No other option than --netns and --all-netns has an effect on the list.
    #[arg(short = 'D', long, hide_short_help = true, help_heading = "Interfaces", conflicts_with_all = ["interfaces", "read", "write", "decap", "first_byte", "ingress", "process", "pod_names", "no_sockets", "server_name", "Who", "ring_size", "filter", "filter_file", "failed", "slower", "count", "duration", "OutputArgs", "FileArgs", "SummaryArgs", "MetricsArgs", "LimitArgs", "kernel_log"])]
    list_interfaces: bool,

    /// Read a capture file; `-` is the standard input.
    ///
    /// It is pcap or pcapng, also in gzip or zstd. Given several times, the files are read as one trace, in the order of their
    /// first packets.
    #[arg(short, long, value_name = "FILE", help_heading = "Packets", conflicts_with_all = ["interfaces", "netns", "all_netns", "ingress", "process", "pod_names", "no_sockets", "Who", "ring_size", "kernel_log", "stats_interval", "duration", "summary_interval", "MetricsArgs"])]
    read: Vec<PathBuf>,

    /// Write the segments of lifecycles to a pcapng file.
    ///
    /// These are the headers of lifecycle segments and of ICMP errors about them, for Wireshark. `-` is the standard output, and
    /// no events are printed then. Files may rotate as those of --output do.
    #[arg(short, long, value_name = "FILE", help_heading = "Packets")]
    write: Option<PathBuf>,

    #[command(flatten)]
    kernel: KernelArgs,

    #[command(flatten)]
    who: Who,

    #[command(flatten)]
    selection: SelectionArgs,

    /// Exit once COUNT connections have ended.
    ///
    /// What is still open then is not reported.
    #[arg(short, long, help_heading = "Connections", value_parser = parse::count)]
    count: Option<u64>,

    /// End the trace after this long, as Ctrl-C does.
    ///
    /// DURATION is from 1s to 8760h, such as 90s or 1m30s.
    #[arg(long = "for", value_name = "DURATION", help_heading = "Connections", value_parser = parse::span)]
    duration: Option<Duration>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    summary: SummaryArgs,

    #[command(flatten)]
    metrics: MetricsArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    habits: HabitArgs,

    #[command(flatten)]
    file: SettingsFile,

    /// Log what the kernel programs log, to stderr
    #[arg(long, help_heading = "Debugging", hide_short_help = true)]
    kernel_log: bool,
}

impl TraceArgs {
    pub(super) fn command(self) -> Result<Command, clap::Error> {
        self.habits.check()?;
        if self.list_interfaces {
            let (_, netns) = self.interfaces.config()?;
            return Ok(Command::ListInterfaces { netns });
        }
        self.config().map(|config| Command::Trace(Box::new(config)))
    }

    fn config(self) -> Result<Config, clap::Error> {
        let (filter, only) = self.selection.config();
        let mut output = self.output.config(only)?;
        let file = self.files.format(output.format).map(|format| (format, self.output.kinds(format)));
        self.output.check_compact(file.map_or(output.format, |(format, _)| format))?;
        let has_file = file.is_some();
        let files = self.files.config(file, self.write.as_deref())?;
        if self.write.as_deref() == Some(Path::new("-")) || (has_file && output.quiet) {
            output.events = Kinds::NONE;
        }
        let summary = self.summary.config();
        let traced = Traced {
            interfaces: self.interfaces,
            read: self.read,
            kernel: self.kernel,
            who: self.who,
            filter,
            limits: self.limits,
        };
        Ok(Config {
            write: self.write,
            files,
            count: self.count,
            duration: self.duration,
            summary_interval: summary.interval,
            summary_by: summary.by,
            summary_top: summary.top,
            stats_interval: self.output.stats_interval,
            metrics: self.metrics.config(),
            kernel_log: self.kernel_log,
            ..traced.config(output)?
        })
    }
}

/// The arguments that say what is traced, and how, whatever becomes of it.
pub(super) struct Traced {
    pub(super) interfaces: InterfaceArgs,
    pub(super) read: Vec<PathBuf>,
    pub(super) kernel: KernelArgs,
    pub(super) who: Who,
    pub(super) filter: FilterText,
    pub(super) limits: LimitArgs,
}

impl Traced {
    /// A trace that writes no files and no summary, and ends with what it traces.
    pub(super) fn config(self, output: OutputConfig) -> Result<Config, clap::Error> {
        let (interfaces, netns) = self.interfaces.config()?;
        let kernel = self.kernel.config();
        Ok(Config {
            input: if self.read.is_empty() { Input::Live(interfaces) } else { Input::files(self.read)? },
            netns,
            filter: self.filter,
            write: None,
            ingress: kernel.ingress,
            output,
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
            pod_names: kernel.pod_names,
            who: self.who,
            first_byte: kernel.first_byte,
            server_name: kernel.server_name,
            sample: self.limits.sample,
            latency: self.limits.latency,
            decap: kernel.decap,
            kernel_log: false,
            screen: false,
        })
    }
}

/// How to trace.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Config {
    /// Where the packets come from.
    pub input: Input,
    /// The network namespaces that the interfaces are in.
    pub netns: Namespaces,
    /// The expression that chooses connections.
    pub filter: FilterText,
    /// The pcapng file that lifecycle segments are written to; `-` is the standard output, which then has no events.
    pub write: Option<PathBuf>,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// What to print.
    pub output: OutputConfig,
    /// What the files are that are written.
    pub files: FilesConfig,
    /// The trace ends after this many connections were reported.
    pub count: Option<u64>,
    /// The trace ends after so long.
    pub duration: Option<Duration>,
    /// How often the summary so far is printed.
    pub summary_interval: Option<Duration>,
    /// What the summary sums connections up by, each once.
    pub summary_by: Vec<GroupBy>,
    /// How many of the busiest clients, servers or services have a row of their own in the summary.
    pub summary_top: usize,
    /// How often a `stats` event comes, besides the one at the end.
    pub stats_interval: Option<Duration>,
    /// Where metrics are served, if they are.
    pub metrics: Option<MetricsConfig>,
    /// Bounds of the tracker.
    pub limits: Limits,
    /// Bytes of the ring buffer between the kernel and this process: a power of two.
    pub ring_bytes: u32,
    /// Whether the kernel programs ask this host's sockets (`--no-sockets`).
    pub sockets: bool,
    /// Whether the processes that use sockets are told (`--process`).
    pub processes: bool,
    /// The kubelet's folder of logs, if it is to tell the names of pods (`--pod-names`).
    pub pod_names: Option<PathBuf>,
    /// Who uses the sockets of the connections that are reported.
    pub who: Who,
    /// Whether connections say when their first data came (`--first-byte`).
    pub first_byte: bool,
    /// Whether the first data is read for the name of the server that is asked (`--server-name`).
    pub server_name: bool,
    /// The largest part of connections that is followed.
    pub sample: Admission,
    /// How late after it happened something may be reported.
    pub latency: Duration,
    /// The tunnels that are looked into.
    pub decap: Decap,
    /// Whether the log of the kernel programs is written to stderr.
    pub kernel_log: bool,
    /// Whether connections are shown on a screen, and nothing is printed (`tcptrace top`).
    pub screen: bool,
}

impl Config {
    /// The kinds of events that are printed, go to a file or are shown on a screen.
    #[must_use]
    pub fn events(&self) -> Kinds {
        if self.screen {
            return Kinds::ALL;
        }
        self.files.output.iter().fold(self.output.events, |all, file| all.or(file.events))
    }

    /// Whether anything is written to a file, so that stdout is not all there is.
    #[must_use]
    pub fn writes_files(&self) -> bool {
        self.files.output.is_some() || self.writes_capture()
    }

    /// Whether SIGHUP has files opened again instead of ending the trace: those that are made to be left running.
    #[must_use]
    pub fn reopens(&self) -> bool {
        self.files.output.is_some() || (self.writes_capture() && self.files.rotation.is_asked())
    }

    fn writes_capture(&self) -> bool {
        self.write.as_deref().is_some_and(|path| path != Path::new("-"))
    }

    /// Whether more than one interface can occur, so that the output has to say which.
    #[must_use]
    pub fn has_many_interfaces(&self) -> bool {
        self.netns == Namespaces::All || self.input.has_many_interfaces()
    }
}

/// Where the packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Packets come from interfaces, as they pass.
    Live(Interfaces),
    /// Packets come from capture files, at least one; `-` is the standard input.
    Files(Vec<PathBuf>),
}

impl Input {
    /// The capture files, refused if the standard input is among them twice: it can be read once.
    fn files(paths: Vec<PathBuf>) -> Result<Self, clap::Error> {
        if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            return Err(clap::Error::raw(
                clap::error::ErrorKind::ArgumentConflict,
                "'-r -' is the standard input and can be given once\n",
            ));
        }
        Ok(Self::Files(paths))
    }

    /// Whether more than one interface can occur, so that the output has to say which. Of capture files that is known
    /// only once they are open.
    #[must_use]
    pub fn has_many_interfaces(&self) -> bool {
        match self {
            Self::Live(interfaces) => interfaces.are_many(),
            // The files say it themselves (`PcapSource::has_many_interfaces`).
            Self::Files(_) => false,
        }
    }
}

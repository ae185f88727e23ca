//! The arguments as typed. Help, man page and completions come from this one definition.

use super::{
    CheckConfig, Color, Command, Config, FilterText, Format, IngressHook, Input, Interfaces, Limits,
    LineWidth, Only, OutputConfig,
    habits::{self, HabitArgs},
    kinds, parse,
};
use crate::{event::Kinds, kernel::namespaces::Namespaces, sink::summary::By};
use clap::{ArgAction, Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tcptrace_common::{admission::Admission, wire::tunnel::Decap};

/// By hand within 80 columns: what clap wraps it does not indent.
const EXAMPLES: &str = "\
Examples:
  sudo tcptrace -i eth0
      connections of eth0 as they open, fail and close
  sudo tcptrace -i any --netns blue
      on every interface of the network namespace blue, also those to come
  sudo tcptrace -i any --once
      each connection once, however many interfaces it passes, with their path
  sudo tcptrace --all-netns
      on every interface of every network namespace: of all containers, say
  sudo tcptrace -i any -v
      on every interface, with each change of state of both ends
  sudo tcptrace -i eth0 'port 443 and not net 10.0.0.0/8'
      those alone, chosen in the kernel
  sudo tcptrace -i eth0 -c 10
      the next ten, then the summary
  tcptrace -r trace.pcapng
      the same of a capture file
  tcptrace $(printf -- '-r %s ' trace.pcap*)
      of files that a capture was rotated through, as one trace
  sudo tcptrace -i eth0 --decap=vxlan
      also the connections inside of VXLAN
  sudo tcptrace -i eth0 -w life.pcapng
      keep the segments of openings and closings, for Wireshark
  sudo tcptrace -i eth0 --json | jq 'select(.outcome == \"refused\")'
      those that were refused, as JSON
  sudo tcptrace -i eth0 --json --stats-interval 10s >> events.jsonl
      leave it running
  sudo tcptrace check -i eth0
      what is there, what a trace would attach, what stands in its way

What the lines say:
  ESTABLISHED  28.820 ms  = syn 28.789 + ack 0.031
      The handshake took 28.820 ms: 28.789 from the (last) SYN to the SYN-ACK,
      which on the client's host is the network and the server, and 0.031 from
      there to the ACK, which is this host. On the server's host it is the
      other way round. Time lost in retries is named apart.
  CLOSED  66.336 ms  by client, 172 B sent, 2781 B received,
          close_wait 18.874 ms
      From the first SYN to the last ACK; who sent the first FIN; octets by
      sequence numbers, as the client sees it; and how long the other end's
      application kept its side open after that FIN.
  (incomplete) marks a connection of which records may have been lost.

Ctrl-C ends the trace with a summary on stderr. Events alone go to stdout;
times of day are local (TZ), those in JSON are UTC. Exit status: 0 done,
1 failed, 2 wrong usage.";

/// Trace TCP connections on network interfaces: how each one opened, failed or closed, and how long every step took
#[derive(Debug, Parser)]
#[command(name = "tcptrace", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 110)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Sub>,

    /// Interface to trace: a name, or `any` for all; may be given several times [default: that of the default route]
    #[arg(short, long = "interface", value_name = "IFACE", value_parser = parse::interface)]
    interfaces: Vec<String>,

    /// Network namespace that the interfaces are in: a name (as of ip netns), a path, or the number of a process in it
    #[arg(long, value_name = "NETNS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    netns: Option<String>,

    /// Trace in all network namespaces, also those to come: all interfaces, or those of the names that -i gives
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Read packets from a capture file (pcap or pcapng, also gzip or zstd); `-` is the standard input. Given several times,
    /// the files are read as one trace, in the order of their first packets
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["interfaces", "netns", "all_netns", "ingress", "ring_size", "kernel_log", "stats_interval", "duration", "summary_interval"])]
    read: Vec<PathBuf>,

    /// Also write the headers of lifecycle segments and of ICMP errors about them to a pcapng file, for Wireshark; `-` is the
    /// standard output, and no events are printed then
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// List the interfaces and exit
    // All but --netns and --all-netns would do nothing.
    #[arg(short = 'D', long, conflicts_with_all = ["interfaces", "filter", "filter_file", "read", "write", "count", "duration", "OnlyArgs", "ingress", "decap", "OutputArgs", "LimitArgs", "kernel_log"])]
    list_interfaces: bool,

    /// Exit once COUNT connections have ended and been reported; what is still open then is not
    #[arg(short, long, value_parser = parse::count)]
    count: Option<u64>,

    /// End the trace after this long, as Ctrl-C does; from 1s to 8760h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::span)]
    duration: Option<Duration>,

    /// Hook for incoming packets
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = IngressHook::Tc)]
    ingress: IngressHook,

    /// Only connections that match, in tcpdump's filter language: `host`, `net`, `port`, `portrange` with `src` and `dst`
    /// (the client and the server), `ip`, `ip6`, `vlan [ID]`, `inbound`, `outbound`, `and`, `or`, `not`, parentheses, and
    /// lists as in `port in {80 443}` [default: all]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,

    /// Read the filter from a file
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "filter")]
    filter_file: Option<PathBuf>,

    /// Look into tunnels too: `ipip`, `6in4`, `4in6`, `gre`, `erspan`, `vxlan`, `geneve`, `gtpu`, `tzsp`, separated by commas,
    /// those in UDP with a port if it is not the usual one, as in `vxlan:4790` [default: none; without LIST: all]
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap)]
    decap: Option<Decap>,

    #[command(flatten, next_help_heading = "Output")]
    output: OutputArgs,

    // Not within the others: clap knows no group of arguments that has another in it.
    #[command(flatten)]
    only: OnlyArgs,

    #[command(flatten)]
    habits: HabitArgs,

    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitArgs,

    /// Log what the kernel programs log, to stderr
    #[arg(long, help_heading = "Debugging")]
    kernel_log: bool,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Tell what is on an interface, what a trace would attach where, and what stands in its way; attaches nothing
    #[command(after_help = CHECK_STATUS)]
    Check(CheckArgs),
    /// Print the JSON Schema of the events
    Schema,
}

const CHECK_STATUS: &str = "\
Exit status: 0 a trace can begin, 1 it would fail (the lines with `problem` say
why), or this could not be found out (one line on stderr says why), 2 wrong
usage.";

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Interface that would be traced: a name, or `any` for all; may be given several times [default: that of the default route]
    #[arg(short, long = "interface", value_name = "IFACE", value_parser = parse::interface)]
    interfaces: Vec<String>,

    /// Network namespace that the interfaces are in: a name (as of ip netns), a path, or the number of a process in it
    #[arg(long, value_name = "NETNS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    netns: Option<String>,

    /// All network namespaces, also those to come: all interfaces, or those of the names that -i gives
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Hook for incoming packets that would be asked for
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = IngressHook::Tc)]
    ingress: IngressHook,

    /// Tunnels that would be looked into, as a trace takes them
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all", value_parser = parse::decap)]
    decap: Option<Decap>,

    /// Ring buffer that would be made: a power of two from 64K to 1G
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse::ring_bytes)]
    ring_size: u32,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OutputArgs {
    /// Print one JSON object a line (see `tcptrace schema`)
    #[arg(long)]
    json: bool,

    /// Kinds of events to print, separated by commas: established, connection, stats, transition, segment, anomaly, icmp_error, all;
    /// `connection` alone has all times of a handshake, `established` tells them at once and has the options of both ends; with
    /// --json `start` comes first in any case [default: established,connection, and stats with --json or --stats-interval]
    #[expect(clippy::doc_markdown, reason = "printed as it stands")]
    #[arg(long, value_name = "LIST", value_parser = parse::kinds, conflicts_with = "verbose")]
    events: Option<Kinds>,

    /// Print each change of state of both ends and segments that cannot be; twice (-vv): each segment of the lifecycle
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,

    /// Report a connection that passes several interfaces once: as seen nearest to one of its ends, a tenth of a second
    /// later, and with the path of interfaces that it was seen on
    #[arg(long)]
    once: bool,

    /// No notices and no summary on stderr; errors are still reported
    #[arg(short, long)]
    quiet: bool,

    /// How lines say when: not at all (-t), in seconds since 1970 (-tt), as time since the line before (-ttt), with the date
    /// (-tttt), or as time since the first line (-ttttt) [default: local time of day]
    #[arg(short = 't', action = ArgAction::Count, conflicts_with = "json")]
    times: u8,

    /// Print counters, loss and cost this often, such as 10s or 1m; from 100ms to 24h [default: in the end only]
    #[arg(long, value_name = "DURATION", value_parser = parse::stats_interval)]
    stats_interval: Option<Duration>,

    /// Print the summary so far on stderr this often; from 1s to 24h (and on SIGUSR1, without being asked)
    #[arg(long, value_name = "DURATION", value_parser = parse::summary_interval, conflicts_with = "quiet")]
    summary_interval: Option<Duration>,

    /// Sum connections up by `client`, `server` or `service` (a server's address and port) too, separated by commas: how
    /// many, established and failed, why, how long handshakes took, and what SYN retries lost
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse::summary_by, conflicts_with = "quiet")]
    summary_by: Vec<By>,

    /// With --summary-by, rows for so many of the busiest; the others are one row
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000), requires = "summary_by")]
    summary_top: u16,

    /// Colour in text: auto is on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, hide_possible_values = true)]
    color: Color,

    /// How wide text is at most, in columns from 40 on: what is longer goes on below, words that only explain are left out; `none`
    /// leaves it as long as it is [default: as wide as the terminal, and none in a pipe or file]
    #[arg(long, value_name = "COLUMNS", value_parser = parse::width)]
    width: Option<LineWidth>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct OnlyArgs {
    /// Print only connections whose handshake failed
    #[arg(long, help_heading = "Output", conflicts_with_all = ["events", "verbose"])]
    failed: bool,

    /// Print only handshakes that took at least this long, and their connections; with --failed also those that failed
    #[arg(long, help_heading = "Output", value_name = "DURATION", value_parser = parse::slower, conflicts_with_all = ["events", "verbose"])]
    slower: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// Connections followed at once; beyond that the oldest is given up and reported as evicted
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    max_connections: u32,

    /// Ring buffer between the kernel and tcptrace: a power of two from 64K to 1G
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse::ring_bytes)]
    ring_size: u32,

    /// Follow one connection in N, written 1/N, chosen at random; also under less load than would need it
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = parse::sample, conflicts_with = "read")]
    sample: Admission,

    /// Tell of nothing later than this after it happened; from 0ms to 10s. Less costs more wake-ups
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse::latency, conflicts_with = "read")]
    latency: Duration,

    /// Call a connection unanswered when nothing came for this long after its last SYN; from 1s to 1h
    // Linux sends its sixth and last retry 63 s after the first SYN and waits 64 s more (tcp_syn_retries, 1 s
    // doubled each time). A shorter time would call that last wait an end, or a late retry a new connection.
    #[arg(long, value_name = "DURATION", default_value = "70s", value_parser = parse::syn_timeout)]
    syn_timeout: Duration,

    /// How long TIME-WAIT lasts; from 1s to 1h
    // Linux has a fixed 60 s (include/net/tcp.h, TCP_TIMEWAIT_LEN).
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse::time_wait)]
    time_wait: Duration,
}

impl Args {
    /// What is to be done. The error is clap's own kind, to be printed as such.
    pub fn command(self) -> Result<Command, clap::Error> {
        self.habits.check()?;
        match self.command {
            Some(Sub::Check(args)) => args.config().map(Command::Check),
            Some(Sub::Schema) => Ok(Command::Schema),
            None if self.list_interfaces => {
                Ok(Command::ListInterfaces { netns: namespaces(self.netns, self.all_netns) })
            }
            None => self.config().map(|config| Command::Trace(Box::new(config))),
        }
    }

    fn config(self) -> Result<Config, clap::Error> {
        let mut output = self.output.config(self.only)?;
        if self.write.as_deref() == Some(Path::new("-")) {
            output.events = Kinds::NONE;
        }
        Ok(Config {
            input: if self.read.is_empty() {
                Input::Live(interfaces_in(self.interfaces, self.all_netns)?)
            } else {
                Input::Files(files(self.read)?)
            },
            netns: namespaces(self.netns, self.all_netns),
            filter: match self.filter_file {
                Some(path) => FilterText::File(path),
                None => FilterText::Given(self.filter.join(" ")),
            },
            ingress: self.ingress,
            write: self.write,
            stats_interval: self.output.stats_interval,
            output,
            count: self.count,
            duration: self.duration,
            summary_interval: self.output.summary_interval,
            summary_by: unique(self.output.summary_by),
            summary_top: self.output.summary_top.into(),
            ring_bytes: self.limits.ring_size,
            sample: self.limits.sample,
            latency: self.limits.latency,
            limits: self.limits.limits(),
            decap: self.decap.unwrap_or(Decap::NONE),
            kernel_log: self.kernel_log,
        })
    }
}

impl CheckArgs {
    fn config(self) -> Result<CheckConfig, clap::Error> {
        Ok(CheckConfig {
            interfaces: interfaces_in(self.interfaces, self.all_netns)?,
            netns: namespaces(self.netns, self.all_netns),
            ingress: self.ingress,
            decap: self.decap.unwrap_or(Decap::NONE),
            ring_bytes: self.ring_size,
            json: self.json,
        })
    }
}

impl OutputArgs {
    fn config(&self, OnlyArgs { failed, slower }: OnlyArgs) -> Result<OutputConfig, clap::Error> {
        let format = if self.json { Format::Json } else { Format::Text };
        let events =
            self.events.unwrap_or_else(|| kinds(self.verbose, format, self.stats_interval.is_some()));
        let times = habits::times(self.times).ok_or_else(|| {
            clap::Error::raw(clap::error::ErrorKind::TooManyValues, "'-t' is given five times at most\n")
        })?;
        let only = Only { failed, slower };
        Ok(OutputConfig {
            format,
            events,
            times,
            only,
            color: self.color,
            width: self.width.unwrap_or_default(),
            quiet: self.quiet,
            once: self.once,
        })
    }
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            max_connections: usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            syn_timeout: self.syn_timeout,
            time_wait: self.time_wait,
        }
    }
}

fn namespaces(name: Option<String>, all: bool) -> Namespaces {
    match name {
        Some(name) => Namespaces::Named(name),
        None if all => Namespaces::All,
        None => Namespaces::Own,
    }
}

/// The standard input can be read once.
fn files(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, clap::Error> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(clap::Error::raw(
            clap::error::ErrorKind::ArgumentConflict,
            "'-r -' is the standard input and can be given once\n",
        ));
    }
    Ok(paths)
}

fn interfaces_in(names: Vec<String>, all_netns: bool) -> Result<Interfaces, clap::Error> {
    Ok(match interfaces(names)? {
        // Namespaces need not have a default route, and what leaves by it would say little about them.
        Interfaces::Default if all_netns => Interfaces::Any,
        interfaces => interfaces,
    })
}

/// Each once, in the order of the first.
fn unique<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut unique = Vec::with_capacity(all.len());
    for one in all {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}

fn interfaces(names: Vec<String>) -> Result<Interfaces, clap::Error> {
    let unique = unique(names);
    let any = unique.iter().any(|name| name == "any");
    match unique.len() {
        0 => Ok(Interfaces::Default),
        1 if any => Ok(Interfaces::Any),
        _ if any => Err(clap::Error::raw(
            clap::error::ErrorKind::ArgumentConflict,
            "'-i any' means all interfaces and cannot be combined with others\n",
        )),
        _ => Ok(Interfaces::Named(unique)),
    }
}

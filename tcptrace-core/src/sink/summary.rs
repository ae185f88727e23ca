//! The summary of a trace, at its end or in the middle of it.

mod counts;
mod failures;
mod groups;
mod loss;
mod servers;
mod sockets;
mod times;

#[cfg(feature = "report")]
pub(crate) use counts::Counts;
pub use groups::GroupBy;

use super::units::{Count, Nanos};
use crate::event::{Copies, Established, Event, HandshakeStats, Outcome, OutcomeCounts, Stats};
use failures::Failures;
use groups::Groups;
pub(crate) use loss::{Lost, Unseen};
use servers::Slowest;
use sockets::Sockets;
use std::fmt::{self, Write as _};
pub(crate) use times::Distribution;

/// The length of the longest bar, in characters.
const BAR_LENGTH: u64 = 40;

/// The summary of a trace. Its memory is bounded, however many connections there are.
#[derive(Debug)]
pub struct Summary {
    outcomes: OutcomeCounts,
    established: u64,
    incomplete: u64,
    dropped: u64,
    total: Distribution,
    syn: Distribution,
    ack: Distribution,
    /// The time spent in the network and in the local host, of handshakes whose vantage tells them apart.
    network: Distribution,
    host: Distribution,
    /// The time lost in SYN retries, of the handshakes that had some.
    retries: Distribution,
    /// The time from the first request to its answer, and the server's part of that where it is known.
    answers: Distribution,
    answers_of_server: Distribution,
    failures: Failures,
    bars: Bars,
    servers: Slowest,
    sockets: Sockets,
    groups: Vec<Groups>,
    stats: Option<Box<Stats>>,
    /// Whether a filter leaves out connections.
    filtered: bool,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// The summary of a trace in which nothing was seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            outcomes: OutcomeCounts::default(),
            established: 0,
            incomplete: 0,
            dropped: 0,
            total: Distribution::new(),
            syn: Distribution::new(),
            ack: Distribution::new(),
            network: Distribution::new(),
            host: Distribution::new(),
            retries: Distribution::new(),
            answers: Distribution::new(),
            answers_of_server: Distribution::new(),
            failures: Failures::default(),
            bars: Bars::default(),
            servers: Slowest::default(),
            sockets: Sockets::default(),
            groups: Vec::new(),
            stats: None,
            filtered: false,
        }
    }

    /// Adds one event. All `established` and `connection` events should be passed, and at least the last `stats` event.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Established(event) => self.observe_established(event),
            Event::Connection(event) => {
                self.outcomes.add(event.outcome);
                self.failures.observe(event);
                self.sockets.observe(event);
                self.answers.record(event.first_data.first_response_ns);
                self.answers_of_server.record(event.first_data.first_response_server_ns);
                self.groups.iter_mut().for_each(|groups| groups.connection(event));
                self.incomplete += u64::from(!event.common.complete);
            }
            Event::Stats(stats) => self.stats = Some(stats.clone()),
            Event::Start(_)
            | Event::Segment(_)
            | Event::Transition(_)
            | Event::Anomaly(_)
            | Event::IcmpError(_) => {}
        }
    }

    fn observe_established(&mut self, event: &Established) {
        self.established += 1;
        self.total.record(event.times.syn_to_established_ns);
        self.syn.record(event.times.syn_to_synack_ns);
        self.ack.record(event.times.synack_to_ack_ns);
        self.network.record(event.times.network_rtt_ns);
        self.host.record(event.times.local_stack_ns);
        self.retries.record(event.times.syn_retry_ns.filter(|ns| *ns > 0));
        if let Some(ns) = event.times.syn_to_established_ns {
            self.bars.record(ns);
            self.servers.record(event.common.server, ns);
        }
        self.groups.iter_mut().for_each(|groups| groups.established(event));
    }

    /// The distributions of the times of handshakes so far.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeStats {
        HandshakeStats {
            syn_to_established_ns: self.total.percentiles(),
            syn_to_synack_ns: self.syn.percentiles(),
            synack_to_ack_ns: self.ack.percentiles(),
            network_rtt_ns: self.network.percentiles(),
            local_stack_ns: self.host.percentiles(),
        }
    }

    /// Records how many events were dropped in all. The last `stats` event may say less, because it was written before
    /// the last events were dropped.
    pub fn record_dropped(&mut self, events: u64) {
        self.dropped = self.dropped.max(events);
    }

    /// The summary as text for stderr.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    /// Marks the summary as one of a filtered trace, in which connections are left out on purpose.
    #[must_use]
    pub fn filtered(self) -> Self {
        Self { filtered: true, ..self }
    }

    /// Adds tables by these groups, each with as many rows for the busiest.
    #[must_use]
    pub fn by(self, all: &[GroupBy], rows: usize) -> Self {
        Self { groups: all.iter().map(|by| Groups::new(*by, rows)).collect(), ..self }
    }

    /// Writes why there are no connections, where something explains it.
    fn write_why_no_connections(&self, stats: &Stats, out: &mut String) -> fmt::Result {
        let capture = stats.capture.unwrap_or_default();
        let packets = Count(stats.packets, "packet", "packets");
        let most = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            counts.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
        };
        if let Some((kind, count)) = most(&mut capture.tunnels_passed_over.iter()) {
            return write!(out, ": {count} of {packets} are {}: try --decap", tunnel_name(kind));
        }
        if let Some((what, count)) = most(&mut capture.passed_over.iter()) {
            return write!(out, ": {count} of {packets} are {what}, which is not looked into");
        }
        // This does not hold if connections began, and were left out by a filter or for overload.
        let began = stats.segments.syn + stats.segments.synack + stats.shed.total() > 0;
        if stats.tcp_packets > 0 && !began && !self.filtered {
            let tcp = Count(stats.tcp_packets, "TCP packet", "TCP packets");
            return write!(out, ": {tcp} of connections that began before");
        }
        Ok(())
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        self.write_outcomes(out)?;
        self.write_times(out)?;
        self.write_bars(out)?;
        self.servers.write("by their slowest handshake", out)?;
        self.sockets.write(out)?;
        self.failures.write(out)?;
        self.groups.iter().try_for_each(|groups| groups.write(out))?;
        if let Some(stats) = &self.stats {
            let unseen = Unseen {
                dropped: self.dropped,
                incomplete: self.incomplete,
                evicted: self.outcomes.of(Outcome::Evicted),
            };
            writeln!(out, "\nlost: {}", Lost(stats, unseen))?;
            write_shed(stats, out)?;
            write_copies(stats, out)?;
            write_tunnels(stats, out)?;
            write_cost(stats, out)?;
        }
        Ok(())
    }

    fn write_outcomes(&self, out: &mut String) -> fmt::Result {
        let total = self.outcomes.total();
        if total == 0 && self.established == 0 {
            write!(out, "no connections seen")?;
            if let Some(stats) = &self.stats {
                self.write_why_no_connections(stats, out)?;
            }
            return writeln!(out);
        }
        write!(out, "{}", Count(total, "connection", "connections"))?;
        let mut separator = ": ";
        for outcome in Outcome::ALL {
            let count = self.outcomes.of(outcome);
            if count > 0 {
                write!(out, "{separator}{count} {}", outcome_name(outcome))?;
                separator = ", ";
            }
        }
        writeln!(out)
    }

    fn write_times(&self, out: &mut String) -> fmt::Result {
        if [&self.total, &self.syn, &self.ack, &self.answers].iter().all(|times| times.count() == 0) {
            return Ok(());
        }
        writeln!(out)?;
        write!(out, "{:18}", "handshake")?;
        for column in ["min", "p50", "p90", "p99", "max"] {
            write!(out, "  {column:>10}")?;
        }
        writeln!(out)?;
        for (name, times) in [
            ("syn to established", &self.total),
            ("  syn to syn-ack", &self.syn),
            ("  syn-ack to ack", &self.ack),
        ] {
            times.write_row(name, "", out)?;
        }
        if self.retries.count() > 0 {
            let which = format!("  (of {} with SYN retries)", self.retries.count());
            self.retries.write_row("  lost in retries", &which, out)?;
        }
        self.answers.write_row("request to answer", "", out)?;
        self.answers_of_server.write_row("  in the server", "", out)?;
        Ok(())
    }

    fn write_bars(&self, out: &mut String) -> fmt::Result {
        let bars = self.bars.filled();
        let Some(longest) = bars.iter().map(|(_, count)| *count).max().filter(|longest| *longest > 0) else {
            return Ok(());
        };
        writeln!(out, "\nsyn to established, up to")?;
        for run in bars.chunk_by(|(_, a), (_, b)| (*a == 0) == (*b == 0)) {
            // A run of two or more empty steps takes a single line.
            if let [(_, 0), _, ..] = run {
                writeln!(out, "{:>12}  {:>9}", "...", 0)?;
                continue;
            }
            for (upper, count) in run {
                // A step with any handshake has a bar of at least one character.
                let length = usize::try_from((count * BAR_LENGTH).div_ceil(longest)).unwrap_or_default();
                let bar = "#".repeat(length);
                let line = format!("{:>12}  {count:>9}  {bar}", upper.to_string());
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Writes what was not followed because of overload.
pub(crate) fn write_shed(stats: &Stats, out: &mut String) -> fmt::Result {
    let shed = stats.shed;
    if shed.total() == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "not followed: {} SYN, {} SYN-ACK, {} FIN, {} RST; outcomes and times are of the other connections, {:.1} % of all by \
         their SYNs",
        shed.syn,
        shed.synack,
        shed.fin,
        shed.rst,
        followed(stats) * 100.0
    )
}

/// The median; of an even number of values the upper one in the middle. There must be at least one value.
fn median(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut numbers: Vec<u64> = numbers.collect();
    let middle = numbers.len() / 2;
    *numbers.select_nth_unstable(middle).1
}

/// The part of the connections that is followed: by the SYNs, or if there were none, the admission rate that was in
/// force last.
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn followed(stats: &Stats) -> f64 {
    let (followed, all) = (stats.segments.syn, stats.segments.syn + stats.shed.syn);
    if all == 0 { stats.admission_rate } else { followed as f64 / all as f64 }
}

/// The usual name of a kind of tunnel that `--decap` calls `kind`.
fn tunnel_name(kind: &'static str) -> &'static str {
    match kind {
        "ipip" => "IP in IP",
        "gre" => "GRE",
        "erspan" => "ERSPAN",
        "vxlan" => "VXLAN",
        "geneve" => "Geneve",
        "gtpu" => "GTP-U",
        "tzsp" => "TZSP",
        other => other,
    }
}

/// How many times lie below each step of 1, 2, 5, 10 ... microseconds and not below the step before. They are counted
/// apart from the histogram, because its buckets do not end at these steps.
#[derive(Debug, Default)]
struct Bars([u64; 30]);

impl Bars {
    /// The steps in nanoseconds. The last one is far beyond any handshake.
    fn steps() -> impl Iterator<Item = u64> {
        (0..10).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_u64.pow(power) * 1000))
    }

    fn record(&mut self, ns: u64) {
        let place = Self::steps().position(|upper| ns < upper).unwrap_or(self.0.len() - 1);
        self.0[place] += 1;
    }

    /// The counts from the first step that has any to the last one.
    fn filled(&self) -> Vec<(Nanos, u64)> {
        let mut bars: Vec<_> =
            Self::steps().map(Nanos).zip(self.0).skip_while(|(_, count)| *count == 0).collect();
        while bars.pop_if(|(_, count)| *count == 0).is_some() {}
        bars
    }
}

pub(crate) const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Closed => "closed",
        Outcome::Reset => "reset",
        Outcome::Refused => "refused",
        Outcome::RefusedIcmp => "refused by ICMP",
        Outcome::Unanswered => "unanswered",
        Outcome::SynackUnanswered => "syn-ack unanswered",
        Outcome::Aborted => "aborted",
        Outcome::Reused => "reused",
        Outcome::Open => "open",
        Outcome::Evicted => "evicted",
    }
}

/// Writes where segments were captured twice, and what that shows of the place of the capture.
fn write_copies(stats: &Stats, out: &mut String) -> fmt::Result {
    let Copies { segments: 1.., ttl } = stats.copies else { return Ok(()) };
    write!(out, "captured twice: {}, with ", Count(stats.copies.segments, "segment", "segments"))?;
    match ttl {
        Some([first, copy]) if first == copy => {
            write!(out, "an equal TTL (a mirror port or tap of both directions)")?;
        }
        Some([first, copy]) => write!(out, "TTL {first} and {copy} (on both sides of a router)")?,
        None => write!(out, "other sequence numbers (on both sides of a device that rewrites them)")?,
    }
    writeln!(out, "; counted once")
}

/// Writes how many packets were in each kind of tunnel, where tunnels are looked into.
fn write_tunnels(stats: &Stats, out: &mut String) -> fmt::Result {
    let Some(tunnels) = &stats.tunnels else { return Ok(()) };
    write!(out, "in tunnels: ")?;
    let mut separator = "";
    for (kind, packets) in tunnels.iter().filter(|(_, packets)| *packets > 0) {
        write!(out, "{separator}{} in {kind}", Count(packets, "packet", "packets"))?;
        separator = ", ";
    }
    writeln!(out, "{}", if separator.is_empty() { "nothing" } else { "" })
}

/// Writes what the trace cost. For a file that is only the number of packets.
fn write_cost(stats: &Stats, out: &mut String) -> fmt::Result {
    let cost = &stats.cost;
    let packets = Count(stats.packets, "packet", "packets");
    let (Some(peak), Some(size @ 1..)) = (cost.ring_peak_bytes, cost.ring_bytes) else {
        return writeln!(out, "read: {packets}");
    };
    write!(out, "cost: {packets}")?;
    match (cost.kernel_ns_per_packet, cost.kernel_packets_timed) {
        (Some(ns), Some(timed)) => write!(out, " at {ns:.1} ns each in the kernel ({timed} of them timed)")?,
        (_, Some(_)) => write!(out, ", too few of them timed to say what each takes in the kernel")?,
        (_, None) => write!(out, ", kernel time not measured")?,
    }
    match (cost.kernel_cpu_percent, cost.cpu_percent) {
        (Some(there), Some(here)) => {
            write!(out, ", {there:.1} % of one CPU there and {here:.1} % in this process")?;
        }
        (None, Some(here)) => write!(out, ", {here:.1} % of one CPU in this process")?,
        _ => {}
    }
    let permille = u128::from(peak) * 1000 / u128::from(size);
    writeln!(out, ", ring at most {}.{} % full", permille / 10, permille % 10)
}

//! The summary at the end of a trace, and of a trace so far.

mod failures;
mod groups;
mod times;

pub use groups::By;

use super::units::{Count, Nanos};
use crate::event::{Address, Copies, Established, Event, HandshakeStats, Outcome, OutcomeCounts, Stats};
use failures::Failures;
use groups::Groups;
use hashbrown::HashMap;
use std::fmt::{self, Write as _};
use times::Times;

/// Servers remembered before the faster half is forgotten. What counts is each one's slowest handshake, which only
/// grows, so that the slowest few are exact; the mean of one that was forgotten in between is over what came since.
const SERVERS: usize = 4096;
/// Servers named.
const SLOWEST: usize = 5;
/// Characters of the longest bar.
const BAR: u64 = 40;

/// What a trace comes to. Its memory is bounded, however many connections it saw.
#[derive(Debug)]
pub struct Summary {
    outcomes: OutcomeCounts,
    established: u64,
    incomplete: u64,
    dropped: u64,
    total: Times,
    syn: Times,
    ack: Times,
    /// Where the vantage tells them.
    network: Times,
    host: Times,
    /// Of handshakes with SYN retries what these lost.
    retries: Times,
    failures: Failures,
    bars: Bars,
    servers: HashMap<Address, Server>,
    groups: Vec<Groups>,
    stats: Option<Box<Stats>>,
    /// A filter leaves out connections.
    filtered: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Server {
    slowest_ns: u64,
    sum_ns: u64,
    handshakes: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            outcomes: OutcomeCounts::default(),
            established: 0,
            incomplete: 0,
            dropped: 0,
            total: Times::new(),
            syn: Times::new(),
            ack: Times::new(),
            network: Times::new(),
            host: Times::new(),
            retries: Times::new(),
            failures: Failures::default(),
            bars: Bars::default(),
            servers: HashMap::new(),
            groups: Vec::new(),
            stats: None,
            filtered: false,
        }
    }

    /// Takes note of one event; every `established`, `connection` and the last `stats` event should come by.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Established(event) => self.observe_established(event),
            Event::Connection(event) => {
                self.outcomes.add(event.outcome);
                self.failures.observe(event);
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
            self.record_server(event.common.server, ns);
        }
        self.groups.iter_mut().for_each(|groups| groups.established(event));
    }

    /// How long handshakes took so far.
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

    /// Takes note of the events that were never written, those given up at the very end included: the last `stats`
    /// event was itself written before that was known.
    pub fn note_dropped(&mut self, events: u64) {
        self.dropped = self.dropped.max(events);
    }

    fn record_server(&mut self, address: Address, ns: u64) {
        let server = self.servers.entry(address).or_default();
        server.slowest_ns = server.slowest_ns.max(ns);
        server.sum_ns = server.sum_ns.saturating_add(ns);
        server.handshakes += 1;
        if self.servers.len() >= SERVERS {
            let median = median(self.servers.values().map(|server| server.slowest_ns));
            // Of those at the median itself a few stay, in case there is nothing above it.
            let mut ties = SLOWEST;
            self.servers.retain(|_, server| {
                server.slowest_ns > median
                    || (server.slowest_ns == median && ties.checked_sub(1).map(|left| ties = left).is_some())
            });
        }
    }

    /// The summary as text, for stderr.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // A String takes everything.
        let _ = self.write(&mut out);
        out
    }

    /// Some connections are left out on purpose.
    #[must_use]
    pub fn filtered(self) -> Self {
        Self { filtered: true, ..self }
    }

    /// Sums connections up by these too, with rows for so many of the busiest.
    #[must_use]
    pub fn by(self, all: &[By], rows: usize) -> Self {
        Self { groups: all.iter().map(|by| Groups::new(*by, rows)).collect(), ..self }
    }

    /// Why there are no connections, where that can be said.
    fn write_why_none(&self, stats: &Stats, out: &mut String) -> fmt::Result {
        let capture = stats.capture.unwrap_or_default();
        let packets = Count(stats.packets, "packet", "packets");
        let most = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            counts.filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count)
        };
        if let Some((kind, count)) = most(&mut capture.tunnels_passed_over.iter()) {
            return write!(out, ": {count} of {packets} are {}: try --decap", called(kind));
        }
        if let Some((what, count)) = most(&mut capture.passed_over.iter()) {
            return write!(out, ": {count} of {packets} are {what}, which is not looked into");
        }
        // Not if some began and were left out, by a filter or for overload.
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
        self.write_servers(out)?;
        self.failures.write(out)?;
        self.groups.iter().try_for_each(|groups| groups.write(out))?;
        if let Some(stats) = &self.stats {
            self.write_loss(stats, out)?;
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
                self.write_why_none(stats, out)?;
            }
            return writeln!(out);
        }
        write!(out, "{}", Count(total, "connection", "connections"))?;
        let mut separator = ": ";
        for outcome in Outcome::ALL {
            let count = self.outcomes.of(outcome);
            if count > 0 {
                write!(out, "{separator}{count} {}", name(outcome))?;
                separator = ", ";
            }
        }
        writeln!(out)
    }

    fn write_times(&self, out: &mut String) -> fmt::Result {
        if [&self.total, &self.syn, &self.ack].iter().all(|times| times.count() == 0) {
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
        Ok(())
    }

    fn write_bars(&self, out: &mut String) -> fmt::Result {
        let bars = self.bars.filled();
        let Some(longest) = bars.iter().map(|(_, count)| *count).max().filter(|longest| *longest > 0) else {
            return Ok(());
        };
        writeln!(out, "\nsyn to established, up to")?;
        for run in bars.chunk_by(|(_, a), (_, b)| (*a == 0) == (*b == 0)) {
            // Where there are many steps without any, one line shows the gap.
            if let [(_, 0), _, ..] = run {
                writeln!(out, "{:>12}  {:>9}", "...", 0)?;
                continue;
            }
            for (upper, count) in run {
                // A bar of at least one character for whatever is there.
                let length = usize::try_from((count * BAR).div_ceil(longest)).unwrap_or_default();
                let bar = "#".repeat(length);
                let line = format!("{:>12}  {count:>9}  {bar}", upper.to_string());
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }

    fn write_servers(&self, out: &mut String) -> fmt::Result {
        if self.servers.is_empty() {
            return Ok(());
        }
        let mut servers: Vec<_> = self.servers.iter().collect();
        // The address decides between equals, so that the same trace always reads the same.
        servers.sort_unstable_by_key(|(address, server)| {
            (u64::MAX - server.slowest_ns, address.ip, address.port)
        });
        writeln!(out, "\nslowest servers, by their slowest handshake")?;
        for (address, server) in servers.into_iter().take(SLOWEST) {
            let mean = server.sum_ns.checked_div(server.handshakes).unwrap_or_default();
            writeln!(
                out,
                "{:>12}  {address}  (mean {} of {})",
                Nanos(server.slowest_ns).to_string(),
                Nanos(mean),
                server.handshakes
            )?;
        }
        Ok(())
    }

    fn write_loss(&self, stats: &Stats, out: &mut String) -> fmt::Result {
        write!(out, "\nlost: ")?;
        let mut separator = "";
        let ring_full = stats.ring_full.total();
        let capture = stats.capture.unwrap_or_default();
        let cut = capture.cut_too_short;
        let not_parsed = stats.unparsable.total().saturating_sub(cut);
        for (count, one, many, what) in [
            (
                stats.interfaces_taken_off.unwrap_or_default(),
                "interface",
                "interfaces",
                "that somebody has taken the programs off",
            ),
            (stats.records_lost, "record", "records", "between kernel and tracer"),
            (ring_full, "record", "records", "for which the ring was full"),
            (
                stats.pending_overwrites,
                "expected acknowledgement",
                "expected acknowledgements",
                "overwritten",
            ),
            (
                capture.dropped_by_interface,
                "packet",
                "packets",
                "dropped by the interface when the file was taken, it does not say when",
            ),
            (
                capture.dropped_by_system,
                "packet",
                "packets",
                "dropped by the operating system when the file was taken, it does not say when",
            ),
            (capture.dropped_between_packets, "packet", "packets", "dropped between those in the file"),
            (cut, "packet", "packets", "cut too short by the snapshot length"),
            (not_parsed, "packet", "packets", "not parsable"),
            (stats.events_dropped.max(self.dropped), "event", "events", "dropped for a slow reader"),
            (self.incomplete, "connection", "connections", "incomplete"),
            (
                self.outcomes.of(Outcome::Evicted),
                "connection",
                "connections",
                "given up: there were more at once than --max-connections",
            ),
        ] {
            if count > 0 {
                write!(out, "{separator}{} {what}", Count(count, one, many))?;
                separator = ", ";
            }
        }
        let nothing = if stats.last || stats.capture.is_none() {
            "nothing"
        } else {
            "nothing that is known by now: what a capture lacks may stand at its end"
        };
        writeln!(out, "{}", if separator.is_empty() { nothing } else { "" })?;
        let shed = stats.shed;
        if shed.total() > 0 {
            writeln!(
                out,
                "not followed: {} SYN, {} SYN-ACK, {} FIN, {} RST; outcomes and times are of the other connections, {:.1} % \
                 of all by their SYNs",
                shed.syn,
                shed.synack,
                shed.fin,
                shed.rst,
                followed(stats) * 100.0
            )?;
        }
        Ok(())
    }
}

/// The one in the middle, the upper of two; there is one at least.
fn median(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut numbers: Vec<u64> = numbers.collect();
    let middle = numbers.len() / 2;
    *numbers.select_nth_unstable(middle).1
}

/// The part of connections that is followed: by their SYNs, or where there were none by what was last in force.
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
fn followed(stats: &Stats) -> f64 {
    let (followed, all) = (stats.segments.syn, stats.segments.syn + stats.shed.syn);
    if all == 0 { stats.admission_rate } else { followed as f64 / all as f64 }
}

/// How people write what `--decap` calls so.
fn called(kind: &'static str) -> &'static str {
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

/// How many times lie below each step of 1, 2, 5, 10 ... microseconds and not below the step before. Counted beside the
/// histogram, whose own buckets straddle these steps.
#[derive(Debug, Default)]
struct Bars([u64; 30]);

impl Bars {
    /// The steps: the last one is far beyond any handshake.
    fn steps() -> impl Iterator<Item = u64> {
        (0..10).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_u64.pow(power) * 1000))
    }

    fn record(&mut self, ns: u64) {
        let place = Self::steps().position(|upper| ns < upper).unwrap_or(self.0.len() - 1);
        self.0[place] += 1;
    }

    /// From the first step with any to the last.
    fn filled(&self) -> Vec<(Nanos, u64)> {
        let mut bars: Vec<_> =
            Self::steps().map(Nanos).zip(self.0).skip_while(|(_, count)| *count == 0).collect();
        while bars.pop_if(|(_, count)| *count == 0).is_some() {}
        bars
    }
}

const fn name(outcome: Outcome) -> &'static str {
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

/// Where segments were captured twice: that they were, and what that shows of the capture.
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

/// Where tunnels are looked into: packets in each kind.
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

/// Of a file there is no more to say than how many packets it had.
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

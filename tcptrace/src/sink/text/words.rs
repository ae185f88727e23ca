//! The right-hand part of each line: what happened, in words.

use crate::{
    event::{
        Anomaly, AnomalyReason, Backoff, ClosedBy, Connection, Established, HandshakeTimes, IcmpReport,
        Options, Outcome, ResetPhase, Role, SegmentEvent, State, Stats, SynackAgain, Transition,
    },
    segment::Timestamp,
    sink::units::{Bytes, Count, Millis, Nanos},
};
use std::fmt::{self, Write as _};

/// Facts, separated by commas.
pub(super) struct Details<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Details<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        Self { out, first: true }
    }

    pub(super) fn add(&mut self, fact: fmt::Arguments<'_>) -> fmt::Result {
        self.out.write_str(if std::mem::take(&mut self.first) { "  " } else { ", " })?;
        self.out.write_fmt(fact)
    }
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

fn syn_retries(count: u32) -> Count<'static> {
    Count(count.into(), "SYN retry", "SYN retries")
}

fn synack_retries(count: u32) -> Count<'static> {
    Count(count.into(), "SYN-ACK retry", "SYN-ACK retries")
}

/// How the time of a handshake divides, and what was sent again.
pub(super) fn established(event: &Established, out: &mut String) -> fmt::Result {
    if let Some((syn, ack)) = sum(&event.times) {
        whole(event, syn, ack, out)?;
    } else {
        parts(event, out)?;
    }
    if event.synack_retransmits > 0 {
        write!(out, ", {}", synack_retries(event.synack_retransmits))?;
    }
    Ok(())
}

/// `= syn 28.789 + ack 0.031`: a sum where it is one, in the order in which the time passed.
fn whole(event: &Established, syn: u64, ack: u64, out: &mut String) -> fmt::Result {
    out.push_str("  = ");
    if let Some(ns) = event.times.syn_retry_ns.filter(|ns| *ns > 0) {
        write!(out, "{} lost in {} + ", Nanos(ns), syn_retries(event.syn_retransmits))?;
    }
    // The unit stands once, where the total has the same.
    if event.times.syn_to_established_ns.is_some_and(|ns| Nanos(ns).is_below_a_second()) {
        write!(out, "syn {} + ack {}", Millis(syn), Millis(ack))
    } else {
        write!(out, "syn {} + ack {}", Nanos(syn), Nanos(ack))
    }
}

/// What is known where it does not add up.
fn parts(event: &Established, out: &mut String) -> fmt::Result {
    let mut details = Details::new(out);
    match event.times.syn_to_synack_ns {
        Some(ns) => details.add(format_args!("syn {}", Nanos(ns)))?,
        None => details.add(format_args!("syn not timed"))?,
    }
    match event.times.synack_to_ack_ns {
        Some(ns) => details.add(format_args!("ack {}", Nanos(ns)))?,
        None => details.add(format_args!("ack not timed"))?,
    }
    match event.times.syn_retry_ns {
        Some(ns @ 1..) => {
            details.add(format_args!("{} lost in {}", Nanos(ns), syn_retries(event.syn_retransmits)))?;
        }
        _ if event.syn_retransmits > 0 => {
            details.add(format_args!("{}", syn_retries(event.syn_retransmits)))?;
        }
        _ => {}
    }
    Ok(())
}

/// The two parts, if with the retries they are all of the whole: a SYN-ACK sent again lies between them.
fn sum(times: &HandshakeTimes) -> Option<(u64, u64)> {
    let (syn, ack) = (times.syn_to_synack_ns?, times.synack_to_ack_ns?);
    let total = syn.checked_add(ack)?.checked_add(times.syn_retry_ns.unwrap_or(0))?;
    (times.syn_to_established_ns == Some(total)).then_some((syn, ack))
}

pub(super) fn connection(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    match event.outcome {
        Outcome::Closed => closed(event, details)?,
        Outcome::Reset => reset(event, details)?,
        Outcome::Refused => {
            details.add(format_args!("RST by server: nothing listens there, or a firewall rejects"))?;
            retries(event, details)?;
        }
        Outcome::RefusedIcmp => {
            if let Some(icmp) = &event.icmp_error {
                details.add(format_args!("{}", Icmp(icmp)))?;
            }
            retries(event, details)?;
        }
        Outcome::Unanswered => {
            let syns = Count(u64::from(event.syn_retransmits) + 1, "SYN", "SYNs");
            let apart = Spacing(event);
            details.add(format_args!("no answer to {syns} in {}{apart}", waited(event)))?;
        }
        Outcome::SynackUnanswered => {
            let synacks = Count(u64::from(event.synack_retransmits) + 1, "SYN-ACK", "SYN-ACKs");
            details.add(format_args!("no answer to {synacks} in {}", waited(event)))?;
            if let Some(icmp) = &event.icmp_error {
                details.add(format_args!("{}", Icmp(icmp)))?;
            }
        }
        Outcome::Aborted => {
            let how = if event.reset_by.is_some() { "given up" } else { "begun anew" };
            details.add(format_args!("{how} by client before it was established"))?;
            retries(event, details)?;
        }
        Outcome::Reused => {
            details.add(format_args!("same addresses and ports opened anew"))?;
            states(event, details)?;
        }
        Outcome::Open => {
            details.add(format_args!("when the trace ended"))?;
            states(event, details)?;
            transferred(event, details)?;
        }
        Outcome::Evicted => {
            details.add(format_args!("forgotten to stay within --max-connections"))?;
            states(event, details)?;
        }
    }
    handshake(event, details)?;
    if event.simultaneous_open {
        details.add(format_args!("simultaneous open"))?;
    }
    if event.partial {
        details.add(format_args!("partial: it began before the trace"))?;
    }
    if event.direction_inferred {
        details.add(format_args!("client and server are a guess"))?;
    }
    Ok(())
}

/// `host unreachable, says 192.0.2.1 (ICMP type 3, code 1)`
pub(super) struct Icmp<'a>(pub(super) &'a IcmpReport);

impl fmt::Display for Icmp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(IcmpReport { from, kind, code, meaning, .. }) = self;
        let version = if from.is_ipv6() { "v6" } else { "" };
        write!(f, "{meaning}, says {from} (ICMP{version} type {kind}, code {code})")
    }
}

/// What went wrong in a handshake, whatever became of it.
fn handshake(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.challenge_ack {
        details.add(format_args!(
            "server still had an earlier connection on these ports and answered that (challenge ACK)"
        ))?;
    }
    let again = synack_retries(event.synacks_after_ack);
    match event.synack_again {
        Some(SynackAgain::AckLost) => {
            details.add(format_args!("{again} after the ACK: that was lost beyond here"))
        }
        Some(SynackAgain::NotAccepted) => details.add(format_args!(
            "{again} after the ACK: the server does not take it (accept queue full, or its own firewall)"
        )),
        None => Ok(()),
    }
}

/// How far apart the tries were, and whether that is usual.
struct Spacing<'a>(&'a Connection);

impl fmt::Display for Spacing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(event) = self;
        let verdict = match event.syn_backoff {
            Some(Backoff::Regular) => "the usual back-off",
            Some(Backoff::Irregular) => "not a usual back-off: some may not have passed here",
            None => return Ok(()),
        };
        for (nth, ns) in event.syn_intervals_ns.iter().flatten().enumerate() {
            let tenths = ns.saturating_add(50_000_000) / 100_000_000;
            let before = if nth == 0 { " (" } else { ", " };
            write!(f, "{before}{}.{}", tenths / 10, tenths % 10)?;
        }
        write!(f, " s apart, {verdict})")
    }
}

/// From the first segment to the decision that nothing comes.
fn waited(event: &Connection) -> Waited {
    let known = event.start != Timestamp::UNKNOWN && event.common.ts != Timestamp::UNKNOWN;
    Waited(event.common.ts.0.checked_sub(event.start.0).filter(|_| known).map(Nanos))
}

/// A time that may not be known.
struct Waited(Option<Nanos>);

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(ns) => ns.fmt(f),
            None => f.write_str("a time that is not known"),
        }
    }
}

fn closed(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    match event.closed_by {
        Some(ClosedBy::Client) => details.add(format_args!("by client"))?,
        Some(ClosedBy::Server) => details.add(format_args!("by server"))?,
        Some(ClosedBy::Both) => details.add(format_args!("by both at once"))?,
        None => {}
    }
    transferred(event, details)?;
    match event.close_wait_ns {
        // Four segments became three: the passive closer had nothing left to do.
        Some(0) => details.add(format_args!("FIN and ACK merged"))?,
        Some(ns) => details.add(format_args!("close_wait {}", Nanos(ns)))?,
        None => {}
    }
    if event.half_closed {
        details.add(format_args!("half-closed for a while"))?;
    }
    Ok(())
}

fn reset(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let phase = match event.reset_phase {
        Some(ResetPhase::Established) => " while open",
        Some(ResetPhase::Closing) => " while closing",
        Some(ResetPhase::AfterClose) => " after both FINs",
        None => "",
    };
    details.add(format_args!("by {}{phase}", event.reset_by.map_or("a RST", role)))?;
    transferred(event, details)
}

fn retries(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.syn_retransmits > 0 {
        details.add(format_args!("{}", syn_retries(event.syn_retransmits)))?;
    }
    if event.synack_retransmits > 0 {
        details.add(format_args!("{}", synack_retries(event.synack_retransmits)))?;
    }
    Ok(())
}

fn states(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.client_state == event.server_state {
        details.add(format_args!("both {}", event.client_state.name()))
    } else {
        let (client, server) = (event.client_state.name(), event.server_state.name());
        details.add(format_args!("client {client}, server {server}"))
    }
}

/// As the client sees it.
fn transferred(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let modulo = if event.bytes_mod_4gib { " (or 4 GiB more, or a multiple)" } else { "" };
    for (bytes, word) in [(event.client_bytes, "sent"), (event.server_bytes, "received")] {
        if let Some(bytes) = bytes {
            details.add(format_args!("{} {word}{modulo}", Bytes(bytes)))?;
        }
    }
    Ok(())
}

pub(super) fn transition(event: &Transition, out: &mut String) -> fmt::Result {
    write!(out, "  {} -> {}", event.from.name(), event.to.name())?;
    if event.inferred && event.to == State::Listen {
        out.push_str(" (presumed)");
    } else if event.inferred {
        out.push_str(" (inferred)");
    }
    Ok(())
}

/// As tcpdump puts it, relative numbers where the ISN is known.
pub(super) fn segment(event: &SegmentEvent, out: &mut String) -> fmt::Result {
    write!(out, "  seq {}", event.relative_seq.unwrap_or(event.seq))?;
    if let Some(ack) = event.relative_ack.or(event.ack) {
        write!(out, ", ack {ack}")?;
    }
    write!(out, ", win {}, length {}, ttl {}", event.window, event.payload_bytes, event.ttl)?;
    if let Some(options) = &event.options {
        write!(out, ", options [{}]", option_names(options))?;
    }
    Ok(())
}

/// tcpdump's names of the options, in the order of their kinds.
fn option_names(options: &Options) -> String {
    let mut names = Vec::new();
    if let Some(mss) = options.mss {
        names.push(format!("mss {mss}"));
    }
    if let Some(shift) = options.window_scale {
        names.push(format!("wscale {shift}"));
    }
    for (present, name) in [
        (options.sack_permitted, "sackOK"),
        (options.timestamps, "TS"),
        (options.mptcp, "mptcp"),
        (options.fast_open, "tfo"),
    ] {
        if present == Some(true) {
            names.push(name.to_owned());
        }
    }
    if options.are_cut() {
        names.push("...".to_owned());
    }
    names.join(",")
}

pub(super) fn anomaly(event: &Anomaly, details: &mut Details<'_>) -> fmt::Result {
    details.add(format_args!("{}", reason(event.reason)))?;
    details.add(format_args!("flags {}", event.flags))?;
    details.add(format_args!("seq {}", event.seq))?;
    if let Some(ack) = event.ack {
        details.add(format_args!("ack {ack}"))?;
    }
    if let Some(expected) = event.expected {
        details.add(format_args!("expected {expected}"))?;
    }
    details.add(format_args!("length {}", event.payload_bytes))
}

const fn reason(reason: AnomalyReason) -> &'static str {
    match reason {
        AnomalyReason::SynackAckMismatch => "SYN-ACK does not acknowledge the SYN",
        AnomalyReason::SynackIsnChanged => "SYN-ACK with another ISN than before",
        AnomalyReason::HandshakeAckMismatch => "acknowledgement does not fit the handshake",
        AnomalyReason::AckBeyondSent => "acknowledges what was never sent",
        AnomalyReason::FinMoved => "FIN at another place than before",
        AnomalyReason::RstOutOfWindow => "RST outside the window",
        AnomalyReason::SynInConnection => "SYN on a connection that is there already",
        AnomalyReason::ImpossibleFlags => "impossible flags",
    }
}

pub(super) fn stats(stats: &Stats, details: &mut Details<'_>) -> fmt::Result {
    details.add(format_args!("{}", Count(stats.packets, "packet", "packets")))?;
    details.add(format_args!("{} TCP", stats.tcp_packets))?;
    details.add(format_args!("{} open", Count(stats.connections_open, "connection", "connections")))?;
    details.add(format_args!("{} ended", stats.connections.total()))?;
    if stats.records_lost > 0 {
        details.add(format_args!("{} lost", Count(stats.records_lost, "record", "records")))?;
    }
    if stats.events_dropped > 0 {
        details.add(format_args!("{} dropped", Count(stats.events_dropped, "event", "events")))?;
    }
    if stats.admission_rate < 1.0 {
        details.add(format_args!("{:.1} % of connections admitted", stats.admission_rate * 100.0))?;
    }
    Ok(())
}

//! The details of each line: what happened, in words.

use super::{
    details::{self, Details, NOTHING_LISTENS, role, syn_retries, synack_retries},
    first_data::first_data,
    handshake::{self, EcnWords},
    line::{Line, Rank},
    resets,
    sockets::sockets,
};
use crate::{
    event::{
        Anomaly, AnomalyReason, ClosedBy, Connection, Established, HandshakeTimes, Options, Outcome,
        ResetPhase, Role, SegmentEvent, State, Stats, Transition,
    },
    sink::units::{ByteCount, Count, Millis, Nanos},
};
use std::fmt::{self, Write as _};

/// Writes how the time of a handshake is divided, and what was sent again.
pub(super) fn established(event: &Established, out: &mut Line) -> fmt::Result {
    if let Some((syn, ack)) = parts_of_sum(&event.times) {
        write_sum(event, syn, ack, out)?;
    } else {
        write_known_times(event, out)?;
    }
    if event.synack_retransmits > 0 {
        out.part(Rank::Fact, format_args!(", {}", synack_retries(event.synack_retransmits)))?;
    }
    out.part(Rank::Fact, format_args!("{}", EcnWords(event.ecn)))
}

/// Writes the parts of the time in the order in which they passed, as a sum: `= syn 28.789 + ack 0.031`.
fn write_sum(event: &Established, syn: u64, ack: u64, out: &mut Line) -> fmt::Result {
    out.part(Rank::Fact, format_args!("  = "))?;
    if let Some(ns) = event.times.syn_retry_ns.filter(|ns| *ns > 0) {
        write!(out, "{} lost in {}", Nanos(ns), syn_retries(event.syn_retransmits))?;
        out.part(Rank::Fact, format_args!(" + "))?;
    }
    // Where the total is printed in milliseconds too, the parts need no unit.
    if event.times.syn_to_established_ns.is_some_and(|ns| Nanos(ns).is_below_a_second()) {
        write!(out, "syn {} + ack {}", Millis(syn), Millis(ack))?;
    } else {
        write!(out, "syn {} + ack {}", Nanos(syn), Nanos(ack))?;
    }
    match (event.times.syn_retry_ns, event.syn_retransmits) {
        // It was the first SYN that was answered, so that the retries cost no time.
        (Some(0), 1..) => out.part(Rank::Fact, format_args!(", {}", syn_retries(event.syn_retransmits))),
        _ => Ok(()),
    }
}

/// Writes the parts of the time that are known, where they do not add up to the whole.
fn write_known_times(event: &Established, out: &mut Line) -> fmt::Result {
    let mut details = Details::new(out);
    match event.times.syn_to_synack_ns {
        Some(ns) => details.add(format_args!("syn {}", Nanos(ns)))?,
        None if event.server_isn.is_none() => details.add(format_args!("SYN-ACK not seen"))?,
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

/// The times of SYN and ACK, if with the time of the retries they add up to the whole. They do not where a SYN-ACK was
/// sent again between them.
fn parts_of_sum(times: &HandshakeTimes) -> Option<(u64, u64)> {
    let (syn, ack) = (times.syn_to_synack_ns?, times.synack_to_ack_ns?);
    let total = syn.checked_add(ack)?.checked_add(times.syn_retry_ns.unwrap_or(0))?;
    (times.syn_to_established_ns == Some(total)).then_some((syn, ack))
}

pub(super) fn connection(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    match event.outcome {
        Outcome::Closed => closed(event, details)?,
        Outcome::Reset => reset(event, details)?,
        Outcome::Refused if event.probe => {
            details.add(format_args!("RST by server to a probe without SYN and ACK, as scanners send"))?;
            details.more(format_args!("{NOTHING_LISTENS}"))?;
        }
        Outcome::Refused => handshake::refused(event, details)?,
        Outcome::RefusedIcmp => {
            if let Some(icmp) = &event.icmp_error {
                details::icmp(icmp, details)?;
            }
            handshake::retries(event, details)?;
        }
        Outcome::Unanswered => handshake::unanswered(event, details)?,
        Outcome::SynackUnanswered => handshake::synack_unanswered(event, details)?,
        Outcome::Aborted => handshake::aborted(event, details)?,
        Outcome::Reused => {
            details.add(format_args!("same addresses and ports opened anew"))?;
            states(event, details)?;
        }
        Outcome::Open => {
            details.add(format_args!("when the trace ended"))?;
            states(event, details)?;
            handshake::in_flight(event, details)?;
            transferred(event, details)?;
        }
        Outcome::Evicted => {
            details.add(format_args!("forgotten to stay within --max-connections"))?;
            states(event, details)?;
        }
    }
    first_data(event, details)?;
    sockets(event, details)?;
    handshake::besides(event, details)?;
    handshake::other_ttl(event, details)?;
    resets::doubtful(event, details)?;
    if event.self_connection {
        details.add(format_args!("both ends are one socket"))?;
    }
    if event.simultaneous_open {
        details.add(format_args!("simultaneous open"))?;
    }
    if event.partial {
        details.add(format_args!("partial: it began before the trace"))?;
        details.or_shorter(format_args!("partial"))?;
    }
    if event.direction_inferred {
        details.add(format_args!("client and server are a guess"))?;
        details.or_shorter(format_args!("roles are a guess"))?;
    }
    Ok(())
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
        // The passive closer had nothing left to send, and closed with three segments instead of four.
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
    let by = event.reset_by.map_or("a RST", role);
    match (event.closed_by.filter(|_| event.reset_phase == Some(ResetPhase::Closing)), event.teardown_ns) {
        (Some(closed_by @ (ClosedBy::Client | ClosedBy::Server)), Some(ns)) => {
            let closer = if closed_by == ClosedBy::Client { Role::Client } else { Role::Server };
            let whose = match (event.reset_by == Some(closer), closer) {
                (true, _) => "its own",
                (false, Role::Client) => "the client's",
                (false, Role::Server) => "the server's",
            };
            let gone = if event.no_such_connection { ", as a host that has forgotten it" } else { "" };
            details.add(format_args!("by {by}{phase}, {} after {whose} FIN{gone}", Nanos(ns)))?;
        }
        _ => details.add(format_args!("by {by}{phase}"))?,
    }
    transferred(event, details)
}

fn states(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let name = |state: Option<State>| state.map_or("not seen", State::name);
    match (event.client_state, event.server_state) {
        (Some(both), Some(state)) if both == state => details.add(format_args!("both {}", both.name())),
        (client, server) => details.add(format_args!("client {}, server {}", name(client), name(server))),
    }
}

/// Writes how much was sent and received, as the client sees it.
fn transferred(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let modulo = if event.bytes_mod_4gib { " (or 4 GiB more, or a multiple)" } else { "" };
    for (bytes, word) in [(event.client_bytes, "sent"), (event.server_bytes, "received")] {
        if let Some(bytes) = bytes {
            details.add(format_args!("{} {word}{modulo}", ByteCount(bytes)))?;
            if event.bytes_mod_4gib {
                details.or_shorter(format_args!("{} {word} (modulo 4 GiB)", ByteCount(bytes)))?;
            }
        }
    }
    Ok(())
}

pub(super) fn transition(event: &Transition, out: &mut Line) -> fmt::Result {
    out.part(Rank::Fact, format_args!("  {} -> {}", event.from.name(), event.to.name()))?;
    if event.inferred && event.to == State::Listen {
        out.write_str(" (presumed)")?;
    } else if event.inferred {
        out.write_str(" (inferred)")?;
    }
    Ok(())
}

/// Writes a segment as tcpdump does, with relative numbers where the ISN is known.
pub(super) fn segment(event: &SegmentEvent, out: &mut Line) -> fmt::Result {
    out.part(Rank::Fact, format_args!("  seq {}", event.relative_seq.unwrap_or(event.seq)))?;
    if let Some(ack) = event.relative_ack.or(event.ack) {
        write!(out, ", ack {ack}")?;
    }
    out.part(Rank::Fact, format_args!(", win {}", event.window))?;
    write!(out, ", length {}, ttl {}", event.payload_bytes, event.ttl)?;
    if let Some(options) = &event.options {
        out.part(Rank::Fact, format_args!(", options [{}]", option_names(options)))?;
    }
    if event.copy {
        out.part(Rank::Fact, format_args!(", captured before"))?;
    }
    Ok(())
}

/// The options of a segment by tcpdump's names, in the order of their kinds.
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

/// What is wrong with a segment that cannot be.
pub(in crate::sink) const fn reason(reason: AnomalyReason) -> &'static str {
    match reason {
        AnomalyReason::SynackAckMismatch => "SYN-ACK does not acknowledge the SYN",
        AnomalyReason::SynackIsnChanged => "SYN-ACK with another ISN than before",
        AnomalyReason::HandshakeAckMismatch => "acknowledgement does not fit the handshake",
        AnomalyReason::HandshakeSeqMismatch => "sequence number does not fit the handshake",
        AnomalyReason::AckBeyondSent => "acknowledges what was never sent",
        AnomalyReason::FinMoved => "FIN at another place than before",
        AnomalyReason::FinOutOfWindow => "FIN below what was acknowledged",
        AnomalyReason::FinNotItsOwn => "FIN that was not its sender's, as more was sent or acknowledged",
        AnomalyReason::RstIgnored => "RST in the name of an endpoint that went on",
        AnomalyReason::FinAfterClose => "FIN again after the close: its ACK did not arrive",
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

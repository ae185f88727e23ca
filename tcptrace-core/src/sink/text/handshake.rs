//! What went wrong in a handshake, in words: what came, and what that may mean.

use super::details::{Details, NOTHING_LISTENS, icmp, role, syn_retries, synack_retries};
use crate::{
    event::{
        AcceptQueue, Backoff, Connection, Ecn, EcnKind, OtherView, Outcome, Role, State, SynackAgain,
        WrongAnswers,
    },
    segment::Timestamp,
    sink::units::{Count, Nanos},
};
use std::fmt;

/// Writes that nothing answered the SYN.
pub(super) fn unanswered(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let syns = Count(u64::from(event.syn_retransmits) + 1, "SYN", "SYNs");
    details.add(format_args!("{} {syns} in {}", nothing(event), waited(event)))?;
    if event.wrong_answers.is_none() {
        details.or_shorter(format_args!("no answer to {syns} in {}", waited(event)))?;
    }
    if event.syn_backoff.is_some() && event.syn_intervals_ns.iter().any(Option::is_some) {
        details.more(format_args!("{}", Spacing(event)))?;
    }
    not_an_answer(event, details)
}

/// What there was none of. A bare ACK is not mentioned, because it has no record, so that it may have come.
const fn nothing(event: &Connection) -> &'static str {
    match event.wrong_answers {
        None => "no SYN-ACK, RST or ICMP error for",
        Some(_) => "no SYN-ACK, RST or ICMP error that answers",
    }
}

/// Writes what had not come yet when the trace ended during a handshake.
pub(super) fn in_flight(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.outcome != Outcome::Open || event.client_state != Some(State::SynSent) {
        return Ok(());
    }
    let ago = event.lifetime_ns.map(|ns| Nanos(event.common.ts.since(event.start).saturating_sub(ns)));
    let synack = event.server_state == Some(State::SynReceived);
    match (synack, ago) {
        (true, Some(ago)) => {
            details.add(format_args!("no ACK or RST yet for the SYN-ACK, sent {ago} before"))
        }
        (true, None) => details.add(format_args!("no ACK or RST yet for the SYN-ACK")),
        (false, Some(ago)) => {
            details.add(format_args!("{} the SYN yet, sent {ago} before", nothing(event)))?;
            details.or_shorter(format_args!("no answer to the SYN yet, sent {ago} before"))
        }
        (false, None) => details.add(format_args!("{} the SYN yet", nothing(event))),
    }?;
    not_an_answer(event, details)
}

/// Writes that the SYN-ACK was sent, and nothing shows that it arrived.
pub(super) fn synack_unanswered(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let synacks = Count(u64::from(event.synack_retransmits) + 1, "SYN-ACK", "SYN-ACKs");
    details.add(format_args!("no ACK or RST for {synacks} in {}", waited(event)))?;
    event.icmp_error.iter().try_for_each(|report| icmp(report, details))
}

/// Writes that the server answered the SYN with a RST.
pub(super) fn refused(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.server_isn.is_some() && !event.simultaneous_open {
        details.add(format_args!("RST by server after its SYN-ACK"))?;
    } else if event.reset_seq.is_some_and(|seq| seq != 0) {
        // A RST to a SYN that nobody listens for has the sequence number 0 (RFC 9293 §3.10.7.1).
        details.add(format_args!("RST by server with a number of its own"))?;
        details.more(format_args!(": after a SYN-ACK, or a firewall rejects"))?;
    } else {
        details.add(format_args!("RST by server"))?;
        details.more(format_args!("{NOTHING_LISTENS}"))?;
    }
    retries(event, details)
}

/// Writes that the client did not complete the handshake.
pub(super) fn aborted(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    match (event.reset_by, event.no_such_connection) {
        (Some(_), true) => {
            details.add(format_args!("RST by client to the SYN-ACK"))?;
            details.more(format_args!(": the client's host knows no such connection"))?;
        }
        (Some(_), false) => details.add(format_args!("given up by client before it was established"))?,
        (None, _) => details.add(format_args!("begun anew by client before it was established"))?,
    }
    retries(event, details)
}

pub(super) fn retries(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.syn_retransmits > 0 {
        details.add(format_args!("{}", syn_retries(event.syn_retransmits)))?;
    }
    if event.synack_retransmits > 0 {
        details.add(format_args!("{}", synack_retries(event.synack_retransmits)))?;
    }
    Ok(())
}

/// Writes what came that does not answer the SYN, and what may be the reason that nothing did.
fn not_an_answer(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if let Some(wrong) = event.wrong_answers {
        wrong_answers(&wrong, details)?;
    }
    if let Some(server) = event.answered_elsewhere {
        details.add(format_args!("the same SYN was answered from {server} (address translation?)"))?;
    }
    if let Some(ns) = event.earlier_closed_ns {
        details
            .add(format_args!("server closed an earlier connection on these ports {} before", Nanos(ns)))?;
        details.more(format_args!(" (it may be in TIME-WAIT)"))?;
    }
    Ok(())
}

fn wrong_answers(wrong: &WrongAnswers, details: &mut Details<'_>) -> fmt::Result {
    let WrongAnswers { rsts, rst_ack, synacks, synack_ack, synacks_reset, expected } = *wrong;
    let verb = |count| if count == 1 { "acknowledges" } else { "acknowledge" };
    let (rst, synack) = (Count(rsts.into(), "RST", "RSTs"), Count(synacks.into(), "SYN-ACK", "SYN-ACKs"));
    let these = if rsts == 1 { "this" } else { "these" };
    if let Some(ack) = rst_ack {
        details.add(format_args!("{rst} came that {} {ack}, not {expected}", verb(rsts)))?;
    } else if rsts > 0 {
        details.add(format_args!("{rst} came without ACK"))?;
    }
    if rsts > 0 || rst_ack.is_some() {
        details.more(format_args!(": the client ignores {these}"))?;
        details.aside(format_args!(" (RFC 9293 §3.10.7.3)"))?;
    }
    let Some(ack) = synack_ack else { return Ok(()) };
    details.add(format_args!("{synack} came that {} {ack}, expected {expected}", verb(synacks)))?;
    match synacks_reset {
        0 => Ok(()),
        all if all == synacks => {
            details.add(format_args!("and the client reset {}", if all == 1 { "it" } else { "them" }))
        }
        some => details.add(format_args!("and the client reset {some} of them")),
    }
}

/// Writes what else happened in a handshake, whatever its outcome.
pub(super) fn besides(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    if event.challenge_ack {
        details.add(format_args!(
            "server still had an earlier connection on these ports and answered that (challenge ACK)"
        ))?;
    }
    if let Some(Ecn { unanswered_syns: syns @ 1.., .. }) = event.ecn {
        details.add(format_args!(
            "no answer to the {} with ECN, but to one without",
            Count(syns.into(), "SYN", "SYNs")
        ))?;
    }
    if let Some(OtherView { client_isn, server_isn }) = event.other_view {
        let server = server_isn.map_or(String::new(), |isn| format!(" and {isn}"));
        details.add(format_args!("seen twice, with other sequence numbers (a device rewrites them)"))?;
        details.more(format_args!(": the other view begins at {client_isn}{server}"))?;
    }
    if let Some(AcceptQueue { waiting, limit }) = event.accept_queue {
        details.add(format_args!("accept queue {waiting} of {limit}"))?;
        if waiting > limit {
            details.more(format_args!(": full, the server does not accept"))?;
        }
    }
    let again = synack_retries(event.synacks_after_ack);
    match event.synack_again {
        Some(SynackAgain::LostOrNotAccepted) => details.add(format_args!(
            "{again} after the ACK: that was lost beyond here, or the server does not take it (accept queue full), \
             or waits for data (TCP_DEFER_ACCEPT)"
        )),
        Some(SynackAgain::NotAccepted) => details.add(format_args!(
            "{again} after the ACK: the server does not take it (accept queue full, or its own firewall), \
             or waits for data (TCP_DEFER_ACCEPT)"
        )),
        Some(SynackAgain::Deferred) => details.add(format_args!(
            "{again} after the ACK, later than a lost ACK shows: the server may wait for data (TCP_DEFER_ACCEPT)"
        )),
        None => Ok(()),
    }
}

/// What client and server agreed on about ECN, in words; nothing where the client did not ask for it.
pub(super) struct EcnWords(pub(super) Option<Ecn>);

impl fmt::Display for EcnWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Ecn { offered, negotiated, unanswered_syns }) = self.0 else { return Ok(()) };
        match (offered, negotiated) {
            (EcnKind::None, _) | (_, None) => Ok(()),
            _ if unanswered_syns > 0 => {
                let syns = Count(unanswered_syns.into(), "SYN", "SYNs");
                write!(f, ", no answer to the {syns} with ECN, but to one without")
            }
            (_, Some(EcnKind::None)) => f.write_str(", ECN not taken by the server"),
            (_, Some(EcnKind::Classic)) => f.write_str(", ECN"),
            (_, Some(EcnKind::Accurate)) => f.write_str(", accurate ECN"),
        }
    }
}

/// Writes where the RST has another TTL than the SYN or SYN-ACK of the same side, which may mean another sender.
pub(super) fn other_ttl(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let Some((by, reset)) = event.reset_by.zip(event.reset_ttl) else { return Ok(()) };
    let (opening, opened) = match by {
        Role::Client => ("SYN", event.client_ttl),
        Role::Server => ("SYN-ACK", event.server_ttl),
    };
    // A difference of one hop may be a router that only one of the two passed. The TTL of a RST of another sender is
    // written with that.
    let differs = |ttl: &u8| ttl.abs_diff(reset) > 1 && event.reset_by_another.is_none();
    match opened.filter(differs) {
        Some(ttl) => {
            details.add(format_args!("RST TTL {reset}, the {}'s {opening} {ttl}", role(by)))?;
            details.more(format_args!(": perhaps another host's, or another way here"))
        }
        None => Ok(()),
    }
}

/// The times between the SYNs, and whether they are those of a usual back-off.
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

/// The time from the first segment to the decision that no answer comes.
fn waited(event: &Connection) -> Waited {
    let known = event.start != Timestamp::UNKNOWN && event.common.ts != Timestamp::UNKNOWN;
    Waited(event.common.ts.0.checked_sub(event.start.0).filter(|_| known).map(Nanos))
}

/// A duration that may be unknown, in words.
struct Waited(Option<Nanos>);

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(ns) => ns.fmt(f),
            None => f.write_str("a time that is not known"),
        }
    }
}

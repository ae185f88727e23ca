//! The rules: what one segment shows about one connection. Its sequence and acknowledgement numbers are checked against
//! those of the connection. A segment that fits moves the states; one that does not is an anomaly and changes nothing.

use super::{
    after::After,
    answers,
    close::{acknowledge_fin, fin},
    conn::{
        Conn, Misfit,
        doubts::Fin,
        extra::ecn_bits,
        peer,
        times::{Moment, When},
    },
    evidence, fins, first_data,
    numbers::is_near_the_handshake,
    open::{open_if_it_goes_on_unheard, presume, synchronize},
    report::Out,
    resets,
    side::{LONG_NS, Opening},
    state::{self, Evidence},
};
use crate::{
    event::{AnomalyReason as Reason, Outcome, Role, State},
    segment::Segment,
};

/// Applies `seg`, sent by `role`: moves the states if it fits, and reports an anomaly if it does not.
pub(crate) fn segment(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
    conn.side_mut(role).set_seen();
    let result = if seg.flags.rst() {
        conn.closing_mut(role).rsts += 1;
        resets::rst(conn, role, seg, out)
    } else if seg.flags.syn() {
        if seg.flags.ack() { synack(conn, role, seg, out) } else { Ok(syn(conn, role, seg, out)) }
    } else {
        ack_or_fin(conn, role, seg, out)
    };
    if result.is_ok() && !seg.flags.rst() && out.tells_of_data() {
        first_data::record(conn, role, seg);
    }
    result.unwrap_or_else(|misfit| {
        evidence::record_wrong_answer(conn, role, seg);
        out.anomaly(conn, role, seg, misfit);
        After::GoesOn
    })
}

/// Applies a SYN without ACK (RFC 9293 §3.10.7.2, §3.10.7.3, §3.10.7.4).
fn syn(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
    if conn.is_answered_by_now(role, seg) {
        overtaken_syn(conn, seg);
        return After::GoesOn;
    }
    let again = conn.side(role).isn() == Some(seg.seq);
    let crossing = role == Role::Server
        && conn.side(role).isn().is_none()
        && conn.synacks == 0
        && conn.side(Role::Client).state == State::SynSent
        && !conn.flags.partial;
    if !again && !crossing {
        return After::Restarts(outcome_of_restarted(conn));
    }
    if role == Role::Client {
        conn.syns = conn.syns.saturating_add(1);
        conn.record_syn_retry(seg);
        if conn.at(Moment::FirstSynack) == When::NEVER {
            conn.set_at(Moment::LastSyn, seg.ts);
            conn.extra_mut().ecn.add(seg.flags);
        }
    }
    if crossing {
        conn.flags.simultaneous_open = true;
        open_side(conn, role, seg);
        out.transition(conn, role, Evidence::SentSyn, seg.ts, false);
    }
    After::GoesOn
}

/// The outcome of a connection whose client begins anew on the same four-tuple. If that was still in its handshake it
/// gave up, because of an ICMP error where one answered its last SYN.
fn outcome_of_restarted(conn: &Conn) -> Outcome {
    if conn.is_open() {
        Outcome::Reused
    } else if conn.synacks == 0 && conn.extra().rejected {
        Outcome::RefusedIcmp
    } else {
        Outcome::Aborted
    }
}

/// Applies the SYN of a connection whose SYN-ACK came first: the two were reordered on the way to the capture point,
/// and nothing of the beginning is missing. If their capture times are still in order the times of the handshake are
/// known; else they are not.
fn overtaken_syn(conn: &mut Conn, seg: &Segment) {
    conn.syns = 1;
    conn.side_mut(Role::Client).set_seen();
    conn.flags.partial = false;
    open_side(conn, Role::Client, seg);
    if conn.at(Moment::FirstSynack).get().is_none_or(|answer| seg.ts > answer) {
        conn.extra_mut().syns.begin(seg.ts);
    } else {
        conn.move_start(seg.ts);
        conn.set_at(Moment::LastSyn, seg.ts);
        if conn.side(Role::Client).state == State::SynSent {
            conn.set_entered(Role::Client, seg.ts);
        }
    }
}

/// Begins a connection whose first segment is a SYN.
pub(crate) fn first_syn(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.syns = 1;
    conn.set_at(Moment::LastSyn, seg.ts);
    conn.side_mut(Role::Client).set_seen();
    open_side(conn, Role::Client, seg);
    if out.tells_of_data() {
        first_data::record(conn, Role::Client, seg);
    }
    out.transition(conn, Role::Client, Evidence::SentSyn, seg.ts, false);
    out.transition(conn, Role::Server, Evidence::PresumedListening, seg.ts, true);
}

/// Begins a connection whose first segment is a SYN-ACK or a refusal: there was a SYN, and what is acknowledged is its
/// end.
pub(crate) fn first_answer(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.side_mut(Role::Client).set_syn_end(seg.ack);
    presume(conn, Role::Client, Evidence::SentSyn, seg.ts, out);
    presume(conn, Role::Server, Evidence::PresumedListening, seg.ts, out);
}

/// Begins a connection of which an ICMP error that quotes a SYN is seen first: that SYN was sent, at an unknown time.
pub(crate) fn quoted_syn(conn: &mut Conn, quoted: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.side_mut(Role::Client).set_seen();
    // The TTL is not the one that was sent, but what was left of that at the quoting router.
    conn.side_mut(Role::Client).open(&Opening { ttl: None, ..opening(quoted) });
    presume(conn, Role::Client, Evidence::SentSyn, quoted.ts, out);
    presume(conn, Role::Server, Evidence::PresumedListening, quoted.ts, out);
}

/// Begins a connection whose first segment is from its middle.
pub(crate) fn first_midstream(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.flags.established = true;
    presume(conn, Role::Client, Evidence::Synchronized, seg.ts, out);
    presume(conn, Role::Server, Evidence::Synchronized, seg.ts, out);
}

/// Records the numbers and options of a SYN or SYN-ACK. Data in it (RFC 7413) counts from the SYN on.
fn open_side(conn: &mut Conn, role: Role, seg: &Segment) {
    if role == Role::Client {
        conn.first_tsval = seg.tsval().unwrap_or_default();
    }
    conn.side_mut(role).open(&opening(seg));
}

fn opening(seg: &Segment) -> Opening {
    Opening {
        isn: seg.seq,
        syn_end: Some(seg.end()),
        options: seg.options.map(|raw| raw.parse()),
        ttl: Some(seg.ttl),
        ecn: ecn_bits(seg.flags),
    }
}

/// Applies a SYN-ACK (RFC 9293 §3.10.7.3): it must acknowledge the peer's ISN+1, or data that came with its SYN.
fn synack(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> Result<After, Misfit> {
    let other = *conn.side(peer(role));
    if let (Some(first), Some(end)) = (other.first_data(), other.syn_end()) {
        let fits = seg.ack.at_or_after(first) && end.at_or_after(seg.ack);
        if !fits {
            return Err((Reason::SynackAckMismatch, Some(first.0)));
        }
    } else if other.syn_end().is_some_and(|end| end != seg.ack) {
        return Err((Reason::SynackAckMismatch, other.syn_end().map(|s| s.0)));
    }
    let known = conn.side(role).isn();
    let moved = known.is_some_and(|isn| isn != seg.seq);
    if moved {
        let misfit = (Reason::SynackIsnChanged, known.map(|s| s.0));
        if conn.is_open() || conn.flags.simultaneous_open {
            return Err(misfit);
        }
        // Before establishment the newer number counts, until the client answers the other.
        out.anomaly(conn, role, seg, misfit);
        answers::keep_other_synack(conn, role, seg);
    }
    if conn.flags.established && role == Role::Server && known.is_some() && !conn.flags.simultaneous_open {
        evidence::record_synack_again(conn, seg.ts);
    }
    // A socket that is connected to itself sends it once, though it counts as both ends.
    if role == Role::Client || !conn.key.is_of_one_end() {
        conn.synacks = conn.synacks.saturating_add(1);
    }
    answers::record_synack(conn, role, seg);
    if known.is_none() || moved {
        open_side(conn, role, seg);
    }
    conn.side_mut(role).record_ack(seg.ack);
    conn.side_mut(peer(role)).set_syn_acked();
    out.transition(conn, role, Evidence::SentSynAck, seg.ts, false);
    synchronize(conn, role, seg, out);
    Ok(After::GoesOn)
}

/// Applies a segment without SYN and RST: the third segment of the handshake, a FIN, or the acknowledgement of one.
fn ack_or_fin(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> Result<After, Misfit> {
    answers::believe_other_synack(conn, role, seg);
    let other = *conn.side(peer(role));
    let handshaking = !state::is_synchronized(conn.side(role).state);
    if let (true, Some(first)) = (handshaking, other.first_data())
        && !seg.ack.at_or_after(first)
    {
        return Err((Reason::HandshakeAckMismatch, Some(first.0)));
    }
    if handshaking && !is_near_the_handshake(conn, role, seg) {
        // Either the segments between were not seen; or this one is made up, and then the third segment is not seen any more:
        // this one was recorded in its place, as a bare acknowledgement is recorded once, by its acknowledgement number.
        conn.flags.missed = true;
        if seg.ts.since(conn.last) <= LONG_NS {
            return Err(far_from_the_handshake(conn, role, seg));
        }
    }
    if seg.flags.fin() {
        conn.closing_mut(role).fins += 1;
        match fins::fin_misfit(conn, role, seg) {
            _ if seg.is_of_its_socket() => fins::believe(conn, role, seg, out),
            // One of the two FINs is its sender's own. An acknowledgement of exactly the peer's FIN counts in either.
            Some(misfit) if fins::is_remembered(conn, role, seg) => out.anomaly(conn, role, seg, misfit),
            Some(misfit) => return Err(misfit),
            None => {}
        }
    }
    fins::doubt_if_it_goes_on(conn, role, seg, out);
    fins::weigh_ack(conn, role, seg, out)?;
    record_ack(conn, role, seg);
    if conn.side(role).has_acked(other.first_data()) {
        conn.side_mut(peer(role)).set_syn_acked();
    }
    synchronize(conn, role, seg, out);
    open_if_it_goes_on_unheard(conn, role, seg, out);
    let fresh = seg.flags.fin() && conn.closing(role).fin_end.is_none();
    let own_fin = Fin::of(seg);
    // The peer's FIN can pass first and acknowledge this one: then the peer closed second all the same.
    let overtaken = fresh && conn.closing(peer(role)).fin_ack() == Some(seg.end());
    if overtaken {
        fin(conn, role, &own_fin, overtaken, out);
    }
    acknowledge_fin(conn, role, seg.ts, Some(seg), out);
    if fresh && !overtaken {
        fin(conn, role, &own_fin, overtaken, out);
    }
    if seg.flags.fin() && seg.is_of_its_socket() {
        conn.closing_mut(role).fin_fits |= conn.fin_end(role) == Some(seg.end());
    }
    Ok(if conn.is_finished() { After::Ends(Outcome::Closed, None) } else { After::GoesOn })
}

/// Which of the numbers of `seg` is not near those of the handshake, and which would be.
fn far_from_the_handshake(conn: &Conn, role: Role, seg: &Segment) -> Misfit {
    let (own, other) = (conn.side(role).first_data(), conn.side(peer(role)).first_data());
    if other.is_some_and(|first| !seg.ack.at_or_soon_after(first)) {
        (Reason::HandshakeAckMismatch, other.map(|s| s.0))
    } else {
        (Reason::HandshakeSeqMismatch, own.map(|s| s.0))
    }
}

/// Records what `seg` acknowledges. It is known to be right where `seg` is known to come from its sender's socket, and where
/// both numbers of `seg` are near those of the handshake, a short time after that.
fn record_ack(conn: &mut Conn, role: Role, seg: &Segment) {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let first = other.first_data().filter(|_| own.is_young());
    let right = first.is_some_and(|first| seg.ack.at_or_soon_after(first))
        && own.first_data().is_some_and(|first| seg.seq.at_or_soon_after(first))
        && own.bound().is_none();
    let side = conn.side_mut(role);
    if right || seg.is_of_its_socket() { side.prove_ack(seg.ack) } else { side.record_ack(seg.ack) }
}

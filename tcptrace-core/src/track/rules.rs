//! The rules: what one segment shows about one connection. Its sequence and acknowledgement numbers are checked against
//! those of the connection. A segment that fits moves the states; one that does not is an anomaly and changes nothing.

use super::{
    answers,
    conn::{Conn, Misfit, peer},
    evidence,
    fins::{self, Fin},
    report::Out,
    resets,
    side::{LONG_NS, Opening},
    state::{self, Evidence},
    times::{Moment, When},
};
use crate::{
    event::{AnomalyReason as Reason, Outcome, ResetPhase, Role, State},
    segment::{Segment, Timestamp},
};
use tcptrace_common::{
    seq::SeqNum,
    tcp::{TcpFlags, UNSCALED_WINDOW},
};

/// The time in CLOSE-WAIT from which the passive closer counts as half-closed by the time alone. An application that is
/// only slow to notice the FIN takes milliseconds; one that works on takes longer.
const HALF_CLOSE_NS: u64 = 1_000_000_000;

/// What is to be done with a connection after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The connection goes on.
    GoesOn,
    /// The segment is a reset that is held for a while.
    HoldsReset,
    /// The segment ended the connection with this outcome; by a reset of an open connection, in this phase.
    Ends(Outcome, Option<ResetPhase>),
    /// The segment opens the four-tuple anew: the connection ended before with this outcome, and another begins.
    Restarts(Outcome),
}

/// Whether no stack sends these control bits together: SYN with FIN or RST, or no ACK in a segment that is neither a
/// SYN nor a RST (RFC 9293 §3.10.7.4, fifth step: "if the ACK bit is off, drop the segment").
pub(crate) fn are_impossible(flags: TcpFlags) -> bool {
    if flags.syn() {
        return flags.intersects(TcpFlags::FIN.union(TcpFlags::RST));
    }
    !flags.rst() && !flags.ack()
}

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

/// Whether `seg` refuses a SYN: a RST with ACK at sequence number 0 answers a segment without ACK (RFC 9293 §3.10.7.1).
pub(crate) fn refuses(seg: &Segment) -> bool {
    seg.flags.rst() && seg.flags.ack() && seg.seq.0 == 0
}

/// Begins a connection whose first segment is from its middle.
pub(crate) fn first_midstream(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.flags.established = true;
    presume(conn, Role::Client, Evidence::Synchronized, seg.ts, out);
    presume(conn, Role::Server, Evidence::Synchronized, seg.ts, out);
}

/// Moves a side along an arrow that it must have gone at an unknown time before `ts`.
fn presume(conn: &mut Conn, role: Role, evidence: Evidence, ts: Timestamp, out: &mut Out<'_>) {
    out.transition(conn, role, evidence, ts, true);
    conn.set_entered(role, When::NEVER);
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
        ecn: evidence::ecn_bits(seg.flags),
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
        conn.extra_mut().other_synack = Some(Opening::of(conn.side(role)));
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
    answer_other_synack(conn, role, seg);
    let other = *conn.side(peer(role));
    let handshaking = !state::is_synchronized(conn.side(role).state);
    if let (true, Some(first)) = (handshaking, other.first_data())
        && !seg.ack.at_or_after(first)
    {
        return Err((Reason::HandshakeAckMismatch, Some(first.0)));
    }
    if handshaking && !is_near_the_handshake(conn, role, seg) {
        if seg.ts.since(conn.last) <= LONG_NS {
            return Err((Reason::HandshakeAckMismatch, other.first_data().map(|s| s.0)));
        }
        // Either the segments between were not seen, or this one is made up.
        conn.flags.missed = true;
    }
    if seg.flags.fin() {
        conn.closing_mut(role).fins += 1;
        match fins::fin_misfit(conn, role, seg) {
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
    evidence::open_if_it_goes_on_unheard(conn, role, seg, out);
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
    Ok(if conn.is_finished() { After::Ends(Outcome::Closed, None) } else { After::GoesOn })
}

/// Whether both numbers of `seg` are those of the handshake, or not far beyond, as far as these are known.
fn is_near_the_handshake(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let near = |n: SeqNum, from: Option<SeqNum>| from.is_none_or(|from| n.at_or_soon_after(from));
    near(seg.seq, conn.side(role).first_data()) && near(seg.ack, conn.side(peer(role)).first_data())
}

/// Records what `seg` acknowledges. It is known to be right where both numbers of `seg` are near those of the
/// handshake, a short time after that.
fn record_ack(conn: &mut Conn, role: Role, seg: &Segment) {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let first = other.first_data().filter(|_| own.is_young());
    let right = first.is_some_and(|first| seg.ack.at_or_soon_after(first))
        && own.first_data().is_some_and(|first| seg.seq.at_or_soon_after(first))
        && own.bound().is_none();
    let side = conn.side_mut(role);
    if right { side.prove_ack(seg.ack) } else { side.record_ack(seg.ack) }
}

/// Makes the other of two SYN-ACKs count, if the server sent two with different ISNs and `seg` acknowledges the one
/// that does not count.
fn answer_other_synack(conn: &mut Conn, role: Role, seg: &Segment) {
    let server = peer(role);
    if conn.flags.established || conn.side(server).first_data() == Some(seg.ack) {
        return;
    }
    let other = conn.extra().other_synack;
    if let Some(other) = other.filter(|other| other.isn.plus(1) == seg.ack) {
        conn.extra_mut().other_synack = Some(Opening::of(conn.side(server)));
        conn.side_mut(server).open(&other);
    }
}

/// Moves both sides to ESTABLISHED as far as the acknowledgements allow, the sender of `seg` first.
fn synchronize(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    if conn.is_synchronized() {
        return;
    }
    for who in [role, peer(role)] {
        let (own, other) = (*conn.side(who), *conn.side(peer(who)));
        let ready = match own.state {
            State::SynSent => own.syn_acked() && own.has_acked(other.first_data()),
            State::SynReceived => own.syn_acked(),
            _ => false,
        };
        if ready {
            out.transition(conn, who, Evidence::Synchronized, seg.ts, false);
        }
    }
    if conn.is_synchronized() && !conn.flags.established {
        // Where records are missing, a FIN need not be the first segment that proves the establishment.
        let first = !seg.flags.fin() || out.is_complete(conn);
        let exact = first && establishes_exactly(conn, role, seg);
        establish(conn, seg.ts, exact, out);
    }
}

/// Whether `seg` is its sender's first segment after the SYN, so that its time is that of the establishment. A later
/// segment proves that the connection is established, but not since when.
fn establishes_exactly(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let within = |n: SeqNum, first: Option<SeqNum>, end: Option<SeqNum>| {
        first.or(end).is_some_and(|f| n.at_or_after(f)) && end.is_some_and(|e| e.at_or_after(n))
    };
    seg.flags.syn()
        || (within(seg.seq, own.first_data(), own.syn_end())
            && within(seg.ack, other.first_data(), other.syn_end()))
}

/// Records and reports that the connection is established. Its time is known, and is `ts`, where `exact`.
fn establish(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
    conn.flags.established = true;
    conn.set_at(Moment::Established, exact.then_some(ts));
    out.established(conn, ts);
}

/// Moves `role` to ESTABLISHED if it is not past the handshake, as what is seen at `ts` can only follow that.
pub(super) fn infer_open(conn: &mut Conn, role: Role, ts: Timestamp, out: &mut Out<'_>) {
    if state::is_synchronized(conn.side(role).state) {
        return;
    }
    presume(conn, role, Evidence::Synchronized, ts, out);
    if conn.is_synchronized() && !conn.flags.established {
        establish(conn, ts, false, out);
    }
}

/// Moves both sides to ESTABLISHED, as the client goes on, though no segment of its peer is seen here. If `exact`, `ts`
/// is the time at which the client did so.
pub(crate) fn open_unheard(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
    if exact {
        out.transition(conn, Role::Client, Evidence::Synchronized, ts, false);
    } else {
        presume(conn, Role::Client, Evidence::Synchronized, ts, out);
    }
    presume(conn, Role::Server, Evidence::Synchronized, ts, out);
    if !conn.flags.established {
        establish(conn, ts, exact, out);
    }
}

/// Applies the acknowledgement of the peer's FIN by `role`, if what it acknowledged is exactly the end of that (RFC
/// 9293 §3.10.7.4). `by` is the segment that acknowledges, or `None` where that passed before the FIN was seen.
fn acknowledge_fin(conn: &mut Conn, role: Role, ts: Timestamp, by: Option<&Segment>, out: &mut Out<'_>) {
    let closer = peer(role);
    let fin = conn.closing(closer);
    // Nothing follows a FIN, so what acknowledges it has exactly the number of its end.
    let acked = by.map_or(conn.side(role).acked(), |seg| Some(seg.ack));
    if fin.fin_acked || fin.fin_end.is_none() || acked != fin.fin_end {
        return;
    }
    let (end, fin_ack) = (fin.fin_end, fin.fin_ack());
    infer_open(conn, role, ts, out);
    conn.closing_mut(closer).fin_acked = true;
    // The FIN is proven to be its sender's own, and with it what it acknowledged.
    if let Some(end) = end {
        conn.side_mut(role).prove_ack(end);
    }
    // What the FIN acknowledged is proven with it, unless its sender acknowledged something else since, which may be
    // the peer's FIN, not seen yet; or it was so long ago that the peer may have sent any number of octets since.
    let recent = conn.closing(closer).fin.is_some_and(|fin| ts.since(fin.ts) <= LONG_NS);
    if let Some(ack) = fin_ack.filter(|&ack| recent && conn.side(closer).acked() == Some(ack)) {
        conn.side_mut(closer).prove_ack(ack);
    }
    conn.closing_mut(role).sent_at_peer_fin = by.map(|seg| seg.seq.plus(seg.payload_len));
    let teardown = conn.teardown_mut();
    let acked = When::from(by.map(|seg| seg.ts));
    if teardown.first_fin_by == Some(closer) {
        teardown.first_fin_acked = acked;
    } else {
        teardown.second_fin_acked = acked;
    }
    out.transition(conn, role, Evidence::AckedPeerFin, ts, false);
    out.transition(conn, closer, Evidence::OwnFinAcked, ts, false);
    // Only the end that closed first waits in TIME-WAIT. That this one was second may have shown only when it was past
    // LAST-ACK.
    let second = conn.teardown().first_fin_by == Some(role) && !conn.teardown().simultaneous_close;
    if second && conn.side(closer).state == State::TimeWait {
        out.transition(conn, closer, Evidence::TimedOut, ts, true);
    }
}

/// Applies the first FIN of `role` (RFC 9293 §3.6). `overtaken` if the peer's FIN, which acknowledges it, passed before
/// it.
pub(crate) fn fin(conn: &mut Conn, role: Role, fin: &Fin, overtaken: bool, out: &mut Out<'_>) {
    if conn.side(role).state != State::SynReceived {
        infer_open(conn, role, fin.ts, out);
    }
    fins::adopt(conn, role, fin);
    let answered = conn.closing(peer(role)).fin_acked;
    let went_on = went_on(conn, role, fin);
    // Its FIN was sent before it acknowledged the peer's, as that acknowledgement comes after it in number: this is the
    // FIN sent again, of which the first was lost before the capture point.
    let crossed = conn.closing(role).sent_at_peer_fin == Some(fin.end());
    let teardown = conn.teardown_mut();
    if teardown.first_fin_by.is_none() || overtaken {
        teardown.first_fin_by = Some(role);
        (teardown.second_fin, teardown.second_fin_acked) = (teardown.first_fin, teardown.first_fin_acked);
        teardown.first_fin.set(fin.ts);
        teardown.first_fin_acked = When::NEVER;
    } else {
        teardown.second_fin.set(fin.ts);
        conn.teardown_mut().simultaneous_close = !answered || crossed;
        conn.teardown_mut().half_closed = answered && went_on && !crossed;
    }
    out.transition(conn, role, Evidence::SentFin, fin.ts, false);
    // Reordering can show the acknowledgement before the FIN.
    acknowledge_fin(conn, peer(role), fin.ts, None, out);
}

/// Whether the passive closer sent data, or let much time pass, between its acknowledgement and its own FIN.
fn went_on(conn: &Conn, role: Role, fin: &Fin) -> bool {
    let data = conn.closing(role).sent_at_peer_fin.is_some_and(|sent| fin.data_end() != sent);
    let waited =
        conn.teardown().first_fin_acked.get().is_some_and(|acked| fin.ts.since(acked) >= HALF_CLOSE_NS);
    data || waited
}

/// Whether the number of `seg` is one that `role` can send before the handshake is complete: its first one, or within
/// an unscaled window after that.
pub(crate) fn follows_own_syn(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let own = conn.side(role);
    own.first_data().or(own.syn_end()).is_some_and(|first| {
        let ahead = seg.seq.distance_from(first);
        (0..=UNSCALED_WINDOW).contains(&ahead)
    })
}

/// Whether `seg` acknowledges the peer's SYN, which was seen, with none, some or all of the data in it.
pub(crate) fn acknowledges_syn(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let other = conn.side(peer(role));
    let (first, end) = (other.first_data(), other.syn_end());
    seg.flags.ack()
        && first.is_some_and(|first| seg.ack.at_or_after(first))
        && end.is_some_and(|end| end.at_or_after(seg.ack))
}

/// Whether `seg` is a FIN that comes again, as its acknowledgement was lost, so that TIME-WAIT begins anew (RFC 9293
/// §3.10.7.4, eighth step).
pub(crate) fn restarts_time_wait(conn: &Conn, role: Role, seg: &Segment) -> bool {
    seg.flags.fin() && conn.side(peer(role)).state == State::TimeWait && conn.fin_end(role) == Some(seg.end())
}

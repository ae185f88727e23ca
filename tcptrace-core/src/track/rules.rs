//! What one segment shows about one connection: the acknowledgement numbers are checked as the textbooks do
//! by hand, and what fits moves the states. A segment that does not fit is an anomaly and changes nothing.

use super::{
    answers,
    clocks::{Moment, When},
    conn::{Conn, Misfit, OtherSynack, peer},
    evidence,
    fins::{self, Fin},
    report::Out,
    resets,
    side::LONG_NS,
    state::{self, Evidence},
};
use crate::{
    event::{AnomalyReason as Reason, Outcome, ResetPhase, Role, State},
    segment::{Segment, Timestamp},
};
use tcptrace_common::{
    seq::SeqNum,
    tcp::{TcpFlags, UNSCALED_WINDOW},
};

/// How long the passive closer must stay in CLOSE-WAIT for the time alone to make it a half-close. An
/// application that is only slow to notice takes milliseconds; one that works on takes longer.
const HALF_CLOSE_NS: u64 = 1_000_000_000;

/// What the connection is after a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It goes on.
    Goes,
    /// A reset that is doubted for a while.
    Holds,
    /// It ended so.
    Ends(Outcome, Option<ResetPhase>),
    /// The segment opens the four-tuple anew: this connection ended so, and another begins.
    Restarts(Outcome),
}

/// Control bits that no stack sends together. SYN with FIN or RST, and anything but a RST or a first SYN
/// without ACK (RFC 9293 §3.10.7.4, fifth step: "if the ACK bit is off, drop the segment").
pub(crate) fn are_impossible(flags: TcpFlags) -> bool {
    if flags.syn() {
        return flags.intersects(TcpFlags::FIN.union(TcpFlags::RST));
    }
    !flags.rst() && !flags.ack()
}

/// Judges `seg`, sent by `role`, and moves the states.
pub(crate) fn segment(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
    conn.side_mut(role).note_seen();
    let judged = if seg.flags.rst() {
        conn.closing_mut(role).rsts += 1;
        resets::rst(conn, role, seg, out)
    } else if seg.flags.syn() {
        if seg.flags.ack() { synack(conn, role, seg, out) } else { Ok(syn(conn, role, seg, out)) }
    } else {
        ack_or_fin(conn, role, seg, out)
    };
    judged.unwrap_or_else(|misfit| {
        evidence::note_misfit(conn, role, seg);
        out.anomaly(conn, role, seg, misfit);
        After::Goes
    })
}

/// A SYN without ACK (RFC 9293 §3.10.7.2, §3.10.7.3, §3.10.7.4).
fn syn(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
    if conn.is_answered_by_now(role, seg) {
        overtaken_syn(conn, seg);
        return After::Goes;
    }
    let again = conn.side(role).isn() == Some(seg.seq);
    let crossing = role == Role::Server
        && conn.side(role).isn().is_none()
        && conn.synacks == 0
        && conn.side(Role::Client).state == State::SynSent
        && !conn.flags.partial;
    if !again && !crossing {
        return After::Restarts(restarted(conn));
    }
    if role == Role::Client {
        conn.syns = conn.syns.saturating_add(1);
        conn.note_syn(seg);
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
    After::Goes
}

/// What became of a connection whose client begins anew: it gave up, for the network's answer to its last try if there was
/// one.
fn restarted(conn: &Conn) -> Outcome {
    if conn.is_open() {
        Outcome::Reused
    } else if conn.synacks == 0 && conn.extra().rejected {
        Outcome::RefusedIcmp
    } else {
        Outcome::Aborted
    }
}

/// The SYN of a connection that we met at its SYN-ACK: the two changed places on their way to us, and nothing of the
/// beginning is missing. If the time stamps still have them in order, so are the times; else no time is made of it.
fn overtaken_syn(conn: &mut Conn, seg: &Segment) {
    conn.syns = 1;
    conn.side_mut(Role::Client).note_seen();
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

/// The first segment of a connection is a SYN.
pub(crate) fn first_syn(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.syns = 1;
    conn.set_at(Moment::LastSyn, seg.ts);
    conn.side_mut(Role::Client).note_seen();
    open_side(conn, Role::Client, seg);
    out.transition(conn, Role::Client, Evidence::SentSyn, seg.ts, false);
    out.transition(conn, Role::Server, Evidence::PresumedListening, seg.ts, true);
}

/// The first segment seen is a SYN-ACK, or refuses: there was a SYN, and its number is the acknowledgement less one.
pub(crate) fn first_answer(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.side_mut(Role::Client).set_syn_end(seg.ack);
    presume(conn, Role::Client, Evidence::SentSyn, seg.ts, out);
    presume(conn, Role::Server, Evidence::PresumedListening, seg.ts, out);
}

/// The first thing seen is an ICMP error that quotes a SYN: there was one, at an unknown time.
pub(crate) fn quoted_syn(conn: &mut Conn, quoted: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.side_mut(Role::Client).note_seen();
    // The TTL is what was left of it where it is quoted.
    conn.side_mut(Role::Client).open(&OtherSynack { ttl: None, ..opening(quoted) });
    presume(conn, Role::Client, Evidence::SentSyn, quoted.ts, out);
    presume(conn, Role::Server, Evidence::PresumedListening, quoted.ts, out);
}

/// A RST with ACK at sequence number 0 answers a segment without ACK (RFC 9293 §3.10.7.1), so a SYN.
pub(crate) fn refuses(seg: &Segment) -> bool {
    seg.flags.rst() && seg.flags.ack() && seg.seq.0 == 0
}

/// The first segment seen belongs to the middle of a connection.
pub(crate) fn first_midstream(conn: &mut Conn, seg: &Segment, out: &mut Out<'_>) {
    conn.flags.partial = true;
    conn.flags.established = true;
    presume(conn, Role::Client, Evidence::Synchronized, seg.ts, out);
    presume(conn, Role::Server, Evidence::Synchronized, seg.ts, out);
}

/// A change that happened at an unknown time before `ts`.
fn presume(conn: &mut Conn, role: Role, evidence: Evidence, ts: Timestamp, out: &mut Out<'_>) {
    out.transition(conn, role, evidence, ts, true);
    conn.set_entered(role, When::NEVER);
}

/// Notes the numbers and options of a SYN or SYN-ACK. Data in it (RFC 7413) counts from the SYN on.
fn open_side(conn: &mut Conn, role: Role, seg: &Segment) {
    if role == Role::Client {
        conn.first_tsval = seg.tsval().unwrap_or_default();
    }
    conn.side_mut(role).open(&opening(seg));
}

fn opening(seg: &Segment) -> OtherSynack {
    OtherSynack {
        isn: seg.seq,
        syn_end: Some(seg.end()),
        options: seg.options.map(|raw| raw.parse()),
        ttl: Some(seg.ttl),
        ecn: evidence::ecn_bits(seg.flags),
    }
}

/// A SYN-ACK (RFC 9293 §3.10.7.3): it must acknowledge the peer's ISN+1, or data that came with its SYN.
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
        conn.extra_mut().other_synack = Some(OtherSynack::of(conn.side(role)));
    }
    if conn.flags.established && role == Role::Server && known.is_some() && !conn.flags.simultaneous_open {
        evidence::note_synack_again(conn, seg.ts);
    }
    // One end alone sent it to itself, once.
    if role == Role::Client || !conn.key.is_of_one_end() {
        conn.synacks = conn.synacks.saturating_add(1);
    }
    answers::note_synack(conn, role, seg);
    if known.is_none() || moved {
        open_side(conn, role, seg);
    }
    conn.side_mut(role).note_ack(seg.ack);
    conn.side_mut(peer(role)).note_syn_acked();
    out.transition(conn, role, Evidence::SentSynAck, seg.ts, false);
    synchronize(conn, role, seg, out);
    Ok(After::Goes)
}

/// Everything without SYN and RST: the third segment, the acknowledgement of a FIN, the FIN itself.
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
        // What came between was not seen, or this is made up.
        conn.flags.missed = true;
    }
    if seg.flags.fin() {
        conn.closing_mut(role).fins += 1;
        match fins::misfit(conn, role, seg) {
            // One of the two is its own, and what it acknowledges counts if it is exactly that.
            Some(misfit) if fins::is_remembered(conn, role, seg) => out.anomaly(conn, role, seg, misfit),
            Some(misfit) => return Err(misfit),
            None => {}
        }
    }
    fins::goes_on(conn, role, seg, out);
    fins::weigh(conn, role, seg, out)?;
    note_ack(conn, role, seg);
    if conn.side(role).has_acked(other.first_data()) {
        conn.side_mut(peer(role)).note_syn_acked();
    }
    synchronize(conn, role, seg, out);
    evidence::goes_on_unheard(conn, role, seg, out);
    let fresh = seg.flags.fin() && conn.closing(role).fin_end.is_none();
    let own_fin = Fin::of(seg);
    // The peer's FIN acknowledges this one, which passes after it: the peer closed second all the same.
    let overtaken = fresh && conn.closing(peer(role)).fin_ack() == Some(seg.end());
    if overtaken {
        fin(conn, role, &own_fin, overtaken, out);
    }
    acknowledge_fin(conn, role, seg.ts, Some(seg), out);
    if fresh && !overtaken {
        fin(conn, role, &own_fin, overtaken, out);
    }
    Ok(if conn.is_over() { After::Ends(Outcome::Closed, None) } else { After::Goes })
}

/// Both its numbers are those that the handshake has, or not far beyond, as far as these are known.
fn is_near_the_handshake(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let near = |n: SeqNum, from: Option<SeqNum>| from.is_none_or(|from| n.at_or_soon_after(from));
    near(seg.seq, conn.side(role).first_data()) && near(seg.ack, conn.side(peer(role)).first_data())
}

/// What `seg` acknowledges; known to be right where it is the handshake's number, soon after that.
fn note_ack(conn: &mut Conn, role: Role, seg: &Segment) {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let first = other.first_data().filter(|_| own.is_young());
    let right = first.is_some_and(|first| seg.ack.at_or_soon_after(first))
        && own.first_data().is_some_and(|first| seg.seq.at_or_soon_after(first))
        && own.bound().is_none();
    let side = conn.side_mut(role);
    if right { side.prove_ack(seg.ack) } else { side.note_ack(seg.ack) }
}

/// The server sent SYN-ACKs with two numbers, and this acknowledges the one that is not the last.
fn answer_other_synack(conn: &mut Conn, role: Role, seg: &Segment) {
    let server = peer(role);
    if conn.flags.established || conn.side(server).first_data() == Some(seg.ack) {
        return;
    }
    let other = conn.extra().other_synack;
    if let Some(other) = other.filter(|other| other.isn.plus(1) == seg.ack) {
        conn.extra_mut().other_synack = Some(OtherSynack::of(conn.side(server)));
        conn.side_mut(server).open(&other);
    }
}

/// Brings both sides to ESTABLISHED as far as the acknowledgements allow, the sender of `seg` first.
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
        // Where records are missing, a FIN can be the first that we got of several that proved it.
        let first = !seg.flags.fin() || out.is_complete(conn);
        let exact = first && establishes_exactly(conn, role, seg);
        establish(conn, seg.ts, exact, out);
    }
}

/// `seg` is the sender's first segment after its SYN, so its time is the time of the establishment. A later
/// one proves the same, but not when.
fn establishes_exactly(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let within = |n: SeqNum, first: Option<SeqNum>, end: Option<SeqNum>| {
        first.or(end).is_some_and(|f| n.at_or_after(f)) && end.is_some_and(|e| e.at_or_after(n))
    };
    seg.flags.syn()
        || (within(seg.seq, own.first_data(), own.syn_end())
            && within(seg.ack, other.first_data(), other.syn_end()))
}

/// Reports the establishment, with its time where `exact`.
fn establish(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
    conn.flags.established = true;
    conn.set_at(Moment::Established, exact.then_some(ts));
    out.established(conn, ts);
}

/// Both sides must have been open for what is seen now, though nothing showed the handshake's end.
pub(super) fn infer_open(conn: &mut Conn, role: Role, ts: Timestamp, out: &mut Out<'_>) {
    if state::is_synchronized(conn.side(role).state) {
        return;
    }
    presume(conn, role, Evidence::Synchronized, ts, out);
    if conn.is_synchronized() && !conn.flags.established {
        establish(conn, ts, false, out);
    }
}

/// The client goes on, whose peer is not heard here: both sides are open. If `exact`, the client's time is that of `ts`.
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

/// `role` acknowledges its peer's FIN, if what it acknowledged so far covers that (RFC 9293 §3.10.7.4).
/// `by` is the segment that shows it, or `None` where the acknowledgement came before we saw the FIN.
fn acknowledge_fin(conn: &mut Conn, role: Role, ts: Timestamp, by: Option<&Segment>, out: &mut Out<'_>) {
    let closer = peer(role);
    let fin = conn.closing(closer);
    // Nothing follows a FIN, so what acknowledges it has exactly its end.
    let acked = by.map_or(conn.side(role).acked(), |seg| Some(seg.ack));
    if fin.fin_acked || fin.fin_end.is_none() || acked != fin.fin_end {
        return;
    }
    let (end, fin_ack) = (fin.fin_end, fin.fin_ack());
    infer_open(conn, role, ts, out);
    conn.closing_mut(closer).fin_acked = true;
    // So the FIN was its sender's own, and with it what that acknowledged.
    if let Some(end) = end {
        conn.side_mut(role).prove_ack(end);
    }
    // Unless it acknowledged something else since, which may be the peer's FIN, not seen yet; or so long ago that the peer may
    // have sent any number of octets meanwhile.
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
    // Only who closed first waits; that the closer was second may have come to light when it was past LAST-ACK.
    let second = conn.teardown().first_fin_by == Some(role) && !conn.teardown().simultaneous_close;
    if second && conn.side(closer).state == State::TimeWait {
        out.transition(conn, closer, Evidence::TimedOut, ts, true);
    }
}

/// The first FIN of `role` (RFC 9293 §3.6); `overtaken` by the peer's, which acknowledges it.
pub(crate) fn fin(conn: &mut Conn, role: Role, fin: &Fin, overtaken: bool, out: &mut Out<'_>) {
    if conn.side(role).state != State::SynReceived {
        infer_open(conn, role, fin.ts, out);
    }
    fins::count(conn, role, fin);
    let answered = conn.closing(peer(role)).fin_acked;
    let went_on = went_on(conn, role, fin);
    // It had numbered its FIN when it acknowledged the peer's: this is that FIN again, the first was lost before us.
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

/// Data or time lay between the passive closer's acknowledgement and its own FIN.
fn went_on(conn: &Conn, role: Role, fin: &Fin) -> bool {
    let data = conn.closing(role).sent_at_peer_fin.is_some_and(|sent| fin.data_end() != sent);
    let waited =
        conn.teardown().first_fin_acked.get().is_some_and(|acked| fin.ts.since(acked) >= HALF_CLOSE_NS);
    data || waited
}

/// Within what can be sent before the handshake is complete.
pub(crate) fn follows_own_syn(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let own = conn.side(role);
    own.first_data().or(own.syn_end()).is_some_and(|first| {
        let ahead = seg.seq.distance_from(first);
        (0..=UNSCALED_WINDOW).contains(&ahead)
    })
}

/// The peer's SYN was seen, and this acknowledges it, with none, some or all of the data in it.
pub(crate) fn acknowledges_syn(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let other = conn.side(peer(role));
    let (first, end) = (other.first_data(), other.syn_end());
    seg.flags.ack()
        && first.is_some_and(|first| seg.ack.at_or_after(first))
        && end.is_some_and(|end| end.at_or_after(seg.ack))
}

/// The FIN comes again, so its acknowledgement was lost: TIME-WAIT lasts from here (RFC 9293 §3.10.7.4, eighth step).
pub(crate) fn restarts_time_wait(conn: &Conn, role: Role, seg: &Segment) -> bool {
    seg.flags.fin() && conn.side(peer(role)).state == State::TimeWait && conn.fin_end(role) == Some(seg.end())
}

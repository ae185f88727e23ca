//! RSTs: which are believed, which change nothing, and which are doubted (RFC 9293 §3.10.7, RFC 5961 §3).

use super::{
    after::After,
    conn::{Conn, Misfit, peer},
    evidence,
    numbers::{acknowledges_syn, follows_own_syn},
    open::infer_open,
    report::Out,
    state::Evidence,
};
use crate::{
    event::{AnomalyReason as Reason, Outcome, ResetPhase, Role, State},
    segment::Segment,
};
use tcptrace_common::seq::SeqNum;

/// A RST: valid where its receiver would believe it (RFC 9293 §3.10.7.3 before, RFC 5961 §3.2 after the
/// handshake).
pub(super) fn rst(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> Result<After, Misfit> {
    if rejects_an_answer(conn, role, seg) {
        evidence::note_rejection(conn, seg);
        return Ok(After::Goes);
    }
    if proves_open(conn, role, seg) {
        infer_open(conn, role, seg.ts, out);
        infer_open(conn, peer(role), seg.ts, out);
    }
    let judged = if conn.is_open() {
        rst_when_open(conn, role, seg)
    } else {
        rst_in_handshake(conn, role, seg).map(|outcome| (outcome, None))
    };
    let (outcome, phase) = judged.inspect_err(|_| conn.note_ignored_reset(role, seg, None))?;
    if phase.is_some() && !is_certain(conn, role, seg) {
        return Ok(After::Holds);
    }
    Ok(end_by_rst(conn, role, seg, (outcome, phase), out))
}

/// The RST `seg` of `role`, of an open connection, is believed at last.
pub(crate) fn reset(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
    let phase = reset_phase(conn, role);
    end_by_rst(conn, role, seg, (Outcome::Reset, Some(phase)), out)
}

fn end_by_rst(
    conn: &mut Conn,
    role: Role,
    seg: &Segment,
    (outcome, phase): (Outcome, Option<ResetPhase>),
    out: &mut Out<'_>,
) -> After {
    let teardown = conn.teardown_mut();
    teardown.rst.set(seg.ts);
    teardown.reset_by = Some(role);
    evidence::note_reset(conn, role, seg);
    if phase.is_some() {
        conn.closing_mut(role).rst_seq = Some(seg.seq);
    }
    out.transition(conn, role, Evidence::Reset, seg.ts, false);
    out.transition(conn, peer(role), Evidence::Reset, seg.ts, false);
    After::Ends(outcome, phase)
}

/// In SYN-SENT an acknowledgement of anything but the SYN is answered by a RST with its number and without ACK
/// (RFC 9293 §3.10.7.3, first step), and the SYN is tried again. A number that has nothing to do with the SYN is of an
/// earlier connection on these ports that the server still has: it answered the SYN by a challenge ACK (RFC 5961 §4.2) or
/// as one does in TIME-WAIT, and the RST makes it forget that.
fn rejects_an_answer(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let client = conn.side(Role::Client);
    role == Role::Client
        && client.state == State::SynSent
        && conn.synacks == 0
        && !conn.flags.partial
        && !seg.flags.ack()
        && ![client.isn(), client.first_data(), client.syn_end()].contains(&Some(seg.seq))
}

/// A RST in what looks like the handshake, with numbers that only a synchronized end has: it, or its peer, sent data
/// that was not recorded.
fn proves_open(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let sent = own.syn_end().is_some_and(|end| seg.seq.after(end));
    let received = other.syn_end().is_some_and(|end| seg.ack.after(end));
    let fits = other.first_data().is_none_or(|first| seg.ack.at_or_after(first));
    let answered = role == Role::Client || own.isn().is_some();
    !conn.is_open()
        && seg.flags.ack()
        && answered
        && follows_own_syn(conn, role, seg)
        && fits
        && (sent || received)
}

/// A RST while one side is in TIME-WAIT, which ends that if the other would believe it (RFC 1337 §2: Linux does so unless
/// `net.ipv4.tcp_rfc1337` is set).
pub(crate) fn rst_after_the_end(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    if conn.is_open() && rst_when_open(conn, role, seg).is_ok() {
        for role in [role, peer(role)] {
            out.transition(conn, role, Evidence::Reset, seg.ts, false);
        }
    }
}

/// Refused by the server, or given up by the client.
fn rst_in_handshake(conn: &Conn, role: Role, seg: &Segment) -> Result<Outcome, Misfit> {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    // Where nothing was answered, some stacks give up with the number of the SYN itself.
    let at_isn = conn.synacks == 0 && own.isn() == Some(seg.seq);
    // RCV.NXT of the other end is known: what it got of the SYN is acknowledged, or is the SYN alone.
    let at_next = [own.first_data(), own.syn_end(), other.acked()].contains(&Some(seg.seq));
    let follows_own_syn = at_isn || (at_next && follows_own_syn(conn, role, seg));
    let unknown = seg.flags.ack() && other.first_data().is_none();
    let answers_syn = unknown || acknowledges_syn(conn, role, seg);
    match role {
        Role::Server if answers_syn || follows_own_syn => Ok(Outcome::Refused),
        Role::Client if follows_own_syn => Ok(Outcome::Aborted),
        Role::Server => Err((Reason::RstOutOfWindow, other.first_data().map(|s| s.0))),
        Role::Client => Err((Reason::RstOutOfWindow, own.first_data().map(|s| s.0))),
    }
}

/// Data is not recorded, so the window's far end is unknown until a FIN is it; its near end is what the peer acknowledged,
/// where that is known.
fn rst_when_open(conn: &Conn, role: Role, seg: &Segment) -> Result<(Outcome, Option<ResetPhase>), Misfit> {
    let other = conn.side(peer(role));
    let near = conn.bound(role);
    let own_end = conn.fin_end(role);
    // One before the end is taken after a FIN, but not in TIME-WAIT (net/ipv4/tcp_input.c, tcp_reset_check).
    let at_fin = own_end.is_some_and(|end| seg.seq.plus(1) == end)
        && matches!(other.state, State::CloseWait | State::LastAck | State::Closing);
    if near.is_some_and(|near| near.after(seg.seq)) && !at_fin {
        return Err((Reason::RstOutOfWindow, near.map(|s| s.0)));
    }
    let closing = conn.closing(role);
    let proven = conn.flags.ended || closing.fin_acked || closing.fin_fits;
    if let Some(end) = own_end.filter(|&end| proven && !end.at_or_after(seg.seq)) {
        return Err((Reason::RstOutOfWindow, Some(end.0)));
    }
    Ok((Outcome::Reset, Some(reset_phase(conn, role))))
}

fn reset_phase(conn: &Conn, role: Role) -> ResetPhase {
    match (conn.fin_end(role).is_some(), conn.fin_end(peer(role)).is_some()) {
        (false, false) => ResetPhase::Established,
        (true, true) => ResetPhase::AfterClose,
        _ => ResetPhase::Closing,
    }
}

/// The RST `seg` of `role` has the number that its receiver is known to wait for, and so is obeyed.
pub(super) fn is_exact(conn: &Conn, role: Role, seg: &Segment) -> bool {
    conn.bound(role) == Some(seg.seq)
}

/// The RST `seg` of `role` needs no time to be believed: its number is the one that its receiver is known to wait for, and
/// nothing says that it comes from elsewhere; or it is at the FIN, after which nothing follows. Who saw it is no matter: all
/// sightings of a connection are to end alike.
fn is_certain(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let closing = conn.closing(role);
    let at_fin = |end: SeqNum| seg.seq == end || seg.seq.plus(1) == end;
    let from_there = conn.side(role).ttl().is_none_or(|ttl| ttl == seg.ttl);
    (is_exact(conn, role, seg) && from_there)
        || ((closing.fin_acked || closing.fin_fits) && closing.fin_end.is_some_and(at_fin))
        || conn.side(peer(role)).state == State::TimeWait
}

//! The rules of RSTs: which are believed, which change nothing, and which are held (RFC 9293 §3.10.7, RFC 5961 §3).

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

/// Applies the RST `seg` of `role`. It is valid where its receiver would believe it (RFC 9293 §3.10.7.3 before the end
/// of the handshake, RFC 5961 §3.2 after it).
pub(super) fn rst(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> Result<After, Misfit> {
    if rejects_an_answer(conn, role, seg) {
        evidence::record_rejection(conn, seg);
        return Ok(After::GoesOn);
    }
    if proves_open(conn, role, seg) {
        infer_open(conn, role, seg.ts, out);
        infer_open(conn, peer(role), seg.ts, out);
    }
    let result = if conn.is_open() && seg.is_of_its_socket() {
        // The socket is closed with it, whatever the receiver makes of it (net/ipv4/tcp_output.c, tcp_send_active_reset).
        Ok((Outcome::Reset, Some(reset_phase(conn, role))))
    } else if conn.is_open() {
        rst_when_open(conn, role, seg)
    } else {
        rst_in_handshake(conn, role, seg).map(|outcome| (outcome, None))
    };
    let (outcome, phase) = result.inspect_err(|_| conn.record_ignored_reset(role, seg, None))?;
    if phase.is_some() && !is_certain(conn, role, seg) {
        return Ok(After::HoldsReset);
    }
    Ok(end_by_rst(conn, role, seg, (outcome, phase), out))
}

/// Ends an open connection by the RST `seg` of `role`, which was held and is believed now.
pub(crate) fn believed_rst(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> After {
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
    evidence::record_reset(conn, role, seg);
    if phase.is_some() {
        conn.closing_mut(role).rst_seq = Some(seg.seq);
    }
    out.transition(conn, role, Evidence::Reset, seg.ts, false);
    out.transition(conn, peer(role), Evidence::Reset, seg.ts, false);
    After::Ends(outcome, phase)
}

/// Whether the RST `seg` only rejects a segment of the server. In SYN-SENT an acknowledgement of anything but the SYN
/// is answered by a RST with its number and without ACK (RFC 9293 §3.10.7.3, first step), and the SYN is sent again. A
/// number that has nothing to do with the SYN is of an earlier connection on these ports that the server still has: it
/// answered the SYN by a challenge ACK (RFC 5961 §4.2) or by an acknowledgement in TIME-WAIT, and the RST makes it
/// forget that connection.
fn rejects_an_answer(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let client = conn.side(Role::Client);
    role == Role::Client
        && client.state == State::SynSent
        && conn.synacks == 0
        && !conn.flags.partial
        && !seg.flags.ack()
        && ![client.isn(), client.first_data(), client.syn_end()].contains(&Some(seg.seq))
}

/// Whether a RST in what looks like the handshake has numbers that only a synchronized end has: its sender, or the
/// peer, sent data that was not recorded.
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

/// Applies a RST of a connection that is over. It ends TIME-WAIT if its receiver would believe it (RFC 1337 §2: Linux
/// does so unless `net.ipv4.tcp_rfc1337` is set).
pub(crate) fn late_rst(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    if conn.is_open() && rst_when_open(conn, role, seg).is_ok() {
        for role in [role, peer(role)] {
            out.transition(conn, role, Evidence::Reset, seg.ts, false);
        }
    }
}

/// The outcome by a RST in the handshake: the server refuses, or the client gives up.
fn rst_in_handshake(conn: &Conn, role: Role, seg: &Segment) -> Result<Outcome, Misfit> {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    // Where the SYN was not answered, some stacks give up by a RST with the number of the SYN itself.
    let at_isn = conn.synacks == 0 && own.isn() == Some(seg.seq);
    // The other end's RCV.NXT is known: it is what that end acknowledged, or the end of the SYN with or without its
    // data.
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

/// The outcome by a RST in an open connection, if it can be in its receiver's window. Data is not recorded, so the far
/// end of the window is unknown until a FIN shows it; its near end is what the receiver acknowledged, where that is
/// known.
fn rst_when_open(conn: &Conn, role: Role, seg: &Segment) -> Result<(Outcome, Option<ResetPhase>), Misfit> {
    let other = conn.side(peer(role));
    let near = conn.bound(role);
    let own_end = conn.fin_end(role);
    // After a FIN a RST with the FIN's own number is taken too, but not in TIME-WAIT (net/ipv4/tcp_input.c,
    // tcp_reset_check).
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

/// Whether the number of the RST `seg` of `role` is known to be its receiver's RCV.NXT, so that it is obeyed.
pub(super) fn is_exact(conn: &Conn, role: Role, seg: &Segment) -> bool {
    conn.bound(role) == Some(seg.seq)
}

/// Whether the RST `seg` of `role` is believed at once: it is known to come from its sender's socket, its number is known to be its receiver's RCV.NXT and no TTL
/// shows that it comes from elsewhere, or it is at its sender's FIN, after which nothing follows, or its receiver is in
/// TIME-WAIT. The vantage does not matter, as a connection must end alike on all interfaces that it passes.
fn is_certain(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let closing = conn.closing(role);
    let at_fin = |end: SeqNum| seg.seq == end || seg.seq.plus(1) == end;
    let from_there = conn.side(role).ttl().is_none_or(|ttl| ttl == seg.ttl);
    seg.is_of_its_socket()
        || (is_exact(conn, role, seg) && from_there)
        || ((closing.fin_acked || closing.fin_fits) && closing.fin_end.is_some_and(at_fin))
        || conn.side(peer(role)).state == State::TimeWait
}

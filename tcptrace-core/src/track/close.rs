//! How a direction comes to its end: the FIN that counts, and its acknowledgement.

use super::{
    conn::{Conn, clocks::When, doubts::Fin, peer},
    open::infer_open,
    report::Out,
    side::LONG_NS,
    state::Evidence,
};
use crate::{
    event::{Role, State},
    segment::{Segment, Timestamp},
};

/// How long the passive closer must stay in CLOSE-WAIT for the time alone to make it a half-close. An
/// application that is only slow to notice takes milliseconds; one that works on takes longer.
const HALF_CLOSE_NS: u64 = 1_000_000_000;

/// `role` acknowledges its peer's FIN, if what it acknowledged so far covers that (RFC 9293 §3.10.7.4).
/// `by` is the segment that shows it, or `None` where the acknowledgement came before we saw the FIN.
pub(super) fn acknowledge_fin(
    conn: &mut Conn,
    role: Role,
    ts: Timestamp,
    by: Option<&Segment>,
    out: &mut Out<'_>,
) {
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
    count(conn, role, fin);
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

/// The FIN of `role` counts from now on. Its number is beyond doubt where it lies near what the peer is known to have
/// acknowledged a moment ago.
fn count(conn: &mut Conn, role: Role, fin: &Fin) {
    let fits = conn.bound(role).is_some_and(|bound| fin.end().at_or_soon_after(bound));
    let before = (conn.side(role).state, conn.entered(role));
    let closing = conn.closing_mut(role);
    (closing.fin, closing.fin_end) = (Some(*fin), Some(fin.end()));
    (closing.fin_fits, closing.fin_is_open, closing.before_fin) = (fits, fin.fragmented, before);
}

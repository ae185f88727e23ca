//! How a side comes to its end: by its FIN that counts, and by the acknowledgement of that.

use super::{
    conn::{Conn, doubts::Fin, peer, times::When},
    open::infer_open,
    report::Out,
    side::LONG_NS,
    state::Evidence,
};
use crate::{
    event::{Role, State},
    segment::{Segment, Timestamp},
};

/// The time in CLOSE-WAIT from which the passive closer counts as half-closed by the time alone. An application that is
/// only slow to notice the FIN takes milliseconds; one that works on takes longer.
const HALF_CLOSE_NS: u64 = 1_000_000_000;

/// Applies the acknowledgement of the peer's FIN by `role`, if what it acknowledged is exactly the end of that (RFC
/// 9293 §3.10.7.4). `by` is the segment that acknowledges, or `None` where that passed before the FIN was seen.
pub(super) fn acknowledge_fin(
    conn: &mut Conn,
    role: Role,
    ts: Timestamp,
    by: Option<&Segment>,
    out: &mut Out<'_>,
) {
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
    adopt(conn, role, fin);
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

/// Makes `fin` the FIN of `role` that counts. Its number is beyond doubt where it lies soon after a number that `role`
/// is known to have reached a moment ago.
fn adopt(conn: &mut Conn, role: Role, fin: &Fin) {
    let fits = conn.bound(role).is_some_and(|bound| fin.end().at_or_soon_after(bound));
    let before = (conn.side(role).state, conn.entered(role));
    let closing = conn.closing_mut(role);
    (closing.fin, closing.fin_end) = (Some(*fin), Some(fin.end()));
    (closing.fin_fits, closing.fin_is_open, closing.before_fin) = (fits, fin.fragmented, before);
}

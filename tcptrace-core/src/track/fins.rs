//! Whether a FIN is its sender's own. A FIN ends a direction only if its number is where the sender's data ends, and
//! data is not recorded: where nothing near in time says what the number can be, a FIN is a hypothesis. The receiver's
//! acknowledgement of exactly its end proves it (RFC 9293 §3.10.7.4, fifth and eighth step). An acknowledgement of
//! something beyond it shows that its sender sent more, so the FIN was not its own and is retracted: the states go back
//! to what they were, and the FIN is remembered in case that acknowledgement was the one that somebody made up.

use super::{
    close,
    conn::{
        Conn, Misfit,
        doubts::{Fin, OtherFin},
        peer,
        times::When,
    },
    report::Out,
};
use crate::{
    event::{AnomalyReason as Reason, Role},
    segment::Segment,
};
use tcptrace_common::seq::SeqNum;

/// The most FINs that are remembered beside the one that counts. Somebody who makes up more of them within the time
/// that one acknowledgement takes can hide the real one until it is sent again.
const MOST: usize = 8;

/// Why the FIN `seg` of `role` does not fit: its number is known to be too low, or is another one than that of the FIN
/// that counts. In the second case it is remembered, unless the FIN that counts was acknowledged.
pub(crate) fn fin_misfit(conn: &mut Conn, role: Role, seg: &Segment) -> Option<Misfit> {
    let closing = conn.closing(role);
    let (known, acked) = (closing.fin_end, closing.fin_acked);
    let Some(known) = known else {
        let (bound, own) = (conn.bound(role)?, conn.side(role));
        // An acknowledgement of the FIN can pass before it. But no segment of its sender, after the SYN, begins below the
        // first octet of data.
        let first = own.first_data().filter(|_| own.is_young());
        let low = bound.after(seg.end()) || first.is_some_and(|first| first.after(seg.seq));
        return low.then_some((Reason::FinOutOfWindow, Some(bound.0)));
    };
    let fin = Fin::of(seg);
    // A FIN that is sent again whole has the end that its first fragment did not show.
    let first = closing.fin.filter(|_| closing.fin_is_open);
    if fin.is_at(known) || first.is_some_and(|first| first.is_at(fin.end())) {
        return None;
    }
    if !acked {
        remember(conn, role, fin);
    }
    Some((Reason::FinMoved, Some(known.0)))
}

/// Takes the FIN `seg` of `role`, which is known to come from its sender's socket. Another FIN that counts was not its
/// sender's own then, unless its receiver acknowledged it.
pub(crate) fn believe(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    let closing = conn.closing(role);
    let own =
        closing.fin.is_some_and(|fin| fin.is_at(seg.end()) || (closing.fin_is_open && fin.is_at(seg.seq)));
    if !own && !closing.fin_acked {
        retract_fin(conn, role, out);
    }
}

fn remember(conn: &mut Conn, role: Role, fin: Fin) {
    let others = &mut conn.doubts_mut().other_fins;
    if others.iter().any(|other| other.role == role && other.fin.end() == fin.end()) {
        return;
    }
    if others.len() >= MOST {
        others.remove(0);
    }
    others.push(OtherFin { role, fin });
}

/// Whether the FIN `seg` of `role` is remembered, and may turn out to be its sender's own.
pub(crate) fn is_remembered(conn: &Conn, role: Role, seg: &Segment) -> bool {
    !conn.closing(role).fin_acked && other_fin(conn, role, seg.end()).is_some()
}

/// Lets an acknowledgement of `role`, in `seg`, prove a FIN of its peer or disprove it. An acknowledgement of more than
/// a FIN that is beyond doubt does not fit.
pub(crate) fn weigh_ack(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) -> Result<(), Misfit> {
    let closer = peer(role);
    let closing = conn.closing(closer);
    if closing.fin_acked {
        let end = closing.fin_end;
        return match end.filter(|&end| seg.ack.after(end)) {
            Some(end) => Err((Reason::AckBeyondSent, Some(end.0))),
            None => Ok(()),
        };
    }
    if let (true, Some(end)) = (closing.fin_is_open, closing.fin_end)
        && seg.ack.at_or_soon_after(end)
    {
        // The packet went on in fragments that have no TCP header, and this acknowledges all of it.
        conn.closing_mut(closer).prove_fin_end(seg.ack);
        return Ok(());
    }
    if closing.fin_end == Some(seg.ack) {
        return Ok(());
    }
    if let Some(fin) = other_fin(conn, closer, seg.ack) {
        retract_fin(conn, closer, out);
        close::fin(conn, closer, &fin, false, out);
        conn.closing_mut(closer).prove_fin_end(seg.ack);
        return Ok(());
    }
    match conn.closing(closer).fin_end.filter(|&end| seg.ack.after(end)) {
        Some(end) if conn.closing(closer).fin_fits => Err((Reason::AckBeyondSent, Some(end.0))),
        // An acknowledgement of a number far beyond the FIN can be made up just as the FIN can, and proves nothing, unless it
        // is known to come from the receiver's socket.
        Some(end) if seg.is_of_its_socket() || seg.ack.at_or_soon_after(end) => {
            replace_fin(conn, closer, seg.ack, out);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a FIN of `role`, the one that counts or one that is remembered, ends at `end`.
pub(crate) fn has_fin_end(conn: &Conn, role: Role, end: SeqNum) -> bool {
    conn.closing(role).fin_end == Some(end) || other_fin(conn, role, end).is_some()
}

/// The FIN of `role` that ends at `end`, of those that are remembered.
fn other_fin(conn: &Conn, role: Role, end: SeqNum) -> Option<Fin> {
    let others = &conn.teardown().doubts.as_deref()?.other_fins;
    others.iter().find(|other| other.role == role && other.fin.is_at(end)).map(|other| other.fin)
}

/// Retracts the FIN of `role` if `seg` goes on beyond it, unless the FIN is beyond doubt.
pub(crate) fn doubt_if_it_goes_on(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    let closing = conn.closing(role);
    let beyond = closing.fin_end.is_some_and(|end| seg.end() != end && seg.end().at_or_soon_after(end));
    if beyond && !seg.flags.fin() && !closing.fin_acked && !closing.fin_fits && !closing.fin_is_open {
        replace_fin(conn, role, seg.end(), out);
    }
}

/// Retracts the FIN of `role` that counts until now, as its data reaches `beyond`. The last FIN that is remembered and
/// does not end before that takes its place.
fn replace_fin(conn: &mut Conn, role: Role, beyond: SeqNum, out: &mut Out<'_>) {
    let others = conn.teardown().doubts.as_deref().map_or(&[][..], |doubts| &doubts.other_fins);
    let can_be = |other: &&OtherFin| other.role == role && !beyond.after(other.fin.end());
    let next = others.iter().rev().find(can_be).map(|other| other.fin);
    retract_fin(conn, role, out);
    if let Some(fin) = next {
        close::fin(conn, role, &fin, false, out);
    }
}

/// Retracts the FIN of `role` that counts until now, as it was not its own: everything is as if it had not come, but
/// that an anomaly is reported.
fn retract_fin(conn: &mut Conn, role: Role, out: &mut Out<'_>) {
    let closing = conn.closing_mut(role);
    let Some(fin) = closing.fin.take() else { return };
    let before = closing.before_fin;
    (closing.fin_end, closing.fin_fits, closing.fin_is_open) = (None, false, false);
    out.anomaly_of_fin(conn, role, &fin, (Reason::FinNotItsOwn, None));
    let teardown = conn.teardown_mut();
    if teardown.first_fin_by == Some(role) {
        (teardown.first_fin, teardown.first_fin_acked) = (teardown.second_fin, teardown.second_fin_acked);
        teardown.first_fin_by = teardown.first_fin.get().map(|_| peer(role));
    }
    (teardown.second_fin, teardown.second_fin_acked) = (When::NEVER, When::NEVER);
    (teardown.simultaneous_close, teardown.half_closed) = (false, false);
    out.retract_fin(conn, role, fin.ts, before);
    remember(conn, role, fin);
}

//! Which SYN a SYN-ACK answers, where several were sent: the time stamp that it echoes tells (RFC 7323 §3.2, §4.1), and
//! without one it is taken for the answer to the last (RFC 6298 §3, Karn's algorithm: nobody can know).

use super::conn::{
    Conn,
    clocks::{Moment, When},
};
use crate::{
    event::Role,
    segment::{Segment, Timestamp},
};

/// A SYN-ACK of `role`. That it answers a SYN which came again after an earlier SYN-ACK shows that the client had not got
/// that one: the handshake's parts are counted anew from there.
pub(crate) fn note_synack(conn: &mut Conn, role: Role, seg: &Segment) {
    let first = conn.at(Moment::FirstSynack) == When::NEVER;
    if first {
        conn.set_at(Moment::FirstSynack, seg.ts);
    }
    if conn.flags.established {
        return;
    }
    conn.set_at(Moment::LastSynack, seg.ts);
    if role == Role::Client {
        return;
    }
    let Some(before) = conn.at(Moment::LastSyn).get() else { return };
    let Some(answered) = by_time_stamp(conn, seg).or_else(|| conn.latest_syn()) else { return };
    if first || answered > before {
        conn.set_at(Moment::LastSyn, answered);
        conn.set_at(Moment::FirstSynack, seg.ts);
    }
}

/// When the SYN passed whose time stamp `synack` echoes; the last of them where the client's clock stood still.
fn by_time_stamp(conn: &Conn, synack: &Segment) -> Option<Timestamp> {
    let (_, echo) = synack.options?.timestamps()?;
    let first = conn.first_syn().get()?;
    let had_one = conn.side(Role::Client).options()?.timestamps;
    let first = (first, had_one.then_some(conn.first_tsval));
    let retries = conn.extra().syns.sent_again(first.0);
    std::iter::once(first).chain(retries).filter(|(_, value)| *value == Some(echo)).last().map(|(ts, _)| ts)
}

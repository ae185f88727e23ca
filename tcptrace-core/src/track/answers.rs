//! Which SYN a SYN-ACK answers, where several were sent. The time stamp that the SYN-ACK echoes shows it (RFC 7323
//! §3.2, §4.1); without one the SYN-ACK is taken for the answer to the last SYN (nobody can know: RFC 6298 §3, Karn's
//! algorithm).

use super::conn::{
    Conn,
    times::{Moment, When},
};
use crate::{
    event::Role,
    segment::{Segment, Timestamp},
};

/// Records when a SYN-ACK of `role` passed. If it answers a SYN that was sent again after an earlier SYN-ACK, the
/// client had not got that one: the parts of the handshake's time are counted anew from that SYN.
pub(crate) fn record_synack(conn: &mut Conn, role: Role, seg: &Segment) {
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

/// When the SYN passed whose time stamp `synack` echoes; the last such SYN where the client's clock stood still.
fn by_time_stamp(conn: &Conn, synack: &Segment) -> Option<Timestamp> {
    let (_, echo) = synack.options?.timestamps()?;
    let first = conn.first_syn().get()?;
    let had_one = conn.side(Role::Client).options()?.timestamps;
    let first = (first, had_one.then_some(conn.first_tsval));
    let retries = conn.extra().syns.sent_again(first.0);
    std::iter::once(first).chain(retries).filter(|(_, value)| *value == Some(echo)).last().map(|(ts, _)| ts)
}

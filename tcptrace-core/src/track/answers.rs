//! Which SYN a SYN-ACK answers, where several were sent, and which of two different SYN-ACKs counts.
//!
//! The time stamp that the SYN-ACK echoes shows which SYN it answers (RFC 7323 §3.2, §4.1); without one the SYN-ACK is taken for
//! the answer to the last SYN (nobody can know: RFC 6298 §3, Karn's algorithm). Of two SYN-ACKs with different ISNs the newer
//! counts, until the client answers the other; the times of the handshake are those of the one that counts.

use super::{
    conn::{
        Conn, peer,
        times::{Moment, When},
    },
    side::Opening,
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

/// A SYN-ACK with another ISN than the one that counts, and the moments of the handshake as if it did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherSynack {
    opening: Opening,
    /// In the order of [`OtherSynack::MOMENTS`].
    times: [When; 3],
}

impl OtherSynack {
    const MOMENTS: [Moment; 3] = [Moment::LastSyn, Moment::FirstSynack, Moment::LastSynack];

    /// The SYN-ACK of `role` that counts now.
    fn counted(conn: &Conn, role: Role) -> Self {
        Self { opening: Opening::of(conn.side(role)), times: Self::MOMENTS.map(|it| conn.at(it)) }
    }

    /// Makes it count, and keeps the one that did.
    fn count(&self, conn: &mut Conn, role: Role) {
        conn.extra_mut().other_synack = Some(Self::counted(conn, role));
        conn.side_mut(role).open(&self.opening);
        for (moment, time) in Self::MOMENTS.into_iter().zip(self.times) {
            conn.set_at(moment, time);
        }
    }
}

/// Keeps the SYN-ACK that counts, as `seg` of `role` is one with another ISN, which is about to count.
pub(crate) fn keep_other_synack(conn: &mut Conn, role: Role, seg: &Segment) {
    match conn.extra().other_synack {
        Some(other) if other.opening.isn == seg.seq => other.count(conn, role),
        _ => {
            conn.extra_mut().other_synack = Some(OtherSynack::counted(conn, role));
            conn.set_at(Moment::FirstSynack, When::NEVER);
        }
    }
}

/// Makes the other of two SYN-ACKs count, if the server sent two with different ISNs and `seg` of `role` acknowledges the one
/// that does not count.
pub(crate) fn believe_other_synack(conn: &mut Conn, role: Role, seg: &Segment) {
    let server = peer(role);
    if conn.flags.established || conn.side(server).first_data() == Some(seg.ack) {
        return;
    }
    let other = conn.extra().other_synack;
    if let Some(other) = other.filter(|other| other.opening.isn.plus(1) == seg.ack) {
        other.count(conn, server);
    }
}

/// When the SYN of [`Moment::LastSyn`] was answered; unknown where the SYN-ACK that counts came after one with another ISN. Then
/// its server may have waited for a time-out, or the first one was made up.
pub(crate) fn answered(conn: &Conn) -> When {
    let [syn, synack] = [conn.at(Moment::LastSyn), conn.at(Moment::FirstSynack)];
    let is_second = |other: OtherSynack| other.times[0] == syn && other.times[1].get() < synack.get();
    if conn.extra().other_synack.is_some_and(is_second) { When::NEVER } else { synack }
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

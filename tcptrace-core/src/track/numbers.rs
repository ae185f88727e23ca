//! Which numbers and control bits of a segment fit what is known of a connection. Nothing here changes the connection.

use super::conn::{Conn, peer};
use crate::{
    event::{Role, State},
    segment::Segment,
};
use tcptrace_common::{
    seq::SeqNum,
    tcp::{TcpFlags, UNSCALED_WINDOW},
};

/// Whether no stack sends these control bits together: SYN with FIN or RST, or no ACK in a segment that is neither a
/// SYN nor a RST (RFC 9293 §3.10.7.4, fifth step: "if the ACK bit is off, drop the segment").
pub(crate) fn are_impossible(flags: TcpFlags) -> bool {
    if flags.syn() {
        return flags.intersects(TcpFlags::FIN.union(TcpFlags::RST));
    }
    !flags.rst() && !flags.ack()
}

/// Whether `seg` refuses a SYN: a RST with ACK at sequence number 0 answers a segment without ACK (RFC 9293 §3.10.7.1).
pub(crate) fn refuses(seg: &Segment) -> bool {
    seg.flags.rst() && seg.flags.ack() && seg.seq.0 == 0
}

/// Whether both numbers of `seg` are those of the handshake, or not far beyond, as far as these are known.
pub(super) fn is_near_the_handshake(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let near = |n: SeqNum, from: Option<SeqNum>| from.is_none_or(|from| n.at_or_soon_after(from));
    near(seg.seq, conn.side(role).first_data()) && near(seg.ack, conn.side(peer(role)).first_data())
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

//! How both sides come to be past the handshake: by acknowledgements that are seen, or by what only sides past it send.

use super::{
    conn::{
        Conn, peer,
        times::{Moment, When},
    },
    numbers::follows_own_syn,
    report::Out,
    state::{self, Evidence},
};
use crate::{
    event::{Role, State},
    segment::{Segment, Timestamp},
};
use tcptrace_common::seq::SeqNum;

/// Moves a side along an arrow that it must have gone at an unknown time before `ts`.
pub(super) fn presume(conn: &mut Conn, role: Role, evidence: Evidence, ts: Timestamp, out: &mut Out<'_>) {
    out.transition(conn, role, evidence, ts, true);
    conn.set_entered(role, When::NEVER);
}

/// Moves both sides to ESTABLISHED as far as the acknowledgements allow, the sender of `seg` first.
pub(super) fn synchronize(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
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
        let exact = is_surely_first(conn, seg, out) && establishes_exactly(conn, role, seg);
        establish(conn, seg.ts, exact, out);
    }
}

/// Whether no segment of its sender can have passed unseen between the SYN and `seg`, which establishes the connection. A bare
/// acknowledgement is recorded once for each SYN-ACK. Where records are missing, a FIN, or data that are recorded as the first
/// data, need not be the first that proves the establishment; nor need an acknowledgement where there were two SYN-ACKs.
fn is_surely_first(conn: &Conn, seg: &Segment, out: &Out<'_>) -> bool {
    let bare = !seg.flags.fin() && seg.payload_len == 0;
    out.is_complete(conn) || seg.flags.syn() || (bare && conn.synacks <= 1)
}

/// Whether `seg` is its sender's first segment after the SYN, so that its time is that of the establishment. A later
/// segment proves that the connection is established, but not since when.
fn establishes_exactly(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let within = |n: SeqNum, first: Option<SeqNum>, end: Option<SeqNum>| {
        first.or(end).is_some_and(|f| n.at_or_after(f)) && end.is_some_and(|e| e.at_or_after(n))
    };
    seg.flags.syn()
        || (within(seg.seq, own.first_data(), own.syn_end())
            && within(seg.ack, other.first_data(), other.syn_end()))
}

/// Records and reports that the connection is established. Its time is known, and is `ts`, where `exact`.
fn establish(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
    conn.flags.established = true;
    conn.set_at(Moment::Established, exact.then_some(ts));
    out.established(conn, ts);
}

/// Moves `role` to ESTABLISHED if it is not past the handshake, as what is seen at `ts` can only follow that.
pub(super) fn infer_open(conn: &mut Conn, role: Role, ts: Timestamp, out: &mut Out<'_>) {
    if state::is_synchronized(conn.side(role).state) {
        return;
    }
    presume(conn, role, Evidence::Synchronized, ts, out);
    if conn.is_synchronized() && !conn.flags.established {
        establish(conn, ts, false, out);
    }
}

/// Moves both sides to ESTABLISHED, as the client goes on, though no segment of its peer is seen here. If `exact`, `ts`
/// is the time at which the client did so.
fn open_unheard(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
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

/// Opens both sides if `seg` shows that the client goes on after its SYN, though nothing of the server passes here. In
/// SYN-SENT no stack acknowledges anything (RFC 9293 §3.10.7.3), so a SYN-ACK came to the client some other way.
pub(crate) fn open_if_it_goes_on_unheard(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
    let (client, server) = (conn.side(Role::Client), conn.side(Role::Server));
    let unheard = conn.synacks == 0 && !server.is_seen() && server.state == State::Listen;
    // A FIN is behind all data; another segment may be of an earlier connection, unless it is near.
    let goes_on = match client.first_data() {
        Some(first) if seg.flags.fin() => seg.seq.at_or_after(first),
        _ => follows_own_syn(conn, role, seg),
    };
    if role != Role::Client || client.state != State::SynSent || !unheard || !seg.flags.ack() || !goes_on {
        return;
    }
    let third = [client.first_data(), client.syn_end()].contains(&Some(seg.seq)) && !seg.flags.fin();
    open_unheard(conn, seg.ts, third, out);
}

//! How both sides come to be open: by acknowledgements that are seen, or by what only open sides do.

use super::{
    conn::{
        Conn,
        clocks::{Moment, When},
        peer,
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

/// A change that happened at an unknown time before `ts`.
pub(super) fn presume(conn: &mut Conn, role: Role, evidence: Evidence, ts: Timestamp, out: &mut Out<'_>) {
    out.transition(conn, role, evidence, ts, true);
    conn.set_entered(role, When::NEVER);
}

/// Brings both sides to ESTABLISHED as far as the acknowledgements allow, the sender of `seg` first.
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
        // Where records are missing, a FIN can be the first that we got of several that proved it.
        let first = !seg.flags.fin() || out.is_complete(conn);
        let exact = first && establishes_exactly(conn, role, seg);
        establish(conn, seg.ts, exact, out);
    }
}

/// `seg` is the sender's first segment after its SYN, so its time is the time of the establishment. A later
/// one proves the same, but not when.
fn establishes_exactly(conn: &Conn, role: Role, seg: &Segment) -> bool {
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let within = |n: SeqNum, first: Option<SeqNum>, end: Option<SeqNum>| {
        first.or(end).is_some_and(|f| n.at_or_after(f)) && end.is_some_and(|e| e.at_or_after(n))
    };
    seg.flags.syn()
        || (within(seg.seq, own.first_data(), own.syn_end())
            && within(seg.ack, other.first_data(), other.syn_end()))
}

/// Reports the establishment, with its time where `exact`.
fn establish(conn: &mut Conn, ts: Timestamp, exact: bool, out: &mut Out<'_>) {
    conn.flags.established = true;
    conn.set_at(Moment::Established, exact.then_some(ts));
    out.established(conn, ts);
}

/// Both sides must have been open for what is seen now, though nothing showed the handshake's end.
pub(super) fn infer_open(conn: &mut Conn, role: Role, ts: Timestamp, out: &mut Out<'_>) {
    if state::is_synchronized(conn.side(role).state) {
        return;
    }
    presume(conn, role, Evidence::Synchronized, ts, out);
    if conn.is_synchronized() && !conn.flags.established {
        establish(conn, ts, false, out);
    }
}

/// The client goes on, whose peer is not heard here: both sides are open. If `exact`, the client's time is that of `ts`.
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

/// Nothing of the server passes here, and this segment of the client goes on behind its SYN: in SYN-SENT no stack
/// acknowledges anything (RFC 9293 §3.10.7.3), so a SYN-ACK came to it some other way, and both ends are open for what
/// follows.
pub(crate) fn goes_on_unheard(conn: &mut Conn, role: Role, seg: &Segment, out: &mut Out<'_>) {
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

//! ICMP errors in answer to a SYN or SYN-ACK (RFC 1122 §4.2.3.9, RFC 5927, RFC 5461).

use super::{
    after::After,
    conn::{Conn, extra::SeenIcmpError, peer},
    report::Out,
    state::Evidence,
};
use crate::{
    event::{Outcome, Role, Vantage},
    segment::IcmpError,
};

pub(crate) use tcptrace_common::wire::icmp::is_refusal;

/// The latest time after an error at which a client that does not give up tries again: most stacks wait 1 s for the
/// first answer (RFC 6298 §2.1), older ones 3 s.
pub(crate) const RETRY_NS: u64 = 4_000_000_000;

/// How long after a SYN a stack may still be busy with it, and put an error off: a reject on the same host or link
/// takes tens of microseconds, one from further away longer than this.
const HELD_NS: u64 = 1_000_000;

/// Whether an error came after the last SYN, and the next SYN is due within [`RETRY_NS`] if the client does not give
/// up: the wait between two SYNs doubles each time.
pub(crate) fn retry_is_due_soon(conn: &Conn) -> bool {
    let extra = conn.extra();
    conn.synacks == 0
        && extra.rejected
        && extra.syns.gaps().last().is_none_or(|gap| gap.saturating_mul(2) < RETRY_NS)
}

/// Takes an ICMP error for a connection in a table, of which `sender` sent the quoted segment. Returns what is to be
/// done with the connection.
pub(crate) fn error(conn: &mut Conn, sender: Role, error: &IcmpError, out: &mut Out<'_>) -> After {
    out.icmp(conn, sender, error);
    // The quote must be of a segment that was sent (RFC 5927 §4.1), and only an unanswered one can be refused.
    if conn.side(sender).isn() != Some(error.quoted.seq) || conn.is_open() {
        return After::GoesOn;
    }
    let extra = conn.extra_mut();
    extra.icmp = Some(SeenIcmpError::new(error, sender));
    extra.rejected = sender == Role::Client;
    if sender != Role::Client || conn.synacks > 0 {
        return After::GoesOn;
    }
    let ts = error.quoted.ts;
    // Whether the error's receiver gives up shows when it does not try again: some stacks give up at once, for some
    // errors, and some never (RFC 5461 §4). This host's own stack is known: in SYN-SENT it gives up on any of these
    // errors, unless one is so early that connect() still holds the socket (net/ipv4/tcp_ipv4.c, tcp_v4_err;
    // net/ipv6/tcp_ipv6.c, tcp_v6_err).
    let early = conn.latest_syn().is_some_and(|syn| ts.since(syn) < HELD_NS);
    if early || conn.vantage != Some(Vantage::Client) {
        return After::GoesOn;
    }
    out.transition(conn, sender, Evidence::Unreachable, ts, false);
    out.transition(conn, peer(sender), Evidence::Unreachable, ts, false);
    After::Ends(Outcome::RefusedIcmp, None)
}

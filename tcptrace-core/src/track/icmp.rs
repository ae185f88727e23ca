//! ICMP errors in answer to a SYN or SYN-ACK (RFC 1122 §4.2.3.9, RFC 5927, RFC 5461).

use super::{
    conn::{Conn, peer},
    extra::SeenIcmpError,
    report::Out,
    rules::After,
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

/// The type and code of an error in words (RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3).
pub(crate) const fn meaning(ipv6: bool, kind: u8, code: u8) -> &'static str {
    match (ipv6, kind, code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 5) => "source route failed",
        (false, 3, 6) => "network unknown",
        (false, 3, 7) => "host unknown",
        (false, 3, 8) => "source host isolated",
        (false, 3, 9) => "network administratively prohibited",
        (false, 3, 10) => "host administratively prohibited",
        (false, 3, 11) => "network unreachable for this type of service",
        (false, 3, 12) => "host unreachable for this type of service",
        (false, 3, 13) | (true, 1, 1) => "administratively prohibited",
        (false, 3, 14) => "host precedence violation",
        (false, 3, 15) => "precedence cutoff in effect",
        (true, 1, 0) => "no route to destination",
        (true, 1, 2) => "beyond scope of source address",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        (false, 11, 1) | (true, 3, 1) => "fragment reassembly time exceeded",
        (false, 11, _) => "time to live exceeded",
        (true, 3, _) => "hop limit exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        _ => "unknown error",
    }
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

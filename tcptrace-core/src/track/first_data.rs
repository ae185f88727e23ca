//! The first data of each direction: when its first octet passed, and whether the server's answers the client's.

use super::conn::{
    Conn, index, peer,
    sockets::FirstData,
    times::{Moment, When, span},
};
use crate::{
    event::{self, HandshakeTimes, Role, Vantage},
    request::Request,
    segment::Segment,
    source_clock::SourceClock,
};

/// Records that `seg` of `role`, which fits the connection and is no RST, has the first octet of its direction, if it has
/// and that had not passed before. A segment without it says nothing of when that passed.
pub(crate) fn record(conn: &mut Conn, role: Role, seg: &Segment) {
    if role == Role::Server && seg.flags.syn() {
        forget_refused(conn, seg);
    }
    let (own, other) = (conn.side(role), conn.side(peer(role)));
    let Some(first) = own.first_data() else { return };
    let begins = seg.seq.plus(u32::from(seg.flags.syn()));
    if first.0.wrapping_sub(begins.0) >= seg.payload_len {
        return;
    }
    let answers = other.first_data().is_some_and(|first| seg.flags.ack() && seg.ack.after(first));
    let known = conn.first_data_mut();
    let at = &mut known.at[index(role)];
    if *at == When::NEVER {
        at.set(seg.ts);
        known.answers |= role == Role::Server && answers;
        if role == Role::Client {
            known.request.clone_from(&seg.request);
        }
    }
}

/// Forgets the data of the client's SYN where the SYN-ACK `seg` does not take it (RFC 7413 §4.2.2): it is sent again then,
/// and only then is it a request.
fn forget_refused(conn: &mut Conn, seg: &Segment) {
    let refused = !conn.flags.established && conn.side(Role::Client).first_data() == Some(seg.ack);
    if refused && conn.first_data().is_some() {
        conn.first_data_mut().at[index(Role::Client)] = When::NEVER;
    }
}

/// What is known of the first data, as `connection` events report it.
pub(crate) fn report(conn: &Conn, handshake: &HandshakeTimes, clock: &SourceClock) -> event::FirstData {
    let FirstData { at: [client, server], answers, request } = conn.first_data().unwrap_or(&FirstData::NONE);
    let (client, server, answers) = (*client, *server, *answers);
    let Request { server_name, alpn, http_host } = request.as_deref().cloned().unwrap_or_default();
    let established = conn.at(Moment::Established);
    let since_established = |data: When| match (established.get(), data.get()) {
        (Some(established), Some(data)) if data < established => Some(0),
        _ => span(clock, established, data),
    };
    let first_response_ns = span(clock, client, server).filter(|_| answers);
    let first_response_server_ns = first_response_ns.and_then(|ns| match conn.vantage {
        Some(Vantage::Server) => Some(ns),
        Some(Vantage::Client) => Some(ns.saturating_sub(handshake.network_rtt_ns?)),
        Some(Vantage::Middle) | None => None,
    });
    event::FirstData {
        client_first_data_ns: since_established(client),
        server_first_data_ns: since_established(server),
        first_response_ns,
        first_response_server_ns,
        server_spoke_first: server.get().map(|_| !answers),
        server_name,
        alpn,
        http_host,
    }
}

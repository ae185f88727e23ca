//! What the sockets of this host knew of a connection when it ended.

use super::details::Details;
use crate::{
    event::Connection,
    sink::units::{Count, Nanos},
};
use std::fmt;

/// Writes the round-trip time, and what was sent again. Where both ends are on this host, the time is the client's, and what
/// both sent again is added up.
pub(super) fn sockets(event: &Connection, details: &mut Details<'_>) -> fmt::Result {
    let sockets = || [&event.client_socket, &event.server_socket].into_iter().flatten();
    if let Some(ns) = sockets().find_map(|socket| socket.rtt_ns) {
        details.add(format_args!("rtt {}", Nanos(ns)))?;
    }
    match sockets().map(|socket| u64::from(socket.retransmits)).sum() {
        0 => Ok(()),
        again => details.add(format_args!("{}", Count(again, "retransmit", "retransmits"))),
    }
}

//! What the sockets of this host knew when they closed.

use super::servers::Slowest;
use crate::event::Connection;
use std::fmt::{self, Write as _};

/// What the sockets of this host knew when they closed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    sent: u64,
    sent_again: u64,
    by_round_trip: Slowest,
}

impl Sockets {
    /// Adds what the sockets of a connection knew.
    pub(super) fn observe(&mut self, event: &Connection) {
        let sockets = || [&event.client_socket, &event.server_socket].into_iter().flatten();
        for socket in sockets() {
            self.sent += u64::from(socket.segments_out);
            self.sent_again += u64::from(socket.retransmits);
        }
        if let Some(ns) = sockets().find_map(|socket| socket.rtt_ns) {
            self.by_round_trip.record(event.common.server, ns);
        }
    }

    /// Writes the share of segments that were sent again, and the servers that are far away. It writes nothing if no socket
    /// was seen.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        self.by_round_trip.write("by their round-trip time at the end", out)?;
        if self.sent == 0 {
            return Ok(());
        }
        let share = 100.0 * self.sent_again as f64 / self.sent as f64;
        writeln!(
            out,
            "\nsent again by this host: {} of {} segments ({share:.2} %)",
            self.sent_again, self.sent
        )
    }
}

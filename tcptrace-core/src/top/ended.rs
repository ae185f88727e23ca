//! What is kept of a connection that is over.

use crate::{
    event::{Address, Connection, Outcome, State},
    segment::Timestamp,
};
use std::sync::Arc;

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number.
    pub id: u64,
    /// The active opener.
    pub client: Address,
    /// The other one.
    pub server: Address,
    /// The interface that it was seen on.
    pub interface: Arc<str>,
    /// The first segment seen.
    pub started: Timestamp,
    /// The last one.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether its handshake failed.
    pub failed: bool,
    /// Whether all of it was seen.
    pub complete: bool,
    /// The states of client and server at the end.
    pub states: [Option<State>; 2],
    /// How long the handshake took.
    pub handshake_ns: Option<u64>,
    /// How long the connection lived.
    pub lifetime_ns: Option<u64>,
}

impl From<&Connection> for Ended {
    fn from(event: &Connection) -> Self {
        Self {
            id: event.common.id,
            client: event.common.client,
            server: event.common.server,
            interface: Arc::clone(&event.common.interface),
            started: event.start,
            ended: event.common.ts,
            outcome: event.outcome,
            failed: event.failed,
            complete: event.common.complete,
            states: [event.client_state, event.server_state],
            handshake_ns: event.times.syn_to_established_ns,
            lifetime_ns: event.lifetime_ns,
        }
    }
}

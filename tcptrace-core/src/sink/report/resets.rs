//! Who reset connections, and when.

use crate::{
    event::{Connection, Outcome, ResetPhase, Role},
    sink::summary::Counts,
};
use std::{collections::BTreeMap, net::IpAddr};

/// What a RST ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// It answered a segment without SYN and ACK, as scanners send.
    Probe,
    /// It answered the SYN.
    Syn,
    /// It came before the connection was established, from the client.
    Opening,
    /// The connection was open.
    Open,
    /// One FIN had passed.
    Closing,
    /// Both FINs had passed.
    Closed,
}

impl When {
    /// Whether the handshake was complete.
    pub(super) const fn is_after_handshake(self) -> bool {
        matches!(self, Self::Open | Self::Closing | Self::Closed)
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Probe => "in answer to a probe without SYN and ACK",
            Self::Syn => "in answer to the SYN",
            Self::Opening => "before the connection was established",
            Self::Open => "while the connection was open",
            Self::Closing => "after one FIN",
            Self::Closed => "after both FINs",
        }
    }
}

/// An end that sends resets: a server with its port, a client without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Sender {
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
}

/// The resets of a trace.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// By who sent them, as `true` for the server, and when.
    by: BTreeMap<(bool, When), u64>,
    pub(super) senders: Counts<Sender>,
    /// Of those the ones by which a host answers that knows no such connection.
    pub(super) no_such_connection: u64,
    /// Connections that were ended by a RST that somebody else sent.
    pub(super) by_another: u64,
    /// RSTs that changed nothing.
    pub(super) ignored: u64,
}

impl Resets {
    pub(super) fn add(&mut self, event: &Connection) {
        self.ignored += event.resets_ignored.len() as u64;
        let Some((by, when)) = who_and_when(event) else { return };
        *self.by.entry((by == Role::Server, when)).or_default() += 1;
        self.no_such_connection += u64::from(event.no_such_connection);
        self.by_another += u64::from(event.reset_by_another.is_some());
        self.senders.add(match by {
            Role::Client => Sender { ip: event.common.client.ip, port: None },
            Role::Server => Sender { ip: event.common.server.ip, port: Some(event.common.server.port) },
        });
    }

    /// How many there were of each kind: whether the server sent them, when, and the number.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Role, When, u64)> {
        let role = |server| if server { Role::Server } else { Role::Client };
        self.by.iter().map(move |(&(server, when), &count)| (role(server), when, count))
    }

    pub(super) fn total(&self) -> u64 {
        self.by.values().sum()
    }
}

fn who_and_when(event: &Connection) -> Option<(Role, When)> {
    match (event.outcome, event.reset_phase) {
        (Outcome::Refused, _) if event.probe => Some((Role::Server, When::Probe)),
        (Outcome::Refused, _) => Some((Role::Server, When::Syn)),
        (_, Some(ResetPhase::Established)) => Some((event.reset_by?, When::Open)),
        (_, Some(ResetPhase::Closing)) => Some((event.reset_by?, When::Closing)),
        (_, Some(ResetPhase::AfterClose)) => Some((event.reset_by?, When::Closed)),
        (_, None) => Some((event.reset_by?, When::Opening)),
    }
}

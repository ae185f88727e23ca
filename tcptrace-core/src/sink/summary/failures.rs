//! Handshakes that failed, by server and outcome, and probes of scanners.

use super::{counts::Counts, outcome_name};
use crate::event::{Address, Connection, Outcome};
use std::{fmt, net::IpAddr};

/// Counts of handshakes that failed, and of probes.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Failed handshakes by server and outcome.
    failed: Counts<(Address, Outcome)>,
    /// RSTs to probes with control bits that no stack sends, by the addresses of scanner and host.
    probes: Counts<(IpAddr, IpAddr)>,
}

impl Failures {
    pub(super) fn observe(&mut self, event: &Connection) {
        if event.probe {
            self.probes.add((event.common.client.ip, event.common.server.ip));
        } else if event.failed {
            self.failed.add((event.common.server, event.outcome));
        }
    }

    /// Writes both tables. A scan is one line, however many ports it asks for.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let order = |(server, outcome): &(Address, Outcome)| (server.ip, server.port, outcome_name(*outcome));
        let show = |(server, outcome): &(Address, Outcome)| format!("{server}  {}", outcome_name(*outcome));
        self.failed.write("handshakes that failed, by server", order, show, out)?;
        let show = |(scanner, scanned): &(IpAddr, IpAddr)| format!("{scanner} > {scanned}");
        self.probes.write("RSTs to probes without SYN and ACK, as scanners send", |pair| *pair, show, out)
    }
}

//! The servers with the longest times.

use super::median;
use crate::{event::Address, sink::units::Nanos};
use hashbrown::HashMap;
use std::fmt::{self, Write as _};

/// The most servers that are remembered; after that the faster half is forgotten. The longest time of a server only grows, so
/// that the slowest few are exact. The mean of a server that was forgotten in between covers only what came since.
const SERVERS: usize = 4096;
/// The most servers that are named.
const SLOWEST: usize = 5;

/// The servers with the longest times of a kind.
#[derive(Debug, Default)]
pub(super) struct Slowest(HashMap<Address, Server>);

#[derive(Clone, Copy, Debug, Default)]
struct Server {
    longest_ns: u64,
    sum_ns: u64,
    times: u64,
}

impl Slowest {
    /// Records a time of a server.
    pub(super) fn record(&mut self, address: Address, ns: u64) {
        let server = self.0.entry(address).or_default();
        server.longest_ns = server.longest_ns.max(ns);
        server.sum_ns = server.sum_ns.saturating_add(ns);
        server.times += 1;
        if self.0.len() >= SERVERS {
            let median = median(self.0.values().map(|server| server.longest_ns));
            // Some servers at the median itself stay, in case none is above it.
            let mut ties = SLOWEST;
            self.0.retain(|_, server| {
                server.longest_ns > median
                    || (server.longest_ns == median && ties.checked_sub(1).map(|left| ties = left).is_some())
            });
        }
    }

    /// Writes the slowest servers; `by` says by which times. It writes nothing if there are none.
    pub(super) fn write(&self, by: &str, out: &mut String) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut servers: Vec<_> = self.0.iter().collect();
        // Equal servers are sorted by address, so that the same trace always gives the same text.
        servers.sort_unstable_by_key(|(address, server)| {
            (u64::MAX - server.longest_ns, address.ip, address.port)
        });
        writeln!(out, "\nslowest servers, {by}")?;
        for (address, server) in servers.into_iter().take(SLOWEST) {
            let mean = server.sum_ns.checked_div(server.times).unwrap_or_default();
            let longest = Nanos(server.longest_ns).to_string();
            writeln!(out, "{longest:>12}  {address}  (mean {} of {})", Nanos(mean), server.times)?;
        }
        Ok(())
    }
}

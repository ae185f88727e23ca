//! Handshakes that failed, by server and outcome, and probes of scanners.

use super::{median, outcome_name};
use crate::{
    event::{Address, Connection, Outcome},
    sink::units::Count,
};
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
    hash::Hash,
    net::IpAddr,
};

/// The most servers and outcomes that are remembered; after that the rarer half is forgotten. A scan of all ports would
/// fill any table.
const REMEMBERED: usize = 4096;
/// The most servers, or pairs of scanner and host, that are named.
const NAMED: usize = 5;

/// Counts of handshakes that failed, and of probes.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Failed handshakes by server and outcome.
    failed: Counts<(Address, Outcome)>,
    /// RSTs to probes with control bits that no stack sends, by the addresses of scanner and host.
    probes: Counts<(IpAddr, IpAddr)>,
}

/// Counts by key. Where there are too many keys the rarer half is forgotten, but is still in the total.
#[derive(Debug)]
struct Counts<K> {
    known: HashMap<K, u64>,
    total: u64,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), total: 0 }
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    fn add(&mut self, key: K) {
        self.total += 1;
        *self.known.entry(key).or_default() += 1;
        if self.known.len() > REMEMBERED {
            let median = median(self.known.values().copied());
            self.known.retain(|_, count| *count > median);
        }
    }

    /// Writes a title, the most frequent keys, and how many others there are; nothing if nothing was counted. `order`
    /// sorts keys of equal counts, so that the same trace always gives the same text.
    fn write<O: Ord, S: fmt::Display>(
        &self,
        title: &str,
        order: impl Fn(&K) -> O,
        show: impl Fn(&K) -> S,
        out: &mut String,
    ) -> fmt::Result {
        if self.total == 0 {
            return Ok(());
        }
        let mut counts: Vec<_> = self.known.iter().collect();
        counts.sort_unstable_by_key(|(key, count)| (Reverse(**count), order(key)));
        counts.truncate(NAMED);
        writeln!(out, "\n{title}")?;
        for (key, count) in &counts {
            writeln!(out, "{count:>12}  {}", show(key))?;
        }
        let others = self.total - counts.iter().map(|(_, count)| **count).sum::<u64>();
        if others > 0 {
            writeln!(out, "{:>12}  {}", "and", Count(others, "other", "others"))?;
        }
        Ok(())
    }
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

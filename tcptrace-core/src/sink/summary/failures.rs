//! Handshakes that failed, by server and by how; and scans, whose probes are none.

use super::{median, name};
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

/// Servers and causes remembered before the rarer half is forgotten, as of a scan that asks for every port.
const REMEMBERED: usize = 4096;
/// Of these named.
const NAMED: usize = 5;

/// Handshakes that failed, and probes.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By server and outcome.
    failed: Counts<(Address, Outcome)>,
    /// RSTs to probes with control bits that no stack sends, by who probes whom.
    probes: Counts<(IpAddr, IpAddr)>,
}

/// How many there were of each; the rarer are forgotten where there are too many, and are still in the total.
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

    /// The most frequent under a title, and how many others; nothing of nothing. `order` decides between equals, so that the
    /// same trace always reads the same.
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

    /// A scan is a line, however many ports it asks for.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let order = |(server, outcome): &(Address, Outcome)| (server.ip, server.port, name(*outcome));
        let show = |(server, outcome): &(Address, Outcome)| format!("{server}  {}", name(*outcome));
        self.failed.write("handshakes that failed, by server", order, show, out)?;
        let show = |(scanner, scanned): &(IpAddr, IpAddr)| format!("{scanner} > {scanned}");
        self.probes.write("RSTs to probes without SYN and ACK, as scanners send", |pair| *pair, show, out)
    }
}

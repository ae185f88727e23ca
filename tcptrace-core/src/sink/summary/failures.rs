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
    net::IpAddr,
};

/// Servers and causes remembered before the rarer half is forgotten, as of a scan that asks for every port.
const REMEMBERED: usize = 4096;
/// Of these named.
const NAMED: usize = 5;

/// How many failed, by server and outcome.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: HashMap<(Address, Outcome), u64>,
    total: u64,
    /// RSTs to probes with control bits that no stack sends, by who probes whom.
    probes: HashMap<(IpAddr, IpAddr), u64>,
    probed: u64,
}

impl Failures {
    pub(super) fn observe(&mut self, event: &Connection) {
        if event.probe {
            self.observe_probe(event);
            return;
        }
        if !event.failed {
            return;
        }
        self.total += 1;
        *self.counts.entry((event.common.server, event.outcome)).or_default() += 1;
        if self.counts.len() > REMEMBERED {
            let median = median(self.counts.values().copied());
            self.counts.retain(|_, count| *count > median);
        }
    }

    fn observe_probe(&mut self, event: &Connection) {
        self.probed += 1;
        *self.probes.entry((event.common.client.ip, event.common.server.ip)).or_default() += 1;
        if self.probes.len() > REMEMBERED {
            let median = median(self.probes.values().copied());
            self.probes.retain(|_, count| *count > median);
        }
    }

    /// A scan is a line, however many ports it asks for.
    pub(super) fn write_scans(&self, out: &mut String) -> fmt::Result {
        if self.probed == 0 {
            return Ok(());
        }
        let mut scans: Vec<_> = self.probes.iter().collect();
        scans.sort_unstable_by_key(|(pair, count)| (Reverse(**count), **pair));
        scans.truncate(NAMED);
        let named: u64 = scans.iter().map(|(_, count)| **count).sum();
        writeln!(out, "\nRSTs to probes without SYN and ACK, as scanners send")?;
        for ((scanner, scanned), count) in scans {
            writeln!(out, "{count:>12}  {scanner} > {scanned}")?;
        }
        write_others(self.probed - named, out)
    }

    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.total == 0 {
            return Ok(());
        }
        let mut counts: Vec<_> = self.counts.iter().collect();
        // The address decides between equals, so that the same trace always reads the same.
        counts.sort_unstable_by_key(|((server, outcome), count)| {
            (Reverse(**count), server.ip, server.port, name(*outcome))
        });
        counts.truncate(NAMED);
        let named: u64 = counts.iter().map(|(_, count)| **count).sum();
        writeln!(out, "\nhandshakes that failed, by server")?;
        for ((server, outcome), count) in counts {
            writeln!(out, "{count:>12}  {server}  {}", name(*outcome))?;
        }
        write_others(self.total - named, out)
    }
}

/// Those that are not named.
fn write_others(others: u64, out: &mut String) -> fmt::Result {
    if others == 0 {
        return Ok(());
    }
    writeln!(out, "{:>12}  {}", "and", Count(others, "other", "others"))
}

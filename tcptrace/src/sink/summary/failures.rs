//! Handshakes that failed, by server and by how.

use super::{median, name};
use crate::{
    event::{Address, Connection, Outcome},
    sink::units::Count,
};
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
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
}

impl Failures {
    pub(super) fn observe(&mut self, event: &Connection) {
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
        let others = self.total - named;
        if others > 0 {
            writeln!(out, "{:>12}  {}", "and", Count(others, "other", "others"))?;
        }
        Ok(())
    }
}

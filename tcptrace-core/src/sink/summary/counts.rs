//! How often something happened, by what it happened to.

use super::median;
use crate::sink::units::Count;
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
    hash::Hash,
};

/// The most keys that are remembered; after that the rarer half is forgotten. A scan of all ports would fill any table.
const REMEMBERED: usize = 4096;
/// The most keys that the summary names.
const NAMED: usize = 5;

/// Counts by key. Where there are too many keys the rarer half is forgotten, but is still in the total.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    known: HashMap<K, u64>,
    pub(crate) total: u64,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), total: 0 }
    }
}

impl<K: Copy + Eq + Hash> Counts<K> {
    /// One more of this key.
    pub(crate) fn add(&mut self, key: K) {
        self.total += 1;
        *self.known.entry(key).or_default() += 1;
        if self.known.len() > REMEMBERED {
            let median = median(self.known.values().copied());
            self.known.retain(|_, count| *count > median);
        }
    }

    /// The most frequent keys, at most so many, with their counts. `order` sorts keys of equal counts, so that the same trace
    /// always gives the same text.
    pub(crate) fn most<O: Ord>(&self, named: usize, order: impl Fn(&K) -> O) -> Vec<(K, u64)> {
        let mut counts: Vec<_> = self.known.iter().map(|(key, count)| (*key, *count)).collect();
        counts.sort_unstable_by_key(|(key, count)| (Reverse(*count), order(key)));
        counts.truncate(named);
        counts
    }

    /// Writes a title, the most frequent keys, and how many others there are; nothing if nothing was counted.
    pub(super) fn write<O: Ord, S: fmt::Display>(
        &self,
        title: &str,
        order: impl Fn(&K) -> O,
        show: impl Fn(&K) -> S,
        out: &mut String,
    ) -> fmt::Result {
        if self.total == 0 {
            return Ok(());
        }
        let counts = self.most(NAMED, order);
        writeln!(out, "\n{title}")?;
        for (key, count) in &counts {
            writeln!(out, "{count:>12}  {}", show(key))?;
        }
        let others = self.total - counts.iter().map(|(_, count)| *count).sum::<u64>();
        if others > 0 {
            writeln!(out, "{:>12}  {}", "and", Count(others, "other", "others"))?;
        }
        Ok(())
    }
}

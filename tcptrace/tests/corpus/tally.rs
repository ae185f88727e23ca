//! How the comparisons came out, as tables.

use libtest_mimic::Failed;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

/// The tables of the comparisons that were made, to be printed after the tests.
#[derive(Clone, Default)]
pub(crate) struct Tables {
    tables: Arc<Mutex<Vec<String>>>,
}

impl Tables {
    /// Adds one, if it is one: a comparison that compared nothing shows nothing.
    pub(crate) fn add(&self, table: String, plausible: bool) -> Result<(), Failed> {
        if !plausible {
            return Err(table.into());
        }
        self.tables.lock().map_err(|error| error.to_string())?.push(table);
        Ok(())
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.lock().map_err(|_| fmt::Error)?;
        tables.iter().try_for_each(|table| writeln!(f, "{table}"))
    }
}

/// What was equal, what is explained by which rule, and what is not.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) compared: u64,
    pub(crate) equal: u64,
    explained: u64,
    rules: BTreeMap<String, u64>,
    pub(crate) unexplained: Vec<String>,
}

impl Tally {
    /// Counts one of what is compared. It is equal if it needed no rule and nothing is unexplained.
    pub(crate) fn count<R: fmt::Debug>(
        &mut self,
        what: &impl fmt::Display,
        rules: &BTreeSet<R>,
        unexplained: &[String],
    ) {
        self.compared += 1;
        if !unexplained.is_empty() {
            self.unexplained.push(format!("{what}: {}", unexplained.join("; ")));
        } else if rules.is_empty() {
            self.equal += 1;
        } else {
            self.explained += 1;
        }
        for rule in rules {
            *self.rules.entry(format!("{rule:?}")).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.equal += other.equal;
        self.explained += other.explained;
        self.unexplained.extend(other.unexplained);
        for (rule, count) in other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
    }

    /// Fails where something is unexplained.
    pub(crate) fn conclude(&self) -> Result<(), Failed> {
        if self.unexplained.is_empty() { Ok(()) } else { Err(self.unexplained.join("\n").into()) }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  compared      {:>8}", self.compared)?;
        writeln!(f, "  equal         {:>8}", self.equal)?;
        writeln!(f, "  explained     {:>8}  (one can need several rules)", self.explained)?;
        for (rule, count) in &self.rules {
            writeln!(f, "    {rule:<20}{count:>6}")?;
        }
        writeln!(f, "  unexplained   {:>8}", self.unexplained.len())
    }
}

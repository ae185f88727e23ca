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
    pub(crate) packets: Fits,
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

/// What became of a packet that is to be shown to a kernel program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// Compared, with the TC program.
    Tc,
    /// Compared, with the XDP program.
    Xdp,
    /// Neither Ethernet nor (for TC) IP: the programs' devices have no such packets.
    LinkType,
    /// Cut by the snap length: the kernel's packets are whole.
    CutShort,
    /// Longer than `BPF_PROG_TEST_RUN` takes.
    TooLong,
    /// Shorter than it takes.
    TooShort,
}

/// How many packets were compared, and how many not.
#[derive(Clone, Default)]
pub(crate) struct Fits(Arc<Mutex<BTreeMap<Fit, u64>>>);

impl Fits {
    pub(crate) fn add(&self, fits: &[Fit]) -> Result<(), Failed> {
        let mut counts = self.0.lock().map_err(|error| error.to_string())?;
        for fit in fits {
            *counts.entry(*fit).or_default() += 1;
        }
        Ok(())
    }
}

impl fmt::Display for Fits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().map_err(|_| fmt::Error)?;
        if !counts.is_empty() {
            writeln!(f, "packets, in the kernel and in user space:")?;
        }
        counts.iter().try_for_each(|(fit, packets)| writeln!(f, "  {:<14}{packets:>8}", format!("{fit:?}")))
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.lock().map_err(|_| fmt::Error)?;
        tables.iter().try_for_each(|table| writeln!(f, "{table}"))?;
        self.packets.fmt(f)
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
    /// By what lies between the first header and TCP: equal, explained, unexplained.
    layers: BTreeMap<String, [u64; 3]>,
}

impl Tally {
    /// Counts one of what is compared by each layer that it is in.
    pub(crate) fn count_layers<'a>(
        &mut self,
        layers: impl IntoIterator<Item = &'a str>,
        rules: bool,
        unexplained: bool,
    ) {
        let column = if unexplained { 2 } else { usize::from(rules) };
        for layer in layers {
            self.layers.entry(layer.to_owned()).or_default()[column] += 1;
        }
    }

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
        for (layer, counts) in other.layers {
            let sum = self.layers.entry(layer).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
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
        writeln!(f, "  unexplained   {:>8}", self.unexplained.len())?;
        if !self.layers.is_empty() {
            writeln!(f, "  in                      equal   explained unexplained")?;
        }
        self.layers.iter().try_for_each(|(layer, [equal, explained, unexplained])| {
            writeln!(f, "    {layer:<20}{equal:>9}{explained:>12}{unexplained:>12}")
        })
    }
}

//! Distributions of times.

use crate::{
    event::Percentiles,
    sink::units::{Column, Nanos},
};
use hdrhistogram::{Counter, Histogram};
use std::fmt::{self, Write as _};

/// Times beyond this count as this: an hour is far beyond any handshake.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A distribution of times: the extremes exactly, quantiles to so many digits as it was made with.
#[derive(Debug)]
pub(super) struct Times<C: Counter = u64> {
    min: u64,
    max: u64,
    /// None if its bounds were refused, which constant ones are not.
    histogram: Option<Histogram<C>>,
}

impl Times {
    /// To three digits, in all the room that this may need.
    pub(super) fn new() -> Self {
        Self::of(Histogram::new_with_bounds(1, LONGEST_NS, 3).ok())
    }
}

impl Times<u32> {
    /// To two digits from a microsecond on, for many of them: as large as the longest time asks for, 13 KiB at most.
    pub(super) fn small() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, 2_000, 2).ok();
        Self::of(histogram.map(|mut histogram| {
            histogram.auto(true);
            histogram
        }))
    }
}

impl<C: Counter> Times<C> {
    fn of(histogram: Option<Histogram<C>>) -> Self {
        Self { min: u64::MAX, max: 0, histogram }
    }

    pub(super) fn record(&mut self, ns: Option<u64>) {
        if let (Some(histogram), Some(ns)) = (&mut self.histogram, ns) {
            // All that is no longer than this is in reach, or made to be.
            let _ = histogram.record(ns.min(LONGEST_NS));
            self.min = self.min.min(ns);
            self.max = self.max.max(ns);
        }
    }

    /// All that another one has.
    pub(super) fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(others)) = (&mut self.histogram, &other.histogram) {
            // Of what cannot be added, as both have the same bounds and grow, there is none.
            let _ = histogram.add(others);
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// What events and rows say of it.
    pub(super) fn percentiles(&self) -> Percentiles {
        let Some(histogram) = self.histogram.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Percentiles::default();
        };
        // A quantile is the upper edge of its bucket, which may lie beyond the largest time.
        let quantile = |q| Some(histogram.value_at_quantile(q).min(self.max));
        Percentiles {
            count: histogram.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: Some(self.max),
        }
    }

    /// A row of the table of handshakes; nothing of nothing.
    pub(super) fn write_row(&self, name: &str, which: &str, out: &mut String) -> fmt::Result {
        let Percentiles { count: 1.., p50, p90, p99, max } = self.percentiles() else { return Ok(()) };
        write!(out, "{name:18}")?;
        for ns in [Some(self.min), p50, p90, p99, max].into_iter().flatten() {
            write!(out, "  {:>10}", Nanos(ns).to_string())?;
        }
        writeln!(out, "{which}")
    }

    /// Three columns: half of them, nine in ten, and nearly all.
    pub(super) fn write_columns(&self, out: &mut String) -> fmt::Result {
        let Percentiles { p50, p90, p99, .. } = self.percentiles();
        for ns in [p50, p90, p99] {
            write!(out, " {}", Column(ns))?;
        }
        Ok(())
    }
}

//! Distributions of durations.

use crate::{
    event::Percentiles,
    sink::units::{Column, Nanos},
};
use hdrhistogram::{Counter, Histogram};
use std::fmt::{self, Write as _};

/// Durations above this are recorded as this. An hour is far beyond any handshake.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A distribution of durations. Minimum and maximum are exact; quantiles have as many digits as the histogram was made
/// with.
#[derive(Clone, Debug)]
pub(crate) struct Distribution<C: Counter = u64> {
    min: u64,
    max: u64,
    /// This is `None` only if the bounds of the histogram were refused, which does not happen with constant ones.
    histogram: Option<Histogram<C>>,
}

impl Distribution {
    /// A distribution with three digits, whose memory is all taken at once.
    pub(super) fn new() -> Self {
        Self::of(Histogram::new_with_bounds(1, LONGEST_NS, 3).ok())
    }
}

impl Distribution<u32> {
    /// A small distribution, of which there may be many: two digits from a microsecond on. It grows with the longest
    /// duration, to 13 KiB at most.
    pub(crate) fn small() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, 2_000, 2).ok();
        Self::of(histogram.map(|mut histogram| {
            histogram.auto(true);
            histogram
        }))
    }
}

impl<C: Counter> Distribution<C> {
    fn of(histogram: Option<Histogram<C>>) -> Self {
        Self { min: u64::MAX, max: 0, histogram }
    }

    pub(crate) fn record(&mut self, ns: Option<u64>) {
        if let (Some(histogram), Some(ns)) = (&mut self.histogram, ns) {
            // Recording cannot fail: no duration is above the limit, and a small histogram grows up to it.
            let _ = histogram.record(ns.min(LONGEST_NS));
            self.min = self.min.min(ns);
            self.max = self.max.max(ns);
        }
    }

    /// Adds all durations of another distribution.
    pub(crate) fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(others)) = (&mut self.histogram, &other.histogram) {
            // Adding cannot fail: both have the same bounds, and a small histogram grows.
            let _ = histogram.add(others);
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
    }

    /// The number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// Durations and how many there are of each, the shortest first, with as many digits as the histogram was made with.
    #[cfg(feature = "report")]
    pub(crate) fn recorded(&self) -> impl Iterator<Item = (u64, u64)> {
        let steps = self.histogram.iter().flat_map(Histogram::iter_recorded);
        steps.map(|step| (step.value_iterated_to().min(self.max), step.count_since_last_iteration()))
    }

    /// The shortest duration, exactly.
    #[cfg(feature = "report")]
    pub(crate) fn min(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.min)
    }

    /// The quantiles, as events and rows have them.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let Some(histogram) = self.histogram.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Percentiles::default();
        };
        // A quantile is the upper edge of its bucket, which may lie above the maximum.
        let quantile = |q| Some(histogram.value_at_quantile(q).min(self.max));
        Percentiles {
            count: histogram.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: Some(self.max),
        }
    }

    /// Writes a row of the table of handshakes; nothing if there are no durations.
    pub(super) fn write_row(&self, name: &str, which: &str, out: &mut String) -> fmt::Result {
        let Percentiles { count: 1.., p50, p90, p99, max } = self.percentiles() else { return Ok(()) };
        write!(out, "{name:18}")?;
        for ns in [Some(self.min), p50, p90, p99, max].into_iter().flatten() {
            write!(out, "  {:>10}", Nanos(ns).to_string())?;
        }
        writeln!(out, "{which}")
    }

    /// Writes three columns: the median, the 90th and the 99th percentile.
    pub(super) fn write_columns(&self, out: &mut String) -> fmt::Result {
        let Percentiles { p50, p90, p99, .. } = self.percentiles();
        for ns in [p50, p90, p99] {
            write!(out, " {}", Column(ns))?;
        }
        Ok(())
    }
}

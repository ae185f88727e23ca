//! An axis of durations, on which each power of ten is as wide as another.

use super::words::float;

/// An axis from one round duration to another.
pub(super) struct Axis {
    /// Round durations in nanoseconds: 1, 2 and 5 times powers of ten. There are two at least.
    edges: Vec<u64>,
    left: f64,
    width: f64,
}

impl Axis {
    /// The shortest axis that has these durations, drawn from `left` on.
    pub(super) fn covering(min: u64, max: u64, left: f64, width: f64) -> Self {
        let steps: Vec<u64> =
            (2..14).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_u64.pow(power))).collect();
        // Nothing is longer than the last step but times that nobody can have measured.
        let first = steps.partition_point(|step| *step <= min).saturating_sub(1).min(steps.len() - 2);
        let last = steps.partition_point(|step| *step < max).clamp(first + 1, steps.len() - 1);
        Self { edges: steps[first..=last].to_vec(), left, width }
    }

    /// Where a duration is. What is beyond the ends is at the end.
    pub(super) fn x(&self, ns: u64) -> f64 {
        let log = |ns: u64| float(ns.max(1)).log10();
        let (first, last) =
            (self.edges.first().copied().unwrap_or(1), self.edges.last().copied().unwrap_or(10));
        let part = (log(ns) - log(first)) / (log(last) - log(first));
        self.left + self.width * part.clamp(0.0, 1.0)
    }

    pub(super) fn edges(&self) -> &[u64] {
        &self.edges
    }

    /// Those that are written below the axis, so few that they do not touch each other.
    pub(super) fn labels(&self) -> Vec<u64> {
        let powers = |ns: &u64| ns.ilog10() as usize;
        let decades = self.edges.last().map_or(0, powers) - self.edges.first().map_or(0, powers);
        let every = (decades / 6).max(1);
        let first = self.edges.first().map_or(0, powers);
        self.edges
            .iter()
            .copied()
            .filter(|ns| match decades {
                0 | 1 => true,
                _ => ns.to_string().starts_with('1') && (powers(ns) - first).is_multiple_of(every),
            })
            .collect()
    }

    /// How many of the durations, which come with their numbers, are between each edge and the next.
    pub(super) fn bins(&self, durations: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
        let mut bins = vec![0; self.edges.len() - 1];
        for (ns, count) in durations {
            let place = self.edges.partition_point(|edge| *edge < ns).saturating_sub(1);
            let last = bins.len() - 1;
            bins[place.min(last)] += count;
        }
        bins
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_axis_has_room_for_all_and_counts_all(mut durations in proptest::collection::vec(0..u64::MAX, 1..20)) {
            durations.sort_unstable();
            let (min, max) = (durations[0], durations[durations.len() - 1]);
            let axis = Axis::covering(min, max, 10.0, 100.0);
            prop_assert!(axis.edges().len() >= 2);
            prop_assert!(!axis.labels().is_empty() || axis.edges().len() > 2, "{:?}", axis.edges());
            let bins = axis.bins(durations.iter().map(|ns| (*ns, 1)));
            prop_assert_eq!(bins.iter().sum::<u64>(), durations.len() as u64);
            let places: Vec<f64> = durations.iter().map(|ns| axis.x(*ns)).collect();
            prop_assert!(places.is_sorted(), "{places:?}");
            prop_assert!(places.iter().all(|x| (10.0..=110.0).contains(x)), "{places:?}");
        }
    }
}

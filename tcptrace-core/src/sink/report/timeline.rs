//! When connections began that failed or were reset, by cause, in steps of a length that fits the trace.

use crate::{
    event::{Connection, Outcome},
    segment::Timestamp,
};
use std::collections::BTreeMap;

/// The causes, as connections have them for their outcome.
pub(super) const CAUSES: [Outcome; 6] = [
    Outcome::Refused,
    Outcome::RefusedIcmp,
    Outcome::Unanswered,
    Outcome::SynackUnanswered,
    Outcome::Aborted,
    Outcome::Reset,
];

/// The most steps from the first connection to the last.
const MOST_STEPS: u64 = 120;
/// The lengths of a step in milliseconds, each a multiple of the one before, up to a day. Longer ones are twice as long as the one
/// before.
const LENGTHS_MS: [u64; 19] = [
    1, 2, 10, 20, 100, 200, 1_000, 2_000, 10_000, 30_000, 60_000, 120_000, 600_000, 1_800_000, 3_600_000,
    7_200_000, 21_600_000, 43_200_000, 86_400_000,
];

/// What began within a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) begun: u64,
    /// In the order of [`CAUSES`].
    pub(super) causes: [u64; CAUSES.len()],
}

/// The steps of a trace.
#[derive(Debug)]
pub(super) struct Timeline {
    /// By the number of the step since the epoch.
    steps: BTreeMap<u64, Step>,
    length_ns: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { steps: BTreeMap::new(), length_ns: LENGTHS_MS[0] * 1_000_000 }
    }
}

impl Timeline {
    pub(super) fn add(&mut self, event: &Connection) {
        if event.start == Timestamp::UNKNOWN {
            return;
        }
        let step = self.steps.entry(event.start.0 / self.length_ns).or_default();
        step.begun += 1;
        if let Some(place) = CAUSES.iter().position(|cause| *cause == event.outcome) {
            step.causes[place] += 1;
        }
        while self.span().is_some_and(|[first, last]| last - first >= MOST_STEPS) {
            self.lengthen();
        }
    }

    /// The numbers of the first and the last step.
    pub(super) fn span(&self) -> Option<[u64; 2]> {
        let (first, _) = self.steps.first_key_value()?;
        let (last, _) = self.steps.last_key_value()?;
        Some([*first, *last])
    }

    /// The step of that number.
    pub(super) fn step(&self, number: u64) -> Step {
        self.steps.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn length_ns(&self) -> u64 {
        self.length_ns
    }

    fn lengthen(&mut self) {
        let longer = LENGTHS_MS.iter().map(|ms| ms * 1_000_000).find(|ns| *ns > self.length_ns);
        let longer = longer.unwrap_or(self.length_ns.saturating_mul(2));
        let factor = longer / self.length_ns;
        self.length_ns = longer;
        for (number, step) in std::mem::take(&mut self.steps) {
            let sum = self.steps.entry(number / factor).or_default();
            sum.begun += step.begun;
            for (sum, count) in sum.causes.iter_mut().zip(step.causes) {
                *sum += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LENGTHS_MS, MOST_STEPS, Step, Timeline};
    use proptest::prelude::*;

    #[test]
    fn each_length_is_a_multiple_of_the_one_before() {
        for pair in LENGTHS_MS.windows(2) {
            assert_eq!(pair[1] % pair[0], 0, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_when_steps_become_longer(starts in proptest::collection::vec(0..u64::MAX, 1..40)) {
            let mut timeline = Timeline::default();
            for &start in &starts {
                let step = timeline.steps.entry(start / timeline.length_ns).or_insert_with(Step::default);
                step.begun += 1;
                step.causes[0] += 1;
                while timeline.span().is_some_and(|[first, last]| last - first >= MOST_STEPS) {
                    timeline.lengthen();
                }
            }
            let [first, last] = timeline.span().expect("there are some");
            prop_assert!(last - first < MOST_STEPS);
            prop_assert_eq!(first, starts.iter().min().expect("some") / timeline.length_ns());
            let sum: u64 = (first..=last).map(|number| timeline.step(number).causes[0]).sum();
            prop_assert_eq!(sum, starts.len() as u64);
        }
    }
}

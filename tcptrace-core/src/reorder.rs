//! Puts input in time order within a bounded window. The ring keeps the order in which records were reserved;
//! their stamps are a little older, and on several CPUs not in the same order.

use crate::segment::{Input, Timestamp};
use std::collections::VecDeque;

/// Holds input back until no earlier one can follow. Nearly all of it comes in order, so the place of a new one is
/// searched from the back.
#[derive(Debug, Default)]
pub struct Reorder {
    held: VecDeque<(Timestamp, Input)>,
    released: Timestamp,
    late: u64,
}

impl Reorder {
    /// Adds an input that happened at `ts`. Inputs of equal times keep the order in which they came.
    pub fn push(&mut self, ts: Timestamp, input: Input) {
        if ts < self.released {
            self.late += 1;
        }
        let behind = self.held.iter().rev().take_while(|(held, _)| *held > ts).count();
        self.held.insert(self.held.len() - behind, (ts, input));
    }

    /// Moves every input up to `until` to `out`, in time order: the caller knows that no earlier one will come.
    pub fn release(&mut self, until: Timestamp, out: &mut Vec<Input>) {
        let in_time = self.held.partition_point(|(ts, _)| *ts <= until);
        out.extend(self.held.drain(..in_time).map(|(_, input)| input));
        self.released = self.released.max(until);
    }

    /// Whether no input is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many inputs came too late to be put in order; they are passed on all the same.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::LossReport;

    /// An input at that time, with a mark by which the test knows it.
    fn at(ts: u64, mark: u64) -> (Timestamp, Input) {
        (Timestamp(ts), Input::Lost(LossReport { records: mark, after: Timestamp(0), until: Timestamp(ts) }))
    }

    fn marks(out: &[Input]) -> Vec<u64> {
        out.iter()
            .map(|input| match input {
                Input::Lost(loss) => loss.records,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn released(items: &[(u64, u64)], until: u64) -> (Vec<u64>, Reorder) {
        let (mut reorder, mut out) = (Reorder::default(), Vec::new());
        for (ts, mark) in items {
            let (ts, input) = at(*ts, *mark);
            reorder.push(ts, input);
        }
        reorder.release(Timestamp(until), &mut out);
        (marks(&out), reorder)
    }

    #[test]
    fn two_cpus_records_come_out_in_time_order() {
        let (out, reorder) = released(&[(10, 1), (30, 2), (12, 3), (31, 4), (11, 5)], 100);
        assert_eq!(out, [1, 5, 3, 2, 4]);
        assert!(reorder.is_empty());
    }

    #[test]
    fn equal_times_keep_the_order_of_arrival() {
        assert_eq!(released(&[(10, 1), (10, 2), (5, 3), (10, 4)], 10).0, [3, 1, 2, 4]);
    }

    #[test]
    fn what_lies_within_the_window_is_held_back() {
        let (out, mut reorder) = released(&[(10, 1), (21, 2), (20, 3)], 20);
        assert_eq!(out, [1, 3]);
        assert!(!reorder.is_empty());
        let mut out = Vec::new();
        reorder.release(Timestamp(21), &mut out);
        assert_eq!(marks(&out), [2]);
    }

    #[test]
    fn one_that_comes_too_late_is_passed_on_and_counted() {
        let (_, mut reorder) = released(&[(10, 1)], 50);
        let (ts, input) = at(40, 2);
        reorder.push(ts, input);
        let mut out = Vec::new();
        reorder.release(Timestamp(50), &mut out);
        assert_eq!(marks(&out), [2]);
        assert_eq!(reorder.late(), 1);
    }
}

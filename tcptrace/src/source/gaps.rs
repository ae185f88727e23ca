//! Which records did not arrive: every record carries its CPU's running number, so a gap is a fact.

use crate::segment::{LossReport, Timestamp};

/// The last number and time that came from one CPU.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    number: u32,
    ts: Timestamp,
}

/// The running numbers of every CPU, from 1 at the start of the trace, modulo 2^32.
#[derive(Debug)]
pub(super) struct Gaps {
    start: Timestamp,
    cpus: Vec<Cpu>,
    lost: u64,
}

impl Gaps {
    /// Nothing has come yet, and nothing is older than `start`.
    pub(super) const fn new(start: Timestamp) -> Self {
        Self { start, cpus: Vec::new(), lost: 0 }
    }

    /// A record came. Reports those that should have come before it.
    pub(super) fn observe(&mut self, cpu: u16, number: u32, ts: Timestamp) -> Option<LossReport> {
        let last = self.cpu(cpu.into());
        let step = number.wrapping_sub(last.number);
        if step > i32::MAX.cast_unsigned() {
            // From before the last one: one CPU's records keep their order, so it was reported as lost by a
            // check against the counters and came after all. Too late to take that back.
            return None;
        }
        let after = last.ts;
        *last = Cpu { number, ts: ts.max(after) };
        self.report(step.saturating_sub(1), after, ts)
    }

    /// The kernel has made `issued` records on this CPU, and every one that is in the ring has been observed:
    /// what is missing was lost. Nothing later than `until` is meant.
    pub(super) fn settle(&mut self, cpu: usize, issued: u64, until: Timestamp) -> Option<LossReport> {
        let missing = self.missing(cpu, issued);
        let last = self.cpu(cpu);
        let after = last.ts;
        if missing > 0 {
            *last = Cpu { number: last.number.wrapping_add(missing), ts: until.max(after) };
        }
        self.report(missing, after, until)
    }

    /// How many of the `issued` records of this CPU have neither come nor been reported.
    pub(super) fn missing(&mut self, cpu: usize, issued: u64) -> u32 {
        // Numbers are modulo 2^32.
        let low = u32::try_from(issued & u64::from(u32::MAX)).unwrap_or(0);
        let missing = low.wrapping_sub(self.cpu(cpu).number);
        // More have come than `issued`, which was read earlier.
        if missing > i32::MAX.cast_unsigned() { 0 } else { missing }
    }

    /// Records lost so far.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    fn cpu(&mut self, cpu: usize) -> &mut Cpu {
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Cpu { number: 0, ts: self.start });
        }
        &mut self.cpus[cpu]
    }

    fn report(&mut self, records: u32, after: Timestamp, until: Timestamp) -> Option<LossReport> {
        if records == 0 {
            return None;
        }
        self.lost += u64::from(records);
        Some(LossReport { records: records.into(), after, until: until.max(after) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(100);

    #[expect(clippy::unnecessary_wraps, reason = "compared with what is optional")]
    fn report(records: u64, after: u64, until: u64) -> Option<LossReport> {
        Some(LossReport { records, after: Timestamp(after), until: Timestamp(until) })
    }

    #[test]
    fn consecutive_numbers_of_each_cpu_are_no_loss() {
        let mut gaps = Gaps::new(START);
        for (cpu, number, ts) in [(0, 1, 110), (3, 1, 111), (0, 2, 112), (3, 2, 113), (0, 3, 114)] {
            assert_eq!(gaps.observe(cpu, number, Timestamp(ts)), None);
        }
        assert_eq!(gaps.lost(), 0);
    }

    #[test]
    fn a_gap_lies_between_that_cpus_neighbours() {
        let mut gaps = Gaps::new(START);
        gaps.observe(0, 1, Timestamp(110));
        gaps.observe(1, 1, Timestamp(150));
        assert_eq!(gaps.observe(0, 5, Timestamp(160)), report(3, 110, 160));
        assert_eq!(gaps.observe(1, 2, Timestamp(170)), None);
        assert_eq!(gaps.lost(), 3);
    }

    #[test]
    fn a_loss_before_the_first_record_begins_with_the_trace() {
        let mut gaps = Gaps::new(START);
        assert_eq!(gaps.observe(2, 4, Timestamp(130)), report(3, 100, 130));
    }

    #[test]
    fn numbers_wrap_at_two_to_the_32() {
        let mut gaps = Gaps::new(START);
        gaps.cpus = vec![Cpu { number: u32::MAX - 1, ts: START }];
        assert_eq!(gaps.observe(0, u32::MAX, Timestamp(110)), None);
        assert_eq!(gaps.observe(0, 0, Timestamp(120)), None);
        assert_eq!(gaps.observe(0, 3, Timestamp(130)), report(2, 120, 130));
        assert_eq!(gaps.settle(0, (1 << 32) + 5, Timestamp(140)), report(2, 130, 140));
    }

    #[test]
    fn settling_reports_a_lost_tail_once() {
        let mut gaps = Gaps::new(START);
        gaps.observe(0, 2, Timestamp(110));
        assert_eq!(gaps.missing(0, 6), 4);
        assert_eq!(gaps.settle(0, 6, Timestamp(200)), report(4, 110, 200));
        assert_eq!(gaps.settle(0, 6, Timestamp(300)), None);
        assert_eq!(gaps.observe(0, 7, Timestamp(310)), None);
        assert_eq!(
            gaps.settle(0, 6, Timestamp(320)),
            None,
            "the counters were read before the last record came"
        );
        assert_eq!(gaps.settle(9, 2, Timestamp(400)), report(2, 100, 400), "a CPU that was never heard of");
        assert_eq!(gaps.lost(), 1 + 4 + 2);
    }

    #[test]
    fn a_record_that_comes_after_it_was_given_up_changes_nothing() {
        let mut gaps = Gaps::new(START);
        gaps.settle(0, 3, Timestamp(200));
        assert_eq!(gaps.observe(0, 3, Timestamp(150)), None);
        assert_eq!(gaps.observe(0, 4, Timestamp(210)), None);
        assert_eq!(gaps.lost(), 3);
    }
}

//! Which records did not arrive, and up to when that is known. Every record carries its CPU's running number, so a gap
//! is a fact; but the tail of a loss has no record behind it that would show it, only the kernel's counters do.
//!
//! Nothing may be told of later than what is known: that a SYN was never answered is true only if no answer was lost.

use crate::segment::{LossReport, Timestamp};
use tcptrace_common::abi::Counters;

/// The last number that came from one CPU.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    number: u32,
    /// What it recorded up to then has come, or is reported as lost.
    known: Timestamp,
    lost: u64,
}

/// The kernel's counters as they were once.
#[derive(Debug)]
struct Checkpoint {
    issued: Vec<Counters>,
    /// The ring's end a moment later: what of the issued records is there lies before it.
    position: usize,
    /// A moment earlier: a record of before has its number in `issued`.
    at: Timestamp,
}

/// The running numbers of every CPU, from 1 at the start of the trace, modulo 2^32.
#[derive(Debug)]
pub(super) struct Gaps {
    start: Timestamp,
    cpus: Vec<Cpu>,
    lost: u64,
    checkpoint: Option<Checkpoint>,
    known: Timestamp,
    /// Since when the counters have not explained what is missing.
    unexplained: Option<Timestamp>,
}

impl Gaps {
    /// A record that is just being made is missing too, and not lost. That lasts some hundred nanoseconds, or as long as
    /// its virtual CPU is taken away: what is missing for longer than this counts as lost.
    const PATIENCE_NS: u64 = 1_000_000_000;

    /// Nothing has come yet, and nothing is older than `start`.
    pub(super) const fn new(start: Timestamp) -> Self {
        Self { start, cpus: Vec::new(), lost: 0, checkpoint: None, known: start, unexplained: None }
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
        self.advance(cpu.into(), step, step.saturating_sub(1), ts)
    }

    /// The counters are to be read before more of the ring is, and given to [`Self::begin`].
    pub(super) const fn needs_counters(&self) -> bool {
        self.checkpoint.is_none()
    }

    /// The counters were read after `at` and before the ring ended at `position`.
    pub(super) fn begin(&mut self, issued: Vec<Counters>, position: usize, at: Timestamp) {
        self.checkpoint = Some(Checkpoint { issued, position, at });
    }

    /// The ring was read up to `position`: what is known to be missing by that.
    pub(super) fn read_to(&mut self, position: usize) -> Vec<LossReport> {
        let Some(checkpoint) = self.checkpoint.take() else { return Vec::new() };
        // Positions count octets and wrap.
        let is_passed = position.wrapping_sub(checkpoint.position).cast_signed() >= 0;
        let mut reports = Vec::new();
        if is_passed {
            let since = *self.unexplained.get_or_insert(checkpoint.at);
            if self.explains(&checkpoint.issued) || checkpoint.at.since(since) >= Self::PATIENCE_NS {
                self.unexplained = None;
                reports = self.settle(&checkpoint.issued, checkpoint.at);
            }
        }
        let mut known = checkpoint.at;
        for (cpu, counters) in checkpoint.issued.iter().enumerate() {
            if self.missing(cpu, counters.number) == 0 {
                let cpu = self.cpu(cpu);
                cpu.known = cpu.known.max(checkpoint.at);
            } else {
                known = known.min(self.cpu(cpu).known);
            }
        }
        self.known = self.known.max(known);
        if !is_passed {
            self.checkpoint = Some(checkpoint);
        }
        reports
    }

    /// Everything that was recorded up to then has come, or is reported as lost.
    pub(super) const fn known_until(&self) -> Timestamp {
        self.known
    }

    /// More will be known soon, without anything that comes.
    pub(super) const fn is_waiting(&self) -> bool {
        self.checkpoint.is_some() || self.unexplained.is_some()
    }

    /// What is missing of the issued records, if nothing is left in the ring, is what found it full: nothing is still
    /// being written.
    pub(super) fn explains(&mut self, issued: &[Counters]) -> bool {
        issued.iter().enumerate().all(|(cpu, counters)| {
            let missing = self.missing(cpu, counters.number);
            missing == 0 || self.cpu(cpu).lost + u64::from(missing) <= counters.ring_full.iter().sum()
        })
    }

    /// Every one of the issued records that is in the ring has been observed: what is missing was lost. Nothing later than
    /// `until` is meant.
    pub(super) fn settle(&mut self, issued: &[Counters], until: Timestamp) -> Vec<LossReport> {
        let settle = |(cpu, counters): (usize, &Counters)| {
            let missing = self.missing(cpu, counters.number);
            (missing > 0).then(|| self.advance(cpu, missing, missing, until)).flatten()
        };
        issued.iter().enumerate().filter_map(settle).collect()
    }

    /// Records lost so far.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many of the `issued` records of this CPU have neither come nor been reported.
    fn missing(&mut self, cpu: usize, issued: u64) -> u32 {
        // Numbers are modulo 2^32.
        let low = u32::try_from(issued & u64::from(u32::MAX)).unwrap_or(0);
        let missing = low.wrapping_sub(self.cpu(cpu).number);
        // More have come than `issued`, which was read earlier.
        if missing > i32::MAX.cast_unsigned() { 0 } else { missing }
    }

    fn cpu(&mut self, cpu: usize) -> &mut Cpu {
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Cpu { number: 0, known: self.start, lost: 0 });
        }
        &mut self.cpus[cpu]
    }

    /// This CPU's number goes on by `step`, which is known at `ts`; `lost` of these records did not come.
    fn advance(&mut self, cpu: usize, step: u32, lost: u32, ts: Timestamp) -> Option<LossReport> {
        self.lost += u64::from(lost);
        let cpu = self.cpu(cpu);
        let after = cpu.known;
        let until = ts.max(after);
        *cpu = Cpu { number: cpu.number.wrapping_add(step), known: until, lost: cpu.lost + u64::from(lost) };
        (lost > 0).then_some(LossReport { records: lost.into(), after, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(100);
    const SECOND: u64 = 1_000_000_000;

    fn report(records: u64, after: u64, until: u64) -> LossReport {
        LossReport { records, after: Timestamp(after), until: Timestamp(until) }
    }

    /// Of each CPU the records that have a number, and those of them that found the ring full.
    fn counters(cpus: &[(u64, u64)]) -> Vec<Counters> {
        let of =
            |&(number, full)| Counters { number, ring_full: [0, full, 0, 0, 0, 0], ..Counters::default() };
        cpus.iter().map(of).collect()
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
        assert_eq!(gaps.observe(0, 5, Timestamp(160)), Some(report(3, 110, 160)));
        assert_eq!(gaps.observe(1, 2, Timestamp(170)), None);
        assert_eq!(gaps.lost(), 3);
    }

    #[test]
    fn a_loss_before_the_first_record_begins_with_the_trace() {
        let mut gaps = Gaps::new(START);
        assert_eq!(gaps.observe(2, 4, Timestamp(130)), Some(report(3, 100, 130)));
    }

    #[test]
    fn numbers_wrap_at_two_to_the_32() {
        let mut gaps = Gaps::new(START);
        gaps.cpus = vec![Cpu { number: u32::MAX - 1, known: START, lost: 0 }];
        assert_eq!(gaps.observe(0, u32::MAX, Timestamp(110)), None);
        assert_eq!(gaps.observe(0, 0, Timestamp(120)), None);
        assert_eq!(gaps.observe(0, 3, Timestamp(130)), Some(report(2, 120, 130)));
        let issued = counters(&[((1 << 32) + 5, 4)]);
        assert_eq!(gaps.settle(&issued, Timestamp(140)), [report(2, 130, 140)]);
    }

    #[test]
    fn settling_reports_a_lost_tail_once() {
        let mut gaps = Gaps::new(START);
        gaps.observe(0, 2, Timestamp(110));
        let issued = counters(&[(6, 5), (0, 0), (2, 2)]);
        assert!(gaps.explains(&issued));
        assert_eq!(gaps.settle(&issued, Timestamp(200)), [report(4, 110, 200), report(2, 100, 200)]);
        assert_eq!(gaps.settle(&issued, Timestamp(300)), []);
        assert_eq!(gaps.observe(0, 7, Timestamp(310)), None);
        assert_eq!(
            gaps.settle(&issued, Timestamp(320)),
            [],
            "the counters were read before the last record came"
        );
        assert_eq!(gaps.lost(), 1 + 4 + 2);
    }

    #[test]
    fn a_record_that_comes_after_it_was_given_up_changes_nothing() {
        let mut gaps = Gaps::new(START);
        gaps.settle(&counters(&[(3, 3)]), Timestamp(200));
        assert_eq!(gaps.observe(0, 3, Timestamp(150)), None);
        assert_eq!(gaps.observe(0, 4, Timestamp(210)), None);
        assert_eq!(gaps.lost(), 3);
    }

    #[test]
    fn a_quiet_ring_is_known_as_of_the_counters() {
        let mut gaps = Gaps::new(START);
        assert!(gaps.needs_counters());
        gaps.begin(counters(&[(2, 0), (0, 0)]), 96, Timestamp(500));
        gaps.observe(0, 1, Timestamp(200));
        gaps.observe(0, 2, Timestamp(300));
        assert_eq!(gaps.read_to(96), []);
        assert_eq!(gaps.known_until(), Timestamp(500));
        assert!(gaps.needs_counters() && !gaps.is_waiting());
        // The next loss is later than that, also on a CPU that was never heard of.
        gaps.begin(counters(&[(2, 0), (3, 3)]), 96, Timestamp(900));
        assert_eq!(gaps.read_to(96), [report(3, 500, 900)]);
        assert_eq!(gaps.known_until(), Timestamp(900));
    }

    /// Records of CPU 1 found the ring full, and CPU 0 goes on: what CPU 0 says later than that must wait.
    #[test]
    fn a_lost_tail_holds_time_back_until_it_is_counted() {
        let mut gaps = Gaps::new(START);
        gaps.begin(counters(&[(3, 0), (4, 3)]), 300, Timestamp(900));
        gaps.observe(1, 1, Timestamp(210));
        gaps.observe(0, 1, Timestamp(400));
        assert_eq!(gaps.read_to(200), []);
        assert_eq!(gaps.known_until(), Timestamp(210));
        assert!(gaps.is_waiting() && !gaps.needs_counters());
        gaps.observe(0, 2, Timestamp(500));
        gaps.observe(0, 3, Timestamp(600));
        assert_eq!(gaps.read_to(300), [report(3, 210, 900)]);
        assert_eq!(gaps.known_until(), Timestamp(900));
    }

    #[test]
    fn without_loss_time_goes_with_the_slower_cpu() {
        let mut gaps = Gaps::new(START);
        gaps.begin(counters(&[(2, 0), (2, 0), (0, 0)]), 400, Timestamp(900));
        gaps.observe(0, 1, Timestamp(200));
        gaps.observe(1, 1, Timestamp(210));
        gaps.read_to(200);
        assert_eq!(gaps.known_until(), Timestamp(200));
        gaps.observe(0, 2, Timestamp(300));
        gaps.read_to(300);
        assert_eq!(gaps.known_until(), Timestamp(210), "all of the first CPU's have come");
    }

    #[test]
    fn a_record_in_the_making_is_waited_for_but_not_for_ever() {
        let mut gaps = Gaps::new(START);
        let at = |tenths: u64| Timestamp(1000 + tenths * SECOND / 10);
        for tenths in 0..10 {
            assert!(gaps.needs_counters());
            gaps.begin(counters(&[(1, 0)]), 0, at(tenths));
            assert_eq!(gaps.read_to(0), [], "it has a number and did not find the ring full");
            assert_eq!(gaps.known_until(), START);
            assert!(gaps.is_waiting());
        }
        gaps.begin(counters(&[(1, 0)]), 0, at(10));
        assert_eq!(gaps.read_to(0), [report(1, 100, at(10).0)]);
        assert_eq!(gaps.known_until(), at(10));
        assert!(!gaps.is_waiting());
    }

    #[test]
    fn positions_wrap() {
        let mut gaps = Gaps::new(START);
        gaps.begin(counters(&[(1, 1)]), 8, Timestamp(200));
        assert_eq!(gaps.read_to(usize::MAX - 7), []);
        assert_eq!(gaps.read_to(8), [report(1, 100, 200)]);
    }
}

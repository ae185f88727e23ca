//! Which records did not arrive, and up to when that is known. Every record carries its CPU's running number, so a gap
//! in the numbers proves a loss. The last records that a CPU lost have no record behind them that would show the gap:
//! they show in the kernel's counters alone.
//!
//! The tracker's time must not go beyond what is known here: a SYN was never answered only if no answer was lost.

use crate::segment::{LossReport, Timestamp};
use tcptrace_common::abi::Counters;

/// What has come from one CPU.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    /// The number of the last record that came, or was reported as lost.
    number: u32,
    /// All that the CPU recorded up to this time has come, or is reported as lost.
    known: Timestamp,
    /// How many records were reported as lost.
    lost: u64,
}

/// The kernel's counters as they were at one time.
#[derive(Debug)]
struct Checkpoint {
    /// The counters of each CPU. The records that they count are the issued ones.
    issued: Vec<Counters>,
    /// The ring's end when the counters had been read: the issued records that are in the ring lie before it.
    position: usize,
    /// A time before the counters were read: each record that was made before it has its number in `issued`.
    at: Timestamp,
}

/// Follows the running numbers of every CPU, which begin with 1 at the start of the trace and are modulo 2^32.
#[derive(Debug)]
pub(super) struct Gaps {
    start: Timestamp,
    cpus: Vec<Cpu>,
    lost: u64,
    checkpoint: Option<Checkpoint>,
    known: Timestamp,
    /// Since when records are missing that the counters do not show as lost.
    unexplained: Option<Timestamp>,
}

impl Gaps {
    /// How long a record may be missing before it counts as lost without the counters saying so. A record that is just
    /// being made is missing and not lost. That lasts some hundred nanoseconds, or as long as a virtual CPU is taken
    /// away meanwhile.
    const PATIENCE_NS: u64 = 1_000_000_000;

    /// Begins at the start of the trace: nothing has come yet, and no record is older than `start`.
    pub(super) const fn new(start: Timestamp) -> Self {
        Self { start, cpus: Vec::new(), lost: 0, checkpoint: None, known: start, unexplained: None }
    }

    /// Takes note of a record that came, and reports the records that should have come before it.
    pub(super) fn observe(&mut self, cpu: u16, number: u32, ts: Timestamp) -> Option<LossReport> {
        let last = self.cpu(cpu.into());
        let step = number.wrapping_sub(last.number);
        if step > i32::MAX.cast_unsigned() {
            // The record's number is not above the last one's. The records of one CPU keep their order, so this one was
            // reported as lost by a comparison with the counters and came after all. The report cannot be taken back.
            return None;
        }
        self.advance(cpu.into(), step, step.saturating_sub(1), ts)
    }

    /// Whether the counters are to be read before more of the ring is, and given to [`Self::begin`].
    pub(super) const fn needs_counters(&self) -> bool {
        self.checkpoint.is_none()
    }

    /// Begins a comparison with the counters, which were read after the time `at` and before the ring ended at
    /// `position`.
    pub(super) fn begin(&mut self, issued: Vec<Counters>, position: usize, at: Timestamp) {
        self.checkpoint = Some(Checkpoint { issued, position, at });
    }

    /// Takes note that the ring was read up to `position`, and reports the records that are known to be lost by that.
    pub(super) fn read_to(&mut self, position: usize) -> Vec<LossReport> {
        let Some(checkpoint) = self.checkpoint.take() else { return Vec::new() };
        // Positions count octets and wrap.
        let is_passed = position.wrapping_sub(checkpoint.position).cast_signed() >= 0;
        let mut reports = Vec::new();
        if is_passed {
            let since = *self.unexplained.get_or_insert(checkpoint.at);
            if self.explains(&checkpoint.issued) || checkpoint.at.since(since) >= Self::PATIENCE_NS {
                self.unexplained = None;
                reports = self.report_missing(&checkpoint.issued, checkpoint.at);
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

    /// The time up to which everything that was recorded has come, or is reported as lost.
    pub(super) const fn known_until(&self) -> Timestamp {
        self.known
    }

    /// Whether more will be known soon, even if no record comes.
    pub(super) const fn is_waiting(&self) -> bool {
        self.checkpoint.is_some() || self.unexplained.is_some()
    }

    /// Whether the counters explain each of the issued records that is missing: it found the ring full. Nothing of them
    /// may be left in the ring. If some are not explained, they may still be being written.
    pub(super) fn explains(&mut self, issued: &[Counters]) -> bool {
        issued.iter().enumerate().all(|(cpu, counters)| {
            let missing = self.missing(cpu, counters.number);
            missing == 0 || self.cpu(cpu).lost + u64::from(missing) <= counters.ring_full.iter().sum()
        })
    }

    /// Reports each of the issued records that is missing as lost. All of them that were in the ring have to be
    /// observed before. They were made before `until`.
    pub(super) fn report_missing(&mut self, issued: &[Counters], until: Timestamp) -> Vec<LossReport> {
        let report = |(cpu, counters): (usize, &Counters)| {
            let missing = self.missing(cpu, counters.number);
            (missing > 0).then(|| self.advance(cpu, missing, missing, until)).flatten()
        };
        issued.iter().enumerate().filter_map(report).collect()
    }

    /// How many records were lost so far.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// How many of the `issued` records of this CPU have neither come nor been reported.
    fn missing(&mut self, cpu: usize, issued: u64) -> u32 {
        // Numbers are modulo 2^32.
        let low = u32::try_from(issued & u64::from(u32::MAX)).unwrap_or(0);
        let missing = low.wrapping_sub(self.cpu(cpu).number);
        // More records may have come than `issued` says, as it was read earlier.
        if missing > i32::MAX.cast_unsigned() { 0 } else { missing }
    }

    fn cpu(&mut self, cpu: usize) -> &mut Cpu {
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Cpu { number: 0, known: self.start, lost: 0 });
        }
        &mut self.cpus[cpu]
    }

    /// Moves this CPU's number on by `step`, as of the time `ts`, and reports a loss if `lost` of these records did not
    /// come.
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

    /// The counters of CPUs, of each of which are given the number of its last record and how many found the ring full.
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
        assert_eq!(gaps.report_missing(&issued, Timestamp(140)), [report(2, 130, 140)]);
    }

    #[test]
    fn settling_reports_a_lost_tail_once() {
        let mut gaps = Gaps::new(START);
        gaps.observe(0, 2, Timestamp(110));
        let issued = counters(&[(6, 5), (0, 0), (2, 2)]);
        assert!(gaps.explains(&issued));
        assert_eq!(gaps.report_missing(&issued, Timestamp(200)), [report(4, 110, 200), report(2, 100, 200)]);
        assert_eq!(gaps.report_missing(&issued, Timestamp(300)), []);
        assert_eq!(gaps.observe(0, 7, Timestamp(310)), None);
        assert_eq!(
            gaps.report_missing(&issued, Timestamp(320)),
            [],
            "the counters were read before the last record came"
        );
        assert_eq!(gaps.lost(), 1 + 4 + 2);
    }

    #[test]
    fn a_record_that_comes_after_it_was_given_up_changes_nothing() {
        let mut gaps = Gaps::new(START);
        gaps.report_missing(&counters(&[(3, 3)]), Timestamp(200));
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
        // The next loss begins after that time, also on a CPU from which nothing has come yet.
        gaps.begin(counters(&[(2, 0), (3, 3)]), 96, Timestamp(900));
        assert_eq!(gaps.read_to(96), [report(3, 500, 900)]);
        assert_eq!(gaps.known_until(), Timestamp(900));
    }

    /// Records of CPU 1 found the ring full while CPU 0 went on: records of CPU 0 that are later than that must wait.
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

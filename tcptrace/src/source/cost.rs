//! What a run of the kernel programs costs, by the kernel's own statistics. Keeping them costs tens of nanoseconds a run, so
//! they are on for a slice of some thousand packets, then off for a moment, and so on.
//!
//! A slice stands for all packets since the one before, whatever their number: so the figure is of the packets and not of the
//! seconds, and some cold runs before the first load do not speak for it.

use crate::kernel::load::{LoadError, Programs, runs::Runs};
use aya::sys::{Stats, enable_stats};
use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Packets of a slice, at least.
const SLICE: u64 = 2048;
/// So many have to be timed before anything is said.
const ENOUGH: u64 = 2 * SLICE;
/// How soon to look whether a slice has them; each time twice as late as the time before.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Between two slices.
const PAUSE: Duration = Duration::from_secs(1);
/// How much longer than looking took not to look: a hundredth of one CPU goes into it at most.
const REST: u32 = 100;

fn runs_of(programs: &[&Programs]) -> Runs {
    programs.iter().fold(Runs::default(), |sum, it| sum.and(it.runs()))
}

enum Phase {
    /// The kernel keeps statistics while the descriptor is open.
    Timing { _on: OwnedFd, before: Runs, look: Instant, wait: Duration },
    /// Until then it does not.
    Pausing { end: Instant },
    /// The kernel does not let us.
    Never,
}

/// Times slices in turn with pauses.
pub(super) struct CostMeter {
    phase: Phase,
    estimate: Estimate,
    /// Packets when the last slice ended.
    packets: u64,
}

impl CostMeter {
    /// Begins with a slice, which lasts until packets come.
    pub(super) fn start(programs: &[&Programs], now: Instant) -> Self {
        Self { phase: time(programs, now), estimate: Estimate::default(), packets: 0 }
    }

    /// When [`Self::step`] has something to do.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Timing { look: at, .. } | Phase::Pausing { end: at } => Some(at),
            Phase::Never => None,
        }
    }

    /// Ends a slice that has its packets, or a pause that is over. `packets` counts all since the beginning.
    pub(super) fn step(
        &mut self,
        programs: &[&Programs],
        packets: impl FnOnce() -> Result<u64, LoadError>,
        now: Instant,
    ) -> Result<(), LoadError> {
        match &mut self.phase {
            Phase::Timing { before, look, wait, .. } if *look <= now => {
                let runs = runs_of(programs).since(*before);
                if runs.count < SLICE {
                    *wait = (*wait * 2).min(LAST_LOOK).max(now.elapsed() * REST);
                    *look = now + *wait;
                } else {
                    self.end(runs, packets()?);
                    self.phase = Phase::Pausing { end: now + PAUSE };
                }
            }
            Phase::Pausing { end } if *end <= now => self.phase = time(programs, now),
            _ => {}
        }
        Ok(())
    }

    /// Ends a slice early, for good.
    pub(super) fn stop(
        &mut self,
        programs: &[&Programs],
        packets: impl FnOnce() -> Result<u64, LoadError>,
    ) -> Result<(), LoadError> {
        if let Phase::Timing { before, .. } = &self.phase {
            let runs = runs_of(programs).since(*before);
            self.end(runs, packets()?);
            self.phase = Phase::Never;
        }
        Ok(())
    }

    fn end(&mut self, runs: Runs, packets: u64) {
        self.estimate.add(runs, packets.saturating_sub(self.packets));
        self.packets = packets;
    }

    /// What was found out so far; None where the kernel does not let us time anything.
    pub(super) const fn estimate(&self) -> Option<Estimate> {
        if matches!(self.phase, Phase::Never) && self.estimate.timed == 0 {
            None
        } else {
            Some(self.estimate)
        }
    }
}

fn time(programs: &[&Programs], now: Instant) -> Phase {
    match enable_stats(Stats::RunTime) {
        Ok(on) => {
            Phase::Timing { _on: on, before: runs_of(programs), look: now + FIRST_LOOK, wait: FIRST_LOOK }
        }
        // Kernels before 5.8, or no CAP_SYS_ADMIN: the trace goes on without the number.
        Err(_) => Phase::Never,
    }
}

/// The mean of slices, each by the number of packets that it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Packets that were timed.
    pub timed: u64,
    /// Packets that the slices stand for.
    stands_for: u64,
    /// Nanoseconds of all these, by the means of the slices.
    ns: f64,
}

impl Estimate {
    /// A slice that is cut short, at the end of the trace, stands for no more than what was timed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits of nanoseconds are a hundred days in the programs"
    )]
    fn add(&mut self, runs: Runs, packets: u64) {
        if runs.count == 0 {
            return;
        }
        let packets = if runs.count < SLICE { runs.count } else { packets.max(runs.count) };
        self.timed += runs.count;
        self.stands_for += packets;
        self.ns += runs.time.as_nanos() as f64 / runs.count as f64 * packets as f64;
    }

    /// Nanoseconds a packet; None where too few were timed to say.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no 53 bits")]
    pub fn ns_per_packet(&self) -> Option<f64> {
        (self.timed >= ENOUGH).then(|| self.ns / self.stands_for as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u64, ns_each: u64) -> Runs {
        Runs { count, time: Duration::from_nanos(count * ns_each) }
    }

    fn estimate(slices: &[(Runs, u64)]) -> Estimate {
        let mut estimate = Estimate::default();
        for &(runs, packets) in slices {
            estimate.add(runs, packets);
        }
        estimate
    }

    #[test]
    fn of_a_few_cold_packets_nothing_is_said() {
        assert_eq!(estimate(&[]).ns_per_packet(), None);
        let few = estimate(&[(runs(37, 3738), 37), (runs(2048, 400), 2048)]);
        assert_eq!((few.timed, few.ns_per_packet()), (2085, None));
    }

    #[test]
    fn a_slice_speaks_for_the_packets_since_the_one_before() {
        // Cold ones that trickled in, then a load of which few were timed.
        let all = estimate(&[(runs(2100, 3000), 2100), (runs(2100, 300), 997_900)]);
        assert_eq!(all.timed, 4200);
        let mean = all.ns_per_packet().expect("enough were timed");
        assert!((mean - (2100.0 * 3000.0 + 997_900.0 * 300.0) / 1_000_000.0).abs() < 0.001, "{mean}");
    }

    #[test]
    fn a_slice_that_was_cut_short_speaks_for_itself_alone() {
        let all = estimate(&[(runs(10_000, 300), 990_000), (runs(10, 30_000), 1_000_000)]);
        let mean = all.ns_per_packet().expect("enough were timed");
        assert!((300.0..301.0).contains(&mean), "{mean}");
    }
}

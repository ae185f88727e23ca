//! What a run of the kernel programs costs, by the kernel's own statistics. Keeping them costs tens of nanoseconds a
//! run, so they are on for a slice of some thousand packets, then off for a second, and so on.
//!
//! A slice stands for all packets since the slice before, whatever their number. So the mean is one over packets and
//! not over time, and a few cold runs at the beginning do not speak for the load that follows.

use crate::kernel::load::{LoadError, Programs, runs::Runs};
use aya::sys::{Stats, enable_stats};
use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// The least number of packets in a slice.
const SLICE: u64 = 2048;
/// How many packets have to be timed before a cost is reported.
const ENOUGH: u64 = 2 * SLICE;
/// How long after a slice's beginning its packets are first counted. Each time after that waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(10);
/// The longest time between two counts.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// The time between two slices.
const PAUSE: Duration = Duration::from_secs(1);
/// The least time between two counts, in multiples of the time that a count takes: so counting takes a hundredth of one
/// CPU at most.
const REST: u32 = 100;

/// The runs of all copies of the programs.
fn runs_of(programs: &[&Programs]) -> Runs {
    programs.iter().fold(Runs::default(), |sum, it| sum.and(it.runs()))
}

/// What the meter is doing.
enum Phase {
    /// A slice: the kernel keeps statistics while the descriptor is open. Its packets are next counted at `look`.
    Timing { _on: OwnedFd, before: Runs, look: Instant, wait: Duration },
    /// A pause until `end`, in which the kernel keeps no statistics.
    Pausing { end: Instant },
    /// The end: the trace is over, or the kernel does not let us time anything.
    Never,
}

/// Times slices of packets, with pauses between them.
pub(super) struct CostMeter {
    phase: Phase,
    estimate: Estimate,
    /// How many packets there had been when the last slice ended.
    packets: u64,
}

impl CostMeter {
    /// Begins the first slice.
    pub(super) fn start(programs: &[&Programs], now: Instant) -> Self {
        Self { phase: begin_slice(programs, now), estimate: Estimate::default(), packets: 0 }
    }

    /// When [`Self::step`] has something to do.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Timing { look: at, .. } | Phase::Pausing { end: at } => Some(at),
            Phase::Never => None,
        }
    }

    /// Ends a slice that has enough packets, or a pause that is over. `packets` counts all packets since the trace
    /// began.
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
                    self.end_slice(runs, packets()?);
                    self.phase = Phase::Pausing { end: now + PAUSE };
                }
            }
            Phase::Pausing { end } if *end <= now => self.phase = begin_slice(programs, now),
            _ => {}
        }
        Ok(())
    }

    /// Ends the slice, however few packets it has, and begins no other.
    pub(super) fn stop(
        &mut self,
        programs: &[&Programs],
        packets: impl FnOnce() -> Result<u64, LoadError>,
    ) -> Result<(), LoadError> {
        if let Phase::Timing { before, .. } = &self.phase {
            let runs = runs_of(programs).since(*before);
            self.end_slice(runs, packets()?);
            self.phase = Phase::Never;
        }
        Ok(())
    }

    fn end_slice(&mut self, runs: Runs, packets: u64) {
        self.estimate.add(runs, packets.saturating_sub(self.packets));
        self.packets = packets;
    }

    /// The estimate so far; None where the kernel does not let us time anything.
    pub(super) const fn estimate(&self) -> Option<Estimate> {
        if matches!(self.phase, Phase::Never) && self.estimate.timed == 0 {
            None
        } else {
            Some(self.estimate)
        }
    }
}

fn begin_slice(programs: &[&Programs], now: Instant) -> Phase {
    match enable_stats(Stats::RunTime) {
        Ok(on) => {
            Phase::Timing { _on: on, before: runs_of(programs), look: now + FIRST_LOOK, wait: FIRST_LOOK }
        }
        // The kernel is older than 5.8, or CAP_SYS_ADMIN is missing: the trace goes on without an estimate.
        Err(_) => Phase::Never,
    }
}

/// The mean cost of a packet: that of the slices, each weighted by the number of packets that it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// How many packets were timed.
    pub timed: u64,
    /// How many packets the slices stand for.
    stands_for: u64,
    /// The nanoseconds that the packets took that the slices stand for, each as long as its slice's mean.
    ns: f64,
}

impl Estimate {
    /// Adds a slice that stands for `packets`. One that the end of the trace has cut short stands only for the packets
    /// that were timed.
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

    /// How many nanoseconds a packet takes; None if too few were timed to tell.
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
        // Cold runs trickled in first, then came a load of which few runs were timed.
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

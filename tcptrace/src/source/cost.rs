//! What a run of the kernel programs costs, by the kernel's own statistics. They are on only for a tenth of a
//! second now and then, since keeping them costs tens of nanoseconds a run.

use crate::kernel::{load::Programs, runs::Runs};
use aya::sys::{Stats, enable_stats};
use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

const SAMPLE: Duration = Duration::from_millis(100);
/// How long to look again where nothing came.
const IDLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(30);

fn runs_of(programs: &[&Programs]) -> Runs {
    programs.iter().fold(Runs::default(), |sum, it| sum.and(it.runs()))
}

enum Phase {
    /// The kernel keeps statistics while the descriptor is open.
    Sampling {
        _on: OwnedFd,
        before: Runs,
        end: Instant,
    },
    Pausing {
        end: Instant,
    },
    /// The kernel does not let us.
    Never,
}

/// Samples in turn with pauses.
pub(super) struct CostMeter {
    phase: Phase,
    total: Runs,
}

impl CostMeter {
    /// Begins with a sample, so that a short trace has one too.
    pub(super) fn start(programs: &[&Programs], now: Instant) -> Self {
        Self { phase: sample(programs, now), total: Runs::default() }
    }

    /// When [`Self::step`] has something to do.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Sampling { end, .. } | Phase::Pausing { end } => Some(end),
            Phase::Never => None,
        }
    }

    /// Ends a sample or a pause that is over.
    pub(super) fn step(&mut self, programs: &[&Programs], now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            match &mut self.phase {
                // Nothing came: statistics of nothing cost nothing, so wait for the first packets.
                Phase::Sampling { before, end, .. } if runs_of(programs).count == before.count => {
                    *end = now + IDLE;
                }
                Phase::Sampling { .. } => self.stop(programs, now),
                _ => self.phase = sample(programs, now),
            }
        }
    }

    /// Ends a running sample early.
    pub(super) fn stop(&mut self, programs: &[&Programs], now: Instant) {
        if let Phase::Sampling { before, .. } = &self.phase {
            let after = runs_of(programs);
            self.total.count += after.count.saturating_sub(before.count);
            self.total.time += after.time.saturating_sub(before.time);
            self.phase = Phase::Pausing { end: now + PAUSE };
        }
    }

    /// Nanoseconds a run, over all samples; None before the first packet of the first sample.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits of nanoseconds are a hundred days in the programs"
    )]
    pub(super) fn ns_per_run(&self) -> Option<f64> {
        (self.total.count > 0).then(|| self.total.time.as_nanos() as f64 / self.total.count as f64)
    }
}

fn sample(programs: &[&Programs], now: Instant) -> Phase {
    match enable_stats(Stats::RunTime) {
        Ok(on) => Phase::Sampling { _on: on, before: runs_of(programs), end: now + SAMPLE },
        // Kernels before 5.8, or no CAP_SYS_ADMIN: the trace goes on without the number.
        Err(_) => Phase::Never,
    }
}

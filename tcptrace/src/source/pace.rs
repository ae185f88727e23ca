//! How long to wait after a wake-up before draining the ring. Records that arrive meanwhile wake nobody. A wake-up
//! costs microseconds: a busy host pays for ten a second, and an idle one for its first record.

use crate::kernel::load::LoadOptions;
use std::time::Duration;

/// Chooses the time between a wake-up and the drain: as long as the latency allows, but not so long that the ring would
/// fill by more than an eighth at the rate of the last drain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    longest: Duration,
    ring_bytes: u64,
    bytes_per_ms: u64,
}

impl Pace {
    /// The part of the latency that is left for reading, ordering and writing.
    const REST: Duration = Duration::from_millis(20);

    /// Begins without knowing the rate. Records are to be reported within `latency`.
    pub(super) const fn new(ring_bytes: u64, latency: Duration) -> Self {
        Self { longest: latency.saturating_sub(Self::REST), ring_bytes, bytes_per_ms: 0 }
    }

    /// Takes note that a drain found `bytes` that had come in during `time`.
    pub(super) fn drained(&mut self, bytes: u64, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        self.bytes_per_ms = bytes / ms;
    }

    /// The time from a wake-up to the drain.
    pub(super) fn wait(self) -> Duration {
        match LoadOptions::wake_bytes(self.ring_bytes).checked_div(self.bytes_per_ms) {
            None => self.longest,
            Some(ms) => self.longest.min(Duration::from_millis(ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_shortens_as_the_rate_rises() {
        let mut pace = Pace::new(8 << 20, Duration::from_millis(40));
        assert_eq!(pace.wait(), Duration::from_millis(20), "nothing known");
        for (bytes, ms, expected_ms) in [
            (1_000, 20, 20),
            (1 << 20, 20, 20),
            (4 << 20, 20, 5),
            (8 << 20, 20, 2),
            (8 << 20, 0, 0),
            (0, 1_000, 20),
        ] {
            pace.drained(bytes, Duration::from_millis(ms));
            assert_eq!(pace.wait(), Duration::from_millis(expected_ms), "{bytes} bytes in {ms} ms");
        }
        assert_eq!(Pace::new(8 << 20, Duration::from_millis(5)).wait(), Duration::ZERO, "at once");
    }
}

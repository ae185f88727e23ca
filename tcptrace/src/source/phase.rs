//! Where the reader stands with the ring, and what wake-ups and drains change about it.

use std::time::{Duration, Instant};

/// Where the reader stands with the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The ring was empty; a record will wake the reader.
    Idle,
    /// A record has come, or is held back from the last drain; the ring is drained at this time.
    Waiting(Instant),
    /// A turn ended before the ring was empty.
    Draining,
    /// The trace is over.
    Ended,
}

impl Phase {
    /// What follows a wake-up by the ring, which is drained after `wait`. The kernel wakes the reader for the first record
    /// after a drain, and when the ring fills too fast to wait on.
    pub(super) fn woken(self, wait: Duration, is_filling: bool, now: Instant) -> Self {
        match self {
            Self::Idle => Self::Waiting(now + wait),
            Self::Waiting(_) if is_filling => Self::Draining,
            // A drain is due in any case, which the kernel does not know.
            Self::Waiting(_) | Self::Draining | Self::Ended => self,
        }
    }

    /// What follows a drain that has emptied the ring. Where something is held back for `window`, it is passed on with what
    /// comes until the next drain: a drain of its own would cost as much as one of a hundred records.
    pub(super) fn emptied(holds: bool, wait: Duration, window: Duration, now: Instant) -> Self {
        if holds && wait > window { Self::Waiting(now + wait) } else { Self::Idle }
    }

    /// Whether the ring is to be drained now. While nothing comes, that is done at `tick`.
    pub(super) fn is_due(self, tick: Instant, now: Instant) -> bool {
        match self {
            Self::Idle => tick <= now,
            Self::Waiting(drain) => drain <= now,
            Self::Draining => true,
            Self::Ended => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phase;
    use std::time::{Duration, Instant};

    const WAIT: Duration = Duration::from_millis(80);
    const WINDOW: Duration = Duration::from_millis(4);

    #[test]
    fn the_first_record_begins_a_wait_and_others_do_not_change_it() {
        let now = Instant::now();
        let waiting = Phase::Idle.woken(WAIT, false, now);
        assert_eq!(waiting, Phase::Waiting(now + WAIT));
        let later = now + WAIT / 2;
        assert_eq!(waiting.woken(WAIT, false, later), waiting);
        assert_eq!(waiting.woken(WAIT, true, later), Phase::Draining);
        assert!(!waiting.is_due(now, later) && waiting.is_due(now, now + WAIT));
    }

    #[test]
    fn what_is_held_back_is_passed_on_with_what_comes() {
        let now = Instant::now();
        assert_eq!(Phase::emptied(true, WAIT, WINDOW, now), Phase::Waiting(now + WAIT));
        assert_eq!(Phase::emptied(false, WAIT, WINDOW, now), Phase::Idle);
        // At once, and before it is in order: the tick after that passes it on.
        for short in [Duration::ZERO, WINDOW] {
            assert_eq!(Phase::emptied(true, short, WINDOW, now), Phase::Idle);
        }
    }

    #[test]
    fn without_records_the_tick_counts() {
        let now = Instant::now();
        let tick = now + WAIT;
        assert!(!Phase::Idle.is_due(tick, now) && Phase::Idle.is_due(tick, tick));
        assert!(Phase::Draining.is_due(tick, now) && !Phase::Ended.is_due(now, tick));
    }
}

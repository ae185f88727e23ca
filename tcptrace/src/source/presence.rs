//! Checks now and then whether the programs are still on their hooks. Somebody may take them off an interface that
//! stays, and the kernel does not tell: the trace would go on blind.

use super::{
    clock::{WallClock, monotonic_now},
    error::LiveError,
    spaces::Spaces,
};
use crate::{
    kernel::{attach::Notice, load::Programs},
    segment::{LossReport, Timestamp},
};
use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the check is made. There are ticks as often as this, so that the check wakes nobody.
const EVERY: Duration = Duration::from_secs(1);
/// The least time between two checks, in multiples of the time that a check takes. Many interfaces make many questions,
/// each of which the kernel answers under the lock that all changes of interfaces take.
const PAUSE: u32 = 1000;
/// The longest time that [`PAUSE`] can make of it.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What the checks have found.
pub(super) struct Presence {
    /// When all programs were last on their hooks.
    seen: Timestamp,
    /// When the next check is due.
    next: Instant,
    /// The interfaces that somebody has taken programs off.
    taken_off: Vec<Arc<str>>,
}

impl Presence {
    /// Begins when the programs were put on their hooks just now, at the time `seen`.
    pub(super) fn new(seen: Timestamp, now: Instant) -> Self {
        Self { seen, next: now + EVERY, taken_off: Vec::new() }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Makes the check. Interfaces that lack programs are let go of, with a notice. Connections that are open there
    /// will not be seen to end, so that a loss of an unknown number of records is reported.
    pub(super) fn check(
        &mut self,
        now: Instant,
        spaces: &mut Spaces,
        programs: &mut Programs,
        wall: WallClock,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<LossReport>, LiveError> {
        let (began, seen) = (Instant::now(), monotonic_now());
        let names = spaces.give_up_taken_off(programs, notices)?;
        self.next = now + (began.elapsed() * PAUSE).clamp(EVERY, LONGEST_PAUSE);
        let after = mem::replace(&mut self.seen, seen);
        if names.is_empty() {
            return Ok(None);
        }
        let unix_ns = i128::from(after.0) + i128::from(wall.offset_ns());
        // A clock shows no time that is out of the range.
        let since = jiff::Timestamp::from_nanosecond(unix_ns).unwrap_or_default();
        notices.extend(names.iter().map(|it| Notice::TakenOff { interface: Arc::clone(it), since }));
        self.taken_off.extend(names);
        Ok(Some(LossReport { records: 0, after, until: monotonic_now() }))
    }

    /// From how many interfaces somebody has taken programs off.
    pub(super) const fn taken_off(&self) -> usize {
        self.taken_off.len()
    }

    /// An error if somebody has taken programs off an interface.
    pub(super) fn verdict(&self) -> Result<(), LiveError> {
        if self.taken_off.is_empty() {
            return Ok(());
        }
        Err(LiveError::TakenOff { interfaces: self.taken_off.join(", ") })
    }
}

//! Whether the programs are where they were put. Somebody may take them off an interface that stays, and nothing tells of that: a
//! trace would go on blind.

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

/// How often to look: as often as there are ticks where nothing else happens, so that it wakes nobody.
const EVERY: Duration = Duration::from_secs(1);
/// How much longer than a look took not to look: many interfaces make many questions, each of which the kernel answers under
/// the lock that all changes of interfaces take.
const PAUSE: u32 = 1000;
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What was found out.
pub(super) struct Presence {
    /// All were in their places.
    seen: Timestamp,
    next: Instant,
    /// Interfaces that somebody has taken them off.
    taken_off: Vec<Arc<str>>,
}

impl Presence {
    /// They were put there just now.
    pub(super) fn new(seen: Timestamp, now: Instant) -> Self {
        Self { seen, next: now + EVERY, taken_off: Vec::new() }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Lets go of the interfaces that programs are missing on, and says so. What lives there then is not seen to end, so that its
    /// records count as lost, however many they would have been.
    pub(super) fn look(
        &mut self,
        now: Instant,
        spaces: &mut Spaces,
        programs: &mut Programs,
        wall: WallClock,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<LossReport>, LiveError> {
        let (began, seen) = (Instant::now(), monotonic_now());
        let names = spaces.look(programs, notices)?;
        self.next = now + (began.elapsed() * PAUSE).clamp(EVERY, LONGEST_PAUSE);
        let after = mem::replace(&mut self.seen, seen);
        if names.is_empty() {
            return Ok(None);
        }
        let unix_ns = i128::from(after.0) + i128::from(wall.offset_ns());
        // Any time that a clock shows is one.
        let since = jiff::Timestamp::from_nanosecond(unix_ns).unwrap_or_default();
        notices.extend(names.iter().map(|it| Notice::TakenOff { interface: Arc::clone(it), since }));
        self.taken_off.extend(names);
        Ok(Some(LossReport { records: 0, after, until: monotonic_now() }))
    }

    /// How many interfaces somebody has taken them off.
    pub(super) const fn taken_off(&self) -> usize {
        self.taken_off.len()
    }

    /// Fails if there is one.
    pub(super) fn verdict(&self) -> Result<(), LiveError> {
        if self.taken_off.is_empty() {
            return Ok(());
        }
        Err(LiveError::TakenOff { interfaces: self.taken_off.join(", ") })
    }
}

//! Connections of which segments were shed: what the kernel programs did not admit for a while never came.

use super::{Tracker, conn::Conn};
use crate::segment::Timestamp;
use tcptrace_common::admission::Admission;

/// What was admitted, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shedding {
    now: Admission,
    /// The least that was in force within the time for which a SYN is sent again: one that comes now need not be the
    /// first.
    recent: Admission,
    /// That time ends then.
    recent_until: Timestamp,
    /// The least that ever was in force.
    least: Admission,
}

impl Default for Shedding {
    fn default() -> Self {
        let all = Admission::ALL;
        Self { now: all, recent: all, recent_until: Timestamp::default(), least: all }
    }
}

impl Shedding {
    /// Segments of a connection that begins with one at `ts` may have been shed before, or will be.
    pub(super) fn touches(&self, lot: u32, partial: bool, ts: Timestamp) -> bool {
        if self.least == Admission::ALL {
            return false;
        }
        let least = match (partial, ts <= self.recent_until) {
            (true, _) => self.least,
            (false, true) => self.recent,
            (false, false) => self.now,
        };
        !least.takes(lot)
    }
}

impl Tracker {
    /// From `ts` on, `admission` is in force: what it does not take misses segments from now on.
    pub(super) fn admit(&mut self, admission: Admission, ts: Timestamp) {
        let shedding = &mut self.shedding;
        if ts > shedding.recent_until {
            shedding.recent = shedding.now;
        }
        shedding.recent = shedding.recent.min(admission);
        shedding.least = shedding.least.min(admission);
        shedding.recent_until = ts.plus(self.config.give_up_ns);
        let lowered = admission < shedding.now;
        shedding.now = admission;
        if lowered {
            for table in [&mut self.table, &mut self.challengers] {
                table.for_each(|conn| mark(conn, admission));
            }
        }
    }
}

/// What is over has no segments to miss.
fn mark(conn: &mut Conn, admission: Admission) {
    conn.flags.missed |= !conn.flags.ended && !admission.takes(conn.lot);
}

//! Which connections may miss segments because the kernel programs did not admit them for a while.

use super::{Tracker, conn::Conn};
use crate::segment::Timestamp;
use tcptrace_common::admission::Admission;

/// What the kernel programs admit now, and what they admitted before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shedding {
    now: Admission,
    /// The least that was admitted within the time for which a SYN is sent again: a SYN that comes now need not be the
    /// first.
    recent: Admission,
    /// When the time of `recent` ends.
    recent_until: Timestamp,
    /// The least that ever was admitted.
    least: Admission,
}

impl Default for Shedding {
    fn default() -> Self {
        let all = Admission::ALL;
        Self { now: all, recent: all, recent_until: Timestamp::default(), least: all }
    }
}

impl Shedding {
    /// Whether segments of a connection may have been shed, or will be. It has this lot and is seen first at `ts`;
    /// `partial` if not by its SYN.
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
    /// Sets what is admitted from `ts` on. Connections that are not admitted by that miss segments from now on.
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

/// Marks a connection that is not admitted as missing segments; one that is over has none to miss.
fn mark(conn: &mut Conn, admission: Admission) {
    conn.flags.missed |= !conn.flags.ended && !admission.takes(conn.lot);
}

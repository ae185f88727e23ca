//! The clock of a trace's source beside the trace's own time, for sources whose clock goes back or stops.
//!
//! The trace's own time never goes back. Where a file's time stamps do, or a packet has none, the trace's own time goes
//! on all the same, and another part of the source's time begins: an interval from one such part to another is not
//! known.

use crate::segment::{ClockChange, Timestamp};

/// The source's clock: all its changes in the trace so far. Before the first one it shows the trace's own time.
#[derive(Clone, Debug, Default)]
pub struct SourceClock {
    changes: Vec<ClockChange>,
}

impl SourceClock {
    /// Adds a change, which is not earlier than those before it.
    pub fn change(&mut self, change: ClockChange) {
        self.changes.push(change);
    }

    #[inline]
    fn ahead(&self, ts: Timestamp) -> Option<u64> {
        if self.changes.is_empty() {
            return Some(0);
        }
        let after = self.changes.partition_point(|change| change.ts <= ts);
        after.checked_sub(1).map_or(Some(0), |place| self.changes[place].ahead)
    }

    /// What the source's clock showed at `ts`; [`Timestamp::UNKNOWN`] where it showed nothing.
    #[inline]
    #[must_use]
    pub fn shown(&self, ts: Timestamp) -> Timestamp {
        self.ahead(ts).map_or(Timestamp::UNKNOWN, |ahead| Timestamp(ts.0.wrapping_add(ahead)))
    }

    /// Nanoseconds from one moment to another by the source's clock; `None` where that clock showed nothing, was not
    /// equally far ahead of the trace's own time at both, or `to` is the earlier one.
    #[inline]
    #[must_use]
    pub fn span(&self, from: Timestamp, to: Timestamp) -> Option<u64> {
        let ns = to.0.checked_sub(from.0)?;
        if ns == 0 || self.changes.is_empty() {
            return Some(ns);
        }
        let ahead = self.ahead(from)?;
        (self.ahead(to) == Some(ahead)).then_some(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::SourceClock;
    use crate::segment::{ClockChange, Timestamp};

    fn clock(changes: &[(u64, Option<u64>)]) -> SourceClock {
        let mut clock = SourceClock::default();
        for &(ts, ahead) in changes {
            clock.change(ClockChange { ts: Timestamp(ts), ahead });
        }
        clock
    }

    #[test]
    fn without_changes_it_shows_the_own_time() {
        let clock = clock(&[]);
        assert_eq!(clock.shown(Timestamp(7)), Timestamp(7));
        assert_eq!(clock.span(Timestamp(7), Timestamp(9)), Some(2));
        assert_eq!(clock.span(Timestamp(9), Timestamp(7)), None);
    }

    #[test]
    fn what_lies_across_a_change_is_unknown() {
        let back = 5_u64.wrapping_neg();
        let clock = clock(&[(10, Some(back)), (20, None), (30, Some(back))]);
        let shown = [9, 10, 19, 20, 29, 30].map(|ts| clock.shown(Timestamp(ts)).0);
        assert_eq!(shown, [9, 5, 14, u64::MAX, u64::MAX, 25]);
        for (from, to, ns) in [
            (3, 9, Some(6)),
            (9, 10, None),
            (10, 19, Some(9)),
            (19, 20, None),
            (20, 21, None),
            (21, 21, Some(0)),
            (29, 30, None),
            // The clock shows again what it showed before.
            (19, 31, Some(12)),
            (9, 31, None),
        ] {
            assert_eq!(clock.span(Timestamp(from), Timestamp(to)), ns, "{from} {to}");
        }
    }
}

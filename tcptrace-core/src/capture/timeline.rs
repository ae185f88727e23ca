//! Makes the times of a trace, which go on, of the time stamps of a file, which may not.
//!
//! Clocks are set, files are merged in the wrong order, single packets are stamped with nonsense, and some have no time
//! at all. The trace has a time of its own that goes on through all of that, so that no timer of the tracker expires
//! too early. [`ClockChange`]s say how the clock of the file differs from it, so that no interval is made up.

use crate::segment::{ClockChange, Timestamp};

/// How far a packet may be stamped before an earlier one, in nanoseconds, without a change of the clock: packets come a
/// little out of order where several queues or CPUs stamp them.
const SLACK_NS: u64 = 1_000_000;
/// How far a packet may be stamped after all earlier ones, in nanoseconds, for its time to be accepted without waiting
/// for the next packet.
const LEAP_NS: u64 = 10_000_000_000;
/// The most changes of the clock that are reported. After these the time of the file is unknown.
const MOST_CHANGES: usize = 1 << 16;

/// What is wrong with the time stamps of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TimeFaults {
    /// How often time went back by more than a millisecond, on one interface or from one file to the next.
    pub(super) back: u64,
    /// The largest of these steps back, in nanoseconds.
    pub(super) back_most_ns: u64,
    /// The number of packets without a time stamp.
    pub(super) missing: u64,
    /// The number of packets whose time stamp was discarded, because the next packet goes on from those before it.
    pub(super) taken_back: u64,
}

/// A time of the trace, and how far the clock of the file is ahead of it, modulo 2^64; `None` where that is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    ts: Timestamp,
    ahead: Option<u64>,
}

/// Whether the time of a packet is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    At(Stamp),
    /// The next packet decides on the time.
    Held,
}

/// A packet whose time stamp is not accepted yet.
#[derive(Clone, Copy)]
struct Held {
    interface: usize,
    shown: u64,
    /// How far it is stamped before an earlier packet of its interface, in nanoseconds.
    back: u64,
}

/// The time line of a trace that is read from files.
pub(super) struct TimeLine {
    /// How far the clock of the file is ahead of the time of the trace, modulo 2^64.
    ahead: u64,
    /// The value of `ahead` that was reported last, and the time of the trace from which on it holds.
    reported: Option<u64>,
    reported_from: Timestamp,
    /// The latest time that was reported.
    last_reported: Timestamp,
    changes: usize,
    /// The latest time of all packets so far, on the time line of the trace.
    latest: Timestamp,
    /// The latest time stamp since the clock was set; `None` before any packet had one.
    clock: Option<u64>,
    /// The latest time stamp of each interface.
    shown: Vec<u64>,
    held: Option<Held>,
    faults: TimeFaults,
}

impl TimeLine {
    pub(super) const fn new() -> Self {
        Self {
            ahead: 0,
            reported: Some(0),
            reported_from: Timestamp(0),
            last_reported: Timestamp(0),
            changes: 0,
            latest: Timestamp(0),
            clock: None,
            shown: Vec::new(),
            held: None,
            faults: TimeFaults { back: 0, back_most_ns: 0, missing: 0, taken_back: 0 },
        }
    }

    pub(super) const fn faults(&self) -> TimeFaults {
        self.faults
    }

    /// The latest time of all packets so far, on the time line of the trace.
    pub(super) const fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Whether a packet is held whose time the next packet decides on.
    #[inline]
    pub(super) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Places a packet on the time line of the trace, or holds it. No packet may be held when this is called.
    #[inline]
    pub(super) fn place(&mut self, interface: u32, ts: Timestamp) -> Placed {
        let Some(latest) = self.clock else {
            return self.place_first(interface as usize, ts);
        };
        let interface = interface as usize;
        let last = self.shown.get(interface).copied().unwrap_or(0);
        if ts.0 >= last.saturating_sub(SLACK_NS)
            && ts.0 <= latest.saturating_add(LEAP_NS)
            && ts != Timestamp::UNKNOWN
            && let Some(shown) = self.shown.get_mut(interface)
        {
            *shown = last.max(ts.0);
            return Placed::At(self.stamp_of(ts.0));
        }
        self.place_unexpected(interface, last, ts)
    }

    /// Holds the first packet, as its time stamp may be the wrong one.
    #[cold]
    fn place_first(&mut self, interface: usize, ts: Timestamp) -> Placed {
        if ts == Timestamp::UNKNOWN {
            self.faults.missing += 1;
            return Placed::At(self.stamp_unknown());
        }
        self.held = Some(Held { interface, shown: ts.0, back: 0 });
        Placed::Held
    }

    #[cold]
    fn place_unexpected(&mut self, interface: usize, last: u64, ts: Timestamp) -> Placed {
        if ts == Timestamp::UNKNOWN {
            self.faults.missing += 1;
            return Placed::At(self.stamp_unknown());
        }
        let leaps = self.clock.is_some_and(|latest| ts.0 > latest.saturating_add(LEAP_NS));
        let back = last.saturating_sub(ts.0);
        if back <= SLACK_NS && !leaps {
            self.set_shown(interface, last.max(ts.0));
            return Placed::At(self.stamp_of(ts.0));
        }
        self.held = Some(Held { interface, shown: ts.0, back });
        Placed::Held
    }

    /// Decides on the time of the packet that is held, by the time stamp of the packet after it; `None` for the end of
    /// the file.
    #[cold]
    pub(super) fn decide(&mut self, next: Option<Timestamp>) -> Option<Stamp> {
        let Held { interface, shown, back } = self.held.take()?;
        let next = next.filter(|&next| next != Timestamp::UNKNOWN).map(|next| next.0);
        let taken_back = match (self.clock, next) {
            (_, None) => false,
            // The next packet goes on from those before the held one, and not from it.
            (Some(latest), Some(next)) => next.abs_diff(latest) < next.abs_diff(shown),
            (None, Some(next)) => next < shown.saturating_sub(LEAP_NS),
        };
        if taken_back {
            self.faults.taken_back += 1;
            self.count_step_back(back.max(shown.saturating_sub(next.unwrap_or(shown))));
            return Some(self.stamp_unknown());
        }
        self.count_step_back(back);
        if back > 0 || (self.clock.is_none() && self.latest.0 > 0) {
            self.set_clock(shown);
        }
        self.set_shown(interface, shown);
        Some(self.stamp_of(shown))
    }

    /// The clock of the file was set, and shows `shown` for the next moment of the trace.
    fn set_clock(&mut self, shown: u64) {
        self.latest = self.latest.plus(1);
        self.ahead = shown.wrapping_sub(self.latest.0);
        self.clock = Some(shown);
        // All interfaces have the same clock.
        self.shown.fill(0);
    }

    /// Begins another file, whose first packet is stamped `first`. Where that is before the last file ended, the clock
    /// of all interfaces counts as set, and the return value says how far back, in nanoseconds.
    pub(super) fn begin_file(&mut self, first: Timestamp) -> Option<u64> {
        let back = self.clock?.saturating_sub(first.0);
        if back <= SLACK_NS {
            return None;
        }
        self.count_step_back(back);
        self.set_clock(first.0);
        Some(back)
    }

    fn set_shown(&mut self, interface: usize, shown: u64) {
        if interface >= self.shown.len() {
            self.shown.resize(interface + 1, 0);
        }
        self.shown[interface] = shown;
    }

    fn count_step_back(&mut self, ns: u64) {
        if ns > SLACK_NS {
            self.faults.back += 1;
            self.faults.back_most_ns = self.faults.back_most_ns.max(ns);
        }
    }

    /// The stamp of a packet that goes on from those before it.
    #[inline]
    fn stamp_of(&mut self, shown: u64) -> Stamp {
        let ts = Timestamp(shown.wrapping_sub(self.ahead));
        if self.clock.is_none_or(|clock| clock < shown) {
            (self.latest, self.clock) = (ts.max(self.latest), Some(shown));
        }
        Stamp { ts, ahead: Some(self.ahead) }
    }

    /// The stamp of a packet whose time is unknown: it is later than all before it, by nobody knows how much.
    fn stamp_unknown(&mut self) -> Stamp {
        self.latest = self.latest.plus(1);
        Stamp { ts: self.latest, ahead: None }
    }

    /// The time to report for a packet, and the change of the clock to report before it, if there is one.
    #[inline]
    pub(super) fn report(&mut self, stamp: Stamp) -> (Timestamp, Option<ClockChange>) {
        if stamp.ahead == self.reported && stamp.ts >= self.reported_from {
            self.last_reported = self.last_reported.max(stamp.ts);
            return (stamp.ts, None);
        }
        self.report_change(stamp)
    }

    #[cold]
    fn report_change(&mut self, stamp: Stamp) -> (Timestamp, Option<ClockChange>) {
        // Each moment of the trace belongs to one setting of the clock, and the settings follow each other. A packet
        // that is out of order across a change keeps the time that it shows, as a setting of its own.
        let first = self.last_reported == Timestamp(0);
        let ts = if first { stamp.ts } else { stamp.ts.max(self.last_reported.plus(1)) };
        let late = ts.since(stamp.ts);
        self.last_reported = ts;
        let ahead = stamp.ahead.map(|ahead| ahead.wrapping_sub(late)).filter(|_| self.changes < MOST_CHANGES);
        if ahead == self.reported {
            return (ts, None);
        }
        (self.reported, self.reported_from) = (ahead, ts);
        self.changes += 1;
        self.latest = self.latest.max(ts);
        (ts, Some(ClockChange { ts, ahead }))
    }
}

#[cfg(test)]
mod tests;

//! From a file's time stamps to time that goes on.
//!
//! Clocks are set, files are put together in the wrong order, single packets are stamped with nonsense, and some have no
//! time at all. The trace's own time goes on through all of that, so that nothing runs out before it should. It tells where
//! the file's is another one, so that no interval is made up.

use crate::{segment::Timestamp, source_clock::ClockChange};

/// Packets come a little out of order where several queues or CPUs stamp them: so far that is no other time.
const SLACK_NS: u64 = 1_000_000;
/// A packet that comes so much later than all before it is not believed before the next one has come.
const LEAP_NS: u64 = 10_000_000_000;
/// Changes of the clock that are told of; beyond that many nothing is known of the time.
const MOST_CHANGES: usize = 1 << 16;

/// What is wrong with a file's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Times {
    /// Packets stamped earlier than one before them on their interface, by a millisecond at least.
    pub(super) back: u64,
    /// By how many nanoseconds at most.
    pub(super) back_most_ns: u64,
    /// Packets without a time stamp.
    pub(super) missing: u64,
    /// Packets whose time stamp the next packet takes back.
    pub(super) taken_back: u64,
}

/// A moment of the trace, and how far ahead the file's clock is then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    ts: Timestamp,
    ahead: Option<u64>,
}

/// When a packet was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    At(Stamp),
    /// The next packet will show.
    Held,
}

/// A packet whose time is not believed yet.
#[derive(Clone, Copy)]
struct Held {
    interface: usize,
    shown: u64,
    /// By so much it went back.
    back: u64,
}

/// The times of one file.
pub(super) struct TimeLine {
    /// How far the file's clock is ahead of the trace's time, modulo 2^64.
    ahead: u64,
    /// The same as it was told last, and from when on.
    told: Option<u64>,
    told_from: Timestamp,
    /// The latest time that was told.
    told_last: Timestamp,
    changes: usize,
    /// The latest of all packets so far, by the trace's time.
    latest: Timestamp,
    /// By the file's clock, since it was set; `None` before any has a time.
    clock: Option<u64>,
    /// What the file's clock showed last, for each interface.
    shown: Vec<u64>,
    held: Option<Held>,
    times: Times,
}

impl TimeLine {
    pub(super) const fn new() -> Self {
        Self {
            ahead: 0,
            told: Some(0),
            told_from: Timestamp(0),
            told_last: Timestamp(0),
            changes: 0,
            latest: Timestamp(0),
            clock: None,
            shown: Vec::new(),
            held: None,
            times: Times { back: 0, back_most_ns: 0, missing: 0, taken_back: 0 },
        }
    }

    pub(super) const fn times(&self) -> Times {
        self.times
    }

    /// The latest of all packets so far, by the trace's time.
    pub(super) const fn latest(&self) -> Timestamp {
        self.latest
    }

    /// A packet is held that the next one decides about.
    #[inline]
    pub(super) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Places a packet, if it can be said by now when it was captured. None may be held.
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
            return Placed::At(self.goes_on(ts.0));
        }
        self.place_odd(interface, last, ts)
    }

    /// The first one is held, as it may be the one that is wrong.
    #[cold]
    fn place_first(&mut self, interface: usize, ts: Timestamp) -> Placed {
        if ts == Timestamp::UNKNOWN {
            self.times.missing += 1;
            return Placed::At(self.unknown());
        }
        self.held = Some(Held { interface, shown: ts.0, back: 0 });
        Placed::Held
    }

    #[cold]
    fn place_odd(&mut self, interface: usize, last: u64, ts: Timestamp) -> Placed {
        if ts == Timestamp::UNKNOWN {
            self.times.missing += 1;
            return Placed::At(self.unknown());
        }
        let leaps = self.clock.is_some_and(|latest| ts.0 > latest.saturating_add(LEAP_NS));
        let back = last.saturating_sub(ts.0);
        if back <= SLACK_NS && !leaps {
            self.note_shown(interface, last.max(ts.0));
            return Placed::At(self.goes_on(ts.0));
        }
        self.held = Some(Held { interface, shown: ts.0, back });
        Placed::Held
    }

    /// When the packet was captured that is held, now that the one after it is there, or none will be.
    #[cold]
    pub(super) fn decide(&mut self, next: Option<Timestamp>) -> Option<Stamp> {
        let Held { interface, shown, back } = self.held.take()?;
        let next = next.filter(|&next| next != Timestamp::UNKNOWN).map(|next| next.0);
        let taken_back = match (self.clock, next) {
            (_, None) => false,
            // The next one goes on from those before it, and not from this one.
            (Some(latest), Some(next)) => next.abs_diff(latest) < next.abs_diff(shown),
            (None, Some(next)) => next < shown.saturating_sub(LEAP_NS),
        };
        if taken_back {
            self.times.taken_back += 1;
            self.note_back(back.max(shown.saturating_sub(next.unwrap_or(shown))));
            return Some(self.unknown());
        }
        self.note_back(back);
        if back > 0 || (self.clock.is_none() && self.latest.0 > 0) {
            self.set(shown);
        }
        self.note_shown(interface, shown);
        Some(self.goes_on(shown))
    }

    /// The clock shows `shown` from now on.
    fn set(&mut self, shown: u64) {
        self.latest = self.latest.plus(1);
        self.ahead = shown.wrapping_sub(self.latest.0);
        self.clock = Some(shown);
        // All interfaces have one clock.
        self.shown.fill(0);
    }

    /// Another file begins at `first`. If that is before the last one ended its clock counts as set, on all interfaces: so far
    /// it goes back.
    pub(super) fn begin_file(&mut self, first: Timestamp) -> Option<u64> {
        let back = self.clock?.saturating_sub(first.0);
        if back <= SLACK_NS {
            return None;
        }
        self.note_back(back);
        self.set(first.0);
        Some(back)
    }

    fn note_shown(&mut self, interface: usize, shown: u64) {
        if interface >= self.shown.len() {
            self.shown.resize(interface + 1, 0);
        }
        self.shown[interface] = shown;
    }

    fn note_back(&mut self, ns: u64) {
        if ns > SLACK_NS {
            self.times.back += 1;
            self.times.back_most_ns = self.times.back_most_ns.max(ns);
        }
    }

    /// The clock shows `shown`, and was not set since the packet before.
    #[inline]
    fn goes_on(&mut self, shown: u64) -> Stamp {
        let ts = Timestamp(shown.wrapping_sub(self.ahead));
        if self.clock.is_none_or(|clock| clock < shown) {
            (self.latest, self.clock) = (ts.max(self.latest), Some(shown));
        }
        Stamp { ts, ahead: Some(self.ahead) }
    }

    /// Later than all before it, and nobody knows by how much.
    fn unknown(&mut self) -> Stamp {
        self.latest = self.latest.plus(1);
        Stamp { ts: self.latest, ahead: None }
    }

    /// The time of a packet that is told of, and before it what changed about the clock.
    #[inline]
    pub(super) fn tell(&mut self, stamp: Stamp) -> (Timestamp, Option<ClockChange>) {
        if stamp.ahead == self.told && stamp.ts >= self.told_from {
            self.told_last = self.told_last.max(stamp.ts);
            return (stamp.ts, None);
        }
        self.tell_change(stamp)
    }

    #[cold]
    fn tell_change(&mut self, stamp: Stamp) -> (Timestamp, Option<ClockChange>) {
        // A moment is of one part of the file's time alone, and parts follow each other. What is out of order across a change
        // shows its time all the same, and is a part of its own.
        let first = self.told_last == Timestamp(0);
        let ts = if first { stamp.ts } else { stamp.ts.max(self.told_last.plus(1)) };
        let late = ts.since(stamp.ts);
        self.told_last = ts;
        let ahead = stamp.ahead.map(|ahead| ahead.wrapping_sub(late)).filter(|_| self.changes < MOST_CHANGES);
        if ahead == self.told {
            return (ts, None);
        }
        (self.told, self.told_from) = (ahead, ts);
        self.changes += 1;
        self.latest = self.latest.max(ts);
        (ts, Some(ClockChange { ts, ahead }))
    }
}

#[cfg(test)]
mod tests;

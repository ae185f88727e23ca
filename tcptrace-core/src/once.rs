//! One report a connection, however many interfaces it passes (`--once`): a stage between the tracker, which knows a
//! connection on one interface only, and the sinks. It has no clock and does no I/O: time comes in with the events.
//!
//! Every event is held for [`HOLD_NS`] of the trace's own time, for a packet can pass a better vantage a little later. When
//! the first event of a connection goes out it is decided which of its *sightings* (connections of the tracker) is told;
//! `group.rs` has the rules. Events go out in the order in which they came, but for resets: the tracker doubts most of them for
//! a while, on one interface perhaps and not on the next, so all of them are held for that time too, and tell their own.

mod group;
mod groups;

use crate::{
    event::{Event, Kind, Kinds, Outcome, OutcomeCounts},
    segment::Timestamp,
    track::DOUBT_NS,
};
use groups::{Groups, Place};
use std::collections::VecDeque;

/// Nanoseconds that an event is held. A packet passes the interfaces of a host within some microseconds; behind a busy
/// CPU's softirq, a queueing discipline or a user-space relay it takes milliseconds.
pub const HOLD_NS: u64 = 100_000_000;
/// Events held at once, some 64 MiB of them.
pub const MAX_HELD: usize = 1 << 16;

/// Nanoseconds that the end of a connection by a reset is held.
const RESET_NS: u64 = DOUBT_NS + HOLD_NS;

fn is_reset(event: &Event) -> bool {
    matches!(event, Event::Connection(connection) if connection.outcome == Outcome::Reset)
}

/// What is told, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kinds of events that somebody reads. The tracker has to make transitions, established and connection events
    /// in any case: sightings are known by them.
    pub keep: Kinds,
    /// As [`crate::track::Config::time_wait_ns`].
    pub time_wait_ns: u64,
    /// Sightings that are remembered at once: as many as the tracker follows ([`crate::track::Config::max_connections`]), and
    /// [`MAX_HELD`] of which it told already.
    pub max_sightings: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Once {
    keep: Kinds,
    groups: Groups,
    held: VecDeque<Held>,
    /// Ends of connections by a reset.
    resets: VecDeque<Held>,
    now: Timestamp,
    counts: OutcomeCounts,
    early: u64,
    apart: u64,
}

#[derive(Debug)]
struct Held {
    event: Event,
    /// None for what is told in any case.
    group: Option<u32>,
}

impl Once {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let late = [Kind::Segment, Kind::Transition, Kind::Anomaly, Kind::IcmpError];
        let lasts = late.into_iter().any(|kind| config.keep.contains(kind));
        // What is late belongs to a connection that the tracker remembers for so long.
        let remember_ns = if lasts { config.time_wait_ns.saturating_add(HOLD_NS) } else { HOLD_NS };
        Self {
            keep: config.keep.with(Kind::Established).with(Kind::Connection).with(Kind::Stats),
            groups: Groups::new(remember_ns, config.max_sightings),
            held: VecDeque::new(),
            resets: VecDeque::new(),
            now: Timestamp::default(),
            counts: OutcomeCounts::default(),
            early: 0,
            apart: 0,
        }
    }

    /// Takes one event of the tracker, in the tracker's order; `sink` gets those whose time has come.
    pub fn event(&mut self, event: Event, sink: &mut dyn FnMut(Event)) {
        let group = if event.common().is_some() {
            self.advance(event.ts(), sink);
            match self.groups.place(&event, self.keep.contains(event.kind())) {
                Place::Group(slot) if self.groups[slot].hold(&event) => Some(slot),
                Place::Group(_) | Place::Nowhere => return,
                Place::Apart => None,
            }
        } else {
            None
        };
        let queue = if group.is_some() && is_reset(&event) { &mut self.resets } else { &mut self.held };
        queue.push_back(Held { event, group });
        if self.held.len() + self.resets.len() > MAX_HELD
            && let Some(oldest) = self.held.pop_front().or_else(|| self.resets.pop_front())
        {
            self.release(oldest, true, sink);
        }
    }

    /// Time has come to `now`, and no earlier event will follow.
    pub fn advance(&mut self, now: Timestamp, sink: &mut dyn FnMut(Event)) {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some(held) = self.held.pop_front_if(|held| held.event.ts().plus(HOLD_NS) <= now) {
            self.release(held, false, sink);
        }
        while let Some(held) = self.resets.pop_front_if(|held| held.event.ts().plus(RESET_NS) <= now) {
            self.release(held, false, sink);
        }
        self.groups.expire(self.now);
    }

    /// The trace is over: lets go of everything.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Event)) {
        let rest: Vec<Held> = self.held.drain(..).chain(self.resets.drain(..)).collect();
        for held in rest {
            self.release(held, false, sink);
        }
    }

    /// Events are held, for which time has to go on.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty() || !self.resets.is_empty()
    }

    /// Connections of which no end was told.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.groups.open()
    }

    /// Sightings that are remembered.
    #[must_use]
    pub fn sightings(&self) -> usize {
        self.groups.len()
    }

    /// Nothing is remembered of any connection.
    #[must_use]
    pub fn remembers_nothing(&self) -> bool {
        self.groups.is_empty()
    }

    /// Connections that had to be reported before their time, as more events came within it than are held: perhaps
    /// not at the best vantage, or without all of the path.
    #[must_use]
    pub const fn early(&self) -> u64 {
        self.early
    }

    /// Connections for which there was no room, and which were reported for each interface.
    #[must_use]
    pub const fn apart(&self) -> u64 {
        self.apart
    }

    /// Lets go of the oldest event.
    fn release(&mut self, Held { mut event, group }: Held, early: bool, sink: &mut dyn FnMut(Event)) {
        match (group, &mut event) {
            (Some(slot), event) => {
                let group = &mut self.groups[slot];
                let undecided = group.is_undecided();
                let told = group.tell(event);
                self.early += u64::from(early && undecided && !group.is_undecided());
                if !told {
                    return;
                }
            }
            (None, Event::Stats(stats)) => {
                stats.connections = self.counts;
                stats.connections_open = self.open();
            }
            (None, event) => self.apart += u64::from(matches!(event, Event::Connection(_))),
        }
        if let Event::Connection(connection) = &event {
            self.counts.add(connection.outcome);
        }
        sink(event);
    }
}

//! One report a connection, however many interfaces it passes (`--once`): a stage between the tracker, which knows a
//! connection on one interface only, and the sinks. It has no clock and does no I/O: time comes in with the events.
//!
//! What the tracker calls a connection is a *sighting* here: one connection as one interface showed it. The sightings
//! of one connection are a *group*, of which one sighting is reported.
//!
//! Every event is held for [`HOLD_NS`] of the trace's own time, for a packet can pass a better vantage a little later.
//! When the first event of a group goes out, the sighting to report is chosen; `group.rs` has the rules. Events go out
//! in the order in which they came, but for resets: the tracker doubts most of them for a while, on one interface
//! perhaps and not on the next, so the end of a connection by a reset is held for that time as well, and goes out in the
//! order of its time. The event keeps the time that it had.

mod group;
mod groups;

use crate::{
    event::{Event, Kind, Kinds, Outcome, OutcomeCounts},
    segment::Timestamp,
    track::DOUBT_NS,
};
use groups::{Assignment, Groups};
use std::collections::VecDeque;

/// Nanoseconds that an event is held. A packet passes the interfaces of a host within some microseconds; behind a busy
/// CPU's softirq, a queueing discipline or a user-space relay it takes milliseconds.
pub const HOLD_NS: u64 = 100_000_000;
/// The most events that are held at once, some 64 MiB of them.
pub const MAX_HELD: usize = 1 << 16;

/// Nanoseconds that the end of a connection by a reset is held: also for as long as the tracker may doubt the reset.
const RESET_NS: u64 = DOUBT_NS + HOLD_NS;

fn is_reset(event: &Event) -> bool {
    matches!(event, Event::Connection(connection) if connection.outcome == Outcome::Reset)
}

/// Which events `--once` reports, and how many connections it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kinds of events that somebody reads. The tracker has to make transitions, established and connection events
    /// in any case: sightings are known by them.
    pub keep: Kinds,
    /// Nanoseconds of TIME-WAIT, the value of [`crate::track::Config::time_wait_ns`].
    pub time_wait_ns: u64,
    /// The most sightings that are remembered at once: as many as the tracker follows
    /// ([`crate::track::Config::max_connections`]), and [`MAX_HELD`] that it has reported already.
    pub max_sightings: usize,
}

/// The stage between the tracker and the sinks that reports each connection once, however many interfaces it passes.
#[derive(Debug)]
pub struct Once {
    keep: Kinds,
    groups: Groups,
    held: VecDeque<HeldEvent>,
    /// The ends of connections by a reset, which are held for longer.
    resets: VecDeque<HeldEvent>,
    now: Timestamp,
    counts: OutcomeCounts,
    early: u64,
    apart: u64,
}

#[derive(Debug)]
struct HeldEvent {
    event: Event,
    /// The slot of its group; `None` for what is reported in any case.
    group: Option<u32>,
}

impl Once {
    /// A stage that has seen no event yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let late = [Kind::Segment, Kind::Transition, Kind::Anomaly, Kind::IcmpError];
        let lasts = late.into_iter().any(|kind| config.keep.contains(kind));
        // Events of these kinds can come for as long as the tracker remembers a connection that is over.
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

    /// Takes the next event of the tracker; `sink` gets the held events whose time has come.
    pub fn event(&mut self, event: Event, sink: &mut dyn FnMut(Event)) {
        let group = if event.common().is_some() {
            self.advance(event.ts(), sink);
            match self.groups.assign(&event, self.keep.contains(event.kind())) {
                Assignment::Group(slot) if self.groups[slot].hold(&event) => Some(slot),
                Assignment::Group(_) | Assignment::Unwanted => return,
                Assignment::Apart => None,
            }
        } else {
            None
        };
        let is_reset = group.is_some() && is_reset(&event);
        let held = HeldEvent { event, group };
        if is_reset {
            self.hold_reset(held);
        } else {
            self.held.push_back(held);
        }
        if self.held.len() + self.resets.len() > MAX_HELD
            && let Some(oldest) = self.held.pop_front().or_else(|| self.resets.pop_front())
        {
            self.release(oldest, true, sink);
        }
    }

    /// Keeps the resets by their time: one that the tracker doubted for a while comes after others that it believed at once,
    /// and would wait for these.
    fn hold_reset(&mut self, held: HeldEvent) {
        let place = self.resets.partition_point(|it| it.event.ts() <= held.event.ts());
        self.resets.insert(place, held);
    }

    /// Lets time come to `now`, before which no event will follow; `sink` gets the held events whose time has come.
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

    /// Ends the trace: `sink` gets all events that are still held.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Event)) {
        let rest: Vec<HeldEvent> = self.held.drain(..).chain(self.resets.drain(..)).collect();
        for held in rest {
            self.release(held, false, sink);
        }
    }

    /// Whether any event is held, so that time has to go on for it to come out.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty() || !self.resets.is_empty()
    }

    /// How many connections are open, as far as was reported.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.groups.open()
    }

    /// How many sightings are remembered.
    #[must_use]
    pub fn sightings(&self) -> usize {
        self.groups.len()
    }

    /// Whether no connection is remembered.
    #[must_use]
    pub fn remembers_nothing(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many connections had to be reported before their time, because more events came than can be held: perhaps
    /// not from the best vantage, or without all of the path.
    #[must_use]
    pub const fn early(&self) -> u64 {
        self.early
    }

    /// How many reports of connections, one for each interface, were made of connections for which there was no room.
    #[must_use]
    pub const fn apart(&self) -> u64 {
        self.apart
    }

    /// Gives an event that was held to `sink`, unless another sighting of its connection is reported; `early` where its
    /// time has not come.
    fn release(
        &mut self,
        HeldEvent { mut event, group }: HeldEvent,
        early: bool,
        sink: &mut dyn FnMut(Event),
    ) {
        match (group, &mut event) {
            (Some(slot), event) => {
                let group = &mut self.groups[slot];
                let undecided = group.is_undecided();
                let passes = group.pass(event);
                self.early += u64::from(early && undecided && !group.is_undecided());
                if !passes {
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

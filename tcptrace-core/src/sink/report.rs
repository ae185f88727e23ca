//! The page of `tcptrace report`: what a trace's events say of all its connections, in one file of HTML that needs nothing else.
//!
//! [`Report`] takes the events one by one, and keeps of them what the page shows: sums, distributions, and a bounded number of
//! connections. `page/` writes that down.

mod example;
mod oddity;
mod page;
mod resets;
mod rows;
mod services;
mod states;
mod timeline;
mod traces;

use super::ladder::Ladders;
use crate::{
    event::{Connection, Established, Event, OutcomeCounts},
    segment::Timestamp,
};
use example::{Oddest, Slowest};
use hashbrown::HashSet;
use resets::Resets;
use rows::Rows;
use services::Services;
use states::States;
use timeline::Timeline;
use traces::Traces;

/// The most connections whose handshake was told and whose end was not yet; of more the handshake is taken from the end.
const MOST_BEGUN: usize = 1 << 20;

/// What is known of the connections of one or more traces. Its memory is bounded, however many there are.
#[derive(Debug)]
pub struct Report {
    /// The files that the events are of, as they were given.
    files: Vec<String>,
    traces: Traces,
    outcomes: OutcomeCounts,
    /// How many connections' handshakes were complete.
    established: u64,
    /// Those whose handshake was told, and whose end was not.
    begun: HashSet<u64>,
    /// How many connections never came to an end in the events, although their trace did.
    endless: u64,
    partial: u64,
    /// The earliest and the latest time that is known.
    period: Option<[Timestamp; 2]>,
    /// How many connections began before the clock of their source is known to be right.
    untimed: u64,
    services: Services,
    timeline: Timeline,
    states: States,
    resets: Resets,
    rows: Rows,
    ladders: Ladders,
    /// Whether any event told of a segment.
    has_segments: bool,
    slowest: Slowest,
    oddest: Oddest,
    /// The filter by which connections were chosen.
    filter: Option<String>,
    /// Why the events end before their file does.
    damage: Option<String>,
}

impl Report {
    /// A report of these files, of which nothing was read yet.
    #[must_use]
    pub fn new(files: Vec<String>) -> Self {
        Self {
            files,
            traces: Traces::default(),
            outcomes: OutcomeCounts::default(),
            established: 0,
            begun: HashSet::new(),
            endless: 0,
            partial: 0,
            period: None,
            untimed: 0,
            services: Services::default(),
            timeline: Timeline::default(),
            states: States::default(),
            resets: Resets::default(),
            rows: Rows::default(),
            ladders: Ladders::default(),
            has_segments: false,
            slowest: Slowest::default(),
            oddest: Oddest::default(),
            filter: None,
            damage: None,
        }
    }

    /// Takes an event. All kinds are of use; without those of segments there are no ladders.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Start(start) => {
                // Another run gives the same numbers to other connections.
                self.forget_begun();
                self.traces.begin(start);
                return;
            }
            Event::Stats(stats) => {
                self.traces.counters(stats);
                return;
            }
            Event::Connection(connection) => self.connection(connection),
            Event::Established(event) => self.handshake(event),
            Event::Anomaly(anomaly) => self.oddest.anomaly(anomaly.reason),
            Event::Segment(_) => self.has_segments = true,
            Event::Transition(_) | Event::IcmpError(_) => {}
        }
        self.lasts_to(event.ts());
        if !matches!(event, Event::Connection(_)) {
            self.ladders.add(event);
        }
    }

    /// Tells by which filter connections were chosen.
    pub fn filtered(&mut self, by: &str) {
        self.filter = Some(by.to_owned());
    }

    /// Tells that the events end before their file does, and why.
    pub fn damaged(&mut self, why: String) {
        self.damage = Some(why);
    }

    /// The page.
    #[must_use]
    pub fn render(&mut self) -> String {
        self.forget_begun();
        page::render(self)
    }

    fn lasts_to(&mut self, ts: Timestamp) {
        if ts != Timestamp::UNKNOWN {
            let [first, last] = self.period.unwrap_or([ts, ts]);
            self.period = Some([first.min(ts), last.max(ts)]);
        }
    }

    fn handshake(&mut self, event: &Established) {
        if self.begun.len() < MOST_BEGUN && self.begun.insert(event.common.id) {
            self.established += 1;
            self.services.handshake(event.common.server, &event.times);
        }
    }

    fn connection(&mut self, event: &Connection) {
        if !self.begun.remove(&event.common.id) && tells_handshake(event) {
            self.established += 1;
            self.services.handshake(event.common.server, &event.times);
        }
        self.outcomes.add(event.outcome);
        self.partial += u64::from(event.partial);
        self.lasts_to(event.start);
        self.untimed += u64::from(event.start == Timestamp::UNKNOWN);
        self.traces.connection(event);
        self.services.end(event);
        self.timeline.add(event);
        self.states.add(event);
        self.resets.add(event);
        self.rows.add(event);
        let rungs = self.ladders.take(event.common.id);
        self.slowest.offer(event, rungs.as_ref());
        self.oddest.offer(event, rungs.as_ref());
    }

    /// No more comes of the connections that are known by now.
    fn forget_begun(&mut self) {
        self.endless += self.begun.len() as u64;
        self.begun.clear();
        self.ladders.clear();
    }
}

/// Whether the end of a connection tells that its handshake was complete.
fn tells_handshake(event: &Connection) -> bool {
    event.times.syn_to_established_ns.is_some() && !event.failed
}

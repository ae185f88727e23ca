//! What is known of the connections of a trace at a moment, in groups. It is fed by events and told the time, has no clock and
//! does no I/O, and its memory is bounded.

use super::{
    by::{By, Facts, Key},
    ended::Ended,
    group::{Group, failed_percent, retries, tells_handshake},
    table::{Slot, Table},
    window::Window,
};
use crate::{
    event::{
        Address, Common, Connection, Event, HandshakeTimes, Outcome, Role, RunId, State, Stats, Transition,
    },
    segment::Timestamp,
    sink::{
        ladder::{Ladder, Ladders},
        summary::{Lost, Unseen},
        text::Naming,
    },
    top::RATE_SECONDS,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// The most groups by service and by name that are kept apart, and the most of each other kind.
const MOST_SERVICES: usize = 512;
const MOST_GROUPS: usize = 256;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// How much a board keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections that are open and known one by one; more are not counted until they end.
    pub open: usize,
}

impl Default for Limits {
    /// As many as a trace follows unless it is told otherwise.
    fn default() -> Self {
        Self { open: 262_144 }
    }
}

/// A state that an end has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The state.
    pub state: State,
    /// Whether no segment showed it.
    pub inferred: bool,
    /// When; unknown where no event told.
    pub since: Timestamp,
}

/// A connection that is open.
#[derive(Clone, Debug)]
pub struct Open {
    /// The active opener.
    pub client: Address,
    /// The other one.
    pub server: Address,
    /// The interface that it is seen on.
    pub interface: Arc<str>,
    /// When it was first seen.
    pub started: Timestamp,
    /// The states of client and server; `None` where nothing is known.
    pub states: [Option<Entered>; 2],
    /// How long the handshake took.
    pub handshake_ns: Option<u64>,
    /// How many SYNs and SYN-ACKs were sent again, if its handshake was counted.
    established: Option<u64>,
    /// The groups that it is in.
    slots: [Slot; By::ALL.len()],
}

/// Counts of all connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// How many are open.
    pub open: usize,
    /// How many there were.
    pub begun: u64,
    /// How many handshakes are known to have been complete.
    pub established: u64,
    /// How many failed.
    pub failed: u64,
    /// How many begin in a second.
    pub rate: f64,
}

impl Totals {
    /// How many handshakes of a hundred failed; none where none is over.
    #[must_use]
    pub fn failed_percent(&self) -> Option<f64> {
        failed_percent(self.failed, self.established)
    }
}

/// The connections of a trace at a moment.
#[derive(Clone, Debug)]
pub struct Board {
    limits: Limits,
    tables: [Table; By::ALL.len()],
    open: HashMap<u64, Open>,
    ladders: Ladders,
    /// The earliest and the latest time that was told, by events or otherwise.
    time: Option<(Timestamp, Timestamp)>,
    run: Option<RunId>,
    stats: Option<Box<Stats>>,
    begun: u64,
    established: u64,
    failed: u64,
    recent: Window,
    incomplete: u64,
    evicted: u64,
    /// How many connections were open when there was no room for more.
    not_kept: u64,
    changes: u64,
    names: Option<Arc<dyn Naming>>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let most = |by| if matches!(by, By::Service | By::Name) { MOST_SERVICES } else { MOST_GROUPS };
        Self {
            limits,
            tables: By::ALL.map(|by| Table::new(most(by))),
            open: HashMap::new(),
            ladders: Ladders::default(),
            time: None,
            run: None,
            stats: None,
            begun: 0,
            established: 0,
            failed: 0,
            recent: Window::default(),
            incomplete: 0,
            evicted: 0,
            not_kept: 0,
            changes: 0,
            names: None,
        }
    }

    /// The same board, which shows names for addresses and ports.
    #[must_use]
    pub fn named_by(self, names: Arc<dyn Naming>) -> Self {
        Self { names: Some(names), ..self }
    }

    /// What gives names to addresses, if anything does.
    pub(super) fn names(&self) -> Option<&dyn Naming> {
        self.names.as_deref()
    }

    /// Tells the time. It does not go back.
    pub fn advance(&mut self, now: Timestamp) {
        if now == Timestamp::UNKNOWN {
            return;
        }
        self.time = Some(self.time.map_or((now, now), |(first, last)| (first.min(now), last.max(now))));
    }

    /// Takes the counters of the trace.
    pub fn counters(&mut self, stats: &Stats) {
        self.changes += 1;
        self.stats = Some(Box::new(stats.clone()));
    }

    /// Takes an event. All kinds are of use, and those of a file may lack any.
    pub fn observe(&mut self, event: &Event) {
        self.changes += 1;
        match event {
            Event::Start(start) => {
                // The time of a start is that of the host that reads, which is not the time of a file.
                if self.run.replace(start.run).is_some_and(|run| run != start.run) {
                    self.forget_open();
                }
                return;
            }
            Event::Stats(stats) => {
                self.stats = Some(stats.clone());
                return;
            }
            _ => {}
        }
        self.advance(event.ts());
        match event {
            Event::Transition(transition) => self.transition(transition),
            Event::Established(event) => {
                let facts = Facts::from(event);
                self.see(&event.common, &facts, event.common.ts);
                self.refine(event.common.id, &facts, &event.times);
                let Some(open) = self.open.get_mut(&event.common.id) else { return };
                open.handshake_ns = event.times.syn_to_established_ns;
                let retries = retries(event.syn_retransmits, event.synack_retransmits);
                let is_first = open.established.replace(retries).is_none();
                let now = event.common.ts;
                for state in &mut open.states {
                    state.get_or_insert(Entered { state: State::Established, inferred: false, since: now });
                }
                self.established += u64::from(is_first);
                for (table, slot) in self.tables.iter_mut().zip(open.slots) {
                    let group = table.of(slot);
                    if is_first {
                        group.established(event);
                    }
                    group.owner = facts.owner().or(group.owner.take());
                }
            }
            Event::Connection(connection) => self.end(connection),
            _ => {}
        }
        self.ladders.add(event);
    }

    fn transition(&mut self, event: &Transition) {
        let Transition { common, endpoint, to, inferred, since_previous_ns, .. } = event;
        // What comes after the end of a connection does not open it again.
        if since_previous_ns.is_none() && *to != State::Closed {
            self.see(common, &Facts::from(common), common.ts);
        }
        if let Some(open) = self.open.get_mut(&common.id) {
            let place = usize::from(*endpoint == Role::Server);
            open.states[place] = Some(Entered { state: *to, inferred: *inferred, since: common.ts });
        }
    }

    /// Takes a connection up, if it is not known yet and there is room.
    fn see(&mut self, common: &Common, facts: &Facts<'_>, started: Timestamp) {
        if self.open.contains_key(&common.id) {
            return;
        }
        if self.open.len() >= self.limits.open {
            self.not_kept += 1;
            return;
        }
        let slots = self.begin(facts, started);
        for (table, slot) in self.tables.iter_mut().zip(slots) {
            table.of(slot).open += 1;
        }
        self.open.insert(
            common.id,
            Open {
                client: common.client,
                server: common.server,
                interface: Arc::clone(&common.interface),
                started,
                states: [None; 2],
                handshake_ns: None,
                established: None,
                slots,
            },
        );
    }

    /// Counts a connection in its groups.
    fn begin(&mut self, facts: &Facts<'_>, started: Timestamp) -> [Slot; By::ALL.len()] {
        self.begun += 1;
        self.recent.add(started);
        let now = self.now();
        let mut slots = [0; By::ALL.len()];
        for ((table, by), slot) in self.tables.iter_mut().zip(By::ALL).zip(&mut slots) {
            *slot = table.slot(facts.first_key(by), now);
            table.of(*slot).begin(started);
        }
        slots
    }

    /// Puts a connection into the groups that an event shows it to be in.
    fn refine(&mut self, id: u64, facts: &Facts<'_>, times: &HandshakeTimes) {
        let now = self.now();
        let Some(open) = self.open.get_mut(&id) else { return };
        for ((table, by), slot) in self.tables.iter_mut().zip(By::ALL).zip(&mut open.slots) {
            let Some(key) = facts.key(by).filter(|key| !table.is(*slot, key)) else { continue };
            // One that is among the others stays there.
            if table.is(*slot, &Key::Other) {
                continue;
            }
            let before = std::mem::replace(slot, table.slot(key, now));
            let group = table.of(before);
            group.take_back(open.started);
            group.leave();
            if let Some(retries) = open.established {
                group.take_back_handshake(retries);
            }
            table.drop_if_empty(before);
            let group = table.of(*slot);
            group.begin(open.started);
            group.open += 1;
            if let Some(retries) = open.established {
                group.handshake(times, retries);
            }
        }
    }

    fn end(&mut self, event: &Connection) {
        let id = event.common.id;
        let facts = Facts::from(event);
        if event.outcome == Outcome::Open {
            // The trace is over, and the connection is not.
            self.see(&event.common, &facts, event.start);
            self.refine(id, &facts, &event.times);
            self.still_open(event);
            return;
        }
        self.refine(id, &facts, &event.times);
        let (slots, was_established) = match self.open.remove(&id) {
            Some(open) => {
                self.leave(open.slots);
                (open.slots, open.established.is_some())
            }
            None => (self.begin(&facts, event.start), false),
        };
        self.failed += u64::from(event.failed);
        self.established += u64::from(!was_established && tells_handshake(event));
        self.incomplete += u64::from(!event.common.complete);
        self.evicted += u64::from(event.outcome == Outcome::Evicted);
        let ended = Arc::new(Ended::from(event));
        for (table, slot) in self.tables.iter_mut().zip(slots) {
            let group = table.of(slot);
            group.end(event, was_established, Arc::clone(&ended));
            if let Some(name) = facts.server_name() {
                group.name = Some(name);
            }
            group.owner = facts.owner().or(group.owner.take());
        }
    }

    /// Takes what the end of a trace tells of a connection that is open.
    fn still_open(&mut self, event: &Connection) {
        let Some(open) = self.open.get_mut(&event.common.id) else { return };
        for (known, state) in open.states.iter_mut().zip([event.client_state, event.server_state]) {
            let told = state.map(|state| Entered { state, inferred: false, since: Timestamp::UNKNOWN });
            *known = known.or(told);
        }
    }

    /// Forgets the connections that are open: their ends are not told any more, as another run begins.
    fn forget_open(&mut self) {
        for open in std::mem::take(&mut self.open).into_values() {
            self.leave(open.slots);
        }
        self.ladders.clear();
    }

    /// Counts a connection no more among those of its groups that are open.
    fn leave(&mut self, slots: [Slot; By::ALL.len()]) {
        for (table, slot) in self.tables.iter_mut().zip(slots) {
            table.of(slot).leave();
        }
    }

    /// The latest time that was told.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time.map_or(Timestamp::default(), |(_, now)| now)
    }

    /// How long events have come, in nanoseconds; none before the first.
    #[must_use]
    pub fn span(&self) -> Option<u64> {
        self.time.map(|(first, last)| last.since(first))
    }

    /// How many things a second happened in the last seconds, or since the begin where that is not so long ago.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn rate(&self, window: &Window) -> f64 {
        // The second that the time is in is not over, and does not count; the one of the begin does.
        let seconds = self.time.map_or(1, |(first, last)| last.0 / SECOND - first.0 / SECOND);
        let seconds = usize::try_from(seconds).unwrap_or(RATE_SECONDS).clamp(1, RATE_SECONDS);
        window.sum(self.now(), seconds) as f64 / seconds as f64
    }

    /// How often something has changed: what is drawn is the same as long as this is, and the time.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes + self.names().map_or(0, Naming::answers)
    }

    /// All groups of a kind, in no order.
    pub fn groups(&self, by: By) -> impl Iterator<Item = &Group> {
        self.tables[by.place()].all()
    }

    /// The group of a key, if there is one.
    #[must_use]
    pub fn group(&self, by: By, key: &Key) -> Option<&Group> {
        self.tables[by.place()].get(key)
    }

    /// How many times a group of a kind was put among the others.
    #[must_use]
    pub fn folded(&self, by: By) -> u64 {
        self.tables[by.place()].folded()
    }

    /// The connections of a group that are open, in no order, each with its number.
    pub fn open_of(&self, by: By, key: &Key) -> impl Iterator<Item = (u64, &Open)> {
        let table = &self.tables[by.place()];
        let place = by.place();
        self.open
            .iter()
            .filter(move |(_, open)| table.is(open.slots[place], key))
            .map(|(id, open)| (*id, open))
    }

    /// The connections of a group that ended last, the latest first.
    pub fn ended_of(&self, by: By, key: &Key) -> impl Iterator<Item = &Ended> {
        self.group(by, key).into_iter().flat_map(|group| group.ended.iter().rev().map(|ended| &**ended))
    }

    /// A connection that is open, by its number.
    #[must_use]
    pub fn open(&self, id: u64) -> Option<&Open> {
        self.open.get(&id)
    }

    pub(super) fn ladder(&self, id: u64) -> Option<&Ladder> {
        self.ladders.get(id)
    }

    /// The counts of all connections.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            open: self.open.len(),
            begun: self.begun,
            established: self.established,
            failed: self.failed,
            rate: self.rate(&self.recent),
        }
    }

    /// What was not seen, or is not shown, in words; "nothing" where that is so.
    #[must_use]
    pub fn lost(&self) -> String {
        self.with_lost(|lost, shed| {
            let more = [
                (shed > 0).then(|| format!("{shed} segments of connections that are not followed")),
                (self.not_kept > 0)
                    .then(|| format!("{} connections are not shown while they are open", self.not_kept)),
            ];
            let more: Vec<_> = more.into_iter().flatten().collect();
            let seen = (more.is_empty() || !lost.is_nothing()).then(|| lost.to_string());
            seen.into_iter().chain(more).collect::<Vec<_>>().join("; ")
        })
    }

    /// Whether anything was lost.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.with_lost(|lost, shed| !lost.is_nothing() || shed > 0 || self.not_kept > 0)
    }

    /// Gives what was lost, and how many segments are of connections that are not followed.
    fn with_lost<T>(&self, give: impl FnOnce(&Lost<'_>, u64) -> T) -> T {
        let unseen = Unseen { dropped: 0, incomplete: self.incomplete, evicted: self.evicted };
        let nothing = Stats { last: true, ..Stats::default() };
        let stats = self.stats.as_deref().unwrap_or(&nothing);
        give(&Lost(stats, unseen), stats.shed.total())
    }
}

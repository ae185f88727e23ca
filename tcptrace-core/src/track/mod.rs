//! The tracker: lifecycle segments in, events out. It has no clock, no thread and does no I/O: time comes in
//! with the input. What each rule means is in `state.rs` (the arrows), `rules.rs` (what a segment shows), `numbers.rs` (what
//! fits), `open.rs` and `close.rs`.

mod after;
mod answers;
mod challenge;
mod close;
mod conn;
mod copies;
mod deadlines;
mod elsewhere;
mod evidence;
mod fins;
mod halves;
mod held;
mod icmp;
mod key;
mod losses;
mod meaning;
mod numbers;
mod open;
mod reopen;
mod report;
mod resets;
mod resumed;
mod rules;
mod shedding;
mod side;
mod state;
mod table;
mod views;

pub(crate) use held::DOUBT_NS;

use crate::{
    event::{AnomalyReason, Event, Kinds, Outcome, OutcomeCounts, Role},
    filter::Filter,
    segment::{AdmissionChange, IcmpError, Input, Segment, Sender, Timestamp},
    wall::WallClock,
};
use after::After;
use conn::{Conn, List, Teardown, peer};
use copies::Seen;
use elsewhere::Answers;
use evidence::Earlier;
use halves::Halves;
use hashbrown::{HashMap, HashSet};
use key::Key;
use losses::Losses;
use report::{Out, Sight, Telling};
use resumed::GivenUp;
use shedding::Shedding;
use side::Side;
use std::sync::Arc;
use table::Table;

/// How long the tracker waits for what may never come, and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Nanoseconds after the last SYN or SYN-ACK at which an unanswered one is given up.
    pub give_up_ns: u64,
    /// Nanoseconds of TIME-WAIT (2 MSL), for which a connection that ended is remembered.
    pub time_wait_ns: u64,
    /// Connections in the table, at least 1, those that ended but are remembered included.
    pub max_connections: usize,
    /// The kinds of events that somebody reads; the others are not made.
    pub wants: Kinds,
}

impl Default for Config {
    /// 75 s outlast the longest silence between two SYNs of Linux (64 s after the sixth retry,
    /// `net.ipv4.tcp_syn_retries`); 60 s are Linux's TIME-WAIT (`TCP_TIMEWAIT_LEN`).
    fn default() -> Self {
        Self {
            give_up_ns: 75_000_000_000,
            time_wait_ns: 60_000_000_000,
            max_connections: 1_000_000,
            wants: Kinds::ALL,
        }
    }
}

/// Reconstructs the states of both ends of every connection from its lifecycle segments.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    table: Table,
    /// Connections whose four-tuple another one in `table` still has; see `challenge.rs`.
    challengers: Table,
    /// Nothing in a table is due before this, unless the head of a list changed meanwhile.
    due: Timestamp,
    /// For connections that close.
    #[expect(clippy::vec_box, reason = "the boxes themselves are lent")]
    spare: Vec<Box<Teardown>>,
    telling: Telling,
    filter: Option<Filter>,
    shedding: Shedding,
    /// SYNs that have the number of a connection which is over, by its place in `table`; see `reopen.rs`.
    known_syns: HashMap<u32, Segment>,
    seen: Seen,
    halves: Halves,
    /// Some connection may have been seen with other sequence numbers as well.
    rewritten: bool,
    given_up: GivenUp,
    next_id: u64,
    counts: OutcomeCounts,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            table: Table::default(),
            challengers: Table::default(),
            due: Timestamp::default(),
            spare: Vec::new(),
            telling: Telling {
                wants: config.wants,
                names: HashMap::new(),
                losses: Losses::default(),
                earlier: Earlier::default(),
                answers: Answers::default(),
                clock: WallClock::default(),
                passed: None,
            },
            filter: None,
            shedding: Shedding::default(),
            known_syns: HashMap::new(),
            seen: Seen::default(),
            halves: Halves::default(),
            rewritten: false,
            given_up: GivenUp::default(),
            next_id: 1,
            counts: OutcomeCounts::default(),
        }
    }

    /// What events call the interface of this number from now on.
    pub fn name_interface(&mut self, interface: u32, name: Arc<str>) {
        self.telling.names.insert(interface, name);
    }

    /// Lets go of the names of interfaces that are gone, but of those that a connection is still to be told of with: these
    /// stay in `gone`.
    pub fn forget_interfaces(&mut self, gone: &mut Vec<u32>) {
        let tables = [&self.table, &self.challengers];
        let needed: HashSet<u32> = tables
            .into_iter()
            .flat_map(|table| table.slots().map(|slot| table[slot].key.interface))
            .filter(|interface| gone.contains(interface))
            .collect();
        for interface in gone.extract_if(.., |interface| !needed.contains(interface)) {
            self.telling.names.remove(&interface);
        }
    }

    /// Only connections that `filter` takes are told of from now on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// Connections reported so far, by outcome.
    #[must_use]
    pub fn counts(&self) -> OutcomeCounts {
        self.counts
    }

    /// Connections in the table: those that are not over, and those whose end is remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.table.len()
    }

    /// Connections that are not over, of those that are told of.
    #[must_use]
    pub fn open(&self) -> usize {
        if self.filter.is_some() {
            // Asked for with statistics only.
            let told = |conn: &Conn| !conn.flags.ended && !conn.flags.hidden;
            return [&self.table, &self.challengers]
                .into_iter()
                .flat_map(|table| table.slots().map(|slot| &table[slot]))
                .filter(|conn| told(conn))
                .count();
        }
        self.table.len() - self.table.len_of(List::Ended) + self.challengers.len()
    }

    /// Takes one input; `sink` gets the events in the order in which things happened.
    pub fn input(&mut self, input: &Input, sink: &mut dyn FnMut(Event)) {
        self.telling.losses.begin(input.ts());
        match input {
            Input::Segment(seg) => {
                self.expire(seg.ts, sink);
                self.segment(seg, sink);
            }
            Input::Icmp(error) => {
                self.expire(error.quoted.ts, sink);
                self.icmp(error, sink);
            }
            Input::Lost(report) => self.telling.losses.records(report),
            Input::Overwritten(until) => self.telling.losses.acknowledgements(*until),
            Input::Admission(AdmissionChange { ts, admission }) => self.admit(*admission, *ts),
            Input::Passed(octets) => self.telling.passed = Some(*octets),
            Input::Clock(change) => self.telling.clock.change(*change),
            Input::Tick(now) => self.expire(*now, sink),
        }
    }

    /// The trace ends at `ts`: reports what is still in the table, in the order in which it began. A handshake
    /// that nothing answered is `unanswered` by then, unless an answer may be on its way; everything else is `open`.
    pub fn finish(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        self.expire(ts, sink);
        self.nothing_waits(sink);
        self.believe_all(sink);
        let slots: Vec<u32> = self.table.slots().filter(|&slot| !self.table[slot].flags.ended).collect();
        let mut left: Vec<Conn> = slots.into_iter().map(|slot| self.table.remove(slot)).collect();
        let slots: Vec<u32> = self.challengers.slots().collect();
        left.extend(slots.into_iter().map(|slot| self.challengers.remove(slot)));
        left.sort_unstable_by_key(|conn| conn.id);
        for conn in left {
            let end = ts.max(conn.last);
            let outcome = if evidence::is_in_flight(&conn, end) { Outcome::Open } else { unfinished(&conn) };
            self.report(&conn, end, outcome, sink);
        }
    }

    fn segment(&mut self, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let (key, src_is_low) = self.key_of(&seg.flow);
        if !self.is_copy(&key, src_is_low, seg, sink) {
            self.original_of(key, src_is_low, seg, sink);
        }
    }

    /// A segment that is no copy of one before it; it can have waited for its turn.
    fn original(&mut self, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let (key, src_is_low) = self.key_of(&seg.flow);
        self.original_of(key, src_is_low, seg, sink);
    }

    /// The same, of the connection with this key.
    fn original_of(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        if numbers::are_impossible(seg.flags) {
            self.impossible(key, src_is_low, seg, sink);
            return;
        }
        let opens = seg.flags.syn() && !seg.flags.ack();
        if let Some(slot) = self.table.find(&key) {
            if self.table[slot].is_held() {
                self.while_held(slot, src_is_low, seg, sink);
                return;
            }
            if !self.table[slot].flags.ended {
                if opens && self.is_challenge(slot, src_is_low, seg) {
                    self.challenge(slot, src_is_low, seg, sink);
                } else if self.challengers.len() == 0 || !self.is_challengers(slot, src_is_low, seg, sink) {
                    self.continues(slot, src_is_low, seg, sink);
                }
                return;
            }
            if opens && reopen::is_known_syn(&self.table[slot], src_is_low, seg) {
                self.known_syn(slot, src_is_low, seg, sink);
                return;
            }
            if !opens {
                if self.answers_known_syn(slot, src_is_low, seg) {
                    self.reopen(slot, seg, sink);
                } else {
                    self.after_the_end(slot, src_is_low, seg, sink);
                }
                return;
            }
            self.known_syns.remove(&slot);
            self.note_earlier(slot, src_is_low, seg);
            self.forget(slot, seg.ts, sink);
        } else if let Some(slot) = self.resume(&key, src_is_low, seg, sink) {
            self.continues(slot, src_is_low, seg, sink);
            return;
        } else if let Some(slot) = self.other_half(&key, src_is_low, seg) {
            self.continues(slot, src_is_low, seg, sink);
            return;
        }
        self.begins(key, src_is_low, seg, sink);
    }

    /// A SYN is about to open a connection on the ports of the one in `slot`, which ended.
    fn note_earlier(&mut self, slot: u32, src_is_low: bool, syn: &Segment) {
        let conn = &self.table[slot];
        if let (Role::Client, Some(since)) =
            (conn.role_of(src_is_low), evidence::server_waits_since(conn).get())
        {
            self.telling.earlier.add(self.next_id, syn.ts.since(since));
        }
    }

    /// A segment of a connection that is in the table.
    fn continues(&mut self, slot: u32, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let conn = &mut self.table[slot];
        if seg.flags.fin() || seg.flags.rst() {
            conn.lend(&mut self.spare);
        }
        conn.note_sight(conn.role_of(src_is_low), seg);
        conn.note_tags(conn.role_of(src_is_low), &seg.flow);
        let after = judge(conn, src_is_low, seg, &mut self.telling.to(sink));
        if seg.flags.syn() && seg.flags.ack() {
            self.telling.answers.add(conn);
        }
        self.settle(slot, after, src_is_low, seg, sink);
    }

    /// A late segment of a connection that was reported. A valid RST ends TIME-WAIT (RFC 1337), a FIN begins it anew.
    pub(super) fn after_the_end(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let mut out = self.telling.to(sink);
        let conn = &mut self.table[slot];
        let role = conn.role_of(src_is_low);
        out.segment(conn, role, seg, Sight::First);
        if evidence::fin_again_after_the_end(conn, role, seg) {
            out.anomaly(conn, role, seg, (AnomalyReason::FinAfterClose, None));
        }
        if seg.flags.rst() {
            resets::rst_after_the_end(conn, role, seg, &mut out);
        } else if numbers::restarts_time_wait(conn, role, seg) {
            conn.last = conn.last.max(seg.ts);
            self.table.touch(slot, List::Ended);
        }
    }

    /// The network's answer to a SYN or SYN-ACK.
    fn icmp(&mut self, error: &IcmpError, sink: &mut dyn FnMut(Event)) {
        let quoted = &error.quoted;
        if !icmp::is_refusal(quoted.flow.ipv6, error.kind, error.code) {
            return;
        }
        let (key, src_is_low) = self.key_of(&quoted.flow);
        if self.is_challengers_icmp(&key, src_is_low, error, sink) {
            return;
        }
        let slot = match self.table.find(&key) {
            Some(slot) if self.table[slot].flags.ended => return,
            Some(slot) => slot,
            // Of a quote without control bits nobody can say what it quotes.
            None if quoted.flags.syn() && !quoted.flags.ack() => {
                self.make_room(quoted.ts, sink);
                // What is quoted went the other way than the error, which is on its way back.
                let sent = Segment { direction: quoted.direction.reversed(), ..quoted.clone() };
                let mut conn = self.fresh(key, src_is_low, Role::Client, &sent);
                rules::quoted_syn(&mut conn, quoted, &mut self.telling.to(sink));
                self.table.insert(conn, List::Handshake)
            }
            None => return,
        };
        let mut out = self.telling.to(sink);
        let conn = &mut self.table[slot];
        let sender = conn.role_of(src_is_low);
        // The error is on its way to the sender of what it quotes.
        if quoted.sender == Sender::There {
            conn.note_vantage(sender, Sender::Here);
        }
        conn.note_tunnels(peer(sender), quoted.encapsulation.as_deref());
        conn.last = conn.last.max(quoted.ts);
        let after = icmp::error(conn, sender, error, &mut out);
        self.settle(slot, after, src_is_low, quoted, sink);
    }

    /// The first segment that is seen of a connection.
    fn begins(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let (sender, guessed) = first_sender(seg);
        if !seg.flags.syn() && !seg.flags.rst() && !seg.flags.fin() {
            // An acknowledgement alone announces nothing: its connection was dropped from the table.
            return;
        }
        self.make_room(seg.ts, sink);
        self.halves.note(&seg.flow);
        let mut conn = self.fresh(key, src_is_low, sender, seg);
        conn.flags.direction_inferred = guessed;
        conn.note_sight(sender, seg);
        let mut out = self.telling.to(sink);
        out.segment(&conn, sender, seg, Sight::First);
        let after = match (seg.flags.syn(), seg.flags.ack()) {
            (true, false) => {
                rules::first_syn(&mut conn, seg, &mut out);
                if key.is_of_one_end() {
                    // It reaches its own sender, in SYN-SENT.
                    rules::segment(&mut conn, peer(sender), seg, &mut out);
                }
                After::Goes
            }
            (synack, _) => {
                if !synack && numbers::refuses(seg) && self.seen.answers_probe(seg) {
                    conn.flags.direction_inferred = false;
                    conn.extra_mut().probe = true;
                } else if synack || numbers::refuses(seg) {
                    rules::first_answer(&mut conn, seg, &mut out);
                } else {
                    rules::first_midstream(&mut conn, seg, &mut out);
                }
                rules::segment(&mut conn, sender, seg, &mut out)
            }
        };
        let slot = self.table.insert(conn, List::Handshake);
        self.settle(slot, after, src_is_low, seg, sink);
    }

    /// Puts a connection where its time-out is looked for, or ends it.
    fn settle(
        &mut self,
        slot: u32,
        after: After,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        match after {
            After::Goes => {
                self.table.touch(slot, waits_in(&self.table[slot]));
            }
            After::Holds => {
                let role = self.table[slot].role_of(src_is_low);
                self.hold(slot, role, seg);
            }
            After::Ends(outcome, phase) => {
                self.table[slot].flags.ended = true;
                self.table.touch(slot, List::Ended);
                let conn = &self.table[slot];
                count(&mut self.counts, conn, outcome);
                self.telling.to(sink).connection(conn, conn.last, outcome, phase);
                if let Some(mut teardown) = self.table[slot].settle_down()
                    && self.spare.len() < SPARE
                {
                    *teardown = Teardown::NONE;
                    self.spare.push(teardown);
                }
                if self.challengers.len() > 0 {
                    self.succeed(slot, seg, sink);
                }
            }
            After::Restarts(outcome) => {
                let conn = self.table.remove(slot);
                self.report(&conn, seg.ts, outcome, sink);
                self.begins(conn.key, src_is_low, seg, sink);
            }
        }
    }

    /// Control bits that cannot be together say nothing about any state.
    fn impossible(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let misfit = (AnomalyReason::ImpossibleFlags, None);
        self.seen.expect_answer(seg);
        if let Some(slot) = self.table.find(&key) {
            let conn = &self.table[slot];
            let role = conn.role_of(src_is_low);
            let mut out = self.telling.to(sink);
            out.segment(conn, role, seg, Sight::First);
            out.anomaly(conn, role, seg, misfit);
            return;
        }
        let mut conn = self.fresh(key, src_is_low, Role::Client, seg);
        conn.flags.partial = true;
        // Nothing else will come of it.
        conn.flags.ended = true;
        conn.note_sight(Role::Client, seg);
        let mut out = self.telling.to(sink);
        out.segment(&conn, Role::Client, seg, Sight::First);
        out.anomaly(&conn, Role::Client, seg, misfit);
    }

    /// Reports a connection that ends without a segment of its own to end it, so without a reset.
    fn report(&mut self, conn: &Conn, ts: Timestamp, outcome: Outcome, sink: &mut dyn FnMut(Event)) {
        count(&mut self.counts, conn, outcome);
        self.telling.to(sink).connection(conn, ts, outcome, None);
    }

    /// A connection of which `sender` sent the first segment that is seen.
    fn fresh(&mut self, key: Key, src_is_low: bool, sender: Role, first: &Segment) -> Conn {
        let mut conn = Conn::new(self.next_id, key, src_is_low, sender, first.ts);
        self.next_id += 1;
        conn.lot = first.lot;
        let opens = first.flags.syn() && !first.flags.ack();
        // Later, that a loss long before may have hidden a try is forgotten.
        conn.flags.missed = self.shedding.touches(first.lot, !opens, first.ts)
            || self.telling.losses.hide_a_try_before(first.ts);
        conn.flags.hidden = self.is_unwanted(sender, first);
        conn
    }

    /// The filter does not take a connection of which `sender` sent this. Its client is its source, whoever sent it.
    fn is_unwanted(&self, sender: Role, seg: &Segment) -> bool {
        let Some(filter) = &self.filter else { return false };
        let opened = match sender {
            Role::Client => filter.takes(&seg.flow, seg.direction),
            Role::Server => filter.takes(&seg.flow.reversed(), seg.direction.reversed()),
        };
        !opened
    }

    /// One more connection will fit.
    fn make_room(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        while self.table.len() + self.challengers.len() >= self.config.max_connections.max(1) {
            self.evict(ts, sink);
        }
    }

    /// Makes room: first by forgetting what was reported, then the oldest half-open connection (a flood of
    /// SYNs must not push out real ones, nor those on connections that are open first of all), then the one that was
    /// quiet for longest.
    fn evict(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        if self.table.first(List::Ended).is_none() {
            self.believe_all(sink);
        }
        if let Some(slot) = self.table.first(List::Ended) {
            self.forget(slot, ts, sink);
            return;
        }
        let half_open = self.table.first(List::Handshake).or(self.table.first(List::Rejected));
        let conn = match (self.challengers.first(List::Handshake), half_open.or(self.table.first(List::Open)))
        {
            (Some(slot), _) => self.challengers.remove(slot),
            (None, Some(slot)) => self.table.remove(slot),
            (None, None) => return,
        };
        // What waits with it is lost for the other one on its four-tuple.
        if !conn.waiting().is_empty()
            && let Some(other) = self.table.find(&conn.key)
        {
            self.table[other].flags.missed = true;
        }
        self.report(&conn, ts.max(conn.last), Outcome::Evicted, sink);
        self.telling.losses.drop_one();
    }
}

/// What a segment makes of a connection that is there.
fn judge(conn: &mut Conn, src_is_low: bool, seg: &Segment, out: &mut Out<'_>) -> After {
    let role = conn.role_of(src_is_low);
    out.segment(conn, role, seg, Sight::First);
    if conn.is_synchronized() && seg.ts.since(conn.last) > side::LONG_NS {
        conn.sides.iter_mut().for_each(Side::forget_bound);
    }
    let mut after = rules::segment(conn, role, seg, out);
    if conn.key.is_of_one_end() && after == After::Goes {
        // It is as if each of two ends had sent it.
        after = rules::segment(conn, peer(role), seg, out);
    }
    if !matches!(after, After::Restarts(_)) {
        conn.last = conn.last.max(seg.ts);
    }
    after
}

fn count(counts: &mut OutcomeCounts, conn: &Conn, outcome: Outcome) {
    if !conn.flags.hidden {
        counts.add(outcome);
    }
}

/// Places for what closes that are kept when they are free.
const SPARE: usize = 1024;

/// The list of a connection that goes on.
fn waits_in(conn: &Conn) -> List {
    if conn.is_open() {
        List::Open
    } else if icmp::retry_is_due_soon(conn) {
        List::Rejected
    } else {
        List::Handshake
    }
}

/// What a connection is called that did not end: by how far it came.
fn unfinished(conn: &Conn) -> Outcome {
    if conn.is_open() {
        Outcome::Open
    } else if conn.synacks > 0 {
        Outcome::SynackUnanswered
    } else if conn.extra().icmp.is_some() {
        Outcome::RefusedIcmp
    } else {
        Outcome::Unanswered
    }
}

/// Who sent the first segment seen, and whether that is a guess: a SYN comes from the client, a SYN-ACK from
/// the server, a refusal too; else the lower port is the server's.
fn first_sender(seg: &Segment) -> (Role, bool) {
    if seg.flags.syn() {
        return (if seg.flags.ack() { Role::Server } else { Role::Client }, false);
    }
    if numbers::refuses(seg) {
        return (Role::Server, true);
    }
    (if seg.flow.src_port < seg.flow.dst_port { Role::Server } else { Role::Client }, true)
}

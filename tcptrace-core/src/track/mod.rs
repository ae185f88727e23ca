//! The tracker, which turns lifecycle segments into events. It has no clock, no thread and does no I/O: time comes in
//! with the input. The arrows of the state machine are in `state.rs`, `rules.rs` has what a segment is evidence of,
//! `numbers.rs` which numbers fit, and `open.rs` and `close.rs` how sides come to be open and how they close.
//!
//! A connection that is *over* was reported, and is remembered for a while, as late segments of it may come.

mod after;
mod ahead;
mod answers;
mod bytes;
mod challenge;
mod close;
mod conn;
mod copies;
mod deadlines;
mod elsewhere;
mod evict;
mod evidence;
mod fins;
mod first_data;
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

pub use ahead::{Ahead, Next};
pub(crate) use held::DOUBT_NS;

use crate::{
    event::{AnomalyReason, Event, Kinds, Outcome, OutcomeCounts, Role},
    filter::Filter,
    segment::{Acceptance, AdmissionChange, Flow, IcmpError, Input, Segment, Sender, Timestamp},
    socket::AcceptQueue,
    source_clock::SourceClock,
};
use after::After;
use ahead::{Known, Place};
use conn::{Conn, List, peer, teardown::Teardown};
use copies::Prints;
use elsewhere::AnsweredSyns;
use evidence::EarlierCloses;
use halves::Halves;
use hashbrown::{HashMap, HashSet};
use key::Key;
use losses::Losses;
use report::{EventContext, Originality, Out};
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
    /// The most connections in the table, at least 1, including those that are over but remembered.
    pub max_connections: usize,
    /// The kinds of events that somebody reads; the others are not made.
    pub wants: Kinds,
    /// Whether events say when the first data came (`--first-byte`).
    pub first_byte: bool,
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
            first_byte: false,
        }
    }
}

/// Reconstructs the states of both ends of every connection from its lifecycle segments.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    table: Table,
    /// Connections on a four-tuple that an older one in `table` still has; see `challenge.rs`.
    challengers: Table,
    /// The earliest deadline of all connections, unless the head of a list in a table changed since.
    due: Timestamp,
    /// Teardowns that are not in use, kept so that few have to be allocated.
    #[expect(clippy::vec_box, reason = "the boxes themselves are lent")]
    free_teardowns: Vec<Box<Teardown>>,
    context: EventContext,
    filter: Option<Filter>,
    shedding: Shedding,
    /// SYNs with the ISN of a connection that is over, by its slot in `table`; see `reopen.rs`.
    known_syns: HashMap<u32, Segment>,
    prints: Prints,
    halves: Halves,
    /// Some connection may have been captured with two sets of sequence numbers; see `views.rs`.
    rewritten: bool,
    given_up: GivenUp,
    /// The flows of servers' segments of whose accept queue is asked.
    questions: Vec<Flow>,
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
            free_teardowns: Vec::new(),
            context: EventContext {
                wants: config.wants,
                first_byte: config.first_byte,
                names: HashMap::new(),
                losses: Losses::default(),
                earlier_closes: EarlierCloses::default(),
                answered_syns: AnsweredSyns::default(),
                clock: SourceClock::default(),
                passed: None,
            },
            filter: None,
            shedding: Shedding::default(),
            known_syns: HashMap::new(),
            prints: Prints::default(),
            halves: Halves::default(),
            rewritten: false,
            given_up: GivenUp::default(),
            questions: Vec::new(),
            next_id: 1,
            counts: OutcomeCounts::default(),
        }
    }

    /// Sets the name that events have for this interface from now on.
    pub fn name_interface(&mut self, interface: u32, name: Arc<str>) {
        self.context.names.insert(interface, name);
    }

    /// Forgets the names of the interfaces in `gone`, but for those that events of a remembered connection may still
    /// need: these stay in `gone`.
    pub fn forget_interfaces(&mut self, gone: &mut Vec<u32>) {
        let tables = [&self.table, &self.challengers];
        let needed: HashSet<u32> = tables
            .into_iter()
            .flat_map(|table| table.slots().map(|slot| table[slot].key.interface))
            .filter(|interface| gone.contains(interface))
            .collect();
        for interface in gone.extract_if(.., |interface| !needed.contains(interface)) {
            self.context.names.remove(&interface);
        }
    }

    /// Sets the filter: of connections that begin from now on, only those that it takes are reported.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = Some(filter);
    }

    /// How many connections were reported so far, by outcome.
    #[must_use]
    pub fn counts(&self) -> OutcomeCounts {
        self.counts
    }

    /// How many connections are in the table: those that are open, and those that are over but remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.table.len()
    }

    /// How many connections are not over, without those that the filter does not take.
    #[must_use]
    pub fn open(&self) -> usize {
        if self.filter.is_some() {
            // This is slow, but it is asked for with statistics only.
            let counts = |conn: &Conn| !conn.flags.ended && !conn.flags.hidden;
            return [&self.table, &self.challengers]
                .into_iter()
                .flat_map(|table| table.slots().map(|slot| &table[slot]))
                .filter(|conn| counts(conn))
                .count();
        }
        self.table.len() - self.table.len_of(List::Ended) + self.challengers.len()
    }

    /// Takes the next input; `sink` gets the events that follow from it, in the order in which things happened.
    pub fn input(&mut self, input: &Input, sink: &mut dyn FnMut(Event)) {
        self.input_at(input, None, sink);
    }

    /// Takes the next input, of which something may be `known` that was found by looking ahead.
    fn input_at(&mut self, input: &Input, known: Option<&Known>, sink: &mut dyn FnMut(Event)) {
        self.context.losses.set_began(input.ts());
        match input {
            Input::Segment(seg) => {
                self.expire(seg.ts, sink);
                let known = self.still_known(known, seg);
                self.segment(known, seg, sink);
            }
            Input::Icmp(error) => {
                self.expire(error.quoted.ts, sink);
                self.icmp(error, sink);
            }
            Input::Lost(report) => self.context.losses.add_records(report),
            Input::Overwritten(until) => self.context.losses.add_acknowledgements(*until),
            Input::Admission(AdmissionChange { ts, admission }) => self.admit(*admission, *ts),
            Input::Accepted(acceptance) => self.accepted(acceptance),
            Input::AcceptQueue(flow, queue) => self.accept_queue(flow, *queue),
            Input::Passed(octets) => self.context.passed = Some(*octets),
            Input::Clock(change) => self.context.clock.change(*change),
            Input::Tick(now) => self.expire(*now, sink),
        }
    }

    /// Ends the trace at `ts`: reports the connections that are not over, in the order in which they began. A handshake
    /// that nothing answered has failed by then, unless an answer may still be on its way; every other connection is
    /// `open`.
    pub fn finish(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        self.expire(ts, sink);
        self.return_all_deferred(sink);
        self.believe_all(sink);
        let slots: Vec<u32> = self.table.slots().filter(|&slot| !self.table[slot].flags.ended).collect();
        let mut left: Vec<Conn> = slots.into_iter().map(|slot| self.table.remove(slot)).collect();
        let slots: Vec<u32> = self.challengers.slots().collect();
        left.extend(slots.into_iter().map(|slot| self.challengers.remove(slot)));
        left.sort_unstable_by_key(|conn| conn.id);
        for conn in left {
            let end = ts.max(conn.last);
            let outcome =
                if evidence::is_in_flight(&conn, end) { Outcome::Open } else { unfinished_outcome(&conn) };
            self.report(&conn, end, outcome, sink);
        }
    }

    fn segment(&mut self, (place, tag): Known, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        if !self.is_copy(&place, tag, seg, sink) {
            self.original_at(place, seg, sink);
        }
    }

    /// Takes a segment that is no copy of one before it. It may have been deferred, so its connection can be another by
    /// now.
    fn original(&mut self, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let place = self.place_of(seg);
        self.original_at(place, seg, sink);
    }

    /// Takes a segment that is no copy of one before it, and belongs to `place`.
    fn original_at(&mut self, place: Place, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let Place { key, src_is_low, .. } = place;
        if numbers::are_impossible(seg.flags) {
            self.impossible_flags(key, src_is_low, seg, sink);
            return;
        }
        let opens = seg.flags.syn() && !seg.flags.ack();
        if let Some(slot) = self.table.find_at(&place) {
            if self.table[slot].is_held() {
                self.while_held(slot, src_is_low, seg, sink);
                return;
            }
            if !self.table[slot].flags.ended {
                if opens && self.is_challenge(slot, src_is_low, seg) {
                    self.challenge(slot, src_is_low, seg, sink);
                } else if self.challengers.len() == 0 || !self.try_challenger(slot, src_is_low, seg, sink) {
                    self.continue_connection(slot, src_is_low, seg, sink);
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
                    self.late_segment(slot, src_is_low, seg, sink);
                }
                return;
            }
            self.known_syns.remove(&slot);
            self.record_earlier_close(slot, src_is_low, seg);
            self.forget(slot, seg.ts, sink);
        } else if let Some(slot) = self.resume(&key, src_is_low, seg, sink) {
            self.continue_connection(slot, src_is_low, seg, sink);
            return;
        } else if let Some(slot) = self.other_half(&key, src_is_low, seg) {
            self.continue_connection(slot, src_is_low, seg, sink);
            return;
        }
        self.begin_connection(&place, seg, sink);
    }

    /// Takes who accepted a connection, unless that is over by now.
    fn accepted(&mut self, Acceptance { flow, process, .. }: &Acceptance) {
        if let Some(conn) = self.of_server(flow) {
            conn.record_acceptance(Role::Server, process);
        }
    }

    /// Takes how full the accept queue is in which a connection should be.
    fn accept_queue(&mut self, flow: &Flow, queue: AcceptQueue) {
        if let Some(conn) = self.of_server(flow) {
            conn.extra_mut().accept_queue = Some(queue);
        }
    }

    /// The connection whose server sends segments of `flow`, unless it is over.
    fn of_server(&mut self, flow: &Flow) -> Option<&mut Conn> {
        let (key, src_is_low) = self.key_of(flow);
        let slot = self.table.find(&key)?;
        let conn = &mut self.table[slot];
        (!conn.flags.ended && conn.role_of(src_is_low) == Role::Server).then_some(conn)
    }

    /// Takes the flows of servers' segments of which the tracker asks how full the accept queue is, as the server seems not to
    /// take what reaches it. A source that is on the server's host answers by [`Input::AcceptQueue`]; nobody else need answer.
    pub fn take_questions(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.questions)
    }

    /// Asks about the accept queue if `seg` was sent again, as the server does not seem to take what reaches it.
    fn ask(&mut self, slot: u32, seg: &Segment) {
        /// The most questions that wait for an answer.
        const MOST: usize = 16;
        if seg.flags.syn() && self.questions.len() < MOST && evidence::may_not_be_accepted(&self.table[slot])
        {
            self.questions.push(if seg.flags.ack() { seg.flow } else { seg.flow.reversed() });
        }
    }

    /// Remembers how long before `syn` the server of the connection in `slot`, which is over, had closed it: `syn` is
    /// about to open another one on the same ports.
    fn record_earlier_close(&mut self, slot: u32, src_is_low: bool, syn: &Segment) {
        let conn = &self.table[slot];
        if let (Role::Client, Some(since)) =
            (conn.role_of(src_is_low), evidence::server_waits_since(conn).get())
        {
            self.context.earlier_closes.add(self.next_id, syn.ts.since(since));
        }
    }

    /// Takes a segment of the connection in `slot`, which is not over.
    fn continue_connection(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let conn = &mut self.table[slot];
        if seg.flags.fin() || seg.flags.rst() {
            conn.reuse_teardown(&mut self.free_teardowns);
        }
        conn.record_where_seen(conn.role_of(src_is_low), seg);
        conn.record_tags(conn.role_of(src_is_low), &seg.flow);
        let after = apply_segment(conn, src_is_low, seg, &mut self.context.out(sink));
        if seg.flags.syn() && seg.flags.ack() {
            self.context.answered_syns.add(conn);
        }
        self.ask(slot, seg);
        self.carry_out(slot, after, src_is_low, seg, sink);
    }

    /// Takes a late segment of the connection in `slot`, which is over. A valid RST ends TIME-WAIT (RFC 1337), and a
    /// FIN begins it anew.
    pub(super) fn late_segment(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let mut out = self.context.out(sink);
        let conn = &mut self.table[slot];
        let role = conn.role_of(src_is_low);
        out.segment(conn, role, seg, Originality::Original);
        if evidence::is_late_fin_retry(conn, role, seg) {
            out.anomaly(conn, role, seg, (AnomalyReason::FinAfterClose, None));
        }
        if seg.flags.rst() {
            resets::late_rst(conn, role, seg, &mut out);
        } else if numbers::restarts_time_wait(conn, role, seg) {
            conn.last = conn.last.max(seg.ts);
            self.table.touch(slot, List::Ended);
        }
    }

    /// Takes an ICMP error, the network's answer to a SYN or SYN-ACK.
    fn icmp(&mut self, error: &IcmpError, sink: &mut dyn FnMut(Event)) {
        let quoted = &error.quoted;
        if !icmp::is_refusal(quoted.flow.ipv6, error.kind, error.code) {
            return;
        }
        let (key, src_is_low) = self.key_of(&quoted.flow);
        if self.try_challenger_icmp(&key, src_is_low, error, sink) {
            return;
        }
        let slot = match self.table.find(&key) {
            Some(slot) if self.table[slot].flags.ended => return,
            Some(slot) => slot,
            // A quote without control bits does not say whether it is of a SYN.
            None if quoted.flags.syn() && !quoted.flags.ack() => {
                self.make_room(quoted.ts, sink);
                // The quoted SYN went the other way than the error, which is on its way back.
                let sent = Segment { direction: quoted.direction.reversed(), ..quoted.clone() };
                let mut conn = self.new_connection(key, src_is_low, Role::Client, &sent);
                rules::quoted_syn(&mut conn, quoted, &mut self.context.out(sink));
                self.table.insert(conn, List::Handshake)
            }
            None => return,
        };
        let mut out = self.context.out(sink);
        let conn = &mut self.table[slot];
        let sender = conn.role_of(src_is_low);
        // The error is on its way to the sender of the quoted segment.
        if quoted.sender == Sender::There {
            conn.record_vantage(sender, Sender::Here);
        }
        conn.record_tunnels(peer(sender), quoted.encapsulation.as_deref());
        conn.last = conn.last.max(quoted.ts);
        let after = icmp::error(conn, sender, error, &mut out);
        self.carry_out(slot, after, src_is_low, quoted, sink);
    }

    /// Begins a connection with the first segment that is seen of it.
    fn begin_connection(&mut self, place: &Place, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let &Place { key, hash, src_is_low, .. } = place;
        let (sender, guessed) = role_of_first_sender(seg);
        if !seg.flags.syn() && !seg.flags.rst() && !seg.flags.fin() {
            // An acknowledgement alone announces nothing: its connection was dropped from the table.
            return;
        }
        self.make_room(seg.ts, sink);
        self.halves.record_tags(&seg.flow);
        let mut conn = self.new_connection(key, src_is_low, sender, seg);
        conn.flags.direction_inferred = guessed;
        conn.record_where_seen(sender, seg);
        let mut out = self.context.out(sink);
        out.segment(&conn, sender, seg, Originality::Original);
        let after = match (seg.flags.syn(), seg.flags.ack()) {
            (true, false) => {
                rules::first_syn(&mut conn, seg, &mut out);
                if key.is_of_one_end() {
                    // The SYN reaches its own sender, in SYN-SENT.
                    rules::segment(&mut conn, peer(sender), seg, &mut out);
                }
                After::GoesOn
            }
            (synack, _) => {
                if !synack && numbers::refuses(seg) && self.prints.answers_probe(seg) {
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
        let slot = self.table.insert_hashed(hash, conn, List::Handshake);
        self.carry_out(slot, after, src_is_low, seg, sink);
    }

    /// Does with the connection in `slot` what `after` says: puts it into the list of its time-out, holds the reset
    /// `seg`, ends it, or begins another one with `seg`.
    fn carry_out(
        &mut self,
        slot: u32,
        after: After,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        match after {
            After::GoesOn => {
                self.table.touch(slot, list_of(&self.table[slot]));
            }
            After::HoldsReset => {
                let role = self.table[slot].role_of(src_is_low);
                self.hold_reset(slot, role, seg);
            }
            After::Ends(outcome, phase) => {
                self.table[slot].flags.ended = true;
                self.table.touch(slot, List::Ended);
                let conn = &self.table[slot];
                count_outcome(&mut self.counts, conn, outcome);
                self.context.out(sink).connection(conn, conn.last, outcome, phase);
                if let Some(mut teardown) = self.table[slot].shrink()
                    && self.free_teardowns.len() < MAX_FREE_TEARDOWNS
                {
                    *teardown = Teardown::NONE;
                    self.free_teardowns.push(teardown);
                }
                if self.challengers.len() > 0 {
                    self.inherit_at_end(slot, seg, sink);
                }
            }
            After::Restarts(outcome) => {
                let conn = self.table.remove(slot);
                self.report(&conn, seg.ts, outcome, sink);
                let place = self.place(conn.key, src_is_low);
                self.begin_connection(&place, seg, sink);
            }
        }
    }

    /// Takes a segment with control bits that no stack sends together. It says nothing about any state.
    fn impossible_flags(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let misfit = (AnomalyReason::ImpossibleFlags, None);
        self.prints.expect_answer(seg);
        if let Some(slot) = self.table.find(&key) {
            let conn = &self.table[slot];
            let role = conn.role_of(src_is_low);
            let mut out = self.context.out(sink);
            out.segment(conn, role, seg, Originality::Original);
            out.anomaly(conn, role, seg, misfit);
            return;
        }
        let mut conn = self.new_connection(key, src_is_low, Role::Client, seg);
        conn.flags.partial = true;
        // Nothing else will come of it.
        conn.flags.ended = true;
        conn.record_where_seen(Role::Client, seg);
        let mut out = self.context.out(sink);
        out.segment(&conn, Role::Client, seg, Originality::Original);
        out.anomaly(&conn, Role::Client, seg, misfit);
    }

    /// Reports a connection that is not ended by a segment of its own, so not by a reset either.
    fn report(&mut self, conn: &Conn, ts: Timestamp, outcome: Outcome, sink: &mut dyn FnMut(Event)) {
        count_outcome(&mut self.counts, conn, outcome);
        self.context.out(sink).connection(conn, ts, outcome, None);
    }

    /// A new connection, of which `sender` sent the first segment that is seen.
    fn new_connection(&mut self, key: Key, src_is_low: bool, sender: Role, first: &Segment) -> Conn {
        let mut conn = Conn::new(self.next_id, key, src_is_low, sender, first.ts);
        self.next_id += 1;
        conn.lot = first.lot;
        let opens = first.flags.syn() && !first.flags.ack();
        // A loss that may have hidden an earlier SYN is forgotten after about two minutes, so this is decided now.
        conn.flags.missed = self.shedding.touches(first.lot, !opens, first.ts)
            || self.context.losses.hide_a_try_before(first.ts);
        conn.flags.hidden = self.is_unwanted(sender, first);
        conn
    }

    /// Whether the filter does not take a connection of which `sender` sent `seg`. To the filter the client is the
    /// source, also where `seg` is the server's.
    fn is_unwanted(&self, sender: Role, seg: &Segment) -> bool {
        let Some(filter) = &self.filter else { return false };
        let opened = match sender {
            Role::Client => filter.takes(&seg.flow, seg.direction),
            Role::Server => filter.takes(&seg.flow.reversed(), seg.direction.reversed()),
        };
        !opened
    }
}

/// Applies the rules to a segment of a connection that is in a table, and returns what is to be done with that.
fn apply_segment(conn: &mut Conn, src_is_low: bool, seg: &Segment, out: &mut Out<'_>) -> After {
    let role = conn.role_of(src_is_low);
    out.segment(conn, role, seg, Originality::Original);
    if conn.is_synchronized() && seg.ts.since(conn.last) > side::LONG_NS {
        conn.sides.iter_mut().for_each(Side::forget_bound);
    }
    let mut after = rules::segment(conn, role, seg, out);
    if conn.key.is_of_one_end() && after == After::GoesOn {
        // A socket that is connected to itself is both ends, so both have sent it.
        after = rules::segment(conn, peer(role), seg, out);
    }
    if !matches!(after, After::Restarts(_)) {
        conn.last = conn.last.max(seg.ts);
    }
    after
}

fn count_outcome(counts: &mut OutcomeCounts, conn: &Conn, outcome: Outcome) {
    if !conn.flags.hidden {
        counts.add(outcome);
    }
}

/// The most teardowns that are kept when they are not in use.
const MAX_FREE_TEARDOWNS: usize = 1024;

/// The list in which a connection that goes on waits for its time-out.
fn list_of(conn: &Conn) -> List {
    if conn.is_open() {
        List::Open
    } else if icmp::retry_is_due_soon(conn) {
        List::Rejected
    } else {
        List::Handshake
    }
}

/// The outcome of a connection that did not end, by how far it came.
fn unfinished_outcome(conn: &Conn) -> Outcome {
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

/// Whether the client or the server sent the first segment that is seen, and whether that is a guess. A SYN comes from
/// the client, a SYN-ACK or a refusal from the server; of other segments the lower port is taken for the server's.
fn role_of_first_sender(seg: &Segment) -> (Role, bool) {
    if seg.flags.syn() {
        return (if seg.flags.ack() { Role::Server } else { Role::Client }, false);
    }
    if numbers::refuses(seg) {
        return (Role::Server, true);
    }
    (if seg.flow.src_port < seg.flow.dst_port { Role::Server } else { Role::Client }, true)
}

//! One connection as the tracker keeps it: two sides, and the times that the events are made of.

pub(crate) mod clocks;
pub(crate) mod doubts;
pub(crate) mod extra;
pub(crate) mod sight;

use super::{
    key::Key,
    side::Side,
    state::{self, Evidence},
};
use crate::{
    event::{AnomalyReason, Role, State, Vantage},
    segment::{Segment, Timestamp},
    wall::WallClock,
};
use clocks::{Clocks, Moment, Spent, When, Wide};
use doubts::{Doubts, Fin};
use extra::Extra;
use sight::Tunnels;
use tcptrace_common::seq::SeqNum;

/// States that one side has left, with the time spent in each, in the order of their beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLog<const N: usize> {
    ns: [Spent; N],
    states: [Option<State>; N],
}

impl<const N: usize> StateLog<N> {
    const EMPTY: Self = Self { ns: [Spent::NOTHING; N], states: [None; N] };

    fn add(&mut self, state: State, spent: Spent) {
        for (place, sum) in self.states.iter_mut().zip(&mut self.ns) {
            if place.is_none_or(|p| p == state) {
                *place = Some(state);
                *sum = sum.and(spent);
                return;
            }
        }
    }

    /// `spent` of what was added for `state` was not.
    fn take(&mut self, state: State, spent: Spent) {
        if let Some(place) = self.states.iter().position(|place| *place == Some(state)) {
            self.ns[place] = self.ns[place].without(spent);
            let is_last = self.states.get(place + 1).is_none_or(Option::is_none);
            if self.ns[place] == Spent::NOTHING && is_last {
                self.states[place] = None;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (State, Spent)> + '_ {
        self.states.iter().zip(self.ns).map_while(|(s, ns)| s.map(|s| (s, ns)))
    }
}

/// What is known of one end from its closing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2 or CLOSING; or ESTABLISHED, CLOSE-WAIT, LAST-ACK; and one spare.
    late: StateLog<4>,
    /// The sequence number after its FIN.
    pub(crate) fin_end: Option<SeqNum>,
    /// The FIN that counts.
    pub(crate) fin: Option<Fin>,
    /// The state that it was in before that, and since when.
    pub(crate) before_fin: (State, When),
    /// The FIN's number is known to be right.
    pub(crate) fin_fits: bool,
    /// The FIN's end is beyond `fin_end`, nobody knows how far.
    pub(crate) fin_is_open: bool,
    /// Where its data ended by its RST, for the byte count.
    pub(crate) rst_seq: Option<SeqNum>,
    /// What the peer's RST acknowledges.
    pub(crate) received: Option<SeqNum>,
    /// Where its data stood when it acknowledged the peer's FIN, for `half_closed`.
    pub(crate) sent_at_peer_fin: Option<SeqNum>,
    /// The peer acknowledged its FIN.
    pub(crate) fin_acked: bool,
    pub(crate) fins: u32,
    pub(crate) rsts: u32,
}

impl Closing {
    const NONE: Self = Self {
        late: StateLog::EMPTY,
        fin_end: None,
        fin: None,
        before_fin: (State::Closed, When::NEVER),
        fin_fits: false,
        fin_is_open: false,
        rst_seq: None,
        received: None,
        sent_at_peer_fin: None,
        fin_acked: false,
        fins: 0,
        rsts: 0,
    };

    /// What the FIN that counts acknowledged.
    pub(crate) fn fin_ack(&self) -> Option<SeqNum> {
        self.fin.map(|fin| fin.ack)
    }

    /// The peer acknowledged exactly that: the FIN ends there, also if it was in a first fragment.
    pub(crate) fn prove_fin_end(&mut self, end: SeqNum) {
        self.fin_end = Some(end);
        self.fin_is_open = false;
    }
}

/// The closing of both ends. Kept apart, so that a connection that is only open does not carry it.
#[derive(Debug)]
pub(crate) struct Teardown {
    sides: [Closing; 2],
    pub(crate) first_fin: When,
    pub(crate) first_fin_acked: When,
    pub(crate) second_fin: When,
    pub(crate) second_fin_acked: When,
    pub(crate) rst: When,
    pub(crate) first_fin_by: Option<Role>,
    pub(crate) reset_by: Option<Role>,
    /// Each sent its FIN before acknowledging the other's.
    pub(crate) simultaneous_close: bool,
    /// The passive closer went on for a while after the first FIN.
    pub(crate) half_closed: bool,
    /// The RST is a host's that knows no such connection.
    pub(crate) no_such_connection: bool,
    /// TTL or hop limit of the RST that ended it.
    pub(crate) rst_ttl: Option<u8>,
    pub(crate) rst_seq: Option<SeqNum>,
    pub(crate) tunnels: Option<Box<Tunnels>>,
    pub(crate) doubts: Option<Box<Doubts>>,
    /// Times too far from the start for [`Clocks`].
    pub(super) wide: Wide,
    /// Nanoseconds that each side was in the one of SYN-SENT and SYN-RECEIVED that it usually is not in.
    pub(super) unusual_early: [When; 2],
    /// Here, as an open connection with neither should not carry a pointer for each.
    extra: Option<Box<Extra>>,
}

impl Teardown {
    /// Nothing of it seen.
    pub(crate) const NONE: Self = Self {
        sides: [Closing::NONE; 2],
        first_fin: When::NEVER,
        first_fin_acked: When::NEVER,
        second_fin: When::NEVER,
        second_fin_acked: When::NEVER,
        rst: When::NEVER,
        first_fin_by: None,
        reset_by: None,
        simultaneous_close: false,
        half_closed: false,
        no_such_connection: false,
        rst_ttl: None,
        rst_seq: None,
        tunnels: None,
        doubts: None,
        wide: [0; Clocks::COUNT],
        unusual_early: [When::NEVER; 2],
        extra: None,
    };
}

/// Which time-out a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// The handshake is under way.
    Handshake,
    /// An ICMP error came, and a client that goes on all the same tries again soon.
    Rejected,
    /// Past the handshake: none.
    Open,
    /// A reset is doubted for a while.
    Held,
    /// Reported; remembered while late segments may come.
    Ended,
}

/// One connection. There can be a million of them, so what most do not need is elsewhere; what every segment needs comes
/// first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Conn {
    pub(crate) key: Key,
    /// From the first FIN or RST on, or from what is rarer.
    teardown: Option<Box<Teardown>>,
    /// The last lifecycle segment.
    pub(crate) last: Timestamp,
    /// Client, server.
    pub(crate) sides: [Side; 2],
    pub(crate) vantage: Option<Vantage>,
    pub(crate) client_is_low: bool,
    pub(crate) flags: ConnFlags,
    /// The table's: where it waits.
    pub(super) list: List,
    /// Segments that were captured once more, up to 255.
    pub(crate) copies: u8,
    pub(crate) syns: u16,
    pub(crate) synacks: u16,
    /// See [`Segment::lot`].
    pub(crate) lot: u32,
    pub(super) clocks: Clocks,
    /// The time stamp of the client's first SYN, where it had one.
    pub(crate) first_tsval: u32,
    /// Changed by [`Conn::move_start`] alone, as times count from it.
    pub(crate) start: Timestamp,
    pub(crate) id: u64,
}

/// The yes-or-no facts of a connection.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact of the connection")]
pub(crate) struct ConnFlags {
    /// The SYN was not seen.
    pub(crate) partial: bool,
    /// Who is client was guessed.
    pub(crate) direction_inferred: bool,
    /// Both sent a SYN.
    pub(crate) simultaneous_open: bool,
    /// `established` was reported, or could not be any more.
    pub(crate) established: bool,
    /// The filter does not take it: it is followed, as its later segments look like those of one that it takes, and
    /// never told of.
    pub(crate) hidden: bool,
    /// Segments of it may have been shed, or a SYN lost before the first that came.
    pub(crate) missed: bool,
    /// `connection` was reported: what is left is to absorb late segments.
    pub(crate) ended: bool,
    /// And what these do not need is gone.
    pub(super) settled: bool,
}

/// The place of a role in [`Conn::sides`].
pub(crate) const fn index(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

/// The other role.
pub(crate) const fn peer(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

impl Conn {
    /// A connection of which the first segment seen came from `sender` at `ts`.
    pub(crate) fn new(id: u64, key: Key, src_is_low: bool, sender: Role, ts: Timestamp) -> Self {
        Self {
            key,
            id,
            start: ts,
            last: ts,
            clocks: Clocks::NONE,
            first_tsval: 0,
            sides: [Side::NEW; 2],
            list: List::Handshake,
            copies: 0,
            lot: 0,
            syns: 0,
            synacks: 0,
            vantage: None,
            client_is_low: src_is_low == (sender == Role::Client),
            flags: ConnFlags::default(),
            teardown: None,
        }
    }

    pub(crate) fn side(&self, role: Role) -> &Side {
        &self.sides[index(role)]
    }

    pub(crate) fn side_mut(&mut self, role: Role) -> &mut Side {
        &mut self.sides[index(role)]
    }

    /// `seg` is the SYN, not seen before, to which the SYN-ACK that we saw is the answer.
    pub(crate) fn is_answered_by_now(&self, role: Role, seg: &Segment) -> bool {
        let own = self.side(role);
        role == Role::Client
            && own.isn().is_none()
            && own.syn_end().is_some_and(|end| end == seg.end() || end == seg.seq.plus(1))
    }

    /// The acknowledgement of its SYN-ACK was not seen, or that of a FIN.
    pub(crate) fn lacks_acknowledgement(&self) -> bool {
        let lacks = |sent: When, acked: When| sent != When::NEVER && acked == When::NEVER;
        let teardown = self.teardown();
        (self.synacks > 0 && self.at(Moment::Established) == When::NEVER)
            || lacks(teardown.first_fin, teardown.first_fin_acked)
            || lacks(teardown.second_fin, teardown.second_fin_acked)
    }

    /// When the first SYN passed: a connection that is not partial starts with it, unless its SYN-ACK overtook that.
    pub(crate) fn first_syn(&self) -> When {
        let timed = !self.flags.partial && self.at(Moment::LastSyn) != When::NEVER;
        When::from(timed.then_some(self.start))
    }

    /// A SYN, already counted, that is not the first that was sent. Where it is the first that was seen, there is no gap to
    /// tell of.
    pub(crate) fn note_syn(&mut self, seg: &Segment) {
        let first = (self.syns > 1).then_some(self.start);
        let extra = self.extra_mut();
        extra.syns.add(first, seg);
        extra.rejected = false;
    }

    /// When the last SYN passed.
    pub(crate) fn latest_syn(&self) -> Option<Timestamp> {
        self.extra().syns.latest().or(self.at(Moment::LastSyn).get())
    }

    /// How it closes, as far as that was seen.
    pub(crate) fn teardown(&self) -> &Teardown {
        static NONE: Teardown = Teardown::NONE;
        self.teardown.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn teardown_mut(&mut self) -> &mut Teardown {
        self.teardown.get_or_insert_with(|| Box::new(Teardown::NONE))
    }

    /// It closes: a spare place for how, so that none is allocated.
    #[expect(clippy::vec_box, reason = "the boxes themselves are lent")]
    pub(super) fn lend(&mut self, spare: &mut Vec<Box<Teardown>>) {
        if self.teardown.is_none() {
            self.teardown = spare.pop();
        }
    }

    /// The connection was reported. What late segments do not need is given back; tunnels are what their events tell.
    pub(super) fn settle_down(&mut self) -> Option<Box<Teardown>> {
        if self.teardown().tunnels.is_some() {
            return None;
        }
        self.settle_clocks();
        self.teardown.take()
    }

    /// The sequence number after the FIN of `role`.
    pub(crate) fn fin_end(&self, role: Role) -> Option<SeqNum> {
        if self.flags.settled {
            return self.side(role).has_fin().then(|| SeqNum(self.settled_fin_end(role)));
        }
        self.closing(role).fin_end
    }

    pub(crate) fn extra(&self) -> &Extra {
        static NONE: Extra = Extra::NONE;
        self.teardown().extra.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.teardown_mut().extra.get_or_insert_with(|| Box::new(Extra::NONE))
    }

    pub(crate) fn doubts_mut(&mut self) -> &mut Doubts {
        self.teardown_mut().doubts.get_or_insert_default()
    }

    /// What `role` can be known to have sent a moment ago: no number before this one is new.
    pub(crate) fn bound(&self, role: Role) -> Option<SeqNum> {
        let (own, other) = (self.side(role), self.side(peer(role)));
        let first = own.first_data().filter(|_| own.is_young());
        match (other.bound(), first) {
            (Some(acked), Some(first)) if first.after(acked) => Some(first),
            (Some(acked), _) => Some(acked),
            (None, first) => first,
        }
    }

    pub(crate) fn closing(&self, role: Role) -> &Closing {
        &self.teardown().sides[index(role)]
    }

    pub(crate) fn closing_mut(&mut self, role: Role) -> &mut Closing {
        &mut self.teardown_mut().sides[index(role)]
    }

    /// Moves one side along one arrow. Returns the transition `(from, to, since the previous one)` if there was one.
    pub(crate) fn apply(
        &mut self,
        role: Role,
        evidence: Evidence,
        ts: Timestamp,
        clock: &WallClock,
    ) -> Option<(State, State, Option<u64>)> {
        let from = self.side(role).state;
        let to = state::next(from, evidence)?;
        let spent = self.entered(role).get().map(|entered| clock.span(entered, ts));
        self.side_mut(role).state = to;
        self.set_entered(role, ts);
        match (from, spent) {
            // What was reported has no use for its times, and CLOSED and LISTEN are where a life begins and ends; how long
            // is not the connection's.
            _ if self.flags.settled => {}
            (State::Closed | State::Listen, _) | (_, None) => {}
            (State::SynSent | State::SynReceived, Some(ns)) => self.add_early(role, from, Spent::of(ns)),
            (_, Some(ns)) => self.closing_mut(role).late.add(from, Spent::of(ns)),
        }
        Some((from, to, spent.flatten()))
    }

    /// The FIN of `role` was not its own: it is in the state that it was in before, and `spent` was no end of that. Returns
    /// that change.
    pub(crate) fn take_back_fin(
        &mut self,
        role: Role,
        (before, entered): (State, When),
        spent: Option<Spent>,
    ) -> Option<(State, State)> {
        let from = self.side(role).state;
        let to = match from {
            State::FinWait1 | State::LastAck => before,
            // It acknowledged the peer's FIN since. When it sent its own, and which came first, is not known any more.
            State::Closing => State::CloseWait,
            _ => return None,
        };
        self.side_mut(role).state = to;
        if from == State::Closing {
            self.flags.missed = true;
            return Some((from, to));
        }
        match (to, spent) {
            (_, None) => {}
            (State::SynReceived, Some(spent)) => self.take_early(role, to, spent),
            (_, Some(spent)) => self.closing_mut(role).late.take(to, spent),
        }
        self.set_entered(role, entered);
        Some((from, to))
    }

    /// The states that a side has left, with the nanoseconds spent in each as far as they are known.
    pub(crate) fn state_times(&self, role: Role) -> impl Iterator<Item = (State, Option<u64>)> + '_ {
        self.early(role).chain(self.closing(role).late.iter()).map(|(state, spent)| (state, spent.get()))
    }

    /// Octets of data a side sent, modulo 2^32; `None` where either end of them was not seen. Where the peer reset it, those
    /// that had come there.
    pub(crate) fn bytes(&self, role: Role) -> Option<u64> {
        let (closing, first) = (self.closing(role), self.side(role).first_data()?);
        let end = match (closing.fin_end, closing.rst_seq) {
            (Some(fin_end), _) => fin_end.plus(u32::MAX),
            (None, Some(rst)) => rst,
            // A keep-alive's RST acknowledges the number before the last octet.
            (None, None) => closing.received.filter(|received| received.at_or_after(first))?,
        };
        let n = end.0.wrapping_sub(first.0);
        // A RST at the ISN itself ends before the first octet (a reset in answer to the handshake).
        Some(if n == u32::MAX { 0 } else { u64::from(n) })
    }

    /// Address and port of the client and of the server.
    pub(crate) fn ends(&self) -> [([u8; 16], u16); 2] {
        let [low, high] = self.key.ends();
        if self.client_is_low { [low, high] } else { [high, low] }
    }

    /// Who sent a segment whose source is (or is not) the low end of the key.
    pub(crate) const fn role_of(&self, src_is_low: bool) -> Role {
        if src_is_low == self.client_is_low { Role::Client } else { Role::Server }
    }

    /// Neither side is at the handshake any more.
    pub(crate) fn is_synchronized(&self) -> bool {
        self.sides.iter().all(|s| state::is_synchronized(s.state))
    }

    /// Some side got past the handshake.
    pub(crate) fn is_open(&self) -> bool {
        self.sides.iter().any(|s| state::is_synchronized(s.state))
    }

    /// Both sides are in TIME-WAIT or CLOSED.
    pub(crate) fn is_over(&self) -> bool {
        self.sides.iter().all(|s| state::is_over(s.state))
    }
}

/// A segment that does not fit: what is wrong, and the number that would have fitted.
pub(crate) type Misfit = (AnomalyReason, Option<u32>);

//! One connection as the tracker keeps it: its two sides, and the times that events report.

pub(crate) mod doubts;
pub(crate) mod extra;
pub(crate) mod sight;
pub(crate) mod sockets;
pub(crate) mod teardown;
pub(crate) mod times;

use super::{
    key::Key,
    side::Side,
    state::{self, Evidence},
};
use crate::{
    event::{AnomalyReason, Role, State, Vantage},
    segment::{Segment, Timestamp},
    source_clock::SourceClock,
};
use doubts::Doubts;
use extra::Extra;
use sockets::Sockets;
use tcptrace_common::seq::SeqNum;
use teardown::{Closing, Teardown};
use times::{CompactTimes, Moment, Spent, When};

/// The list of a connection, by the time-out that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// The handshake is under way, and is given up when nothing comes for the give-up time.
    Handshake,
    /// An ICMP error answered the SYN, and the handshake is given up soon, as a client that goes on tries again by
    /// then.
    Rejected,
    /// The connection is past the handshake, and waits for no time-out.
    Open,
    /// A reset is held, and is believed when nothing disproves it for a while.
    Held,
    /// The connection is over, and is forgotten when no late segment can come any more.
    Ended,
}

/// One connection. There can be a million of them, so facts that most do not need are elsewhere; the fields that every
/// segment needs come first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Conn {
    pub(crate) key: Key,
    /// How it closes: from the first FIN or RST on, or earlier where one of the rarer facts is needed.
    teardown: Option<Box<Teardown>>,
    /// When the last lifecycle segment passed.
    pub(crate) last: Timestamp,
    /// The client's side and the server's ([`index`]).
    pub(crate) sides: [Side; 2],
    pub(crate) vantage: Option<Vantage>,
    pub(crate) client_is_low: bool,
    pub(crate) flags: ConnFlags,
    /// The list of the table that it is in; the table alone changes it.
    pub(super) list: List,
    /// How many copies of its segments were captured, up to 255.
    pub(crate) copies: u8,
    pub(crate) syns: u16,
    pub(crate) synacks: u16,
    /// The lot that decides whether it is recorded ([`Segment::lot`]).
    pub(crate) lot: u32,
    pub(super) times: CompactTimes,
    /// The time stamp of the client's first SYN, where it had one.
    pub(crate) first_tsval: u32,
    /// When it began, as far as was seen. [`Conn::move_start`] alone changes it, as times are kept relative to it.
    pub(crate) start: Timestamp,
    pub(crate) id: u64,
    /// The sockets of the ends that are on this host, and when the first data came.
    sockets: Option<Box<Sockets>>,
}

/// The yes-or-no facts of a connection.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact of the connection")]
pub(crate) struct ConnFlags {
    /// The SYN was not seen.
    pub(crate) partial: bool,
    /// Which end is the client was guessed.
    pub(crate) direction_inferred: bool,
    /// Both ends sent a SYN.
    pub(crate) simultaneous_open: bool,
    /// `established` was reported, or could not be any more.
    pub(crate) established: bool,
    /// The filter does not take the connection. It is followed all the same, as its later segments could not be told
    /// from those of a new connection that the filter takes, but it is never reported.
    pub(crate) hidden: bool,
    /// Segments of it may be missing: shed under overload, lost before the first SYN that came, or dropped while in
    /// doubt.
    pub(crate) missed: bool,
    /// The connection is over and was reported: it is only kept to absorb late segments.
    pub(crate) ended: bool,
    /// The connection is over, and what late segments do not need is gone ([`Conn::shrink`]).
    pub(super) shrunk: bool,
}

/// The index of a role in [`Conn::sides`].
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
            times: CompactTimes::NONE,
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
            sockets: None,
        }
    }

    pub(crate) fn side(&self, role: Role) -> &Side {
        &self.sides[index(role)]
    }

    pub(crate) fn side_mut(&mut self, role: Role) -> &mut Side {
        &mut self.sides[index(role)]
    }

    /// Whether `seg` is the connection's SYN, which was not seen before: a SYN-ACK that was seen is the answer to it.
    pub(crate) fn is_answered_by_now(&self, role: Role, seg: &Segment) -> bool {
        let own = self.side(role);
        role == Role::Client
            && own.isn().is_none()
            && own.syn_end().is_some_and(|end| end == seg.end() || end == seg.seq.plus(1))
    }

    /// Whether an acknowledgement was not seen: that of the SYN-ACK, or that of a FIN.
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

    /// Records a SYN that was sent again, and is already counted. If it is the first SYN that was seen, there is no gap
    /// before it.
    pub(crate) fn record_syn_retry(&mut self, seg: &Segment) {
        let first = (self.syns > 1).then_some(self.start);
        let extra = self.extra_mut();
        extra.syns.add(first, seg);
        extra.rejected = false;
    }

    /// When the last SYN passed.
    pub(crate) fn latest_syn(&self) -> Option<Timestamp> {
        self.extra().syns.latest().or(self.at(Moment::LastSyn).get())
    }

    /// How the connection closes, as far as that was seen.
    pub(crate) fn teardown(&self) -> &Teardown {
        static NONE: Teardown = Teardown::NONE;
        self.teardown.as_deref().unwrap_or(&NONE)
    }

    pub(crate) fn teardown_mut(&mut self) -> &mut Teardown {
        self.teardown.get_or_insert_with(|| Box::new(Teardown::NONE))
    }

    /// Takes the teardown for a connection that closes from `free`, if there is one, so that it need not be allocated.
    #[expect(clippy::vec_box, reason = "the boxes themselves are lent")]
    pub(super) fn reuse_teardown(&mut self, free: &mut Vec<Box<Teardown>>) {
        if self.teardown.is_none() {
            self.teardown = free.pop();
        }
    }

    /// Gives back what late segments of a connection that is over do not need. One in tunnels keeps all, as the events
    /// of late segments name the tunnels.
    pub(super) fn shrink(&mut self) -> Option<Box<Teardown>> {
        self.sockets = None;
        if self.teardown().tunnels.is_some() {
            return None;
        }
        self.shrink_times();
        self.teardown.take()
    }

    /// The sequence number after the FIN of `role`.
    pub(crate) fn fin_end(&self, role: Role) -> Option<SeqNum> {
        if self.flags.shrunk {
            return self.side(role).has_fin().then(|| SeqNum(self.shrunk_fin_end(role)));
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

    /// The least sequence number that a new segment of `role` can have, where that is known: what its peer acknowledged
    /// a moment ago, or its first octet of data.
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

    /// Moves one side along one arrow of the state machine. Returns the old state, the new one, and the nanoseconds in
    /// the old one as far as they are known; `None` if `evidence` changes nothing.
    pub(crate) fn apply(
        &mut self,
        role: Role,
        evidence: Evidence,
        ts: Timestamp,
        clock: &SourceClock,
    ) -> Option<(State, State, Option<u64>)> {
        let from = self.side(role).state;
        let to = state::next(from, evidence)?;
        let spent = self.entered(role).get().map(|entered| clock.span(entered, ts));
        self.side_mut(role).state = to;
        self.set_entered(role, ts);
        match (from, spent) {
            // A connection that was reported has no use for its times, and the time in CLOSED and LISTEN is not the
            // connection's.
            _ if self.flags.shrunk => {}
            (State::Closed | State::Listen, _) | (_, None) => {}
            (State::SynSent | State::SynReceived, Some(ns)) => self.add_early(role, from, Spent::of(ns)),
            (_, Some(ns)) => self.closing_mut(role).late.add(from, Spent::of(ns)),
        }
        Some((from, to, spent.flatten()))
    }

    /// Moves `role` back to the state that it was in before its FIN, which was not its own, and that it entered at
    /// `entered`. `spent` is the time that was added for that state. Returns the change.
    pub(crate) fn retract_fin(
        &mut self,
        role: Role,
        (before, entered): (State, When),
        spent: Option<Spent>,
    ) -> Option<(State, State)> {
        let from = self.side(role).state;
        let to = match from {
            State::FinWait1 | State::LastAck => before,
            // It acknowledged the peer's FIN since. What the times would be without its own FIN is not known any more.
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
            (State::SynReceived, Some(spent)) => self.subtract_early(role, to, spent),
            (_, Some(spent)) => self.closing_mut(role).late.subtract(to, spent),
        }
        self.set_entered(role, entered);
        Some((from, to))
    }

    /// The states that a side has left, with the nanoseconds that it spent in each, as far as they are known.
    pub(crate) fn state_times(&self, role: Role) -> impl Iterator<Item = (State, Option<u64>)> + '_ {
        self.early(role).chain(self.closing(role).late.iter()).map(|(state, spent)| (state, spent.get()))
    }

    /// How many octets of data a side sent, modulo 2^32; `None` where their beginning or their end was not seen. Where
    /// the peer reset the connection, how many had come to it.
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

    /// The address and port of the client, and of the server.
    pub(crate) fn ends(&self) -> [([u8; 16], u16); 2] {
        let [low, high] = self.key.ends();
        if self.client_is_low { [low, high] } else { [high, low] }
    }

    /// Which side sent a segment whose source is the low end of the key, or is not.
    pub(crate) const fn role_of(&self, src_is_low: bool) -> Role {
        if src_is_low == self.client_is_low { Role::Client } else { Role::Server }
    }

    /// Whether both sides are past the handshake.
    pub(crate) fn is_synchronized(&self) -> bool {
        self.sides.iter().all(|s| state::is_synchronized(s.state))
    }

    /// Whether at least one side is past the handshake.
    pub(crate) fn is_open(&self) -> bool {
        self.sides.iter().any(|s| state::is_synchronized(s.state))
    }

    /// Whether both sides are in TIME-WAIT or CLOSED.
    pub(crate) fn is_finished(&self) -> bool {
        self.sides.iter().all(|s| state::is_finished(s.state))
    }
}

/// Why a segment does not fit its connection, and the number that would have fitted where there is one.
pub(crate) type Misfit = (AnomalyReason, Option<u32>);

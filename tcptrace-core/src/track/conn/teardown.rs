//! How a connection closes, kept apart from it, as most connections are only open.

use super::{
    doubts::{Doubts, Fin},
    extra::Extra,
    sight::Tunnels,
    times::{CompactTimes, Spent, When, WideTimes},
};
use crate::event::{Role, State};
use tcptrace_common::seq::SeqNum;

/// The states that one side has left, with the time that it spent in each, in the order in which it entered them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLog<const N: usize> {
    ns: [Spent; N],
    states: [Option<State>; N],
}

impl<const N: usize> StateLog<N> {
    pub(super) const EMPTY: Self = Self { ns: [Spent::NOTHING; N], states: [None; N] };

    pub(super) fn add(&mut self, state: State, spent: Spent) {
        for (place, sum) in self.states.iter_mut().zip(&mut self.ns) {
            if place.is_none_or(|p| p == state) {
                *place = Some(state);
                *sum = sum.and(spent);
                return;
            }
        }
    }

    /// Subtracts `spent` from the time in `state`, and forgets the state if it is the last one and no time is left.
    pub(super) fn subtract(&mut self, state: State, spent: Spent) {
        if let Some(place) = self.states.iter().position(|place| *place == Some(state)) {
            self.ns[place] = self.ns[place].without(spent);
            let is_last = self.states.get(place + 1).is_none_or(Option::is_none);
            if self.ns[place] == Spent::NOTHING && is_last {
                self.states[place] = None;
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (State, Spent)> + '_ {
        self.states.iter().zip(self.ns).map_while(|(s, ns)| s.map(|s| (s, ns)))
    }
}

/// How one end closed, as far as that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// The time in each state from ESTABLISHED on that it has left: at most ESTABLISHED, FIN-WAIT-1 and one of
    /// FIN-WAIT-2 and CLOSING, or ESTABLISHED, CLOSE-WAIT and LAST-ACK, so one of four places is not needed.
    pub(super) late: StateLog<4>,
    /// The sequence number after its FIN.
    pub(crate) fin_end: Option<SeqNum>,
    /// The FIN that counts.
    pub(crate) fin: Option<Fin>,
    /// The state that it was in before the FIN that counts, and since when.
    pub(crate) before_fin: (State, When),
    /// The number of the FIN that counts is known to be right.
    pub(crate) fin_fits: bool,
    /// The end of the FIN is somewhere beyond `fin_end`, as only the first fragment of its packet was seen.
    pub(crate) fin_is_open: bool,
    /// The sequence number of its RST, at which its data ended, for the byte count.
    pub(crate) rst_seq: Option<SeqNum>,
    /// The acknowledgement number of the peer's RST.
    pub(crate) received: Option<SeqNum>,
    /// The sequence number that its data had reached when it acknowledged the peer's FIN, for `half_closed`.
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

    /// The acknowledgement number of the FIN that counts.
    pub(crate) fn fin_ack(&self) -> Option<SeqNum> {
        self.fin.map(|fin| fin.ack)
    }

    /// Makes `end` the end of the FIN, as the peer acknowledged exactly that; also of one in a first fragment.
    pub(crate) fn prove_fin_end(&mut self, end: SeqNum) {
        self.fin_end = Some(end);
        self.fin_is_open = false;
    }
}

/// How both ends closed, and what else few connections need. It is kept apart, so that a connection that is only open
/// does not carry it.
#[derive(Debug)]
pub(crate) struct Teardown {
    pub(super) sides: [Closing; 2],
    pub(crate) first_fin: When,
    pub(crate) first_fin_acked: When,
    pub(crate) second_fin: When,
    pub(crate) second_fin_acked: When,
    pub(crate) rst: When,
    pub(crate) first_fin_by: Option<Role>,
    pub(crate) reset_by: Option<Role>,
    /// Each end sent its FIN before it acknowledged the other's.
    pub(crate) simultaneous_close: bool,
    /// The passive closer went on for a while after the first FIN.
    pub(crate) half_closed: bool,
    /// The RST is the answer of a host that knows no such connection.
    pub(crate) no_such_connection: bool,
    /// TTL or hop limit of the RST that ended it.
    pub(crate) rst_ttl: Option<u8>,
    pub(crate) rst_seq: Option<SeqNum>,
    pub(crate) tunnels: Option<Box<Tunnels>>,
    pub(crate) doubts: Option<Box<Doubts>>,
    /// Times too far from the start for [`CompactTimes`].
    pub(super) wide: WideTimes,
    /// The time that each side spent in the one of SYN-SENT and SYN-RECEIVED in which it usually is not. A [`When`]
    /// holds the nanoseconds of a [`Spent`], or none.
    pub(super) unusual_early: [When; 2],
    /// The rarer facts, boxed once more. The pointer is here and not in [`super::Conn`], where every open
    /// connection would carry it.
    pub(super) extra: Option<Box<Extra>>,
}

impl Teardown {
    /// The teardown of which nothing was seen.
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
        wide: [0; CompactTimes::COUNT],
        unusual_early: [When::NEVER; 2],
        extra: None,
    };
}

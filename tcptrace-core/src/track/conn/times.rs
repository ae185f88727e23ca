//! The times of a connection, in four bytes each. Most lie within seconds of its start and are kept as nanoseconds
//! since then. A time that does not fit is kept whole beside the connection, so none loses precision.

use super::{Conn, index};
use crate::{
    event::{Role, State},
    segment::Timestamp,
    source_clock::SourceClock,
};

/// A time, or none, in eight bytes. There are many of them, and an `Option<Timestamp>` is twice as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When(u64);

impl When {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn get(self) -> Option<Timestamp> {
        (self != Self::NEVER).then_some(Timestamp(self.0))
    }

    pub(crate) fn set(&mut self, ts: Timestamp) {
        self.0 = ts.0;
    }
}

impl From<Option<Timestamp>> for When {
    fn from(ts: Option<Timestamp>) -> Self {
        ts.map_or(Self::NEVER, |ts| Self(ts.0))
    }
}

/// How many nanoseconds a side spent in a state, or that nobody knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent(u64);

impl Spent {
    pub(crate) const NOTHING: Self = Self(0);
    /// Less than [`When::NEVER`], as both are kept in the same places.
    const UNKNOWN: Self = Self(u64::MAX - 1);
    const MOST: u64 = u64::MAX - 2;

    pub(crate) fn of(ns: Option<u64>) -> Self {
        ns.map_or(Self::UNKNOWN, |ns| Self(ns.min(Self::MOST)))
    }

    pub(crate) fn get(self) -> Option<u64> {
        (self != Self::UNKNOWN).then_some(self.0)
    }

    /// The time without `part` of it; unknown if one of the two is.
    pub(crate) fn without(self, part: Self) -> Self {
        Self::of(self.get().zip(part.get()).map(|(all, part)| all.saturating_sub(part)))
    }

    /// The sum of two times; unknown if one of them is.
    pub(crate) fn and(self, more: Self) -> Self {
        Self::of(self.get().zip(more.get()).map(|(ns, more)| ns.saturating_add(more)))
    }
}

/// A moment of the handshake whose time is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Moment {
    /// The last SYN before the first SYN-ACK.
    LastSyn,
    FirstSynack,
    /// The last SYN-ACK before the establishing acknowledgement.
    LastSynack,
    Established,
}

/// The times of one connection: of each [`Moment`], then when each side entered its state, then how long each was in
/// its usual state before ESTABLISHED.
///
/// When the connection is over and shrunk ([`super::Conn::shrink`]) the same room holds the end of each side's
/// FIN and, whole, when each side entered its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactTimes([u32; Self::COUNT]);

/// The times that need more than 32 bits, by the same index.
pub(crate) type WideTimes = [u64; CompactTimes::COUNT];

impl CompactTimes {
    pub(crate) const COUNT: usize = 8;
    pub(crate) const NONE: Self = Self([Self::NEVER; Self::COUNT]);
    /// The first index, of the client, behind the moments; the server's is the next.
    const ENTERED: usize = 4;
    const EARLY: usize = 6;
    const NEVER: u32 = u32::MAX;
    const WIDE: u32 = u32::MAX - 1;
}

/// The state before ESTABLISHED in which a side usually is; it is in the other one only in a simultaneous open.
const fn usual(role: Role) -> State {
    match role {
        Role::Client => State::SynSent,
        Role::Server => State::SynReceived,
    }
}

impl Conn {
    fn time(&self, place: usize, base: u64) -> When {
        match self.times.0[place] {
            CompactTimes::NEVER => When::NEVER,
            CompactTimes::WIDE => When(self.teardown().wide[place]),
            ns => When(base + u64::from(ns)),
        }
    }

    fn set_time(&mut self, place: usize, base: u64, when: When) {
        let ns = when.0.checked_sub(base).and_then(|ns| u32::try_from(ns).ok());
        self.times.0[place] = match (when, ns) {
            (When::NEVER, _) => CompactTimes::NEVER,
            (_, Some(ns)) if ns < CompactTimes::WIDE => ns,
            _ => {
                self.teardown_mut().wide[place] = when.0;
                CompactTimes::WIDE
            }
        };
    }

    pub(crate) fn at(&self, moment: Moment) -> When {
        self.time(moment as usize, self.start.0)
    }

    pub(crate) fn set_at(&mut self, moment: Moment, when: impl Into<When>) {
        self.set_time(moment as usize, self.start.0, when.into());
    }

    /// When a side entered its state; never where that was not seen.
    pub(crate) fn entered(&self, role: Role) -> When {
        if self.flags.shrunk {
            let place = 2 + 2 * index(role);
            return When(u64::from(self.times.0[place]) << 32 | u64::from(self.times.0[place + 1]));
        }
        self.time(CompactTimes::ENTERED + index(role), self.start.0)
    }

    pub(crate) fn set_entered(&mut self, role: Role, when: impl Into<When>) {
        let when = when.into();
        if self.flags.shrunk {
            let place = 2 + 2 * index(role);
            let half = |ns: u64| u32::try_from(ns & u64::from(u32::MAX)).unwrap_or_default();
            (self.times.0[place], self.times.0[place + 1]) = (half(when.0 >> 32), half(when.0));
            return;
        }
        self.set_time(CompactTimes::ENTERED + index(role), self.start.0, when);
    }

    /// Makes `ts` the start of the connection instead of what was thought to be the start.
    pub(crate) fn move_start(&mut self, ts: Timestamp) {
        let places = 0..CompactTimes::EARLY;
        let known: [When; CompactTimes::EARLY] = std::array::from_fn(|place| self.time(place, self.start.0));
        self.start = ts;
        for (place, when) in places.zip(known) {
            self.set_time(place, ts.0, when);
        }
    }

    /// Forgets how long each side was in the states before ESTABLISHED.
    pub(in crate::track) fn forget_early(&mut self) {
        for role in [Role::Client, Role::Server] {
            self.set_time(CompactTimes::EARLY + index(role), 0, When::NEVER);
        }
        if self.teardown().unusual_early != [When::NEVER; 2] {
            self.teardown_mut().unusual_early = [When::NEVER; 2];
        }
    }

    /// Adds to the time that a side was in `state`, which is SYN-SENT or SYN-RECEIVED.
    pub(in crate::track) fn add_early(&mut self, role: Role, state: State, spent: Spent) {
        let more = |sum: When| When(sum.get().map_or(spent, |sum| Spent(sum.0).and(spent)).0);
        self.change_early(role, state, more);
    }

    /// Subtracts from the time that a side was in `state`, which is SYN-SENT or SYN-RECEIVED.
    pub(in crate::track) fn subtract_early(&mut self, role: Role, state: State, spent: Spent) {
        let less = |sum: When| match sum.get().map(|sum| Spent(sum.0).without(spent)) {
            Some(Spent::NOTHING) | None => When::NEVER,
            Some(left) => When(left.0),
        };
        self.change_early(role, state, less);
    }

    fn change_early(&mut self, role: Role, state: State, change: impl FnOnce(When) -> When) {
        if state == usual(role) {
            let place = CompactTimes::EARLY + index(role);
            let sum = change(self.time(place, 0));
            self.set_time(place, 0, sum);
        } else {
            let sum = &mut self.teardown_mut().unusual_early[index(role)];
            *sum = change(*sum);
        }
    }

    /// The states before ESTABLISHED that a side has left, and how long it was in each.
    pub(in crate::track) fn early(&self, role: Role) -> impl Iterator<Item = (State, Spent)> {
        let usual_ns = self.time(CompactTimes::EARLY + index(role), 0);
        let unusual_ns = self.teardown().unusual_early[index(role)];
        let [sent, received] = match role {
            Role::Client => [usual_ns, unusual_ns],
            Role::Server => [unusual_ns, usual_ns],
        };
        [(State::SynSent, sent), (State::SynReceived, received)]
            .into_iter()
            .filter_map(|(state, ns)| Some((state, Spent(ns.get()?.0))))
    }

    /// Puts in the place of the times, which were reported with the connection, what late segments and the end of
    /// TIME-WAIT need.
    pub(in crate::track) fn shrink_times(&mut self) {
        let ends = [Role::Client, Role::Server].map(|role| (role, self.entered(role), self.fin_end(role)));
        self.flags.shrunk = true;
        for (role, entered, fin_end) in ends {
            self.set_entered(role, entered);
            self.times.0[index(role)] = fin_end.map_or(0, |end| end.0);
            self.side_mut(role).set_has_fin(fin_end.is_some());
        }
    }

    /// The sequence number after the FIN of `role`, of a connection that is shrunk.
    pub(in crate::track) fn shrunk_fin_end(&self, role: Role) -> u32 {
        self.times.0[index(role)]
    }
}

impl From<Timestamp> for When {
    fn from(ts: Timestamp) -> Self {
        Self(ts.0)
    }
}

/// Nanoseconds from one moment to another, where both are known and the clock of the source shows it.
pub(crate) fn span(clock: &SourceClock, from: When, to: When) -> Option<u64> {
    clock.span(from.get()?, to.get()?)
}

#[cfg(test)]
mod tests {
    use super::{Conn, Moment, Spent, When};
    use crate::{
        event::{Role, State},
        segment::{Flow, Timestamp},
        track::key::Key,
    };
    use proptest::prelude::*;

    fn conn(start: u64) -> Conn {
        let flow = Flow {
            src: [1; 16],
            dst: [2; 16],
            src_port: 1,
            dst_port: 2,
            interface: 0,
            vlan: [Flow::NO_VLAN; 2],
            ipv6: false,
            tunnel: 0,
        };
        let (key, src_is_low) = Key::of(&flow);
        Conn::new(1, key, src_is_low, Role::Client, Timestamp(start))
    }

    /// Times close to zero, at the edges of what fits in 32 bits, and anywhere.
    fn any_time() -> impl Strategy<Value = u64> {
        let edge = u64::from(u32::MAX);
        prop_oneof![0..10_u64, edge - 3..edge + 3, 0..u64::MAX]
    }

    proptest! {
        #[test]
        fn any_time_comes_back_as_it_was(start in any_time(), after in any_time(), moved in any_time(), twice in any_time()) {
            let mut conn = conn(start);
            let ts = Timestamp(start.saturating_add(after).min(u64::MAX - 1));
            conn.set_at(Moment::FirstSynack, ts);
            conn.set_entered(Role::Server, Timestamp(twice));
            conn.set_entered(Role::Server, ts);
            for start in [start, moved] {
                conn.move_start(Timestamp(start));
                prop_assert_eq!(conn.at(Moment::FirstSynack).get(), Some(ts));
                prop_assert_eq!(conn.entered(Role::Server).get(), Some(ts));
                prop_assert_eq!(conn.entered(Role::Client), When::NEVER);
                prop_assert_eq!(conn.at(Moment::LastSyn), When::NEVER);
            }
            conn.shrink();
            prop_assert_eq!(conn.entered(Role::Server).get(), Some(ts));
            prop_assert_eq!(conn.entered(Role::Client), When::NEVER);
        }

        #[test]
        fn time_in_the_first_states_adds_up(
            one in proptest::option::weighted(0.9, any_time()),
            other in proptest::option::weighted(0.9, any_time()),
            late in proptest::option::weighted(0.9, any_time()),
        ) {
            let mut conn = conn(5);
            for role in [Role::Client, Role::Server] {
                conn.add_early(role, State::SynSent, Spent::of(one));
                conn.add_early(role, State::SynSent, Spent::of(other));
                conn.add_early(role, State::SynReceived, Spent::of(late));
                let most = |ns: u64| ns.min(u64::MAX - 2);
                let sum = one.zip(other).map(|(one, other)| most(one.saturating_add(other)));
                let expected = vec![(State::SynSent, sum), (State::SynReceived, late.map(most))];
                let got: Vec<_> = conn.early(role).map(|(state, spent)| (state, spent.get())).collect();
                prop_assert_eq!(got, expected);
            }
        }
    }
}

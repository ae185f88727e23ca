//! What one connection says of clocks and delays.

use crate::event::Role;
use crate::merge::{
    between::{Pairs, compare},
    clocks::Between,
    join::Member,
    report::{Hop, Name},
    trace::Trace,
};

/// What one connection says of each two places that saw it: the first is nearer to the client.
pub(super) struct Local(Vec<((usize, usize), Between)>);

impl Local {
    /// Compares the members of a group, which are in order from the client to the server.
    pub(super) fn of(traces: &[Trace], members: &[Member]) -> Self {
        let mut all = Vec::new();
        for (at, &a) in members.iter().enumerate() {
            for &b in &members[at + 1..] {
                let mut between = Between::default();
                compare(traces, (a, b), Role::Client, &mut between);
                all.push(((a.trace, b.trace), between));
            }
        }
        Self(all)
    }

    fn get(&self, from: usize, to: usize) -> Between {
        let find = |pair| self.0.iter().find(|(of, _)| *of == pair).map(|(_, between)| *between);
        find((from, to)).or_else(|| find((to, from)).map(|it| it.reversed())).unwrap_or_default()
    }

    /// What is best known of two traces: by all connections, or by this one where the clocks did not go alike.
    pub(super) fn best(&self, pairs: &Pairs, from: usize, to: usize) -> Between {
        let all = pairs.get(from, to);
        if all.is_steady() { all } else { self.get(from, to) }
    }

    /// Tells of the clocks and delays between a place and the next.
    pub(super) fn hop(&self, names: &[Name], pairs: &Pairs, from: usize, to: usize) -> Hop {
        let (here, best) = (self.get(from, to), self.best(pairs, from, to));
        let offset = best.offset();
        let one_way = offset.zip(here.there.zip(here.back)).map(|(offset, (there, back))| {
            let both = there.least.saturating_add(back.most);
            (both.saturating_sub(offset.middle.saturating_mul(2)), offset.bound.saturating_mul(2))
        });
        let over = |most: i64, least: i64| u64::try_from(most.saturating_sub(least)).ok();
        Hop {
            from: Name::clone(&names[from]),
            to: Name::clone(&names[to]),
            offset_ns: offset.map(|offset| offset.middle),
            offset_bound_ns: offset.map(|offset| offset.bound),
            round_trip_ns: here.round_trip(),
            one_way_difference_ns: one_way.map(|(difference, _)| difference),
            one_way_difference_bound_ns: one_way.map(|(_, bound)| bound),
            to_server_over_least_ns: here
                .there
                .zip(best.there)
                .and_then(|(it, all)| over(it.most, all.least)),
            to_client_over_least_ns: here.back.zip(best.back).and_then(|(it, all)| over(all.most, it.least)),
        }
    }
}

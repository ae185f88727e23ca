//! What all connections say of the clocks and delays between each two traces.

use super::{
    clocks::Between,
    join::{Group, Member},
    order::Known,
    same::surely_same,
    trace::{Seg, Trace, later_by},
};
use crate::event::Role;

/// The clocks and delays between each two traces.
#[derive(Debug)]
pub(super) struct Pairs {
    traces: usize,
    /// That of `a` to `b` is at `a * traces + b` where `a` is before `b`.
    between: Vec<Between>,
}

impl Pairs {
    /// Puts the members of each group in order from the client to the server, and compares all segments that were surely seen at
    /// both of two places.
    pub(super) fn of(traces: &[Trace], known: &Known, groups: &mut [Group]) -> Self {
        let mut pairs = Self { traces: traces.len(), between: vec![Between::default(); traces.len().pow(2)] };
        for group in groups {
            group.ordered_by = known.sort(traces, &mut group.members);
            for (at, &a) in group.members.iter().enumerate() {
                for &b in &group.members[at + 1..] {
                    let (a, b, client) =
                        if a.trace < b.trace { (a, b, Role::Client) } else { (b, a, Role::Server) };
                    let between = &mut pairs.between[a.trace * traces.len() + b.trace];
                    compare(traces, (a, b), client, between);
                }
            }
        }
        pairs
    }

    /// What is between two traces, the first named first.
    pub(super) fn get(&self, a: usize, b: usize) -> Between {
        if a <= b { self.between[a * self.traces + b] } else { self.between[b * self.traces + a].reversed() }
    }

    /// About how much later things are at the second of two traces, by its own clock.
    pub(super) fn shift(&self, a: usize, b: usize) -> Option<i64> {
        if a == b { Some(0) } else { self.get(a, b).shift() }
    }
}

/// Adds what one connection says of two places, of which the sender that `there` names has the first nearer.
pub(super) fn compare(traces: &[Trace], (a, b): (Member, Member), there: Role, between: &mut Between) {
    for (sender, first, second) in surely_same(segs(traces, a), segs(traces, b)) {
        if let Some(later) = later_by(first.ts, second.ts) {
            between.add(sender == there, later);
        }
    }
}

/// The segments of a connection, and whether its roles are the other way round.
pub(super) fn segs(traces: &[Trace], member: Member) -> (&[Seg], bool) {
    let trace = &traces[member.trace];
    (trace.segs(&trace.conns[member.conn as usize]), member.flipped)
}

//! Which of two places is nearer to the client on the way to the server.

use super::{
    by::OrderedBy,
    join::{Group, Member},
    same::surely_same,
    trace::{Trace, later_by},
};
use crate::event::{Role, Vantage};
use std::cmp::Ordering;

/// What is known of two places from one connection: `Less` where the first is nearer to the client.
pub(super) fn compare(traces: &[Trace], a: Member, b: Member) -> Option<(Ordering, OrderedBy)> {
    by_host(traces, a, b)
        .map(|order| (order, OrderedBy::Host))
        .or_else(|| by_segments(traces, a, b))
        .filter(|(order, _)| *order != Ordering::Equal)
}

fn by_host(traces: &[Trace], a: Member, b: Member) -> Option<Ordering> {
    let place = |member: Member| match (vantage(traces, member), member.flipped) {
        (Vantage::Middle, _) => 1,
        (Vantage::Client, false) | (Vantage::Server, true) => 0,
        (Vantage::Server, false) | (Vantage::Client, true) => 2,
    };
    Some(place(a).cmp(&place(b))).filter(|order| *order != Ordering::Equal)
}

fn vantage(traces: &[Trace], member: Member) -> Vantage {
    traces[member.trace].conns[member.conn as usize].vantage
}

fn by_segments(traces: &[Trace], a: Member, b: Member) -> Option<(Ordering, OrderedBy)> {
    let segs = |member: Member| {
        let trace = &traces[member.trace];
        (trace.segs(&trace.conns[member.conn as usize]), member.flipped)
    };
    let mut ttls = Votes::default();
    let (mut from_client, mut from_server) = (None::<i64>, None::<i64>);
    for (sender, first, second) in surely_same(segs(a), segs(b)) {
        let lowered = second.ttl.cmp(&first.ttl);
        ttls.add(if sender == Role::Client { lowered } else { lowered.reverse() });
        if let Some(later) = later_by(first.ts, second.ts) {
            match sender {
                Role::Client => from_client = Some(from_client.map_or(later, |least| least.min(later))),
                Role::Server => from_server = Some(from_server.map_or(later, |most| most.max(later))),
            }
        }
    }
    if let Some(order) = ttls.unanimous() {
        return Some((order, OrderedBy::Ttl));
    }
    let (there, back) = from_client.zip(from_server)?;
    // The difference of the clocks is in both.
    Some((back.cmp(&there), OrderedBy::Times))
}

/// How often one place or the other was found to be nearer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Votes {
    less: u64,
    greater: u64,
}

impl Votes {
    pub(super) fn add(&mut self, order: Ordering) {
        match order {
            Ordering::Less => self.less += 1,
            Ordering::Greater => self.greater += 1,
            Ordering::Equal => {}
        }
    }

    /// What all say, if any says anything.
    pub(super) fn unanimous(self) -> Option<Ordering> {
        match (self.less, self.greater) {
            (1.., 0) => Some(Ordering::Less),
            (0, 1..) => Some(Ordering::Greater),
            _ => None,
        }
    }
}

/// What all connections say of each two places: the votes of `a` before `b` at `a * places + b`.
pub(super) struct Known {
    places: usize,
    votes: Vec<Votes>,
}

impl Known {
    /// Asks all connections that several traces have.
    pub(super) fn from_all(traces: &[Trace], groups: &[Group]) -> Self {
        let mut known = Self { places: traces.len(), votes: vec![Votes::default(); traces.len().pow(2)] };
        for group in groups {
            for (at, &a) in group.members.iter().enumerate() {
                for &b in &group.members[at + 1..] {
                    if let Some((order, _)) = compare(traces, a, b) {
                        known.votes[a.trace * known.places + b.trace].add(order);
                    }
                }
            }
        }
        known
    }

    /// Which of two places, the first named first, is nearer to clients in all connections that say so.
    pub(super) fn unanimous(&self, a: usize, b: usize) -> Option<Ordering> {
        if a <= b {
            self.votes[a * self.places + b].unanimous()
        } else {
            self.votes[b * self.places + a].unanimous().map(Ordering::reverse)
        }
    }

    /// Puts the members in order from the client to the server. Returns the weakest of the reasons.
    pub(super) fn sort(&self, traces: &[Trace], members: &mut [Member]) -> Option<OrderedBy> {
        let mut weakest = None;
        let order = |a: Member, b: Member| {
            compare(traces, a, b)
                .or_else(|| Some((self.unanimous(a.trace, b.trace)?, OrderedBy::Others)))
                .unwrap_or((a.trace.cmp(&b.trace), OrderedBy::Given))
        };
        // There are a few places only, and answers that contradict each other are not to be relied on: each goes before the
        // first that it is nearer than.
        for end in 1..members.len() {
            let mut at = end;
            while at > 0 {
                let (order, by) = order(members[at], members[at - 1]);
                weakest = weakest.max(Some(by));
                if order != Ordering::Less {
                    break;
                }
                members.swap(at, at - 1);
                at -= 1;
            }
        }
        weakest
    }
}

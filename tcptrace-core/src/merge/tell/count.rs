//! Counts what holds of all connections.

use crate::merge::{
    between::Pairs,
    by::{Fate, JoinedBy},
    fate::Verdict,
    join::{Group, NotJoined},
    report::{BetweenSummary, Joined, MERGE_SCHEMA_VERSION, MergeSummary, Name, Traffic, VantageSummary},
    sent::{Sent, Stop},
    trace::Trace,
};

/// The counts so far.
pub(super) struct Counts {
    traces: usize,
    joined: Joined,
    not_joined: Vec<NotJoined>,
    /// Connections that one trace alone has.
    alone: Vec<u64>,
    /// How many connections two traces have in common, where the first is before the second.
    common: Vec<u64>,
    /// What went from one trace to another.
    traffic: Vec<Traffic>,
}

impl Counts {
    pub(super) fn new(traces: usize, not_joined: Vec<NotJoined>) -> Self {
        let pairs = traces.pow(2);
        Self {
            traces,
            joined: Joined::default(),
            not_joined,
            alone: vec![0; traces],
            common: vec![0; pairs],
            traffic: vec![Traffic::default(); pairs],
        }
    }

    pub(super) fn add_group(&mut self, group: &Group) {
        match group.by {
            None => self.alone[group.members[0].trace] += 1,
            Some(JoinedBy::FourTupleAndIsns) => self.joined.four_tuple_and_isns += 1,
            Some(JoinedBy::Isns) => self.joined.isns += 1,
            Some(JoinedBy::FourTupleAndClientIsn) => self.joined.four_tuple_and_client_isn += 1,
            Some(JoinedBy::ClientIsn) => self.joined.client_isn += 1,
        }
        for a in &group.members {
            for b in group.members.iter().filter(|b| a.trace < b.trace) {
                self.common[a.trace * self.traces + b.trace] += 1;
            }
        }
    }

    pub(super) fn add_sent(&mut self, path: &[Stop<'_>], sent: &Sent<'_>, verdict: Verdict) {
        let traces = self.traces;
        let place = |from: usize, to: usize| path[from].trace * traces + path[to].trace;
        for at in 1..path.len() {
            if sent.seen[at - 1].is_some() && sent.seen[at].is_some() {
                self.traffic[place(at - 1, at)].passed += 1;
            }
        }
        let Some((from, to)) = verdict.between else { return };
        let traffic = &mut self.traffic[place(from, to)];
        match verdict.fate {
            Fate::Passed | Fate::OfOne => {}
            Fate::Lost => {
                if let Some((_, seg)) = sent.first() {
                    traffic.lost.add(seg.flags());
                }
            }
            Fate::LostOrUnrecorded => traffic.lost_or_unrecorded += 1,
            Fate::Appeared => traffic.appeared += 1,
            Fate::Unknown => traffic.unknown += 1,
        }
    }

    pub(super) fn summary(&self, names: &[Name], traces: &[Trace], pairs: &Pairs) -> MergeSummary {
        let name = |at: usize| Name::clone(&names[at]);
        let vantages = traces.iter().zip(&self.not_joined).zip(&self.alone).enumerate();
        MergeSummary {
            schema: MERGE_SCHEMA_VERSION,
            vantages: vantages
                .map(|(at, ((trace, not_joined), alone))| VantageSummary {
                    vantage: name(at),
                    connections: trace.wholes().count() as u64,
                    alone: *alone,
                    without_isn: not_joined.without_isn,
                    ambiguous: not_joined.ambiguous,
                    seen_again: not_joined.seen_again,
                    segments: trace.segments() as u64,
                    lost_records: trace.lost(),
                })
                .collect(),
            joined: self.joined,
            between: (0..self.traces)
                .flat_map(|a| (a + 1..self.traces).map(move |b| (a, b)))
                .filter(|(a, b)| self.common[a * self.traces + b] > 0)
                .map(|(a, b)| self.between(pairs, (a, name(a)), (b, name(b))))
                .collect(),
            without_segments: traces.iter().any(|trace| trace.segments() == 0 && !trace.conns.is_empty()),
        }
    }

    fn between(&self, pairs: &Pairs, (a, from): (usize, Name), (b, to): (usize, Name)) -> BetweenSummary {
        let between = pairs.get(a, b);
        let offset = between.offset();
        let traffic = |from: usize, to: usize, compared: Option<u64>| Traffic {
            compared: compared.unwrap_or_default(),
            ..self.traffic[from * self.traces + to]
        };
        BetweenSummary {
            from,
            to,
            offset_ns: offset.map(|offset| offset.middle),
            offset_bound_ns: offset.map(|offset| offset.bound),
            clocks_steady: between.is_steady(),
            round_trip_ns: between.round_trip(),
            there: traffic(a, b, between.there.map(|range| range.count)),
            back: traffic(b, a, between.back.map(|range| range.count)),
        }
    }
}

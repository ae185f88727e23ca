//! One stream of the truth beside what we made of it: the differences, and the rule that each falls under.

mod rules;

use super::{
    ours::{Ours, Seen},
    stream::{Counted, Stream, plain},
};
use rules::Rule;
use std::collections::BTreeSet;
use tcptrace::event::{AnomalyReason, ClosedBy, Connection, Outcome, Role};

/// A kind of segment that is counted, by who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syn,
    SynFromB,
    SynAck,
    SynAckFromA,
    FinA,
    FinB,
    RstA,
    RstB,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Syn,
        Self::SynFromB,
        Self::SynAck,
        Self::SynAckFromA,
        Self::FinA,
        Self::FinB,
        Self::RstA,
        Self::RstB,
    ];

    fn is_from_a(self) -> bool {
        matches!(self, Self::Syn | Self::SynAckFromA | Self::FinA | Self::RstA)
    }
}

/// What is compared besides counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    SynToEstablished,
    SynToSynAck,
    SynAckToAck,
    ClientIsn,
    ServerIsn,
    FirstFin,
    Outcome,
}

/// One stream, and what we made of it.
pub(crate) struct Case<'a> {
    pub(crate) stream: &'a Stream,
    /// Our segments in the stream's frames.
    pub(crate) seen: Vec<&'a Seen>,
    /// The connections that these belong to, in order.
    pub(crate) connections: Vec<&'a Connection>,
    /// All segments of these connections.
    pub(crate) all: Vec<&'a Seen>,
    /// Packets were counted whose IP version is not the frame's.
    pub(crate) bad_version: bool,
    pub(crate) tolerance_ns: u64,
}

/// The rules that were needed, and the differences that none explains.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) rules: BTreeSet<Rule>,
    pub(crate) unexplained: Vec<String>,
}

impl Verdict {
    fn explain(&mut self, rule: Option<Rule>, difference: impl FnOnce() -> String) {
        match rule {
            Some(rule) => {
                self.rules.insert(rule);
            }
            None => self.unexplained.push(difference()),
        }
    }
}

impl<'a> Case<'a> {
    pub(crate) fn new(stream: &'a Stream, ours: &'a Ours, tolerance_ns: u64) -> Self {
        let seen = ours.of_stream(stream);
        let ids: BTreeSet<u64> = seen.iter().map(|seen| seen.id()).collect();
        let connections = ids.iter().filter_map(|id| ours.connections.get(id)).collect();
        let all = ours.seen.iter().filter(|seen| ids.contains(&seen.id())).collect();
        Self { stream, seen, connections, all, bad_version: ours.bad_version > 0, tolerance_ns }
    }

    pub(crate) fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        if let Some(rule) = self.nothing_to_compare() {
            verdict.rules.insert(rule);
            return verdict;
        }
        let mut partly_visible = None;
        for kind in Kind::ALL {
            partly_visible = self.count(kind, &mut verdict).or(partly_visible);
        }
        let Some(connection) = self.main() else {
            if self.seen.is_empty() && partly_visible.is_none() {
                verdict.unexplained.push("no connection".to_owned());
            }
            return verdict;
        };
        for (field, difference) in self.differences(connection) {
            let rule = partly_visible.or_else(|| self.rule_for(field, connection));
            verdict.explain(rule, || format!("{field:?}: {difference}"));
        }
        verdict
    }

    /// How many segments of a kind the truth has.
    pub(crate) fn theirs(&self, kind: Kind) -> Option<u64> {
        let stream = self.stream;
        match kind {
            Kind::Syn => stream.syn.count,
            Kind::SynFromB => stream.syn_from_b.count,
            Kind::SynAck => stream.synack.count,
            Kind::SynAckFromA => stream.synack_from_a.count,
            Kind::FinA => stream.fin.a.count,
            Kind::FinB => stream.fin.b.count,
            Kind::RstA => stream.rst_count.a,
            Kind::RstB => stream.rst_count.b,
        }
    }

    fn is_from_a(&self, seen: &Seen) -> bool {
        if self.stream.a == self.stream.b {
            return seen.segment.sender == Role::Client;
        }
        Some(seen.source()) == self.stream.a.address()
    }

    /// A segment with SYN counts as such even if it has FIN, as the truth counts.
    pub(crate) fn is_of(&self, kind: Kind, seen: &Seen) -> bool {
        let flags = seen.segment.flags;
        let right = match kind {
            Kind::Syn | Kind::SynFromB => flags.syn() && !flags.ack(),
            Kind::SynAck | Kind::SynAckFromA => flags.syn() && flags.ack(),
            Kind::FinA | Kind::FinB => flags.fin(),
            Kind::RstA | Kind::RstB => flags.rst(),
        };
        right && self.is_from_a(seen) == kind.is_from_a()
    }

    pub(crate) fn seen_of(&self, kind: Kind) -> impl Iterator<Item = &'a Seen> + '_ {
        self.seen.iter().copied().filter(move |seen| self.is_of(kind, seen))
    }

    pub(crate) fn is_within(&self, seen: &Seen) -> bool {
        (self.stream.first_frame..=self.stream.last_frame).contains(&seen.frame)
    }

    /// What our lines say of a kind, all together.
    fn said(&self, kind: Kind) -> u64 {
        let count = |connection: &&Connection| {
            let from_client = kind.is_from_a() == self.a_is_client(connection);
            u64::from(match kind {
                Kind::Syn | Kind::SynFromB if from_client && connection.client_isn.is_some() => {
                    connection.syn_retransmits + 1
                }
                Kind::SynAck | Kind::SynAckFromA if !from_client && connection.server_isn.is_some() => {
                    connection.synack_retransmits + 1
                }
                Kind::FinA | Kind::FinB if from_client => connection.client_fins,
                Kind::FinA | Kind::FinB => connection.server_fins,
                Kind::RstA | Kind::RstB if from_client => connection.client_rsts,
                Kind::RstA | Kind::RstB => connection.server_rsts,
                _ => 0,
            })
        };
        self.connections.iter().map(count).sum()
    }

    pub(crate) fn a_is_client(&self, connection: &Connection) -> bool {
        let client = &connection.common.client;
        Some((plain(client.ip), client.port)) == self.stream.a.address()
    }

    /// Compares a count twice: what was seen at all, and what the lines say. Returns the rule by which not all is seen.
    fn count(&self, kind: Kind, verdict: &mut Verdict) -> Option<Rule> {
        let theirs = self.theirs(kind)?;
        let visible = self.seen_of(kind).count() as u64;
        if visible != theirs {
            let rule = self.partly_visible(kind, visible, theirs);
            verdict.explain(rule, || format!("{kind:?}: {visible} seen, not {theirs}"));
            return rule;
        }
        let said = self.said(kind);
        if said == theirs {
            return None;
        }
        let late = self.seen_of(kind).filter(|seen| seen.late).count() as u64;
        let outside = self.all.iter().filter(|seen| self.is_of(kind, seen) && !self.is_within(seen));
        let outside = outside.filter(|seen| !seen.late).count() as u64;
        // The line and what is known to be missing from it make up the truth, or there is an error in one of them.
        let rest = i128::from(theirs) + i128::from(outside) - i128::from(said) - i128::from(late);
        let misfit = self.uncounted(kind, rest);
        if rest != 0 && misfit.is_none() {
            let difference = format!("{kind:?}: {said} said, not {theirs} ({late} late, {outside} outside)");
            verdict.unexplained.push(difference);
            return None;
        }
        verdict.rules.extend(misfit);
        verdict.rules.extend((late > 0).then_some(Rule::AfterTheEnd));
        verdict.rules.extend((outside > 0).then_some(Rule::SplitByTshark));
        None
    }

    /// The connection that the stream's times are of: the first that came to be established, else the first.
    fn main(&self) -> Option<&'a Connection> {
        let established =
            self.connections.iter().find(|connection| connection.times.syn_to_established_ns.is_some());
        established.or(self.connections.first()).copied()
    }

    /// Where a connection is not as the truth has it.
    pub(crate) fn differences(&self, connection: &Connection) -> Vec<(Field, String)> {
        let mut differences = Vec::new();
        let times = &connection.times;
        let pairs = self.stream.lat.as_ref().map(|lat| {
            [
                (Field::SynToEstablished, times.syn_to_established_ns, lat.syn_to_ack),
                (Field::SynToSynAck, times.syn_to_synack_ns, lat.last_syn_to_synack),
                (Field::SynAckToAck, times.synack_to_ack_ns, lat.synack_to_ack),
            ]
        });
        for (field, ours, theirs) in pairs.into_iter().flatten() {
            let theirs = theirs.map(nanoseconds);
            if !self.same_time(ours, theirs) {
                differences.push((field, format!("{ours:?}, not {theirs:?}")));
            }
        }
        let (client, server) = if self.a_is_client(connection) {
            (&self.stream.syn, &self.stream.synack)
        } else {
            (&self.stream.syn_from_b, &self.stream.synack_from_a)
        };
        let numbers = [
            (Field::ClientIsn, connection.client_isn, client),
            (Field::ServerIsn, connection.server_isn, server),
        ];
        for (field, ours, theirs) in numbers {
            let first = theirs.first.as_ref().map(|header| header.seq);
            if theirs.count.is_some() && ours != first {
                differences.push((field, format!("{ours:?}, not {first:?}")));
            }
        }
        differences.extend(self.first_fin(connection).map(|text| (Field::FirstFin, text)));
        let theirs = self.stream.outcomes();
        let labelled = !self.stream.label.handshake.is_empty();
        if labelled && !theirs.contains(&connection.outcome) {
            differences.push((Field::Outcome, format!("{:?}, not {theirs:?}", connection.outcome)));
        }
        differences
    }

    pub(crate) fn same_time(&self, ours: Option<u64>, theirs: Option<i128>) -> bool {
        match (ours, theirs) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => i128::from(ours).abs_diff(theirs) <= u128::from(self.tolerance_ns),
            _ => false,
        }
    }

    fn first_fin(&self, connection: &Connection) -> Option<String> {
        let (a, b) = (&self.stream.fin.a, &self.stream.fin.b);
        a.count.and(b.count)?;
        let frame = |counted: &Counted| counted.first.as_ref().map(|header| header.frame);
        let by_a = match (frame(a), frame(b)) {
            (None, None) => None,
            (Some(_), None) => Some(true),
            (None, Some(_)) => Some(false),
            (Some(a), Some(b)) => Some(a < b),
        };
        let simultaneous = self.stream.label.close.starts_with("simultaneous");
        let ours = connection.closed_by;
        let fits = match (ours, by_a) {
            (None, None) => true,
            (Some(ClosedBy::Both), Some(_)) => simultaneous,
            (Some(ClosedBy::Client), Some(by_a)) => by_a == self.a_is_client(connection),
            (Some(ClosedBy::Server), Some(by_a)) => by_a != self.a_is_client(connection),
            _ => false,
        };
        (!fits).then(|| format!("{ours:?}; by a: {by_a:?}"))
    }

    pub(crate) fn has(&self, reason: AnomalyReason) -> bool {
        self.seen.iter().any(|seen| seen.anomaly == Some(reason))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the seconds of a capture are far below 2^53 ns")]
pub(crate) fn nanoseconds(seconds: f64) -> i128 {
    (seconds * 1e9).round() as i128
}

impl Stream {
    /// What we call the end of a stream with these labels. The labels look at the FINs, and at a RST only where there is
    /// no FIN.
    pub(crate) fn outcomes(&self) -> &'static [Outcome] {
        let close = self.label.close.as_str();
        let some = |count: Option<u64>| count.unwrap_or(0) > 0;
        let reset = some(self.rst_count.a) || some(self.rst_count.b);
        let both = some(self.fin.a.count) && some(self.fin.b.count);
        match (self.label.handshake.as_str(), close) {
            // Data that answers a SYN without a SYN-ACK is no lifecycle segment. Where the client goes on unheard, it is open;
            // and so is a SYN that is fresh at the end.
            ("unanswered" | "oneway-a" | "syn-no-synack", "open") => &[Outcome::Unanswered, Outcome::Open],
            ("syn-then-rst-by-a", _) | ("syn-synack-rst" | "synack-first", "rst-by-a") => &[Outcome::Aborted],
            ("refused", _) | ("syn-synack-rst" | "synack-first", "rst-by-b") => &[Outcome::Refused],
            ("synack-first", "open") if self.hs_ack.is_none() && self.hs_ack_loose.is_none() => {
                // The truth looks for the third segment only where there was a first.
                &[Outcome::SynackUnanswered, Outcome::Open]
            }
            (_, "rst-by-a" | "rst-by-b") => &[Outcome::Reset],
            (_, close) if both && close.ends_with("-acked") => &[Outcome::Closed],
            // One FIN, or one that was not acknowledged.
            (_, close) if close != "open" && reset => &[Outcome::Reset],
            _ => &[Outcome::Open],
        }
    }
}

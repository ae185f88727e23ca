//! Makes the report of each connection, and sums up.

mod count;
mod hops;

use super::{
    between::{Pairs, segs},
    by::Fate,
    fate::{Judge, Verdict},
    join::{Group, Member, NotJoined},
    order::Known,
    report::{
        Bits, Instant, MERGE_SCHEMA_VERSION, MergeSighting, MergeSummary, MergedConnection, MergedSegment,
        Name, ResetFrom, SegmentSighting,
    },
    same::role,
    sent::{Sent, Stop, all_sent},
    trace::{Conn, Trace, nanoseconds},
};
use crate::event::{Address, Role, Vantage};
use count::Counts;
use hashbrown::HashSet;
use hops::Local;
use std::{cmp::Ordering, net::IpAddr};
use tcptrace_common::tcp::TcpFlags;

/// Tells of one connection after the other, and counts.
pub(super) struct Teller<'a> {
    names: &'a [Name],
    traces: &'a [Trace],
    known: &'a Known,
    pairs: &'a Pairs,
    /// Which clients and servers of a trace have connections that another trace saw too: trace, other trace, client and server.
    passing: HashSet<(usize, usize, IpAddr, Address)>,
    counts: Counts,
}

/// A place on the way from the client to the server.
#[derive(Clone, Copy)]
struct Place<'a> {
    trace: usize,
    /// What it saw of the connection; `None` where it should have seen it.
    seen: Option<(Member, &'a Conn)>,
}

impl<'a> Place<'a> {
    fn stop(&self, traces: &'a [Trace]) -> Stop<'a> {
        let (segs, flipped) = self.seen.map_or((&[][..], false), |(member, _)| segs(traces, member));
        Stop { trace: self.trace, segs, flipped }
    }

    /// Whether it is on the host of this end.
    fn is_host_of(&self, end: Role) -> bool {
        self.seen.is_some_and(|(member, conn)| match conn.vantage {
            Vantage::Client => role(Role::Client, member.flipped) == end,
            Vantage::Server => role(Role::Server, member.flipped) == end,
            Vantage::Middle => false,
        })
    }
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        names: &'a [Name],
        traces: &'a [Trace],
        known: &'a Known,
        pairs: &'a Pairs,
        groups: &[Group],
        not_joined: Vec<NotJoined>,
    ) -> Self {
        let mut passing = HashSet::new();
        for group in groups {
            for a in &group.members {
                let conn = &traces[a.trace].conns[a.conn as usize];
                let others = group.members.iter().filter(|b| b.trace != a.trace);
                passing.extend(others.map(|b| (a.trace, b.trace, conn.client.ip, conn.server)));
            }
        }
        Self { names, traces, known, pairs, passing, counts: Counts::new(traces.len(), not_joined) }
    }

    /// Tells of a connection.
    pub(super) fn connection(&mut self, group: &Group) -> MergedConnection {
        let places = self.places(group);
        self.counts.add_group(group);
        let local = Local::of(self.traces, &group.members);
        let mut segments = Vec::new();
        for sender in [Role::Client, Role::Server] {
            self.add_sent(&places, &local, sender, &mut segments);
        }
        segments.sort_by_key(|(at, _)| *at);
        let segments: Vec<MergedSegment> = segments.into_iter().map(|(_, segment)| segment).collect();
        let path: Vec<Name> = places.iter().map(|place| self.name(place.trace)).collect();
        let seen =
            places.iter().filter_map(|place| Some(self.sighting(place.trace, place.seen?.1))).collect();
        MergedConnection {
            schema: MERGE_SCHEMA_VERSION,
            joined_by: group.by,
            ordered_by: group.ordered_by,
            seen,
            unseen: places
                .iter()
                .filter(|place| place.seen.is_none())
                .map(|it| self.name(it.trace))
                .collect(),
            torn_down_between: torn_down_between(&path, &segments),
            hops: places
                .windows(2)
                .filter(|two| two.iter().all(|place| place.seen.is_some()))
                .map(|two| local.hop(self.names, self.pairs, two[0].trace, two[1].trace))
                .collect(),
            path,
            segments,
        }
    }

    fn name(&self, trace: usize) -> Name {
        Name::clone(&self.names[trace])
    }

    fn sighting(&self, trace: usize, conn: &Conn) -> MergeSighting {
        MergeSighting {
            vantage: self.name(trace),
            id: conn.id,
            client: conn.client.into(),
            server: conn.server.into(),
            stands: conn.vantage,
            start: Instant(conn.start),
            outcome: conn.outcome,
            complete: conn.complete,
        }
    }

    /// The places from the client to the server. Where one trace alone has the connection, those of others that see connections
    /// between the same two are among them, unless it came to the server without their seeing it.
    fn places(&self, group: &Group) -> Vec<Place<'a>> {
        let conn = |member: Member| &self.traces[member.trace].conns[member.conn as usize];
        let seen = |&member: &Member| Place { trace: member.trace, seen: Some((member, conn(member))) };
        let mut places: Vec<Place<'a>> = group.members.iter().map(seen).collect();
        // An answer to the SYN shows that it came to the server, on whatever way.
        if let [member] = group.members[..]
            && conn(member).isns[1].is_none()
        {
            let (client, server) = (conn(member).client.ip, conn(member).server);
            for other in 0..self.traces.len() {
                if self.passing.contains(&(member.trace, other, client, server)) {
                    let is_nearer = |place: &Place<'_>| {
                        let order = self.known.unanimous(other, place.trace);
                        order.unwrap_or(other.cmp(&place.trace)) == Ordering::Less
                    };
                    let at = places.iter().position(is_nearer).unwrap_or(places.len());
                    places.insert(at, Place { trace: other, seen: None });
                }
            }
        }
        places
    }

    /// Adds what one end sent, each with when it was first seen by the clock of the first place.
    fn add_sent(
        &mut self,
        places: &[Place<'a>],
        local: &Local,
        sender: Role,
        segments: &mut Vec<(i64, MergedSegment)>,
    ) {
        let mut path: Vec<Place<'a>> = places.to_vec();
        if sender == Role::Server {
            path.reverse();
        }
        let stops: Vec<Stop<'a>> = path.iter().map(|place| place.stop(self.traces)).collect();
        let complete: Vec<bool> = path
            .iter()
            .map(|place| place.seen.map_or(self.traces[place.trace].lost() == 0, |(_, conn)| conn.complete))
            .collect();
        let windows = |from, to| local.best(self.pairs, from, to).window();
        let shift = |from, to| local.best(self.pairs, from, to).shift();
        let judge = Judge {
            traces: self.traces,
            path: &stops,
            complete: &complete,
            windows: &windows,
            shift: &shift,
        };
        for sent in all_sent(&stops, sender, &windows) {
            let verdict = judge.verdict(&sent);
            self.counts.add_sent(&stops, &sent, verdict);
            if let Some((first, seg)) = sent.first() {
                let shift = places.first().and_then(|place| shift(place.trace, path[first].trace));
                let at = nanoseconds(seg.ts).saturating_sub(shift.unwrap_or_default());
                segments.push((at, self.segment(&path, &sent, verdict)));
            }
        }
    }

    fn segment(&self, path: &[Place<'a>], sent: &Sent<'a>, verdict: Verdict) -> MergedSegment {
        let sender = sent.identity.sender();
        let seen: Vec<_> =
            sent.seen.iter().zip(path).filter_map(|(seg, place)| Some(((*seg)?, place))).collect();
        let flags = seen.first().map_or(TcpFlags::default(), |(seg, _)| seg.flags());
        let (seq, ack, len) = seen.first().map_or((0, 0, 0), |(seg, _)| (seg.seq, seg.ack, seg.len));
        let isn = |end| path.iter().find_map(|place| isn(place, end));
        let ack = flags.ack().then_some(ack);
        let peer = role(sender, true);
        let place = |at: usize| self.name(path[at].trace);
        MergedSegment {
            sender,
            flags: Bits(flags),
            seq,
            ack,
            relative_seq: if flags.syn() { Some(0) } else { isn(sender).map(|isn| seq.wrapping_sub(isn)) },
            relative_ack: ack.zip(isn(peer)).map(|(ack, isn)| ack.wrapping_sub(isn)),
            payload_bytes: len,
            seen: seen
                .iter()
                .map(|(seg, place)| SegmentSighting {
                    vantage: self.name(place.trace),
                    ts: Instant(seg.ts),
                    ttl: seg.ttl,
                })
                .collect(),
            fate: verdict.fate,
            after: verdict.between.map(|(after, _)| place(after)),
            before: verdict.between.map(|(_, before)| place(before)),
            which_is_known: sent.is_settled,
            reset_from: flags.rst().then(|| reset_from(path, sent, verdict)),
            usual_ttl: sent.first().and_then(|(at, _)| self.usual_ttl(&path[at], sender)),
        }
    }

    /// The TTL that all SYNs and FINs of an end have at a place.
    fn usual_ttl(&self, place: &Place<'a>, sender: Role) -> Option<u8> {
        let stop = place.stop(self.traces);
        let mut ttls = stop
            .segs
            .iter()
            .filter(|seg| role(seg.sender(), stop.flipped) == sender)
            .filter(|seg| seg.is_always_recorded() && !seg.flags().rst() && !seg.is_copy)
            .map(|seg| seg.ttl);
        let first = ttls.next()?;
        ttls.all(|ttl| ttl == first).then_some(first)
    }

    /// What holds of all connections that were told of.
    pub(super) fn summary(&self) -> MergeSummary {
        self.counts.summary(self.names, self.traces, self.pairs)
    }
}

/// The initial number of an end, as a place saw it.
fn isn(place: &Place<'_>, end: Role) -> Option<u32> {
    let (member, conn) = place.seen?;
    match role(end, member.flipped) {
        Role::Client => conn.isns[0],
        Role::Server => conn.isns[1],
    }
}

fn reset_from(path: &[Place<'_>], sent: &Sent<'_>, verdict: Verdict) -> ResetFrom {
    match (verdict.fate, sent.first()) {
        (Fate::Appeared, _) => ResetFrom::Between,
        (_, Some((0, _))) if path[0].is_host_of(sent.identity.sender()) => ResetFrom::Host,
        (_, Some((0, _))) => ResetFrom::Side,
        _ => ResetFrom::Unknown,
    }
}

/// The two places, from the client to the server, between which RSTs to both ends appeared.
fn torn_down_between(path: &[Name], segments: &[MergedSegment]) -> Option<[Name; 2]> {
    let resets = |sender: Role| {
        let appeared = segments
            .iter()
            .filter(move |it| it.sender == sender && it.reset_from == Some(ResetFrom::Between));
        appeared.filter_map(|it| Some((it.after.as_ref()?, it.before.as_ref()?)))
    };
    let two = path.windows(2).find(|two| {
        resets(Role::Client).any(|it| it == (&two[0], &two[1]))
            && resets(Role::Server).any(|it| it == (&two[1], &two[0]))
    })?;
    Some([Name::clone(&two[0]), Name::clone(&two[1])])
}

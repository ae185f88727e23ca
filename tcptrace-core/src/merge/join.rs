//! Which connections of several traces are one: those with the same initial sequence numbers.
//!
//! Both numbers are 64 bits that the two ends chose at random, and no translation of addresses changes them. Where the answer to
//! the SYN was not seen, or the server gave several numbers, only the client's number tells. Then addresses and ports have to be
//! equal as well, or where they are translated those of one end. What fits in more than one way is not joined.

use super::{
    by::{JoinedBy, OrderedBy},
    trace::{Conn, Trace},
};
use crate::event::Address;
use hashbrown::HashMap;
use std::mem;

/// A connection of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Which trace.
    pub(super) trace: usize,
    /// The connection's place in [`Trace::conns`].
    pub(super) conn: u32,
    /// Whether who is client and who is server is the other way round than in the group's first member, as can be where both
    /// sent a SYN.
    pub(super) flipped: bool,
}

/// One connection, as one trace or several saw it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// At most one of each trace.
    pub(super) members: Vec<Member>,
    /// By what they were joined; `None` for one member.
    pub(super) by: Option<JoinedBy>,
    /// How the order of the members from the client to the server is known; `None` before they are in order, and of one.
    pub(super) ordered_by: Option<OrderedBy>,
}

/// Connections of one trace that could not be looked for in the others, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NotJoined {
    /// No initial number is known, as the trace began later.
    pub(super) without_isn: u64,
    /// It fits several of one trace.
    pub(super) ambiguous: u64,
    /// The trace has it more than once, as on several interfaces; the others say no more about it.
    pub(super) seen_again: u64,
}

/// Both numbers, the smaller one first: who is client can be seen in two ways where both sent a SYN.
type Numbers = (u32, u32);

/// The groups so far.
pub(super) struct Join<'a> {
    traces: &'a [Trace],
    pub(super) groups: Vec<Group>,
    /// For each trace, what could not be looked for.
    pub(super) not_joined: Vec<NotJoined>,
    /// Those whose two numbers no other trace has, but whose server gave others too.
    left: Vec<(usize, u32)>,
}

impl<'a> Join<'a> {
    /// Joins the connections whose initial numbers are both known.
    pub(super) fn by_both_numbers(traces: &'a [Trace]) -> Self {
        let mut join = Self {
            traces,
            groups: Vec::new(),
            not_joined: vec![NotJoined::default(); traces.len()],
            left: Vec::new(),
        };
        let mut all: Vec<(Numbers, usize, u32)> = Vec::new();
        for (place, trace) in traces.iter().enumerate() {
            for (at, conn) in trace.wholes() {
                if let [Some(client), Some(server)] = conn.isns {
                    all.push(((client.min(server), client.max(server)), place, at));
                }
            }
        }
        all.sort_unstable();
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let same: Vec<(usize, u32)> = same.iter().map(|&(_, trace, conn)| (trace, conn)).collect();
            match same[..] {
                [one] if join.conn(one).isn_varies => join.left.push(one),
                _ => join.add(&same),
            }
        }
        join
    }

    fn conn(&self, (trace, conn): (usize, u32)) -> &'a Conn {
        &self.traces[trace].conns[conn as usize]
    }

    /// Makes a group of connections with the same numbers, at most one of each trace.
    fn add(&mut self, same: &[(usize, u32)]) {
        let mut members: Vec<(usize, u32)> = Vec::new();
        for of_one in same.chunk_by(|a, b| a.0 == b.0) {
            let trace = of_one[0].0;
            let others: Vec<_> =
                same.iter().filter(|other| other.0 != trace).map(|&it| self.conn(it)).collect();
            let chosen = match of_one {
                [one] => Some(*one),
                several => self.one_of(several, &others),
            };
            let rest = of_one.len() as u64 - u64::from(chosen.is_some());
            let count = &mut self.not_joined[trace];
            match chosen {
                Some(chosen) => {
                    members.push(chosen);
                    count.seen_again += rest;
                }
                None => count.ambiguous += rest,
            }
        }
        self.push(&members);
    }

    /// Which of several connections of one trace with the same numbers is meant: the one whose addresses and ports another trace
    /// has. Without other traces it is the first.
    fn one_of(&self, several: &[(usize, u32)], others: &[&Conn]) -> Option<(usize, u32)> {
        if others.is_empty() {
            return several.first().copied();
        }
        let mut fitting =
            several.iter().filter(|&&it| others.iter().any(|other| have_same_ends(self.conn(it), other)));
        fitting.next().copied().filter(|_| fitting.next().is_none())
    }

    fn push(&mut self, members: &[(usize, u32)]) {
        let Some(&first) = members.first() else { return };
        let client = self.conn(first).isns[0];
        let all_equal = members.iter().all(|&it| have_same_ends(self.conn(it), self.conn(first)));
        let by = match (members.len(), all_equal) {
            (1, _) => None,
            (_, true) => Some(JoinedBy::FourTupleAndIsns),
            (_, false) => Some(JoinedBy::Isns),
        };
        let member =
            |&(trace, conn)| Member { trace, conn, flipped: self.conn((trace, conn)).isns[0] != client };
        let members = members.iter().map(member).collect();
        self.groups.push(Group { members, by, ordered_by: None });
    }

    /// Joins the connections of which only the client's number is known for certain. `near` says whether what began at two times
    /// in two traces may have begun at once.
    pub(super) fn by_client_number(&mut self, near: impl Fn(&Conn, usize, &Conn, usize) -> bool) {
        let mut by_isn: HashMap<u32, Vec<usize>> = HashMap::new();
        for (at, group) in self.groups.iter().enumerate() {
            let first = group.members[0];
            for isn in self.conn((first.trace, first.conn)).isns.into_iter().flatten() {
                by_isn.entry(isn).or_default().push(at);
            }
        }
        let mut unanswered = mem::take(&mut self.left);
        for (trace, not_joined) in self.not_joined.iter_mut().enumerate() {
            for (at, conn) in self.traces[trace].wholes() {
                match conn.isns {
                    [Some(_), None] => unanswered.push((trace, at)),
                    [Some(_), Some(_)] => {}
                    [None, _] => not_joined.without_isn += 1,
                }
            }
        }
        unanswered.sort_unstable();
        for one in unanswered {
            let Some(client) = self.conn(one).isns[0] else { continue };
            if let Some(new) = self.add_by_client(one, by_isn.get(&client), &near) {
                by_isn.entry(client).or_default().push(new);
            }
        }
    }

    /// Adds a connection to the one of these groups that it fits. Returns the new group where it fits none.
    fn add_by_client(
        &mut self,
        one: (usize, u32),
        groups: Option<&Vec<usize>>,
        near: &impl Fn(&Conn, usize, &Conn, usize) -> bool,
    ) -> Option<usize> {
        let conn = self.conn(one);
        let is_same = |member: &Member, by: JoinedBy| {
            let other = self.conn((member.trace, member.conn));
            let fits = if by == JoinedBy::FourTupleAndClientIsn {
                have_same_ends(conn, other)
            } else {
                has_one_same_end(conn, other)
            };
            // The one whose SYN it is has the number, and not the one that answered.
            let flipped = other.isns[0] != conn.isns[0];
            (fits && !flipped && near(conn, one.0, other, member.trace)).then_some(member.flipped)
        };
        for by in [JoinedBy::FourTupleAndClientIsn, JoinedBy::ClientIsn] {
            let fitting: Vec<(usize, bool)> = groups
                .into_iter()
                .flatten()
                .filter(|&&at| self.groups[at].members.iter().all(|member| member.trace != one.0))
                .filter_map(|&at| {
                    let flipped = self.groups[at].members.iter().find_map(|member| is_same(member, by))?;
                    Some((at, flipped))
                })
                .collect();
            match fitting[..] {
                [] => {}
                [(at, flipped)] => {
                    let group = &mut self.groups[at];
                    group.members.push(Member { trace: one.0, conn: one.1, flipped });
                    group.members.sort_by_key(|member| member.trace);
                    group.by = group.by.max(Some(by));
                    return None;
                }
                _ => {
                    self.not_joined[one.0].ambiguous += 1;
                    return None;
                }
            }
        }
        self.groups.push(Group {
            members: vec![Member { trace: one.0, conn: one.1, flipped: false }],
            by: None,
            ordered_by: None,
        });
        Some(self.groups.len() - 1)
    }
}

fn have_same_ends(a: &Conn, b: &Conn) -> bool {
    ends(a) == ends(b) || {
        let (client, server) = ends(b);
        ends(a) == (server, client)
    }
}

fn has_one_same_end(a: &Conn, b: &Conn) -> bool {
    a.client == b.client || a.server == b.server
}

fn ends(conn: &Conn) -> (Address, Address) {
    (conn.client, conn.server)
}

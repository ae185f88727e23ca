//! The busiest servers, services or clients, and what became of the connections of each.

use super::{median, outcome_name, times::Distribution};
use crate::{
    event::{Address, Common, Connection, Established, Outcome, OutcomeCounts},
    sink::units::{Count, Nanos},
};
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
    net::IpAddr,
};

/// The most groups that are remembered; after that the less busy half is forgotten. A group with more than a
/// five-hundredth of all connections is never forgotten.
const REMEMBERED: usize = 1024;
/// The width of the first column in characters: that of an IPv4 address with a port.
const NAME: usize = 21;

/// What the connections of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The address of the client.
    Client,
    /// The address of the server.
    Server,
    /// The address and port of the server.
    Service,
}

impl GroupBy {
    /// All ways to group connections.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Service];

    /// The words for one group and for several.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Client => ("client", "clients"),
            Self::Server => ("server", "servers"),
            Self::Service => ("service", "services"),
        }
    }

    /// The key of a connection's group. The port is 0 where it does not count.
    const fn key(self, common: &Common) -> (IpAddr, u16) {
        match self {
            Self::Client => (common.client.ip, 0),
            Self::Server => (common.server.ip, 0),
            Self::Service => (common.server.ip, common.server.port),
        }
    }

    fn show(self, (ip, port): (IpAddr, u16)) -> String {
        if self == Self::Service { Address { ip, port }.to_string() } else { ip.to_string() }
    }
}

/// The connections of a trace in groups. Its memory is bounded, however many groups there are.
#[derive(Debug)]
pub(super) struct Groups {
    by: GroupBy,
    /// The most groups that have a row.
    rows: usize,
    known: HashMap<(IpAddr, u16), Group>,
    /// The sum of the groups that were forgotten.
    forgotten: Group,
    /// The most connections that a group can have had before it was remembered.
    missed: u64,
}

/// What became of the connections of one group.
#[derive(Debug, Default)]
struct Group {
    /// The most connections that it can have had before it was remembered.
    missed: u64,
    ended: u64,
    established: u64,
    /// The failed handshakes by outcome.
    failed: OutcomeCounts,
    syn_retries: u64,
    retries_ns: u64,
    times: Option<Box<Distribution<u32>>>,
}

impl Groups {
    pub(super) fn new(by: GroupBy, rows: usize) -> Self {
        Self { by, rows, known: HashMap::new(), forgotten: Group::default(), missed: 0 }
    }

    pub(super) fn established(&mut self, event: &Established) {
        let group = self.group(&event.common);
        group.established += 1;
        group.add_retries(event.syn_retransmits, event.times.syn_retry_ns);
        if event.times.syn_to_established_ns.is_some() {
            let times = group.times.get_or_insert_with(|| Box::new(Distribution::small()));
            times.record(event.times.syn_to_established_ns);
        }
    }

    pub(super) fn connection(&mut self, event: &Connection) {
        let group = self.group(&event.common);
        group.ended += 1;
        if event.failed {
            group.failed.add(event.outcome);
            // The retries of the other connections were added when they were established.
            group.add_retries(event.syn_retransmits, event.times.syn_retry_ns);
        }
    }

    fn group(&mut self, common: &Common) -> &mut Group {
        let key = self.by.key(common);
        if self.known.len() >= REMEMBERED && !self.known.contains_key(&key) {
            self.forget();
        }
        let missed = self.missed;
        self.known.entry(key).or_insert_with(|| Group { missed, ..Group::default() })
    }

    /// Forgets the less busy half of the groups. A group that is added later may be one of these. It is taken to have
    /// had as many connections as the busiest of them, so that it is not forgotten for what was missed of it (the idea
    /// of Metwally's Space-Saving).
    fn forget(&mut self) {
        let most = median(self.known.values().map(Group::upper_bound));
        let Self { known, forgotten, .. } = self;
        known.retain(|_, group| {
            let stays = group.upper_bound() > most;
            if !stays {
                forgotten.add(group);
            }
            stays
        });
        self.missed = most;
    }

    /// Writes the table; nothing if there are no groups.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.known.is_empty() {
            return Ok(());
        }
        let mut groups: Vec<_> = self.known.iter().collect();
        // Equal groups are sorted by address, so that the same trace always gives the same text.
        groups.sort_unstable_by_key(|(key, group)| (Reverse(group.connections()), **key));
        let (named, rest) = groups.split_at(self.rows.min(groups.len()));
        let mut other = Group::default();
        other.add(&self.forgotten);
        for (_, group) in rest {
            other.add(group);
        }

        let (one, many) = self.by.names();
        let is_whole = self.missed == 0;
        let of = if is_whole { groups.len().to_string() } else { format!("more than {REMEMBERED}") };
        if is_whole && rest.is_empty() {
            writeln!(out, "\n{}", Count(named.len() as u64, one, many))?;
        } else {
            writeln!(out, "\nthe {} busiest of {of} {many}", named.len())?;
        }
        if !is_whole {
            let missed = Count(self.missed, "connection", "connections");
            writeln!(out, "(not all were remembered: of each up to {missed} may be under \"other\")")?;
        }
        write!(out, "{one:NAME$}")?;
        for column in ["conns", "estab", "failed"] {
            write!(out, "{column:>8}")?;
        }
        writeln!(out, "        p50        p90        p99")?;
        for (key, group) in named {
            group.write(&self.by.show(**key), out)?;
        }
        if !rest.is_empty() || !is_whole {
            let rest = if is_whole { format!("other ({})", rest.len()) } else { "other".to_owned() };
            other.write(&rest, out)?;
        }
        Ok(())
    }
}

impl Group {
    /// The number of connections. The connections that have not ended are known only if they were established.
    fn connections(&self) -> u64 {
        self.ended.max(self.established)
    }

    /// The most connections that the group can have had, with those that were missed.
    fn upper_bound(&self) -> u64 {
        self.missed + self.connections()
    }

    fn add_retries(&mut self, retries: u32, ns: Option<u64>) {
        self.syn_retries += u64::from(retries);
        self.retries_ns = self.retries_ns.saturating_add(ns.unwrap_or_default());
    }

    fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.established += other.established;
        self.failed.add_all(other.failed);
        self.syn_retries += other.syn_retries;
        self.retries_ns = self.retries_ns.saturating_add(other.retries_ns);
        if let Some(times) = &other.times {
            self.times.get_or_insert_with(|| Box::new(Distribution::small())).add(times);
        }
    }

    /// Writes a row, and below it what went wrong, if anything did.
    fn write(&self, name: &str, out: &mut String) -> fmt::Result {
        if name.len() > NAME {
            write!(out, "{name}\n{:NAME$}", "")?;
        } else {
            write!(out, "{name:NAME$}")?;
        }
        write!(out, "{:>8}{:>8}{:>8}", self.connections(), self.established, self.failed.total())?;
        match &self.times {
            Some(times) => times.write_columns(out)?,
            None => Distribution::small().write_columns(out)?,
        }
        out.truncate(out.trim_end().len());
        writeln!(out)?;
        self.write_trouble(out)
    }

    fn write_trouble(&self, out: &mut String) -> fmt::Result {
        let most = Outcome::ALL.into_iter().rev().max_by_key(|outcome| self.failed.of(*outcome));
        let most = most.map(|outcome| (self.failed.of(outcome), outcome)).filter(|(count, _)| *count > 0);
        let mut separator = "    ";
        if let Some((count, outcome)) = most {
            write!(out, "{separator}{count} {}", outcome_name(outcome))?;
            let others = self.failed.total() - count;
            if others > 0 {
                write!(out, ", {others} otherwise")?;
            }
            separator = "; ";
        }
        if self.syn_retries > 0 {
            let retries = Count(self.syn_retries, "SYN retry", "SYN retries");
            write!(out, "{separator}{retries} lost {}", Nanos(self.retries_ns))?;
            separator = "; ";
        }
        if separator == "; " { writeln!(out) } else { Ok(()) }
    }
}

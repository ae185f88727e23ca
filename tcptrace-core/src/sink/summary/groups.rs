//! The busiest servers, services or clients, each with what became of its connections.

use super::{median, name, times::Times};
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

/// Groups remembered before the less busy half is forgotten. One that has more than a five-hundredth of all connections is
/// never among the forgotten.
const REMEMBERED: usize = 1024;
/// Characters of what a row is called: an IPv4 address with its port.
const NAME: usize = 21;

/// What connections are summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The address of the client.
    Client,
    /// The address of the server.
    Server,
    /// The address and port of the server.
    Service,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Service];

    /// What it is called, one and many.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Client => ("client", "clients"),
            Self::Server => ("server", "servers"),
            Self::Service => ("service", "services"),
        }
    }

    /// The port is 0 where it does not count.
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
    by: By,
    /// Groups that get a row.
    rows: usize,
    known: HashMap<(IpAddr, u16), Group>,
    /// All that were forgotten.
    forgotten: Group,
    /// The most connections that a group may have had before it was remembered.
    missed: u64,
}

/// What became of the connections of one group.
#[derive(Debug, Default)]
struct Group {
    /// Connections that it may have had while it was not remembered.
    missed: u64,
    ended: u64,
    established: u64,
    /// By how.
    failed: OutcomeCounts,
    syn_retries: u64,
    retries_ns: u64,
    times: Option<Box<Times<u32>>>,
}

impl Groups {
    pub(super) fn new(by: By, rows: usize) -> Self {
        Self { by, rows, known: HashMap::new(), forgotten: Group::default(), missed: 0 }
    }

    pub(super) fn established(&mut self, event: &Established) {
        let group = self.group(&event.common);
        group.established += 1;
        group.note_retries(event.syn_retransmits, event.times.syn_retry_ns);
        if event.times.syn_to_established_ns.is_some() {
            let times = group.times.get_or_insert_with(|| Box::new(Times::small()));
            times.record(event.times.syn_to_established_ns);
        }
    }

    pub(super) fn connection(&mut self, event: &Connection) {
        let group = self.group(&event.common);
        group.ended += 1;
        if event.failed {
            group.failed.add(event.outcome);
            // Those of the others were told when they were established.
            group.note_retries(event.syn_retransmits, event.times.syn_retry_ns);
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

    /// Forgets the less busy half. What is remembered anew may be one of those: it counts as if it had as many as the busiest
    /// of them, and so is not forgotten for what was missed of it (the idea of Metwally's Space-Saving).
    fn forget(&mut self) {
        let most = median(self.known.values().map(Group::most));
        let Self { known, forgotten, .. } = self;
        known.retain(|_, group| {
            let stays = group.most() > most;
            if !stays {
                forgotten.add(group);
            }
            stays
        });
        self.missed = most;
    }

    /// The table; nothing of nothing.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.known.is_empty() {
            return Ok(());
        }
        let mut groups: Vec<_> = self.known.iter().collect();
        // The address decides between equals, so that the same trace always reads the same.
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
    /// Those that have not ended were established, as far as they are known.
    fn connections(&self) -> u64 {
        self.ended.max(self.established)
    }

    /// With all that may have been missed.
    fn most(&self) -> u64 {
        self.missed + self.connections()
    }

    fn note_retries(&mut self, retries: u32, ns: Option<u64>) {
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
            self.times.get_or_insert_with(|| Box::new(Times::small())).add(times);
        }
    }

    /// A row, and another one of what went wrong.
    fn write(&self, name: &str, out: &mut String) -> fmt::Result {
        if name.len() > NAME {
            write!(out, "{name}\n{:NAME$}", "")?;
        } else {
            write!(out, "{name:NAME$}")?;
        }
        write!(out, "{:>8}{:>8}{:>8}", self.connections(), self.established, self.failed.total())?;
        match &self.times {
            Some(times) => times.write_columns(out)?,
            None => Times::small().write_columns(out)?,
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
            write!(out, "{separator}{count} {}", name(outcome))?;
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

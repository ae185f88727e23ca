//! What is summed up of the connections with each server.

use crate::{
    event::{Address, Connection, HandshakeTimes, Outcome, OutcomeCounts},
    sink::{summary::Distribution, units::shortened},
};
use hashbrown::HashMap;
use std::{cmp::Reverse, sync::Arc};

/// The most servers that are known by themselves. If there are more, those that are less busy are summed up.
const MOST: usize = 512;

/// The connections with a server, or with several.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// The name that a client asked for first, and whether another was asked for too.
    pub(super) name: Option<(Arc<str>, bool)>,
    /// How many connections came to an end.
    pub(super) connections: u64,
    pub(super) established: u64,
    pub(super) failed: OutcomeCounts,
    pub(super) reset: u64,
    /// SYNs and SYN-ACKs that were sent again.
    pub(super) retries: u64,
    /// The time of the whole handshake, and the parts of it in the network and in this host.
    pub(super) whole: Distribution<u32>,
    pub(super) network: Distribution<u32>,
    pub(super) host: Distribution<u32>,
    /// The first request to its answer.
    pub(super) answer: Distribution<u32>,
}

impl Service {
    fn new() -> Self {
        Self {
            name: None,
            connections: 0,
            established: 0,
            failed: OutcomeCounts::default(),
            reset: 0,
            retries: 0,
            whole: Distribution::small(),
            network: Distribution::small(),
            host: Distribution::small(),
            answer: Distribution::small(),
        }
    }

    fn handshake(&mut self, times: &HandshakeTimes) {
        self.established += 1;
        self.whole.record(times.syn_to_established_ns);
        self.network.record(times.network_rtt_ns);
        self.host.record(times.local_stack_ns);
    }

    fn end(&mut self, event: &Connection) {
        self.connections += 1;
        if event.failed {
            self.failed.add(event.outcome);
        }
        self.reset += u64::from(event.outcome == Outcome::Reset);
        self.retries += u64::from(event.syn_retransmits) + u64::from(event.synack_retransmits);
        self.answer.record(event.first_data.first_response_ns);
        let Some(name) = asked_for(event) else { return };
        match &mut self.name {
            None => self.name = Some((name.into(), false)),
            Some((first, several)) => *several |= **first != *name,
        }
    }

    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.established += other.established;
        self.failed.add_all(other.failed);
        self.reset += other.reset;
        self.retries += other.retries;
        self.whole.add(&other.whole);
        self.network.add(&other.network);
        self.host.add(&other.host);
        self.answer.add(&other.answer);
    }

    /// How many connections are known of; one that is still open may have had its handshake only.
    pub(super) fn busy(&self) -> u64 {
        self.connections.max(self.established)
    }
}

/// As much as is kept of the name that the client asks for, where one is known.
pub(super) fn asked_for(event: &Connection) -> Option<&str> {
    event.first_data.asked_for().filter(|name| !name.is_empty()).map(shortened)
}

/// All servers.
#[derive(Debug)]
pub(super) struct Services {
    known: HashMap<Address, Service>,
    /// All of them together.
    pub(super) all: Service,
    /// Those that were not busy enough to be known by themselves.
    pub(super) others: Service,
    /// How many times a server was added to the others. One that came back is counted again.
    pub(super) folded: u64,
}

impl Default for Services {
    fn default() -> Self {
        Self { known: HashMap::new(), all: Service::new(), others: Service::new(), folded: 0 }
    }
}

impl Services {
    pub(super) fn handshake(&mut self, server: Address, times: &HandshakeTimes) {
        self.all.handshake(times);
        self.of(server).handshake(times);
    }

    pub(super) fn end(&mut self, event: &Connection) {
        self.all.end(event);
        self.of(event.common.server).end(event);
    }

    /// The servers that are known by themselves, the busiest first.
    pub(super) fn busiest(&self) -> Vec<(Address, &Service)> {
        let mut all: Vec<_> = self.known.iter().map(|(address, service)| (*address, service)).collect();
        all.sort_unstable_by_key(|(address, service)| (Reverse(service.busy()), address.ip, address.port));
        all
    }

    fn of(&mut self, server: Address) -> &mut Service {
        if self.known.len() >= MOST && !self.known.contains_key(&server) {
            self.fold();
        }
        self.known.entry(server).or_insert_with(Service::new)
    }

    /// Sums up the half that is less busy.
    fn fold(&mut self) {
        let rest: Vec<Address> =
            self.busiest().into_iter().skip(MOST / 2).map(|(address, _)| address).collect();
        for address in rest {
            if let Some(service) = self.known.remove(&address) {
                self.others.add(&service);
                self.folded += 1;
            }
        }
    }
}

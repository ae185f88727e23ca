//! What is summed up of the connections of a group.

use super::{by::Key, ended::Ended, window::Window};
use crate::{
    event::{Connection, Established, HandshakeTimes, Outcome, OutcomeCounts, Percentiles},
    segment::Timestamp,
    sink::summary::Distribution,
};
use std::{collections::VecDeque, sync::Arc};

/// The most connections that have ended and are kept in a group, to be looked at.
const KEPT_ENDED: usize = 50;

/// The connections of a group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub key: Key,
    /// The name that clients last asked for, where that is not the key.
    pub name: Option<Arc<str>>,
    /// Who uses the sockets.
    pub owner: Option<Key>,
    /// How many are open.
    pub open: u64,
    /// How many there were.
    pub begun: u64,
    /// How many handshakes are known to have been complete.
    pub established: u64,
    /// The failed handshakes by outcome.
    pub failed: OutcomeCounts,
    /// How many were reset after their handshake.
    pub reset: u64,
    /// SYNs that were sent again, and SYN-ACKs.
    pub retries: u64,
    /// Segments that the sockets of this host sent again.
    pub retransmits: u64,
    /// How many began in each of the last seconds.
    pub recent: Window,
    /// How many failed in each of the last seconds.
    pub recent_failed: Window,
    times: Times,
    /// Those that ended last, the latest last.
    pub(super) ended: VecDeque<Arc<Ended>>,
}

/// A time of which a group has a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// From the first SYN to the acknowledgement that establishes.
    Handshake,
    /// The network's part of that.
    Network,
    /// This host's part of that.
    Host,
    /// From the first request to the first answer.
    FirstResponse,
    /// The smoothed round-trip time of a socket of this host.
    RoundTrip,
}

/// The distributions of times, each made with its first value.
#[derive(Clone, Debug, Default)]
struct Times([Option<Box<Distribution<u32>>>; 5]);

impl Times {
    fn record(&mut self, time: Time, ns: Option<u64>) {
        if ns.is_some() {
            self.0[time as usize].get_or_insert_with(|| Box::new(Distribution::small())).record(ns);
        }
    }

    fn add(&mut self, other: &Self) {
        for (ours, others) in self.0.iter_mut().zip(&other.0) {
            if let Some(others) = others {
                ours.get_or_insert_with(|| Box::new(Distribution::small())).add(others);
            }
        }
    }
}

impl Group {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            name: None,
            owner: None,
            open: 0,
            begun: 0,
            established: 0,
            failed: OutcomeCounts::default(),
            reset: 0,
            retries: 0,
            retransmits: 0,
            recent: Window::default(),
            recent_failed: Window::default(),
            times: Times::default(),
            ended: VecDeque::new(),
        }
    }

    /// How a time is distributed.
    #[must_use]
    pub fn times(&self, time: Time) -> Percentiles {
        self.times.0[time as usize].as_ref().map_or_else(Percentiles::default, |times| times.percentiles())
    }

    /// How many handshakes of a hundred failed; none where none is over.
    #[must_use]
    pub fn failed_percent(&self) -> Option<f64> {
        failed_percent(self.failed.total(), self.established)
    }

    /// The outcome that most of the failed handshakes had.
    #[must_use]
    pub fn reason(&self) -> Option<Outcome> {
        let most = Outcome::ALL.into_iter().rev().max_by_key(|outcome| self.failed.of(*outcome));
        most.filter(|outcome| self.failed.of(*outcome) > 0)
    }

    pub(super) fn begin(&mut self, ts: Timestamp) {
        self.begun += 1;
        self.recent.add(ts);
    }

    /// Takes back what [`Self::begin`] has counted: the connection turned out to be of another group.
    pub(super) fn take_back(&mut self, ts: Timestamp) {
        self.begun = self.begun.saturating_sub(1);
        self.recent.take_back(ts);
    }

    /// One that is open is so no more.
    pub(super) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    pub(super) fn established(&mut self, event: &Established) {
        self.handshake(&event.times, retries(event.syn_retransmits, event.synack_retransmits));
    }

    /// Takes back what [`Self::established`] has counted. A time that a distribution has taken stays there: only "not known" can
    /// have it, which says nothing about anybody.
    pub(super) fn take_back_handshake(&mut self, retries: u64) {
        self.established = self.established.saturating_sub(1);
        self.retries = self.retries.saturating_sub(retries);
    }

    /// Adds a handshake, with as many SYNs and SYN-ACKs that were sent again.
    pub(super) fn handshake(&mut self, times: &HandshakeTimes, retries: u64) {
        self.established += 1;
        self.retries += retries;
        self.times.record(Time::Handshake, times.syn_to_established_ns);
        self.times.record(Time::Network, times.network_rtt_ns);
        self.times.record(Time::Host, times.local_stack_ns);
    }

    /// Adds what is known at the end of a connection, of which `was_established` says whether its handshake was counted.
    pub(super) fn end(&mut self, event: &Connection, was_established: bool, ended: Arc<Ended>) {
        self.told(event, was_established);
        if event.failed {
            self.failed.add(event.outcome);
            self.recent_failed.add(event.common.ts);
        }
        self.reset += u64::from(event.outcome == Outcome::Reset);
        let sockets = [event.client_socket, event.server_socket].into_iter().flatten();
        self.retransmits += sockets.clone().map(|socket| u64::from(socket.retransmits)).sum::<u64>();
        sockets.for_each(|socket| self.times.record(Time::RoundTrip, socket.rtt_ns));
        self.times.record(Time::FirstResponse, event.first_data.first_response_ns);
        if self.ended.len() == KEPT_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }

    /// Adds the handshake of a connection that no other event has told of.
    fn told(&mut self, event: &Connection, was_established: bool) {
        if was_established {
            return;
        }
        let retries = retries(event.syn_retransmits, event.synack_retransmits);
        if tells_handshake(event) {
            self.handshake(&event.times, retries);
        } else {
            self.retries += retries;
        }
    }

    /// Adds all that was counted of another group.
    pub(super) fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.begun += other.begun;
        self.established += other.established;
        self.failed.add_all(other.failed);
        self.reset += other.reset;
        self.retries += other.retries;
        self.retransmits += other.retransmits;
        self.recent.add_all(&other.recent);
        self.recent_failed.add_all(&other.recent_failed);
        self.times.add(&other.times);
        for ended in other.ended.iter().rev().take(KEPT_ENDED.saturating_sub(self.ended.len())) {
            self.ended.push_front(Arc::clone(ended));
        }
    }
}

/// How many handshakes of a hundred failed; none where none is over.
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no 53 bits")]
pub(super) fn failed_percent(failed: u64, established: u64) -> Option<f64> {
    let over = failed + established;
    (over > 0).then(|| 100.0 * failed as f64 / over as f64)
}

/// How many SYNs and SYN-ACKs were sent again.
pub(super) fn retries(syn: u32, synack: u32) -> u64 {
    u64::from(syn) + u64::from(synack)
}

/// Whether the end of a connection tells that its handshake was complete.
pub(super) fn tells_handshake(event: &Connection) -> bool {
    !event.failed && !matches!(event.outcome, Outcome::Evicted | Outcome::Open)
}

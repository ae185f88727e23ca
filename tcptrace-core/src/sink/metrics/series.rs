//! What is kept of the connections of a label set: counts and distributions of times.

use crate::event::{Connection, HandshakeTimes, OutcomeCounts, Role, Socket};
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};

/// The upper bounds of the classic buckets of times that a network takes, in seconds. From one second on they keep apart how often a
/// SYN was sent again: Linux does that after 1, 3, 7 and 15 s (RFC 6298 §5).
const OF_A_NETWORK: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 1.25, 3.5, 7.5, 16.0,
];
/// The upper bounds of the classic buckets of lifetimes, in seconds.
const OF_A_LIFE: &[f64] =
    &[0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
/// How much longer a native bucket's upper bound is than its lower one, at most: a quantile is known to within that.
const FACTOR: f64 = 1.1;
/// How many native buckets a histogram has at most. Beyond that pairs of them become one.
const NATIVE_BUCKETS: usize = 160;

/// A time whose distribution is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Handshake,
    HandshakeNetwork,
    HandshakeLocal,
    FirstResponse,
    Rtt,
    Lifetime,
}

impl Time {
    pub(super) const ALL: [Self; 6] = [
        Self::Handshake,
        Self::HandshakeNetwork,
        Self::HandshakeLocal,
        Self::FirstResponse,
        Self::Rtt,
        Self::Lifetime,
    ];

    /// The name of the metric without its prefix and unit, and its help.
    pub(super) const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Handshake => (
                "handshake_duration",
                "From the first SYN to the acknowledgement that establishes the connection",
            ),
            Self::HandshakeNetwork => (
                "handshake_network_duration",
                "The part of the handshake that the network and the other host took",
            ),
            Self::HandshakeLocal => {
                ("handshake_local_duration", "The part of the handshake that the kernel of this host took")
            }
            Self::FirstResponse => (
                "first_response_duration",
                "From the client's first octet of data to the server's, with --first-byte",
            ),
            Self::Rtt => (
                "rtt_duration",
                "The smoothed round-trip time of this host's sockets when they sent their last FIN or RST",
            ),
            Self::Lifetime => (
                "connection_duration",
                "From the first SYN to the last segment of the connection's lifecycle",
            ),
        }
    }

    const fn buckets(self) -> &'static [f64] {
        match self {
            Self::Lifetime => OF_A_LIFE,
            _ => OF_A_NETWORK,
        }
    }
}

/// Counts of connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) established: u64,
    pub(super) outcomes: OutcomeCounts,
    pub(super) syn_retransmits: u64,
    pub(super) synack_retransmits: u64,
    pub(super) resets_by_client: u64,
    pub(super) resets_by_server: u64,
    /// Segments that this host's sockets sent, and how many of them were sent again.
    pub(super) segments_sent: u64,
    pub(super) segments_retransmitted: u64,
}

/// What is kept of the connections of a label set.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) counts: Counts,
    times: [Times; Time::ALL.len()],
}

/// A distribution, and whether there is anything in it.
#[derive(Debug)]
struct Times {
    histogram: Histogram,
    any: bool,
}

impl Default for Series {
    fn default() -> Self {
        let native = NativeHistogramConfig::new(FACTOR).max_buckets(NATIVE_BUCKETS);
        let times = Time::ALL.map(|time| {
            let buckets = time.buckets().iter().copied();
            Times { histogram: Histogram::new_classic_and_native(buckets, native), any: false }
        });
        Self { counts: Counts::default(), times }
    }
}

impl Series {
    /// Counts a handshake that is complete.
    pub(super) fn established(&mut self, times: &HandshakeTimes) {
        self.counts.established += 1;
        self.observe(Time::Handshake, times.syn_to_established_ns);
        self.observe(Time::HandshakeNetwork, times.network_rtt_ns);
        self.observe(Time::HandshakeLocal, times.local_stack_ns);
    }

    /// Counts a connection that is over.
    pub(super) fn connection(&mut self, event: &Connection) {
        let counts = &mut self.counts;
        counts.outcomes.add(event.outcome);
        counts.syn_retransmits += u64::from(event.syn_retransmits);
        counts.synack_retransmits += u64::from(event.synack_retransmits);
        match event.reset_by {
            Some(Role::Client) => counts.resets_by_client += 1,
            Some(Role::Server) => counts.resets_by_server += 1,
            None => {}
        }
        for &Socket { segments_out, retransmits, rtt_ns, .. } in
            event.client_socket.iter().chain(&event.server_socket)
        {
            self.counts.segments_sent += u64::from(segments_out);
            self.counts.segments_retransmitted += u64::from(retransmits);
            self.observe(Time::Rtt, rtt_ns);
        }
        self.observe(Time::FirstResponse, event.first_data.first_response_ns);
        self.observe(Time::Lifetime, event.lifetime_ns);
    }

    #[expect(clippy::cast_precision_loss, reason = "a duration of 2^53 ns is more than a hundred days")]
    fn observe(&mut self, time: Time, ns: Option<u64>) {
        let Some(ns) = ns else { return };
        let times = &mut self.times[time as usize];
        times.histogram.observe(ns as f64 / 1e9);
        times.any = true;
    }

    /// The distribution of a time; `None` where the time was never known.
    pub(super) const fn times(&self, time: Time) -> Option<&Histogram> {
        let times = &self.times[time as usize];
        if times.any { Some(&times.histogram) } else { None }
    }

    /// Whether anything was counted.
    pub(super) fn has_counted(&self) -> bool {
        self.counts.established > 0 || self.counts.outcomes.total() > 0
    }
}

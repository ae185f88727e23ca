//! Arguments that bound memory, load and time.

use super::parse;
use std::time::Duration;
use tcptrace_common::admission::Admission;

/// Arguments that bound memory, load and time, as typed.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Connections followed at once.
    ///
    /// Beyond that the oldest is given up and reported as evicted.
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(1..=16_777_216), hide_short_help = true)]
    max_connections: u32,

    /// Follow one connection in N, chosen at random.
    ///
    /// The rest is not followed even where there is little load. Without it, connections are left out only where load needs it.
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = parse::sample, conflicts_with = "read", hide_short_help = true)]
    pub(super) sample: Admission,

    /// Tell of nothing later than this after it happened.
    ///
    /// DURATION is from 0ms to 10s. Less costs more wake-ups.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse::latency, conflicts_with = "read", hide_short_help = true)]
    pub(super) latency: Duration,

    /// Call a connection unanswered when nothing came for this long after its last SYN.
    ///
    /// DURATION is from 1s to 1h.
    // Linux sends its sixth and last retry 63 s after the first SYN and waits 64 s more (tcp_syn_retries, 1 s
    // doubled each time). A shorter time would call that last wait an end, or a late retry a new connection.
    #[arg(long, value_name = "DURATION", default_value = "70s", value_parser = parse::syn_timeout, hide_short_help = true)]
    syn_timeout: Duration,

    /// How long TIME-WAIT lasts.
    ///
    /// DURATION is from 1s to 1h.
    // Linux has a fixed 60 s (include/net/tcp.h, TCP_TIMEWAIT_LEN).
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse::time_wait, hide_short_help = true)]
    time_wait: Duration,
}

impl LimitArgs {
    pub(super) fn config(self) -> Limits {
        Limits {
            max_connections: usize::try_from(self.max_connections).unwrap_or(usize::MAX),
            syn_timeout: self.syn_timeout,
            time_wait: self.time_wait,
        }
    }
}

/// Bounds of the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections the table holds; beyond this the oldest is evicted and reported as such.
    pub max_connections: usize,
    /// How long after its last SYN (or SYN-ACK) a handshake counts as unanswered.
    pub syn_timeout: Duration,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
}

//! What the `stats` event says of the tracing itself.

use super::{CaptureStats, Copies, Outcome, RunId, TunnelCounts, define::object, put::is_default};
use crate::segment::Timestamp;

object! {
    /// Counters, loss and cost, since the start of the trace.
    #[derive(Clone, Debug, PartialEq, Default)]
    pub struct Stats {
        /// When.
        pub ts: Timestamp,
        /// Which trace: as in its `start`.
        pub run: RunId,
        /// Since the trace began; null where a file's clock does not tell.
        pub elapsed_ns: Option<u64>,
        /// This is the last one.
        #[serde(default)]
        pub last: bool,
        /// Packets the hooks looked at.
        pub packets: u64,
        /// Of them TCP.
        pub tcp_packets: u64,
        /// Lifecycle segments by kind, and ICMP errors that quote one: exact, whatever was shed. Only the acknowledgements of
        /// connections that were shed are not among them.
        pub segments: SegmentCounts,
        /// Records that found the ring full, by kind.
        pub ring_full: SegmentCounts,
        /// Segments of connections that were not followed, because of overload or `--sample`, by kind.
        pub shed: SegmentCounts,
        /// Records lost between kernel and user space, by the running numbers.
        pub records_lost: u64,
        /// Interfaces that somebody has taken the programs off while they were traced: what passed there after that was not seen.
        /// Absent where there is none.
        #[serde(default, skip_serializing_if = "is_default")]
        pub interfaces_taken_off: Option<u64>,
        /// Expected acknowledgements overwritten in a full bucket.
        pub pending_overwrites: u64,
        /// Expected acknowledgements that were given up, as none came for minutes. What waits for one that long and has no
        /// acknowledgement says that it is not complete.
        pub pending_expired: u64,
        /// Packets that could not be parsed.
        pub unparsable: Unparsable,
        /// Fragments that are not first ones, so have no TCP header.
        pub fragments: u64,
        /// Segments that were captured more than once.
        pub copies: Copies,
        /// Packets in tunnels of each kind; absent where tunnels are not looked into.
        #[serde(default, skip_serializing_if = "is_default")]
        pub tunnels: Option<TunnelCounts>,
        /// What a capture file says it lacks, and what of it was not understood; absent of a live trace.
        #[serde(default, skip_serializing_if = "is_default")]
        pub capture: Option<CaptureStats>,
        /// Output lines dropped because the reader was too slow.
        pub events_dropped: u64,
        /// Connections in the table now.
        pub connections_open: u64,
        /// Connections reported so far, by outcome.
        pub connections: OutcomeCounts,
        /// How long handshakes took so far.
        pub handshakes: HandshakeStats,
        /// The part of connections that is followed at present, 1 for all. Which ones is random, and the same for all their
        /// segments.
        pub admission_rate: f64,
        /// What the tracing cost.
        pub cost: Cost,
    }
}

object! {
    /// How long handshakes took, each time by the name that it has in `established`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct HandshakeStats {
        /// From the first SYN to the ACK that establishes.
        pub syn_to_established_ns: Percentiles,
        /// From the SYN that was answered to its SYN-ACK.
        pub syn_to_synack_ns: Percentiles,
        /// From the SYN-ACK to the ACK.
        pub synack_to_ack_ns: Percentiles,
        /// The part of the network and the other end, where the vantage tells it.
        pub network_rtt_ns: Percentiles,
        /// The part of this host, where the vantage tells it.
        pub local_stack_ns: Percentiles,
    }
}

object! {
    /// How times are distributed: half, nine tenths and 99 hundredths of them are at most so long, to three digits. Null where
    /// there are none.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Percentiles {
        /// Of how many times this is.
        pub count: u64,
        /// Half of them.
        pub p50: Option<u64>,
        /// Nine tenths.
        pub p90: Option<u64>,
        /// 99 hundredths.
        pub p99: Option<u64>,
        /// All, exactly.
        pub max: Option<u64>,
    }
}

object! {
    /// A count for each kind of lifecycle segment, and for ICMP errors.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct SegmentCounts {
        /// SYN without ACK.
        pub syn: u64,
        /// SYN with ACK.
        pub synack: u64,
        /// FIN.
        pub fin: u64,
        /// RST.
        pub rst: u64,
        /// Expected acknowledgements.
        pub ack: u64,
        /// ICMP and ICMPv6 errors that quote a SYN or SYN-ACK, or too little to say that it is none.
        pub icmp: u64,
    }
}

impl SegmentCounts {
    /// All kinds together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.syn + self.synack + self.fin + self.rst + self.ack + self.icmp
    }
}

object! {
    /// Packets that could not be parsed, by reason.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Unparsable {
        /// Cut short before the end of the TCP header, or within an ICMP error before what is needed of it.
        pub truncated: u64,
        /// A length field that contradicts another one.
        pub bad_length: u64,
        /// The IP version is neither 4 nor 6, or contradicts the frame.
        pub bad_version: u64,
        /// More VLAN tags than are walked.
        pub vlan_depth: u64,
        /// More IPv6 or GTP-U extension headers, IPv4 authentication headers, or tags of TZSP than are walked.
        pub extension_depth: u64,
        /// More MPLS labels than are walked.
        pub label_depth: u64,
        /// More tunnels within each other than are looked into.
        pub tunnel_depth: u64,
        /// First fragments that end within the TCP header (RFC 1858), as no stack sends them.
        pub split_header: u64,
    }
}

impl Unparsable {
    /// For whatever reason.
    #[must_use]
    pub const fn total(self) -> u64 {
        let Self {
            truncated,
            bad_length,
            bad_version,
            vlan_depth,
            extension_depth,
            label_depth,
            tunnel_depth,
            split_header,
        } = self;
        truncated
            + bad_length
            + bad_version
            + vlan_depth
            + extension_depth
            + label_depth
            + tunnel_depth
            + split_header
    }
}

object! {
    /// Connections by outcome.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[expect(missing_docs, reason = "named as the outcomes are")]
    pub struct OutcomeCounts {
        pub closed: u64,
        pub reset: u64,
        pub refused: u64,
        pub refused_icmp: u64,
        pub unanswered: u64,
        pub synack_unanswered: u64,
        pub aborted: u64,
        pub reused: u64,
        pub open: u64,
        pub evicted: u64,
    }
}

impl OutcomeCounts {
    /// One more of this outcome.
    pub const fn add(&mut self, outcome: Outcome) {
        *self.of_mut(outcome) += 1;
    }

    /// As many more as another has, of each outcome.
    pub fn add_all(&mut self, other: Self) {
        for outcome in Outcome::ALL {
            *self.of_mut(outcome) += other.of(outcome);
        }
    }

    /// How many had this outcome.
    #[must_use]
    pub const fn of(mut self, outcome: Outcome) -> u64 {
        *self.of_mut(outcome)
    }

    /// How many there were.
    #[must_use]
    pub fn total(self) -> u64 {
        Outcome::ALL.into_iter().map(|outcome| self.of(outcome)).sum()
    }

    const fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Closed => &mut self.closed,
            Outcome::Reset => &mut self.reset,
            Outcome::Refused => &mut self.refused,
            Outcome::RefusedIcmp => &mut self.refused_icmp,
            Outcome::Unanswered => &mut self.unanswered,
            Outcome::SynackUnanswered => &mut self.synack_unanswered,
            Outcome::Aborted => &mut self.aborted,
            Outcome::Reused => &mut self.reused,
            Outcome::Open => &mut self.open,
            Outcome::Evicted => &mut self.evicted,
        }
    }
}

object! {
    /// What the tracing cost; null where it was not measured.
    #[derive(Clone, Copy, Debug, PartialEq, Default)]
    pub struct Cost {
        /// Nanoseconds a packet in our kernel programs, by the kernel's run statistics of some packets; null where these are
        /// fewer than 4,096.
        pub kernel_ns_per_packet: Option<f64>,
        /// Of how many packets that is the mean, each time of some thousand one after the other.
        pub kernel_packets_timed: Option<u64>,
        /// CPU time of our kernel programs as a percentage of one CPU: what a packet takes times how many there were. The kernel
        /// counts it for whoever was interrupted.
        pub kernel_cpu_percent: Option<f64>,
        /// This process's CPU time as a percentage of one CPU, without that of the kernel programs.
        pub cpu_percent: Option<f64>,
        /// The most bytes that ever waited in the ring.
        pub ring_peak_bytes: Option<u64>,
        /// The ring's size.
        pub ring_bytes: Option<u64>,
    }
}

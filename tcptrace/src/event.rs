//! The events: the only type that sinks see, and the JSON schema at once. Names are in snake case, durations end
//! in `_ns` (integer nanoseconds), sizes in `_bytes`; what was not seen is null, never 0.

use crate::segment::{Direction, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::{net::IpAddr, sync::Arc};
use tcptrace_common::tcp::TcpFlags;

/// Raised on any incompatible change of the JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// One line of output.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// One lifecycle segment.
    Segment(SegmentEvent),
    /// One endpoint changed its state.
    Transition(Transition),
    /// The handshake is complete.
    Established(Established),
    /// The connection is over (or the trace is).
    Connection(Box<Connection>),
    /// A segment that cannot be.
    Anomaly(Anomaly),
    /// Counters, loss and cost.
    Stats(Box<Stats>),
}

/// What every event of a connection carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// When it happened.
    pub ts: Timestamp,
    /// The connection's number, unique in the run, from 1.
    pub id: u64,
    /// The interface's name.
    pub interface: Arc<str>,
    /// 4 or 6.
    pub ip_version: u8,
    /// The active opener, or the guess at it where the SYN was not seen.
    pub client: Address,
    /// The other one.
    pub server: Address,
    /// VLAN identifiers, outer first; empty where there is no tag.
    pub vlan: Vlans,
    /// Where the capture point stands.
    pub vantage: Vantage,
    /// False where a record of this connection may have been lost.
    pub complete: bool,
}

/// Up to two VLAN identifiers, outer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Vlans {
    /// The outer (or only) one.
    pub outer: Option<u16>,
    /// The inner one.
    pub inner: Option<u16>,
}

/// One end of the four-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// Where the capture point stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// On the client's host.
    Client,
    /// On the server's host.
    Server,
    /// Between them, on both at once (loopback), or unknown (a file).
    Middle,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The active opener.
    Client,
    /// The passive opener.
    Server,
}

/// The states of RFC 9293 §3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u8)]
pub enum State {
    /// No connection.
    Closed,
    /// Waiting for a connection request.
    Listen,
    /// A SYN was sent.
    SynSent,
    /// A SYN was received and one sent, awaiting the acknowledgement.
    SynReceived,
    /// Open.
    Established,
    /// A FIN was sent, its acknowledgement is awaited.
    #[serde(rename = "FIN_WAIT_1")]
    FinWait1,
    /// The FIN was acknowledged, the peer's FIN is awaited.
    #[serde(rename = "FIN_WAIT_2")]
    FinWait2,
    /// The peer closed, the local application has not.
    CloseWait,
    /// Both sent FIN, the peer's was acknowledged first.
    Closing,
    /// The passive closer's FIN awaits its acknowledgement.
    LastAck,
    /// The active closer waits out 2 MSL.
    TimeWait,
}

impl State {
    /// All eleven, in the order of a life.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// The RFC's spelling: `SYN-SENT`, `FIN-WAIT-1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

/// How a connection ended (lifecycle.md, Outcomes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both FINs acknowledged.
    Closed,
    /// RST after establishment.
    Reset,
    /// RST in answer to the SYN.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// SYN-ACK sent, the third segment never seen.
    SynackUnanswered,
    /// Given up by the client before establishment.
    Aborted,
    /// The four-tuple was opened anew while this one was still open.
    Reused,
    /// Still alive at the end of the trace.
    Open,
    /// Dropped from the table to stay within the memory limit.
    Evicted,
}

/// Who closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// The client's FIN came first.
    Client,
    /// The server's FIN came first.
    Server,
    /// Each sent its FIN before seeing the other's.
    Both,
}

/// When a reset struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetPhase {
    /// While open.
    Established,
    /// After the first FIN.
    Closing,
    /// After both FINs.
    AfterClose,
}

/// The options of a SYN or SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is the presence of one option on the wire")]
pub struct Options {
    /// Maximum segment size, octets.
    pub mss: Option<u16>,
    /// Window scale shift count.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: bool,
    /// TCP Fast Open.
    pub fast_open: bool,
    /// Multipath TCP.
    pub mptcp: bool,
}

/// The times of a handshake; each null where its evidence was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct HandshakeTimes {
    /// First SYN to the acknowledgement that establishes: what the application waited for.
    pub syn_to_established_ns: Option<u64>,
    /// The last SYN before the answer to the first SYN-ACK.
    pub syn_to_synack_ns: Option<u64>,
    /// The last SYN-ACK to the acknowledgement.
    pub synack_to_ack_ns: Option<u64>,
    /// First SYN to last SYN: time lost to retries.
    pub syn_retry_ns: Option<u64>,
    /// The network's part, where the vantage tells it apart (with the far kernel).
    pub network_rtt_ns: Option<u64>,
    /// This host's part, likewise.
    pub local_stack_ns: Option<u64>,
}

/// The handshake is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Established {
    /// Who and when.
    pub common: Common,
    /// How long.
    pub times: HandshakeTimes,
    /// SYNs beyond the first.
    pub syn_retransmits: u32,
    /// SYN-ACKs beyond the first.
    pub synack_retransmits: u32,
    /// The client's initial sequence number.
    pub client_isn: Option<u32>,
    /// The server's.
    pub server_isn: Option<u32>,
    /// What the SYN offered.
    pub client_options: Option<Options>,
    /// What the SYN-ACK offered.
    pub server_options: Option<Options>,
}

/// Nanoseconds that one endpoint spent in each state that it left; in the order they were entered. A state
/// entered twice is summed at its first place.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StateTimes(pub Vec<(State, u64)>);

/// The connection is over, or the trace is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact in the JSON")]
pub struct Connection {
    /// Who and when (the time of the last lifecycle segment, or of the decision that it is over).
    pub common: Common,
    /// The SYN was not seen: the trace began later.
    pub partial: bool,
    /// Who is client was guessed from the ports.
    pub direction_inferred: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Who closed first; null without a FIN.
    pub closed_by: Option<ClosedBy>,
    /// Who reset it.
    pub reset_by: Option<Role>,
    /// When the reset struck.
    pub reset_phase: Option<ResetPhase>,
    /// Data or time lay between the two FINs.
    pub half_closed: bool,
    /// Both sent a SYN.
    pub simultaneous_open: bool,
    /// The first segment seen.
    pub start: Timestamp,
    /// How long the handshake took.
    pub times: HandshakeTimes,
    /// First FIN to its acknowledgement.
    pub first_fin_to_ack_ns: Option<u64>,
    /// The passive closer's acknowledgement of the FIN to its own FIN.
    pub close_wait_ns: Option<u64>,
    /// Second FIN to its acknowledgement.
    pub second_fin_to_ack_ns: Option<u64>,
    /// First FIN (or RST) to the last lifecycle segment.
    pub teardown_ns: Option<u64>,
    /// First SYN to the last lifecycle segment.
    pub lifetime_ns: Option<u64>,
    /// Octets the client sent, from sequence numbers.
    pub client_bytes: Option<u64>,
    /// Octets the server sent.
    pub server_bytes: Option<u64>,
    /// The byte counts may be short by a multiple of 2^32.
    pub bytes_mod_4gib: bool,
    /// SYNs beyond the first.
    pub syn_retransmits: u32,
    /// SYN-ACKs beyond the first.
    pub synack_retransmits: u32,
    /// FINs the client sent, retransmissions included.
    pub client_fins: u32,
    /// FINs the server sent.
    pub server_fins: u32,
    /// RSTs the client sent.
    pub client_rsts: u32,
    /// RSTs the server sent.
    pub server_rsts: u32,
    /// The client's initial sequence number.
    pub client_isn: Option<u32>,
    /// The server's.
    pub server_isn: Option<u32>,
    /// The client's state at this moment.
    pub client_state: State,
    /// The server's.
    pub server_state: State,
    /// Time per state of the client.
    pub client_state_ns: StateTimes,
    /// Time per state of the server.
    pub server_state_ns: StateTimes,
}

/// One endpoint changed its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Who and when.
    pub common: Common,
    /// Whose state.
    pub endpoint: Role,
    /// The state left.
    pub from: State,
    /// The state entered.
    pub to: State,
    /// No segment showed it: a time-out or a presumption did.
    pub inferred: bool,
    /// Since this endpoint's previous transition.
    pub since_previous_ns: Option<u64>,
}

/// One lifecycle segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentEvent {
    /// Who and when.
    pub common: Common,
    /// Who sent it.
    pub sender: Role,
    /// Which way it crossed the capture point.
    pub direction: Direction,
    /// The control bits.
    pub flags: TcpFlags,
    /// Sequence number, raw.
    pub seq: u32,
    /// Acknowledgement number, raw; null without ACK.
    pub ack: Option<u32>,
    /// Relative to the sender's ISN; null where that was not seen.
    pub relative_seq: Option<u32>,
    /// Relative to the receiver's ISN.
    pub relative_ack: Option<u32>,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Octets of payload.
    pub payload_bytes: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The options of a SYN or SYN-ACK.
    pub options: Option<Options>,
}

/// Why a segment cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyReason {
    /// A SYN-ACK that does not acknowledge the client's ISN+1.
    SynackAckMismatch,
    /// A SYN-ACK with another ISN than the one before.
    SynackIsnChanged,
    /// An acknowledgement in the handshake that is not the peer's ISN+1.
    HandshakeAckMismatch,
    /// An acknowledgement of something never sent.
    AckBeyondSent,
    /// A FIN whose end differs from the sender's earlier FIN.
    FinMoved,
    /// A RST whose numbers do not fit, to be answered by a challenge ACK (RFC 5961 §3.2).
    RstOutOfWindow,
    /// A SYN on a connection that is open, to be answered by a challenge ACK (RFC 5961 §4.2).
    SynInConnection,
    /// Control bits that no stack sends together: SYN+FIN, SYN+RST, none, Xmas.
    ImpossibleFlags,
}

/// A segment that cannot be: reported, and changes no state.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// Who and when.
    pub common: Common,
    /// What is wrong.
    pub reason: AnomalyReason,
    /// Who sent it.
    pub sender: Role,
    /// The control bits.
    pub flags: TcpFlags,
    /// Sequence number, raw.
    pub seq: u32,
    /// Acknowledgement number, raw; null without ACK.
    pub ack: Option<u32>,
    /// The number that would have fitted, where one number would.
    pub expected: Option<u32>,
    /// Octets of payload.
    pub payload_bytes: u32,
}

/// Counters, loss and cost, since the start of the trace.
#[derive(Clone, Debug, PartialEq, Default, Serialize, JsonSchema)]
pub struct Stats {
    /// When.
    #[serde(skip)]
    pub ts: Timestamp,
    /// Since the trace began.
    pub elapsed_ns: u64,
    /// This is the last one.
    pub last: bool,
    /// Packets the hooks looked at.
    pub packets: u64,
    /// Of them TCP.
    pub tcp_packets: u64,
    /// Lifecycle segments by kind.
    pub segments: SegmentCounts,
    /// Records that found the ring full, by kind.
    pub ring_full: SegmentCounts,
    /// Records lost between kernel and user space, by the running numbers.
    pub records_lost: u64,
    /// Expected acknowledgements overwritten in a full bucket.
    pub pending_overwrites: u64,
    /// Packets that could not be parsed.
    pub unparsable: Unparsable,
    /// Fragments that are not first ones, so have no TCP header.
    pub fragments: u64,
    /// Output lines dropped because the reader was too slow.
    pub events_dropped: u64,
    /// Connections in the table now.
    pub connections_open: u64,
    /// Connections reported so far, by outcome.
    pub connections: OutcomeCounts,
    /// The part of connections admitted, 1 for all.
    pub admission_rate: f64,
    /// What the tracing cost.
    pub cost: Cost,
}

/// A count for each kind of lifecycle segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, JsonSchema)]
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
}

/// Packets that could not be parsed, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Unparsable {
    /// Cut short before the end of the TCP header.
    pub truncated: u64,
    /// A length field that contradicts another one.
    pub bad_length: u64,
    /// The IP version is neither 4 nor 6, or contradicts the frame.
    pub bad_version: u64,
    /// More VLAN tags than are walked.
    pub vlan_depth: u64,
    /// More IPv6 extension headers than are walked.
    pub extension_depth: u64,
}

/// Connections by outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "named as the outcomes are")]
pub struct OutcomeCounts {
    pub closed: u64,
    pub reset: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub synack_unanswered: u64,
    pub aborted: u64,
    pub reused: u64,
    pub open: u64,
    pub evicted: u64,
}

/// What the tracing cost; null where it was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, JsonSchema)]
pub struct Cost {
    /// Nanoseconds a packet in our kernel programs, by the kernel's run statistics.
    pub kernel_ns_per_packet: Option<f64>,
    /// This process's CPU time as a percentage of one CPU.
    pub cpu_percent: Option<f64>,
    /// The most bytes that ever waited in the ring.
    pub ring_peak_bytes: Option<u64>,
    /// The ring's size.
    pub ring_bytes: Option<u64>,
}

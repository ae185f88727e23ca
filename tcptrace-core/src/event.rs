//! The events: the only type that sinks see, and the JSON schema at once. Names are `snake_case`, durations end
//! in `_ns` (integer nanoseconds), sizes in `_bytes`; what was not seen is null, never 0.
//!
//! The types below *are* the JSON: fields are written in the order in which they stand here, read back, and described in the
//! schema, all by the macros of `event/define.rs`. What single values look like (time stamps, VLAN identifiers) is in `event/`.

mod anomaly;
mod capture;
mod community_id;
mod copies;
mod define;
mod evidence;
mod first_data;
mod icmp;
mod kind;
mod line;
mod put;
mod run_id;
mod schema;
mod sighting;
mod socket;
mod start;
mod state;
mod state_times;
mod stats;
mod time;
mod tunnel;
mod value;
mod vlans;
mod zeek;

pub use anomaly::{Anomaly, AnomalyReason};
pub use capture::{CaptureStats, PassedOver};
pub use community_id::CommunityId;
pub use copies::{Copies, OtherView};
pub use evidence::{Backoff, DoubtfulReset, Ecn, EcnKind, SynackAgain, WrongAnswers};
pub use first_data::FirstData;
pub use icmp::{IcmpErrorEvent, IcmpReport};
pub use kind::{Kind, Kinds};
pub(crate) use put::{Line, Put};
pub use run_id::RunId;
pub use schema::schema;
pub use sighting::{Origin, Path};
pub use socket::{AcceptQueue, Cgroup, Process, ProcessHow, Socket, SocketMoment};
pub use start::{ClockAnchor, Settings, Start, TracedInterface};
pub use state::State;
pub use state_times::StateTimes;
pub use stats::{Cost, HandshakeStats, OutcomeCounts, Percentiles, SegmentCounts, Stats, Unparsable};
pub use time::Rfc3339;
pub use tunnel::{Teids, Tunnel, TunnelCounts, TunnelKind};
pub use vlans::Vlans;
pub use zeek::ZeekConnState;

use crate::segment::{Direction, Timestamp};
use define::{names, object};
use put::is_default;
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc};
use tcptrace_common::tcp::TcpFlags;

/// Raised on any incompatible change of the JSON.
pub const SCHEMA_VERSION: u32 = 2;

/// One line of output. Serde writes it as [`crate::JsonSink`] does, and reads such a line back.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(remote = "Self", tag = "event", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "every other event is one of the large ones, and a box is an allocation"
)]
pub enum Event {
    /// The trace begins.
    Start(Box<Start>),
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
    /// The network's answer to a SYN or SYN-ACK.
    IcmpError(IcmpErrorEvent),
    /// Counters, loss and cost.
    Stats(Box<Stats>),
}

impl Event {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Start(_) => Kind::Start,
            Self::Segment(_) => Kind::Segment,
            Self::Transition(_) => Kind::Transition,
            Self::Established(_) => Kind::Established,
            Self::Connection(_) => Kind::Connection,
            Self::Anomaly(_) => Kind::Anomaly,
            Self::IcmpError(_) => Kind::IcmpError,
            Self::Stats(_) => Kind::Stats,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn ts(&self) -> Timestamp {
        match self {
            Self::Start(start) => start.ts,
            Self::Stats(stats) => stats.ts,
            _ => self.common().map_or_else(Timestamp::default, |common| common.ts),
        }
    }

    /// Who and when; none for `start` and `stats`, which are about no connection.
    #[must_use]
    pub const fn common(&self) -> Option<&Common> {
        match self {
            Self::Segment(event) => Some(&event.common),
            Self::Transition(event) => Some(&event.common),
            Self::Established(event) => Some(&event.common),
            Self::Connection(event) => Some(&event.common),
            Self::Anomaly(event) => Some(&event.common),
            Self::IcmpError(event) => Some(&event.common),
            Self::Start(_) | Self::Stats(_) => None,
        }
    }

    /// The same, to be changed.
    pub const fn common_mut(&mut self) -> Option<&mut Common> {
        match self {
            Self::Segment(event) => Some(&mut event.common),
            Self::Transition(event) => Some(&mut event.common),
            Self::Established(event) => Some(&mut event.common),
            Self::Connection(event) => Some(&mut event.common),
            Self::Anomaly(event) => Some(&mut event.common),
            Self::IcmpError(event) => Some(&mut event.common),
            Self::Start(_) | Self::Stats(_) => None,
        }
    }

    /// Moves every time stamp by `offset_ns`: from the trace's own time line to Unix time, which is what the sinks
    /// print. Durations stay as they are.
    pub fn shift(&mut self, offset_ns: i64) {
        self.retime(|ts| Timestamp(ts.0.saturating_add_signed(offset_ns)));
    }

    /// Gives every time stamp another value.
    pub fn retime(&mut self, to: impl Fn(Timestamp) -> Timestamp) {
        let shift = |ts: &mut Timestamp| *ts = to(*ts);
        match self {
            Self::Segment(event) => shift(&mut event.common.ts),
            Self::Transition(event) => shift(&mut event.common.ts),
            Self::Established(event) => shift(&mut event.common.ts),
            Self::Connection(event) => {
                shift(&mut event.common.ts);
                shift(&mut event.start);
                let doubtful = event.resets_ignored.iter_mut().chain(&mut event.reset_by_another);
                doubtful.for_each(|reset| shift(&mut reset.ts));
            }
            Self::Anomaly(event) => shift(&mut event.common.ts),
            Self::IcmpError(event) => shift(&mut event.common.ts),
            Self::Start(start) => shift(&mut start.ts),
            Self::Stats(stats) => shift(&mut stats.ts),
        }
    }
}

object! {
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
        #[schemars(schema_with = "value::ip_version")]
        pub ip_version: u8,
        /// The active opener, or the guess at it where the SYN was not seen.
        pub client: Address,
        /// The other one.
        pub server: Address,
        computed {
            /// Community ID, version 1, seed 0.
            #[schemars(schema_with = "value::community_id")]
            community_id: CommunityId = Self::community_id
        }
        /// VLAN identifiers, outer first; absent where there is no tag.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(schema_with = "value::vlan")]
        pub vlan: Vlans,
        /// Those of what the server sends, outer first, where they are others than those of what the client sends, which `vlan`
        /// has then; an empty list where it sends without a tag.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(schema_with = "value::server_vlan")]
        pub server_vlan: Option<Vlans>,
        /// The tunnels that it was seen in, outer first; absent where it was in none.
        #[serde(default, skip_serializing_if = "is_default")]
        pub tunnel: Vec<Tunnel>,
        /// Where the capture point stands.
        pub vantage: Vantage,
        /// False where a record of this connection may have been lost.
        #[serde(default)]
        pub complete: bool,
        /// What the same connection has in common on other interfaces; not printed.
        #[serde(skip)]
        pub origin: Origin,
    }
}

impl Common {
    fn community_id(&self, line: &Line) -> CommunityId {
        line.community_id.unwrap_or_else(|| CommunityId::new(self.client, self.server))
    }
}

object! {
    /// One end of the four-tuple.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Address {
        /// IPv4 or IPv6 address.
        #[schemars(schema_with = "value::ip")]
        pub ip: IpAddr,
        /// TCP port.
        pub port: u16,
    }
}

names! {
    /// Where the capture point stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Vantage {
        /// On the client's host.
        Client = "client",
        /// On the server's host.
        Server = "server",
        /// Between them, on both at once (loopback), or unknown (a file).
        Middle = "middle",
    }
}

names! {
    /// Which of the two.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Role {
        /// The active opener.
        Client = "client",
        /// The passive opener.
        Server = "server",
    }
}

names! {
    /// How a connection ended (docs/outcomes.md).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Outcome {
        /// Both FINs acknowledged.
        Closed = "closed",
        /// RST after establishment.
        Reset = "reset",
        /// RST in answer to the SYN.
        Refused = "refused",
        /// An ICMP error in answer to the SYN, and nothing after it.
        RefusedIcmp = "refused_icmp",
        /// Nothing came back.
        Unanswered = "unanswered",
        /// SYN-ACK sent, the third segment never seen.
        SynackUnanswered = "synack_unanswered",
        /// Given up by the client before establishment.
        Aborted = "aborted",
        /// The four-tuple was opened anew while this one was still open.
        Reused = "reused",
        /// Still alive at the end of the trace.
        Open = "open",
        /// Dropped from the table to stay within the memory limit.
        Evicted = "evicted",
    }
}

impl Outcome {
    /// The connection was never established, and not because the trace or the table ended it.
    #[must_use]
    pub const fn is_failed_handshake(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::RefusedIcmp | Self::Unanswered | Self::SynackUnanswered | Self::Aborted
        )
    }
}

names! {
    /// Who closed first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ClosedBy {
        /// The client's FIN came first.
        Client = "client",
        /// The server's FIN came first.
        Server = "server",
        /// Each sent its FIN before seeing the other's.
        Both = "both",
    }
}

names! {
    /// When a reset struck.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ResetPhase {
        /// While open.
        Established = "established",
        /// After the first FIN.
        Closing = "closing",
        /// After both FINs.
        AfterClose = "after_close",
    }
}

object! {
    /// The options of a SYN or SYN-ACK. Where a capture cut the header within them, what was not seen is null.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Options {
        /// Maximum segment size, octets.
        pub mss: Option<u16>,
        /// Window scale shift count.
        pub window_scale: Option<u8>,
        /// SACK permitted.
        pub sack_permitted: Option<bool>,
        /// Timestamps.
        pub timestamps: Option<bool>,
        /// TCP Fast Open.
        pub fast_open: Option<bool>,
        /// Multipath TCP.
        pub mptcp: Option<bool>,
    }
}

impl Options {
    /// The header was cut within them, so that there may be more.
    #[must_use]
    pub fn are_cut(&self) -> bool {
        [self.sack_permitted, self.timestamps, self.fast_open, self.mptcp].contains(&None)
    }
}

object! {
    /// The times of a handshake; each null where its evidence was not seen.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct HandshakeTimes {
        /// First SYN to the acknowledgement that establishes: what the application waited for.
        pub syn_to_established_ns: Option<u64>,
        /// The SYN that was answered to its first SYN-ACK: the one whose time stamp that echoes, without one the last before it.
        pub syn_to_synack_ns: Option<u64>,
        /// The last SYN-ACK to the acknowledgement.
        pub synack_to_ack_ns: Option<u64>,
        /// First SYN to the SYN that was answered, or without an answer to the last: time lost to retries.
        pub syn_retry_ns: Option<u64>,
        /// The network's part, where the vantage tells it apart (with the far kernel).
        pub network_rtt_ns: Option<u64>,
        /// This host's part, likewise.
        pub local_stack_ns: Option<u64>,
    }
}

object! {
    /// The handshake is complete.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Established {
        /// Who and when.
        #[serde(flatten)]
        pub common: Common,
        /// With `--once`: the interfaces that the connection was seen on, in the order in which its first segment passed them.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(schema_with = "value::path")]
        pub path: Path,
        /// How long.
        #[serde(flatten)]
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
        /// Explicit congestion notification; null where the SYN was not seen.
        pub ecn: Option<Ecn>,
        /// Who uses the client's socket; null where it is not on this host, or not known.
        pub client_process: Option<Process>,
        /// Who uses the server's socket, likewise.
        pub server_process: Option<Process>,
        /// The cgroup of the client's socket, likewise.
        pub client_cgroup: Option<Cgroup>,
        /// The cgroup of the server's socket, likewise.
        pub server_cgroup: Option<Cgroup>,
    }
}

object! {
    /// The connection is over, or the trace is.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Connection {
        /// Who and when (the time of the last lifecycle segment, or of the decision that it is over).
        #[serde(flatten)]
        pub common: Common,
        /// With `--once`: the interfaces that the connection was seen on, in the order in which its first segment passed them.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(schema_with = "value::path")]
        pub path: Path,
        /// The SYN was not seen: the trace began later.
        #[serde(default)]
        pub partial: bool,
        /// Who is client was guessed from the ports.
        #[serde(default)]
        pub direction_inferred: bool,
        /// How it ended.
        pub outcome: Outcome,
        /// Its handshake failed: it was refused, not answered, or given up.
        #[serde(default)]
        pub failed: bool,
        /// Who closed first; null without a FIN.
        pub closed_by: Option<ClosedBy>,
        /// Who reset it.
        pub reset_by: Option<Role>,
        /// When the reset struck.
        pub reset_phase: Option<ResetPhase>,
        /// The RST is one by which a host answers that knows no such connection: without ACK, and its number is what the other
        /// end acknowledged last (RFC 9293 §3.10.7.1).
        #[serde(default)]
        pub no_such_connection: bool,
        /// Data or time lay between the two FINs.
        #[serde(default)]
        pub half_closed: bool,
        /// Both sent a SYN.
        #[serde(default)]
        pub simultaneous_open: bool,
        /// The first segment seen.
        pub start: Timestamp,
        /// How long the handshake took.
        #[serde(flatten)]
        pub times: HandshakeTimes,
        /// When the first data came.
        #[serde(flatten)]
        pub first_data: FirstData,
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
        /// Octets the client sent, from sequence numbers up to its FIN or RST; where there was neither, those that the server's
        /// RST acknowledges.
        pub client_bytes: Option<u64>,
        /// Octets the server sent, likewise.
        pub server_bytes: Option<u64>,
        /// The byte counts may be short by a multiple of 2^32.
        #[serde(default)]
        pub bytes_mod_4gib: bool,
        /// SYNs beyond the first.
        pub syn_retransmits: u32,
        /// SYN-ACKs beyond the first.
        pub synack_retransmits: u32,
        /// From each of the client's SYNs to the next, the first ten; empty without a retry.
        #[serde(default)]
        pub syn_intervals_ns: Vec<Option<u64>>,
        /// Whether these are a stack's back-off; null without a retry.
        pub syn_backoff: Option<Backoff>,
        /// SYN-ACKs that came again after the acknowledgement of the first had passed, those that crossed it left out.
        pub synacks_after_ack: u32,
        /// What these fit; null where there were none.
        pub synack_again: Option<SynackAgain>,
        /// How full the accept queue was when the server, on this host, did not take what reached it: SYNs came again, or SYN-ACKs
        /// went again after the acknowledgement. Null otherwise.
        pub accept_queue: Option<AcceptQueue>,
        /// The server first answered the SYN with a bare acknowledgement of an earlier connection on the same ports (RFC 5961
        /// §4.2), and the client reset that.
        #[serde(default)]
        pub challenge_ack: bool,
        /// RSTs and SYN-ACKs that came instead of an answer to the SYN; null where there were none.
        pub wrong_answers: Option<WrongAnswers>,
        /// How long before its SYN the server closed an earlier connection on the same ports, which it may still hold in
        /// TIME-WAIT; null where none is remembered.
        pub earlier_closed_ns: Option<u64>,
        /// Who answered the SYN, where its server did not: a SYN of the same client, port and initial sequence number was seen towards
        /// this address too, as where the server's address is translated. Left out where none is known.
        #[serde(default, skip_serializing_if = "is_default")]
        pub answered_elsewhere: Option<Address>,
        /// Explicit congestion notification; null where the SYN was not seen.
        pub ecn: Option<Ecn>,
        /// TTL or hop limit of the client's first SYN.
        pub client_ttl: Option<u8>,
        /// That of the server's SYN-ACK.
        pub server_ttl: Option<u8>,
        /// That of the RST which ended it.
        pub reset_ttl: Option<u8>,
        /// The sequence number of that RST, raw. In answer to a SYN it is 0 where no connection is known (RFC 9293 §3.10.7.1).
        pub reset_seq: Option<u32>,
        /// There was no SYN: the client sent a segment with control bits that no stack sends together (none, FIN, or several, and
        /// no ACK), as scanners do, and this was answered as no connection is there (RFC 9293 §3.10.7.1).
        #[serde(default)]
        pub probe: bool,
        /// Segments that were captured more than once, as mirror ports and both legs of a router show them. Such a copy has the
        /// numbers, options and identification of its original, another TTL or hardly a distance in time, and is counted here
        /// and nowhere else; 255 stands for more as well.
        pub copies: u32,
        /// The initial sequence numbers of the same connection on the other side of a device that rewrites them, where both
        /// sides were captured; the rest is about the view that the server answered first.
        pub other_view: Option<OtherView>,
        /// FINs the client sent, retransmissions included.
        pub client_fins: u32,
        /// FINs the server sent.
        pub server_fins: u32,
        /// RSTs the client sent.
        pub client_rsts: u32,
        /// RSTs the server sent.
        pub server_rsts: u32,
        /// RSTs that changed nothing, the first eight: their numbers do not fit, or the endpoint in whose name they came went on.
        /// Left out where there were none.
        #[serde(default, skip_serializing_if = "is_default")]
        pub resets_ignored: Vec<DoubtfulReset>,
        /// The RST that ended it, where the endpoint in whose name it came went on all the same: somebody else sent it. Left out
        /// otherwise.
        #[serde(default, skip_serializing_if = "is_default")]
        pub reset_by_another: Option<DoubtfulReset>,
        /// Both ends are one socket, which is connected to itself. Left out where it is not so.
        #[serde(default, skip_serializing_if = "is_default")]
        pub self_connection: bool,
        /// The client's initial sequence number.
        pub client_isn: Option<u32>,
        /// The server's.
        pub server_isn: Option<u32>,
        /// The client's state at this moment; null where it is not over and no segment of the client passed here.
        pub client_state: Option<State>,
        /// The server's, likewise.
        pub server_state: Option<State>,
        /// Time per state of the client.
        pub client_state_ns: StateTimes,
        /// Time per state of the server.
        pub server_state_ns: StateTimes,
        /// The states that the client was in for a time that nobody knows, as the source's clock does not tell it: they are null in
        /// `client_state_ns`, and others that are null there it was not seen to leave. Left out where there are none.
        #[serde(default, skip_serializing_if = "is_default")]
        pub client_states_untimed: Vec<State>,
        /// Those of the server, likewise.
        #[serde(default, skip_serializing_if = "is_default")]
        pub server_states_untimed: Vec<State>,
        /// Who uses the client's socket; null where it is not on this host, or not known.
        pub client_process: Option<Process>,
        /// Who uses the server's socket, likewise.
        pub server_process: Option<Process>,
        /// The cgroup of the client's socket, likewise.
        pub client_cgroup: Option<Cgroup>,
        /// The cgroup of the server's socket, likewise.
        pub server_cgroup: Option<Cgroup>,
        /// Who closed the client's socket, where it is another process; else null.
        pub client_closed_by_process: Option<Process>,
        /// Who closed the server's socket, likewise.
        pub server_closed_by_process: Option<Process>,
        /// What the client's socket knew at the end; null where it is not on this host, or not known.
        pub client_socket: Option<Socket>,
        /// What the server's socket knew at the end, likewise.
        pub server_socket: Option<Socket>,
        /// The last ICMP error that quoted its SYN or SYN-ACK.
        pub icmp_error: Option<IcmpReport>,
        /// What Zeek's conn.log calls it.
        pub zeek_conn_state: ZeekConnState,
    }
}

object! {
    /// One endpoint changed its state.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Transition {
        /// Who and when.
        #[serde(flatten)]
        pub common: Common,
        /// Whose state.
        pub endpoint: Role,
        /// The state left.
        pub from: State,
        /// The state entered.
        pub to: State,
        /// No segment showed it: a time-out or a presumption did.
        #[serde(default)]
        pub inferred: bool,
        /// Since this endpoint's previous transition.
        pub since_previous_ns: Option<u64>,
    }
}

object! {
    /// One lifecycle segment.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SegmentEvent {
        /// Who and when.
        #[serde(flatten)]
        pub common: Common,
        /// Who sent it.
        pub sender: Role,
        /// Which way it crossed the capture point.
        pub direction: Direction,
        /// The control bits.
        #[serde(deserialize_with = "value::flags")]
        #[schemars(schema_with = "value::flags_schema")]
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
        /// It was captured before: a copy, of which nothing comes.
        #[serde(default)]
        pub copy: bool,
        /// The options of a SYN or SYN-ACK.
        pub options: Option<Options>,
    }
}

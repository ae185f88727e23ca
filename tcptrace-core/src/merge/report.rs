//! What a merge says of a connection and of all, which is its JSON at once. Names are as in events: durations end in `_ns`, and
//! what is not known is null.

use super::by::{Fate, JoinedBy, OrderedBy};
use crate::{
    event::{Address, Outcome, Rfc3339, Role, Vantage},
    segment::Timestamp,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, Serializer};
use std::{fmt, net::IpAddr, sync::Arc};
use tcptrace_common::tcp::TcpFlags;

/// Raised on any incompatible change of the JSON.
pub const MERGE_SCHEMA_VERSION: u32 = 1;

/// A line of the JSON: a connection, or at the end what holds of all.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "merge", rename_all = "snake_case")]
pub enum Merged {
    /// A connection.
    Connection(MergedConnection),
    /// What holds of all connections.
    Summary(MergeSummary),
}

/// A connection, as the vantages saw it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergedConnection {
    /// Raised on any incompatible change.
    pub schema: u32,
    /// By what the sightings were found to be of one connection; null where one vantage alone saw it.
    pub joined_by: Option<JoinedBy>,
    /// How it is known which vantage is nearer to the client, by the weakest reason; null where one vantage alone is told of.
    pub ordered_by: Option<OrderedBy>,
    /// The vantages on its way, from the client to the server.
    pub path: Vec<Name>,
    /// What each of them saw of it.
    pub seen: Vec<MergeSighting>,
    /// Vantages that other connections of the same client and server passed, and that did not see this one.
    pub unseen: Vec<Name>,
    /// Both ends got RSTs of each other that neither sent: something between these two vantages tore it down. Null otherwise.
    pub torn_down_between: Option<[Name; 2]>,
    /// Clocks and delays between each vantage and the next.
    pub hops: Vec<Hop>,
    /// Each segment that was recorded, in the order in which they were first seen.
    pub segments: Vec<MergedSegment>,
}

impl MergedConnection {
    /// Whether there is anything to say of it but that it passed.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        !self.unseen.is_empty() || self.segments.iter().any(MergedSegment::is_remarkable)
    }
}

/// A connection as one vantage saw it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergeSighting {
    /// The vantage.
    pub vantage: Name,
    /// The connection's number in that trace.
    pub id: u64,
    /// The active opener, as its address is there.
    pub client: End,
    /// The other one.
    pub server: End,
    /// Where the capture point stands.
    pub stands: Vantage,
    /// The first segment that was seen, by the clock there.
    pub start: Instant,
    /// How it ended, as was seen there; null where the trace does not say.
    pub outcome: Option<Outcome>,
    /// False where a record of this connection may have been lost.
    pub complete: bool,
}

/// Clocks and delays between one vantage and the next on the way to the server.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Hop {
    /// The one nearer to the client.
    pub from: Name,
    /// The other one.
    pub to: Name,
    /// By how much the clock of `to` is ahead of that of `from`, by the segments of all connections; where no difference fits them
    /// all, by those of this connection. Null where it is not bounded on both sides.
    pub offset_ns: Option<i64>,
    /// The offset is at most so far from the truth.
    pub offset_bound_ns: Option<i64>,
    /// The least delay there plus the least delay back in this connection, which no clock has a part in.
    pub round_trip_ns: Option<u64>,
    /// By how much the least delay of this connection to the server is longer than the one back (negative: shorter).
    pub one_way_difference_ns: Option<i64>,
    /// The difference is at most so far from the truth.
    pub one_way_difference_bound_ns: Option<i64>,
    /// By how much the slowest segment of this connection took longer than the fastest of all, to the server.
    pub to_server_over_least_ns: Option<u64>,
    /// The same, to the client.
    pub to_client_over_least_ns: Option<u64>,
}

/// A segment that was sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergedSegment {
    /// In whose name it was sent.
    pub sender: Role,
    /// The control bits, in tcpdump's letters, as the first vantage saw them.
    #[schemars(with = "String")]
    pub flags: Bits,
    /// Sequence number, raw.
    pub seq: u32,
    /// Acknowledgement number, raw; null without ACK.
    pub ack: Option<u32>,
    /// Relative to the sender's initial number; null where that is not known.
    pub relative_seq: Option<u32>,
    /// Relative to the receiver's initial number.
    pub relative_ack: Option<u32>,
    /// Octets of payload, as the first vantage saw them.
    pub payload_bytes: u32,
    /// Where it was seen, from the sender on.
    pub seen: Vec<SegmentSighting>,
    /// What became of it.
    pub fate: Fate,
    /// The last vantage before what `fate` tells.
    pub after: Option<Name>,
    /// The first vantage behind it.
    pub before: Option<Name>,
    /// False where segments like this were sent several times, and it is known how many of them were lost, and not which.
    pub which_is_known: bool,
    /// Who sent a RST; null of other segments.
    pub reset_from: Option<ResetFrom>,
    /// TTL or hop limit of the sender's other segments where this was first seen, which have all the same; null otherwise.
    pub usual_ttl: Option<u8>,
}

impl MergedSegment {
    /// Whether there is anything to say of it but that it passed.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        !matches!(self.fate, Fate::Passed | Fate::OfOne)
    }
}

/// A sighting of a segment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SegmentSighting {
    /// The vantage.
    pub vantage: Name,
    /// When, by the clock there.
    pub ts: Instant,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// Who sent a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetFrom {
    /// The host in whose name it came: it was seen as it left it.
    Host,
    /// The host in whose name it came, or something between that and the nearest vantage.
    Side,
    /// Something between the vantages `after` and `before`, unless the RST went another way than past `after`.
    Between,
    /// This is not known.
    Unknown,
}

/// What holds of all connections.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MergeSummary {
    /// Raised on any incompatible change.
    pub schema: u32,
    /// What each vantage saw, in the order in which they were given.
    pub vantages: Vec<VantageSummary>,
    /// Connections that several vantages saw, by what they were joined.
    pub joined: Joined,
    /// What went between each two vantages that have connections in common.
    pub between: Vec<BetweenSummary>,
    /// The traces have no segments: it is told which connections were seen where, and nothing more.
    pub without_segments: bool,
}

/// What one vantage saw.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VantageSummary {
    /// The vantage.
    pub vantage: Name,
    /// Connections.
    pub connections: u64,
    /// Of these, those that no other vantage saw.
    pub alone: u64,
    /// Connections that could not be looked for elsewhere, as no initial sequence number is known.
    pub without_isn: u64,
    /// Connections that fit several others, or several of which fit one.
    pub ambiguous: u64,
    /// Connections that the vantage saw more than once, as on several interfaces: these were left out.
    pub seen_again: u64,
    /// Segments.
    pub segments: u64,
    /// Records, segments or packets that the trace says it lost or left out.
    pub lost_records: u64,
}

/// Connections that several vantages saw, by what they were joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Joined {
    /// By addresses, ports and both initial sequence numbers.
    pub four_tuple_and_isns: u64,
    /// By both initial sequence numbers.
    pub isns: u64,
    /// By addresses, ports and the client's number.
    pub four_tuple_and_client_isn: u64,
    /// By the client's number, and the addresses and ports of one end.
    pub client_isn: u64,
}

impl Joined {
    /// All together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.four_tuple_and_isns + self.isns + self.four_tuple_and_client_isn + self.client_isn
    }
}

/// What went between two vantages.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BetweenSummary {
    /// The one that was given first.
    pub from: Name,
    /// The other one.
    pub to: Name,
    /// By how much the clock of `to` is ahead of that of `from`; null where that is not bounded on both sides.
    pub offset_ns: Option<i64>,
    /// The offset is at most so far from the truth.
    pub offset_bound_ns: Option<i64>,
    /// False where no difference of the clocks fits all segments: they drifted apart, or one was set.
    pub clocks_steady: bool,
    /// The least delay there plus the least delay back.
    pub round_trip_ns: Option<u64>,
    /// What went from `from` to `to`.
    pub there: Traffic,
    /// What went from `to` to `from`.
    pub back: Traffic,
}

/// The segments that went from one vantage to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Traffic {
    /// Segments that were seen at both.
    pub passed: u64,
    /// Those of them that were sent once, and that each trace records: clocks and delays are found by these.
    pub compared: u64,
    /// Segments that were lost between them.
    pub lost: LostByKind,
    /// Acknowledgements that were lost, or came and were not recorded.
    pub lost_or_unrecorded: u64,
    /// Segments that appeared between them.
    pub appeared: u64,
    /// Segments of which it is not known whether they came.
    pub unknown: u64,
}

impl Traffic {
    /// Whether there was any segment.
    pub(super) fn has_any(&self) -> bool {
        let Self { passed, compared: _, lost, lost_or_unrecorded, appeared, unknown } = self;
        [*passed, lost.total(), *lost_or_unrecorded, *appeared, *unknown].into_iter().any(|count| count > 0)
    }
}

/// Lost segments by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LostByKind {
    /// SYN without ACK.
    pub syn: u64,
    /// SYN with ACK.
    pub synack: u64,
    /// FIN.
    pub fin: u64,
    /// RST.
    pub rst: u64,
    /// Acknowledgements.
    pub ack: u64,
}

impl LostByKind {
    /// All kinds together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.syn + self.synack + self.fin + self.rst + self.ack
    }

    pub(super) fn add(&mut self, flags: TcpFlags) {
        let count = if flags.rst() {
            &mut self.rst
        } else if flags.syn() {
            if flags.ack() { &mut self.synack } else { &mut self.syn }
        } else if flags.fin() {
            &mut self.fin
        } else {
            &mut self.ack
        };
        *count += 1;
    }
}

/// The name of a vantage.
pub type Name = Arc<str>;

/// One end of a four-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct End {
    /// IPv4 or IPv6 address.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl From<Address> for End {
    fn from(address: Address) -> Self {
        Self { ip: address.ip, port: address.port }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Address { ip: self.ip, port: self.port }, f)
    }
}

/// A time stamp, in JSON as RFC 3339 with nanoseconds; null where the trace has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Instant(#[schemars(with = "Option<String>")] pub Timestamp);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == Timestamp::UNKNOWN {
            serializer.serialize_none()
        } else {
            serializer.serialize_some(Rfc3339::new(self.0).as_str())
        }
    }
}

/// Control bits, in JSON in tcpdump's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits(pub TcpFlags);

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The JSON Schema of a line.
#[must_use]
pub fn merge_schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Merged>();
    schema.insert("title".to_owned(), "tcptrace merge".into());
    let description = "One line of `tcptrace merge --json`. Durations end in _ns (integer nanoseconds); what is not known is null.";
    schema.insert("description".to_owned(), description.into());
    schema.to_value()
}

//! Where the JSON says more than a derive can.

use super::{
    Address, Common, CommunityId, Event, Kind, Path, Rfc3339, SCHEMA_VERSION, State, StateTimes, Tunnel,
    Vantage, Vlans, schema,
};
use crate::segment::{Direction, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use tcptrace_common::tcp::TcpFlags;

/// One line of JSON: the kind and the schema's version come before everything else. Flattening costs nothing here:
/// it forwards each field to the same map, without collecting them first.
#[derive(Serialize)]
struct Line<'a, T> {
    event: &'static str,
    schema: u32,
    #[serde(flatten)]
    body: &'a T,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn line<T: Serialize, S: Serializer>(kind: Kind, body: &T, serializer: S) -> Result<S::Ok, S::Error> {
            Line { event: kind.name(), schema: SCHEMA_VERSION, body }.serialize(serializer)
        }
        let kind = self.kind();
        match self {
            Self::Start(body) => line(kind, body, serializer),
            Self::Segment(body) => line(kind, body, serializer),
            Self::Transition(body) => line(kind, body, serializer),
            Self::Established(body) => line(kind, body, serializer),
            Self::Connection(body) => line(kind, body, serializer),
            Self::Anomaly(body) => line(kind, body, serializer),
            Self::IcmpError(body) => line(kind, body, serializer),
            Self::Stats(body) => line(kind, body, serializer),
        }
    }
}

/// [`Common`] as it is written: with the Community ID, and without `vlan` and `tunnel` where there is none.
#[derive(Serialize, JsonSchema)]
struct CommonJson<'a> {
    /// When it happened.
    #[serde(serialize_with = "timestamp")]
    #[schemars(schema_with = "schema::timestamp")]
    ts: Timestamp,
    /// The connection's number, unique in the run, from 1.
    id: u64,
    /// The interface's name.
    interface: &'a str,
    /// 4 or 6.
    #[schemars(schema_with = "schema::ip_version")]
    ip_version: u8,
    /// The active opener, or the guess at it where the SYN was not seen.
    client: Address,
    /// The other one.
    server: Address,
    /// Community ID, version 1, seed 0.
    #[schemars(schema_with = "schema::community_id")]
    community_id: CommunityId,
    /// VLAN identifiers, outer first; absent where there is no tag.
    #[serde(skip_serializing_if = "Vlans::is_empty")]
    #[schemars(schema_with = "schema::vlan")]
    vlan: Vlans,
    /// Those of what the server sends, outer first, where they are others than those of what the client sends, which `vlan`
    /// has then; an empty list where it sends without a tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::server_vlan")]
    server_vlan: Option<Vlans>,
    /// The tunnels that it was seen in, outer first; absent where it was in none.
    #[serde(skip_serializing_if = "<[Tunnel]>::is_empty")]
    tunnel: &'a [Tunnel],
    /// Where the capture point stands.
    vantage: Vantage,
    /// False where a record of this connection may have been lost.
    complete: bool,
}

impl Serialize for Common {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            ts,
            id,
            ref interface,
            ip_version,
            client,
            server,
            vlan,
            server_vlan,
            ref tunnel,
            vantage,
            complete,
            origin: _,
        } = *self;
        let community_id = CommunityId::new(client, server);
        CommonJson {
            ts,
            id,
            interface,
            ip_version,
            client,
            server,
            community_id,
            vlan,
            server_vlan,
            tunnel,
            vantage,
            complete,
        }
        .serialize(serializer)
    }
}

impl JsonSchema for Common {
    fn schema_name() -> Cow<'static, str> {
        "Common".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        CommonJson::json_schema(generator)
    }
}

impl Vlans {
    /// No tag at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.outer.is_none() && self.inner.is_none()
    }
}

impl Serialize for Vlans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.outer.iter().chain(&self.inner))
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl Serialize for StateTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(State::TIMED.into_iter().zip(self.by_state()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn timestamp<S: Serializer>(ts: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    if *ts == Timestamp::UNKNOWN {
        return serializer.serialize_none();
    }
    serializer.serialize_str(Rfc3339::new(*ts).as_str())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn flags<S: Serializer>(flags: &TcpFlags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(flags)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn direction<S: Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    match direction {
        Direction::Ingress => serializer.serialize_str("ingress"),
        Direction::Egress => serializer.serialize_str("egress"),
        Direction::Unknown => serializer.serialize_none(),
    }
}

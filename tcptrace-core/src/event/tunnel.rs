//! The tunnels that a connection was seen in.

use super::{
    Vlans,
    define::object,
    put::{Line, Put, is_default, quoted},
    value,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{borrow::Cow, net::IpAddr};
use tcptrace_common::wire::tunnel;

object! {
    /// One tunnel, with its ends as the connection has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Tunnel {
        /// Its kind.
        pub kind: TunnelKind,
        /// The identifier of the network or tunnel: VXLAN's and Geneve's VNI, GRE's key, ERSPAN's session. Null where there
        /// is none, and for GTP-U, which has one for each direction.
        pub id: Option<u32>,
        /// GTP-U's tunnel endpoint identifiers; absent for other kinds.
        #[serde(default, skip_serializing_if = "is_default")]
        pub teid: Option<Teids>,
        /// The outer address on the client's side.
        #[schemars(schema_with = "value::ip")]
        pub client_ip: IpAddr,
        /// The outer address on the server's side.
        #[schemars(schema_with = "value::ip")]
        pub server_ip: IpAddr,
        /// VLAN identifiers before the outer IP header; absent where there is no tag. The event's own are the inner ones.
        #[serde(default, skip_serializing_if = "is_default")]
        #[schemars(schema_with = "value::vlan")]
        pub vlan: Vlans,
    }
}

object! {
    /// The identifiers of both directions. Each is the receiver's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Teids {
        /// Of what the client sends; null where none of it was seen.
        pub to_server: Option<u32>,
        /// Of what the server sends.
        pub to_client: Option<u32>,
    }
}

/// A kind of tunnel, as it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKind(pub tunnel::TunnelProtocol);

impl Put for TunnelKind {
    fn put(&self, out: &mut Line) {
        quoted(self.0.name().as_bytes(), out);
    }
}

impl<'de> Deserialize<'de> for TunnelKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = tunnel::TunnelProtocol::ALL.into_iter().find(|kind| kind.name() == name);
        known
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("there is no kind of tunnel called {name}")))
    }
}

impl JsonSchema for TunnelKind {
    fn schema_name() -> Cow<'static, str> {
        "TunnelKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": tunnel::TunnelProtocol::ALL.map(tunnel::TunnelProtocol::name) })
    }
}

object! {
    /// Packets in tunnels of each kind; one in two tunnels counts for both.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[expect(missing_docs, reason = "named as the kinds are")]
    pub struct TunnelCounts {
        pub ipip: u64,
        #[serde(rename = "6in4")]
        pub six_in_four: u64,
        #[serde(rename = "4in6")]
        pub four_in_six: u64,
        pub gre: u64,
        pub erspan: u64,
        pub vxlan: u64,
        pub geneve: u64,
        pub gtpu: u64,
        pub tzsp: u64,
    }
}

impl TunnelCounts {
    /// By the place of each kind.
    #[must_use]
    pub const fn of(counts: [u64; tunnel::TunnelProtocol::COUNT]) -> Self {
        let [ipip, six_in_four, four_in_six, gre, erspan, vxlan, geneve, gtpu, tzsp] = counts;
        Self { ipip, six_in_four, four_in_six, gre, erspan, vxlan, geneve, gtpu, tzsp }
    }

    /// Each kind's name and count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { ipip, six_in_four, four_in_six, gre, erspan, vxlan, geneve, gtpu, tzsp } = *self;
        let counts = [ipip, six_in_four, four_in_six, gre, erspan, vxlan, geneve, gtpu, tzsp];
        tunnel::TunnelProtocol::ALL.map(tunnel::TunnelProtocol::name).into_iter().zip(counts)
    }
}

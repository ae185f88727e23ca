//! What the network says of a SYN or SYN-ACK.

use super::{Common, Role, schema};
use schemars::JsonSchema;
use serde::Serialize;
use std::net::IpAddr;

/// What an ICMP or ICMPv6 error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IcmpReport {
    /// Who says so: a router on the way, or the host itself.
    #[schemars(schema_with = "schema::ip")]
    pub from: IpAddr,
    /// The type, of ICMP or ICMPv6 as the connection's addresses are.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// Both in words.
    pub meaning: &'static str,
    /// Which end sent the SYN or SYN-ACK that it quotes: the error is for it. Who says so is `from`.
    pub sender: Role,
}

/// The network's answer to a SYN or SYN-ACK.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct IcmpErrorEvent {
    /// Who and when.
    #[serde(flatten)]
    pub common: Common,
    /// What it says.
    #[serde(flatten)]
    pub icmp: IcmpReport,
    /// The quoted sequence number, raw.
    pub seq: u32,
}

//! What Zeek would call the connection's state at its end, for people who come from conn.log.

use schemars::JsonSchema;
use serde::Serialize;

/// `conn_state` of Zeek's conn.log (`base/protocols/conn/main.zeek`). Its *originator* is our client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum ZeekConnState {
    /// A SYN, and no reply.
    #[serde(rename = "S0")]
    S0,
    /// Established, not terminated.
    #[serde(rename = "S1")]
    S1,
    /// Established, and only the originator's FIN was seen.
    #[serde(rename = "S2")]
    S2,
    /// Established, and only the responder's FIN was seen.
    #[serde(rename = "S3")]
    S3,
    /// Established and terminated by both.
    #[serde(rename = "SF")]
    Sf,
    /// Rejected.
    #[serde(rename = "REJ")]
    Rej,
    /// Established, then reset by the originator.
    #[serde(rename = "RSTO")]
    Rsto,
    /// Established, then reset by the responder.
    #[serde(rename = "RSTR")]
    Rstr,
    /// The originator sent a SYN and then a RST, the responder nothing.
    #[serde(rename = "RSTOS0")]
    Rstos0,
    /// The responder sent a RST, the originator's SYN was not seen.
    #[serde(rename = "RSTRH")]
    Rstrh,
    /// The originator sent a SYN and then a FIN, the responder nothing.
    #[serde(rename = "SH")]
    Sh,
    /// The responder sent a SYN-ACK and then a FIN, the originator nothing.
    #[serde(rename = "SHR")]
    Shr,
    /// None of these: picked up in the middle, or neither open nor closed.
    #[serde(rename = "OTH")]
    Oth,
}

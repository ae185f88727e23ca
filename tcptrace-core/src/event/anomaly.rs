//! Segments that cannot be.

use super::{Common, Role, json, schema};
use schemars::JsonSchema;
use serde::Serialize;
use tcptrace_common::tcp::TcpFlags;

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
    /// A FIN whose number is known to be too low.
    FinOutOfWindow,
    /// A FIN after which more was sent or acknowledged: it was not its sender's own.
    FinNotItsOwn,
    /// A RST after which its sender went on: it was not that endpoint's, or was not obeyed.
    RstIgnored,
    /// A FIN that comes again after its acknowledgement has passed and the connection is closed: the acknowledgement did not
    /// arrive.
    FinAfterClose,
    /// A RST whose numbers do not fit, to be answered by a challenge ACK (RFC 5961 §3.2).
    RstOutOfWindow,
    /// A SYN on a connection that is open, or answered already, to be answered by a challenge ACK (RFC 5961 §4.2).
    SynInConnection,
    /// Control bits that no stack sends together: SYN+FIN, SYN+RST, none, Xmas.
    ImpossibleFlags,
}

/// A segment that cannot be: reported, and changes no state.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Anomaly {
    /// Who and when.
    #[serde(flatten)]
    pub common: Common,
    /// What is wrong.
    pub reason: AnomalyReason,
    /// Who sent it.
    pub sender: Role,
    /// The control bits.
    #[serde(serialize_with = "json::flags")]
    #[schemars(schema_with = "schema::flags")]
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

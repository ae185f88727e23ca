//! Segments that cannot be.

use super::{
    Common, Role,
    define::{names, object},
    value,
};
use tcptrace_common::tcp::TcpFlags;

names! {
    /// Why a segment cannot be.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum AnomalyReason {
        /// A SYN-ACK that does not acknowledge the client's ISN+1.
        SynackAckMismatch = "synack_ack_mismatch",
        /// A SYN-ACK with another ISN than the one before.
        SynackIsnChanged = "synack_isn_changed",
        /// An acknowledgement in the handshake that is not the peer's ISN+1.
        HandshakeAckMismatch = "handshake_ack_mismatch",
        /// A segment in the handshake that acknowledges the peer's SYN, and whose sequence number is far from its sender's own
        /// ISN+1.
        HandshakeSeqMismatch = "handshake_seq_mismatch",
        /// An acknowledgement of something never sent.
        AckBeyondSent = "ack_beyond_sent",
        /// A FIN whose end differs from the sender's earlier FIN.
        FinMoved = "fin_moved",
        /// A FIN whose number is known to be too low.
        FinOutOfWindow = "fin_out_of_window",
        /// A FIN after which more was sent or acknowledged: it was not its sender's own.
        FinNotItsOwn = "fin_not_its_own",
        /// A RST after which its sender went on: it was not that endpoint's, or was not obeyed.
        RstIgnored = "rst_ignored",
        /// A FIN that comes again after its acknowledgement has passed and the connection is closed: the acknowledgement did not
        /// arrive.
        FinAfterClose = "fin_after_close",
        /// A RST whose numbers do not fit, to be answered by a challenge ACK (RFC 5961 §3.2).
        RstOutOfWindow = "rst_out_of_window",
        /// A SYN on a connection that is open, or answered already, to be answered by a challenge ACK (RFC 5961 §4.2).
        SynInConnection = "syn_in_connection",
        /// Control bits that no stack sends together: SYN+FIN, SYN+RST, none, Xmas.
        ImpossibleFlags = "impossible_flags",
    }
}

object! {
    /// A segment that cannot be: reported, and changes no state.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Anomaly {
        /// Who and when.
        #[serde(flatten)]
        pub common: Common,
        /// What is wrong.
        pub reason: AnomalyReason,
        /// Who sent it.
        pub sender: Role,
        /// The control bits.
        #[serde(deserialize_with = "value::flags")]
        #[schemars(schema_with = "value::flags_schema")]
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
}

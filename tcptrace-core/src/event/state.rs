//! The states of an endpoint.

use schemars::JsonSchema;
use serde::Serialize;

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

    /// Those that take time: an endpoint has no connection in CLOSED, and in LISTEN it waits for any.
    pub const TIMED: [Self; 9] = {
        let [_closed, _listen, timed @ ..] = Self::ALL;
        timed
    };

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

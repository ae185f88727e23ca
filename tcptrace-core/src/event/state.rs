//! The states of an endpoint.

use super::define::names;

names! {
    // In the order of a life.
    /// The states of RFC 9293 §3.3.2.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum State {
        /// No connection.
        Closed = "CLOSED",
        /// Waiting for a connection request.
        Listen = "LISTEN",
        /// A SYN was sent.
        SynSent = "SYN_SENT",
        /// A SYN was received and one sent, awaiting the acknowledgement.
        SynReceived = "SYN_RECEIVED",
        /// Open.
        Established = "ESTABLISHED",
        /// A FIN was sent, its acknowledgement is awaited.
        FinWait1 = "FIN_WAIT_1",
        /// The FIN was acknowledged, the peer's FIN is awaited.
        FinWait2 = "FIN_WAIT_2",
        /// The peer closed, the local application has not.
        CloseWait = "CLOSE_WAIT",
        /// Both sent FIN, the peer's was acknowledged first.
        Closing = "CLOSING",
        /// The passive closer's FIN awaits its acknowledgement.
        LastAck = "LAST_ACK",
        /// The active closer waits out 2 MSL.
        TimeWait = "TIME_WAIT",
    }
}

impl State {
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

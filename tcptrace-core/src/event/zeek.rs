//! What Zeek would call the connection's state at its end, for people who come from conn.log.

use super::define::names;

names! {
    /// `conn_state` of Zeek's conn.log (`base/protocols/conn/main.zeek`). Its *originator* is our client.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum ZeekConnState {
        /// A SYN, and no reply.
        S0 = "S0",
        /// Established, not terminated.
        S1 = "S1",
        /// Established, and only the originator's FIN was seen.
        S2 = "S2",
        /// Established, and only the responder's FIN was seen.
        S3 = "S3",
        /// Established and terminated by both.
        Sf = "SF",
        /// Rejected.
        Rej = "REJ",
        /// Established, then reset by the originator.
        Rsto = "RSTO",
        /// Established, then reset by the responder.
        Rstr = "RSTR",
        /// The originator sent a SYN and then a RST, the responder nothing.
        Rstos0 = "RSTOS0",
        /// The responder sent a RST, the originator's SYN was not seen.
        Rstrh = "RSTRH",
        /// The originator sent a SYN and then a FIN, the responder nothing.
        Sh = "SH",
        /// The responder sent a SYN-ACK and then a FIN, the originator nothing.
        Shr = "SHR",
        /// None of these: picked up in the middle, or neither open nor closed.
        Oth = "OTH",
    }
}

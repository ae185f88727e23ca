//! What the segments of a handshake or of an end fit, where more than one cause can have made them.

use super::{
    Role,
    define::{names, object},
};
use crate::segment::Timestamp;

names! {
    /// How the tries of an unanswered SYN are spaced.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Backoff {
        /// As stacks do it: every wait is as long as the one before or twice as long (RFC 6298 §5.5; Linux's
        /// `tcp_syn_linear_timeouts`). All tries passed here.
        Regular = "regular",
        /// Otherwise: some did not pass here, or no usual stack sent them.
        Irregular = "irregular",
    }
}

names! {
    /// What a SYN-ACK fits that is sent again although the acknowledgement has passed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SynackAgain {
        /// Seen on the way, and as soon as the server's first time-out: the acknowledgement was lost between here and the
        /// server, or the server does not take it (a full accept queue, a filter of its own), or it waits for data
        /// (`TCP_DEFER_ACCEPT`).
        LostOrNotAccepted = "lost_or_not_accepted",
        /// The same on the server's own host, beyond which nothing can be lost: the server does not take what reaches it, or
        /// waits for data.
        NotAccepted = "not_accepted",
        /// Later than the server's first time-out, after which a lost acknowledgement shows (RFC 6298 §2.1): the server knew
        /// of the acknowledgement and waits for data (`TCP_DEFER_ACCEPT`), or a SYN-ACK before this one did not pass here.
        Deferred = "deferred",
    }
}

object! {
    /// Segments in answer to the SYN that acknowledge something else, which a client does not take for an answer (RFC 9293
    /// §3.10.7.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WrongAnswers {
        /// RSTs of the server that the client ignores.
        pub rsts: u32,
        /// What the last of them acknowledges; null without ACK, and without any.
        pub rst_ack: Option<u32>,
        /// SYN-ACKs.
        pub synacks: u32,
        /// What the last of them acknowledges.
        pub synack_ack: Option<u32>,
        /// RSTs by which the client's host answered these SYN-ACKs.
        pub synacks_reset: u32,
        /// What would have answered the SYN: its number and one.
        pub expected: u32,
    }
}

names! {
    /// Explicit congestion notification, as the control bits of a SYN or SYN-ACK have it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum EcnKind {
        /// Without it.
        None = "none",
        /// RFC 3168 §6.1.1.
        Classic = "classic",
        /// RFC 9768 §3.1.1.
        Accurate = "accurate",
    }
}

object! {
    /// What a handshake says of explicit congestion notification.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ecn {
        /// What the client's first SYN asks for.
        pub offered: EcnKind,
        /// What the SYN before the SYN-ACK and this together make; null before a SYN-ACK, and in a simultaneous open.
        pub negotiated: Option<EcnKind>,
        /// SYNs that asked for it and got no answer, where one that did not ask was answered; else 0.
        pub unanswered_syns: u32,
    }
}

object! {
    /// A RST that is not, or may not be, of the endpoint in whose name it came.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DoubtfulReset {
        /// When it passed.
        pub ts: Timestamp,
        /// In whose name.
        pub sender: Role,
        /// Its TTL or hop limit.
        pub ttl: u8,
        /// The TTL or hop limit of the segment by which that endpoint went on; null where the RST's numbers did not fit, which
        /// needed no such proof.
        pub sender_ttl: Option<u8>,
    }
}

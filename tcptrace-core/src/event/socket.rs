//! What the kernel of this host knows of a connection's end that is its own: the socket, and whose it is.

use super::define::{names, object};
use std::sync::Arc;

object! {
    /// What an end's own socket knew of the connection when it sent its last FIN or RST (`struct tcp_sock`, which
    /// `getsockopt(TCP_INFO)` shows too).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Socket {
        /// With which segment the socket was asked.
        pub at: SocketMoment,
        /// The smoothed round-trip time (RFC 6298 §2); null before the first measurement.
        pub rtt_ns: Option<u64>,
        /// The least round-trip time of late; null before the first measurement.
        pub min_rtt_ns: Option<u64>,
        /// Segments that the socket sent again, the SYN included.
        pub retransmits: u32,
        /// Segments that the socket sent, those that it sent again included.
        pub segments_out: u32,
        /// Segments that came to the socket.
        pub segments_in: u32,
        /// Octets that the peer has acknowledged. The kernel counts the client's SYN as one of them (RFC 4898,
        /// `tcpEStatsAppHCThruOctetsAcked`).
        pub bytes_acked: u64,
        /// Octets that came in order. The kernel counts the peer's FIN as one of them.
        pub bytes_received: u64,
        /// The congestion window, in segments.
        pub cwnd: u32,
        /// Octets a second that reached the peer in the last measurement; null without one.
        pub delivery_rate: Option<u64>,
    }
}

names! {
    /// The segment with which a socket was asked.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SocketMoment {
        /// Its FIN.
        Fin = "fin",
        /// Its RST.
        Rst = "rst",
    }
}

object! {
    /// Whose the socket of an end is, by what the kernel knows when the socket sends a SYN or SYN-ACK. What a name stands for is
    /// never guessed: it is null where it is not known.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Owner {
        /// The number of the user; that of the listener for an accepted connection.
        pub uid: u32,
        /// The user's name, by the host's list of users.
        pub user: Option<Arc<str>>,
        /// The path of the cgroup that made the socket, in the second version of the hierarchy.
        pub cgroup: Option<Arc<str>>,
        /// The systemd unit that the cgroup belongs to.
        pub unit: Option<Arc<str>>,
        /// The identifier of the container that the cgroup belongs to.
        pub container: Option<Arc<str>>,
        /// The unique identifier of the Kubernetes pod that the cgroup belongs to.
        pub pod: Option<Arc<str>>,
    }
}

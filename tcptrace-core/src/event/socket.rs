//! What the kernel of this host knows of a connection's end that is its own: the socket, and whose it is.

use super::{
    define::{names, object},
    put::is_default,
};
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
        /// Segments that the socket sent, this one and those that it sent again included.
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
    /// The process that uses an end's socket. The user is known wherever the socket is; the process itself with `--process`. What is
    /// not known is null, never guessed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Process {
        /// The number of the process, as the host sees it.
        pub pid: Option<u32>,
        /// The name of the thread (`/proc/PID/comm`), at most 15 octets.
        pub comm: Option<Arc<str>>,
        /// The path of the program.
        pub exe: Option<Arc<str>>,
        /// The number of the user whom the socket belongs to; that of the listener for an accepted connection.
        pub uid: Option<u32>,
        /// The user's name, by the host's list of users; null in a container, which has a list of its own.
        pub user: Option<Arc<str>>,
        /// What the process did when the kernel told of it.
        pub how: Option<ProcessHow>,
    }
}

names! {
    /// What a process did with a socket.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ProcessHow {
        /// It connected the socket.
        Connect = "connect",
        /// It accepted the connection.
        Accept = "accept",
        /// It closed the socket; nobody was seen to accept it.
        Close = "close",
        /// It bound the socket that listens; nobody was seen to accept the connection yet.
        Listen = "listen",
        /// It had the socket when the trace began.
        Snapshot = "snapshot",
    }
}

object! {
    /// The cgroup that made an end's socket, in the second version of the hierarchy, and what its path stands for.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Cgroup {
        /// The path, from the root of the hierarchy.
        pub path: Arc<str>,
        /// The systemd unit that it belongs to.
        pub unit: Option<Arc<str>>,
        /// The identifier of the container that it belongs to.
        pub container: Option<Arc<str>>,
        /// The unique identifier of the Kubernetes pod that it belongs to.
        pub pod: Option<Arc<str>>,
        /// The pod's name behind its namespace, as `shop/web-0`; left out without `--pod-names`, and where it is not known.
        #[serde(default, skip_serializing_if = "is_default")]
        pub pod_name: Option<Arc<str>>,
    }
}

object! {
    /// How full the queue was in which connections wait to be accepted, of the socket that listens for the connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AcceptQueue {
        /// How many connections waited.
        pub waiting: u32,
        /// How many may wait: the smaller of listen(2)'s `backlog` and `net.core.somaxconn`. The kernel takes one more.
        pub limit: u32,
    }
}

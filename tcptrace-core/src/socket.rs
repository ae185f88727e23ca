//! What the kernel knows of the socket that sent a segment, and who uses it. Only a live trace of a host that is an end of the
//! connection shows it; capture files do not have it.

use std::sync::Arc;
use tcptrace_common::abi;
pub use tcptrace_common::abi::Socket as SocketNumbers;

/// What is known of the socket that sent a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SenderSocket {
    /// The number of the socket, which no other socket gets while the host is up.
    pub cookie: u64,
    /// What the kernel says of it.
    pub facts: SocketFacts,
    /// The process that opened it, or closed it.
    pub process: Option<SocketProcess>,
}

/// What the kernel says of a socket with a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SocketFacts {
    /// Whose the socket is: known with each SYN and SYN-ACK that it sends.
    Owner(SocketOwner),
    /// What the socket knows of the connection: known with each FIN and RST that it sends.
    Numbers(SocketNumbers),
}

/// Whose a socket is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketOwner {
    /// The number of the user whom the socket belongs to.
    pub uid: u32,
    /// The number of the cgroup that made the socket; 0 where it is not known.
    pub cgroup: u64,
    /// The names behind the numbers, as far as the source found them.
    pub names: Option<Arc<OwnerNames>>,
}

impl SocketOwner {
    /// The owner of which a record of the kernel programs tells; its names are not known yet.
    #[must_use]
    pub const fn of(owner: &abi::Owner) -> Self {
        Self { uid: owner.uid, cgroup: owner.cgroup, names: None }
    }
}

/// A process that did something with a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketProcess {
    /// The number of the process.
    pub pid: u32,
    /// The name of its thread, ended by a zero byte.
    pub comm: [u8; 16],
    /// What it did.
    pub how: How,
    /// The path of the program that it runs, where that is known.
    pub exe: Option<Arc<str>>,
}

/// What a process did with a socket when the kernel told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The process connected the socket.
    Connect,
    /// The process bound the socket that listens.
    Listen,
    /// The process accepted the socket.
    Accept,
    /// The process closed the socket.
    Close,
    /// The process had the socket when the trace began.
    Snapshot,
}

impl SocketProcess {
    /// The process of which a record of the kernel programs tells; `Some(None)` where it knows none, and `None` where the record
    /// makes no sense.
    #[must_use]
    pub fn of(process: &abi::Process) -> Option<Option<Self>> {
        if *process == abi::Process::UNKNOWN {
            return Some(None);
        }
        let how = match abi::How::from_code(process.how)? {
            abi::How::Connect => How::Connect,
            abi::How::Listen => How::Listen,
            abi::How::Accept => How::Accept,
            abi::How::Close => How::Close,
        };
        (process.zero == 0).then_some(Some(Self { pid: process.pid, comm: process.comm, how, exe: None }))
    }

    /// The name of the thread.
    #[must_use]
    pub fn comm(&self) -> String {
        let len = self.comm.iter().position(|&byte| byte == 0).unwrap_or(self.comm.len());
        String::from_utf8_lossy(&self.comm[..len]).into_owned()
    }
}

/// How full the accept queue of the socket was that listens for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptQueue {
    /// How many connections waited to be accepted.
    pub waiting: u32,
    /// How many may wait. The queue is full when one more does (`linux/net/sock.h`, `sk_acceptq_is_full`).
    pub limit: u32,
}

impl AcceptQueue {
    /// Whether the listener took no more connections.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.waiting > self.limit
    }
}

/// The names behind the numbers of a socket's owner; each is `None` where it is not known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnerNames {
    /// The user's name.
    pub user: Option<Arc<str>>,
    /// The cgroup, and what it stands for.
    pub cgroup: Option<Arc<CgroupNames>>,
}

/// A cgroup by its path, and what the path says by the conventions of those who make cgroups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CgroupNames {
    /// The path in the hierarchy, from its root: `/system.slice/nginx.service`.
    pub path: Arc<str>,
    /// The unit of systemd: `nginx.service`.
    pub unit: Option<Arc<str>>,
    /// The container's identifier, 64 hexadecimal digits for most runtimes.
    pub container: Option<Arc<str>>,
    /// The unique identifier of the Kubernetes pod.
    pub pod: Option<Arc<str>>,
    /// The pod's name behind its namespace: `shop/web-7d4b9c-x2x4q`.
    pub pod_name: Option<Arc<str>>,
}

//! What the kernel knows of the socket that sent a segment. Only a live trace of a host that is an end of the connection shows
//! it; capture files do not have it.

use std::sync::Arc;
use tcptrace_common::abi;
pub use tcptrace_common::abi::Socket as SocketNumbers;

/// What the kernel knows of the socket that sent a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SenderSocket {
    /// Whose the socket is: known with each SYN and SYN-ACK that it sends.
    Owner(SocketOwner),
    /// What the socket knows of the connection: known with each FIN and RST that it sends.
    Numbers(SocketNumbers),
}

/// Whose a socket is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketOwner {
    /// The number of the socket, which no other socket gets while the host is up.
    pub cookie: u64,
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
        Self { cookie: owner.cookie, uid: owner.uid, cgroup: owner.cgroup, names: None }
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
}

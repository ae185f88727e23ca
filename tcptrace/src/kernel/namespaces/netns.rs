//! Network namespaces: finds the one that is meant, and does what is about interfaces inside it.
//!
//! setns(2) moves one thread. Sockets and BPF links stay in the namespace that they were made in, so the thread
//! goes back each time, and everything else that it does is done at home.

use super::found::Found;
use crate::near::{Suggestion, near_names};
use rustix::{
    io::Errno,
    thread::{CapabilitySet, LinkNameSpaceType, capabilities, move_into_link_name_space},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use thiserror::Error;

/// Where `ip netns` keeps names; the second is mostly a link to the first.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a network namespace cannot be entered.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// There is none of this name.
    #[error("no such network namespace: {name}{}; ip netns lists them", Suggestion(.near))]
    NotFound {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Vec<String>,
    },
    /// There is no process of this number, or it has ended.
    #[error("no process {pid} to take the network namespace of{}", if *.named {
        format!(" (for the one that is called so: --netns /run/netns/{pid})")
    } else {
        String::new()
    })]
    NoProcess {
        /// What was asked for.
        pid: String,
        /// A namespace has this number as its name.
        named: bool,
    },
    /// What was found is something else, or a name whose namespace is gone.
    #[error("{name} is not a network namespace; ip netns lists those that have a name")]
    NotNamespace {
        /// What was asked for.
        name: String,
    },
    /// The kernel does not let us in.
    #[error("not permitted to enter network namespace {name}: {why}")]
    NotPermitted {
        /// What was asked for.
        name: String,
        /// What is missing.
        why: &'static str,
    },
    /// It is not where it was any more.
    #[error("network namespace {name} is gone")]
    Gone {
        /// What it was called.
        name: String,
    },
    /// Not all can be traced.
    #[error(
        "not permitted to trace all network namespaces: {missing} missing; run as root, or setcap \
         cap_sys_admin,cap_sys_ptrace,cap_net_admin,cap_net_broadcast+ep on the binary"
    )]
    NotPermittedAll {
        /// Capabilities.
        missing: String,
    },
    /// Anything else.
    #[error("cannot enter network namespace {name}: {source}")]
    Io {
        /// What was asked for.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Which network namespaces the interfaces are in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Namespaces {
    /// The thread's own.
    #[default]
    Own,
    /// One, as [`Netns::open`] takes it.
    Named(String),
    /// All that there are, and those that come later.
    All,
}

/// The namespace whose interfaces are meant: the thread's own, unless another was opened or found. As long as one is
/// open, the kernel keeps it; one that was found is opened for each visit.
#[derive(Clone, Debug, Default)]
pub struct Netns(Option<Arc<Other>>);

#[derive(Debug)]
struct Other {
    name: String,
    there: There,
    home: Home,
}

#[derive(Debug)]
enum There {
    Open(File),
    Found { inode: u64, paths: Mutex<Vec<PathBuf>> },
}

/// The thread's own namespace, to come back to.
#[derive(Clone, Debug)]
pub(crate) struct Home(Arc<File>);

impl Home {
    /// Where the thread is.
    pub(crate) fn open() -> io::Result<Self> {
        File::open(OWN).map(|file| Self(Arc::new(file)))
    }

    /// Its inode number.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        self.0.metadata().map(|file| file.ino())
    }

    /// Runs `f`, which may go where it likes, and comes back.
    pub(crate) fn and_back<R>(&self, name: &str, f: impl FnOnce() -> R) -> Result<R, NetnsError> {
        let away = Away { name, home: self };
        let result = f();
        away.come_back()?;
        Ok(result)
    }
}

impl AsFd for Home {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Netns {
    /// By a name as of `ip netns`, a path (with a '/'), or the number of a process that is in it; without any,
    /// the thread's own.
    pub fn open(name: Option<&str>) -> Result<Self, NetnsError> {
        let Some(name) = name else { return Ok(Self::default()) };
        let there = There::Open(find(name)?);
        let home = Home::open().map_err(|source| NetnsError::Io { name: name.to_owned(), source })?;
        // To go where it is moves a thread nowhere, but asks for what coming back will need.
        move_to(name, home.as_fd())?;
        let netns = Self(Some(Arc::new(Other { name: name.to_owned(), there, home })));
        netns.within(|| ())?;
        Ok(netns)
    }

    /// One that was found, which it does not keep. `home` is where the thread is.
    pub(crate) fn found(found: &Found, name: &str, home: &Home) -> Self {
        let there = There::Found { inode: found.inode, paths: Mutex::new(found.paths()) };
        Self(Some(Arc::new(Other { name: name.to_owned(), there, home: home.clone() })))
    }

    /// It was found again, perhaps elsewhere.
    pub(crate) fn found_again(&self, again: &Found) {
        if let Some(Other { there: There::Found { paths, .. }, .. }) = self.0.as_deref() {
            *paths.lock().unwrap_or_else(PoisonError::into_inner) = again.paths();
        }
    }

    /// Runs `f` with a descriptor of the namespace, without going there.
    pub(crate) fn with_descriptor<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> R) -> Result<R, NetnsError> {
        if let Some(other) = &self.0 {
            return Ok(f(other.there()?.as_fd()));
        }
        let own = Home::open().map_err(|source| NetnsError::Io { name: "of our own".into(), source })?;
        Ok(f(own.as_fd()))
    }

    /// How the user called it; None is the thread's own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref().map(|other| &*other.name)
    }

    /// Runs `f` with the thread inside, and comes back. Not to be nested, and for the thread that opened it.
    pub fn within<R>(&self, f: impl FnOnce() -> R) -> Result<R, NetnsError> {
        let Some(other) = &self.0 else { return Ok(f()) };
        move_to(&other.name, other.there()?.as_fd())?;
        other.home.and_back(&other.name, f)
    }
}

/// An open namespace, kept or for a moment.
enum Opened<'a> {
    Kept(&'a File),
    Briefly(File),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Kept(file) => file.as_fd(),
            Self::Briefly(file) => file.as_fd(),
        }
    }
}

impl Other {
    fn there(&self) -> Result<Opened<'_>, NetnsError> {
        let (wanted, paths) = match &self.there {
            There::Open(file) => return Ok(Opened::Kept(file)),
            There::Found { inode, paths } => (*inode, paths.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let mut denied = false;
        for path in &*paths {
            match open(path) {
                // A number of a process, or a name, may be another's by now.
                Ok(file) if file.metadata().is_ok_and(|it| it.ino() == wanted) => {
                    return Ok(Opened::Briefly(file));
                }
                Err(error) => denied |= error.kind() == io::ErrorKind::PermissionDenied,
                Ok(_) => {}
            }
        }
        let name = self.name.clone();
        Err(if denied {
            NetnsError::NotPermitted {
                name,
                why: "CAP_SYS_PTRACE missing to look at its processes; run as root",
            }
        } else {
            NetnsError::Gone { name }
        })
    }
}

fn move_to(name: &str, namespace: BorrowedFd<'_>) -> Result<(), NetnsError> {
    let name = || name.to_owned();
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).map_err(|error| {
        match error {
            // kernel/nsproxy.c, setns: a file that is no namespace, or one of another type.
            Errno::INVAL => NetnsError::NotNamespace { name: name() },
            Errno::PERM => NetnsError::NotPermitted { name: name(), why: why_not() },
            error => NetnsError::Io { name: name(), source: error.into() },
        }
    })
}

/// The thread may not be at home. A panic brings it back, too.
struct Away<'a> {
    name: &'a str,
    home: &'a Home,
}

impl Away<'_> {
    fn come_back(self) -> Result<(), NetnsError> {
        let back = move_to(self.name, self.home.as_fd());
        std::mem::forget(self);
        back
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        // The panic says more.
        let _ = move_to(self.name, self.home.as_fd());
    }
}

/// What tracing all namespaces needs and this thread does not have, for a person: to enter them, and to hear of them
/// (`net/netlink/af_netlink.c`, `do_one_broadcast`).
pub(crate) fn may_trace_all() -> Result<(), NetnsError> {
    let Ok(sets) = capabilities(None) else { return Ok(()) };
    let missing: Vec<_> =
        [("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN), ("CAP_NET_BROADCAST", CapabilitySet::NET_BROADCAST)]
            .into_iter()
            .filter(|(_, wanted)| !sets.effective.contains(*wanted))
            .map(|(name, _)| name)
            .collect();
    if missing.is_empty() { Ok(()) } else { Err(NetnsError::NotPermittedAll { missing: missing.join(", ") }) }
}

/// What the kernel asks for to enter (`net/core/net_namespace.c`, `netns_install`).
fn why_not() -> &'static str {
    if capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)) {
        "it belongs to another user namespace, where CAP_SYS_ADMIN is missing; run on the host itself"
    } else {
        "CAP_SYS_ADMIN missing; run as root, or setcap cap_sys_admin,cap_net_admin+ep on the binary"
    }
}

fn find(name: &str) -> Result<File, NetnsError> {
    let owned = || name.to_owned();
    let is_pid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let found = if name.contains('/') {
        open(Path::new(name))
    } else if is_pid {
        open(&Path::new("/proc").join(name).join("ns/net"))
    } else {
        let paths = NAMED.iter().map(|directory| Path::new(directory).join(name));
        paths.map(|path| open(&path)).reduce(Result::or).unwrap_or_else(|| Err(Errno::NOENT.into()))
    };
    found.map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::SRCH) if is_pid => {
            let named = NAMED.iter().any(|directory| Path::new(directory).join(name).exists());
            NetnsError::NoProcess { pid: owned(), named }
        }
        Some(Errno::NOENT | Errno::NOTDIR) => {
            NetnsError::NotFound { name: owned(), near: near_names(name, names().iter().map(|it| &**it)) }
        }
        Some(Errno::ACCESS | Errno::PERM) if is_pid => NetnsError::NotPermitted {
            name: owned(),
            why: "CAP_SYS_PTRACE missing to look at that process; run as root",
        },
        _ => NetnsError::Io { name: owned(), source },
    })
}

/// Does not wait for whoever might open the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Those that have a name.
fn names() -> Vec<String> {
    let entries = NAMED.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> String {
        Netns::open(Some(name)).map(|netns| netns.name().map(str::to_owned)).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_not_there_is_said_in_one_line() {
        // Above every limit of process numbers (include/linux/threads.h, PID_MAX_LIMIT).
        assert_eq!(refusal("4194305"), "no process 4194305 to take the network namespace of");
        for name in ["no-such-namespace-of-anybody", "/no/such/file", "/dev/null/net"] {
            let said = refusal(name);
            assert!(said.starts_with(&format!("no such network namespace: {name}")), "{said}");
        }
        let near = vec!["blue".to_owned()];
        assert_eq!(
            NetnsError::NotFound { name: "bleu".into(), near }.to_string(),
            "no such network namespace: bleu (did you mean blue?); ip netns lists them"
        );
        assert_eq!(
            NetnsError::NoProcess { pid: "7".into(), named: true }.to_string(),
            "no process 7 to take the network namespace of (for the one that is called so: --netns \
             /run/netns/7)"
        );
    }

    #[test]
    fn without_a_name_nothing_is_entered() {
        let own = Netns::open(None).expect("nothing to open");
        assert_eq!((own.name(), own.within(|| 1).expect("nothing to enter")), (None, 1));
    }
}

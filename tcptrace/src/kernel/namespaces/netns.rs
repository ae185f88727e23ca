//! A network namespace by its name, path or process, and a way to run code inside it.
//!
//! setns(2) moves one thread. Sockets and BPF links stay in the namespace that they were made in, so the thread goes
//! back each time, and does everything else in its own namespace.

use super::found::FoundNamespace;
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

/// The folders where `ip netns` keeps names; the second is mostly a link to the first.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// The thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a network namespace cannot be entered.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// There is no namespace of this name.
    #[error("no such network namespace: {name}{}; ip netns lists them", Suggestion(.near))]
    NotFound {
        /// The name or path that was asked for.
        name: String,
        /// The names that may have been meant.
        near: Vec<String>,
    },
    /// There is no process of this number, or it has ended.
    #[error("no process {pid} to take the network namespace of{}", if *.named {
        format!(" (for the one that is called so: --netns /run/netns/{pid})")
    } else {
        String::new()
    })]
    NoProcess {
        /// The number that was asked for.
        pid: String,
        /// Whether a namespace has this number as its name.
        named: bool,
    },
    /// The file that was found is no network namespace, or the namespace of the name is gone.
    #[error("{name} is not a network namespace; ip netns lists those that have a name")]
    NotNamespace {
        /// The name or path that was asked for.
        name: String,
    },
    /// The kernel does not permit to enter the namespace.
    #[error("not permitted to enter network namespace {name}: {why}")]
    NotPermitted {
        /// The namespace, as it was asked for or is named.
        name: String,
        /// What is missing.
        why: &'static str,
    },
    /// The namespace is gone, or no longer where it was found.
    #[error("network namespace {name} is gone")]
    Gone {
        /// The namespace's name.
        name: String,
    },
    /// The process lacks capabilities that tracing all namespaces needs.
    #[error(
        "not permitted to trace all network namespaces: {missing} missing; run as root, or setcap \
         cap_sys_admin,cap_sys_ptrace,cap_net_admin,cap_net_broadcast+ep on the binary"
    )]
    NotPermittedAll {
        /// The missing capabilities.
        missing: String,
    },
    /// The namespace cannot be entered for another reason.
    #[error("cannot enter network namespace {name}: {source}")]
    Io {
        /// The namespace, as it was asked for or is named.
        name: String,
        /// Why it cannot be entered.
        source: io::Error,
    },
}

/// Which network namespaces the interfaces are in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Namespaces {
    /// The interfaces are in the thread's own namespace.
    #[default]
    Own,
    /// The interfaces are in one namespace, given as [`Netns::open`] takes it.
    Named(String),
    /// The interfaces are in all namespaces, also those that come later.
    All,
}

/// A namespace to run code in: the thread's own, or another one that was opened or found. The kernel keeps a namespace
/// as long as it is open; one that was found is opened only for each visit.
#[derive(Clone, Debug, Default)]
pub struct Netns(Option<Arc<Other>>);

/// A namespace that is not the thread's own.
#[derive(Debug)]
struct Other {
    name: String,
    way: Way,
    home: Home,
}

/// How a namespace is entered.
#[derive(Debug)]
enum Way {
    /// By a file that stays open.
    Open(File),
    /// By one of these files, if it has this inode number.
    Found { inode: u64, paths: Mutex<Vec<PathBuf>> },
}

/// The thread's own namespace, which it comes back to.
#[derive(Clone, Debug)]
pub(crate) struct Home(Arc<File>);

impl Home {
    /// Opens the namespace that the thread is in.
    pub(crate) fn open() -> io::Result<Self> {
        File::open(OWN).map(|file| Self(Arc::new(file)))
    }

    /// The namespace's inode number.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        self.0.metadata().map(|file| file.ino())
    }

    /// Runs `f`, which may move the thread to another namespace, and moves the thread back. `name` is of that
    /// namespace, for an error.
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
    /// Opens a namespace by a name of `ip netns`, by a path (which has a '/'), or by the number of a process that is in
    /// it. Without a name it is the thread's own.
    pub fn open(name: Option<&str>) -> Result<Self, NetnsError> {
        let Some(name) = name else { return Ok(Self::default()) };
        let way = Way::Open(find(name)?);
        let home = Home::open().map_err(|source| NetnsError::Io { name: name.to_owned(), source })?;
        // Moving the thread into its own namespace changes nothing, but fails now if coming back later would.
        move_to(name, home.as_fd())?;
        let netns = Self(Some(Arc::new(Other { name: name.to_owned(), way, home })));
        netns.within(|| ())?;
        Ok(netns)
    }

    /// A namespace that a survey found. It is not kept open. `home` is the thread's own namespace.
    pub(crate) fn found(found: &FoundNamespace, name: &str, home: &Home) -> Self {
        let way = Way::Found { inode: found.inode, paths: Mutex::new(found.paths()) };
        Self(Some(Arc::new(Other { name: name.to_owned(), way, home: home.clone() })))
    }

    /// Takes over the files by which a later survey found that the namespace can be entered.
    pub(crate) fn found_again(&self, again: &FoundNamespace) {
        if let Some(Other { way: Way::Found { paths, .. }, .. }) = self.0.as_deref() {
            *paths.lock().unwrap_or_else(PoisonError::into_inner) = again.paths();
        }
    }

    /// Runs `f` with a descriptor of the namespace, without entering it.
    pub(crate) fn with_descriptor<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> R) -> Result<R, NetnsError> {
        if let Some(other) = &self.0 {
            return Ok(f(other.open()?.as_fd()));
        }
        let own = Home::open().map_err(|source| NetnsError::Io { name: "of our own".into(), source })?;
        Ok(f(own.as_fd()))
    }

    /// The namespace's name, as the user gave it or a survey found it; None for the thread's own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref().map(|other| &*other.name)
    }

    /// Runs `f` with the thread inside the namespace, and comes back. It is for the thread that opened the namespace,
    /// and must not be nested.
    pub fn within<R>(&self, f: impl FnOnce() -> R) -> Result<R, NetnsError> {
        let Some(other) = &self.0 else { return Ok(f()) };
        move_to(&other.name, other.open()?.as_fd())?;
        other.home.and_back(&other.name, f)
    }
}

/// A namespace that is open, for as long as it is known or for a moment.
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
    fn open(&self) -> Result<Opened<'_>, NetnsError> {
        let (wanted, paths) = match &self.way {
            Way::Open(file) => return Ok(Opened::Kept(file)),
            Way::Found { inode, paths } => (*inode, paths.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let mut denied = false;
        for path in &*paths {
            match open(path) {
                // Another process may have the number by now, or another namespace the name: the inode number tells.
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

/// Moves the thread into a namespace. `name` is for an error.
fn move_to(name: &str, namespace: BorrowedFd<'_>) -> Result<(), NetnsError> {
    let name = || name.to_owned();
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).map_err(|error| {
        match error {
            // The file is no namespace, or one of another type (kernel/nsproxy.c, setns).
            Errno::INVAL => NetnsError::NotNamespace { name: name() },
            Errno::PERM => NetnsError::NotPermitted { name: name(), why: why_not() },
            error => NetnsError::Io { name: name(), source: error.into() },
        }
    })
}

/// Moves the thread back to its own namespace when it is dropped, so that a panic does not leave it elsewhere.
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
        // This runs only in a panic, which says more than an error would.
        let _ = move_to(self.name, self.home.as_fd());
    }
}

/// An error if this thread lacks a capability that tracing all namespaces needs: one is for entering them, and one for
/// hearing of them (`net/netlink/af_netlink.c`, `do_one_broadcast`).
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

/// Why the kernel does not permit to enter a namespace: it asks for `CAP_SYS_ADMIN` in the user namespace that the
/// namespace belongs to, and in the thread's own (`net/core/net_namespace.c`, `netns_install`).
fn why_not() -> &'static str {
    if capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)) {
        "it belongs to another user namespace, where CAP_SYS_ADMIN is missing; run on the host itself"
    } else {
        "CAP_SYS_ADMIN missing; run as root, or setcap cap_sys_admin,cap_net_admin+ep on the binary"
    }
}

/// Opens the file of the namespace that the user named.
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

/// Opens a file for reading. If it is a pipe, it does not wait for a writer.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The names that `ip netns` has.
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

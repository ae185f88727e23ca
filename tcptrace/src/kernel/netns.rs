//! Network namespaces: finds the one that is meant, and does what is about interfaces inside it.
//!
//! setns(2) moves one thread. Sockets and BPF links stay in the namespace that they were made in, so the thread
//! goes back each time, and everything else that it does is done at home.

use super::interface::{Suggestion, near_names};
use rustix::{
    io::Errno,
    thread::{CapabilitySet, LinkNameSpaceType, capabilities, move_into_link_name_space},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
    sync::Arc,
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
    /// Anything else.
    #[error("cannot enter network namespace {name}: {source}")]
    Io {
        /// What was asked for.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// The namespace whose interfaces are meant: the thread's own, unless another was opened. As long as it is open,
/// the kernel keeps it.
#[derive(Clone, Debug, Default)]
pub struct Netns(Option<Arc<Other>>);

#[derive(Debug)]
struct Other {
    name: String,
    there: File,
    home: File,
}

impl Netns {
    /// By a name as of `ip netns`, a path (with a '/'), or the number of a process that is in it; without any,
    /// the thread's own.
    pub fn open(name: Option<&str>) -> Result<Self, NetnsError> {
        let Some(name) = name else { return Ok(Self::default()) };
        let there = find(name)?;
        let home = File::open(OWN).map_err(|source| NetnsError::Io { name: name.to_owned(), source })?;
        let other = Other { name: name.to_owned(), there, home };
        // To go where it is moves a thread nowhere, but asks for what coming back will need.
        other.move_to(&other.home)?;
        let netns = Self(Some(Arc::new(other)));
        netns.within(|| ())?;
        Ok(netns)
    }

    /// How the user called it; None is the thread's own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref().map(|other| &*other.name)
    }

    /// Runs `f` with the thread inside, and comes back. Not to be nested, and for the thread that opened it.
    pub fn within<R>(&self, f: impl FnOnce() -> R) -> Result<R, NetnsError> {
        let Some(other) = &self.0 else { return Ok(f()) };
        other.move_to(&other.there)?;
        let inside = Inside(other);
        let result = f();
        inside.leave()?;
        Ok(result)
    }
}

impl Other {
    fn move_to(&self, namespace: &File) -> Result<(), NetnsError> {
        let name = || self.name.clone();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| {
            match error {
                // kernel/nsproxy.c, setns: a file that is no namespace, or one of another type.
                Errno::INVAL => NetnsError::NotNamespace { name: name() },
                Errno::PERM => NetnsError::NotPermitted { name: name(), why: why_not() },
                error => NetnsError::Io { name: name(), source: error.into() },
            }
        })
    }
}

/// The thread is there and not at home. A panic brings it back, too.
struct Inside<'a>(&'a Other);

impl Inside<'_> {
    fn leave(self) -> Result<(), NetnsError> {
        let left = self.0.move_to(&self.0.home);
        std::mem::forget(self);
        left
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // The panic says more.
        let _ = self.0.move_to(&self.0.home);
    }
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

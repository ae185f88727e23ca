//! A network namespace that a survey found: where it can be entered, and its name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folders whose mounts are named by the file's name alone.
const NAMED: [&str; 4] = ["/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns"];
/// How many hexadecimal digits a container's identifier has.
const CONTAINER_DIGITS: usize = 64;
/// How many digits of it are shown, as Docker does.
const CONTAINER_SHORT: usize = 12;

/// A network namespace that a survey found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNamespace {
    /// The namespace's inode number, which no other namespace has: all are in one file system.
    pub inode: u64,
    /// Where the namespace is mounted.
    pub(super) mount: Option<PathBuf>,
    /// The numbers of a process, and of a thread of it that is in the namespace.
    pub(super) task: Option<(u32, u32)>,
}

impl FoundNamespace {
    pub(super) const fn new(inode: u64) -> Self {
        Self { inode, mount: None, task: None }
    }

    /// The files by which the namespace can be entered, the likeliest first.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let task = self.task.map(|(process, task)| format!("/proc/{process}/task/{task}/ns/net").into());
        self.mount.iter().cloned().chain(task).collect()
    }

    /// Whether the namespace has a name of its own, instead of that of a container or process in it.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.mount.is_some()
    }

    /// The namespace's name: the one that `ip netns` or Docker gave it, or else where it is mounted, the container in
    /// it, or a process in it.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(mount) = &self.mount {
            let name = if is_named(mount) { mount.file_name() } else { None };
            return name.unwrap_or(mount.as_os_str()).to_string_lossy().into_owned();
        }
        let Some((process, _)) = self.task else { return format!("net:[{}]", self.inode) };
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        container(&groups).map_or_else(|| format!("pid:{process}"), str::to_owned)
    }

    /// The namespace's name, with the inode number behind it if another namespace has the name.
    #[must_use]
    pub fn name_beside(&self, is_taken: impl FnOnce(&str) -> bool) -> String {
        let name = self.name();
        if is_taken(&name) { format!("{name}@{}", self.inode) } else { name }
    }
}

/// Whether a mount is in a folder of names, so that its file's name is the namespace's name.
pub(super) fn is_named(mount: &Path) -> bool {
    NAMED.iter().any(|directory| mount.parent() == Some(Path::new(directory)))
}

/// The short identifier of a container, found in the control groups of a process. Docker, containerd, CRI-O and Podman
/// put the identifier's 64 hexadecimal digits into a group's name, each with other words around it.
pub(crate) fn container(groups: &str) -> Option<&str> {
    groups
        .split(|c: char| !c.is_ascii_hexdigit())
        .rfind(|word| word.len() == CONTAINER_DIGITS)
        .map(|word| &word[..CONTAINER_SHORT])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_called_as_whoever_made_it_calls_it() {
        let name =
            |mount: &str| FoundNamespace { mount: Some(mount.into()), ..FoundNamespace::new(1) }.name();
        assert_eq!(name("/run/netns/blue"), "blue");
        assert_eq!(name("/run/docker/netns/c0ffee"), "c0ffee");
        assert_eq!(name("/srv/other"), "/srv/other");
        assert_eq!(
            FoundNamespace { task: Some((u32::MAX, 1)), ..FoundNamespace::new(1) }.name(),
            "pid:4294967295"
        );
        assert_eq!(FoundNamespace::new(7).name(), "net:[7]");
    }

    #[test]
    fn a_container_is_known_by_its_control_group() {
        let id = "0123456789abcdef".repeat(4);
        for around in [
            "0::/system.slice/docker-ID.scope\n",
            "12:pids:/docker/ID\n0::/\n",
            "0::/a/cri-containerd-ID.scope",
        ] {
            assert_eq!(container(&around.replace("ID", &id)), Some("0123456789ab"), "{around}");
        }
        assert_eq!(container("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
    }
}

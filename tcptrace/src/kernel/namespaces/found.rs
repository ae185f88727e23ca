//! A network namespace that was found: where it can be entered, and what to call it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Mounts in here are called by their file's name.
const NAMED: [&str; 4] = ["/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns"];
/// Digits of a container's identifier, and how many of them people write.
const CONTAINER_DIGITS: usize = 64;
const CONTAINER_SHORT: usize = 12;

/// One namespace that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its inode number: there is one file system of them.
    pub inode: u64,
    /// Where it is mounted.
    pub(super) mount: Option<PathBuf>,
    /// A process, and a thread of it, that is there.
    pub(super) task: Option<(u32, u32)>,
}

impl Found {
    pub(super) const fn new(inode: u64) -> Self {
        Self { inode, mount: None, task: None }
    }

    /// Where it can be entered, the likeliest first.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let task = self.task.map(|(process, task)| format!("/proc/{process}/task/{task}/ns/net").into());
        self.mount.iter().cloned().chain(task).collect()
    }

    /// It has a name of its own, not one by who is in it.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.mount.is_some()
    }

    /// What to call it: as `ip netns` or Docker do, by where it is mounted, by the container, by a process.
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

    /// Its name, or where another has that, one that no other has.
    #[must_use]
    pub fn name_beside(&self, is_taken: impl FnOnce(&str) -> bool) -> String {
        let name = self.name();
        if is_taken(&name) { format!("{name}@{}", self.inode) } else { name }
    }
}

/// A mount has a name, not only a path.
pub(super) fn is_named(mount: &Path) -> bool {
    NAMED.iter().any(|directory| mount.parent() == Some(Path::new(directory)))
}

/// A container's identifier among control groups: 64 hexadecimal digits, as Docker, containerd, CRI-O and Podman name
/// theirs, each with something else around.
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
        let name = |mount: &str| Found { mount: Some(mount.into()), ..Found::new(1) }.name();
        assert_eq!(name("/run/netns/blue"), "blue");
        assert_eq!(name("/run/docker/netns/c0ffee"), "c0ffee");
        assert_eq!(name("/srv/other"), "/srv/other");
        assert_eq!(Found { task: Some((u32::MAX, 1)), ..Found::new(1) }.name(), "pid:4294967295");
        assert_eq!(Found::new(7).name(), "net:[7]");
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

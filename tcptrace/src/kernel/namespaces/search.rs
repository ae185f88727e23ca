//! Finds network namespaces: those that are mounted somewhere, and those that a thread is in.
//!
//! The kernel has no list of namespaces. Named ones are mounts (`ip netns`, Docker, CNI), so the table of mounts has
//! them all and tells when it changes. The others have threads in them, which show in /proc. A namespace that is kept
//! only by a descriptor, or by a mount that this thread does not see, is not found.

use super::{
    found::{FoundNamespace, is_named},
    netns::{Home, Netns, NetnsError, may_trace_all},
};
use crate::kernel::{
    calls::proc::{numbers, unescaped},
    interfaces::{self, Interface, InterfaceError},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The table of the mounts that the calling thread sees.
const MOUNTS: &str = "/proc/thread-self/mountinfo";
/// The most namespaces that are traced at once. With XDP each takes about 1 MiB here and half of one in the kernel, for
/// its copy of the programs.
pub(crate) const MOST: usize = 1024;

/// The interfaces of all namespaces, as [`interfaces()`] lists them.
pub struct AllInterfaces {
    /// The interfaces. Those of the thread's own namespace come first; the names of the others are `NETNS/NAME`.
    pub interfaces: Vec<Interface>,
    /// The names of namespaces whose interfaces could not be listed, with the reason.
    pub left_out: Vec<(String, InterfaceError)>,
}

/// The reason why a namespace is not traced beside [`MOST`] others.
pub(crate) fn no_more() -> String {
    format!("{MOST} are, the most at once; nor is any other until one ends")
}

/// Lists the interfaces of all namespaces.
pub fn interfaces() -> Result<AllInterfaces, InterfaceError> {
    may_trace_all()?;
    let failed = |source| InterfaceError::Netlink { what: "network namespaces", source };
    let home = Home::open().map_err(failed)?;
    let own = home.inode().map_err(failed)?;
    let (mut interfaces, mut left_out) = (interfaces::list()?, Vec::new());
    let mut of_others = BTreeMap::new();
    for found in survey().found.into_values().filter(|found| found.inode != own) {
        let name = found.name_beside(|name| of_others.contains_key(name));
        let listed = Netns::found(&found, &name, &home).within(interfaces::list);
        of_others.insert(name, listed.map_err(InterfaceError::from).and_then(|listed| listed));
    }
    for (netns, listed) in of_others {
        match listed {
            Ok(listed) => interfaces.extend(listed.into_iter().map(|it| it.within(&netns))),
            // The namespace ended meanwhile.
            Err(InterfaceError::Netns(NetnsError::Gone { .. })) => {}
            Err(error) => left_out.push((netns, error)),
        }
    }
    Ok(AllInterfaces { interfaces, left_out })
}

/// The namespaces that there are.
#[derive(Debug, Default)]
pub struct NamespaceSurvey {
    /// The namespaces that were found, by inode number.
    pub found: BTreeMap<u64, FoundNamespace>,
    /// How many processes may not be looked at.
    pub hidden: u64,
    /// How long the survey took.
    pub took: Duration,
}

/// Opens the table of mounts, to wait for its changes. After each change poll(2) finds priority data in it, which need
/// not be read (`fs/proc_namespace.c`, `mounts_poll`).
pub fn mount_changes() -> io::Result<File> {
    File::open(MOUNTS)
}

/// Looks for namespaces in the table of mounts and in /proc. It blocks for some microseconds for each thread of the
/// system.
#[must_use]
pub fn survey() -> NamespaceSurvey {
    let start = Instant::now();
    let mut survey = NamespaceSurvey::default();
    // If the table of mounts or /proc cannot be read, fewer namespaces are found.
    for (inode, mount) in mounts(&fs::read(MOUNTS).unwrap_or_default()) {
        let found = survey.found.entry(inode).or_insert_with(|| FoundNamespace::new(inode));
        let better = found.mount.as_ref().is_none_or(|before| !is_named(before) && is_named(&mount));
        if better {
            found.mount = Some(mount);
        }
    }
    for process in numbers("/proc") {
        survey.add_process(process);
    }
    survey.took = start.elapsed();
    survey
}

impl NamespaceSurvey {
    /// Adds the namespaces that threads of a process are in.
    fn add_process(&mut self, process: u32) {
        let tasks = format!("/proc/{process}/task");
        for task in numbers(&tasks) {
            match inode(format!("{tasks}/{task}/ns/net")) {
                Ok(inode) => {
                    let found = self.found.entry(inode).or_insert_with(|| FoundNamespace::new(inode));
                    found.task.get_or_insert((process, task));
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.hidden += 1;
                    return;
                }
                // The thread has ended.
                Err(_) => {}
            }
        }
    }
}

/// The inode number of the namespace that a link in /proc leads to.
fn inode(link: impl AsRef<Path>) -> io::Result<u64> {
    let target = fs::read_link(link)?;
    of_link(target.as_os_str().as_bytes()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The inode number in the text of such a link, which is like `net:[4026531840]`.
pub(crate) fn of_link(text: &[u8]) -> Option<u64> {
    let number = text.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The inode numbers and paths of the network namespaces in a table of mounts (`proc_pid_mountinfo(5)`): the fourth
/// field of a line is the namespace, and the fifth where it is mounted.
pub(crate) fn mounts(table: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let inode = of_link(fields.next()?)?;
        Some((inode, OsString::from_vec(unescaped(fields.next()?)).into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces_are_found_among_others() {
        let table = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            40 22 0:4 net:[4026532300] /run/netns/blue rw shared:2 - nsfs nsfs rw\n\
            41 22 0:4 mnt:[4026532301] /run/mnt rw - nsfs nsfs rw\n\
            42 22 0:4 net:[4026532302] /srv/a\\040b\\134 rw - nsfs nsfs rw\n\
            43 22 0:4 net:[40265323";
        let found: Vec<_> = mounts(table).collect();
        assert_eq!(found, [(4_026_532_300, "/run/netns/blue".into()), (4_026_532_302, "/srv/a b\\".into())]);
    }

    #[test]
    fn the_own_namespace_is_found_with_somebody_in_it() {
        let own = inode("/proc/thread-self/ns/net").expect("every thread has one");
        let survey = survey();
        let found = survey.found.get(&own).expect("this thread is there");
        assert!(found.paths().iter().any(|path| inode(path).is_ok_and(|there| there == own)));
    }
}

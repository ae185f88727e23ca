//! Which network namespaces there are: those that are mounted somewhere, and those that some thread is in.
//!
//! The kernel has no list of them. Names are mounts (`ip netns`, Docker, CNI), so the table of mounts has them all, and
//! says when it changes; whatever else lives in a namespace shows in /proc. One that only a descriptor or a mount
//! elsewhere holds is not found.

use super::{
    found::{Found, is_named},
    netns::{Home, Netns, NetnsError, may_trace_all},
};
use crate::kernel::interfaces::{self, Interface, InterfaceError};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The mounts that the calling thread sees.
const MOUNTS: &str = "/proc/thread-self/mountinfo";
/// Namespaces traced at once. With XDP each takes about 1 MiB here and half of one in the kernel for its copy of the programs.
pub(crate) const MOST: usize = 1024;
/// What [`interfaces()`] finds.
pub struct Interfaces {
    /// Of all namespaces, named `NETNS/NAME` but for those of the thread's own, which come first.
    pub interfaces: Vec<Interface>,
    /// Namespaces that could not be looked into, with the reason.
    pub left_out: Vec<(String, InterfaceError)>,
}

/// Why one is not traced beside [`MOST`] others.
pub(crate) fn no_more() -> String {
    format!("{MOST} are, the most at once; nor is any other until one ends")
}

/// The interfaces of all namespaces.
pub fn interfaces() -> Result<Interfaces, InterfaceError> {
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
            // It ended meanwhile.
            Err(InterfaceError::Netns(NetnsError::Gone { .. })) => {}
            Err(error) => left_out.push((netns, error)),
        }
    }
    Ok(Interfaces { interfaces, left_out })
}

/// All that were found, by inode number.
#[derive(Debug, Default)]
pub struct Survey {
    /// The namespaces.
    pub found: BTreeMap<u64, Found>,
    /// Processes that may not be looked at.
    pub hidden: u64,
    /// How long looking took.
    pub took: Duration,
}

/// The table of mounts. It has priority data, which needs not be read, after each change (`fs/proc_namespace.c`,
/// `mounts_poll`).
pub fn mount_changes() -> io::Result<File> {
    File::open(MOUNTS)
}

/// Looks for namespaces. Blocks for some microseconds a thread.
#[must_use]
pub fn survey() -> Survey {
    let start = Instant::now();
    let mut survey = Survey::default();
    // Without a table of mounts or /proc there is less to be found.
    for (inode, mount) in mounts(&fs::read(MOUNTS).unwrap_or_default()) {
        let found = survey.found.entry(inode).or_insert_with(|| Found::new(inode));
        let better = found.mount.as_ref().is_none_or(|before| !is_named(before) && is_named(&mount));
        if better {
            found.mount = Some(mount);
        }
    }
    for process in numbers("/proc") {
        survey.look_at(process);
    }
    survey.took = start.elapsed();
    survey
}

impl Survey {
    fn look_at(&mut self, process: u32) {
        let tasks = format!("/proc/{process}/task");
        for task in numbers(&tasks) {
            match inode(format!("{tasks}/{task}/ns/net")) {
                Ok(inode) => {
                    let found = self.found.entry(inode).or_insert_with(|| Found::new(inode));
                    found.task.get_or_insert((process, task));
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.hidden += 1;
                    return;
                }
                // It has ended.
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

/// `net:[4026531840]`.
pub(crate) fn of_link(text: &[u8]) -> Option<u64> {
    let number = text.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The entries of a directory that are numbers, in its order, which in /proc is theirs.
fn numbers(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The mounts of network namespaces in a table of mounts (`proc_pid_mountinfo(5)`): the fourth field is the namespace, the
/// fifth where it is.
pub(crate) fn mounts(table: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let inode = of_link(fields.next()?)?;
        Some((inode, OsString::from_vec(unescaped(fields.next()?)).into()))
    })
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let octal = rest.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        plain.push(octal.unwrap_or(first));
        text = if octal.is_some() { &rest[3..] } else { rest };
    }
    plain
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

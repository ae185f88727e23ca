//! The paths of cgroups by their numbers. The number of a cgroup is that of its folder's inode (fs/kernfs/dir.c), so a walk
//! through the folders finds all of them; opening one by its number alone would take a capability that reads every file.

use super::conventions;
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tcptrace_core::socket::CgroupNames;

/// The part of the time that walks may take is one in so many.
const SHARE: u32 = 20;

/// The most cgroups that one walk finds: a host with more keeps the rest nameless.
const MOST: usize = 65_536;

/// The cgroups of the second version of the hierarchy, as the last walk found them.
pub(super) struct Cgroups {
    /// Where the hierarchy is mounted; `None` if it is not.
    root: Option<PathBuf>,
    names: HashMap<u64, Arc<CgroupNames>>,
    /// When the next walk may begin.
    next: Option<Instant>,
}

impl Cgroups {
    /// Finds where the hierarchy is mounted, and walks through it for the first time.
    pub(super) fn open() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut cgroups = Self { root: mounted(&mounts), names: HashMap::new(), next: None };
        cgroups.walk();
        cgroups
    }

    /// The names of the cgroup with this number. If it was not found yet, it may be new.
    pub(super) fn find(&mut self, number: u64, now: Instant) -> Option<Arc<CgroupNames>> {
        if number == 0 {
            return None;
        }
        if !self.names.contains_key(&number) && self.next.is_none_or(|next| now >= next) {
            let begin = Instant::now();
            self.walk();
            self.next = Some(now + (begin.elapsed() * SHARE).max(Duration::from_millis(1)));
        }
        self.names.get(&number).cloned()
    }

    fn walk(&mut self) {
        let Some(root) = &self.root else { return };
        let mut found = HashMap::new();
        if let Ok(metadata) = fs::metadata(root) {
            found.insert(metadata.ino(), self.named(metadata.ino(), "/"));
        }
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            // A folder that is gone by now has no names to tell.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if found.len() < MOST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let path = entry.path();
                    let text = path_from(root, &path);
                    found.insert(entry.ino(), self.named(entry.ino(), &text));
                    folders.push(path);
                }
            }
        }
        self.names = found;
    }

    /// The names of the cgroup at `path`, as they are known already, or new.
    fn named(&self, number: u64, path: &str) -> Arc<CgroupNames> {
        let known = self.names.get(&number).filter(|known| &*known.path == path);
        known.map_or_else(|| Arc::new(conventions::names(path)), Arc::clone)
    }
}

/// The path of a cgroup's folder, from the root of the hierarchy.
fn path_from(root: &Path, folder: &Path) -> String {
    let path = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy();
    format!("/{path}")
}

/// Where the second version of the hierarchy is mounted with all its cgroups, by the list of mounts (`proc_pid_mountinfo(5)`).
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, options) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (options.split(' ').next() == Some("cgroup2") && root == "/").then(|| PathBuf::from(unescaped(place)))
    })
}

/// A path of the list of mounts, in which blanks and the like stand as three octal digits (fs/proc_namespace.c, `mangle`).
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                whole.push(char::from(byte));
                whole.push_str(&part[3..]);
            }
            None => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::{Cgroups, mounted};
    use std::{path::Path, time::Instant};

    const MOUNTS: &str = "\
22 1 0:20 / /proc rw - proc proc rw
30 24 0:27 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,name=systemd
31 24 0:28 /a/container /mnt rw - cgroup2 cgroup2 rw
32 24 0:28 / /sys/fs/my\\040groups rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_hierarchy_is_where_all_of_it_is_mounted() {
        assert_eq!(mounted(MOUNTS).as_deref(), Some(Path::new("/sys/fs/my groups")));
        assert_eq!(mounted("22 1 0:20 / /proc rw - proc proc rw\nx\n"), None);
    }

    #[test]
    fn without_the_hierarchy_nothing_is_known() {
        let mut none = Cgroups { root: None, names: std::collections::HashMap::new(), next: None };
        assert_eq!(none.find(1, Instant::now()), None);
    }
}

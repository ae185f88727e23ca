//! The paths of cgroups by their numbers. The number of a cgroup is that of its folder's inode (fs/kernfs/dir.c), so a walk
//! through the folders finds all of them; opening one by its number alone would take a capability that reads every file.

use super::{super::hierarchy, conventions, pods::Pods};
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
    pods: Pods,
    /// When the next walk may begin.
    next: Option<Instant>,
}

impl Cgroups {
    /// Finds where the hierarchy is mounted, and walks through it for the first time.
    pub(super) fn open(pods: Pods) -> Self {
        let mut cgroups = Self { root: hierarchy::root(), names: HashMap::new(), pods, next: None };
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
        self.pods.read();
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
        let mut names = known.map_or_else(|| Arc::new(conventions::names(path)), Arc::clone);
        if names.pod_name.is_none()
            && let Some(name) = names.pod.as_deref().and_then(|uid| self.pods.find(uid))
        {
            Arc::make_mut(&mut names).pod_name = Some(name);
        }
        names
    }
}

/// The path of a cgroup's folder, from the root of the hierarchy.
fn path_from(root: &Path, folder: &Path) -> String {
    let path = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy();
    format!("/{path}")
}

#[cfg(test)]
mod tests {
    use super::{Cgroups, Pods};
    use std::{collections::HashMap, time::Instant};

    #[test]
    fn without_the_hierarchy_nothing_is_known() {
        let mut none = Cgroups { root: None, names: HashMap::new(), pods: Pods::default(), next: None };
        assert_eq!(none.find(1, Instant::now()), None);
    }
}

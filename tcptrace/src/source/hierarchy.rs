//! The hierarchy of cgroups: its second version, and whether there is the first.

use crate::kernel::calls::proc::unescaped;
use std::{
    cmp::Reverse, collections::HashMap, ffi::OsString, fs, os::unix::ffi::OsStringExt as _, path::PathBuf,
};

/// What to say where the hierarchy is not mounted.
pub(crate) const NOT_MOUNTED: &str = "the hierarchy of cgroups is not mounted in its second version; mount it, as in \
     `mount -t cgroup2 none /sys/fs/cgroup`";

/// Where the hierarchy is mounted with all its cgroups; `None` if it is not.
pub(crate) fn root() -> Option<PathBuf> {
    mounted(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The same, by the list of mounts (`proc_pid_mountinfo(5)`). A process in a cgroup namespace of its own sees roots as
/// they lie from its own cgroup (`cgroup_namespaces(7)`): its own is `/`, and that of the host, which a container may have
/// been given, is as many steps above as there are. So the highest is taken. What is mounted later covers what was at the
/// same place.
fn mounted(mounts: &str) -> Option<PathBuf> {
    let mut places = HashMap::new();
    for line in mounts.lines() {
        let Some((fields, options)) = line.split_once(" - ") else { continue };
        let mut fields = fields.split(' ').skip(3);
        let (Some(root), Some(place)) = (fields.next(), fields.next()) else { continue };
        places.insert(place, steps_up(root).filter(|_| options.split(' ').next() == Some("cgroup2")));
    }
    let hierarchies = places.into_iter().filter_map(|(place, steps)| Some((steps?, place)));
    // Several may be as high: one of them, and always the same.
    let (_, Reverse(place)) = hierarchies.map(|(steps, place)| (steps, Reverse(place))).max()?;
    Some(OsString::from_vec(unescaped(place.as_bytes())).into())
}

/// How many steps above the reader's own root that root is; `None` for one that lies within, or beside.
fn steps_up(root: &str) -> Option<usize> {
    let steps = root.strip_prefix('/')?.split('/').filter(|step| !step.is_empty());
    steps.map(|step| (step == "..").then_some(1)).sum()
}

/// Whether some hierarchy is mounted in the first version, in which container runtimes may have put processes.
pub(crate) fn has_first_version() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| mounts.contains(" - cgroup "))
}

#[cfg(test)]
mod tests {
    use super::mounted;
    use std::path::Path;

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
    fn in_a_namespace_of_cgroups_the_host_s_hierarchy_is_above() {
        let own = "40 39 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup ro\n";
        let sibling = "41 39 0:28 /../other /other ro - cgroup2 cgroup ro\n";
        let host = "42 39 0:28 /../../.. /host ro - cgroup2 cgroup ro\n";
        assert_eq!(mounted(&(own.to_owned() + sibling)).as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(mounted(&(own.to_owned() + sibling + host)).as_deref(), Some(Path::new("/host")));
        assert_eq!(mounted(&(host.to_owned() + own)).as_deref(), Some(Path::new("/host")));
        let covered = host.replace("/host", "/sys/fs/cgroup");
        assert_eq!(mounted(&(covered.clone() + own + host)).as_deref(), Some(Path::new("/host")));
        assert_eq!(mounted(&(covered + own)).as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(mounted(sibling), None);
    }
}

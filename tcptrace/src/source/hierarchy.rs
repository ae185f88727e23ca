//! The hierarchy of cgroups: its second version, and whether there is the first.

use crate::kernel::calls::proc::unescaped;
use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// What to say where the hierarchy is not mounted.
pub(crate) const NOT_MOUNTED: &str = "the hierarchy of cgroups is not mounted in its second version; mount it, as in \
     `mount -t cgroup2 none /sys/fs/cgroup`";

/// Where the hierarchy is mounted with all its cgroups; `None` if it is not.
pub(crate) fn root() -> Option<PathBuf> {
    mounted(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The same, by the list of mounts (`proc_pid_mountinfo(5)`).
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, options) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (options.split(' ').next() == Some("cgroup2") && root == "/")
            .then(|| OsString::from_vec(unescaped(place.as_bytes())).into())
    })
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
}

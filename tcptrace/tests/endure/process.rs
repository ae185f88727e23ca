//! What a process takes, as the kernel tells it.

use std::{collections::BTreeMap, fs};

/// At one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory.
    pub(crate) rss_kib: u64,
    /// The most that it ever was.
    pub(crate) peak_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// The kernel's memory of its maps, the ring among them.
    pub(crate) maps_kib: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {field} in {path}"))
        };
        Self {
            rss_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
            threads: number("Threads:"),
            descriptors: entries(&format!("/proc/{pid}/fd")).len() as u64,
            maps_kib: map_bytes(pid) / 1024,
        }
    }
}

fn entries(folder: &str) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {folder}: {error}"));
    // What was closed meanwhile is not there.
    entries.filter_map(Result::ok).collect()
}

/// Each map counts once, however many descriptors it has.
fn map_bytes(pid: u32) -> u64 {
    let mut maps = BTreeMap::new();
    for entry in entries(&format!("/proc/{pid}/fdinfo")) {
        let Ok(info) = fs::read_to_string(entry.path()) else { continue };
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    maps.values().sum()
}

/// Processes that run this program in this network namespace.
pub(crate) fn running(program: &str, netns: &str) -> Vec<u32> {
    let Ok(program) = fs::canonicalize(program) else { return Vec::new() };
    let Ok(netns) = inode(netns) else { return Vec::new() };
    let pids = entries("/proc").into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        // Those that end meanwhile are not running.
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
            && inode(&format!("/proc/{pid}/ns/net")).is_ok_and(|it| it == netns)
    })
    .collect()
}

fn inode(path: &str) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map(|it| it.ino())
}

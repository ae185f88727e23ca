//! Tells which process holds the lock of a file, for a person who is told that it cannot be written.

use rustix::fs::{fstat, major, minor};
use std::{fs, fs::File};

/// The process that holds the lock of a file, as far as it can be found.
pub(super) fn holder(file: &File) -> String {
    let pid = find(file);
    let Some(pid) = pid else { return "another process".to_owned() };
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match comm.trim() {
        "" => format!("process {pid}"),
        comm => format!("process {pid} ({comm})"),
    }
}

fn find(file: &File) -> Option<u32> {
    let stat = fstat(file).ok()?;
    let place = format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
    in_table(&fs::read_to_string("/proc/locks").ok()?, &place)
}

/// The process with a lock of flock(2) on a place, by `proc_locks(5)`. Those that wait for a lock have an arrow.
fn in_table(table: &str, place: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::in_table;

    #[test]
    fn the_holder_of_a_lock_is_in_the_kernels_table() {
        let table = "1: POSIX  ADVISORY  WRITE 10 00:1b:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 fe:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 00:1b:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 00:1b:77 0 EOF\n";
        assert_eq!(in_table(table, "00:1b:77"), Some(13));
        assert_eq!(in_table(table, "00:1b:78"), None);
    }
}

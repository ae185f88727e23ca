//! Ending everything that was started when the task is interrupted.

use super::Skips;
use crate::shell::{capture, is_root, say};
use anyhow::{Context as _, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    fs, process,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// From then on nothing is started.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Between two looks at what has happened.
const LOOK: Duration = Duration::from_millis(50);
/// Whoever is asked to end may take this long. A tracer takes its programs off by then.
const GRACE: Duration = Duration::from_secs(3);

/// From here on, a signal that ends this task ends all its descendants first.
pub(super) fn watch() -> Result<()> {
    let caught = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let number = usize::try_from(signal).context("signals have small numbers")?;
        flag::register_usize(signal, Arc::clone(&caught), number).context("cannot wait for signals")?;
    }
    thread::spawn(move || {
        while caught.load(Ordering::SeqCst) == 0 {
            thread::sleep(LOOK);
        }
        INTERRUPTED.store(true, Ordering::SeqCst);
        say("interrupted: ending what was started");
        end_descendants();
        _ = fs::remove_file(Skips::path());
        // As a shell says it of a program that a signal ended.
        process::exit(128 + i32::try_from(caught.load(Ordering::SeqCst)).unwrap_or(SIGINT));
    });
    Ok(())
}

/// Returns at once, or never: the task is about to end.
pub(super) fn hold_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Asks them to end, then makes them. Tests start tracers in process groups of their own, which are no longer anybody's
/// when the test is gone, so all are found before the first is ended.
fn end_descendants() {
    let deadline = Instant::now() + GRACE;
    let mut known = descendants(&parents(), process::id());
    let begun = known.clone();
    kill("-TERM", &known);
    while Instant::now() < deadline && !known.is_empty() {
        thread::sleep(LOOK);
        let parents = parents();
        // What came between two looks is found by its parent.
        let new: Vec<u32> = descendants(&parents, process::id());
        known.retain(|id| parents.iter().any(|(living, _)| living == id));
        known.extend(new.into_iter().filter(|id| !known.contains(id)).collect::<Vec<_>>());
    }
    kill("-KILL", &known);
    delete_namespaces(&begun);
}

/// Deletes the network namespaces of tests that no longer can: `Netns` in tcptrace-testing/src/netns.rs names them.
fn delete_namespaces(tests: &[u32]) {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| owner(name).is_some_and(|id| tests.contains(&id))) {
        _ = as_root("ip", |ip| ip.args(["netns", "delete", &name]));
    }
}

/// `tcptrace-7-0` is the first namespace of process 7.
fn owner(namespace: &str) -> Option<u32> {
    let (id, _) = namespace.strip_prefix("tcptrace-")?.split_once('-')?;
    id.parse().ok()
}

fn kill(signal: &str, ids: &[u32]) {
    if ids.is_empty() {
        return;
    }
    // One that has ended meanwhile is an error, and the others get the signal all the same.
    _ = as_root("kill", |kill| kill.arg(signal).args(ids.iter().map(u32::to_string)));
}

fn as_root(program: &str, complete: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(if is_root() { program } else { "sudo" });
    if !is_root() {
        command.args(["--non-interactive", program]);
    }
    capture(complete(&mut command))
}

/// Every process that is not only waiting to be waited for, and its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| parent(&stat)).collect()
}

/// `7 (a name) S 3 ...` is process 7, whose parent is 3; the name may hold anything.
fn parent(stat: &str) -> Option<(u32, u32)> {
    let (id, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_gone = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    (!is_gone).then_some((id.parse().ok()?, parent))
}

/// The children of a process, theirs, and so on.
fn descendants(parents: &[(u32, u32)], of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut looked = 0;
    while let Some(&ancestor) = found.get(looked) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == ancestor).map(|(id, _)| *id));
        looked += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::{descendants, owner, parent, parents};
    use std::process::{self, Command};

    #[test]
    fn a_parent_is_read_past_any_name() {
        assert_eq!(parent("7 (a) S 3 7 7 0"), Some((7, 3)));
        assert_eq!(parent("7 (a) S 9 (b) R 3 7"), Some((7, 3)));
        assert_eq!(parent("7 (a) Z 3 7 7 0"), None, "it has ended");
        assert_eq!(parent(""), None);
    }

    #[test]
    fn namespaces_are_known_by_the_process_that_made_them() {
        assert_eq!(owner("tcptrace-27803-18"), Some(27803));
        for other in ["tcptrace-lab", "other-7-0", "tcptrace-7"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let all = [(2, 1), (3, 1), (4, 2), (5, 4), (6, 3), (7, 6)];
        assert_eq!(descendants(&all, 2), [4, 5]);
        assert_eq!(descendants(&all, 1), [2, 3, 4, 6, 5, 7]);
        assert!(descendants(&all, 7).is_empty());
    }

    #[test]
    fn a_child_of_this_process_is_found() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let found = descendants(&parents(), process::id());
        child.kill().expect("it can be ended");
        child.wait().expect("it ends");
        assert!(found.contains(&child.id()), "{found:?}");
    }
}

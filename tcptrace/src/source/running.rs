//! What is known of the processes of this host beside their numbers: the programs that they run, and the containers that only the
//! first version of the hierarchy of cgroups knows. Processes begin and end all the time, so that both are noted when a process
//! begins to run a program, and passed on to those that it makes.

use super::{hierarchy, owners};
use crate::kernel::{calls::proc::numbers, load::TracepointLinks};
use std::{collections::HashMap, fs, path::Path, sync::Arc};
use tcptrace_core::socket::{CgroupNames, OwnerNames, SenderSocket, SocketFacts};

/// How many processes are remembered before those that are gone are looked for.
const MOST: usize = 131_072;

/// What is known of a process.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The path of the program that it runs.
    exe: Option<Arc<str>>,
    /// Its cgroup in the first version of the hierarchy, where that says more than the second.
    cgroup: Option<Arc<CgroupNames>>,
}

/// The processes that run, by their numbers.
pub(super) struct Running {
    /// The programs at the tracepoints, as long as the trace runs.
    links: Option<TracepointLinks>,
    known: HashMap<u32, Known>,
    /// Whether the first version of the hierarchy of cgroups is mounted.
    has_first_version: bool,
}

impl Running {
    pub(super) fn new() -> Self {
        Self { links: None, known: HashMap::new(), has_first_version: hierarchy::has_first_version() }
    }

    /// Keeps the programs that tell of processes from now on.
    pub(super) fn watch(&mut self, links: TracepointLinks) {
        self.links = Some(links);
    }

    /// Takes these programs off.
    pub(super) fn stop(&mut self) {
        self.links = None;
    }

    /// Finds what runs already, as far as this process may look. What was seen of a process meanwhile is newer.
    pub(super) fn look_around(&mut self) {
        for pid in numbers("/proc") {
            if !self.known.contains_key(&pid) {
                let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
                let exe = exe.map(|path| path.to_string_lossy().into());
                self.put(pid, Known { exe, cgroup: self.cgroup(pid) });
            }
        }
    }

    /// A process runs the program at this path from now on; the path is empty where it is not known
    /// ([`tcptrace_core::decode::Item::Exec`]).
    pub(super) fn executed(&mut self, pid: u32, path: String) {
        // One that has ended meanwhile had the cgroup of the process that made it, as far as anybody knows.
        let cgroup = self.cgroup(pid).or_else(|| self.known.get(&pid)?.cgroup.clone());
        let exe = (!path.is_empty()).then(|| path.into());
        self.put(pid, Known { exe, cgroup });
    }

    /// A process has made another, which runs the same program in the same cgroup.
    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        let known = self.known.get(&parent).cloned().unwrap_or_default();
        self.put(child, known);
    }

    /// The path of the program that a process runs.
    pub(super) fn program(&self, pid: u32) -> Option<Arc<str>> {
        self.known.get(&pid)?.exe.clone()
    }

    /// Completes what is known of a socket by what is known of its process.
    pub(super) fn complete(&self, socket: &mut SenderSocket) {
        let Some(process) = &mut socket.process else { return };
        let Some(known) = self.known.get(&process.pid) else { return };
        process.exe.clone_from(&known.exe);
        if let (Some(cgroup), SocketFacts::Owner(owner)) = (&known.cgroup, &mut socket.facts) {
            // A container has a list of users of its own.
            owner.names = Some(Arc::new(OwnerNames { user: None, cgroup: Some(Arc::clone(cgroup)) }));
        }
    }

    /// The container of a process, if it is in one by the first version of the hierarchy.
    fn cgroup(&self, pid: u32) -> Option<Arc<CgroupNames>> {
        if !self.has_first_version {
            return None;
        }
        owners::container_of_first_version(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
            .map(Arc::new)
    }

    /// The ends of processes are not told, so that those which are gone are forgotten when there are many.
    fn put(&mut self, pid: u32, known: Known) {
        if self.known.len() >= MOST {
            self.known.retain(|pid, _| Path::new(&format!("/proc/{pid}")).exists());
        }
        self.known.insert(pid, known);
    }
}

#[cfg(test)]
mod tests {
    use super::Running;

    #[test]
    fn a_program_is_passed_on_until_another_is_run_and_an_unknown_one_is_none() {
        let mut running = Running { links: None, known: super::HashMap::new(), has_first_version: false };
        running.executed(2, "/bin/a".into());
        running.forked(2, 3);
        assert_eq!(running.program(3).as_deref(), Some("/bin/a"));
        running.executed(3, String::new());
        assert_eq!((running.program(3), running.program(2).as_deref()), (None, Some("/bin/a")));
        // Of a process that was there before, nothing may be known.
        running.forked(7, 2);
        assert_eq!(running.program(2), None);
    }
}

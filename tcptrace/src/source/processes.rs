//! Which processes use the sockets of this host. The kernel programs at the cgroup hooks see who connects, binds, accepts and
//! closes; a segment's record has who that was. Who accepted a socket comes in a record of its own, after the SYN-ACK's.

use super::hierarchy;
use crate::kernel::load::{CgroupLinks, Programs};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    os::fd::AsFd as _,
};
use tcptrace_core::{
    segment::Flow,
    segment::{Input, Segment, Timestamp},
    socket::{Acceptance, SocketProcess},
};

/// How many sockets are remembered that nobody has accepted yet: more than all accept queues hold together on most hosts.
const MOST: usize = 65_536;

/// The processes of a trace that asks for them.
pub(super) struct Processes {
    /// The programs at the root of the cgroups, as long as the trace runs.
    links: Option<CgroupLinks>,
    /// The flows of SYN-ACKs by their sockets' numbers, until the sockets are accepted.
    waiting: HashMap<u64, Flow>,
    /// The numbers in `waiting`, the oldest first, some of which are not there any more.
    order: VecDeque<u64>,
}

impl Processes {
    /// Begins to see what processes do. If that cannot be, it returns why, and nothing is known of them.
    pub(super) fn watch(programs: &mut Programs) -> Result<Self, String> {
        let root = hierarchy::root().ok_or(
            "the hierarchy of cgroups is not mounted in its second version; mount it, as in \
             `mount -t cgroup2 none /sys/fs/cgroup`",
        )?;
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", root.display());
        let folder = File::open(&root).map_err(|error| failed(&error))?;
        let links = programs.watch_processes(folder.as_fd()).map_err(|error| failed(&error))?;
        Ok(Self { links: Some(links), waiting: HashMap::new(), order: VecDeque::new() })
    }

    /// Remembers the socket of a SYN-ACK, which somebody will accept.
    pub(super) fn observe(&mut self, segment: &Segment) {
        let Some(socket) = &segment.socket else { return };
        if segment.flags.syn() && segment.flags.ack() {
            while self.order.len() >= MOST {
                let oldest = self.order.pop_front();
                oldest.and_then(|cookie| self.waiting.remove(&cookie));
            }
            // A SYN-ACK that is sent again is of the same flow.
            if self.waiting.insert(socket.cookie, segment.flow).is_none() {
                self.order.push_back(socket.cookie);
            }
        }
    }

    /// The input that tells who accepted the socket of this number, if its SYN-ACK was seen.
    pub(super) fn accepted(&mut self, cookie: u64, process: SocketProcess, ts: Timestamp) -> Option<Input> {
        let flow = self.waiting.remove(&cookie)?;
        Some(Input::Accepted(Box::new(Acceptance { ts, flow, process })))
    }

    /// Takes the programs off.
    pub(super) fn stop(&mut self) {
        self.links = None;
    }
}

//! Which processes use the sockets of this host. The kernel programs at the cgroup hooks see who connects, binds, accepts and
//! closes; a segment's record has who that was. Who accepted a socket comes in a record of its own, after the SYN-ACK's.

use super::{hierarchy, running::Running, spaces::Spaces};
use crate::kernel::{
    load::{CgroupLinks, LoadError, Programs},
    sockets::{self, Holder, TcpSocket},
};
use std::{
    collections::{HashMap, VecDeque},
    fmt::Display,
    fs::File,
    io,
    os::fd::AsFd as _,
};
use tcptrace_core::{
    segment::{Acceptance, Flow, Input, Segment, Timestamp},
    socket::{How, SocketProcess},
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
    before: Before,
    running: Running,
}

/// The sockets that there were when the trace began, and who had them.
#[derive(Default)]
struct Before {
    /// The processes by the sockets' numbers.
    users: HashMap<u64, SocketProcess>,
    /// The sockets that listened, each with the number of its network namespace, and who had it; `None` where several processes
    /// did.
    listeners: Vec<(u16, TcpSocket, Option<SocketProcess>)>,
}

impl Processes {
    /// Begins to see what processes do. If that cannot be, it returns why, and nothing is known of them.
    pub(super) fn watch(programs: &mut Programs) -> Result<Self, String> {
        let root = hierarchy::root().ok_or(hierarchy::NOT_MOUNTED)?;
        let failed = |error: &dyn Display| format!("{}: {error}", root.display());
        let folder = File::open(&root).map_err(|error| failed(&error))?;
        let links = programs.watch_processes(folder.as_fd()).map_err(|error| failed(&error))?;
        Ok(Self {
            links: Some(links),
            waiting: HashMap::new(),
            order: VecDeque::new(),
            before: Before::default(),
            running: Running::new(),
        })
    }

    /// Begins to see which programs processes run. If that cannot be, it returns why.
    pub(super) fn watch_programs(&mut self, programs: &mut Programs) -> Result<(), LoadError> {
        self.running.watch(programs.watch_programs()?);
        Ok(())
    }

    /// A process runs the program at this path from now on.
    pub(super) fn executed(&mut self, pid: u32, path: String) {
        self.running.executed(pid, path);
    }

    /// A process has made another, which runs the same program.
    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        self.running.forked(parent, child);
    }

    /// Finds the sockets that are there already, and who has them. The programs see what is opened from now on.
    pub(super) fn look_around(&mut self, spaces: &Spaces) {
        // Which processes have the sockets is asked after that, so that a socket is there when its process is looked at.
        let sockets = spaces.in_each(sockets::in_use);
        self.before = Before::new(sockets, &sockets::holders());
        self.running.look_around();
    }

    /// Takes a segment of this host: remembers the socket of a SYN-ACK, which somebody will accept, and completes the process
    /// of a socket that was there before the trace.
    pub(super) fn observe(&mut self, segment: &mut Segment, netns: u16) {
        let (flow, flags) = (segment.flow, segment.flags);
        let Some(socket) = segment.socket.as_deref_mut() else { return };
        let answers = flags.syn() && flags.ack();
        if socket.process.is_none() {
            // A listener that was bound since has its process with it, so one without was there before.
            let listener = || self.before.listener(netns, (flow.src, flow.src_port)).filter(|_| answers);
            socket.process = self.before.users.get(&socket.cookie).cloned().or_else(listener);
        }
        self.running.complete(socket);
        if answers {
            while self.order.len() >= MOST {
                let oldest = self.order.pop_front();
                oldest.and_then(|cookie| self.waiting.remove(&cookie));
            }
            // A SYN-ACK that is sent again is of the same flow.
            if self.waiting.insert(socket.cookie, flow).is_none() {
                self.order.push_back(socket.cookie);
            }
        }
    }

    /// The input that tells who accepted the socket of this number, if its SYN-ACK was seen.
    pub(super) fn accepted(
        &mut self,
        cookie: u64,
        mut process: SocketProcess,
        ts: Timestamp,
    ) -> Option<Input> {
        let flow = self.waiting.remove(&cookie)?;
        process.exe = self.running.program(process.pid);
        Some(Input::Accepted(Box::new(Acceptance { ts, flow, process })))
    }

    /// Takes the programs off.
    pub(super) fn stop(&mut self) {
        self.links = None;
        self.running.stop();
    }
}

impl Before {
    /// What there was, by the sockets of each network namespace, and the processes that have them.
    fn new(sockets: Vec<(u16, io::Result<Vec<TcpSocket>>)>, holders: &HashMap<u32, Holder>) -> Self {
        let user = |socket: &TcpSocket| {
            let Holder { pid, comm } = holders.get(&socket.inode)?.clone();
            Some(SocketProcess { pid, comm, how: How::Snapshot, exe: None })
        };
        let mut before = Self::default();
        for (netns, sockets) in sockets {
            // Where the kernel does not tell of sockets, nothing is known of those that were there before.
            for socket in sockets.unwrap_or_default() {
                let process = user(&socket);
                if socket.listens {
                    before.listeners.push((netns, socket, process));
                } else if let Some(process) = process {
                    before.users.insert(socket.cookie, process);
                }
            }
        }
        before
    }

    /// The process that listens at this address and port of a network namespace, if it is the only one.
    fn listener(&self, netns: u16, at: ([u8; 16], u16)) -> Option<SocketProcess> {
        let there = self.listeners.iter().filter(|(own, socket, _)| *own == netns && socket.listens_for(at));
        let mut all = there.map(|(.., process)| process);
        let first = all.next()?.as_ref()?;
        all.all(|other| other.as_ref().is_some_and(|other| other.pid == first.pid)).then(|| first.clone())
    }
}

//! How full the accept queues of this host's listeners are. The kernel is asked when a server seems not to take what reaches it.

use super::spaces::Spaces;
use crate::kernel::sockets::{self, TcpSocket};
use std::time::{Duration, Instant};
use tcptrace_core::{segment::Flow, socket::AcceptQueue};

/// For how long an answer of the kernel stands. Many connections can ask at once, and each answer is of all listeners.
const STANDS: Duration = Duration::from_millis(50);

/// The listeners of a network namespace, as the kernel last told of them.
#[derive(Default)]
pub(super) struct Listeners {
    known: Option<(u16, Instant, Vec<TcpSocket>)>,
}

impl Listeners {
    /// How full the accept queue of the listener is whose server sends segments of `flow`; `None` if the server is not on this
    /// host. Of several listeners for the same address and port, which share connections, the fullest counts.
    pub(super) fn queue(&mut self, flow: &Flow, spaces: &Spaces, now: Instant) -> Option<AcceptQueue> {
        let (netns, spot) = spaces.home_of(flow.interface)?;
        if !spot.loopback && !spot.addresses.contains(&flow.src) {
            return None;
        }
        let stands =
            |(own, asked, _): &(u16, Instant, _)| *own == netns && now.duration_since(*asked) < STANDS;
        if !self.known.as_ref().is_some_and(stands) {
            let found = spaces.within(netns, sockets::listeners)?.ok()?;
            self.known = Some((netns, now, found));
        }
        let (_, _, all) = self.known.as_ref()?;
        let there = all.iter().filter(|socket| socket.listens_for((flow.src, flow.src_port)));
        let queues = there.map(|socket| AcceptQueue { waiting: socket.queue.0, limit: socket.queue.1 });
        queues.max_by_key(|queue| (queue.is_full(), queue.waiting))
    }
}

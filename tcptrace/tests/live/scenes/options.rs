//! What sockets are told and asked, beyond what most programs do.

use crate::lab::{DEADLINE, eventually};
use nix::{
    getsockopt_impl, setsockopt_impl, sockopt_impl,
    sys::socket::{
        getsockopt, setsockopt,
        sockopt::{GetStruct, TcpRepair},
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    net::{connect_unspec, sockopt},
};
use std::{
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

// Those that neither crate knows.
sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, u32);
sockopt_impl!(RepairQueue, SetOnly, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, u32);
sockopt_impl!(QueueSeq, SetOnly, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ, u32);
sockopt_impl!(Info, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info, GetStruct<libc::tcp_info>);

/// `<linux/tcp.h>`, `TCP_SEND_QUEUE`.
const SEND_QUEUE: u32 = 2;

/// The listener has a connection once there are data on it, or so many seconds have passed (tcp(7)).
pub(super) fn defer_accept(listener: &TcpListener, seconds: u32) {
    setsockopt(listener, DeferAccept, &seconds).expect("a TCP socket");
}

/// The number of the SYN that this socket will send: what was written into a socket under repair stays
/// (`net/ipv4/tcp_ipv4.c`, `tcp_v4_connect`: a number is drawn only where there is none).
pub(super) fn choose_isn(socket: impl AsFd, isn: u32) {
    setsockopt(&socket, TcpRepair, &1).expect("CAP_NET_ADMIN");
    setsockopt(&socket, RepairQueue, &SEND_QUEUE).expect("under repair");
    setsockopt(&socket, QueueSeq, &isn).expect("not connected yet");
    setsockopt(&socket, TcpRepair, &0).expect("under repair");
}

/// The socket is gone without a segment, as if its host had lost power (`net/ipv4/tcp.c`, `tcp_disconnect`). At once,
/// where closing would wait for a child of another thread that has a copy of it until it is started.
pub(super) fn forget(socket: impl AsFd) {
    setsockopt(&socket, TcpRepair, &1).expect("CAP_NET_ADMIN");
    connect_unspec(&socket).expect("it can be disconnected");
}

/// Keep-alives after a second without data, one a second, and the second without an answer is the last.
pub(super) fn keep_alive(stream: &TcpStream) {
    const SECOND: Duration = Duration::from_secs(1);
    sockopt::set_tcp_keepidle(stream, SECOND).expect("a TCP socket");
    sockopt::set_tcp_keepintvl(stream, SECOND).expect("a TCP socket");
    sockopt::set_tcp_keepcnt(stream, 2).expect("a TCP socket");
    sockopt::set_socket_keepalive(stream, true).expect("a socket");
}

/// Waits until the peer acknowledged something although nothing was sent: a keep-alive.
pub(super) fn wait_for_answered_probe(stream: &TcpStream) {
    let mut last = u32::MAX;
    eventually("a keep-alive is answered", || {
        let ago = getsockopt(stream, Info).expect("a TCP socket").tcpi_last_ack_recv;
        if ago < last && last != u32::MAX {
            return Ok(());
        }
        last = ago;
        Err(format!("the last acknowledgement came {ago} ms ago"))
    });
}

/// Waits until the peer has acknowledged the FIN of this end: in FIN-WAIT-2 (`include/net/tcp_states.h`).
pub(super) fn wait_for_fin_wait_2(stream: &TcpStream) {
    eventually("the FIN is acknowledged", || {
        let state = getsockopt(stream, Info).expect("a TCP socket").tcpi_state;
        if state == 5 { Ok(()) } else { Err(format!("state {state}")) }
    });
}

/// Waits until the peer's FIN has come, with data unread before it.
pub(super) fn wait_for_fin(stream: &TcpStream) {
    wait_for(stream, PollFlags::RDHUP, "the peer closes");
}

/// Waits until there is something to read.
pub(super) fn wait_for_data(stream: &TcpStream) {
    wait_for(stream, PollFlags::IN, "something comes");
}

/// Waits until a connection is made.
pub(super) fn wait_until_writable(stream: &TcpStream) {
    wait_for(stream, PollFlags::OUT, "it is connected");
}

fn wait_for(stream: &TcpStream, event: PollFlags, what: &str) {
    let mut fds = [PollFd::new(stream, event)];
    let timeout = Timespec::try_from(DEADLINE).expect("not that long");
    assert_eq!(retry_on_intr(|| poll(&mut fds, Some(&timeout))), Ok(1), "{what}");
}

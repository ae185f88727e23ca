//! What the kernel knows of the socket that sent a segment. A packet on its way out has a reference to its socket, if one of
//! this host sent it.

use crate::{hook::Hook, process};
use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_tcp_sock},
    helpers::generated::{
        bpf_get_socket_cookie, bpf_get_socket_uid, bpf_sk_fullsock, bpf_skb_cgroup_id,
        bpf_tcp_sock as tcp_sock,
    },
};
use tcptrace_common::abi::{Owner, Process, Record, Socket};

/// The number of stream sockets in `bpf_sock::type_` (`linux/net.h`, `SOCK_STREAM`).
const STREAM: u32 = 1;

/// The number of the state CLOSE in `bpf_sock::state` (`linux/bpf.h`, `BPF_TCP_CLOSE`).
const CLOSE: u32 = 7;

/// The packet, and the socket that it refers to, which may be any.
#[inline(always)]
fn referred<H: Hook>(hook: H) -> Option<(*mut __sk_buff, *mut bpf_sock)> {
    let skb = hook.outgoing()?;
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (*skb).__bindgen_anon_2 };
    // SAFETY: the kernel puts the whole pointer there.
    let socket = unsafe { socket.sk };
    if socket.is_null() { None } else { Some((skb, socket)) }
}

/// Whether a socket with the port of the SYN or SYN-ACK in `record` sent it. That of a SYN-ACK is a mere request. Where the
/// address is translated on the way out, another port can be in the packet than the socket has; then it is not known.
#[inline(always)]
pub(crate) fn is_sender<H: Hook>(hook: H, record: &Record) -> bool {
    // SAFETY: the pointer is not null; the kernel knows the field of every kind of socket.
    referred(hook).is_some_and(|(_, socket)| unsafe { (*socket).src_port } == u32::from(record.src_port))
}

/// Writes to `place` which process opened or closed the socket that sent a packet; that of its listener for a socket that
/// nobody has accepted yet.
#[inline(always)]
pub(crate) fn write_process<H: Hook>(hook: H, place: *mut Process) {
    if let Some((skb, socket)) = referred(hook) {
        // SAFETY: the context is the program's own.
        let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
        process::write(cookie, socket, place);
    }
}

/// Writes to `place` whose the socket is that sent a packet.
#[inline(always)]
pub(crate) fn write_owner<H: Hook>(hook: H, place: *mut Owner) {
    let Some(skb) = hook.outgoing() else {
        return;
    };
    // SAFETY: the context is the program's own.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    // SAFETY: likewise.
    let cgroup = unsafe { bpf_skb_cgroup_id(skb) };
    // SAFETY: likewise.
    let uid = unsafe { bpf_get_socket_uid(skb) };
    // SAFETY: what was reserved, and aligned as maps are.
    unsafe { place.write(Owner { cookie, cgroup, uid, zero: 0 }) };
}

/// The stream socket with the port of the FIN or RST in `record` that sent it. The RST by which a host answers that knows no
/// such connection refers to a socket of the kernel's own, which is of another type.
#[inline(always)]
pub(crate) fn sender<H: Hook>(hook: H, record: &Record) -> Option<*mut bpf_tcp_sock> {
    let (_, socket) = referred(hook)?;
    // SAFETY: the pointer is not null.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the pointer is not null.
    let kind = unsafe { (*socket).type_ };
    if kind != STREAM || !has_port(socket, record) {
        return None;
    }
    // SAFETY: the pointer is not null.
    let tcp = unsafe { tcp_sock(socket) };
    if tcp.is_null() { None } else { Some(tcp) }
}

/// Whether a socket has the port of the segment in `record`. One that resets its connection has given its own port back when it
/// sends the RST, but not its peer's (`tcp_disconnect` in `net/ipv4/tcp.c`, `inet_put_port` in `net/ipv4/inet_hashtables.c`).
#[inline(always)]
fn has_port(socket: *mut bpf_sock, record: &Record) -> bool {
    // SAFETY: the caller's pointer is not null.
    let own = unsafe { (*socket).src_port };
    if own != 0 {
        return own == u32::from(record.src_port);
    }
    // SAFETY: likewise.
    let state = unsafe { (*socket).state };
    // SAFETY: likewise. The kernel keeps this port in network order.
    let peers = unsafe { &raw const (*socket).dst_port };
    // SAFETY: likewise.
    let peers = unsafe { peers.read_volatile() };
    state == CLOSE && peers == record.dst_port.to_be()
}

/// Reads a field of a TCP socket. The verifier wants each field read alone, in its own width.
macro_rules! field {
    ($socket:ident, $name:ident) => {{
        // SAFETY: the pointer is not null, and the kernel answers reads of this field.
        unsafe { (&raw const (*$socket).$name).read_volatile() }
    }};
}

/// Writes to `place` what the socket that sent a packet knows.
#[inline(always)]
pub(crate) fn write<H: Hook>(hook: H, socket: *mut bpf_tcp_sock, place: *mut Socket) {
    let Some(skb) = hook.outgoing() else {
        return;
    };
    // SAFETY: the context is the program's own.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    let known = Socket {
        cookie,
        bytes_acked: field!(socket, bytes_acked),
        bytes_received: field!(socket, bytes_received),
        srtt: field!(socket, srtt_us),
        min_rtt: field!(socket, rtt_min),
        retransmits: field!(socket, total_retrans),
        segments_out: field!(socket, segs_out),
        segments_in: field!(socket, segs_in),
        cwnd: field!(socket, snd_cwnd),
        rate_delivered: field!(socket, rate_delivered),
        rate_interval: field!(socket, rate_interval_us),
        mss: field!(socket, mss_cache),
        snd_una: field!(socket, snd_una),
        snd_nxt: field!(socket, snd_nxt),
        rcv_nxt: field!(socket, rcv_nxt),
    };
    // SAFETY: what was reserved, and aligned as maps are.
    unsafe { place.write(known) };
}

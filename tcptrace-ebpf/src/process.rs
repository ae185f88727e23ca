//! Which process opens, accepts and closes a socket. The programs at the cgroup hooks run in that process, and leave what they
//! see where the programs that see packets find it: a segment can be sent from anywhere, long after.

use crate::maps::EVENTS;
use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_get_current_comm, bpf_get_listener_sock, bpf_get_socket_cookie, bpf_sk_storage_get},
    },
    macros::{btf_map, map},
    maps::Array,
    programs::{SockAddrContext, SockContext},
};
use tcptrace_common::abi::{Act, How, Process, Slot, TimedAct};

/// The process that last connected, accepted or closed a socket, by [`Slot::index`]. User space gives it [`Slot::COUNT`] slots
/// if processes are asked for. A slot may be overwritten by another socket; then the process is not known.
#[map]
static ACTS: Array<Slot> = Array::with_max_entries(1, 0);

/// The process that bound a socket, kept with the socket.
#[btf_map]
static LISTENERS: SkStorage<Process> = SkStorage::new();

/// The numbers of TCP sockets in `bpf_sock` (`linux/net.h`, `linux/in.h`).
const STREAM: u32 = 1;
const TCP: u32 = 6;

/// The process that runs now, and what it does.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn current(how: How) -> Process {
    let id = bpf_get_current_pid_tgid();
    let mut process =
        Process { pid: (id >> 32) as u32, tid: id as u32, comm: [0; 16], how: how as u32, zero: 0 };
    let (comm, len) = (&raw mut process.comm, size_of_val(&process.comm) as u32);
    // The name is written where it is to stay, which is aligned to words: copies of it would be made byte by byte.
    // SAFETY: the kernel writes so many bytes there, with a zero byte at their end.
    unsafe { bpf_get_current_comm(comm.cast(), len) };
    process
}

/// The words of a process. They are copied as such: the stack of the programs that see packets has no room for more.
type Words = [u64; Process::WORDS];

/// Leaves what the current process does with a socket in the table.
#[inline(always)]
fn leave(act: &Act) {
    if let Some(slot) = ACTS.get_ptr_mut(Slot::index(act.cookie)) {
        let words = (&raw const act.process).cast::<Words>();
        // SAFETY: as many words, and aligned to them, as the assertions in `abi` say.
        let words = unsafe { words.read() };
        // SAFETY: the kernel's pointer to a map value is valid while the program runs. Other CPUs may read and write it
        // meanwhile, which the seal shows.
        unsafe { slot.write_volatile(Slot { act: *act, seal: Slot::seal_of(act.cookie, words) }) };
    }
}

/// The process that last connected, accepted or closed the socket with this number, if it is still in the table.
#[inline(always)]
fn of_socket(cookie: u64) -> Option<Words> {
    let slot = ACTS.get_ptr(Slot::index(cookie))?;
    // SAFETY: the kernel's pointer to a map value is valid while the program runs.
    let own = unsafe { &raw const (*slot).act.cookie };
    // SAFETY: likewise; any bytes are integers.
    let own = unsafe { own.read_volatile() };
    // SAFETY: likewise.
    let words = unsafe { &raw const (*slot).act.process }.cast::<Words>();
    // SAFETY: likewise.
    let words = unsafe { words.read_volatile() };
    // SAFETY: likewise.
    let seal = unsafe { &raw const (*slot).seal };
    // SAFETY: likewise.
    let seal = unsafe { seal.read_volatile() };
    if own == cookie && Slot::seal_of(cookie, words) == seal { Some(words) } else { None }
}

/// The process that bound the listener to which a socket, or the request for one, belongs.
#[inline(always)]
fn of_listener(socket: *mut bpf_sock) -> Option<Words> {
    // SAFETY: the caller has a pointer to a socket that is not null.
    let listener = unsafe { bpf_get_listener_sock(socket) };
    if listener.is_null() {
        return None;
    }
    // SAFETY: the pointer is not null, and the map is one for sockets.
    let process = unsafe {
        bpf_sk_storage_get(
            (&raw const LISTENERS).cast_mut().cast(),
            listener.cast(),
            core::ptr::null_mut(),
            0,
        )
    };
    let process: *const Words = process.cast();
    if process.is_null() {
        return None;
    }
    // SAFETY: the kernel returned the value of the map, which it keeps while the program runs.
    Some(unsafe { process.read() })
}

/// Writes to `place` which process last connected, accepted or closed the socket with this number; that of its listener if
/// nobody has accepted it yet.
#[inline(always)]
pub(crate) fn write(cookie: u64, socket: *mut bpf_sock, place: *mut Process) {
    let place: *mut Words = place.cast();
    if let Some(words) = of_socket(cookie) {
        // SAFETY: what was reserved, and aligned as maps are.
        unsafe { place.write(words) };
    } else if let Some(words) = of_listener(socket) {
        // SAFETY: likewise.
        unsafe { place.write(words) };
    } else {
        // SAFETY: likewise. All zero is no process.
        unsafe { place.write([0; Process::WORDS]) };
    }
}

/// A process connects a socket.
#[inline(always)]
pub(crate) fn connect(context: &SockAddrContext) {
    if is_tcp(context) {
        // SAFETY: the context is the program's own.
        let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
        leave(&Act { cookie, process: current(How::Connect) });
    }
}

/// A process asks for the address of a socket's peer, as accept(2) does for the address that it returns (net/socket.c,
/// `do_accept`). The first one to ask is told to user space, where it is known which sockets were accepted.
#[inline(always)]
pub(crate) fn get_peer_name(context: &SockAddrContext) {
    if !is_tcp(context) {
        return;
    }
    // SAFETY: the context is the program's own.
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    if of_socket(cookie).is_some() {
        return;
    }
    let act = Act { cookie, process: current(How::Accept) };
    leave(&act);
    if let Some(mut entry) = EVENTS.reserve::<TimedAct>(0) {
        // SAFETY: a helper without arguments.
        entry.write(TimedAct { ts: unsafe { bpf_ktime_get_ns() }, act });
        entry.submit(0);
    }
}

/// A process has bound a socket, which may listen later.
#[inline(always)]
pub(crate) fn bound(context: &SockContext) {
    if !is_tcp_socket(context) {
        return;
    }
    let mut process = current(How::Listen);
    // SAFETY: the context is the socket itself, and the map is one for sockets.
    let stored = unsafe {
        bpf_sk_storage_get(
            (&raw const LISTENERS).cast_mut().cast(),
            context.as_ptr(),
            (&raw mut process).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
    };
    let stored: *mut Process = stored.cast();
    if !stored.is_null() {
        // A socket that was bound before has the value of then.
        // SAFETY: the kernel returned the value of the map.
        unsafe { stored.write(process) };
    }
}

/// The last process that had a socket has closed it.
#[inline(always)]
pub(crate) fn released(context: &SockContext) {
    if is_tcp_socket(context) {
        // SAFETY: the context is the program's own.
        let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
        leave(&Act { cookie, process: current(How::Close) });
    }
}

#[inline(always)]
fn is_tcp(context: &SockAddrContext) -> bool {
    // SAFETY: the context is valid while the program runs.
    let kind = unsafe { (*context.sock_addr).type_ };
    // SAFETY: likewise.
    let protocol = unsafe { (*context.sock_addr).protocol };
    kind == STREAM && protocol == TCP
}

#[inline(always)]
fn is_tcp_socket(context: &SockContext) -> bool {
    // SAFETY: the context is valid while the program runs.
    let kind = unsafe { (*context.sock).type_ };
    // SAFETY: likewise.
    let protocol = unsafe { (*context.sock).protocol };
    kind == STREAM && protocol == TCP
}

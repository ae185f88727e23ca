//! Puts records into the ring, each with what belongs to it: options, a tunnel, the socket that sent the segment.

use crate::{
    hook::Hook,
    maps::{EVENTS, Work, decap, kernel_log, processes, ring_is_filling, server_name, sockets},
    request, socket,
};
use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
};
use core::mem::offset_of;
use tcptrace_common::{
    abi::{
        BIT_PROCESS, BIT_SOCKET, BIT_TUNNEL, Counters, Followed, IcmpRecord, MAX_OPTIONS, MORE_REQUEST,
        Owner, Process, Record, RecordKind, Request, Socket, SynRecord, Tunnel,
    },
    wire::options,
};

/// Numbers a record, puts it into the ring and counts it.
#[inline(always)]
pub(crate) fn emit<H: Hook>(hook: H, work: &mut Work, counters: &mut Counters, kind: RecordKind) {
    // A record that finds the ring full has a number too, so that user space sees the gap.
    counters.number += 1;
    stamp(hook, &mut work.entry.record, counters.number);
    let wakeup = wakeup(counters.number);
    let sent = if decap(0) != 0 && work.entry.record.bits & BIT_TUNNEL != 0 {
        send_tunnelled(hook, work, kind, wakeup)
    } else {
        send_plain(hook, work, kind, wakeup)
    };
    let by_kind = if sent { &mut counters.emitted } else { &mut counters.ring_full };
    by_kind[kind.index()] += 1;
    if kernel_log() {
        log(hook, &work.entry.record);
    }
}

/// Puts the record of a packet that is in no tunnel into the ring, with the socket that sent it if that is known. Returns
/// false if the ring is full.
#[inline(always)]
fn send_plain<H: Hook>(hook: H, work: &mut Work, kind: RecordKind, wakeup: u64) -> bool {
    match kind {
        RecordKind::Syn | RecordKind::SynAck if sockets() && socket::is_sender(hook, &work.entry.record) => {
            send_with_owner(hook, work, wakeup)
        }
        RecordKind::Syn | RecordKind::SynAck => send_with_options(hook, work, wakeup),
        RecordKind::Fin | RecordKind::Rst if sockets() => send_with_socket(hook, work, wakeup),
        RecordKind::Icmp => send(&work.entry, wakeup),
        RecordKind::Ack if server_name() && work.entry.record.payload_len > 0 => {
            send_with_request(hook, work, wakeup)
        }
        _ => send(&work.entry.record, wakeup),
    }
}

/// Puts the record of a SYN or SYN-ACK into the ring, with whose the socket is that sent it. Returns false if the ring is
/// full.
#[inline(always)]
fn send_with_owner<H: Hook>(hook: H, work: &mut Work, wakeup: u64) -> bool {
    mark(&mut work.entry.record);
    let work = &*work;
    let fill = |place: *mut SynRecord| write_with_options(hook, work, place);
    let follow = |place: *mut Owner| socket::write_owner(hook, place);
    send_of_socket(hook, wakeup, fill, follow)
}

/// Puts the record of a FIN or RST into the ring, with what the socket that sent it knows, if there is one. Returns false
/// if the ring is full.
#[inline(always)]
fn send_with_socket<H: Hook>(hook: H, work: &mut Work, wakeup: u64) -> bool {
    let Some(socket) = socket::sender(hook, &work.entry.record) else {
        return send(&work.entry.record, wakeup);
    };
    mark(&mut work.entry.record);
    // SAFETY: what was reserved.
    let fill = |place: *mut Record| unsafe { place.write(work.entry.record) };
    let follow = |place: *mut Socket| socket::write(hook, socket, place);
    send_of_socket(hook, wakeup, fill, follow)
}

/// Marks a record as one that is followed by what is known of the socket.
#[inline(always)]
fn mark(record: &mut Record) {
    record.bits |= if processes() { BIT_SOCKET | BIT_PROCESS } else { BIT_SOCKET };
}

/// Puts a record and what is known of the socket into the ring, and behind it the process if that is asked for. Returns false
/// if the ring is full.
#[inline(always)]
fn send_of_socket<H: Hook, T: 'static, B: 'static>(
    hook: H,
    wakeup: u64,
    fill: impl FnOnce(*mut T),
    follow: impl FnOnce(*mut B),
) -> bool {
    if !processes() {
        return send_followed(wakeup, fill, follow);
    }
    let both = |place: *mut Followed<T, B>| {
        // SAFETY: within what was reserved.
        fill(unsafe { &raw mut (*place).record });
        // SAFETY: likewise.
        follow(unsafe { &raw mut (*place).block });
    };
    send_followed(wakeup, both, |place: *mut Process| socket::write_process(hook, place))
}

/// Puts the record of a data segment into the ring, with the beginning of its data if that may be a request with the server's
/// name. Returns false if the ring is full. It is not inlined, as few segments need it.
#[inline(never)]
fn send_with_request<H: Hook>(hook: H, work: &mut Work, wakeup: u64) -> bool {
    let at = work.options_at as usize + usize::from(work.entry.record.options_len);
    // The verifier knows no bound of a number that comes out of a map.
    if at >= MAX_OFFSET || !request::begins(hook, at) {
        return send(&work.entry.record, wakeup);
    }
    let Some(mut entry) = EVENTS.reserve::<Followed<Record, Request>>(0) else {
        return false;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: within what was reserved.
    let beginning = unsafe { &raw mut (*place).block };
    let len = request::copy(hook, at, work.entry.record.payload_len, beginning);
    if len == 0 {
        entry.discard(0);
        return send(&work.entry.record, wakeup);
    }
    work.entry.record.more = MORE_REQUEST;
    // SAFETY: within what was reserved.
    let record = unsafe { &raw mut (*place).record };
    // SAFETY: likewise, and aligned as maps are.
    unsafe { record.write(work.entry.record) };
    entry.submit(wakeup);
    true
}

/// Puts the record of a packet in a tunnel into the ring, with the tunnel. Returns false if the ring is full.
#[inline(never)]
fn send_tunnelled<H: Hook>(hook: H, work: &Work, kind: RecordKind, wakeup: u64) -> bool {
    match kind {
        RecordKind::Syn | RecordKind::SynAck => send_within(work, wakeup, |place: *mut SynRecord| {
            write_with_options(hook, work, place);
        }),
        RecordKind::Icmp => send_within(work, wakeup, |place: *mut IcmpRecord| {
            // SAFETY: what was reserved.
            unsafe { place.write(work.entry) };
        }),
        _ => send_within(work, wakeup, |place: *mut Record| {
            // SAFETY: what was reserved.
            unsafe { place.write(work.entry.record) };
        }),
    }
}

/// Puts a record, which `fill` writes, and its tunnel into the ring. They are copied part by part from one map into the
/// other, as the stack has no room for both.
#[inline(always)]
fn send_within<T: 'static>(work: &Work, wakeup: u64, fill: impl FnOnce(*mut T)) -> bool {
    // SAFETY: what was reserved, and aligned as maps are.
    send_followed(wakeup, fill, |place: *mut Tunnel| unsafe { place.write(work.tunnel) })
}

/// Puts a record, which `fill` writes, and what follows it, which `follow` writes, into the ring. Returns false if the
/// ring is full.
#[inline(always)]
fn send_followed<T: 'static, B: 'static>(
    wakeup: u64,
    fill: impl FnOnce(*mut T),
    follow: impl FnOnce(*mut B),
) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Followed<T, B>>(0) else {
        return false;
    };
    let place = entry.as_mut_ptr();
    // SAFETY: within what was reserved.
    fill(unsafe { &raw mut (*place).record });
    // SAFETY: likewise.
    follow(unsafe { &raw mut (*place).block });
    entry.submit(wakeup);
    true
}

/// The flags that say how a record wakes the reader. With 0 the kernel wakes it if it had read everything, as it sleeps
/// then. While it waits for more records to collect, and while it reads, no record costs a wake-up. If the ring fills,
/// the reader is woken in any case; that is tested only with every 64th record.
#[inline(always)]
fn wakeup(number: u64) -> u64 {
    const EVERY: u64 = 64;
    if number.is_multiple_of(EVERY) && ring_is_filling() { BPF_RB_FORCE_WAKEUP.into() } else { 0 }
}

/// Puts a record into the ring. Returns false if the ring is full.
#[inline(always)]
fn send<T: Copy + 'static>(record: &T, wakeup: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        return false;
    };
    entry.write(*record);
    entry.submit(wakeup);
    true
}

/// Puts a record with its option bytes into the ring. These go from the packet into the ring without a copy between.
/// Returns false if the ring is full.
#[inline(always)]
fn send_with_options<H: Hook>(hook: H, work: &Work, wakeup: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<SynRecord>(0) else {
        return false;
    };
    write_with_options(hook, work, entry.as_mut_ptr());
    entry.submit(wakeup);
    true
}

/// Writes a record and its option bytes to `place`, which was reserved for them.
#[inline(always)]
fn write_with_options<H: Hook>(hook: H, work: &Work, place: *mut SynRecord) {
    // SAFETY: a part of what was reserved.
    let record = unsafe { &raw mut (*place).record };
    // SAFETY: likewise, and aligned as maps are.
    unsafe { record.write(work.entry.record) };
    clear_options(place);
    // SAFETY: all of it is written, and nobody else has it.
    copy_options(hook, work, unsafe { &mut *place });
}

/// Zeroes the option bytes by words. If they were zeroed as bytes, the compiler would call a function that goes through
/// them one by one.
#[inline(always)]
#[expect(clippy::cast_ptr_alignment, reason = "asserted below")]
fn clear_options(place: *mut SynRecord) {
    const {
        assert!(offset_of!(SynRecord, options).is_multiple_of(align_of::<u64>()));
        assert!(MAX_OPTIONS == size_of::<[u64; 5]>());
    }
    // SAFETY: a part of what was reserved.
    let options = unsafe { &raw mut (*place).options };
    // SAFETY: as many bytes, and records are aligned for such words, as the assertions say and the kernel does
    // (kernel/bpf/ringbuf.c, `__bpf_ringbuf_reserve`).
    unsafe { options.cast::<[u64; 5]>().write([0; 5]) };
}

#[inline(always)]
fn copy_options<H: Hook>(hook: H, work: &Work, place: &mut SynRecord) {
    let (at, len) = (work.options_at as usize, usize::from(work.entry.record.options_len));
    // The verifier knows no bound of a number that comes out of a map.
    place.record.options_len =
        if at < MAX_OFFSET { options::copy(&hook.bytes(), at, len, &mut place.options) } else { 0 };
}

/// The limit of offsets at which TCP options and ICMP messages begin. Two VLAN tags, IPv6 and the longest chain of
/// extension headers are 12 KiB, and as much again follows in a tunnel, whose inner packet may begin at 16 KiB.
pub(crate) const MAX_OFFSET: usize = 1 << 15;
/// Writes the time, the CPU, the running number and the namespace into a record.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "numbers are modulo 2^32; Linux has at most 8192 CPUs")]
fn stamp<H: Hook>(hook: H, record: &mut Record, number: u64) {
    record.number = number as u32;
    record.netns = hook.netns();
    // SAFETY: a helper without arguments.
    record.ts = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a helper without arguments.
    record.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
}

/// Logs a record, if that was asked for. It is not on the fast path.
#[inline(always)]
fn log<H: Hook>(hook: H, record: &Record) {
    aya_log_ebpf::debug!(
        &hook.context(),
        "record {} of kind {} on device {}, port {} to {}",
        record.number,
        record.kind,
        record.ifindex,
        record.src_port,
        record.dst_port
    );
}

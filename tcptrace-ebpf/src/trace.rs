//! What happens to a packet: parsed, counted, tested, and, rarely, recorded.

use crate::{
    hook::{Hook, Reach as _},
    maps::{
        EVENTS, LoadedSeeds, PendingTable, Work, admission, counters, filter, kernel_log, netns,
        ring_is_filling, work,
    },
};
use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
};
use tcptrace_common::{
    abi::{Counters, Kind, MAX_OPTIONS, Record, SynRecord},
    admission::lot,
    flow::{Addresses, hashes},
    lifecycle,
    record::{fill, fill_icmp},
    seq::SeqNum,
    tcp::TcpFlags,
    wire::{
        Packet, Parsed, Unparsable,
        icmp::{self, Quoted},
        options,
    },
};

/// Looks at one packet.
#[inline(always)]
pub(crate) fn packet<H: Hook>(hook: H) {
    let Some(counters) = counters() else {
        return;
    };
    counters.packets += 1;
    match first_look(hook, counters) {
        LIFECYCLE => {
            if let Some(work) = work()
                && describe(hook, work) == TCP
            {
                publish(hook.whole(), work, counters);
            }
        }
        LONG_WAY => the_long_way(hook.whole(), counters),
        _ => {}
    }
}

/// The packet is dealt with.
const DONE: u32 = 0;
/// It needs a record.
const LIFECYCLE: u32 = 1;
/// It needs another look.
const LONG_WAY: u32 = 2;

/// All there is for nearly every packet. Only the flow's hash is worked out; what a record needs beyond that would
/// have every packet pay for its stores. Inlined, as a call costs a tenth of the whole; its few bytes of stack leave
/// the rare paths enough of the 512 that the kernel allows for all frames together.
#[inline(always)]
fn first_look<H: Hook>(hook: H, counters: &mut Counters) -> u32 {
    let lifecycle = match hook.parse() {
        Parsed::V4(packet) => is_lifecycle(hook, &packet, counters),
        Parsed::V6(packet) => is_lifecycle(hook, &packet, counters),
        Parsed::Rare => return LONG_WAY,
        Parsed::Unparsable(Unparsable::Truncated) if hook.bytes().is_partial() => return LONG_WAY,
        Parsed::Other | Parsed::Icmp(_) => false,
        Parsed::Fragment => {
            counters.fragments += 1;
            false
        }
        Parsed::Unparsable(reason) => {
            counters.unparsable[reason as usize] += 1;
            false
        }
    };
    if lifecycle { LIFECYCLE } else { DONE }
}

#[inline(always)]
fn is_lifecycle<A: Addresses, H: Hook>(hook: H, packet: &Packet<A>, counters: &mut Counters) -> bool {
    let lifecycle = lifecycle::announces(packet.flags)
        || lifecycle::awaited(packet, hook.sighting().ifindex, &mut PendingTable, &LoadedSeeds);
    // Last, as a store before would have the packet's fields read early and kept.
    counters.tcp_packets += 1;
    lifecycle
}

/// Not all of the headers are within direct reach, or they are many, or of ICMP: the same again with all the means
/// there are.
#[inline(never)]
fn the_long_way<H: Hook>(hook: H, counters: &mut Counters) {
    let Some(work) = work() else {
        return;
    };
    let found = describe(hook, work);
    if found == ICMP {
        if describe_quote(hook, work) && is_wanted(work) {
            hash(work);
            if is_admitted(work, counters) {
                emit(hook, work, counters, Kind::Icmp);
            }
        }
        return;
    }
    if found != TCP {
        return count(found, counters);
    }
    counters.tcp_packets += 1;
    hash(work);
    let flags = TcpFlags(work.entry.record.flags);
    if lifecycle::announces(flags)
        || (flags.ack() && lifecycle::reached(work.own, SeqNum(work.entry.record.ack), &mut PendingTable))
    {
        publish(hook, work, counters);
    }
}

/// What a parsed packet is, as one number: the programs' functions return no more.
const TCP: u32 = 0;
const OTHER: u32 = 1;
const FRAGMENT: u32 = 2;
const ICMP: u32 = 3;
const UNPARSABLE: u32 = 4;

#[inline(always)]
fn code(parsed: Parsed) -> u32 {
    match parsed {
        Parsed::V4(_) | Parsed::V6(_) => TCP,
        Parsed::Other | Parsed::Rare => OTHER,
        Parsed::Fragment => FRAGMENT,
        Parsed::Icmp(_) => ICMP,
        Parsed::Unparsable(reason) => UNPARSABLE + reason as u32,
    }
}

/// Counts what is neither TCP nor ICMP.
#[inline(always)]
fn count(code: u32, counters: &mut Counters) {
    if code == FRAGMENT {
        counters.fragments += 1;
    } else if let Some(count) = counters.unparsable.get_mut(code.wrapping_sub(UNPARSABLE) as usize) {
        *count += 1;
    }
}

/// Parses a packet and describes it in `work`, if it is TCP; of ICMP it keeps there where to look on.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "offsets within headers")]
fn describe<H: Hook>(hook: H, work: &mut Work) -> u32 {
    let parsed = hook.parse();
    let options_at = match &parsed {
        Parsed::V4(packet) => {
            fill(&mut work.entry.record, packet, hook.sighting());
            packet.options_at
        }
        Parsed::V6(packet) => {
            fill(&mut work.entry.record, packet, hook.sighting());
            packet.options_at
        }
        Parsed::Icmp(icmp) => {
            icmp.write_from(&mut work.entry.from);
            work.icmp.put(icmp);
            0
        }
        _ => 0,
    };
    work.options_at = options_at as u32;
    code(parsed)
}

/// Describes in `work` what an ICMP message quotes, if that can begin a connection. A function of its own, that begins
/// from what [`describe`] kept: the verifier then knows one way to it, not all that lead through the headers before.
#[inline(never)]
fn describe_quote<H: Hook>(hook: H, work: &mut Work) -> bool {
    let icmp = work.icmp.get();
    // What comes out of a map has no bound that the verifier knows.
    if icmp.at >= MAX_OFFSET || icmp.len > MAX_MESSAGE {
        return false;
    }
    let entry = &mut work.entry;
    match icmp::quoted(&hook.bytes(), &icmp) {
        Quoted::V4(quote) => fill_icmp(entry, &quote, hook.sighting()),
        Quoted::V6(quote) => fill_icmp(entry, &quote, hook.sighting()),
        Quoted::Nothing | Quoted::Short => return false,
    }
    true
}

/// Keeps the pending table for a segment with SYN, FIN or RST and puts its record into the ring, or that of an
/// acknowledgement. Not inlined, so that the path of all other packets is short.
#[inline(never)]
fn publish<H: Hook>(hook: H, work: &mut Work, counters: &mut Counters) {
    let flags = TcpFlags(work.entry.record.flags);
    if lifecycle::announces(flags) {
        // An acknowledgement that is waited for was announced by a segment that passed here.
        if !is_wanted(work) {
            return;
        }
        hash(work);
        if !is_admitted(work, counters) {
            return;
        }
        if announce(work) {
            counters.pending_overwrites += 1;
        }
    }
    emit(hook, work, counters, lifecycle::kind_of(flags));
}

/// The filter takes what the record is of; see [`tcptrace_common::filter::Program::admits`].
#[inline(never)]
fn is_wanted(work: &mut Work) -> bool {
    filter().is_none_or(|program| program.admits(&work.entry.record, &mut work.numbers))
}

/// The connection is one of those that are followed under the present load; counted if it is not. It has its lot now.
#[inline(always)]
fn is_admitted(work: &mut Work, counters: &mut Counters) -> bool {
    let record = &mut work.entry.record;
    record.lot = lot(work.own, work.peer);
    let admitted = admission().takes(record.lot);
    // The kind as the record has it: told apart by the control bits, the verifier would follow each kind on its own.
    if !admitted && let Some(count) = counters.shed.get_mut(usize::from(record.kind).wrapping_sub(1)) {
        *count += 1;
    }
    admitted
}

/// Numbers a record, puts it into the ring and counts it.
#[inline(always)]
fn emit<H: Hook>(hook: H, work: &mut Work, counters: &mut Counters, kind: Kind) {
    // A record that finds the ring full has its number too: user space sees the gap.
    counters.number += 1;
    stamp(&mut work.entry.record, counters.number);
    let wakeup = wakeup(counters.number);
    let sent = match kind {
        Kind::Syn | Kind::SynAck => send_with_options(hook, work, wakeup),
        Kind::Icmp => send(&work.entry, wakeup),
        _ => send(&work.entry.record, wakeup),
    };
    let by_kind = if sent { &mut counters.emitted } else { &mut counters.ring_full };
    by_kind[kind.index()] += 1;
    if kernel_log() {
        log(hook, &work.entry.record);
    }
}

#[inline(never)]
fn hash(work: &mut Work) {
    (work.own, work.peer) = hashes(&work.entry.record, &LoadedSeeds);
}

#[inline(never)]
fn announce(work: &Work) -> bool {
    lifecycle::announce(&work.entry.record, (work.own, work.peer), &mut PendingTable)
}

/// How the reader is woken. 0: if it had read everything, for it sleeps then; while it waits for more to collect, and
/// while it reads, no record costs a wake-up. Unless the ring fills: then it should not wait. That is looked for with
/// every 64th record only.
#[inline(always)]
fn wakeup(number: u64) -> u64 {
    const EVERY: u64 = 64;
    if number.is_multiple_of(EVERY) && ring_is_filling() { BPF_RB_FORCE_WAKEUP.into() } else { 0 }
}

/// Puts a record into the ring; false where it is full.
#[inline(always)]
fn send<T: Copy + 'static>(record: &T, wakeup: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        return false;
    };
    entry.write(*record);
    entry.submit(wakeup);
    true
}

/// The same with the option bytes, which go from the packet into the ring without a copy between.
#[inline(always)]
fn send_with_options<H: Hook>(hook: H, work: &Work, wakeup: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<SynRecord>(0) else {
        return false;
    };
    let place = entry.write(SynRecord { record: work.entry.record, options: [0; MAX_OPTIONS] });
    let (at, len) = (work.options_at as usize, usize::from(work.entry.record.options_len));
    // What comes out of a map has no bound that the verifier knows.
    place.record.options_len =
        if at < MAX_OFFSET { options::copy(&hook.bytes(), at, len, &mut place.options) } else { 0 };
    entry.submit(wakeup);
    true
}

/// TCP and ICMP headers begin before this: two VLAN tags, IPv6 and the longest chain of extension headers are 12 KiB.
const MAX_OFFSET: usize = 1 << 14;
/// By the IP length no message is longer.
const MAX_MESSAGE: usize = u16::MAX as usize;

/// Time, CPU, running number and namespace.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "numbers are modulo 2^32; Linux has at most 8192 CPUs")]
fn stamp(record: &mut Record, number: u64) {
    record.number = number as u32;
    record.netns = netns();
    // SAFETY: a helper without arguments.
    record.ts = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a helper without arguments.
    record.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
}

/// One line for `RUST_LOG`, off the fast path and only when asked for.
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

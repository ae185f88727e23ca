//! Traces packets: each is parsed, counted and tested, and few are recorded.

use crate::{
    hook::{Hook, Reach as _},
    maps::{LoadedSeeds, Work, admission, counters, decap, filter, first_byte, work},
    pending::PendingTable,
    send::{MAX_OFFSET, emit},
};
use tcptrace_common::{
    abi::{BIT_TUNNEL, Counters, RecordKind},
    admission::{Admission, lot},
    flow::{Addresses, hashes, of_tunnel},
    lifecycle::{self, Shown},
    record::{self, fill, fill_icmp, fill_outer, fill_tunnel},
    tcp::TcpFlags,
    wire::{
        Packet, Parsed, Receive, Unparsable,
        icmp::{self, Quoted},
        tunnel,
    },
};

/// Traces one packet.
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

/// The outcome of a first look: the packet needs nothing more.
const DONE: u32 = 0;
/// The outcome of a first look: the packet is a lifecycle segment and needs a record.
const LIFECYCLE: u32 = 1;
/// The outcome of a first look: the packet has to be parsed again, with all the means there are.
const LONG_WAY: u32 = 2;

/// Parses and tests a packet, which is all that nearly every packet needs. Of what a record needs only the flow's hash
/// is computed, as every packet would pay for storing the rest. The function is inlined, as a call costs a tenth of the
/// whole. It takes few bytes of stack, and leaves the rare paths enough of the 512 that the kernel allows for all
/// frames together.
#[inline(always)]
fn first_look<H: Hook>(hook: H, counters: &mut Counters) -> u32 {
    hook.parse_to(FirstLook { hook, counters })
}

/// Decides what a parsed packet needs.
struct FirstLook<'a, H> {
    hook: H,
    counters: &'a mut Counters,
}

impl<H: Hook> Receive for FirstLook<'_, H> {
    type Made = u32;

    #[inline(always)]
    fn receive(self, parsed: Parsed) -> u32 {
        let Self { hook, counters } = self;
        let lifecycle = match parsed {
            Parsed::V4(packet) => is_lifecycle(hook, &packet, counters),
            Parsed::V6(packet) => is_lifecycle(hook, &packet, counters),
            Parsed::Rare => return LONG_WAY,
            Parsed::Unparsable(Unparsable::Truncated) if hook.bytes().is_partial() => return LONG_WAY,
            Parsed::Other | Parsed::Icmp(_) | Parsed::Tunnel(_) => false,
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
}

/// Whether a segment is part of a connection's lifecycle, and its connection is one that is followed.
#[inline(always)]
fn is_lifecycle<A: Addresses, H: Hook>(hook: H, packet: &Packet<A>, counters: &mut Counters) -> bool {
    let lifecycle = if lifecycle::announces(packet.flags) {
        !is_shed(hook, packet, counters)
    } else {
        lifecycle::awaited(packet, hook.sighting().ifindex, &mut PendingTable(hook), &LoadedSeeds)
    };
    // The counter is stored last: a store before would have the packet's fields read early and kept.
    counters.tcp_packets += 1;
    lifecycle
}

/// Whether a segment that announces something is of a connection that is not followed under the present load. It is
/// counted then, before any work on a record, which is what keeps a flood cheap. If there is a filter, that has to
/// decide first, and the answer is no.
#[inline(always)]
fn is_shed<A: Addresses, H: Hook>(hook: H, packet: &Packet<A>, counters: &mut Counters) -> bool {
    let admission = admission();
    if admission == Admission::ALL || filter().is_some() {
        return false;
    }
    let key = packet.key(hook.sighting().ifindex);
    if admission.takes(lot(key.tag(&LoadedSeeds), key.reversed().tag(&LoadedSeeds))) {
        return false;
    }
    counters.shed[record::kind_of(packet.flags).index()] += 1;
    true
}

/// Traces a packet with all the means there are, if its headers are not all within direct reach, or are rare, or of
/// ICMP.
#[inline(never)]
fn the_long_way<H: Hook>(hook: H, counters: &mut Counters) {
    let Some(work) = work() else {
        return;
    };
    let mut found = describe(hook, work);
    if decap(0) != 0 && found == TUNNEL {
        found = enter(hook, work);
        if found == INSIDE {
            if let Some(count) = counters.tunnels.get_mut(usize::from(work.tunnel.kind.wrapping_sub(1))) {
                *count += 1;
            }
            found = describe_inside(hook, work);
        }
    }
    if found == ICMP {
        let within = work.entry.record.bits & BIT_TUNNEL;
        if describe_quote(hook, work) && is_wanted(work) {
            if decap(0) != 0 {
                work.entry.record.bits |= within;
            }
            hash(work);
            if is_admitted(work, counters) {
                emit(hook, work, counters, RecordKind::Icmp);
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
    if lifecycle::announces(flags) || (flags.ack() && is_awaited(hook, work)) {
        publish(hook, work, counters);
    }
}

/// Whether the record's segment was awaited. It is not inlined, as the frames of all functions on the way share 512 bytes of
/// stack.
#[inline(never)]
fn is_awaited<H: Hook>(hook: H, work: &Work) -> bool {
    lifecycle::reached(work.own, Shown::by(&work.entry.record), &mut PendingTable(hook))
}

/// What a parsed packet is, as one number, since the programs' functions cannot return more.
const TCP: u32 = 0;
const OTHER: u32 = 1;
const FRAGMENT: u32 = 2;
const ICMP: u32 = 3;
/// What may be a tunnel.
const TUNNEL: u32 = 4;
/// A packet within a tunnel.
const INSIDE: u32 = 5;
const UNPARSABLE: u32 = 6;

/// Counts a packet that is neither TCP nor ICMP nor a tunnel.
#[inline(always)]
fn count(code: u32, counters: &mut Counters) {
    if code == FRAGMENT {
        counters.fragments += 1;
    } else if let Some(count) = counters.unparsable.get_mut(code.wrapping_sub(UNPARSABLE) as usize) {
        *count += 1;
    }
}

/// Parses a packet and describes it in `work` if it is TCP. Of an ICMP message or a tunnel it keeps there where to
/// parse on.
#[inline(never)]
fn describe<H: Hook>(hook: H, work: &mut Work) -> u32 {
    hook.parse_to(Describe { hook, work })
}

/// Describes a parsed packet, and says what it is.
struct Describe<'a, H> {
    hook: H,
    work: &'a mut Work,
}

impl<H: Hook> Receive for Describe<'_, H> {
    type Made = u32;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "offsets within headers")]
    fn receive(self, parsed: Parsed) -> u32 {
        let Self { hook, work } = self;
        match parsed {
            Parsed::V4(packet) => {
                fill(&mut work.entry.record, &packet, hook.sighting());
                work.options_at = packet.options_at as u32;
                TCP
            }
            Parsed::V6(packet) => {
                fill(&mut work.entry.record, &packet, hook.sighting());
                work.options_at = packet.options_at as u32;
                TCP
            }
            Parsed::Icmp(icmp) => {
                icmp.write_from(&mut work.entry.from);
                work.icmp.put(&icmp);
                ICMP
            }
            Parsed::Tunnel(outer) => {
                fill_outer(&mut work.tunnel, &outer);
                work.place.put(&outer);
                TUNNEL
            }
            Parsed::Other | Parsed::Rare => OTHER,
            Parsed::Fragment => FRAGMENT,
            Parsed::Unparsable(reason) => UNPARSABLE + reason as u32,
        }
    }
}

/// Walks through a tunnel's headers, from where [`describe`] found them. Returns [`INSIDE`] if there is an inner
/// packet, and else a code as [`describe`] does.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "offsets within headers, and a protocol's 8 bits")]
fn enter<H: Hook>(hook: H, work: &mut Work) -> u32 {
    let (at, protocol) = (work.place.at as usize, work.place.protocol as u8);
    // The verifier knows no bound of a number that comes out of a map.
    if at >= tunnel::MAX_INSIDE {
        return OTHER;
    }
    let step = tunnel::enter(&hook.bytes(), work.place.ipv6 != 0, protocol, at);
    fill_tunnel(&mut work.tunnel, &step);
    work.place.at = step.at as u32;
    work.place.ethertype = u32::from(step.ethertype);
    match step.end {
        tunnel::End::Inside => INSIDE,
        tunnel::End::Other => OTHER,
        tunnel::End::Truncated => UNPARSABLE + Unparsable::Truncated as u32,
        tunnel::End::BadLength => UNPARSABLE + Unparsable::BadLength as u32,
        tunnel::End::Deep => UNPARSABLE + Unparsable::ExtensionDepth as u32,
    }
}

/// Describes in `work` the packet that [`enter`] led to. Another tunnel within it is not looked into.
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "an Ethernet type has 16 bits")]
fn describe_inside<H: Hook>(hook: H, work: &mut Work) -> u32 {
    let (at, ethertype) = (work.place.at as usize, work.place.ethertype as u16);
    let fragmented = work.place.fragmented != 0;
    if at >= tunnel::MAX_INSIDE {
        return OTHER;
    }
    let to = DescribeInside(Describe { hook, work });
    tunnel::inside_to(&hook.bytes(), ethertype, at, fragmented, to)
}

/// Describes a parsed packet within a tunnel, and says what it is.
struct DescribeInside<'a, H>(Describe<'a, H>);

impl<H: Hook> Receive for DescribeInside<'_, H> {
    type Made = u32;

    #[inline(always)]
    fn receive(self, parsed: Parsed) -> u32 {
        if matches!(parsed, Parsed::Tunnel(_)) {
            return UNPARSABLE + Unparsable::TunnelDepth as u32;
        }
        let Describe { hook, work } = self.0;
        let code = Describe { hook, work }.receive(parsed);
        work.entry.record.bits |= BIT_TUNNEL;
        code
    }
}

/// The most octets of an ICMP message, by the IP length.
const MAX_MESSAGE: usize = u16::MAX as usize;

/// Describes in `work` what an ICMP message quotes, if that can begin a connection. It is a function of its own that
/// begins with what [`describe`] kept: so the verifier follows one way to it, instead of all ways through the headers
/// before.
#[inline(never)]
fn describe_quote<H: Hook>(hook: H, work: &mut Work) -> bool {
    let icmp = work.icmp.get();
    // The verifier knows no bound of a number that comes out of a map.
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

/// Puts the record of a lifecycle segment into the ring, and keeps the pending-ACK table if the segment announces
/// something. It is not inlined, so that the path of all other packets is short.
#[inline(never)]
fn publish<H: Hook>(hook: H, work: &mut Work, counters: &mut Counters) {
    let flags = TcpFlags(work.entry.record.flags);
    if lifecycle::announces(flags) {
        // The filter need not test an expected acknowledgement: the segment that announced it has passed the filter.
        if !is_wanted(work) {
            return;
        }
        hash(work);
        if !is_admitted(work, counters) {
            return;
        }
        if announce(hook, work) {
            counters.pending_overwrites += 1;
        }
        if first_byte() {
            await_first_data(hook, work);
        }
    }
    emit(hook, work, counters, record::kind_of(flags));
}

/// Whether the filter, if there is one, admits the record's segment.
#[inline(always)]
fn is_wanted(work: &mut Work) -> bool {
    filter().is_none() || passes(work)
}

/// Whether the filter admits the record's segment; see [`tcptrace_common::filter::Program::admits`].
#[inline(never)]
fn passes(work: &mut Work) -> bool {
    filter().is_none_or(|program| program.admits(&work.entry.record, &mut work.numbers))
}

/// Draws the lot of the record's connection, and returns whether it is followed under the present load. It is counted
/// if it is not.
#[inline(always)]
fn is_admitted(work: &mut Work, counters: &mut Counters) -> bool {
    let record = &mut work.entry.record;
    record.lot = lot(work.own.tag, work.peer.tag);
    let admitted = admission().takes(record.lot);
    // The kind is the record's. If it were found by the control bits, the verifier would follow each kind separately.
    if !admitted && let Some(count) = counters.shed.get_mut(usize::from(record.kind).wrapping_sub(1)) {
        *count += 1;
    }
    admitted
}

/// Hashes both directions of the record's flow, with the tunnel if it is in one.
#[inline(always)]
fn hash(work: &mut Work) {
    hash_flow(work);
    // It is not called from `hash_flow`, as the frames of all functions on the way share 512 bytes of stack.
    if decap(0) != 0 && work.entry.record.bits & BIT_TUNNEL != 0 {
        hash_tunnel(work);
    }
}

#[inline(never)]
fn hash_flow(work: &mut Work) {
    (work.own, work.peer) = hashes(&work.entry.record, &LoadedSeeds);
}

/// Adds the tunnel to the hashes of the flow within it.
#[inline(never)]
fn hash_tunnel(work: &mut Work) {
    let Some(kind) = tunnel::TunnelProtocol::from_code(work.tunnel.kind) else {
        return;
    };
    let tunnel = of_tunnel(&work.tunnel, kind, &LoadedSeeds);
    work.own = work.own.within(tunnel);
    work.peer = work.peer.within(tunnel);
}

/// Keeps the pending-ACK table for the record's segment, which announces something. Returns whether another flow's word had to
/// give way. It is not inlined for the reason that [`is_awaited`] gives.
#[inline(never)]
fn announce<H: Hook>(hook: H, work: &Work) -> bool {
    lifecycle::expect(&work.entry.record, (work.own, work.peer), &mut PendingTable(hook))
}

/// Has the first data of both directions awaited, if the record's segment is a SYN-ACK. Together with [`announce`] it would need
/// more stack than there is below everything else.
#[inline(never)]
fn await_first_data<H: Hook>(hook: H, work: &Work) {
    lifecycle::await_first_data(&work.entry.record, (work.own, work.peer), &mut PendingTable(hook));
}

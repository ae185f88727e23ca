//! Makes the record that goes into the ring from a parsed segment.

use crate::{
    abi::{
        BIT_EGRESS, BIT_FORWARDED, BIT_FRAGMENT, BIT_ID, BIT_IPV6, IcmpRecord, Record, RecordKind, Tunnel,
    },
    flow::{Addresses, put_words},
    tcp::TcpFlags,
    wire::{Outer, Packet, icmp::Quote, tunnel::Step},
};

/// What a hook knows about a packet besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// The index of the device on which the packet was seen.
    pub ifindex: u32,
    /// Whether an egress hook saw the packet; an ingress hook did otherwise.
    pub egress: bool,
    /// Whether the packet came in through a device and is on its way out again.
    pub forwarded: bool,
}

/// The kind of record that a lifecycle segment has, by its control bits.
#[inline(always)]
#[must_use]
pub const fn kind_of(flags: TcpFlags) -> RecordKind {
    if flags.syn() {
        if flags.ack() { RecordKind::SynAck } else { RecordKind::Syn }
    } else if flags.rst() {
        RecordKind::Rst
    } else if flags.fin() {
        RecordKind::Fin
    } else {
        RecordKind::Ack
    }
}

/// Fills in the record of a segment, except for time, CPU, running number, lot and namespace, which become 0.
/// [`Record::options_len`] is the length in the header, whether the option bytes follow the record or not.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word, and at most 40")]
pub fn fill<A: Addresses>(record: &mut Record, packet: &Packet<A>, seen: Sighting) {
    packet.addresses.write(&mut record.src, &mut record.dst);
    record.ts = 0;
    record.ifindex = seen.ifindex;
    record.seq = packet.seq.0;
    record.ack = packet.ack.0;
    record.payload_len = packet.payload_len;
    record.number = 0;
    record.lot = 0;
    record.id = packet.id;
    record.more = 0;
    record.src_port = (packet.ports >> 16) as u16;
    record.dst_port = packet.ports as u16;
    record.window = packet.window;
    record.flags = packet.flags.0;
    record.vlan = packet.vlans.ids();
    record.cpu = 0;
    record.ttl = packet.ttl;
    record.kind = kind_of(packet.flags) as u8;
    record.bits = bit(BIT_EGRESS, seen.egress)
        | bit(BIT_FORWARDED, seen.forwarded)
        | bit(BIT_IPV6, A::IPV6)
        | bit(BIT_FRAGMENT, packet.fragmented);
    record.options_len = packet.options_len as u8;
    record.netns = 0;
}

/// Fills in the record of an ICMP error, except for what [`fill`] leaves out and for the error's sender, which
/// [`crate::wire::Icmp::write_from`] writes.
#[inline(always)]
pub fn fill_icmp<A: Addresses>(entry: &mut IcmpRecord, quote: &Quote<A>, seen: Sighting) {
    fill(&mut entry.record, &quote.segment, seen);
    entry.record.kind = RecordKind::Icmp as u8;
    entry.icmp_type = quote.kind;
    entry.icmp_code = quote.code;
}

/// Fills in what the headers before a tunnel's own header say of it.
#[inline(always)]
pub fn fill_outer(tunnel: &mut Tunnel, outer: &Outer) {
    put_words(&mut tunnel.src, outer.src);
    put_words(&mut tunnel.dst, outer.dst);
    tunnel.vlan = outer.vlans.ids();
}

/// Fills in what a tunnel's own header says.
#[inline(always)]
pub fn fill_tunnel(tunnel: &mut Tunnel, step: &Step) {
    tunnel.id = step.id;
    tunnel.kind = step.kind as u8;
    tunnel.bits = bit(BIT_ID, step.has_id);
}

#[inline(always)]
const fn bit(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}

//! What crosses the boundary between the kernel programs and user space: ring records and map values.
//!
//! Everything is `repr(C)`, holds integers only and has no padding the compiler chose, so that a record can be
//! checked and read from bytes without a transmute. Both sides run on one host: integers are in its byte order,
//! addresses in network order.

use crate::tunnel;

/// What a record is about, and which layout it has: [`SynRecord`] for [`Kind::Syn`] and [`Kind::SynAck`], [`IcmpRecord`]
/// for [`Kind::Icmp`], [`Record`] for the others. A segment is the first of these that it fits, so a SYN+FIN is a `Syn`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Kind {
    /// SYN without ACK.
    Syn = 1,
    /// SYN with ACK.
    SynAck = 2,
    /// RST without SYN.
    Rst = 3,
    /// FIN without SYN and RST.
    Fin = 4,
    /// None of them: an acknowledgement that the pending table waited for, or what has no ACK either.
    Ack = 5,
    /// An ICMP or ICMPv6 error that quotes a segment with SYN, or one whose control bits are not quoted.
    Icmp = 6,
}

impl Kind {
    /// How many there are: the length of the counters by kind.
    pub const COUNT: usize = 6;

    /// All, in the order of [`Kind::index`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Syn, Self::SynAck, Self::Rst, Self::Fin, Self::Ack, Self::Icmp];

    /// The kind a record's code stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Syn),
            2 => Some(Self::SynAck),
            3 => Some(Self::Rst),
            4 => Some(Self::Fin),
            5 => Some(Self::Ack),
            6 => Some(Self::Icmp),
            _ => None,
        }
    }

    /// Its place in the counters by kind.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The record is a [`SynRecord`].
    #[inline(always)]
    #[must_use]
    pub const fn has_options(self) -> bool {
        matches!(self, Self::Syn | Self::SynAck)
    }
}

/// No VLAN tag at this place of [`Record::vlan`].
pub const NO_VLAN: u16 = 0xffff;

/// [`Record::bits`]: an egress hook saw the packet (an ingress hook otherwise).
pub const BIT_EGRESS: u8 = 1;
/// [`Record::bits`]: seen on egress, but it came in through a device: forwarded, not sent by this host.
pub const BIT_FORWARDED: u8 = 2;
/// [`Record::bits`]: IPv6 on the wire.
pub const BIT_IPV6: u8 = 4;
/// [`Record::bits`]: seen in a tunnel; a [`Tunnel`] follows the record, whichever layout that has.
pub const BIT_TUNNEL: u8 = 8;
/// [`Record::bits`]: the first fragment of a packet (RFC 791 §3.2, RFC 8200 §4.5). There is more payload than
/// [`Record::payload_len`] says, and nobody knows how much.
pub const BIT_FRAGMENT: u8 = 16;
/// [`Record::bits`]: the header has more options than were captured. Only a file's records have this bit.
pub const BIT_CUT: u8 = 32;

/// One lifecycle segment, as it lies in the ring: 88 bytes.
///
/// Of [`Kind::Icmp`] it is two packets' in one: addresses, ports, numbers, control bits, window and payload are those of
/// the quoted segment as far as the quote goes, and zero beyond; everything else is the ICMP packet's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Record {
    /// `CLOCK_MONOTONIC`, nanoseconds (`bpf_ktime_get_ns`), when the record was made.
    pub ts: u64,
    /// Source address, network order; IPv4 as an IPv4-mapped address (RFC 4291 §2.5.5.2).
    pub src: [u8; 16],
    /// Destination address, likewise.
    pub dst: [u8; 16],
    /// The device's index.
    pub ifindex: u32,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningless without ACK.
    pub ack: u32,
    /// Octets of TCP payload by the IP length; more than 65535 for a big GSO packet.
    pub payload_len: u32,
    /// This CPU's running number, from 1, modulo 2^32: a gap is a record that found the ring full.
    pub number: u32,
    /// The connection's lot ([`crate::admission`]); 0 in records of [`Kind::Ack`], which is not drawn for.
    pub lot: u32,
    /// The identification of the IPv4 header (RFC 791 §3.1); 0 for IPv6, whose header has none.
    pub id: u16,
    /// 0.
    pub spare: u16,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Control bits as in [`crate::tcp::TcpFlags`]: nine bits.
    pub flags: u16,
    /// VLAN identifiers (12 bits), outer first, the tag that the kernel took off included; [`NO_VLAN`] for none.
    pub vlan: [u16; 2],
    /// The CPU the record was made on.
    pub cpu: u16,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// A [`Kind`].
    pub kind: u8,
    /// [`BIT_EGRESS`], [`BIT_FORWARDED`], [`BIT_IPV6`], [`BIT_TUNNEL`], [`BIT_FRAGMENT`], [`BIT_CUT`].
    pub bits: u8,
    /// Octets of options in the header, a multiple of 4 up to 40; in a [`SynRecord`] those that follow.
    pub options_len: u8,
    /// The network namespace that the device is in, by the number that user space gave it in this run: 0 for the only
    /// one, or the tracer's own.
    pub netns: u16,
}

impl Record {
    /// All zero: to be filled in.
    pub const EMPTY: Self = Self {
        ts: 0,
        src: [0; 16],
        dst: [0; 16],
        ifindex: 0,
        seq: 0,
        ack: 0,
        payload_len: 0,
        number: 0,
        lot: 0,
        id: 0,
        spare: 0,
        src_port: 0,
        dst_port: 0,
        window: 0,
        flags: 0,
        vlan: [0; 2],
        cpu: 0,
        ttl: 0,
        kind: 0,
        bits: 0,
        options_len: 0,
        netns: 0,
    };
}

/// A record of a segment with SYN: the option bytes follow, to be parsed once, in user space. 128 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SynRecord {
    /// What every record has.
    pub record: Record,
    /// The option bytes as sent, [`Record::options_len`] of them; zero after that.
    pub options: [u8; MAX_OPTIONS],
}

/// A record of an ICMP error. 112 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct IcmpRecord {
    /// What every record has.
    pub record: Record,
    /// The error's own source address, as [`Record::src`] has addresses. Its destination is the quoted source.
    pub from: [u8; 16],
    /// Its type, of ICMPv6 with [`BIT_IPV6`].
    pub icmp_type: u8,
    /// Its code, likewise.
    pub icmp_code: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

impl IcmpRecord {
    /// All zero: to be filled in.
    pub const EMPTY: Self =
        Self { record: Record::EMPTY, from: [0; 16], icmp_type: 0, icmp_code: 0, reserved: [0; 6] };
}

/// The tunnel that a packet was in: what follows the record of one. 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Tunnel {
    /// The outer source address, as [`Record::src`] has addresses.
    pub src: [u8; 16],
    /// The outer destination address.
    pub dst: [u8; 16],
    /// The identifier in its header (`wire::tunnel::Step::id`); 0 without [`BIT_ID`].
    pub id: u32,
    /// VLAN identifiers before the outer IP header, as in [`Record::vlan`], which has the inner ones.
    pub vlan: [u16; 2],
    /// A [`tunnel::Kind`].
    pub kind: u8,
    /// [`BIT_ID`].
    pub bits: u8,
    /// Zero.
    pub zero: [u8; 6],
}

impl Tunnel {
    /// All zero: to be filled in.
    pub const EMPTY: Self =
        Self { src: [0; 16], dst: [0; 16], id: 0, vlan: [0; 2], kind: 0, bits: 0, zero: [0; 6] };
}

/// [`Tunnel::bits`]: its header has an identifier.
pub const BIT_ID: u8 = 1;

/// A record of a packet in a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Tunnelled<R> {
    /// The record, of the inner packet.
    pub record: R,
    /// The tunnel.
    pub tunnel: Tunnel,
}

/// The most bytes of options a TCP header has: 15 words less the fixed 5 (RFC 9293 §3.1).
pub const MAX_OPTIONS: usize = 40;

/// Slots of one bucket of the pending-ACK table.
pub const BUCKET_WORDS: usize = 8;

/// One cache line of the pending-ACK table. A word is a flow's tag in the upper half and the acknowledgement
/// number that is waited for in the lower one; 0 is a free slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(64))]
pub struct Bucket {
    /// The slots.
    pub words: [u64; BUCKET_WORDS],
}

/// The counters of one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Counters {
    /// Packets looked at.
    pub packets: u64,
    /// Of them with a TCP header.
    pub tcp_packets: u64,
    /// Records put into the ring, by [`Kind::index`].
    pub emitted: [u64; Kind::COUNT],
    /// Records that found the ring full, by [`Kind::index`].
    pub ring_full: [u64; Kind::COUNT],
    /// Segments that the filter takes, of connections that are not admitted, by [`Kind::index`].
    pub shed: [u64; Kind::COUNT],
    /// Expected acknowledgements overwritten in a full bucket.
    pub pending_overwrites: u64,
    /// Packets that could not be parsed, by `wire::Unparsable`.
    pub unparsable: [u64; UNPARSABLE_REASONS],
    /// Fragments other than first ones: they have no TCP header.
    pub fragments: u64,
    /// Records made, the lost ones included: the last [`Record::number`] in 64 bits.
    pub number: u64,
    /// Packets in tunnels that were looked into, by [`tunnel::Kind::index`]; one in two counts twice.
    pub tunnels: [u64; tunnel::Kind::COUNT],
}

/// How many reasons there are not to parse a packet.
pub const UNPARSABLE_REASONS: usize = 8;

/// Random words that the flow hash needs.
pub const SEED_WORDS: usize = 24 + 13;

const _: () = {
    assert!(size_of::<Record>() == 88);
    assert!(align_of::<Record>() == 8);
    assert!(size_of::<SynRecord>() == 128);
    assert!(core::mem::offset_of!(Record, src) == 8);
    assert!(core::mem::offset_of!(Record, ifindex) == 40);
    assert!(core::mem::offset_of!(Record, number) == 56);
    assert!(core::mem::offset_of!(Record, id) == 64);
    assert!(core::mem::offset_of!(Record, src_port) == 68);
    assert!(core::mem::offset_of!(Record, vlan) == 76);
    assert!(core::mem::offset_of!(Record, kind) == 83);
    assert!(core::mem::offset_of!(Record, netns) == 86);
    assert!(core::mem::offset_of!(SynRecord, options) == 88);
    assert!(size_of::<IcmpRecord>() == 112);
    assert!(core::mem::offset_of!(IcmpRecord, from) == 88);
    assert!(core::mem::offset_of!(IcmpRecord, icmp_type) == 104);
    assert!(size_of::<Bucket>() == 64);
    assert!(align_of::<Bucket>() == 64);
    assert!(size_of::<Counters>() == 320);
    assert!(size_of::<Tunnel>() == 48);
    assert!(size_of::<Tunnelled<Record>>() == 88 + 48);
    assert!(size_of::<Tunnelled<SynRecord>>() == 128 + 48);
    assert!(size_of::<Tunnelled<IcmpRecord>>() == size_of::<IcmpRecord>() + 48);
    assert!(core::mem::offset_of!(Tunnel, id) == 32);
};

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_kind_survives_its_code() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::from_code(kind as u8), Some(kind));
            assert_eq!(kind.index(), index);
        }
        assert_eq!(Kind::from_code(0), None);
        assert_eq!(Kind::from_code(7), None);
    }
}

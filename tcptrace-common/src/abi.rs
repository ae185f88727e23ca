//! What crosses the boundary between the kernel programs and user space: ring records and map values.
//!
//! All types are `repr(C)`, hold only integers and have no padding that the compiler chose, so that a record can be
//! checked and read from bytes without a transmute. Both sides run on one host: integers are in its byte order, and
//! addresses in network order.

use crate::tunnel;

/// What a record is about. The kind decides the record's layout: [`SynRecord`] for [`RecordKind::Syn`] and [`RecordKind::SynAck`],
/// [`IcmpRecord`] for [`RecordKind::Icmp`], and [`Record`] for the others. A segment is of the first kind that fits it, so a
/// SYN+FIN is a `Syn`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// SYN without ACK.
    Syn = 1,
    /// SYN with ACK.
    SynAck = 2,
    /// RST without SYN.
    Rst = 3,
    /// FIN without SYN and RST.
    Fin = 4,
    /// A segment without SYN, RST and FIN: an acknowledgement that was expected, the segment after a RST, or one
    /// without ACK.
    Ack = 5,
    /// An ICMP or ICMPv6 error that quotes a segment with SYN, or one whose control bits are not quoted.
    Icmp = 6,
}

impl RecordKind {
    /// How many kinds there are, which is the length of the counters by kind.
    pub const COUNT: usize = 6;

    /// All kinds, in the order of [`RecordKind::index`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Syn, Self::SynAck, Self::Rst, Self::Fin, Self::Ack, Self::Icmp];

    /// The kind that a code stands for ([`Record::kind`]).
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

    /// The index of this kind in the counters by kind.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// Whether records of this kind are a [`SynRecord`].
    #[inline(always)]
    #[must_use]
    pub const fn has_options(self) -> bool {
        matches!(self, Self::Syn | Self::SynAck)
    }
}

/// The value in [`Record::vlan`] that stands for no VLAN tag.
pub const NO_VLAN: u16 = 0xffff;

/// A bit of [`Record::bits`]: an egress hook saw the packet. Without it an ingress hook did.
pub const BIT_EGRESS: u8 = 1;
/// A bit of [`Record::bits`]: the packet was seen on egress but had come in through a device, so this host forwarded it
/// and did not send it.
pub const BIT_FORWARDED: u8 = 2;
/// A bit of [`Record::bits`]: the packet is IPv6.
pub const BIT_IPV6: u8 = 4;
/// A bit of [`Record::bits`]: the packet was in a tunnel. A [`Tunnel`] follows the record, whichever layout that has.
pub const BIT_TUNNEL: u8 = 8;
/// A bit of [`Record::bits`]: it is the first fragment of a packet (RFC 791 §3.2, RFC 8200 §4.5). There is more payload
/// than [`Record::payload_len`] says, and it is not known how much.
pub const BIT_FRAGMENT: u8 = 16;
/// A bit of [`Record::bits`]: the header has more options than were captured. Only records made from a capture file
/// have this bit.
pub const BIT_CUT: u8 = 32;
/// A bit of [`Record::bits`]: a socket of this host sent the segment. An [`Owner`] follows the record of a segment with SYN,
/// and a [`Socket`] that of a FIN or RST. A record with [`BIT_TUNNEL`] never has this bit.
pub const BIT_SOCKET: u8 = 64;
/// A bit of [`Record::bits`]: a [`Process`] follows what [`BIT_SOCKET`] says. A record without that never has this bit.
pub const BIT_PROCESS: u8 = 128;

/// A bit of [`Record::more`]: the segment's data may begin with a request that has the server's name, and a [`Request`] follows
/// the record. Only a record of [`RecordKind::Ack`] has this bit, and never one with [`BIT_TUNNEL`].
pub const MORE_REQUEST: u16 = 1;

/// One lifecycle segment, as it lies in the ring: 88 bytes.
///
/// A record of [`RecordKind::Icmp`] is about two packets. Addresses, ports, numbers, control bits, window and payload are
/// those of the quoted segment as far as the quote goes, and zero beyond it. Everything else is the ICMP packet's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Record {
    /// The time when the record was made, in nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub ts: u64,
    /// Source address in network order; an IPv4 address as an IPv4-mapped one (RFC 4291 §2.5.5.2).
    pub src: [u8; 16],
    /// Destination address in network order; an IPv4 address as an IPv4-mapped one.
    pub dst: [u8; 16],
    /// The index of the device on which the packet was seen.
    pub ifindex: u32,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningless without ACK.
    pub ack: u32,
    /// Octets of TCP payload by the IP length; more than 65535 for a big GSO packet.
    pub payload_len: u32,
    /// The running number of the CPU's records, from 1, modulo 2^32. A number that is missing is of a record that found
    /// the ring full.
    pub number: u32,
    /// The connection's lot ([`crate::admission`]); 0 in records of [`RecordKind::Ack`], for which no lot is drawn.
    pub lot: u32,
    /// The identification of the IPv4 header (RFC 791 §3.1); 0 for IPv6, whose header has none.
    pub id: u16,
    /// [`MORE_REQUEST`] or 0.
    pub more: u16,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Control bits as in [`crate::tcp::TcpFlags`]: nine bits.
    pub flags: u16,
    /// VLAN identifiers (12 bits), the outer one first, also that of a tag that the kernel took off; [`NO_VLAN`] for
    /// none.
    pub vlan: [u16; 2],
    /// The CPU on which the record was made.
    pub cpu: u16,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// The code of a [`RecordKind`].
    pub kind: u8,
    /// Any of [`BIT_EGRESS`], [`BIT_FORWARDED`], [`BIT_IPV6`], [`BIT_TUNNEL`], [`BIT_FRAGMENT`], [`BIT_CUT`],
    /// [`BIT_SOCKET`] and [`BIT_PROCESS`].
    pub bits: u8,
    /// Octets of options in the header, a multiple of 4 up to 40. In a [`SynRecord`] it is how many of them follow.
    pub options_len: u8,
    /// The network namespace that the device is in, by the number that user space gave it in this run: 0 for the only
    /// one, or the tracer's own.
    pub netns: u16,
}

impl Record {
    /// A record that is all zero, to be filled in.
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
        more: 0,
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

/// The record of a segment with SYN: 128 bytes. The option bytes are behind what every record has, for user space to
/// parse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SynRecord {
    /// The part that every record has.
    pub record: Record,
    /// The option bytes as sent, [`Record::options_len`] of them, then zeros.
    pub options: [u8; MAX_OPTIONS],
}

/// The record of an ICMP error: 112 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct IcmpRecord {
    /// The part that every record has.
    pub record: Record,
    /// The address that the error came from, in the form of [`Record::src`]. The error went to the quoted segment's
    /// source.
    pub from: [u8; 16],
    /// The error's type: one of ICMPv6 if [`BIT_IPV6`] is set, and of ICMP otherwise.
    pub icmp_type: u8,
    /// The error's code: one of ICMPv6 if [`BIT_IPV6`] is set, and of ICMP otherwise.
    pub icmp_code: u8,
    /// Always 0.
    pub reserved: [u8; 6],
}

impl IcmpRecord {
    /// A record that is all zero, to be filled in.
    pub const EMPTY: Self =
        Self { record: Record::EMPTY, from: [0; 16], icmp_type: 0, icmp_code: 0, reserved: [0; 6] };
}

/// The tunnel that a packet was in: 48 bytes, which follow the packet's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Tunnel {
    /// The outer source address, in the form of [`Record::src`].
    pub src: [u8; 16],
    /// The outer destination address, in the form of [`Record::dst`].
    pub dst: [u8; 16],
    /// The identifier in the tunnel's header (`wire::tunnel::Step::id`); 0 without [`BIT_ID`].
    pub id: u32,
    /// The VLAN identifiers before the outer IP header. [`Record::vlan`] has those before the inner one.
    pub vlan: [u16; 2],
    /// The code of a [`tunnel::TunnelProtocol`].
    pub kind: u8,
    /// [`BIT_ID`] or 0.
    pub bits: u8,
    /// Always 0.
    pub zero: [u8; 6],
}

impl Tunnel {
    /// A tunnel that is all zero, to be filled in.
    pub const EMPTY: Self =
        Self { src: [0; 16], dst: [0; 16], id: 0, vlan: [0; 2], kind: 0, bits: 0, zero: [0; 6] };
}

/// A bit of [`Tunnel::bits`]: the tunnel's header has an identifier.
pub const BIT_ID: u8 = 1;

/// Whose a socket is, as the kernel knows it when the socket sends a SYN or SYN-ACK: 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Owner {
    /// The number of the socket, which no other socket gets while the host is up (`bpf_get_socket_cookie`). An accepted
    /// socket has the number of the SYN-ACK that it began with (`inet_csk_clone_lock` in `net/ipv4/inet_connection_sock.c`).
    pub cookie: u64,
    /// The number of the cgroup that made the socket, in the second version of the hierarchy (`bpf_skb_cgroup_id`); 0 where
    /// the kernel does not know it.
    pub cgroup: u64,
    /// The user whom the socket belongs to, as the socket's network namespace numbers users (`bpf_get_socket_uid`); that of
    /// the listener for a SYN-ACK.
    pub uid: u32,
    /// Always 0.
    pub zero: u32,
}

/// What a socket knows of its connection when it sends a FIN or RST (`struct bpf_tcp_sock` in `linux/bpf.h`): 72 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Socket {
    /// The number of the socket, as in [`Owner::cookie`].
    pub cookie: u64,
    /// Octets that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Octets that have come in order.
    pub bytes_received: u64,
    /// The smoothed round-trip time in eighths of a microsecond (RFC 6298 §2); 0 before the first measurement.
    pub srtt: u32,
    /// The least round-trip time in microseconds; [`NO_MIN_RTT`] before the first measurement.
    pub min_rtt: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// Segments that were sent, with those that were sent again. A packet of several segments counts as those.
    pub segments_out: u32,
    /// Segments that came in.
    pub segments_in: u32,
    /// The congestion window, in segments.
    pub cwnd: u32,
    /// Segments that were delivered in the time [`Socket::rate_interval`]; 0 where no rate was measured.
    pub rate_delivered: u32,
    /// Microseconds in which [`Socket::rate_delivered`] segments were delivered.
    pub rate_interval: u32,
    /// The most octets of a segment's payload at present.
    pub mss: u32,
    /// The first sequence number that is not acknowledged (SND.UNA, RFC 9293 §3.3.1).
    pub snd_una: u32,
    /// The next sequence number to be sent (SND.NXT).
    pub snd_nxt: u32,
    /// The next sequence number that is expected of the peer (RCV.NXT).
    pub rcv_nxt: u32,
}

/// The value of [`Socket::min_rtt`] before the first measurement (net/ipv4/tcp.c, `tcp_init_sock`).
pub const NO_MIN_RTT: u32 = u32::MAX;

/// A process that did something with a socket: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Process {
    /// The number of the process, in the first namespace of processes (the kernel calls it the thread group).
    pub pid: u32,
    /// The number of the thread.
    pub tid: u32,
    /// The thread's name, ended by a zero byte.
    pub comm: [u8; 16],
    /// The code of a [`How`], or 0 where no process is known; then everything else is 0, too.
    pub how: u32,
    /// Always 0.
    pub zero: u32,
}

impl Process {
    /// How many words of 64 bits it is.
    pub const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// Stands for no process.
    pub const UNKNOWN: Self = Self { pid: 0, tid: 0, comm: [0; 16], how: 0, zero: 0 };
}

/// What a process did with a socket when the kernel told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u32)]
pub enum How {
    /// The process connected the socket.
    Connect = 1,
    /// The process bound the socket that listens.
    Listen = 2,
    /// The process accepted the socket.
    Accept = 3,
    /// The process closed the socket.
    Close = 4,
}

impl How {
    /// What a code stands for ([`Process::how`]).
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Connect),
            2 => Some(Self::Listen),
            3 => Some(Self::Accept),
            4 => Some(Self::Close),
            _ => None,
        }
    }
}

/// What a process did with a socket: 40 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Act {
    /// The number of the socket, as in [`Owner::cookie`].
    pub cookie: u64,
    /// Who did it, and what.
    pub process: Process,
}

/// What a process did with a socket when no segment passed: 48 bytes, which lie in the ring by themselves. They have no running
/// number: where they are lost, a process stays unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct TimedAct {
    /// When it was done, as [`Record::ts`].
    pub ts: u64,
    /// What was done.
    pub act: Act,
}

/// A process has executed a program: 256 bytes, which lie in the ring by themselves. They have no running number, as
/// [`TimedAct`] has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Exec {
    /// The number of the process, as [`Process::pid`].
    pub pid: u32,
    /// Always 0.
    pub zero: u32,
    /// The path of the program as the kernel opened it, ended by a zero byte. One that fills all of the room is cut.
    pub path: [u8; 248],
}

/// A process has made another: 8 bytes, which lie in the ring by themselves. They have no running number, as [`TimedAct`] has
/// none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Fork {
    /// The number of the process, as [`Process::pid`].
    pub parent: u32,
    /// The number of the new process.
    pub child: u32,
}

/// A slot of the table in which the programs leave the process that last connected, accepted or closed a socket: 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Slot {
    /// What was done.
    pub act: Act,
    /// [`Slot::seal_of`] what was done. Two processors can write a slot at once, and the seal does not fit a mixture.
    pub seal: u64,
}

impl Slot {
    /// The number of slots that a table has when processes are asked for: a power of two.
    pub const COUNT: u32 = 4096;

    /// The slot of the socket with this number. Numbers are counted up on each CPU from a multiple of 4,096 (`linux/cookie.h`),
    /// so their lower bits alone would put sockets of two CPUs into one slot.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the upper 12 bits")]
    pub const fn index(cookie: u64) -> u32 {
        (cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::COUNT.trailing_zeros())) as u32
    }

    /// A number that depends on every bit of what was done: of the socket's number, and of the words of a [`Process`].
    #[inline(always)]
    #[must_use]
    pub const fn seal_of(cookie: u64, [a, b, c, d]: [u64; Process::WORDS]) -> u64 {
        let seal = Self::mix(cookie ^ 0x5851_f42d_4c95_7f2d, a);
        Self::mix(Self::mix(Self::mix(seal, b), c), d)
    }

    #[inline(always)]
    const fn mix(seal: u64, word: u64) -> u64 {
        let mixed = (seal ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }
}

/// The most octets of a request that are recorded.
pub const REQUEST_OCTETS: usize = 2048;

/// The beginning of a request: 2056 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Request {
    /// How many of the octets are of the request, at most [`REQUEST_OCTETS`].
    pub len: u32,
    /// Always 0.
    pub zero: u32,
    /// The first octets of the request, then whatever was in the ring before.
    pub octets: [u8; REQUEST_OCTETS],
}

/// A record and what follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Followed<R, B> {
    /// The record; that of the inner packet where a [`Tunnel`] follows.
    pub record: R,
    /// A [`Tunnel`], an [`Owner`], a [`Socket`], a [`Process`] or a [`Request`].
    pub block: B,
}

/// The most octets of options that a TCP header has: those of 15 words, less the 5 words that every header has (RFC
/// 9293 §3.1).
pub const MAX_OPTIONS: usize = 40;

/// How many slots a bucket of the pending-ACK table has.
pub const BUCKET_WORDS: usize = 8;

/// One bucket of the pending-ACK table, which is a cache line. A slot's word has what identifies a flow in its upper
/// half, and the acknowledgement number that is expected in the lower one ([`crate::lifecycle`]). The word of a free
/// slot is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(64))]
pub struct Bucket {
    /// The words in the slots.
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
    /// Packets that were looked at.
    pub packets: u64,
    /// Packets with a TCP header.
    pub tcp_packets: u64,
    /// Records that were put into the ring, by [`RecordKind::index`].
    pub emitted: [u64; RecordKind::COUNT],
    /// Records that found the ring full, by [`RecordKind::index`].
    pub ring_full: [u64; RecordKind::COUNT],
    /// Segments that the filter admits, of connections that are not followed under the present load, by
    /// [`RecordKind::index`].
    pub shed: [u64; RecordKind::COUNT],
    /// Expected acknowledgements that were overwritten in a full bucket.
    pub pending_overwrites: u64,
    /// Packets that could not be parsed, by the number of the reason (`wire::Unparsable`).
    pub unparsable: [u64; UNPARSABLE_REASONS],
    /// Fragments other than first ones, which have no TCP header.
    pub fragments: u64,
    /// Records that were made, the lost ones included: the last [`Record::number`], in 64 bits.
    pub number: u64,
    /// Packets in tunnels that were looked into, by [`tunnel::TunnelProtocol::index`]. A packet within two tunnels counts twice.
    pub tunnels: [u64; tunnel::TunnelProtocol::COUNT],
}

/// How many reasons there are why a packet cannot be parsed.
pub const UNPARSABLE_REASONS: usize = 8;

/// How many random words the flow hash needs (`flow.rs`).
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
    assert!(size_of::<Followed<Record, Tunnel>>() == 88 + 48);
    assert!(size_of::<Followed<SynRecord, Tunnel>>() == 128 + 48);
    assert!(size_of::<Followed<IcmpRecord, Tunnel>>() == size_of::<IcmpRecord>() + 48);
    assert!(size_of::<Owner>() == 24);
    assert!(size_of::<Socket>() == 72);
    assert!(size_of::<Followed<SynRecord, Owner>>() == 128 + 24);
    assert!(size_of::<Followed<Record, Socket>>() == 88 + 72);
    assert!(size_of::<Process>() == 32);
    assert!(Process::WORDS == 4);
    assert!(core::mem::offset_of!(Act, process).is_multiple_of(align_of::<u64>()));
    assert!(size_of::<Act>() == 40);
    assert!(size_of::<TimedAct>() == 48);
    assert!(size_of::<Exec>() == 256);
    assert!(size_of::<Fork>() == 8);
    assert!(size_of::<Slot>() == 48);
    assert!(Slot::COUNT.is_power_of_two());
    assert!(size_of::<Followed<Record, Request>>() == 88 + 8 + REQUEST_OCTETS);
    assert!(core::mem::offset_of!(Tunnel, id) == 32);
};

#[cfg(test)]
mod tests {
    use super::{How, RecordKind, Slot};

    #[test]
    fn a_kind_survives_its_code() {
        for (index, kind) in RecordKind::ALL.into_iter().enumerate() {
            assert_eq!(RecordKind::from_code(kind as u8), Some(kind));
            assert_eq!(kind.index(), index);
        }
        assert_eq!(RecordKind::from_code(0), None);
        assert_eq!(RecordKind::from_code(7), None);
    }

    #[test]
    fn what_a_process_did_survives_its_code() {
        for how in [How::Connect, How::Listen, How::Accept, How::Close] {
            assert_eq!(How::from_code(how as u32), Some(how));
        }
        assert_eq!((How::from_code(0), How::from_code(5)), (None, None));
    }

    #[test]
    fn the_seal_of_a_slot_depends_on_everything() {
        let words = [1, 2, 3, 4];
        let seal = Slot::seal_of(7, words);
        for bit in 0..64 {
            assert_ne!(Slot::seal_of(7 ^ 1 << bit, words), seal);
            for word in 0..words.len() {
                let mut other = words;
                other[word] ^= 1 << bit;
                assert_ne!(Slot::seal_of(7, other), seal);
            }
        }
        assert!((0..10_000).all(|cookie| Slot::index(cookie) < Slot::COUNT));
    }
}

//! Parses the bytes of a packet down to its TCP header, without copying the packet and without trusting it.
//!
//! One parser serves the kernel programs and capture files: it reads through [`Load`], which byte slices and the
//! contexts of the kernel programs implement.

mod encapsulation;
mod ethertype;
pub mod icmp;
mod ip;
mod link;
pub mod options;
mod tcp;
pub mod tunnel;

use crate::{
    flow::{Addresses, FlowKey, V4, V6, put_words},
    seq::SeqNum,
    tcp::TcpFlags,
};

use ethertype::Located;

pub use crate::vlan::Vlans;
pub use encapsulation::MAX_LABELS;
pub use ip::MAX_EXTENSIONS;
pub use tunnel::Outer;

/// The bytes of one packet.
pub trait Load {
    /// Whether what is rare is parsed too: MPLS, PPPoE, LLC, IPv4 options, extension headers, tunnels and ICMP. If not,
    /// a packet with any of these is [`Parsed::Rare`].
    const RARE: bool = true;

    /// What [`Load::load`] returns: `N` bytes of the packet.
    type Header<const N: usize>: Header;

    /// The `N` bytes at `offset`; `None` if they were not all captured.
    fn load<const N: usize>(&self, offset: usize) -> Option<Self::Header<N>>;

    /// How many octets the packet had on the wire, link header included: at least as many as were captured.
    fn wire_len(&self) -> usize;

    /// Returns `n`, and has the verifier forget how it was computed. The verifier follows each way to an offset
    /// separately, of which there are thousands through a chain of extension headers; after this they are one.
    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        n
    }

    /// Copies `len` bytes at `offset` into `to`, or as many whole words of them as were captured. Returns how many
    /// bytes it copied.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> usize
    where
        Self: Sized,
    {
        copy_words(self, offset, len, to)
    }

    /// A word of the [`tunnel::Decap`] that says which tunnels are looked into, by its index.
    #[inline(always)]
    fn decap(&self, _place: usize) -> u32 {
        0
    }
}

/// Does what [`Load::copy`] does, word by word.
#[inline(always)]
pub fn copy_words<const N: usize>(packet: &impl Load, offset: usize, len: usize, to: &mut [u8; N]) -> usize {
    let mut copied = 0;
    for (word, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if word * 4 >= len {
            break;
        }
        let Some(bytes) = packet.load::<4>(offset + word * 4) else {
            break;
        };
        *to = bytes.raw32(0).to_ne_bytes();
        copied += 4;
    }
    copied
}

/// Bytes of a packet that were captured. A field is read in one piece, and only when it is asked for: if an array were
/// taken out of the packet first, the kernel programs would load each byte separately and run out of registers.
pub trait Header: Copy {
    /// The byte at `at`.
    fn byte(self, at: usize) -> u8;
    /// The two bytes at `at` as they lie on the wire.
    fn raw16(self, at: usize) -> u16;
    /// The four bytes at `at` as they lie on the wire.
    fn raw32(self, at: usize) -> u32;

    /// The number of two bytes at `at`.
    #[inline(always)]
    fn be16(self, at: usize) -> u16 {
        u16::from_be(self.raw16(at))
    }

    /// The number of four bytes at `at`.
    #[inline(always)]
    fn be32(self, at: usize) -> u32 {
        u32::from_be(self.raw32(at))
    }
}

impl<const N: usize> Header for [u8; N] {
    #[inline(always)]
    fn byte(self, at: usize) -> u8 {
        self[at]
    }

    #[inline(always)]
    fn raw16(self, at: usize) -> u16 {
        u16::from_ne_bytes([self[at], self[at + 1]])
    }

    #[inline(always)]
    fn raw32(self, at: usize) -> u32 {
        u32::from_ne_bytes([self[at], self[at + 1], self[at + 2], self[at + 3]])
    }
}

/// A captured packet in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    /// The bytes that were captured.
    pub captured: &'a [u8],
    /// How many octets the packet had on the wire.
    pub wire_len: usize,
}

impl<'a> Bytes<'a> {
    /// A packet that was captured whole.
    #[must_use]
    pub const fn whole(captured: &'a [u8]) -> Self {
        Self { captured, wire_len: captured.len() }
    }
}

impl Load for Bytes<'_> {
    type Header<const N: usize> = [u8; N];

    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.captured.get(offset..)?.first_chunk().copied()
    }

    fn wire_len(&self) -> usize {
        // A capture file may claim a shorter packet than it holds.
        self.wire_len.max(self.captured.len())
    }
}

/// The kind of header that a packet's bytes begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// The bytes begin with an Ethernet header.
    Ethernet,
    /// The bytes begin with an IP header, whose first nibble tells its version.
    Ip,
    /// The bytes are what follows this Ethernet type, or this 802.3 length (below 0x600), which another kind of header
    /// had.
    Behind(u16),
}

/// Why a packet could not be parsed. The numbers are indexes of `abi::Counters::unparsable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unparsable {
    /// The packet was cut short before the end of the fixed TCP header, or in an ICMP error before what a record needs.
    Truncated = 0,
    /// A length field contradicts another one.
    BadLength = 1,
    /// The IP version is neither 4 nor 6, or contradicts the link header.
    BadVersion = 2,
    /// The packet has more than two VLAN tags in its bytes.
    VlanDepth = 3,
    /// The packet has more than [`MAX_EXTENSIONS`] IPv6 extension headers, or in IPv4 more than one authentication
    /// header; or a tunnel has more than [`tunnel::MAX_GTP_EXTENSIONS`] extension headers of GTP-U or
    /// [`tunnel::MAX_TZSP_TAGS`] tags of TZSP.
    ExtensionDepth = 4,
    /// The packet has more than [`MAX_LABELS`] MPLS labels.
    LabelDepth = 5,
    /// The packet is within more tunnels than are looked into.
    TunnelDepth = 6,
    /// The first fragment of a packet ends within the TCP header (RFC 1858 §3, RFC 3128). No stack sends such a
    /// fragment; attackers do, to get round firewalls.
    SplitHeader = 7,
}

/// What a packet is, once it is parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// TCP over IPv4.
    V4(Packet<V4>),
    /// TCP over IPv6.
    V6(Packet<V6>),
    /// ICMP or ICMPv6, for [`icmp::quoted`] to look into.
    Icmp(Icmp),
    /// What may be a tunnel of a kind that is looked into, for [`tunnel::enter`].
    Tunnel(Outer),
    /// A packet that is neither TCP nor ICMP, or not IP.
    Other,
    /// A fragment of TCP other than the first, which has no TCP header.
    Fragment,
    /// A packet that is rare ([`Load::RARE`]), which this [`Load`] leaves to another one.
    Rare,
    /// A packet that makes no sense, for this reason.
    Unparsable(Unparsable),
}

/// A TCP segment with what the headers before it say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<A> {
    /// The source and destination addresses.
    pub addresses: A,
    /// The VLAN identifiers.
    pub vlans: Vlans,
    /// Source port in the upper half, destination port in the lower one.
    pub ports: u32,
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number; meaningless without ACK.
    pub ack: SeqNum,
    /// The nine control bits.
    pub flags: TcpFlags,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Octets of payload by the IP length. In a first fragment these are only the fragment's.
    pub payload_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The identification of the IPv4 header; 0 for IPv6.
    pub id: u16,
    /// Whether it is the first fragment of a packet, so that [`Packet::payload_len`] is not all of the payload.
    pub fragmented: bool,
    /// The offset at which the options begin.
    pub options_at: usize,
    /// Octets of options, a multiple of 4 up to 40.
    pub options_len: usize,
}

impl<A: Addresses> Packet<A> {
    /// The segment's directed flow on the device `ifindex`.
    #[inline(always)]
    #[must_use]
    pub fn key(&self, ifindex: u32) -> FlowKey<A> {
        FlowKey { addresses: self.addresses, ports: self.ports, ifindex, vlans: self.vlans.word() }
    }
}

/// An ICMP or ICMPv6 message with what the headers before it say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// Whether it is ICMPv6 over IPv6; it is ICMP over IPv4 otherwise.
    pub ipv6: bool,
    /// The sender's address, in words as they lie on the wire; an IPv4 address as an IPv4-mapped one.
    pub from: [u32; 4],
    /// The VLAN identifiers.
    pub vlans: Vlans,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The offset at which the message begins.
    pub at: usize,
    /// Octets of the message by the IP length.
    pub len: usize,
}

impl Icmp {
    /// Writes the sender's address, an IPv4 address as an IPv4-mapped one (RFC 4291 §2.5.5.2).
    #[inline(always)]
    pub fn write_from(&self, to: &mut [u8; 16]) {
        put_words(to, self.from);
    }
}

/// What receives a parsed packet. The parser calls it at each point where parsing ends. All calls are inlined, and each
/// has only what is known at its point. If there were one point for all of them, the kernel programs would carry along
/// what is known only at some: the verifier would follow each combination separately, and before Linux 6.3 it refuses
/// to read from the stack what was not written there.
pub trait Receive {
    /// What is made of a parsed packet.
    type Made;

    /// Makes it of the packet.
    fn receive(self, parsed: Parsed) -> Self::Made;
}

/// Returns the packet as it was parsed.
struct AsIs;

impl Receive for AsIs {
    type Made = Parsed;

    #[inline(always)]
    fn receive(self, parsed: Parsed) -> Parsed {
        parsed
    }
}

/// Parses a packet. `offloaded` is the tag control information of a VLAN tag that was taken off the packet and is kept
/// beside it (`skb->vlan_tci`).
#[inline(always)]
pub fn parse<L: Load>(packet: &L, link: Link, offloaded: Option<u16>) -> Parsed {
    parse_to(packet, link, offloaded, AsIs)
}

/// Parses a packet as [`parse`] does, and returns what `to` makes of it.
#[inline(always)]
pub fn parse_to<L: Load, R: Receive>(packet: &L, link: Link, offloaded: Option<u16>, to: R) -> R::Made {
    let vlans = match offloaded {
        Some(tci) => Vlans::NONE.with(tci),
        None => Vlans::NONE,
    };
    let located = match link {
        Link::Ethernet => link::ethernet(packet, 0, vlans),
        Link::Ip => link::bare(packet, vlans),
        Link::Behind(ethertype) => link::behind(packet, ethertype.to_be(), 0, vlans),
    };
    const { assert!(encapsulation::FURTHEST <= NEAR) };
    from_network::<_, _, NEAR>(packet, located, to)
}

/// A mask for the offset at which IP begins: no such offset, outside of tunnels, is larger.
const NEAR: usize = 0x7f;

/// Parses a packet from the IP header on. `MASK` covers all bits of the offset at which that begins.
#[inline(always)]
fn from_network<L: Load, R: Receive, const MASK: usize>(packet: &L, located: Located, to: R) -> R::Made {
    match located {
        Located::V4 { at, vlans } => ip::v4(packet, settled(packet, at, MASK), vlans, to),
        Located::V6 { at, vlans } => ip::v6(packet, settled(packet, at, MASK), vlans, to),
        Located::Other => to.receive(Parsed::Other),
        Located::Rare => to.receive(Parsed::Rare),
        Located::Unparsable(reason) => to.receive(Parsed::Unparsable(reason)),
    }
}

/// The offset `at` at which IP begins. If there are many ways to it, the verifier is made to forget them, as it would
/// follow the rest from each anew. The mask changes nothing but what the verifier knows.
#[inline(always)]
fn settled<L: Load>(packet: &L, at: usize, mask: usize) -> usize {
    if L::RARE { packet.forget(at) & mask } else { at }
}

#[cfg(test)]
mod tests;

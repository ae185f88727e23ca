//! From the bytes of a packet to its TCP header, without copying the packet and without trusting it.
//!
//! One parser serves the kernel programs and capture files: it reads through [`Load`], which a byte slice and the
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
    /// What is rare is read too: MPLS, PPPoE, LLC, IPv4 options, extension headers, ICMP. If not, it is
    /// [`Parsed::Rare`].
    const RARE: bool = true;

    /// What [`Load::load`] gives.
    type Header<const N: usize>: Header;

    /// The `N` bytes at `offset`, if they were all captured.
    fn load<const N: usize>(&self, offset: usize) -> Option<Self::Header<N>>;

    /// How long the packet was on the wire, link header included: at least what was captured.
    fn wire_len(&self) -> usize;

    /// `n`, with how it was arrived at forgotten. The verifier follows every way to an offset on its own, and there
    /// are thousands through a chain of extension headers; after this they are one.
    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        n
    }

    /// Copies `len` bytes at `offset` into `to`, or as many whole words of them as were captured, and says how many.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize, len: usize, to: &mut [u8; N]) -> usize
    where
        Self: Sized,
    {
        copy_words(self, offset, len, to)
    }

    /// A word of the [`tunnel::Decap`] that says which tunnels are looked into.
    #[inline(always)]
    fn decap(&self, _place: usize) -> u32 {
        0
    }
}

/// [`Load::copy`], word by word.
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

/// Bytes of a packet that are there. A field is read in one piece and only when it is asked for: an array taken out
/// of the packet first becomes, in the kernel programs, a load for each byte and more registers than there are.
pub trait Header: Copy {
    /// The byte at `at`.
    fn byte(self, at: usize) -> u8;
    /// Two bytes as they lie on the wire.
    fn raw16(self, at: usize) -> u16;
    /// Four bytes as they lie on the wire.
    fn raw32(self, at: usize) -> u32;

    /// The number at `at`, of two bytes.
    #[inline(always)]
    fn be16(self, at: usize) -> u16 {
        u16::from_be(self.raw16(at))
    }

    /// The number at `at`, of four bytes.
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
    /// What was captured.
    pub captured: &'a [u8],
    /// How long it was on the wire.
    pub wire_len: usize,
}

impl<'a> Bytes<'a> {
    /// A packet captured whole.
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
        // A file may claim less than it holds.
        self.wire_len.max(self.captured.len())
    }
}

/// Where a packet begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// At an Ethernet header.
    Ethernet,
    /// At the IP header; its version nibble tells which.
    Ip,
    /// Behind this Ethernet type, or this 802.3 length (below 0x600), which another kind of header had.
    Behind(u16),
}

/// Why a packet could not be parsed. The numbers are places in `abi::Counters::unparsable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unparsable {
    /// Cut short before the end of the fixed TCP header, or within an ICMP error before what a record needs.
    Truncated = 0,
    /// A length field that contradicts another one.
    BadLength = 1,
    /// The IP version is neither 4 nor 6, or contradicts the link header.
    BadVersion = 2,
    /// More than two VLAN tags in band.
    VlanDepth = 3,
    /// More than [`MAX_EXTENSIONS`] IPv6 extension headers, or in IPv4 more than one authentication header; or in a tunnel more
    /// than [`tunnel::MAX_GTP_EXTENSIONS`] of GTP-U or [`tunnel::MAX_TZSP_TAGS`] of TZSP.
    ExtensionDepth = 4,
    /// More than [`MAX_LABELS`] MPLS labels.
    LabelDepth = 5,
    /// More tunnels within each other than are looked into.
    TunnelDepth = 6,
    /// The first fragment of a packet ends within the TCP header (RFC 1858 §3, RFC 3128): no stack sends such, and firewalls
    /// are got round so.
    SplitHeader = 7,
}

/// What a packet turned out to be.
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
    /// Neither TCP nor ICMP, or not IP.
    Other,
    /// A fragment of TCP other than the first: its header is elsewhere.
    Fragment,
    /// What [`Load::RARE`] names, which this [`Load`] leaves to another one.
    Rare,
    /// Nothing that can be made sense of.
    Unparsable(Unparsable),
}

/// A TCP segment with the addresses it travelled under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<A> {
    /// From whom to whom.
    pub addresses: A,
    /// VLAN identifiers.
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
    /// Octets of payload by the IP length. Of a first fragment: those in this fragment.
    pub payload_len: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The identification of the IPv4 header; 0 for IPv6.
    pub id: u16,
    /// It is the first fragment of a packet: [`Packet::payload_len`] is not all.
    pub fragmented: bool,
    /// Where the options begin.
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

/// An ICMP or ICMPv6 message with what its packet says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// ICMPv6 over IPv6; ICMP over IPv4 otherwise.
    pub ipv6: bool,
    /// Who sent it: an address in words as they lie on the wire, IPv4 mapped.
    pub from: [u32; 4],
    /// VLAN identifiers.
    pub vlans: Vlans,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Where the message begins.
    pub at: usize,
    /// Octets of it by the IP length.
    pub len: usize,
}

impl Icmp {
    /// Writes the sender's address, IPv4 mapped (RFC 4291 §2.5.5.2).
    #[inline(always)]
    pub fn write_from(&self, to: &mut [u8; 16]) {
        put_words(to, self.from);
    }
}

/// To whom a parsed packet goes. There is one call for each way in which parsing ends, all inlined, each with only what
/// is known there. One place for all of them would have the kernel programs carry what only some of them know: the
/// verifier would tell all those combinations apart, and before Linux 6.3 it refuses to have read from the stack what was
/// never put there.
pub trait Receive {
    /// What is made of it.
    type Made;

    /// Makes it.
    fn receive(self, parsed: Parsed) -> Self::Made;
}

/// The packet as it was parsed.
struct AsIs;

impl Receive for AsIs {
    type Made = Parsed;

    #[inline(always)]
    fn receive(self, parsed: Parsed) -> Parsed {
        parsed
    }
}

/// Parses a packet. `offloaded` is the tag control information of a VLAN tag that was taken off the packet and
/// is kept beside it (`skb->vlan_tci`).
#[inline(always)]
pub fn parse<L: Load>(packet: &L, link: Link, offloaded: Option<u16>) -> Parsed {
    parse_to(packet, link, offloaded, AsIs)
}

/// Parses a packet likewise, and gives what `to` makes of it.
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

/// All bits of a place where IP begins.
const NEAR: usize = 0x7f;

/// From where IP is on. `MASK` has all bits of that place.
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

/// Where IP begins, with the way there forgotten where there are many: it would be followed from each anew. The mask
/// changes nothing but what the verifier knows.
#[inline(always)]
fn settled<L: Load>(packet: &L, at: usize, mask: usize) -> usize {
    if L::RARE { packet.forget(at) & mask } else { at }
}

#[cfg(test)]
mod tests;

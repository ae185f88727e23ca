//! From the bytes of a packet to its TCP header, without copying the packet and without trusting it.
//!
//! One parser serves the kernel programs and capture files: it reads through [`Load`], which a byte slice and the
//! contexts of the kernel programs implement.

mod ip;
mod link;
pub mod options;
mod tcp;

use crate::flow::{Addresses, FlowKey, V4, V6};
use crate::seq::SeqNum;
use crate::tcp::TcpFlags;

pub use ip::MAX_EXTENSIONS;

/// The bytes of one packet.
pub trait Load {
    /// Chains of IPv6 extension headers are walked; if not, they are [`Parsed::Extensions`].
    const EXTENSIONS: bool = true;

    /// The `N` bytes at `offset`, if they were all captured.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// How long the packet was on the wire, link header included: at least what was captured.
    fn wire_len(&self) -> usize;

    /// `n`, with how it was arrived at forgotten. The verifier follows every way to an offset on its own, and there
    /// are thousands through a chain of extension headers; after this they are one.
    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        n
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
}

/// Why a packet could not be parsed. The numbers are places in `abi::Counters::unparsable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unparsable {
    /// Cut short before the end of the fixed TCP header.
    Truncated = 0,
    /// A length field that contradicts another one.
    BadLength = 1,
    /// The IP version is neither 4 nor 6, or contradicts the link header.
    BadVersion = 2,
    /// More than two VLAN tags in band.
    VlanDepth = 3,
    /// More than [`MAX_EXTENSIONS`] IPv6 extension headers.
    ExtensionDepth = 4,
}

/// What a packet turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// TCP over IPv4.
    V4(Packet<V4>),
    /// TCP over IPv6.
    V6(Packet<V6>),
    /// Not TCP, or not IP.
    Other,
    /// A fragment of TCP other than the first: its header is elsewhere.
    Fragment,
    /// IPv6 with extension headers, which this [`Load`] leaves to another one.
    Extensions,
    /// Nothing that can be made sense of.
    Unparsable(Unparsable),
}

/// VLAN identifiers as `abi::Record::vlan` has them, collected outer first.
///
/// A tag with identifier 0 carries a priority and names no VLAN (IEEE 802.1Q, the null VLAN ID). It is left out,
/// as it often is there in one direction only, and both directions must have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlans {
    outer: u16,
    inner: u16,
}

impl Vlans {
    /// No tag.
    pub const NONE: Self = Self { outer: crate::abi::NO_VLAN, inner: crate::abi::NO_VLAN };

    /// Adds a tag, further in than those before. A third one is dropped: two tell networks apart.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, tci: u16) -> Self {
        let id = tci & 0x0fff;
        if id == 0 {
            self
        } else if self.outer == crate::abi::NO_VLAN {
            Self { outer: id, ..self }
        } else if self.inner == crate::abi::NO_VLAN {
            Self { inner: id, ..self }
        } else {
            self
        }
    }

    /// Outer first.
    #[inline(always)]
    #[must_use]
    pub const fn ids(self) -> [u16; 2] {
        [self.outer, self.inner]
    }
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
        let [outer, inner] = self.vlans.ids();
        FlowKey {
            addresses: self.addresses,
            ports: self.ports,
            ifindex,
            vlans: u32::from(outer) << 16 | u32::from(inner),
        }
    }
}

/// Parses a packet. `offloaded` is the tag control information of a VLAN tag that was taken off the packet and
/// is kept beside it (`skb->vlan_tci`).
#[inline(always)]
pub fn parse(packet: &impl Load, link: Link, offloaded: Option<u16>) -> Parsed {
    let vlans = match offloaded {
        Some(tci) => Vlans::NONE.with(tci),
        None => Vlans::NONE,
    };
    let located = match link {
        Link::Ethernet => link::ethernet(packet, vlans),
        Link::Ip => link::bare(packet, vlans),
    };
    match located {
        link::Located::V4 { at, vlans } => ip::v4(packet, at, vlans),
        link::Located::V6 { at, vlans } => ip::v6(packet, at, vlans),
        link::Located::Other => Parsed::Other,
        link::Located::Unparsable(reason) => Parsed::Unparsable(reason),
    }
}

#[inline(always)]
const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;

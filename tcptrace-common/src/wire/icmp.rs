//! Parses ICMP (RFC 792) and ICMPv6 (RFC 4443) errors, down to the TCP header that they quote.
//!
//! A quote is the beginning of a packet as the sender of the error had it. Its total length may be that of the whole
//! packet, its checksums may have been changed on the way, and it may end after eight octets of TCP (RFC 792), though
//! Linux and most routers quote more (RFC 1812 §4.3.2.3). What may follow the quote (RFC 4884) is not looked at.

use super::{
    Header as _, Icmp, Load, Packet, Unparsable,
    ip::{self, AUTHENTICATION, TCP, Walk},
    tcp::Network,
};
use crate::{
    flow::{V4, V6},
    seq::SeqNum,
    tcp::TcpFlags,
};

/// The segment that an error quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<A> {
    /// The segment as it was sent, except for VLANs and TTL, which are the ICMP packet's. Acknowledgement number,
    /// control bits and window are 0 if the quote does not reach them, the payload is what the quoted lengths say if
    /// they agree, and there are no options.
    pub segment: Packet<A>,
    /// The error's type.
    pub kind: u8,
    /// The error's code.
    pub code: u8,
}

/// What an ICMP message quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quoted {
    /// A segment over IPv4, in an ICMP error.
    V4(Quote<V4>),
    /// A segment over IPv6, in an ICMPv6 error.
    V6(Quote<V6>),
    /// Nothing that begins a connection, or the message is no refusal.
    Nothing,
    /// Too little to tell, as the message, or what was captured of it, ends too early.
    Short,
}

/// Octets of the ICMP header, up to the quote.
const HEADER: usize = 8;
/// Octets of TCP that every quote has (RFC 792): ports and sequence number.
const LEAST: usize = 8;

/// Whether an error of this type and code says that the quoted packet did not get through: destination unreachable,
/// time exceeded, or parameter problem. An error about the packet's size (type 3, code 4; type 2 of ICMPv6) refuses
/// nothing, as the packet is sent again in smaller pieces.
#[inline(always)]
#[must_use]
pub const fn is_refusal(ipv6: bool, kind: u8, code: u8) -> bool {
    if ipv6 { matches!(kind, 1 | 3 | 4) } else { kind == 3 && code != 4 || kind == 11 || kind == 12 }
}

/// Looks for the quote of a SYN or SYN-ACK in an ICMP message. A quote that ends before the control bits counts, as it
/// may be of one.
#[inline(always)]
pub fn quoted<L: Load>(packet: &L, icmp: &Icmp) -> Quoted {
    let message = Message { packet, end: icmp.at + icmp.len };
    let Some(header) = message.load::<HEADER>(icmp.at) else {
        return Quoted::Short;
    };
    let (kind, code) = (header.byte(0), header.byte(1));
    if !is_refusal(icmp.ipv6, kind, code) {
        return Quoted::Nothing;
    }
    let found = if icmp.ipv6 {
        v6(&message, icmp).map(|segment| Quoted::V6(Quote { segment, kind, code }))
    } else {
        v4(&message, icmp).map(|segment| Quoted::V4(Quote { segment, kind, code }))
    };
    match found {
        Ok(quoted) => quoted,
        Err(Miss::Nothing) => Quoted::Nothing,
        Err(Miss::Short) => Quoted::Short,
    }
}

/// Why there is no quote.
enum Miss {
    /// The message quotes something else.
    Nothing,
    /// The message ends too early to tell.
    Short,
}

/// The bytes of an ICMP message. What follows the message in the frame is padding, and is left out.
struct Message<'a, L> {
    packet: &'a L,
    end: usize,
}

impl<L: Load> Load for Message<'_, L> {
    type Header<const N: usize> = L::Header<N>;

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<L::Header<N>> {
        if offset + N > self.end { None } else { self.packet.load(offset) }
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.end
    }

    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        self.packet.forget(n)
    }
}

#[inline(always)]
fn v4(message: &impl Load, icmp: &Icmp) -> Result<Packet<V4>, Miss> {
    let at = icmp.at + HEADER;
    let header = message.load::<20>(at).ok_or(Miss::Short)?;
    let first = header.byte(0);
    let header_len = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_len < 20 || ip::is_later_fragment(header) {
        return Err(Miss::Nothing);
    }
    let (protocol, skipped) = match header.byte(9) {
        AUTHENTICATION => ip::authentication(message, at + header_len).ok_or(Miss::Short)?,
        protocol => (protocol, 0),
    };
    if protocol != TCP {
        return Err(Miss::Nothing);
    }
    let skipped = header_len + skipped;
    let len = usize::from(header.be16(2)).saturating_sub(skipped);
    let (vlans, ttl) = (icmp.vlans, icmp.ttl);
    tcp(
        message,
        Network {
            addresses: ip::addresses_v4(header),
            vlans,
            ttl,
            id: 0,
            fragmented: false,
            at: at + skipped,
            len,
        },
    )
}

#[inline(always)]
fn v6(message: &impl Load, icmp: &Icmp) -> Result<Packet<V6>, Miss> {
    let at = icmp.at + HEADER;
    let header = message.load::<40>(at).ok_or(Miss::Short)?;
    if header.byte(0) >> 4 != 6 {
        return Err(Miss::Nothing);
    }
    let skipped = match ip::extensions(message, header.byte(6), at + 40) {
        Walk::Tcp { skipped, .. } => skipped,
        Walk::Unparsable(Unparsable::Truncated) => return Err(Miss::Short),
        _ => return Err(Miss::Nothing),
    };
    let len = usize::from(header.be16(4)).saturating_sub(skipped);
    let (vlans, ttl) = (icmp.vlans, icmp.ttl);
    tcp(
        message,
        Network {
            addresses: ip::addresses_v6(header),
            vlans,
            ttl,
            id: 0,
            fragmented: false,
            at: at + 40 + skipped,
            len,
        },
    )
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "less than a 16-bit length")]
fn tcp<A: Copy>(message: &impl Load, network: Network<A>) -> Result<Packet<A>, Miss> {
    let Network { addresses, vlans, ttl, at, len, .. } = network;
    let start = message.load::<LEAST>(at).ok_or(Miss::Short)?;
    let mut segment = Packet {
        addresses,
        vlans,
        ports: start.be32(0),
        seq: SeqNum(start.be32(4)),
        ack: SeqNum(0),
        flags: TcpFlags(0),
        window: 0,
        payload_len: 0,
        ttl,
        id: 0,
        fragmented: false,
        options_at: 0,
        options_len: 0,
    };
    // These bytes reach up to the control bits. If they have an impossible header length, they are the padding of a
    // short quote (zeros, RFC 4884 §4).
    let Some(rest) = message.load::<6>(at + LEAST).filter(|rest| rest.byte(4) >> 4 >= 5) else {
        return Ok(segment);
    };
    segment.ack = SeqNum(rest.be32(0));
    segment.flags = TcpFlags(rest.be16(4) & 0x01ff);
    if !segment.flags.syn() || segment.flags.intersects(TcpFlags::RST.union(TcpFlags::FIN)) {
        return Err(Miss::Nothing);
    }
    let header_len = usize::from(rest.byte(4) >> 4) * 4;
    segment.payload_len = len.saturating_sub(header_len) as u32;
    if let Some(window) = message.load::<2>(at + LEAST + 6) {
        segment.window = window.be16(0);
    }
    Ok(segment)
}

#[cfg(test)]
mod tests;

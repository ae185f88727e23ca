//! Parses the TCP header (RFC 9293 §3.1).

use super::{Header as _, Load, Packet, Unparsable};
use crate::{seq::SeqNum, tcp::TcpFlags, vlan::Vlans};

/// Where a TCP header may be, and what the headers before it say.
#[derive(Clone, Copy)]
pub(super) struct Network<A> {
    pub(super) addresses: A,
    pub(super) vlans: Vlans,
    pub(super) ttl: u8,
    /// The identification of IPv4; 0 for IPv6.
    pub(super) id: u16,
    /// Whether more fragments follow.
    pub(super) fragmented: bool,
    /// The offset at which the TCP header begins.
    pub(super) at: usize,
    /// Octets of TCP header and payload.
    pub(super) len: usize,
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "no packet is 4 GiB long")]
pub(super) fn parse<A: Copy>(packet: &impl Load, network: Network<A>) -> Result<Packet<A>, Unparsable> {
    let Some(header) = packet.load::<20>(network.at) else {
        return Err(if network.fragmented { Unparsable::SplitHeader } else { Unparsable::Truncated });
    };
    let header_len = usize::from(header.byte(12) >> 4) * 4;
    if header_len < 20 || header_len > network.len {
        // If the fragment is shorter than a header, the octet with the data offset may be the frame's padding.
        let split = network.fragmented && (network.len < 20 || header_len >= 20);
        return Err(if split { Unparsable::SplitHeader } else { Unparsable::BadLength });
    }
    Ok(Packet {
        addresses: network.addresses,
        vlans: network.vlans,
        ports: header.be32(0),
        seq: SeqNum(header.be32(4)),
        ack: SeqNum(header.be32(8)),
        // AE is the lowest bit of the octet with the data offset (RFC 9768 §3.1.1).
        flags: TcpFlags(header.be16(12) & 0x01ff),
        window: header.be16(14),
        payload_len: (network.len - header_len) as u32,
        ttl: network.ttl,
        id: network.id,
        fragmented: network.fragmented,
        options_at: network.at + 20,
        options_len: header_len - 20,
    })
}

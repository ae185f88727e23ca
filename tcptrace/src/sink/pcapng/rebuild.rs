//! A packet's headers again, from what a record has of them.

use crate::segment::{Flow, RawOptions, Segment};
use tcptrace_common::abi::MAX_OPTIONS;

/// What a rebuilt packet says of itself.
pub const COMMENT: &str = "Headers rebuilt by tcptrace from its record of this segment; Ethernet addresses, DSCP, \
    IP identification and flow label were not recorded, and the TCP checksum is right only where there is no payload.";

/// Ethernet with two VLAN tags, IPv6, TCP with all options.
const MOST: usize = 14 + 2 * 4 + 40 + 20 + MAX_OPTIONS;

/// A packet without its payload.
pub(super) struct Packet {
    bytes: [u8; MOST],
    len: usize,
    /// With its payload.
    pub(super) original_len: u32,
}

impl Packet {
    pub(super) fn headers(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Builds it.
pub(super) fn packet(segment: &Segment) -> Packet {
    let mut packet = Packet { bytes: [0; MOST], len: 0, original_len: 0 };
    let options = segment.options.as_ref().map_or(&[][..], RawOptions::as_slice);
    let tcp_len = 20 + options.len();
    ethernet(&mut packet, &segment.flow);
    let len = tcp_len as u64 + u64::from(segment.payload_len);
    if segment.flow.ipv6 {
        ipv6(&mut packet, segment, len);
    } else {
        ipv4(&mut packet, segment, len);
    }
    let transport = packet.len;
    tcp(&mut packet, segment, options);
    if segment.payload_len == 0 {
        // With a payload it cannot be known; 0 is what a capture before checksum offload has, too.
        let sum = checksum(&segment.flow, &packet.bytes[transport..packet.len]);
        packet.bytes[transport + 16..transport + 18].copy_from_slice(&sum.to_be_bytes());
    }
    let whole = packet.len as u64 + u64::from(segment.payload_len);
    packet.original_len = u32::try_from(whole).unwrap_or(u32::MAX);
    packet
}

fn ethernet(packet: &mut Packet, flow: &Flow) {
    packet.put(&[0; 12]);
    let tags = flow.vlan.iter().filter(|&&id| id != Flow::NO_VLAN).count();
    for (number, id) in flow.vlan.iter().filter(|&&id| id != Flow::NO_VLAN).enumerate() {
        // The outer one of two is a service tag (IEEE 802.1ad).
        let kind: u16 = if tags == 2 && number == 0 { 0x88a8 } else { 0x8100 };
        packet.put(&kind.to_be_bytes());
        packet.put(&(id & 0x0fff).to_be_bytes());
    }
    packet.put(if flow.ipv6 { &[0x86, 0xdd] } else { &[8, 0] });
}

/// `len` is TCP's; one that no header can say is 0, as Linux writes it.
fn ipv4(packet: &mut Packet, segment: &Segment, len: u64) {
    let total = u16::try_from(len + 20).unwrap_or(0);
    let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, segment.ttl, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[12..16].copy_from_slice(&segment.flow.src[12..]);
    header[16..20].copy_from_slice(&segment.flow.dst[12..]);
    let sum = fold(add(0, &header));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.put(&header);
}

fn ipv6(packet: &mut Packet, segment: &Segment, len: u64) {
    let [high, low] = u16::try_from(len).unwrap_or(0).to_be_bytes();
    packet.put(&[0x60, 0, 0, 0, high, low, 6, segment.ttl]);
    packet.put(&segment.flow.src);
    packet.put(&segment.flow.dst);
}

fn tcp(packet: &mut Packet, segment: &Segment, options: &[u8]) {
    packet.put(&segment.flow.src_port.to_be_bytes());
    packet.put(&segment.flow.dst_port.to_be_bytes());
    packet.put(&segment.seq.0.to_be_bytes());
    packet.put(&segment.ack.0.to_be_bytes());
    let words = u16::try_from(5 + options.len() / 4).unwrap_or(15);
    packet.put(&(words << 12 | segment.flags.0 & 0x01ff).to_be_bytes());
    packet.put(&segment.window.to_be_bytes());
    packet.put(&[0; 4]);
    packet.put(options);
}

/// RFC 9293 §3.1: over a header with the addresses, the protocol and the length before it.
fn checksum(flow: &Flow, tcp: &[u8]) -> u16 {
    // Mapped IPv4 addresses begin alike, so only what differs from IPv4's own pseudo-header must go.
    let addresses = if flow.ipv6 { 0..16 } else { 12..16 };
    let mut sum = 6 + u32::try_from(tcp.len()).unwrap_or_default();
    for part in [&flow.src[addresses.clone()], &flow.dst[addresses], tcp] {
        sum = add(sum, part);
    }
    fold(sum)
}

/// Adds 16-bit words (RFC 1071); every part has whole ones.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    bytes.as_chunks().0.iter().fold(sum, |sum, &word| sum + u32::from(u16::from_be_bytes(word)))
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or_default()
}

//! Rebuilds the headers of a packet from its record.

use crate::segment::{Flow, IcmpError, Observation, RawOptions, Segment};
use tcptrace_common::{abi::MAX_OPTIONS, tcp::TcpFlags};

/// The comment in a rebuilt segment.
pub const COMMENT: &str = "Headers rebuilt by tcptrace from its record of this segment; Ethernet addresses, DSCP \
    and flow label were not recorded, and the TCP checksum is right only where there is no payload.";

/// The comment in a rebuilt ICMP error.
pub const ICMP_COMMENT: &str = "Headers rebuilt by tcptrace from its record of this ICMP error; of the packet that it \
    quotes, IP identification, TTL, TCP options and whatever followed them were not recorded, nor where the quote ended.";

/// The length of the longest packet that is rebuilt: Ethernet with two VLAN tags, IPv6, then TCP with all options, or
/// ICMP with a quote of IPv6 and TCP.
const MAX_LEN: usize = 14 + 2 * 4 + 40 + if 20 + MAX_OPTIONS > QUOTE { 20 + MAX_OPTIONS } else { QUOTE };
const QUOTE: usize = ICMP_HEADER + 40 + 20;
const ICMP_HEADER: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

/// A rebuilt packet without its payload.
pub(super) struct RebuiltPacket {
    bytes: [u8; MAX_LEN],
    len: usize,
    /// The length of the packet with its payload.
    pub(super) original_len: u32,
}

impl RebuiltPacket {
    pub(super) fn headers(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Computes the checksum over the bytes from `from` on, and writes it into the field `at` octets after `from`.
    fn write_checksum(&mut self, from: usize, at: usize, pseudo_header: u32) {
        let sum = fold(add(pseudo_header, &self.bytes[from..self.len]));
        self.bytes[from + at..from + at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Rebuilds the headers of the packet that `what` was found in.
pub(super) fn rebuild(what: &Observation) -> RebuiltPacket {
    let mut packet = RebuiltPacket { bytes: [0; MAX_LEN], len: 0, original_len: 0 };
    ethernet(&mut packet, &what.segment().flow);
    let payload_len = match what {
        Observation::Segment(found) => {
            segment(&mut packet, found);
            found.payload_len
        }
        Observation::Icmp(error) => {
            icmp(&mut packet, error);
            0
        }
    };
    let whole = packet.len as u64 + u64::from(payload_len);
    packet.original_len = u32::try_from(whole).unwrap_or(u32::MAX);
    packet
}

fn ethernet(packet: &mut RebuiltPacket, flow: &Flow) {
    packet.put(&[0; 12]);
    let tags = flow.vlan.iter().filter(|&&id| id != Flow::NO_VLAN).count();
    for (number, id) in flow.vlan.iter().filter(|&&id| id != Flow::NO_VLAN).enumerate() {
        // The outer one of two tags is a service tag (IEEE 802.1ad).
        let kind: u16 = if tags == 2 && number == 0 { 0x88a8 } else { 0x8100 };
        packet.put(&kind.to_be_bytes());
        packet.put(&(id & 0x0fff).to_be_bytes());
    }
    packet.put(if flow.ipv6 { &[0x86, 0xdd] } else { &[8, 0] });
}

/// Appends an IP header and a TCP header.
fn segment(packet: &mut RebuiltPacket, segment: &Segment) {
    let options = segment.options.as_ref().map_or(&[][..], RawOptions::as_slice);
    let len = 20 + options.len() as u64 + u64::from(segment.payload_len);
    ip(packet, &Ip::of(segment, TCP), len);
    let start = packet.len;
    tcp(packet, segment, options);
    if segment.payload_len == 0 {
        // The checksum of a segment with payload cannot be known, and stays 0, as in a capture before checksum offload.
        let sum = pseudo_header(&Ip::of(segment, TCP), packet.len - start);
        packet.write_checksum(start, 16, sum);
    }
}

/// Appends an IP header, an ICMP header and the quote. The length in the IP header is that of what was recorded, as the
/// real one is not known.
fn icmp(packet: &mut RebuiltPacket, error: &IcmpError) {
    let quoted = &error.quoted;
    let mut quote = RebuiltPacket { bytes: [0; MAX_LEN], len: 0, original_len: 0 };
    // The TTL that the packet had when it was quoted is not known.
    segment(&mut quote, &Segment { ttl: 0, options: None, encapsulation: None, ..quoted.clone() });
    if quoted.flags == TcpFlags(0) {
        // A quote without control bits ended after the sequence number (RFC 792).
        quote.len -= 12;
    }
    let protocol = if quoted.flow.ipv6 { ICMPV6 } else { ICMP };
    let outer = Ip { src: error.from, dst: quoted.flow.src, ..Ip::of(quoted, protocol) };
    let len = ICMP_HEADER + quote.len;
    ip(packet, &outer, len as u64);
    let start = packet.len;
    packet.put(&[error.kind, error.code, 0, 0, 0, 0, 0, 0]);
    packet.put(quote.headers());
    // The checksum of ICMPv6 includes a pseudo-header (RFC 4443 §2.3), that of ICMP does not (RFC 792).
    let sum = if quoted.flow.ipv6 { pseudo_header(&outer, len) } else { 0 };
    packet.write_checksum(start, 2, sum);
}

/// The fields of an IP header.
struct Ip {
    ipv6: bool,
    src: [u8; 16],
    dst: [u8; 16],
    ttl: u8,
    id: u16,
    fragmented: bool,
    protocol: u8,
}

impl Ip {
    const fn of(segment: &Segment, protocol: u8) -> Self {
        let Flow { src, dst, ipv6, .. } = segment.flow;
        let &Segment { ttl, id, fragmented, .. } = segment;
        Self { ipv6, src, dst, ttl, id, fragmented, protocol }
    }
}

/// Appends an IP header. `len` is the length of what follows it; where it is too long for the field, 0 is written, as
/// Linux does.
fn ip(packet: &mut RebuiltPacket, ip: &Ip, len: u64) {
    if ip.ipv6 {
        let [high, low] = u16::try_from(len).unwrap_or(0).to_be_bytes();
        packet.put(&[0x60, 0, 0, 0, high, low, ip.protocol, ip.ttl]);
        packet.put(&ip.src);
        packet.put(&ip.dst);
    } else {
        let [high, low] = u16::try_from(len + 20).unwrap_or(0).to_be_bytes();
        let start = packet.len;
        let [id_high, id_low] = ip.id.to_be_bytes();
        let flags = if ip.fragmented { 0x20 } else { 0x40 };
        packet.put(&[0x45, 0, high, low, id_high, id_low, flags, 0, ip.ttl, ip.protocol, 0, 0]);
        packet.put(&ip.src[12..]);
        packet.put(&ip.dst[12..]);
        packet.write_checksum(start, 10, 0);
    }
}

fn tcp(packet: &mut RebuiltPacket, segment: &Segment, options: &[u8]) {
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

/// The sum of the pseudo-header: addresses, protocol and length (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_header(ip: &Ip, len: usize) -> u32 {
    // The last four octets of an IPv4-mapped address are the IPv4 address.
    let addresses = if ip.ipv6 { 0..16 } else { 12..16 };
    let sum = u32::from(ip.protocol) + u32::try_from(len).unwrap_or_default();
    add(add(sum, &ip.src[addresses.clone()]), &ip.dst[addresses])
}

/// Adds 16-bit words to a sum (RFC 1071). The number of bytes is always even.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    bytes.as_chunks().0.iter().fold(sum, |sum, &word| sum + u32::from(u16::from_be_bytes(word)))
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or_default()
}

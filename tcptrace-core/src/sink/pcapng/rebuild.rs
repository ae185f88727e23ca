//! A packet's headers again, from what a record has of them.

use crate::segment::{Flow, IcmpError, Observation, RawOptions, Segment};
use tcptrace_common::{abi::MAX_OPTIONS, tcp::TcpFlags};

/// What a rebuilt segment says of itself.
pub const COMMENT: &str = "Headers rebuilt by tcptrace from its record of this segment; Ethernet addresses, DSCP \
    and flow label were not recorded, and the TCP checksum is right only where there is no payload.";

/// What a rebuilt ICMP error says of itself.
pub const ICMP_COMMENT: &str = "Headers rebuilt by tcptrace from its record of this ICMP error; of the packet that it \
    quotes, IP identification, TTL, TCP options and whatever followed them were not recorded, nor where the quote ended.";

/// Ethernet with two VLAN tags, IPv6, then TCP with all options, or ICMP with IPv6 and TCP.
const MOST: usize = 14 + 2 * 4 + 40 + if 20 + MAX_OPTIONS > QUOTE { 20 + MAX_OPTIONS } else { QUOTE };
const QUOTE: usize = ICMP_HEADER + 40 + 20;
const ICMP_HEADER: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;

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

    /// Writes a checksum over what was put since `from` into the field `at` octets behind that.
    fn seal(&mut self, from: usize, at: usize, pseudo_header: u32) {
        let sum = fold(add(pseudo_header, &self.bytes[from..self.len]));
        self.bytes[from + at..from + at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Builds it.
pub(super) fn packet(what: &Observation) -> Packet {
    let mut packet = Packet { bytes: [0; MOST], len: 0, original_len: 0 };
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

/// IP and TCP.
fn segment(packet: &mut Packet, segment: &Segment) {
    let options = segment.options.as_ref().map_or(&[][..], RawOptions::as_slice);
    let len = 20 + options.len() as u64 + u64::from(segment.payload_len);
    ip(packet, &Ip::of(segment, TCP), len);
    let start = packet.len;
    tcp(packet, segment, options);
    if segment.payload_len == 0 {
        // With a payload it cannot be known; 0 is what a capture before checksum offload has, too.
        let sum = pseudo_header(&Ip::of(segment, TCP), packet.len - start);
        packet.seal(start, 16, sum);
    }
}

/// IP, ICMP and the quote. Its own length is that of what is known: the real one is not.
fn icmp(packet: &mut Packet, error: &IcmpError) {
    let quoted = &error.quoted;
    let mut quote = Packet { bytes: [0; MOST], len: 0, original_len: 0 };
    // It had some TTL when it was quoted.
    segment(&mut quote, &Segment { ttl: 0, options: None, encapsulation: None, ..quoted.clone() });
    if quoted.flags == TcpFlags(0) {
        // Control bits that are none were not quoted: it ended after the sequence number (RFC 792).
        quote.len -= 12;
    }
    let protocol = if quoted.flow.ipv6 { ICMPV6 } else { ICMP };
    let outer = Ip { src: error.from, dst: quoted.flow.src, ..Ip::of(quoted, protocol) };
    let len = ICMP_HEADER + quote.len;
    ip(packet, &outer, len as u64);
    let start = packet.len;
    packet.put(&[error.kind, error.code, 0, 0, 0, 0, 0, 0]);
    packet.put(quote.headers());
    // RFC 4443 §2.3; ICMP's own has no addresses in it (RFC 792).
    let sum = if quoted.flow.ipv6 { pseudo_header(&outer, len) } else { 0 };
    packet.seal(start, 2, sum);
}

/// What an IP header says.
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

/// `len` is that of what follows; one that no header can say is 0, as Linux writes it.
fn ip(packet: &mut Packet, ip: &Ip, len: u64) {
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
        packet.seal(start, 10, 0);
    }
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

/// The sum of the addresses, the protocol and the length that a checksum begins with (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_header(ip: &Ip, len: usize) -> u32 {
    // Mapped IPv4 addresses begin alike, so only what differs from IPv4's own pseudo-header must go.
    let addresses = if ip.ipv6 { 0..16 } else { 12..16 };
    let sum = u32::from(ip.protocol) + u32::try_from(len).unwrap_or_default();
    add(add(sum, &ip.src[addresses.clone()]), &ip.dst[addresses])
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

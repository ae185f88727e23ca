//! Reads the first header of a packet, of whatever link type, up to the header that the parser of the kernel programs
//! begins at: an Ethernet header, an IP header, or what follows an Ethernet type. From there on that parser reads
//! packets of files and packets of the kernel alike.
//!
//! A link type that is not known is not guessed at: its packets are counted by its name.

mod cut;
mod unseen;

pub use unseen::Unseen;

use super::{LinkType, Packet};
use crate::segment::Direction;
use tcptrace_common::wire::{Bytes, Link, Parsed, Unparsable, tunnel::Decap};

/// A packet of a file after its headers were parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dissected {
    /// What the parser found; its places count from `at`.
    pub parsed: Parsed,
    /// Where the header that the parser began at lies in the packet.
    pub at: usize,
    /// The direction of the packet: as the file says, or else as its first header says.
    pub direction: Direction,
    /// The device that saw the packet, where its first header says so.
    pub device: Option<Device>,
    /// What the packet is, if it may hold TCP and was not looked into.
    pub unseen: Option<Unseen>,
    /// The length on the wire from `at` on, in bytes. It is that of the file; where the IP header says more than the
    /// file does, it is a number above the length of any packet.
    pub wire_len: usize,
}

/// A device as the header of a packet names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// The index of the device.
    Index(u32),
    /// The name of the device, which lies in the packet and is filled up with zeros.
    Named {
        /// Where the name begins in the packet.
        at: usize,
        /// The length of the field of the name, in octets.
        len: usize,
    },
}

/// An error: a link type that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownLink(pub LinkType);

impl Dissected {
    /// Of a packet that was not looked into.
    pub const NOTHING: Self = Self {
        parsed: Parsed::Other,
        at: 0,
        direction: Direction::Unknown,
        device: None,
        unseen: None,
        wire_len: 0,
    };
}

/// Parses the headers of a packet up to its TCP header, into `out`, which is [`Dissected::NOTHING`] before. `decap` says which
/// tunnels are to be found. What is found is written where it is needed: to move it takes as long as to find it.
#[inline]
pub fn dissect(packet: &Packet<'_>, decap: &Decap, out: &mut Dissected) -> Result<(), UnknownLink> {
    if packet.link == LinkType::ETHERNET {
        let bytes = Bytes { captured: packet.data, wire_len: packet.original_len as usize };
        out.direction = packet.direction;
        parse(bytes, Link::Ethernet, decap, out);
        return Ok(());
    }
    dissect_other(packet, decap, out)
}

/// Runs the parser over a packet, and writes down what it found, the length on the wire, and what the packet is if it was not
/// looked into. It is inlined once for Ethernet and once for all other link types, so that the compiler knows for Ethernet where
/// everything lies.
#[inline(always)]
fn parse(bytes: Bytes<'_>, link: Link, decap: &Decap, out: &mut Dissected) {
    out.wire_len = cut::parse(bytes, link, decap, &mut out.parsed);
    if out.parsed == Parsed::Other {
        out.unseen = unseen::identify(bytes, link);
    }
}

/// Parses a packet of any link type but Ethernet.
fn dissect_other(packet: &Packet<'_>, decap: &Decap, out: &mut Dissected) -> Result<(), UnknownLink> {
    let data = packet.data;
    let header = link_header(packet.link, data).ok_or(UnknownLink(packet.link))?;
    match header.next {
        NextHeader::To { link, at } => {
            let wire_len = (packet.original_len as usize).saturating_sub(at);
            let bytes = Bytes { captured: data.get(at..).unwrap_or_default(), wire_len };
            out.at = at;
            parse(bytes, link, decap, out);
        }
        NextHeader::Other => {}
        NextHeader::Unparsable(reason) => out.parsed = Parsed::Unparsable(reason),
    }
    out.direction = match packet.direction {
        Direction::Unknown => header.direction,
        known => known,
    };
    out.device = header.device;
    Ok(())
}

/// What the first header of a packet says, and the header that follows it.
struct LinkHeader {
    next: NextHeader,
    direction: Direction,
    device: Option<Device>,
}

enum NextHeader {
    /// A header that the parser of the kernel programs knows.
    To {
        link: Link,
        at: usize,
    },
    Other,
    Unparsable(Unparsable),
}

impl NextHeader {
    const fn ip(at: usize) -> Self {
        Self::To { link: Link::Ip, at }
    }

    const fn ethernet(at: usize) -> Self {
        Self::To { link: Link::Ethernet, at }
    }

    /// What follows a header with an Ethernet type. That field cannot be a length, as it can in an Ethernet header.
    const fn after_ethertype(ethertype: u16, at: usize) -> Self {
        if ethertype < 0x600 { Self::Other } else { Self::To { link: Link::Behind(ethertype), at } }
    }

    /// LLC, which Ethernet announces by a length in the place of a type.
    const fn llc(at: usize) -> Self {
        Self::To { link: Link::Behind(0), at }
    }
}

const CUT: NextHeader = NextHeader::Unparsable(Unparsable::Truncated);

impl From<NextHeader> for LinkHeader {
    fn from(next: NextHeader) -> Self {
        Self { next, direction: Direction::Unknown, device: None }
    }
}

/// Reads the first header of a packet; `None` for a link type that is not known.
fn link_header(link: LinkType, data: &[u8]) -> Option<LinkHeader> {
    Some(match link {
        LinkType::ETHERNET => NextHeader::ethernet(0).into(),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            NextHeader::ip(0).into()
        }
        LinkType::NULL | LinkType::LOOP => loopback(data).into(),
        LinkType::LINUX_SLL => cooked(data),
        LinkType::LINUX_SLL2 => cooked_v2(data),
        LinkType::PPP | LinkType::PPP_HDLC => ppp(data).into(),
        LinkType::C_HDLC => cisco_hdlc(data).into(),
        // This is PPPoE without the Ethernet header.
        LinkType::PPP_ETHER => NextHeader::after_ethertype(0x8864, 0).into(),
        LinkType::FDDI => fddi(data).into(),
        LinkType::IEEE802_11 => ieee802_11(data, 0, false).into(),
        LinkType::RADIOTAP => radiotap(data).into(),
        LinkType::PPI => return per_packet_information(data),
        LinkType::PKTAP => return pktap(data),
        LinkType::USER2 if is_pktap(data) => return pktap(data),
        LinkType::NFLOG => netfilter_log(data).into(),
        _ => return None,
    })
}

/// The address family as the capturing system numbers it: in its own byte order for NULL, in network byte order for
/// LOOP. Some writers of either get that wrong, and no family needs more than a byte.
fn loopback(data: &[u8]) -> NextHeader {
    let Some(family) = data.first_chunk().map(|&family| u32::from_be_bytes(family)) else {
        return CUT;
    };
    match if family > 0xffff { family.swap_bytes() } else { family } {
        // AF_INET is 2 everywhere. AF_INET6 is 10 on Linux, 23 on Windows, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30
        // on Darwin.
        2 | 10 | 23 | 24 | 28 | 30 => NextHeader::ip(4),
        _ => NextHeader::Other,
    }
}

/// Reads a `LINUX_SLL` header: packet type, device type, address length, address, protocol.
fn cooked(data: &[u8]) -> LinkHeader {
    let (Some(kind), Some(protocol)) = (be16(data, 0), be16(data, 14)) else {
        return CUT.into();
    };
    LinkHeader { next: cooked_protocol(protocol, 16), direction: cooked_direction(kind), device: None }
}

/// Reads a `LINUX_SLL2` header: protocol, reserved, interface index, device type, packet type, address length, address.
fn cooked_v2(data: &[u8]) -> LinkHeader {
    let Some(&[p0, p1, _, _, i0, i1, i2, i3, _, _, kind, ..]) = data.first_chunk::<20>() else {
        return CUT.into();
    };
    LinkHeader {
        next: cooked_protocol(u16::from_be_bytes([p0, p1]), 20),
        direction: cooked_direction(u16::from(kind)),
        device: Some(Device::Index(u32::from_be_bytes([i0, i1, i2, i3]))),
    }
}

const fn cooked_protocol(protocol: u16, at: usize) -> NextHeader {
    match protocol {
        // This is LINUX_SLL_P_802_2.
        4 => NextHeader::llc(at),
        protocol => NextHeader::after_ethertype(protocol, at),
    }
}

/// The direction by the packet type: 0 to 2 are to this host, broadcast and multicast; 3 is to another host, seen in
/// passing; 4 is from this host.
const fn cooked_direction(kind: u16) -> Direction {
    match kind {
        0..=2 => Direction::Ingress,
        4 => Direction::Egress,
        _ => Direction::Unknown,
    }
}

/// Reads a PPP header (RFC 1661, RFC 1662). Address and control may be left out, and so may the first byte of the
/// protocol.
fn ppp(data: &[u8]) -> NextHeader {
    match *data {
        // Cisco's HDLC is written under the numbers of PPP too. A PPP header never begins with its addresses.
        [0x0f | 0x8f, 0, ..] => cisco_hdlc(data),
        [0xff, 3, ..] => ppp_protocol(data, 2),
        _ => ppp_protocol(data, 0),
    }
}

fn ppp_protocol(data: &[u8], at: usize) -> NextHeader {
    let (protocol, at) = match data.get(at..) {
        // The least significant bit ends the protocol number (RFC 1661 §2).
        Some(&[low, ..]) if low & 1 == 1 => (u16::from(low), at + 1),
        Some(&[high, low, ..]) => (u16::from_be_bytes([high, low]), at + 2),
        _ => return CUT,
    };
    match protocol {
        0x21 | 0x57 => NextHeader::ip(at),
        _ => NextHeader::Other,
    }
}

/// Reads a header of Cisco's HDLC: address, control, then an Ethernet type.
fn cisco_hdlc(data: &[u8]) -> NextHeader {
    be16(data, 2).map_or(CUT, |ethertype| NextHeader::after_ethertype(ethertype, 4))
}

/// Reads an FDDI header: frame control, two addresses, then LLC if the frame is an LLC frame.
fn fddi(data: &[u8]) -> NextHeader {
    match data.first() {
        Some(control) if control & 0xf0 == 0x50 => NextHeader::llc(13),
        Some(_) => NextHeader::Other,
        None => CUT,
    }
}

/// Reads a radiotap header (radiotap.org): version, padding, length and a bitmap of fields, little-endian.
fn radiotap(data: &[u8]) -> NextHeader {
    let (Some(len), Some(first)) = (le16(data, 2), le32(data, 4)) else {
        return CUT;
    };
    // Another word of the bitmap follows while bit 31 is set.
    let mut at = 8;
    let mut present = first;
    while present & 0x8000_0000 != 0 {
        let Some(next) = le32(data, at) else {
            return CUT;
        };
        (present, at) = (next, at + 4);
    }
    // Field 0 is a time of 8 bytes, aligned. Field 1 is a byte of flags, of which 0x20 says that the 802.11 header is
    // padded.
    if first & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let padded = first & 2 != 0 && data.get(at).is_some_and(|flags| flags & 0x20 != 0);
    ieee802_11(data, usize::from(len), padded)
}

/// Reads an IEEE 802.11 header (IEEE 802.11-2020 §9.2, §9.3.2) of a data frame that is not encrypted; LLC follows it.
/// Aggregates (A-MSDU), and fragments other than the first, are not looked into.
fn ieee802_11(data: &[u8], at: usize, padded: bool) -> NextHeader {
    let Some(&[control, flags, ..]) = data.get(at..) else {
        return CUT;
    };
    let (data_frame, qos, empty) = (control & 0x0f == 0x08, control & 0x80 != 0, control & 0x40 != 0);
    let protected = flags & 0x40 != 0;
    if !data_frame || empty || protected {
        return NextHeader::Other;
    }
    // A frame between two access points has four addresses.
    let addresses = if flags & 3 == 3 { 30 } else { 24 };
    let mut len = addresses;
    if qos {
        match data.get(at + addresses) {
            Some(control) if control & 0x80 != 0 => return NextHeader::Other,
            Some(_) => {}
            None => return CUT,
        }
        // The order bit says that HT control follows.
        len += if flags & 0x80 != 0 { 6 } else { 2 };
    }
    match le16(data, at + 22) {
        Some(sequence) if sequence & 0x0f != 0 => return NextHeader::Other,
        Some(_) => {}
        None => return CUT,
    }
    if padded {
        len = len.next_multiple_of(4);
    }
    NextHeader::llc(at + len)
}

/// Reads a PPI header: version, flags, length and the link type of what follows, little-endian.
fn per_packet_information(data: &[u8]) -> Option<LinkHeader> {
    let (Some(len), Some(link)) = (le16(data, 2), le32(data, 4)) else {
        return Some(CUT.into());
    };
    let Some(rest) = data.get(usize::from(len)..) else {
        return Some(CUT.into());
    };
    inner_link_header(LinkType(u16::try_from(link).ok()?), rest, usize::from(len))
}

/// Reads the link header that another link header is wrapped around. `rest` is the packet from `at` on, and the places
/// returned count from the beginning of the packet.
fn inner_link_header(link: LinkType, rest: &[u8], at: usize) -> Option<LinkHeader> {
    // Wrappers within each other would make this recurse without end.
    if matches!(link, LinkType::PPI | LinkType::PKTAP | LinkType::USER2) {
        return None;
    }
    let found = link_header(link, rest)?;
    let next = match found.next {
        NextHeader::To { link, at: further } => NextHeader::To { link, at: at + further },
        next => next,
    };
    Some(LinkHeader { next, ..found })
}

/// Whether a packet of the private link type USER2 has a PKTAP header. The tcpdump of macOS wrote PKTAP under this
/// number before it had one of its own (libpcap's `pcap-common.c`, `DLT_PKTAP`).
fn is_pktap(data: &[u8]) -> bool {
    const PLAIN: u32 = 108;
    le32(data, 0) == Some(PLAIN) && le32(data, 4) == Some(1)
}

/// Reads a PKTAP header (`bsd/net/pktap.h` of Darwin): length, type of what follows (1: a packet), its link type, the
/// name of the interface in 24 octets, flags; little-endian.
fn pktap(data: &[u8]) -> Option<LinkHeader> {
    const NAME: Device = Device::Named { at: 12, len: 24 };
    let (Some(len), Some(kind), Some(link), Some(flags)) =
        (le32(data, 0), le32(data, 4), le32(data, 8), le32(data, 36))
    else {
        return Some(CUT.into());
    };
    if kind != 1 {
        return Some(NextHeader::Other.into());
    }
    let at = usize::try_from(len).ok()?;
    let link = LinkType(u16::try_from(link).ok()?);
    let Some(rest) = data.get(at..) else {
        return Some(CUT.into());
    };
    let found = inner_link_header(link, rest, at)?;
    // These are PTH_FLAG_DIR_IN and PTH_FLAG_DIR_OUT.
    let direction = match flags & 3 {
        1 => Direction::Ingress,
        2 => Direction::Egress,
        _ => found.direction,
    };
    Some(LinkHeader { direction, device: Some(NAME), ..found })
}

/// Reads an NFLOG header: family, version, resource, then values, each after its length and type. These are in the byte
/// order of the machine that logged. All types are small, so that one with an upper byte is in the other byte order.
fn netfilter_log(data: &[u8]) -> NextHeader {
    const PAYLOAD: u16 = 9;
    let [family, ..] = *data else {
        return CUT;
    };
    let mut at = 4;
    while let Some(&[a, b, c, d]) = data.get(at..).and_then(|rest| rest.first_chunk()) {
        let (mut len, mut kind) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if kind > 0xff {
            (len, kind) = (len.swap_bytes(), kind.swap_bytes());
        }
        if len < 4 {
            return NextHeader::Unparsable(Unparsable::BadLength);
        }
        if kind == PAYLOAD {
            // These are AF_INET and AF_INET6 of Linux. A bridge logs Ethernet frames, which are not looked into.
            let ip = matches!(family, 2 | 10);
            return if ip { NextHeader::ip(at + 4) } else { NextHeader::Other };
        }
        at += usize::from(len).next_multiple_of(4);
    }
    CUT
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|&bytes| u16::from_be_bytes(bytes))
}

fn le16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|&bytes| u16::from_le_bytes(bytes))
}

fn le32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;

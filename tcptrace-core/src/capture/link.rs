//! From a packet's first header, whichever it is, to the header that the parser of the kernel programs begins at:
//! Ethernet's, IP's, or what follows an Ethernet type. That parser then reads a file's packets as it reads the kernel's.
//!
//! A header that is not known is not guessed at: its packets are counted by its name.

mod cut;
mod unseen;

pub use unseen::Unseen;

use super::{LinkType, Packet};
use crate::segment::Direction;
use tcptrace_common::wire::{Bytes, Link, Parsed, Unparsable, tunnel::Decap};

/// What a packet turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// By the parser; its places count from `at`.
    pub parsed: Parsed,
    /// Where the header that it began at lies.
    pub at: usize,
    /// Which way the packet went, where its first header says so.
    pub direction: Direction,
    /// The device that saw it, where its first header says so.
    pub device: Option<Device>,
    /// What it is, if it may hold TCP and is not looked into.
    pub unseen: Option<Unseen>,
    /// How long it was on the wire, from `at` on: by the file, or where its IP header says more than the file does, longer
    /// than any packet.
    pub wire_len: usize,
}

/// A device as a packet's own header names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
    /// By its index.
    Index(u32),
    /// By its name, which is here in the packet, filled up with zeros.
    Named {
        /// Where it begins.
        at: usize,
        /// Octets of it at most.
        len: usize,
    },
}

/// A link type that nothing is known about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownLink(pub LinkType);

/// Looks at a packet, and for these tunnels in it.
#[inline]
pub fn look(packet: &Packet<'_>, decap: &Decap) -> Result<Look, UnknownLink> {
    if packet.link == LinkType::ETHERNET {
        let bytes = Bytes { captured: packet.data, wire_len: packet.original_len as usize };
        let (parsed, wire_len, unseen) = parse(bytes, Link::Ethernet, decap);
        return Ok(Look { parsed, at: 0, direction: packet.direction, device: None, unseen, wire_len });
    }
    walk(packet, decap)
}

/// What the parser says of a packet, how long that was on the wire, and what it is if it is not looked into. Once for Ethernet
/// and once for all others, so that the compiler knows in the first where everything lies.
#[inline(always)]
fn parse(bytes: Bytes<'_>, link: Link, decap: &Decap) -> (Parsed, usize, Option<Unseen>) {
    let (parsed, wire_len) = cut::parse(bytes, link, decap);
    let unseen = if parsed == Parsed::Other { unseen::what(bytes, link) } else { None };
    (parsed, wire_len, unseen)
}

/// All but Ethernet.
fn walk(packet: &Packet<'_>, decap: &Decap) -> Result<Look, UnknownLink> {
    let data = packet.data;
    let reach = reach(packet.link, data).ok_or(UnknownLink(packet.link))?;
    let (at, (parsed, wire_len, unseen)) = match reach.way {
        Way::To { link, at } => {
            let wire_len = (packet.original_len as usize).saturating_sub(at);
            let bytes = Bytes { captured: data.get(at..).unwrap_or_default(), wire_len };
            (at, parse(bytes, link, decap))
        }
        Way::Other => (0, (Parsed::Other, 0, None)),
        Way::Unparsable(reason) => (0, (Parsed::Unparsable(reason), 0, None)),
    };
    let direction = match packet.direction {
        Direction::Unknown => reach.direction,
        known => known,
    };
    Ok(Look { parsed, at, direction, device: reach.device, unseen, wire_len })
}

/// What a packet's headers lead to.
struct Reach {
    way: Way,
    direction: Direction,
    device: Option<Device>,
}

enum Way {
    /// To a header that the parser knows.
    To {
        link: Link,
        at: usize,
    },
    Other,
    Unparsable(Unparsable),
}

impl Way {
    const fn ip(at: usize) -> Self {
        Self::To { link: Link::Ip, at }
    }

    const fn ethernet(at: usize) -> Self {
        Self::To { link: Link::Ethernet, at }
    }

    /// Behind an Ethernet type that another kind of header had, where a length would mean nothing.
    const fn behind(ethertype: u16, at: usize) -> Self {
        if ethertype < 0x600 { Self::Other } else { Self::To { link: Link::Behind(ethertype), at } }
    }

    /// LLC, which lengths announce.
    const fn llc(at: usize) -> Self {
        Self::To { link: Link::Behind(0), at }
    }
}

const CUT: Way = Way::Unparsable(Unparsable::Truncated);

impl From<Way> for Reach {
    fn from(way: Way) -> Self {
        Self { way, direction: Direction::Unknown, device: None }
    }
}

/// `None` for a link type that is not known.
fn reach(link: LinkType, data: &[u8]) -> Option<Reach> {
    Some(match link {
        LinkType::ETHERNET => Way::ethernet(0).into(),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            Way::ip(0).into()
        }
        LinkType::NULL | LinkType::LOOP => loopback(data).into(),
        LinkType::LINUX_SLL => cooked(data),
        LinkType::LINUX_SLL2 => cooked_v2(data),
        LinkType::PPP | LinkType::PPP_HDLC => ppp(data).into(),
        LinkType::C_HDLC => cisco_hdlc(data).into(),
        // PPPoE without the Ethernet header.
        LinkType::PPP_ETHER => Way::behind(0x8864, 0).into(),
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

/// The address family of the capturing system, in its byte order for NULL, in network order for LOOP; some writers of
/// either get that wrong, and no family is larger than a byte.
fn loopback(data: &[u8]) -> Way {
    let Some(family) = data.first_chunk().map(|&family| u32::from_be_bytes(family)) else {
        return CUT;
    };
    match if family > 0xffff { family.swap_bytes() } else { family } {
        // AF_INET everywhere; AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin
        2 | 10 | 23 | 24 | 28 | 30 => Way::ip(4),
        _ => Way::Other,
    }
}

/// `LINUX_SLL`: packet type, device type, address length, address, protocol.
fn cooked(data: &[u8]) -> Reach {
    let (Some(kind), Some(protocol)) = (be16(data, 0), be16(data, 14)) else {
        return CUT.into();
    };
    Reach { way: cooked_protocol(protocol, 16), direction: cooked_direction(kind), device: None }
}

/// `LINUX_SLL2`: protocol, reserved, interface index, device type, packet type, address length, address.
fn cooked_v2(data: &[u8]) -> Reach {
    let Some(&[p0, p1, _, _, i0, i1, i2, i3, _, _, kind, ..]) = data.first_chunk::<20>() else {
        return CUT.into();
    };
    Reach {
        way: cooked_protocol(u16::from_be_bytes([p0, p1]), 20),
        direction: cooked_direction(u16::from(kind)),
        device: Some(Device::Index(u32::from_be_bytes([i0, i1, i2, i3]))),
    }
}

const fn cooked_protocol(protocol: u16, at: usize) -> Way {
    match protocol {
        // LINUX_SLL_P_802_2
        4 => Way::llc(at),
        protocol => Way::behind(protocol, at),
    }
}

/// To this host, broadcast or multicast; to another host seen in passing; from this host.
const fn cooked_direction(kind: u16) -> Direction {
    match kind {
        0..=2 => Direction::Ingress,
        4 => Direction::Egress,
        _ => Direction::Unknown,
    }
}

/// RFC 1661 and 1662: address and control may be there or not, and so may the protocol's first byte.
fn ppp(data: &[u8]) -> Way {
    match *data {
        // Cisco's HDLC is written under PPP's numbers too; its addresses are no PPP header.
        [0x0f | 0x8f, 0, ..] => cisco_hdlc(data),
        [0xff, 3, ..] => ppp_protocol(data, 2),
        _ => ppp_protocol(data, 0),
    }
}

fn ppp_protocol(data: &[u8], at: usize) -> Way {
    let (protocol, at) = match data.get(at..) {
        // The least significant bit ends the number (RFC 1661 §2).
        Some(&[low, ..]) if low & 1 == 1 => (u16::from(low), at + 1),
        Some(&[high, low, ..]) => (u16::from_be_bytes([high, low]), at + 2),
        _ => return CUT,
    };
    match protocol {
        0x21 | 0x57 => Way::ip(at),
        _ => Way::Other,
    }
}

/// Address, control, then an Ethernet type.
fn cisco_hdlc(data: &[u8]) -> Way {
    be16(data, 2).map_or(CUT, |ethertype| Way::behind(ethertype, 4))
}

/// Frame control, two addresses, then LLC if the frame is an LLC frame.
fn fddi(data: &[u8]) -> Way {
    match data.first() {
        Some(control) if control & 0xf0 == 0x50 => Way::llc(13),
        Some(_) => Way::Other,
        None => CUT,
    }
}

/// radiotap.org: version, padding, length and a bitmap of fields, little-endian.
fn radiotap(data: &[u8]) -> Way {
    let (Some(len), Some(first)) = (le16(data, 2), le32(data, 4)) else {
        return CUT;
    };
    // The bitmap goes on while bit 31 is set.
    let mut at = 8;
    let mut present = first;
    while present & 0x8000_0000 != 0 {
        let Some(next) = le32(data, at) else {
            return CUT;
        };
        (present, at) = (next, at + 4);
    }
    // Field 0 is a time of 8 bytes, aligned; field 1 is flags, of which 0x20 is padding behind the 802.11 header.
    if first & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let padded = first & 2 != 0 && data.get(at).is_some_and(|flags| flags & 0x20 != 0);
    ieee802_11(data, usize::from(len), padded)
}

/// IEEE 802.11-2020 §9.2, §9.3.2: data frames in the clear, LLC behind the header. Aggregates (A-MSDU) and fragments
/// but first ones are left alone.
fn ieee802_11(data: &[u8], at: usize, padded: bool) -> Way {
    let Some(&[control, flags, ..]) = data.get(at..) else {
        return CUT;
    };
    let (data_frame, qos, empty) = (control & 0x0f == 0x08, control & 0x80 != 0, control & 0x40 != 0);
    let protected = flags & 0x40 != 0;
    if !data_frame || empty || protected {
        return Way::Other;
    }
    // Four addresses between two access points.
    let addresses = if flags & 3 == 3 { 30 } else { 24 };
    let mut len = addresses;
    if qos {
        match data.get(at + addresses) {
            Some(control) if control & 0x80 != 0 => return Way::Other,
            Some(_) => {}
            None => return CUT,
        }
        // With the order bit, HT control follows.
        len += if flags & 0x80 != 0 { 6 } else { 2 };
    }
    match le16(data, at + 22) {
        Some(sequence) if sequence & 0x0f != 0 => return Way::Other,
        Some(_) => {}
        None => return CUT,
    }
    if padded {
        len = len.next_multiple_of(4);
    }
    Way::llc(at + len)
}

/// PPI: version, flags, length and the link type of what follows, little-endian.
fn per_packet_information(data: &[u8]) -> Option<Reach> {
    let (Some(len), Some(link)) = (le16(data, 2), le32(data, 4)) else {
        return Some(CUT.into());
    };
    let Some(rest) = data.get(usize::from(len)..) else {
        return Some(CUT.into());
    };
    within(LinkType(u16::try_from(link).ok()?), rest, usize::from(len))
}

/// What a packet leads to, `rest` from `at` on, that has another header of these around it.
fn within(link: LinkType, rest: &[u8], at: usize) -> Option<Reach> {
    // Within each other they would lead in circles.
    if matches!(link, LinkType::PPI | LinkType::PKTAP | LinkType::USER2) {
        return None;
    }
    let found = reach(link, rest)?;
    let way = match found.way {
        Way::To { link, at: further } => Way::To { link, at: at + further },
        way => way,
    };
    Some(Reach { way, ..found })
}

/// Whether what has a number that anybody may use is Apple's: before it had a number of its own (libpcap's `pcap-common.c`,
/// `DLT_PKTAP`) tcpdump of macOS wrote it by this one.
fn is_pktap(data: &[u8]) -> bool {
    const PLAIN: u32 = 108;
    le32(data, 0) == Some(PLAIN) && le32(data, 4) == Some(1)
}

/// PKTAP (`bsd/net/pktap.h` of Darwin): length, type of what follows (1: a packet), its link type, the interface's name in 24
/// octets, flags; little-endian.
fn pktap(data: &[u8]) -> Option<Reach> {
    const NAME: Device = Device::Named { at: 12, len: 24 };
    let (Some(len), Some(kind), Some(link), Some(flags)) =
        (le32(data, 0), le32(data, 4), le32(data, 8), le32(data, 36))
    else {
        return Some(CUT.into());
    };
    if kind != 1 {
        return Some(Way::Other.into());
    }
    let at = usize::try_from(len).ok()?;
    let link = LinkType(u16::try_from(link).ok()?);
    let Some(rest) = data.get(at..) else {
        return Some(CUT.into());
    };
    let found = within(link, rest, at)?;
    // PTH_FLAG_DIR_IN, PTH_FLAG_DIR_OUT
    let direction = match flags & 3 {
        1 => Direction::Ingress,
        2 => Direction::Egress,
        _ => found.direction,
    };
    Some(Reach { direction, device: Some(NAME), ..found })
}

/// NFLOG: family, version, resource, then values behind their length and type, which are in the byte order of the
/// machine that logged. Types are small: read the wrong way round, one has an upper byte.
fn netfilter_log(data: &[u8]) -> Way {
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
            return Way::Unparsable(Unparsable::BadLength);
        }
        if kind == PAYLOAD {
            // AF_INET and AF_INET6 of Linux; a bridge logs frames of its own kind.
            let ip = matches!(family, 2 | 10);
            return if ip { Way::ip(at + 4) } else { Way::Other };
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

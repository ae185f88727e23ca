//! Tunnels: the headers between an IP header and another packet within it. That packet is of another network, whose
//! addresses may mean something else than they do here, so that nothing is looked into without being told to.
//!
//! One step goes from the outer IP header ([`Outer`]) to where the inner packet begins ([`Step`]); from there on it is
//! parsed as any other ([`inside`]), and may be a tunnel again.

mod decap;

pub use crate::tunnel::Kind;
pub use decap::{DECAP_WORDS, Decap, Deep, MAX_PORTS};

use super::{AsIs, Header as _, Load, Parsed, Receive, Unparsable, ethertype::TAG, link};
use crate::vlan::Vlans;

const IPV4_IN: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN: u8 = 41;
const GRE: u8 = 47;

/// Octets of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

/// Ethernet types; [`ETHERNET`] is a whole frame (RFC 1701's transparent Ethernet bridging, 0x6558).
const ETHERNET: u16 = 0x6558;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// GTP-U extension headers walked at most. TS 29.281 §5.2.1 has five; packets have one, for 5G's quality of service.
pub const MAX_GTP_EXTENSIONS: usize = 4;

/// TZSP tags walked at most before the one that ends them, padding too. Routers send none; of a wireless frame a sensor
/// may tell a dozen things, of an Ethernet one its length, its number and the sensor.
pub const MAX_TZSP_TAGS: usize = 8;

/// An inner packet begins before this: VLAN tags, the longest chain of IPv6 extension headers and the longest of the
/// tunnels' headers are 14 KiB.
pub const MAX_INSIDE: usize = 1 << 14;

const _: () = assert!(MAX_INSIDE + link::ETHERNET + 2 * TAG <= link::OFFSETS);

/// An IP header before what may be a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// Source address, in words as they lie on the wire, IPv4 mapped.
    pub src: [u32; 4],
    /// Destination address, likewise.
    pub dst: [u32; 4],
    /// VLAN identifiers before it.
    pub vlans: Vlans,
    /// It is IPv6.
    pub ipv6: bool,
    /// The IP protocol number of what follows.
    pub protocol: u8,
    /// Where that begins.
    pub at: usize,
    /// There are more fragments: the inner packet does not end here.
    pub fragmented: bool,
}

/// Whether what follows IP, at `at`, can be a tunnel that is looked into.
#[inline(always)]
pub(super) fn is_carrier<L: Load>(packet: &L, ipv6: bool, protocol: u8, at: usize) -> bool {
    let kinds = packet.decap(0);
    if kinds == 0 {
        return false;
    }
    if protocol == UDP { by_port(packet, at) != 0 } else { is_bare_carrier(kinds, ipv6, protocol) }
}

/// The same where the protocol alone tells.
#[inline(always)]
pub(super) const fn is_bare_carrier(kinds: u32, ipv6: bool, protocol: u8) -> bool {
    match protocol {
        GRE => kinds & (Kind::Gre.bit() | Kind::Erspan.bit()) != 0,
        IPV4_IN | IPV6_IN => kinds & of_ip(ipv6, protocol).bit() != 0,
        _ => false,
    }
}

#[inline(always)]
const fn of_ip(outer_is_ipv6: bool, protocol: u8) -> Kind {
    match (outer_is_ipv6, protocol) {
        (false, IPV6_IN) => Kind::SixInFour,
        (true, IPV4_IN) => Kind::FourInSix,
        _ => Kind::Ipip,
    }
}

/// The code of the kind of tunnel that is looked for at a UDP destination port; 0 for none.
#[inline(always)]
fn by_port(packet: &impl Load, at: usize) -> u32 {
    let Some(header) = packet.load::<4>(at) else {
        return 0;
    };
    let port = u32::from(header.raw16(2));
    for place in 1..DECAP_WORDS {
        let word = packet.decap(place);
        if word != 0 && word >> 16 == port {
            return word & 0xff;
        }
    }
    0
}

/// What one tunnel's header leads to. Numbers side by side, as in `encapsulation::Place`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whether it leads anywhere.
    pub end: End,
    /// The kind.
    pub kind: Kind,
    /// It has an identifier.
    pub has_id: bool,
    /// VXLAN's and Geneve's network identifier (24 bits), GRE's key, GTP-U's tunnel endpoint identifier (32), ERSPAN's
    /// session (10).
    pub id: u32,
    /// The Ethernet type of what is inside, 0x6558 for Ethernet.
    pub ethertype: u16,
    /// Where that begins.
    pub at: usize,
}

/// Where a step ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// At an inner packet.
    Inside,
    /// It is no tunnel that is looked into, or not with a packet in it.
    Other,
    /// In a header that was not captured whole.
    Truncated,
    /// In a length that cannot be.
    BadLength,
    /// In more extension headers than are walked.
    Deep,
}

impl Step {
    #[inline(always)]
    const fn to(kind: Kind, ethertype: u16, at: usize) -> Self {
        Self { end: End::Inside, kind, has_id: false, id: 0, ethertype, at }
    }

    #[inline(always)]
    const fn with_id(self, id: u32) -> Self {
        Self { has_id: true, id, ..self }
    }

    #[inline(always)]
    const fn ends(kind: Kind, end: End) -> Self {
        Self { end, kind, has_id: false, id: 0, ethertype: 0, at: 0 }
    }

    /// Why it could not be parsed, if so.
    #[must_use]
    pub const fn unparsable(&self) -> Option<Unparsable> {
        match self.end {
            End::Inside | End::Other => None,
            End::Truncated => Some(Unparsable::Truncated),
            End::BadLength => Some(Unparsable::BadLength),
            End::Deep => Some(Unparsable::ExtensionDepth),
        }
    }
}

/// Goes through a tunnel's headers, from what follows the outer IP header on, at `at`.
#[inline(always)]
pub fn enter(packet: &impl Load, ipv6: bool, protocol: u8, at: usize) -> Step {
    let step = match protocol {
        GRE => gre(packet, at),
        UDP => {
            let at_tunnel = at + UDP_HEADER;
            match by_port(packet, at) {
                code if code == Kind::Vxlan as u32 => vxlan(packet, at_tunnel),
                code if code == Kind::Geneve as u32 => geneve(packet, at_tunnel),
                code if code == Kind::GtpU as u32 => gtp(packet, at_tunnel),
                code if code == Kind::Tzsp as u32 => tzsp(packet, at_tunnel),
                code if code == Kind::Gre as u32 => gre(packet, at_tunnel),
                _ => Step::ends(Kind::Gre, End::Other),
            }
        }
        IPV6_IN => Step::to(of_ip(ipv6, protocol), IPV6, at),
        _ => Step::to(of_ip(ipv6, protocol), IPV4, at),
    };
    let asked = packet.decap(0) & step.kind.bit() != 0;
    // An Ethernet type below 0x600 would be a length.
    if step.end == End::Inside && (!asked || step.ethertype < 0x600 || step.at >= MAX_INSIDE) {
        return Step::ends(step.kind, End::Other);
    }
    step
}

/// RFC 2784 §2.1 with RFC 2890 §2: flags and version, protocol type, then checksum, key and sequence number where the
/// flags say so. What has RFC 1701's routing is left alone. Of other versions only the `EoIP` of `MikroTik` is known, which is a
/// version 1 of its own: the frame's length and the tunnel's number, little-endian, then Ethernet.
#[inline(always)]
fn gre(packet: &impl Load, at: usize) -> Step {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 7;
    const EOIP: (u16, u16) = (KEY | 1, 0x6400);
    let Some(header) = packet.load::<4>(at) else {
        return Step::ends(Kind::Gre, End::Truncated);
    };
    let (flags, ethertype) = (header.be16(0), header.be16(2));
    if (flags, ethertype) == EOIP {
        return match packet.load::<2>(at + 6) {
            Some(id) => Step::to(Kind::Gre, ETHERNET, at + 8).with_id(u32::from(id.be16(0).swap_bytes())),
            None => Step::ends(Kind::Gre, End::Truncated),
        };
    }
    if flags & (ROUTING | VERSION) != 0 {
        return Step::ends(Kind::Gre, End::Other);
    }
    let mut at = at + 4;
    if flags & CHECKSUM != 0 {
        at += 4;
    }
    let at = packet.forget(at) & OFFSETS;
    let mut key = None;
    let mut next = at;
    if flags & KEY != 0 {
        let Some(field) = packet.load::<4>(at) else {
            return Step::ends(Kind::Gre, End::Truncated);
        };
        key = Some(field.be32(0));
        next += 4;
    }
    let sequence = flags & SEQUENCE != 0;
    if sequence {
        next += 4;
    }
    match ethertype {
        ERSPAN | ERSPAN_III => erspan(packet, ethertype, sequence, next),
        _ => {
            let step = Step::to(Kind::Gre, ethertype, next);
            match key {
                Some(key) => step.with_id(key),
                None => step,
            }
        }
    }
}

/// Offsets are below this less one: what the verifier has forgotten it is told again.
const OFFSETS: usize = 2 * MAX_INSIDE - 1;

/// draft-foschiano-erspan-03 §4: type I is GRE without a sequence number and has no header; II has 8 octets, III 12 and,
/// by its last bit, 8 more.
#[inline(always)]
fn erspan(packet: &impl Load, ethertype: u16, sequence: bool, at: usize) -> Step {
    if ethertype == ERSPAN && !sequence {
        return Step::to(Kind::Erspan, ETHERNET, at);
    }
    let at = packet.forget(at) & OFFSETS;
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(Kind::Erspan, End::Truncated);
    };
    let session = u32::from(header.be16(2) & 0x03ff);
    if ethertype == ERSPAN {
        return Step::to(Kind::Erspan, ETHERNET, at + 8).with_id(session);
    }
    let Some(more) = packet.load::<4>(at + 8) else {
        return Step::ends(Kind::Erspan, End::Truncated);
    };
    // The frame's type: 0 is Ethernet, 2 is IP.
    if more.byte(2) >> 2 & 0x1f != 0 {
        return Step::ends(Kind::Erspan, End::Other);
    }
    let len = if more.byte(3) & 1 == 0 { 12 } else { 20 };
    Step::to(Kind::Erspan, ETHERNET, at + len).with_id(session)
}

/// RFC 7348 §5: a flag says that the identifier is one. With the flag for it (VXLAN-GPE) the fourth octet says what is
/// inside.
#[inline(always)]
fn vxlan(packet: &impl Load, at: usize) -> Step {
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(Kind::Vxlan, End::Truncated);
    };
    let flags = header.byte(0);
    let ethertype = match (flags & 4 != 0, header.byte(3)) {
        (false, _) | (true, 3) => ETHERNET,
        (true, 1) => IPV4,
        (true, 2) => IPV6,
        (true, 5) => MPLS,
        (true, _) => 0,
    };
    if flags & 8 == 0 {
        return Step::ends(Kind::Vxlan, End::Other);
    }
    Step::to(Kind::Vxlan, ethertype, at + 8).with_id(header.be32(4) >> 8)
}

/// RFC 8926 §3.4: version 0, the options' length in words, then flags, what is inside, and the identifier.
#[inline(always)]
fn geneve(packet: &impl Load, at: usize) -> Step {
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(Kind::Geneve, End::Truncated);
    };
    let first = header.byte(0);
    if first >> 6 != 0 {
        return Step::ends(Kind::Geneve, End::Other);
    }
    let at = packet.forget(at + 8 + usize::from(first & 0x3f) * 4) & OFFSETS;
    if at > packet.wire_len() {
        return Step::ends(Kind::Geneve, End::BadLength);
    }
    Step::to(Kind::Geneve, header.be16(2), at).with_id(header.be32(4) >> 8)
}

/// TS 29.281 §5.1: flags, type, length, identifier; with any of the flags E, S and PN four octets more, and with E a chain
/// of extension headers. A G-PDU has a user's packet, an IP one by its version here.
#[inline(always)]
fn gtp(packet: &impl Load, at: usize) -> Step {
    const G_PDU: u8 = 255;
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(Kind::GtpU, End::Truncated);
    };
    let flags = header.byte(0);
    // Version 1, and the protocol type that is not GTP'.
    if flags >> 4 != 3 || header.byte(1) != G_PDU {
        return Step::ends(Kind::GtpU, End::Other);
    }
    let mut at = at + 8;
    if flags & 7 != 0 {
        let Some(optional) = packet.load::<4>(at) else {
            return Step::ends(Kind::GtpU, End::Truncated);
        };
        at += 4;
        if flags & 4 != 0 {
            match gtp_extensions(packet, optional.byte(3), at) {
                (End::Inside, further) => at = further,
                (end, _) => return Step::ends(Kind::GtpU, end),
            }
        }
    }
    let at = packet.forget(at) & OFFSETS;
    // Not one byte: see `link::bare`.
    let Some(first) = packet.load::<2>(at) else {
        return Step::ends(Kind::GtpU, End::Truncated);
    };
    let ethertype = match first.byte(0) >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => 0,
    };
    Step::to(Kind::GtpU, ethertype, at).with_id(header.be32(4))
}

/// TS 29.281 §5.2.1: each has its length in words of four octets first and the next one's type last; 0 ends the chain.
#[inline(always)]
fn gtp_extensions(packet: &impl Load, mut next: u8, start: usize) -> (End, usize) {
    let mut at = start;
    for _ in 0..MAX_GTP_EXTENSIONS {
        if next == 0 {
            break;
        }
        let Some(header) = packet.load::<2>(at) else {
            return (End::Truncated, 0);
        };
        let len = usize::from(header.byte(0)) * 4;
        if len == 0 {
            return (End::BadLength, 0);
        }
        at = packet.forget(at + len) & OFFSETS;
        // The last octet; as two, see `link::bare`.
        let Some(last) = packet.load::<2>(at.wrapping_sub(2) & OFFSETS) else {
            return (End::Truncated, 0);
        };
        next = last.byte(1);
    }
    if next == 0 { (End::Inside, at) } else { (End::Deep, 0) }
}

/// Network Chemistry's application note 001, as packet-tzsp.c of Wireshark reads it: version 1, type, what kind of frame it is,
/// then tags. Type 0 is a frame that was received. With type 1 the receiver is asked to send one, which it then does or not;
/// the others are between a sensor and its server.
#[inline(always)]
fn tzsp(packet: &impl Load, at: usize) -> Step {
    const RECEIVED: [u8; 2] = [1, 0];
    const ETHERNET_FRAME: u16 = 1;
    let Some(header) = packet.load::<4>(at) else {
        return Step::ends(Kind::Tzsp, End::Truncated);
    };
    if [header.byte(0), header.byte(1)] != RECEIVED || header.be16(2) != ETHERNET_FRAME {
        return Step::ends(Kind::Tzsp, End::Other);
    }
    match tzsp_tags(packet, at + 4) {
        (End::Inside, at) => Step::to(Kind::Tzsp, ETHERNET, at),
        (end, _) => Step::ends(Kind::Tzsp, end),
    }
}

/// The same note: each is its type, its length and as many octets, but for padding and the end of all, which are a type alone.
/// The frame begins behind the end.
#[inline(always)]
fn tzsp_tags(packet: &impl Load, start: usize) -> (End, usize) {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let mut at = start;
    for _ in 0..=MAX_TZSP_TAGS {
        // Behind the end's one octet there is the frame.
        let Some(tag) = packet.load::<2>(at) else {
            return (End::Truncated, 0);
        };
        let (kind, len) = (tag.byte(0), usize::from(tag.byte(1)));
        at = packet.forget(at + if matches!(kind, PADDING | END) { 1 } else { 2 + len }) & OFFSETS;
        if kind == END {
            return (End::Inside, at);
        }
    }
    (End::Deep, 0)
}

/// Parses the inner packet, from where a [`Step`] led to.
#[inline(always)]
pub fn inside<L: Load>(packet: &L, ethertype: u16, at: usize, fragmented: bool) -> Parsed {
    inside_to(packet, ethertype, at, fragmented, AsIs)
}

/// Parses the inner packet likewise, and gives what `to` makes of it.
#[inline(always)]
pub fn inside_to<L: Load, R: Receive>(
    packet: &L,
    ethertype: u16,
    at: usize,
    fragmented: bool,
    to: R,
) -> R::Made {
    let packet = &Inner { packet, fragmented };
    let located = if ethertype == ETHERNET {
        link::ethernet(packet, at, Vlans::NONE)
    } else {
        link::behind(packet, ethertype.to_be(), at, Vlans::NONE)
    };
    super::from_network::<_, _, OFFSETS>(packet, located, to)
}

/// An inner packet, of which the rest may be in other fragments.
struct Inner<'a, L> {
    packet: &'a L,
    fragmented: bool,
}

impl<L: Load> Load for Inner<'_, L> {
    const RARE: bool = L::RARE;

    type Header<const N: usize> = L::Header<N>;

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<L::Header<N>> {
        self.packet.load(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        let len = self.packet.wire_len();
        // No IP packet lacks more than that.
        if self.fragmented { len + u16::MAX as usize } else { len }
    }

    #[inline(always)]
    fn forget(&self, n: usize) -> usize {
        self.packet.forget(n)
    }

    #[inline(always)]
    fn decap(&self, place: usize) -> u32 {
        self.packet.decap(place)
    }
}

#[cfg(test)]
mod tests;

//! Parses tunnels, which have headers between an IP header and another packet within it. The inner packet is of another
//! network, whose addresses may mean something else than they do here, so that tunnels are looked into only if the user
//! asks for it.
//!
//! One step goes from the outer IP header ([`Outer`]) to where the inner packet begins ([`Step`]). From there the inner
//! packet is parsed as any other ([`inside`]), and may be a tunnel again.

mod decap;

pub use crate::tunnel::TunnelProtocol;
pub use decap::{DECAP_WORDS, Decap, Deep, MAX_PORTS};

use super::{AsIs, Header as _, Load, Parsed, Receive, Unparsable, ethertype::TAG, link};
use crate::vlan::Vlans;

const IPV4_IN: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN: u8 = 41;
const GRE: u8 = 47;

/// Octets of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

/// The Ethernet type of a whole Ethernet frame (RFC 1701's transparent Ethernet bridging).
const ETHERNET: u16 = 0x6558;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// The most GTP-U extension headers that are walked. TS 29.281 §5.2.1 has five kinds; packets have one header, for 5G's
/// quality of service.
pub const MAX_GTP_EXTENSIONS: usize = 4;

/// The most TZSP tags, padding included, that are walked before the one that ends them. Routers send none. A sensor may
/// tell a dozen things about a wireless frame, but of an Ethernet frame only its length, its number and the sensor.
pub const MAX_TZSP_TAGS: usize = 8;

/// The limit of offsets at which an inner packet begins. VLAN tags, the longest chain of IPv6 extension headers and the
/// longest header of a tunnel together are 14 KiB.
pub const MAX_INSIDE: usize = 1 << 14;

const _: () = assert!(MAX_INSIDE + link::ETHERNET + 2 * TAG <= link::OFFSETS);

/// An IP header before what may be a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// The source address, in words as they lie on the wire; an IPv4 address as an IPv4-mapped one.
    pub src: [u32; 4],
    /// The destination address, in words as they lie on the wire; an IPv4 address as an IPv4-mapped one.
    pub dst: [u32; 4],
    /// The VLAN identifiers before the header.
    pub vlans: Vlans,
    /// Whether the header is IPv6.
    pub ipv6: bool,
    /// The IP protocol number of what follows the header.
    pub protocol: u8,
    /// The offset at which that begins.
    pub at: usize,
    /// Whether more fragments follow, so that the inner packet does not end here.
    pub fragmented: bool,
}

/// Whether what follows an IP header, at `at`, can be a tunnel that is looked into.
#[inline(always)]
pub(super) fn is_carrier<L: Load>(packet: &L, ipv6: bool, protocol: u8, at: usize) -> bool {
    let kinds = packet.decap(0);
    if kinds == 0 {
        return false;
    }
    if protocol == UDP { by_port(packet, at) != 0 } else { is_bare_carrier(kinds, ipv6, protocol) }
}

/// Whether the IP protocol alone tells that what follows can be a tunnel that is looked into. `kinds` is the first word
/// of a [`Decap`].
#[inline(always)]
pub(super) const fn is_bare_carrier(kinds: u32, ipv6: bool, protocol: u8) -> bool {
    match protocol {
        GRE => kinds & (TunnelProtocol::Gre.bit() | TunnelProtocol::Erspan.bit()) != 0,
        IPV4_IN | IPV6_IN => kinds & of_ip(ipv6, protocol).bit() != 0,
        _ => false,
    }
}

/// The kind of tunnel that has an IP packet directly within another one.
#[inline(always)]
const fn of_ip(outer_is_ipv6: bool, protocol: u8) -> TunnelProtocol {
    match (outer_is_ipv6, protocol) {
        (false, IPV6_IN) => TunnelProtocol::SixInFour,
        (true, IPV4_IN) => TunnelProtocol::FourInSix,
        _ => TunnelProtocol::Ipip,
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

/// What the headers of one tunnel lead to. Its numbers lie side by side, for the reason that `encapsulation::Place`
/// gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// How the walk through the headers ended. Without [`End::Inside`] only `kind` has a meaning besides.
    pub end: End,
    /// The kind of tunnel.
    pub kind: TunnelProtocol,
    /// Whether the tunnel's header has an identifier.
    pub has_id: bool,
    /// The identifier: the network identifier of VXLAN or Geneve (24 bits), the key of GRE (32 bits), or the tunnel's
    /// number with `EoIP` (16 bits), the tunnel endpoint identifier of GTP-U (32 bits), or the session of ERSPAN (10
    /// bits).
    pub id: u32,
    /// The Ethernet type of the inner packet; 0x6558 for an Ethernet frame.
    pub ethertype: u16,
    /// The offset at which the inner packet begins.
    pub at: usize,
}

/// How a walk through the headers of a tunnel ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The walk has come to an inner packet.
    Inside,
    /// It is no tunnel that is looked into, or it has no packet in it.
    Other,
    /// A header was not captured whole.
    Truncated,
    /// A length in a header is impossible.
    BadLength,
    /// There are more extension headers than are walked.
    Deep,
}

impl Step {
    #[inline(always)]
    const fn to(kind: TunnelProtocol, ethertype: u16, at: usize) -> Self {
        Self { end: End::Inside, kind, has_id: false, id: 0, ethertype, at }
    }

    #[inline(always)]
    const fn with_id(self, id: u32) -> Self {
        Self { has_id: true, id, ..self }
    }

    #[inline(always)]
    const fn ends(kind: TunnelProtocol, end: End) -> Self {
        Self { end, kind, has_id: false, id: 0, ethertype: 0, at: 0 }
    }

    /// Why the tunnel could not be parsed; `None` if it could, or if it is none.
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

/// Walks through a tunnel's headers. `at` is where the outer IP header ends.
#[inline(always)]
pub fn enter(packet: &impl Load, ipv6: bool, protocol: u8, at: usize) -> Step {
    let step = match protocol {
        GRE => gre(packet, at),
        UDP => {
            let at_tunnel = at + UDP_HEADER;
            match by_port(packet, at) {
                code if code == TunnelProtocol::Vxlan as u32 => vxlan(packet, at_tunnel),
                code if code == TunnelProtocol::Geneve as u32 => geneve(packet, at_tunnel),
                code if code == TunnelProtocol::GtpU as u32 => gtp(packet, at_tunnel),
                code if code == TunnelProtocol::Tzsp as u32 => tzsp(packet, at_tunnel),
                code if code == TunnelProtocol::Gre as u32 => gre(packet, at_tunnel),
                _ => Step::ends(TunnelProtocol::Gre, End::Other),
            }
        }
        IPV6_IN => Step::to(of_ip(ipv6, protocol), IPV6, at),
        _ => Step::to(of_ip(ipv6, protocol), IPV4, at),
    };
    let asked = packet.decap(0) & step.kind.bit() != 0;
    // An Ethernet type below 0x600 is none, but a length.
    if step.end == End::Inside && (!asked || step.ethertype < 0x600 || step.at >= MAX_INSIDE) {
        return Step::ends(step.kind, End::Other);
    }
    step
}

/// Walks through a GRE header (RFC 2784 §2.1, RFC 2890 §2): flags and version, protocol type, then checksum, key and
/// sequence number where the flags say so. A header with RFC 1701's routing is no tunnel here. Of other versions only
/// `EoIP` of `MikroTik` is known, which is a version 1 of its own: the frame's length, the tunnel's number in
/// little-endian order, then an Ethernet frame.
#[inline(always)]
fn gre(packet: &impl Load, at: usize) -> Step {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 7;
    const EOIP: (u16, u16) = (KEY | 1, 0x6400);
    let Some(header) = packet.load::<4>(at) else {
        return Step::ends(TunnelProtocol::Gre, End::Truncated);
    };
    let (flags, ethertype) = (header.be16(0), header.be16(2));
    if (flags, ethertype) == EOIP {
        return match packet.load::<2>(at + 6) {
            Some(id) => {
                Step::to(TunnelProtocol::Gre, ETHERNET, at + 8).with_id(u32::from(id.be16(0).swap_bytes()))
            }
            None => Step::ends(TunnelProtocol::Gre, End::Truncated),
        };
    }
    if flags & (ROUTING | VERSION) != 0 {
        return Step::ends(TunnelProtocol::Gre, End::Other);
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
            return Step::ends(TunnelProtocol::Gre, End::Truncated);
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
            let step = Step::to(TunnelProtocol::Gre, ethertype, next);
            match key {
                Some(key) => step.with_id(key),
                None => step,
            }
        }
    }
}

/// A mask that covers all offsets within tunnels. It tells the verifier their bound again after it was made to forget
/// it.
const OFFSETS: usize = 2 * MAX_INSIDE - 1;

/// Walks through an ERSPAN header (draft-foschiano-erspan-03 §4). Type I is GRE without a sequence number and has no
/// header. That of type II has 8 octets, and that of type III has 12, and 8 more if its last bit is set.
#[inline(always)]
fn erspan(packet: &impl Load, ethertype: u16, sequence: bool, at: usize) -> Step {
    if ethertype == ERSPAN && !sequence {
        return Step::to(TunnelProtocol::Erspan, ETHERNET, at);
    }
    let at = packet.forget(at) & OFFSETS;
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(TunnelProtocol::Erspan, End::Truncated);
    };
    let session = u32::from(header.be16(2) & 0x03ff);
    if ethertype == ERSPAN {
        return Step::to(TunnelProtocol::Erspan, ETHERNET, at + 8).with_id(session);
    }
    let Some(more) = packet.load::<4>(at + 8) else {
        return Step::ends(TunnelProtocol::Erspan, End::Truncated);
    };
    // The frame's type is 0 for Ethernet and 2 for IP.
    if more.byte(2) >> 2 & 0x1f != 0 {
        return Step::ends(TunnelProtocol::Erspan, End::Other);
    }
    let len = if more.byte(3) & 1 == 0 { 12 } else { 20 };
    Step::to(TunnelProtocol::Erspan, ETHERNET, at + len).with_id(session)
}

/// Walks through a VXLAN header (RFC 7348 §5), in which a flag says that the identifier is valid. With another flag
/// (VXLAN-GPE) the fourth octet says what is inside.
#[inline(always)]
fn vxlan(packet: &impl Load, at: usize) -> Step {
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(TunnelProtocol::Vxlan, End::Truncated);
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
        return Step::ends(TunnelProtocol::Vxlan, End::Other);
    }
    Step::to(TunnelProtocol::Vxlan, ethertype, at + 8).with_id(header.be32(4) >> 8)
}

/// Walks through a Geneve header (RFC 8926 §3.4): version 0, the options' length in words, then flags, what is inside,
/// and the identifier.
#[inline(always)]
fn geneve(packet: &impl Load, at: usize) -> Step {
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(TunnelProtocol::Geneve, End::Truncated);
    };
    let first = header.byte(0);
    if first >> 6 != 0 {
        return Step::ends(TunnelProtocol::Geneve, End::Other);
    }
    let at = packet.forget(at + 8 + usize::from(first & 0x3f) * 4) & OFFSETS;
    if at > packet.wire_len() {
        return Step::ends(TunnelProtocol::Geneve, End::BadLength);
    }
    Step::to(TunnelProtocol::Geneve, header.be16(2), at).with_id(header.be32(4) >> 8)
}

/// Walks through a GTP-U header (TS 29.281 §5.1): flags, type, length, identifier; with any of the flags E, S and PN
/// four octets more, and with E a chain of extension headers. A G-PDU has a user's packet in it, which is IP if its
/// first nibble is 4 or 6.
#[inline(always)]
fn gtp(packet: &impl Load, at: usize) -> Step {
    const G_PDU: u8 = 255;
    let Some(header) = packet.load::<8>(at) else {
        return Step::ends(TunnelProtocol::GtpU, End::Truncated);
    };
    let flags = header.byte(0);
    // Version 1, and the protocol type that is not GTP'.
    if flags >> 4 != 3 || header.byte(1) != G_PDU {
        return Step::ends(TunnelProtocol::GtpU, End::Other);
    }
    let mut at = at + 8;
    if flags & 7 != 0 {
        let Some(optional) = packet.load::<4>(at) else {
            return Step::ends(TunnelProtocol::GtpU, End::Truncated);
        };
        at += 4;
        if flags & 4 != 0 {
            match gtp_extensions(packet, optional.byte(3), at) {
                (End::Inside, further) => at = further,
                (end, _) => return Step::ends(TunnelProtocol::GtpU, end),
            }
        }
    }
    let at = packet.forget(at) & OFFSETS;
    // Not one byte: see `link::bare`.
    let Some(first) = packet.load::<2>(at) else {
        return Step::ends(TunnelProtocol::GtpU, End::Truncated);
    };
    let ethertype = match first.byte(0) >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => 0,
    };
    Step::to(TunnelProtocol::GtpU, ethertype, at).with_id(header.be32(4))
}

/// Walks through the extension headers of GTP-U (TS 29.281 §5.2.1). Each has its length, in words of four octets, first
/// and the type of the next one last; the type 0 ends the chain. Returns how the walk ended, and the offset behind the
/// chain.
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
        // The last octet has the next type. Two octets are loaded, for the reason that `link::bare` gives.
        let Some(last) = packet.load::<2>(at.wrapping_sub(2) & OFFSETS) else {
            return (End::Truncated, 0);
        };
        next = last.byte(1);
    }
    if next == 0 { (End::Inside, at) } else { (End::Deep, 0) }
}

/// Walks through a TZSP header (Network Chemistry's application note 001, as packet-tzsp.c of Wireshark reads it):
/// version 1, type, the kind of frame, then tags. Type 0 is a frame that was received. Type 1 asks the receiver to send
/// a frame, which need not happen; the other types are between a sensor and its server.
#[inline(always)]
fn tzsp(packet: &impl Load, at: usize) -> Step {
    const RECEIVED: [u8; 2] = [1, 0];
    const ETHERNET_FRAME: u16 = 1;
    let Some(header) = packet.load::<4>(at) else {
        return Step::ends(TunnelProtocol::Tzsp, End::Truncated);
    };
    if [header.byte(0), header.byte(1)] != RECEIVED || header.be16(2) != ETHERNET_FRAME {
        return Step::ends(TunnelProtocol::Tzsp, End::Other);
    }
    match tzsp_tags(packet, at + 4) {
        (End::Inside, at) => Step::to(TunnelProtocol::Tzsp, ETHERNET, at),
        (end, _) => Step::ends(TunnelProtocol::Tzsp, end),
    }
}

/// Walks through the tags of TZSP (the same application note). A tag has its type, its length and as many octets;
/// padding and the end are a type alone. The frame begins behind the end. Returns how the walk ended, and the offset of
/// the frame.
#[inline(always)]
fn tzsp_tags(packet: &impl Load, start: usize) -> (End, usize) {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let mut at = start;
    for _ in 0..=MAX_TZSP_TAGS {
        // Two octets can be loaded also at the end, which is one octet, as the frame is behind it.
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

/// Parses the inner packet, from where a [`Step`] has led to.
#[inline(always)]
pub fn inside<L: Load>(packet: &L, ethertype: u16, at: usize, fragmented: bool) -> Parsed {
    inside_to(packet, ethertype, at, fragmented, AsIs)
}

/// Parses the inner packet as [`inside`] does, and returns what `to` makes of it.
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

/// The bytes of an inner packet, the rest of which may be in other fragments of the outer one.
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
        // The other fragments have no more than that, as no IP packet is longer.
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

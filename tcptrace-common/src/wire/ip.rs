//! Parses the network layer: IPv4 (RFC 791) and IPv6 (RFC 8200), down to a TCP or ICMP header or to a tunnel.

use super::{
    Header, Icmp, Load, Outer, Parsed, Receive, Unparsable,
    tcp::{self, Network},
    tunnel::{self, is_carrier},
};
use crate::{
    flow::{V4, V6, mapped},
    vlan::Vlans,
};

/// The most IPv6 extension headers that are walked. RFC 8200 §4.1 lists six kinds, of which five are read here. Each is
/// meant to occur once (destination options twice), and few packets have one of the kinds that came later.
pub const MAX_EXTENSIONS: usize = 6;

/// Octets of the longest authentication header.
const MAX_AUTHENTICATION: usize = (255 + 2) * 4;
/// Octets of the longest of the other extension headers.
const MAX_EXTENSION: usize = 256 * 8;
/// A mask that covers the length of the longest authentication header.
const AUTHENTICATION_MASK: usize = 0x7ff;
/// A mask that covers the length of as many extension headers as are walked.
const EXTENSIONS_MASK: usize = 0x3fff;

/// The first byte of IPv4 without options: version 4, five words.
const PLAIN: u8 = 0x45;

pub(super) const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
pub(super) const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

#[inline(always)]
pub(super) fn v4<L: Load, R: Receive>(packet: &L, at: usize, vlans: Vlans, to: R) -> R::Made {
    let Some(header) = packet.load::<20>(at) else {
        return to.receive(Parsed::Unparsable(Unparsable::Truncated));
    };
    let first = header.byte(0);
    if first >> 4 != 4 {
        return to.receive(Parsed::Unparsable(Unparsable::BadVersion));
    }
    if !L::RARE && first != PLAIN {
        return to.receive(Parsed::Rare);
    }
    let protocol = header.byte(9);
    match protocol {
        TCP => {}
        ICMP | AUTHENTICATION if L::RARE => {}
        ICMP | AUTHENTICATION => return to.receive(Parsed::Rare),
        _ => return beyond_v4(packet, header, protocol, at + usize::from(first & 0x0f) * 4, vlans, to),
    }
    if is_later_fragment(header) {
        // A later fragment of ICMP is of no error, as errors have at most 576 octets (RFC 1812 §4.3.2.3).
        return to.receive(if protocol == ICMP { Parsed::Other } else { Parsed::Fragment });
    }
    let header_len = usize::from(first & 0x0f) * 4;
    let there = packet.wire_len().wrapping_sub(at);
    // Linux leaves 0 in GSO packets above 64 KiB (net/ipv4/ip_output.c, iph_set_totlen). Then the frame's length
    // counts.
    let total = match header.be16(2) {
        0 => there,
        total => usize::from(total),
    };
    if header_len < 20 || total < header_len || total > there {
        return to.receive(Parsed::Unparsable(Unparsable::BadLength));
    }
    let (mut protocol, ttl, mut at, mut len) =
        (protocol, header.byte(8), at + header_len, total - header_len);
    if L::RARE && protocol == AUTHENTICATION {
        let Some((next, skipped)) = authentication(packet, at) else {
            return to.receive(Parsed::Unparsable(Unparsable::Truncated));
        };
        if skipped > len {
            return to.receive(Parsed::Unparsable(Unparsable::BadLength));
        }
        (protocol, at, len) = (next, at + skipped, len - skipped);
        match protocol {
            TCP | ICMP => {}
            AUTHENTICATION => return to.receive(Parsed::Unparsable(Unparsable::ExtensionDepth)),
            _ => return beyond_v4(packet, header, protocol, at, vlans, to),
        }
    }
    if protocol == ICMP {
        return to.receive(Parsed::Icmp(Icmp {
            ipv6: false,
            from: mapped(header.raw32(12)),
            vlans,
            ttl,
            at,
            len,
        }));
    }
    let (id, fragmented) = (header.be16(4), is_first_fragment(header));
    let network = Network { addresses: addresses_v4(header), vlans, ttl, id, fragmented, at, len };
    match tcp::parse(packet, network) {
        Ok(segment) => to.receive(Parsed::V4(segment)),
        Err(reason) => to.receive(Parsed::Unparsable(reason)),
    }
}

/// Parses what is neither TCP nor ICMP, and may be a tunnel. `at` is where it begins.
#[inline(always)]
fn beyond_v4<L: Load, R: Receive>(
    packet: &L,
    header: impl Header,
    protocol: u8,
    at: usize,
    vlans: Vlans,
    to: R,
) -> R::Made {
    let (src, dst) = (mapped(header.raw32(12)), mapped(header.raw32(16)));
    if packet.decap(0) == 0 {
        return to.receive(Parsed::Other);
    }
    // Of any other than a plain header the caller knows no length.
    if L::RARE && header.byte(0) & 0x0f < 5 {
        return to.receive(Parsed::Unparsable(Unparsable::BadLength));
    }
    if is_later_fragment(header) {
        // A later fragment of UDP has no port, so it is not known whether it is of a tunnel.
        let bare = tunnel::is_bare_carrier(packet.decap(0), false, protocol);
        return to.receive(if bare { Parsed::Fragment } else { Parsed::Other });
    }
    if !is_carrier(packet, false, protocol, at) {
        return to.receive(Parsed::Other);
    }
    if !L::RARE {
        return to.receive(Parsed::Rare);
    }
    // This is the flag "more fragments" (RFC 791 §3.1).
    let fragmented = header.byte(6) & 0x20 != 0;
    to.receive(Parsed::Tunnel(Outer { src, dst, vlans, ipv6: false, protocol, at, fragmented }))
}

#[inline(always)]
pub(super) fn v6<L: Load, R: Receive>(packet: &L, at: usize, vlans: Vlans, to: R) -> R::Made {
    let Some(header) = packet.load::<40>(at) else {
        return to.receive(Parsed::Unparsable(Unparsable::Truncated));
    };
    if header.byte(0) >> 4 != 6 {
        return to.receive(Parsed::Unparsable(Unparsable::BadVersion));
    }
    let there = packet.wire_len().wrapping_sub(at + 40);
    // The length is 0 in a jumbogram (RFC 2675 §3), and in GSO packets of Linux above 64 KiB.
    let len = match header.be16(4) {
        0 => there,
        len => usize::from(len),
    };
    let walk = match header.byte(6) {
        TCP => Walk::Tcp { skipped: 0, fragmented: false },
        next if !is_extension(next) && next != ICMPV6 => {
            if !is_carrier(packet, true, next, at + 40) {
                Walk::Other
            } else if L::RARE {
                Walk::Carrier { protocol: next, skipped: 0, fragmented: false }
            } else {
                return to.receive(Parsed::Rare);
            }
        }
        next if L::RARE => extensions(packet, next, at + 40),
        _ => return to.receive(Parsed::Rare),
    };
    let (icmp, skipped, fragmented) = match walk {
        Walk::Tcp { skipped, fragmented } => (false, skipped, fragmented),
        Walk::Icmp { skipped } => (true, skipped, false),
        Walk::Carrier { protocol, skipped, fragmented } => {
            let (src, dst) = (words(header, 8), words(header, 24));
            let at = at + 40 + skipped;
            return to.receive(Parsed::Tunnel(Outer {
                src,
                dst,
                vlans,
                ipv6: true,
                protocol,
                at,
                fragmented,
            }));
        }
        Walk::Other => return to.receive(Parsed::Other),
        Walk::Fragment => return to.receive(Parsed::Fragment),
        Walk::Unparsable(reason) => return to.receive(Parsed::Unparsable(reason)),
    };
    if len > there || skipped > len {
        return to.receive(Parsed::Unparsable(Unparsable::BadLength));
    }
    let (ttl, at, len) = (header.byte(7), at + 40 + skipped, len - skipped);
    if icmp {
        return to.receive(Parsed::Icmp(Icmp { ipv6: true, from: words(header, 8), vlans, ttl, at, len }));
    }
    let network = Network { addresses: addresses_v6(header), vlans, ttl, id: 0, fragmented, at, len };
    match tcp::parse(packet, network) {
        Ok(segment) => to.receive(Parsed::V6(segment)),
        Err(reason) => to.receive(Parsed::Unparsable(reason)),
    }
}

/// The protocol of what is behind the authentication header at `at`, and the header's length in octets.
#[inline(always)]
pub(super) fn authentication(packet: &impl Load, at: usize) -> Option<(u8, usize)> {
    let header = packet.load::<4>(at)?;
    const { assert!(MAX_AUTHENTICATION <= AUTHENTICATION_MASK) };
    // A mask gives the length its bound: the verifier of 5.10 does not carry the bound that a comparison proves over to
    // a copy on the stack.
    let len = packet.forget(authentication_len(header)) & AUTHENTICATION_MASK;
    Some((header.byte(0), len))
}

/// The length of an authentication header in octets. Its field has words of 4 octets, less 2 (RFC 4302 §2.2).
#[inline(always)]
fn authentication_len(header: impl Header) -> usize {
    (usize::from(header.byte(1)) + 2) * 4
}

/// Whether an IPv4 packet is a fragment other than the first: its offset, the lower 13 bits of the field, is not 0.
#[inline(always)]
pub(super) fn is_later_fragment(header: impl Header) -> bool {
    header.raw16(6) & 0x1fff_u16.to_be() != 0
}

/// Whether an IPv4 packet, which is no later fragment, is the first of several: its flag "more fragments" is set.
#[inline(always)]
fn is_first_fragment(header: impl Header) -> bool {
    header.raw16(6) & 0x2000_u16.to_be() != 0
}

#[inline(always)]
pub(super) fn addresses_v4(header: impl Header) -> V4 {
    V4 { src: header.raw32(12), dst: header.raw32(16) }
}

#[inline(always)]
pub(super) fn addresses_v6(header: impl Header) -> V6 {
    V6 { src: words(header, 8), dst: words(header, 24) }
}

#[inline(always)]
fn words(header: impl Header, at: usize) -> [u32; 4] {
    [header.raw32(at), header.raw32(at + 4), header.raw32(at + 8), header.raw32(at + 12)]
}

/// What is behind the extension headers of an IPv6 packet. `skipped` is how many octets of them there are.
pub(super) enum Walk {
    Tcp {
        skipped: usize,
        fragmented: bool,
    },
    Icmp {
        skipped: usize,
    },
    /// What may be a tunnel.
    Carrier {
        protocol: u8,
        skipped: usize,
        fragmented: bool,
    },
    Other,
    Fragment,
    Unparsable(Unparsable),
}

/// Walks the extension headers from the one of kind `next` at `start`.
#[inline(always)]
pub(super) fn extensions(packet: &impl Load, mut next: u8, start: usize) -> Walk {
    let mut skipped = 0;
    let mut fragmented = false;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            break;
        }
        let Some(header) = packet.load::<4>(start + skipped) else {
            return Walk::Unparsable(Unparsable::Truncated);
        };
        let len = match next {
            FRAGMENT => {
                if header.be16(2) & 0xfff8 != 0 {
                    // A later fragment has no other header than this. If the first fragment has options, it is not
                    // known what is behind them.
                    let next = header.byte(0);
                    return if next == TCP
                        || is_extension(next)
                        || tunnel::is_bare_carrier(packet.decap(0), true, next)
                    {
                        Walk::Fragment
                    } else {
                        Walk::Other
                    };
                }
                // This is the flag "more fragments" (RFC 8200 §4.5).
                fragmented |= header.byte(3) & 1 != 0;
                8
            }
            AUTHENTICATION => authentication_len(header),
            // The length is in words of 8 octets, less 1 (RFC 8200 §4; RFC 6275 §6.1.1, RFC 7401 §5.1, RFC 5533 §5.1).
            _ => (usize::from(header.byte(1)) + 1) * 8,
        };
        const { assert!(MAX_EXTENSIONS * MAX_EXTENSION <= EXTENSIONS_MASK) };
        // The mask gives the length its bound, as in `authentication`.
        skipped = packet.forget(skipped + len) & EXTENSIONS_MASK;
        next = header.byte(0);
    }
    match next {
        TCP => Walk::Tcp { skipped, fragmented },
        ICMPV6 => Walk::Icmp { skipped },
        next if is_extension(next) => Walk::Unparsable(Unparsable::ExtensionDepth),
        next if is_carrier(packet, true, next, start + skipped) => {
            Walk::Carrier { protocol: next, skipped, fragmented }
        }
        _ => Walk::Other,
    }
}

#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6)
}

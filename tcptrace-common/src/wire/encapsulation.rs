//! Parses what may lie between an Ethernet type and IP besides VLAN tags: MPLS labels, a PPPoE session, LLC. All of
//! these are rare, and none makes another network within this one: addresses and ports mean the same as without them.
//! So they are always looked into, and labels and sessions are not part of a connection's identity.

use super::{
    Header as _, Load, Unparsable,
    ethertype::{Located, PPPOE, TAG, Untagged, is_length, untagged},
};
use crate::vlan::Vlans;

/// The most MPLS labels that are walked. Networks use two or three, and some more with fast reroute and entropy labels.
pub const MAX_LABELS: usize = 8;

/// Octets of a label stack entry.
const LABEL: usize = 4;
/// Octets of a PPPoE header and of PPP's protocol number.
const SESSION: usize = 6 + 2;
/// Octets of LLC and SNAP.
const SNAP: usize = 8;

/// The largest offset at which IP begins: behind Ethernet, LLC, twice two tags, and as many labels as are walked.
pub(super) const FURTHEST: usize = 14 + SNAP + 4 * TAG + MAX_LABELS * LABEL;

/// What was found, and at which offset. It is a structure of numbers rather than a [`Located`] within a `Result`: of
/// nested enumerations the compiler copies pieces that are not aligned, which the verifier refuses on the stack.
#[derive(Clone, Copy)]
struct Place {
    what: What,
    at: usize,
    vlans: Vlans,
}

#[derive(Clone, Copy)]
enum What {
    V4,
    V6,
    Other,
    Truncated,
    TooManyTags,
    TooManyLabels,
}

impl Place {
    #[inline(always)]
    const fn not(what: What) -> Self {
        Self { what, at: 0, vlans: Vlans::NONE }
    }
}

/// Finds the IP header behind an Ethernet type, from `at` on.
#[inline(always)]
pub(super) fn locate(packet: &impl Load, ethertype: u16, at: usize, vlans: Vlans) -> Located {
    let place =
        if is_length(ethertype) { llc(packet, at, vlans) } else { further(packet, ethertype, at, vlans) };
    let Place { at, vlans, .. } = place;
    match place.what {
        What::V4 => Located::V4 { at, vlans },
        What::V6 => Located::V6 { at, vlans },
        What::Other => Located::Other,
        What::Truncated => Located::Unparsable(Unparsable::Truncated),
        What::TooManyTags => Located::Unparsable(Unparsable::VlanDepth),
        What::TooManyLabels => Located::Unparsable(Unparsable::LabelDepth),
    }
}

/// Walks through MPLS labels or a PPPoE session.
#[inline(always)]
fn further(packet: &impl Load, ethertype: u16, at: usize, vlans: Vlans) -> Place {
    if ethertype == PPPOE { session(packet, at, vlans) } else { labels(packet, at, vlans) }
}

/// Walks through a header of LLC (IEEE 802.2). It leads to IP with SNAP (RFC 1042), with the bridge-tunnel code of
/// 802.1H, or with LLC's own number for IP, which RFC 1042 names and few use. A frame with a shorter LLC header may end
/// there, and is not cut short.
#[inline(always)]
fn llc(packet: &impl Load, at: usize, vlans: Vlans) -> Place {
    let Some(header) = packet.load::<3>(at) else {
        return Place::not(What::Truncated);
    };
    match (header.byte(0), header.byte(1), header.byte(2)) {
        (0xaa, 0xaa, 3) => {}
        (6, 6, 3) => return by_version(packet, at + 3, vlans),
        _ => return Place::not(What::Other),
    }
    let Some(snap) = packet.load::<SNAP>(at) else {
        return Place::not(What::Truncated);
    };
    if snap.raw16(3) != 0 || !matches!(snap.byte(5), 0 | 0xf8) {
        return Place::not(What::Other);
    }
    match untagged(packet, snap.raw16(6), at + SNAP, vlans) {
        Untagged::Located(Located::V4 { at, vlans }) => Place { what: What::V4, at, vlans },
        Untagged::Located(Located::V6 { at, vlans }) => Place { what: What::V6, at, vlans },
        Untagged::Located(Located::Unparsable(Unparsable::VlanDepth)) => Place::not(What::TooManyTags),
        Untagged::Located(Located::Unparsable(_)) => Place::not(What::Truncated),
        Untagged::Located(Located::Other | Located::Rare) => Place::not(What::Other),
        // A length, which means another LLC header, would lead in circles.
        Untagged::Further { ethertype, .. } if is_length(ethertype) => Place::not(What::Other),
        Untagged::Further { ethertype, at, vlans } => further(packet, ethertype, at, vlans),
    }
}

/// Walks through the MPLS labels at `at` (RFC 3032 §2.1), each of which has a label, a traffic class, a bit for the
/// bottom of the stack, and a TTL. Nothing says what follows the bottom.
#[inline(always)]
fn labels(packet: &impl Load, mut at: usize, vlans: Vlans) -> Place {
    for _ in 0..MAX_LABELS {
        let Some(entry) = packet.load::<LABEL>(at) else {
            return Place::not(What::Truncated);
        };
        at += LABEL;
        if entry.byte(2) & 1 != 0 {
            return by_version(packet, at, vlans);
        }
    }
    Place::not(What::TooManyLabels)
}

/// Tells what is at `at` by the first nibble, as routers do (RFC 4928 §2). The nibble 0 is that of a pseudowire's
/// control word (RFC 4385 §3), mostly with Ethernet behind it. That is another network and is not looked into.
#[inline(always)]
fn by_version(packet: &impl Load, at: usize, vlans: Vlans) -> Place {
    // Not one byte: see `link::bare`.
    let Some(first) = packet.load::<2>(at) else {
        return Place::not(What::Truncated);
    };
    match first.byte(0) >> 4 {
        4 => Place { what: What::V4, at, vlans },
        6 => Place { what: What::V6, at, vlans },
        _ => Place::not(What::Other),
    }
}

/// Walks through the header of a PPPoE session (RFC 2516 §4): version and type, code (0 for a session's data), session,
/// length, then PPP's protocol number. That may be compressed to one octet, as an octet whose least significant bit is
/// set ends it (RFC 1661 §2).
#[inline(always)]
fn session(packet: &impl Load, at: usize, vlans: Vlans) -> Place {
    let Some(header) = packet.load::<SESSION>(at) else {
        return Place::not(What::Truncated);
    };
    if header.byte(0) != 0x11 || header.byte(1) != 0 {
        return Place::not(What::Other);
    }
    let (protocol, at) = match (header.byte(6), header.byte(7)) {
        (0, low) => (low, at + SESSION),
        (low, _) => (low, at + SESSION - 1),
    };
    match protocol {
        0x21 => Place { what: What::V4, at, vlans },
        0x57 => Place { what: What::V6, at, vlans },
        _ => Place::not(What::Other),
    }
}

#[cfg(test)]
mod tests;

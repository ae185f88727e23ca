//! The link layer: Ethernet II with VLAN tags, or no header at all. What is rare is in `encapsulation`.

use super::{Header as _, Load, Unparsable, Vlans, encapsulation, tunnel};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// Octets of a VLAN tag.
pub(super) const TAG: usize = 4;
/// Covers every offset at which a tag can end.
const OFFSETS: usize = 0x7fff;

/// Where the IP header is.
#[derive(Clone, Copy)]
pub(super) enum Located {
    V4 {
        at: usize,
        vlans: Vlans,
    },
    V6 {
        at: usize,
        vlans: Vlans,
    },
    Other,
    /// Further in than this [`Load`] looks.
    Rare,
    Unparsable(Unparsable),
}

/// Where the tags end.
pub(super) enum Untagged {
    Located(Located),
    /// At a header that may lead to IP, of this Ethernet type.
    Further {
        ethertype: u16,
        at: usize,
        vlans: Vlans,
    },
}

/// Ethernet types as they lie on the wire: constants are turned around by the compiler, packets would be each time.
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();

/// 802.1Q, 802.1ad, and the numbers that were used for outer tags before 802.1ad.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    const TAGS: [u16; 5] =
        [0x8100_u16.to_be(), 0x88a8_u16.to_be(), 0x9100_u16.to_be(), 0x9200_u16.to_be(), 0x9300_u16.to_be()];
    ethertype == TAGS[0]
        || ethertype == TAGS[1]
        || ethertype == TAGS[2]
        || ethertype == TAGS[3]
        || ethertype == TAGS[4]
}

/// From the Ethernet header at `at` on.
#[inline(always)]
pub(super) fn ethernet<L: Load>(packet: &L, at: usize, vlans: Vlans) -> Located {
    match packet.load::<2>(at + ETHERNET - 2) {
        Some(ethertype) => behind(packet, ethertype.raw16(0), at + ETHERNET, vlans),
        None => Located::Unparsable(Unparsable::Truncated),
    }
}

/// From what follows an Ethernet type on.
#[inline(always)]
pub(super) fn behind<L: Load>(packet: &L, ethertype: u16, at: usize, vlans: Vlans) -> Located {
    match untagged(packet, ethertype, at, vlans) {
        Untagged::Located(located) => located,
        Untagged::Further { ethertype, at, vlans } if L::RARE => {
            const { assert!(tunnel::MAX_INSIDE + ETHERNET + 2 * TAG <= OFFSETS) };
            // The compiler may have pieced it together by `|`, of which verifiers before 6.10 learn nothing
            // (kernel/bpf/verifier.c, adjust_scalar_min_max_vals).
            let at = packet.forget(at) & OFFSETS;
            encapsulation::locate(packet, ethertype, at, vlans)
        }
        Untagged::Further { .. } => Located::Rare,
    }
}

/// Past the VLAN tags. No loop: two at most, and the untagged case is to be one comparison for each.
#[inline(always)]
pub(super) fn untagged(packet: &impl Load, ethertype: u16, at: usize, vlans: Vlans) -> Untagged {
    if let Some(found) = by_type(ethertype, at, vlans) {
        return found;
    }
    let Some((vlans, ethertype)) = tag(packet, at, vlans) else {
        return Untagged::Located(Located::Unparsable(Unparsable::Truncated));
    };
    if let Some(found) = by_type(ethertype, at + TAG, vlans) {
        return found;
    }
    let Some((vlans, ethertype)) = tag(packet, at + TAG, vlans) else {
        return Untagged::Located(Located::Unparsable(Unparsable::Truncated));
    };
    by_type(ethertype, at + 2 * TAG, vlans)
        .unwrap_or(Untagged::Located(Located::Unparsable(Unparsable::VlanDepth)))
}

/// What the Ethernet type says of the bytes `at`; `None` for one more tag.
#[inline(always)]
fn by_type(ethertype: u16, at: usize, vlans: Vlans) -> Option<Untagged> {
    if ethertype == IPV4 {
        Some(Untagged::Located(Located::V4 { at, vlans }))
    } else if ethertype == IPV6 {
        Some(Untagged::Located(Located::V6 { at, vlans }))
    } else if is_tag(ethertype) {
        None
    } else if encapsulation::may_hold_ip(ethertype) {
        Some(Untagged::Further { ethertype, at, vlans })
    } else {
        Some(Untagged::Located(Located::Other))
    }
}

/// The tags with the one at `at`, and the Ethernet type after it.
#[inline(always)]
fn tag(packet: &impl Load, at: usize, vlans: Vlans) -> Option<(Vlans, u16)> {
    let tag = packet.load::<TAG>(at)?;
    Some((vlans.with(tag.be16(0)), tag.raw16(2)))
}

/// From an IP header on.
#[inline(always)]
pub(super) fn bare(packet: &impl Load, vlans: Vlans) -> Located {
    // Not one byte: of `data >= data_end` the verifier learns nothing (find_good_pkt_pointers).
    let Some(first) = packet.load::<2>(0) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    match first.byte(0) >> 4 {
        4 => Located::V4 { at: 0, vlans },
        6 => Located::V6 { at: 0, vlans },
        _ => Located::Unparsable(Unparsable::BadVersion),
    }
}

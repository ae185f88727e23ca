//! The link layer: Ethernet II with VLAN tags, or no header at all.

use super::{Header as _, Load, Unparsable, Vlans};

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// Octets of a VLAN tag.
const TAG: usize = 4;

/// Where the IP header is.
pub(super) enum Located {
    V4 { at: usize, vlans: Vlans },
    V6 { at: usize, vlans: Vlans },
    Other,
    Unparsable(Unparsable),
}

/// Ethernet types as they lie on the wire: constants are turned around by the compiler, packets would be each time.
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();

/// 802.1Q, 802.1ad, and the 0x9100 that was used before 802.1ad.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    const TAGS: [u16; 3] = [0x8100_u16.to_be(), 0x88a8_u16.to_be(), 0x9100_u16.to_be()];
    ethertype == TAGS[0] || ethertype == TAGS[1] || ethertype == TAGS[2]
}

/// From an Ethernet header on. Lengths below 0x600 (802.3) are nothing we look for. No loop: two tags at most, and
/// the untagged case is to be one comparison for each.
#[inline(always)]
pub(super) fn ethernet(packet: &impl Load, vlans: Vlans) -> Located {
    let Some(ethertype) = packet.load::<2>(ETHERNET - 2) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    let ethertype = ethertype.raw16(0);
    if let Some(located) = by_type(ethertype, ETHERNET, vlans) {
        return located;
    }
    let Some((vlans, ethertype)) = tag(packet, ETHERNET, vlans) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    if let Some(located) = by_type(ethertype, ETHERNET + TAG, vlans) {
        return located;
    }
    let Some((vlans, ethertype)) = tag(packet, ETHERNET + TAG, vlans) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    by_type(ethertype, ETHERNET + 2 * TAG, vlans).unwrap_or(Located::Unparsable(Unparsable::VlanDepth))
}

/// What the Ethernet type says of the bytes `at`; `None` for one more tag.
#[inline(always)]
fn by_type(ethertype: u16, at: usize, vlans: Vlans) -> Option<Located> {
    if ethertype == IPV4 {
        Some(Located::V4 { at, vlans })
    } else if ethertype == IPV6 {
        Some(Located::V6 { at, vlans })
    } else if is_tag(ethertype) {
        None
    } else {
        Some(Located::Other)
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

//! The link layer: Ethernet II with VLAN tags, or no header at all.

use super::{Load, Unparsable, Vlans, be16};

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

/// 802.1Q, 802.1ad, and the 0x9100 that was used before 802.1ad.
#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// From an Ethernet header on. Lengths below 0x600 (802.3) are nothing we look for. No loop: two tags at most, and
/// the untagged case is to be one comparison for each.
#[inline(always)]
pub(super) fn ethernet(packet: &impl Load, vlans: Vlans) -> Located {
    let Some([high, low]) = packet.load(ETHERNET - 2) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    let ethertype = be16(high, low);
    if !is_tag(ethertype) {
        return by_type(ethertype, ETHERNET, vlans);
    }
    let Some(tag) = packet.load::<TAG>(ETHERNET) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    let (vlans, ethertype) = (vlans.with(be16(tag[0], tag[1])), be16(tag[2], tag[3]));
    if !is_tag(ethertype) {
        return by_type(ethertype, ETHERNET + TAG, vlans);
    }
    let Some(tag) = packet.load::<TAG>(ETHERNET + TAG) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    let (vlans, ethertype) = (vlans.with(be16(tag[0], tag[1])), be16(tag[2], tag[3]));
    if is_tag(ethertype) {
        return Located::Unparsable(Unparsable::VlanDepth);
    }
    by_type(ethertype, ETHERNET + 2 * TAG, vlans)
}

#[inline(always)]
fn by_type(ethertype: u16, at: usize, vlans: Vlans) -> Located {
    match ethertype {
        0x0800 => Located::V4 { at, vlans },
        0x86dd => Located::V6 { at, vlans },
        _ => Located::Other,
    }
}

/// From an IP header on.
#[inline(always)]
pub(super) fn bare(packet: &impl Load, vlans: Vlans) -> Located {
    // Not one byte: of `data >= data_end` the verifier learns nothing (find_good_pkt_pointers).
    let Some([first, _]) = packet.load(0) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    match first >> 4 {
        4 => Located::V4 { at: 0, vlans },
        6 => Located::V6 { at: 0, vlans },
        _ => Located::Unparsable(Unparsable::BadVersion),
    }
}

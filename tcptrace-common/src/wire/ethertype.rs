//! What an Ethernet type says: IP, VLAN tags before it, or a header that may lead to it.

use super::{Header as _, Load, Unparsable};
use crate::vlan::Vlans;

/// Octets of a VLAN tag.
pub(super) const TAG: usize = 4;

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
/// MPLS (RFC 5332 §3 gives the second its present use).
const LABELS: [u16; 2] = [0x8847_u16.to_be(), 0x8848_u16.to_be()];
/// The data of a PPPoE session (RFC 2516 §4).
pub(super) const PPPOE: u16 = 0x8864_u16.to_be();

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

/// Whether a header of this Ethernet type is one that `encapsulation` looks into.
#[inline(always)]
const fn may_hold_ip(ethertype: u16) -> bool {
    ethertype == LABELS[0] || ethertype == LABELS[1] || ethertype == PPPOE || is_length(ethertype)
}

/// Below 0x600 the field is a length and LLC follows (IEEE 802.3 §3.2.6).
#[inline(always)]
pub(super) const fn is_length(ethertype: u16) -> bool {
    // The first octet on the wire.
    ethertype.to_ne_bytes()[0] < 6
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
    } else if may_hold_ip(ethertype) {
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

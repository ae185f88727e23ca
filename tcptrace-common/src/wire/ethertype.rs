//! Follows an Ethernet type, through VLAN tags, to IP or to a header that may lead to it.

use super::{Header as _, Load, Unparsable};
use crate::vlan::Vlans;

/// Octets of a VLAN tag.
pub(super) const TAG: usize = 4;

/// Where the IP header is, or why there is none.
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
    /// The way there is rare, and left to another [`Load`].
    Rare,
    Unparsable(Unparsable),
}

/// What is behind the VLAN tags.
pub(super) enum Untagged {
    Located(Located),
    /// A header of this Ethernet type, which may lead to IP.
    Further {
        ethertype: u16,
        at: usize,
        vlans: Vlans,
    },
}

/// The Ethernet type of IPv4, as it lies on the wire. The compiler turns constants around once, while the fields of
/// packets would be turned around each time.
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
/// The Ethernet types of MPLS. RFC 5332 §3 gives the second its present use.
const LABELS: [u16; 2] = [0x8847_u16.to_be(), 0x8848_u16.to_be()];
/// The Ethernet type of a PPPoE session's data (RFC 2516 §4).
pub(super) const PPPOE: u16 = 0x8864_u16.to_be();

/// Whether a VLAN tag follows: of 802.1Q, of 802.1ad, or with a number that was used for outer tags before 802.1ad.
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

/// Whether the field is a length, which it is below 0x600. Then LLC follows (IEEE 802.3 §3.2.6).
#[inline(always)]
pub(super) const fn is_length(ethertype: u16) -> bool {
    // This is the first octet on the wire.
    ethertype.to_ne_bytes()[0] < 6
}

/// Walks through at most two VLAN tags. It is no loop, so that a packet without tags costs only a few comparisons.
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

/// What the Ethernet type says of the bytes at `at`; `None` for one more tag.
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

/// Adds the tag at `at` to `vlans`. Returns them with the Ethernet type behind the tag.
#[inline(always)]
fn tag(packet: &impl Load, at: usize, vlans: Vlans) -> Option<(Vlans, u16)> {
    let tag = packet.load::<TAG>(at)?;
    Some((vlans.with(tag.be16(0)), tag.raw16(2)))
}

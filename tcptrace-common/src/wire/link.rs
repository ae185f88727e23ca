//! Parses the link layer: Ethernet with VLAN tags, or no header at all. `encapsulation` has what is rare.

use super::{
    Header as _, Load, Unparsable, encapsulation,
    ethertype::{Located, Untagged, untagged},
};
use crate::vlan::Vlans;

/// Octets of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// A mask that covers every offset at which a VLAN tag can end.
pub(super) const OFFSETS: usize = 0x7fff;

/// Finds the IP header from the Ethernet header at `at` on.
#[inline(always)]
pub(super) fn ethernet<L: Load>(packet: &L, at: usize, vlans: Vlans) -> Located {
    match packet.load::<2>(at + ETHERNET - 2) {
        Some(ethertype) => behind(packet, ethertype.raw16(0), at + ETHERNET, vlans),
        None => Located::Unparsable(Unparsable::Truncated),
    }
}

/// Finds the IP header from what follows an Ethernet type on.
#[inline(always)]
pub(super) fn behind<L: Load>(packet: &L, ethertype: u16, at: usize, vlans: Vlans) -> Located {
    match untagged(packet, ethertype, at, vlans) {
        Untagged::Located(located) => located,
        Untagged::Further { ethertype, at, vlans } if L::RARE => {
            // The compiler may have computed the offset by `|`, of which verifiers before 6.10 learn no bound
            // (kernel/bpf/verifier.c, adjust_scalar_min_max_vals). The mask gives it one.
            let at = packet.forget(at) & OFFSETS;
            encapsulation::locate(packet, ethertype, at, vlans)
        }
        Untagged::Further { .. } => Located::Rare,
    }
}

/// Finds the version of the IP header that a packet begins with.
#[inline(always)]
pub(super) fn bare(packet: &impl Load, vlans: Vlans) -> Located {
    // Two bytes are loaded instead of one: of `data >= data_end` the verifier learns nothing (kernel/bpf/verifier.c,
    // find_good_pkt_pointers).
    let Some(first) = packet.load::<2>(0) else {
        return Located::Unparsable(Unparsable::Truncated);
    };
    match first.byte(0) >> 4 {
        4 => Located::V4 { at: 0, vlans },
        6 => Located::V6 { at: 0, vlans },
        _ => Located::Unparsable(Unparsable::BadVersion),
    }
}

//! The tunnels around a segment, and what of them is part of the identity of a connection.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::LazyLock,
};
use tcptrace_common::{
    abi::{self, BIT_ID},
    wire::tunnel::TunnelProtocol,
};

/// One tunnel around a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
    /// The kind of tunnel.
    pub kind: TunnelProtocol,
    /// The identifier in the header of the tunnel: the network of VXLAN and Geneve, the key of GRE, the session of
    /// ERSPAN, the endpoint of the receiver of GTP-U.
    pub id: Option<u32>,
    /// The outer source address; IPv4 as an IPv4-mapped address.
    pub src: [u8; 16],
    /// The outer destination address.
    pub dst: [u8; 16],
    /// VLAN identifiers before the outer IP header, as [`crate::segment::Flow::vlan`] has them.
    pub vlan: [u16; 2],
}

impl Layer {
    /// Decodes the tunnel of a record; `None` if its kind, its bits or its reserved bytes are not valid.
    pub(crate) fn of(tunnel: &abi::Tunnel) -> Option<Self> {
        let abi::Tunnel { src, dst, id, vlan, kind, bits, zero } = *tunnel;
        let has_id = bits & BIT_ID != 0;
        if bits & !BIT_ID != 0 || zero != [0; 6] || (!has_id && id != 0) {
            return None;
        }
        Some(Self { kind: TunnelProtocol::from_code(kind)?, id: has_id.then_some(id), src, dst, vlan })
    }
}

/// A number that tells connections in these tunnels from connections in others, the outermost tunnel first. It is the
/// same in both directions, and 0 without tunnels.
///
/// The number is `SipHash` with a key of this process's own, so that two tunnels that somebody chose get one number
/// only with a probability of 2^-32. Connections with equal addresses and ports in both would then be one.
///
/// It depends on the kind whether the outer addresses and the identifier count: see [`TunnelProtocol::is_by_addresses`] and
/// [`TunnelProtocol::is_by_id`].
#[must_use]
pub fn identity(layers: &[Layer]) -> u32 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    if layers.is_empty() {
        return 0;
    }
    let mut hasher = KEY.build_hasher();
    for layer in layers {
        layer.kind.hash(&mut hasher);
        if layer.kind.is_by_id() {
            layer.id.hash(&mut hasher);
        }
        if layer.kind.is_by_addresses() {
            let Layer { src, dst, .. } = layer;
            (src.min(dst), src.max(dst)).hash(&mut hasher);
        }
    }
    u32::try_from(hasher.finish() >> 32).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: TunnelProtocol, id: Option<u32>, src: u8, dst: u8) -> Layer {
        Layer { kind, id, src: [src; 16], dst: [dst; 16], vlan: [0xffff; 2] }
    }

    #[test]
    fn what_counts_is_the_kinds_matter() {
        let same = |a: Layer, b: Layer| identity(&[a]) == identity(&[b]);
        for kind in TunnelProtocol::ALL {
            let there = layer(kind, Some(1), 1, 2);
            assert!(same(there, layer(kind, Some(1), 2, 1)), "{kind:?}: both directions");
            assert_eq!(
                same(there, layer(kind, Some(2), 2, 1)),
                kind == TunnelProtocol::GtpU,
                "{kind:?}: another id"
            );
            let by_addresses = !matches!(kind, TunnelProtocol::Vxlan | TunnelProtocol::Geneve);
            assert_eq!(!same(there, layer(kind, Some(1), 1, 3)), by_addresses, "{kind:?}: another end");
            assert!(same(there, Layer { vlan: [5, 6], ..there }), "{kind:?}: VLANs are not part of it");
        }
        let (vxlan, gre) =
            (layer(TunnelProtocol::Vxlan, Some(1), 1, 2), layer(TunnelProtocol::Gre, Some(1), 1, 2));
        assert_ne!(identity(&[vxlan, gre]), identity(&[gre, vxlan]));
        assert_ne!(identity(&[gre]), identity(&[gre, gre]));
        assert!(
            !same(gre, Layer { id: None, ..gre })
                && !same(Layer { id: Some(0), ..gre }, Layer { id: None, ..gre })
        );
        assert_eq!(identity(&[]), 0);
    }
}

//! The key of a connection in the table: all that tells it from other connections that are open.

use crate::segment::Flow;
use std::hash::{Hash, Hasher};

/// An address as two words, which are compared and hashed faster than 16 bytes.
pub(super) type Words = [u64; 2];

/// The four-tuple without a direction, and with it the interface, tunnels and VLAN tags. `low` is the lesser of the two
/// ends, so that both directions have the same key. It takes 48 bytes, as every connection has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    low: Words,
    high: Words,
    low_port: u16,
    high_port: u16,
    /// The capturing interface ([`Flow::interface`]).
    pub(crate) interface: u32,
    /// The number of the tunnels ([`Flow::tunnel`]).
    pub(crate) tunnel: u32,
    /// The VLAN identifiers ([`Flow::vlan`]), of which the inner one is shortened to 15 bits (identifiers use 12), and
    /// [`Flow::ipv6`] as the highest bit.
    tags: u32,
}

impl Key {
    const IPV6: u32 = 1 << 31;
    const INNER: u32 = 0x7fff;

    /// The key of a flow, and whether its source is the `low` end.
    pub(crate) fn of(flow: &Flow) -> (Self, bool) {
        let &Flow { src, dst, src_port, dst_port, interface, vlan: [outer, inner], ipv6, tunnel } = flow;
        let (src, dst) = (words(src), words(dst));
        let src_is_low = (src, src_port) <= (dst, dst_port);
        let (low, low_port, high, high_port) =
            if src_is_low { (src, src_port, dst, dst_port) } else { (dst, dst_port, src, src_port) };
        let ipv6 = if ipv6 { Self::IPV6 } else { 0 };
        let tags = ipv6 | (u32::from(inner) & Self::INNER) << 16 | u32::from(outer);
        (Self { low, high, low_port, high_port, interface, tunnel, tags }, src_is_low)
    }

    /// The address and port of both ends, the lesser end first.
    pub(crate) fn ends(&self) -> [([u8; 16], u16); 2] {
        [(bytes(self.low), self.low_port), (bytes(self.high), self.high_port)]
    }

    /// Whether both ends are the same address and port: a socket that is connected to itself.
    pub(crate) fn is_of_one_end(&self) -> bool {
        (self.low, self.low_port) == (self.high, self.high_port)
    }

    /// Whether the connection was IPv6 on the wire ([`Flow::ipv6`]).
    pub(crate) const fn ipv6(&self) -> bool {
        self.tags & Self::IPV6 != 0
    }

    /// The VLAN identifiers, outer first ([`Flow::vlan`]).
    pub(crate) fn vlan(&self) -> [u16; 2] {
        let half = |tags: u32| u16::try_from(tags & 0xffff).unwrap_or_default();
        let inner = self.tags >> 16 & Self::INNER;
        [half(self.tags), if inner == Self::INNER { Flow::NO_VLAN } else { half(inner) }]
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let ports = u32::from(self.low_port) << 16 | u32::from(self.high_port);
        let place = [pair(ports, self.interface), pair(self.tunnel, self.tags)];
        hash_pairs([self.low, self.high, place], state);
    }
}

/// Hashes pairs of words, which takes one multiplication a pair.
pub(super) fn hash_pairs<const N: usize>(pairs: [Words; N], state: &mut impl Hasher) {
    for [high, low] in pairs {
        state.write_u128(u128::from(high) << 64 | u128::from(low));
    }
}

/// All of a flow as pairs of words, which are hashed several times as fast as its fields. No two flows have the same.
pub(super) fn pairs_of(flow: &Flow) -> [Words; 4] {
    let &Flow { src, dst, src_port, dst_port, interface, vlan: [outer, inner], ipv6, tunnel } = flow;
    let four = |parts: [u16; 4]| parts.into_iter().fold(0, |word, part| word << 16 | u64::from(part));
    let ends = four([src_port, dst_port, outer, inner]);
    let place = u64::from(interface) << 32 | u64::from(tunnel);
    [words(src), words(dst), [ends, place], [u64::from(ipv6), 0]]
}

fn words(address: [u8; 16]) -> Words {
    let both = u128::from_be_bytes(address);
    // Each half fits in 64 bits.
    [both >> 64, both & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default())
}

fn bytes([high, low]: Words) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::segment::Flow;
    use proptest::prelude::*;

    prop_compose! {
        fn flow()(
            src: [u8; 16],
            dst: [u8; 16],
            ports: (u16, u16),
            interface: u32,
            vlan in [prop_oneof![0_u16..4096, Just(Flow::NO_VLAN)], prop_oneof![0_u16..4096, Just(Flow::NO_VLAN)]],
            ipv6: bool,
            tunnel: u32,
        ) -> Flow {
            Flow { src, dst, src_port: ports.0, dst_port: ports.1, interface, vlan, ipv6, tunnel }
        }
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key_and_it_says_all_of_the_flow(flow in flow()) {
            let (key, src_is_low) = Key::of(&flow);
            let (other, dst_is_low) = Key::of(&flow.reversed());
            prop_assert_eq!(key, other);
            prop_assert!(src_is_low != dst_is_low || (flow.src, flow.src_port) == (flow.dst, flow.dst_port));
            let [low, high] = key.ends();
            let (src, dst) = if src_is_low { (low, high) } else { (high, low) };
            prop_assert!(low <= high);
            let again = Flow {
                src: src.0,
                dst: dst.0,
                src_port: src.1,
                dst_port: dst.1,
                interface: key.interface,
                vlan: key.vlan(),
                ipv6: key.ipv6(),
                tunnel: key.tunnel,
            };
            prop_assert_eq!(again, flow);
        }
    }
}

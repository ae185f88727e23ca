//! Decides which connections are followed when not all can be: those whose lot is low enough.
//!
//! Under overload whole connections are left out, and never single records. Both directions of a connection have one
//! lot, which is drawn with the run's random keys, so that the connections that are followed are an even sample, which
//! nobody can choose to be in.

/// The part of connections that is followed, as the greatest lot that is admitted: `u32::MAX` admits all connections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Admission(pub u32);

impl Admission {
    /// All connections are followed.
    pub const ALL: Self = Self(u32::MAX);

    /// One connection in `n` is followed, on average; 0 counts as 1.
    #[must_use]
    pub const fn one_in(n: u32) -> Self {
        match u32::MAX.checked_div(n) {
            // The greatest lot is 2^32 / n less one. For a power of two that is exact.
            Some(most) if n > 1 => Self(if n.is_power_of_two() { most } else { most - 1 }),
            _ => Self::ALL,
        }
    }

    /// The value that the kernel programs' map has. A map begins with 0, which admits all connections.
    #[must_use]
    pub const fn to_map(self) -> u32 {
        !self.0
    }

    /// The admission that a map's value stands for.
    #[inline(always)]
    #[must_use]
    pub const fn from_map(value: u32) -> Self {
        Self(!value)
    }

    /// Whether a connection with this lot is followed.
    #[inline(always)]
    #[must_use]
    pub const fn takes(self, lot: u32) -> bool {
        lot <= self.0
    }

    /// The part of connections that is followed, from 0 to 1.
    #[must_use]
    pub const fn rate(self) -> f64 {
        const LOTS: f64 = 4_294_967_296.0;
        (self.0 as f64 + 1.0) / LOTS
    }
}

/// The lot of a connection, from the tags ([`crate::flow::FlowHash::tag`]) of its two directions in either order.
///
/// The sum of the tags alone would not do, as the tags of flows between the same two hosts differ by nearly the same
/// number. The sum is mixed by the finalizer of `MurmurHash3` (fmix32), so that every bit of the sum affects every bit
/// of the lot.
#[inline(always)]
#[must_use]
pub const fn lot(own: u32, peer: u32) -> u32 {
    let mut lot = own.wrapping_add(peer);
    lot ^= lot >> 16;
    lot = lot.wrapping_mul(0x85eb_ca6b);
    lot ^= lot >> 13;
    lot = lot.wrapping_mul(0xc2b2_ae35);
    lot ^ (lot >> 16)
}

#[cfg(test)]
mod tests {
    use super::{Admission, lot};
    use crate::flow::{FlowKey, V4, known_seeds};

    /// How many of 65,536 connections from one host to one server are admitted, and how many of as many from random
    /// hosts.
    fn admitted(admission: Admission, seed: u64) -> [u32; 2] {
        let seeds = known_seeds(seed);
        let count = |key: fn(u32) -> FlowKey<V4>| {
            let takes = |n: &u32| {
                let key = key(*n);
                let (own, peer) = (key.tag(&seeds), key.reversed().tag(&seeds));
                assert_eq!(lot(own, peer), lot(peer, own));
                admission.takes(lot(own, peer))
            };
            u32::try_from((0..1 << 16).filter(takes).count()).unwrap_or(u32::MAX)
        };
        [
            count(|n| FlowKey {
                addresses: V4 { src: 1, dst: 2 },
                ports: n << 16 | 0x50,
                ifindex: 1,
                vlans: 0,
            }),
            count(|n| FlowKey {
                addresses: V4 { src: n.wrapping_mul(0x9e37_79b9), dst: 2 },
                ports: 0x1234_0050,
                ifindex: 1,
                vlans: 0,
            }),
        ]
    }

    #[test]
    fn the_admitted_share_is_the_one_asked_for() {
        for n in [1, 2, 3, 16, 100] {
            let expected = f64::from(1_u32 << 16) / f64::from(n);
            for seed in 0..8 {
                for count in admitted(Admission::one_in(n), seed) {
                    // Six standard deviations of a fair draw, which none of 80 exceeds by chance.
                    let off = (f64::from(count) - expected).abs();
                    assert!(off <= 6.0 * expected.sqrt(), "1/{n} with seed {seed}: {count}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn rates_are_what_they_say() {
        assert_eq!(Admission::one_in(0), Admission::ALL);
        assert_eq!(Admission::one_in(1), Admission::ALL);
        assert_eq!(Admission::one_in(2), Admission(0x7fff_ffff));
        assert_eq!(Admission::one_in(65_536), Admission(0xffff));
        assert!((Admission::one_in(3).rate() - 1.0 / 3.0).abs() < 1e-9);
        assert!((Admission::ALL.rate() - 1.0).abs() < 1e-12);
        assert!(Admission::ALL.takes(u32::MAX) && !Admission::one_in(2).takes(u32::MAX));
    }
}

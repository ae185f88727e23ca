//! The VLAN tags that a packet has.

use crate::abi::NO_VLAN;

/// VLAN identifiers as `abi::Record::vlan` has them, collected outer first.
///
/// A tag with identifier 0 carries a priority and names no VLAN (IEEE 802.1Q, the null VLAN ID). It is left out,
/// as it often is there in one direction only, and both directions must have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlans {
    /// The outer one in the upper half, all bits inverted: no tag, which is what most packets have, is 0.
    inverted: u32,
}

impl Vlans {
    /// No tag.
    pub const NONE: Self = Self::of([NO_VLAN; 2]);

    /// These identifiers, outer first.
    #[inline(always)]
    #[must_use]
    pub const fn of([outer, inner]: [u16; 2]) -> Self {
        Self { inverted: !((outer as u32) << 16 | inner as u32) }
    }

    /// Adds a tag, further in than those before. A third one is dropped: two tell networks apart.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, tci: u16) -> Self {
        let id = tci & 0x0fff;
        let [outer, inner] = self.ids();
        if id == 0 {
            self
        } else if self.inverted == 0 {
            Self::of([id, NO_VLAN])
        } else if inner == NO_VLAN {
            Self::of([outer, id])
        } else {
            self
        }
    }

    /// Outer first.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub const fn ids(self) -> [u16; 2] {
        [(!self.inverted >> 16) as u16, !self.inverted as u16]
    }

    /// Both identifiers as one word; 0 for none.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.inverted
    }
}

//! The VLAN tags of a packet.

use crate::abi::NO_VLAN;

/// VLAN identifiers as `abi::Record::vlan` has them, collected outer first.
///
/// A tag with identifier 0 carries a priority and names no VLAN (IEEE 802.1Q, the null VLAN ID). It is left out,
/// as it often is there in one direction only, and both directions must have one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vlans {
    /// The outer identifier in the upper half and the inner one in the lower half, all bits inverted: so it is 0
    /// without tags, as for most packets.
    inverted: u32,
}

impl Vlans {
    /// No tags.
    pub const NONE: Self = Self::of([NO_VLAN; 2]);

    /// The tags with these identifiers, the outer one first.
    #[inline(always)]
    #[must_use]
    pub const fn of([outer, inner]: [u16; 2]) -> Self {
        Self { inverted: !((outer as u32) << 16 | inner as u32) }
    }

    /// Adds a tag, given by its tag control information, behind those that are there. A third tag is dropped, as two
    /// tell networks apart.
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

    /// Both identifiers, the outer one first.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub const fn ids(self) -> [u16; 2] {
        [(!self.inverted >> 16) as u16, !self.inverted as u16]
    }

    /// Both identifiers as one word, which is 0 without tags.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.inverted
    }
}

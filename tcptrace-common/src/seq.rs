//! TCP sequence numbers, which are positions on a circle of 2^32 (RFC 9293 §3.4).

use core::fmt;

/// A sequence or acknowledgement number. Order is by wrapping distance, so it holds for numbers less than
/// 2^31 apart, which RFC 7323 §2.3 guarantees for one connection's window.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(transparent)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// How far beyond another number of its direction a number may be and still count as the same connection's: 16 MiB.
    /// No more than that is in flight before the first acknowledgement that passes here, and of guessed numbers only
    /// one in 256 comes this close.
    pub const NEAR: u32 = 1 << 24;

    /// How far `self` lies after `earlier`; negative if it lies before. Never panics.
    #[inline(always)]
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// The number that lies `n` octets after `self`.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// Whether `self` is `other` or lies after it.
    #[inline(always)]
    #[must_use]
    pub const fn at_or_after(self, other: Self) -> bool {
        self.distance_from(other) >= 0
    }

    /// Whether `self` lies strictly after `other`.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        self.distance_from(other) > 0
    }

    /// Whether `self` is `other` or lies after it by less than [`SeqNum::NEAR`].
    #[inline(always)]
    #[must_use]
    pub const fn at_or_soon_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) < Self::NEAR
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::SeqNum;

    #[test]
    fn order_wraps_at_two_to_the_32() {
        // (later, earlier, distance)
        for (later, earlier, distance) in [
            (1, 0, 1),
            (0, u32::MAX, 1),
            (99, u32::MAX - 100, 200),
            (0x8000_0000, 1, i32::MAX),
            (5, 5, 0),
            (4, 5, -1),
            (u32::MAX, 0, -1),
        ] {
            assert_eq!(SeqNum(later).distance_from(SeqNum(earlier)), distance, "{later} - {earlier}");
        }
        assert!(SeqNum(0).after(SeqNum(u32::MAX)));
        assert!(SeqNum(7).at_or_after(SeqNum(7)));
        assert!(!SeqNum(7).after(SeqNum(7)));
        assert_eq!(SeqNum(u32::MAX).plus(2), SeqNum(1));
    }

    #[test]
    fn what_lies_before_is_not_soon_after() {
        for (number, other, soon) in [
            (7, 7, true),
            (6, 7, false),
            (SeqNum::NEAR - 1, 0, true),
            (SeqNum::NEAR, 0, false),
            (SeqNum::NEAR - 2, u32::MAX, true),
            (0x8000_0000, 0, false),
        ] {
            assert_eq!(SeqNum(number).at_or_soon_after(SeqNum(other)), soon, "{number} after {other}");
        }
    }

    #[test]
    fn the_farthest_distance_does_not_panic() {
        assert_eq!(SeqNum(0x8000_0000).distance_from(SeqNum(0)), i32::MIN);
    }
}

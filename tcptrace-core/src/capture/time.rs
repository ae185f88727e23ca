//! Converts the ticks of a file to nanoseconds since the Unix epoch.

use crate::segment::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// How an interface counts time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TickClock {
    unit: Unit,
    /// Seconds to add to each time.
    offset: i64,
}

/// The length of one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// This many nanoseconds.
    Nanos(u64),
    /// One nanosecond divided by this number.
    Fraction(u64),
    /// 2^-n seconds, for this n.
    Binary(u8),
}

impl TickClock {
    /// A clock that counts microseconds, the default of both formats.
    pub(super) const MICROSECONDS: Self = Self { unit: Unit::Nanos(1_000), offset: 0 };

    /// A clock by the values of `if_tsresol` and `if_tsoffset`. Bit 7 of the resolution says whether it is a power of 2
    /// or of 10.
    pub(super) const fn new(resolution: u8, offset: i64) -> Self {
        let exponent = resolution & 0x7f;
        let unit = if resolution & 0x80 != 0 {
            Unit::Binary(exponent)
        } else if exponent <= 9 {
            Unit::Nanos(10_u64.pow(9 - exponent as u32))
        } else if exponent <= 28 {
            Unit::Fraction(10_u64.pow(exponent as u32 - 9))
        } else {
            // Even 2^64 ticks of this are less than a nanosecond.
            Unit::Binary(127)
        };
        Self { unit, offset }
    }

    /// The time of `ticks`.
    #[inline]
    pub(super) fn at(self, ticks: u64) -> Timestamp {
        let since = match self.unit {
            Unit::Nanos(factor) => times(ticks, factor),
            Unit::Fraction(divisor) => ticks / divisor,
            Unit::Binary(exponent) => saturated((u128::from(ticks) * u128::from(SECOND)) >> exponent),
        };
        if self.offset == 0 {
            return Timestamp(since);
        }
        let moved = i128::from(since) + i128::from(self.offset) * i128::from(SECOND);
        Timestamp(saturated(u128::try_from(moved).unwrap_or(0)))
    }
}

/// Multiplies ticks by nanoseconds. Some writers count from a moment after the packet, so that their ticks run
/// backwards from 2^64. The product is then as far from 2^64, so that the time between two packets stays right.
#[inline]
fn times(ticks: u64, factor: u64) -> u64 {
    let signed = ticks.cast_signed();
    if signed >= 0 {
        return ticks.saturating_mul(factor);
    }
    signed.checked_mul(factor.cast_signed()).map_or(u64::MAX, i64::cast_unsigned)
}

fn saturated(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::TickClock;
    use crate::segment::Timestamp;

    #[test]
    fn resolutions_are_powers_of_ten_and_of_two() {
        for (resolution, offset, ticks, ns) in [
            (6, 0, 1_500_000, 1_500_000_000),
            (9, 0, 1_500_000_001, 1_500_000_001),
            (0, 0, 3, 3_000_000_000),
            (12, 0, 1_500_000_001_999, 1_500_000_001),
            (28, 0, u64::MAX, 1),
            (29, 0, u64::MAX, 0),
            (127, 0, u64::MAX, 0),
            (0x94, 0, 3 << 19, 1_500_000_000),
            (0x80, 0, 2, 2_000_000_000),
            (0xbf, 0, 1 << 63, 1_000_000_000),
            (0xff, 0, u64::MAX, 0),
            (6, 10, 1, 10_000_001_000),
            (6, -1, 2_000_000, 1_000_000_000),
            (6, -1, 1, 0),
            (0, 0, u64::MAX, u64::MAX - 999_999_999),
            (6, 0, u64::MAX - 1, u64::MAX - 1999),
            (9, 0, u64::MAX - 1, u64::MAX - 1),
            (6, 0, i64::MAX.cast_unsigned(), u64::MAX),
            (6, 0, 1 << 63, u64::MAX),
            (0, i64::MAX, u64::MAX, u64::MAX),
            (0, i64::MIN, u64::MAX, 0),
        ] {
            let clock = TickClock::new(resolution, offset);
            assert_eq!(clock.at(ticks), Timestamp(ns), "{resolution:#x} {offset} {ticks}");
        }
        assert_eq!(TickClock::MICROSECONDS, TickClock::new(6, 0));
    }
}

//! From a file's ticks to nanoseconds since the Unix epoch.

use crate::segment::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// How an interface counts time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Clock {
    unit: Unit,
    /// Seconds to add.
    offset: i64,
}

/// One tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// So many nanoseconds.
    Times(u64),
    /// So much less than one nanosecond.
    Over(u64),
    /// 2 to the minus this many seconds.
    Binary(u8),
}

impl Clock {
    /// Microseconds, the default of both formats.
    pub(super) const MICROSECONDS: Self = Self { unit: Unit::Times(1_000), offset: 0 };

    /// By the values of `if_tsresol` and `if_tsoffset`: bit 7 says whether the resolution is a power of 2 or of 10.
    pub(super) const fn new(resolution: u8, offset: i64) -> Self {
        let exponent = resolution & 0x7f;
        let unit = if resolution & 0x80 != 0 {
            Unit::Binary(exponent)
        } else if exponent <= 9 {
            Unit::Times(10_u64.pow(9 - exponent as u32))
        } else if exponent <= 28 {
            Unit::Over(10_u64.pow(exponent as u32 - 9))
        } else {
            // 2^64 ticks of this are less than a nanosecond.
            Unit::Binary(127)
        };
        Self { unit, offset }
    }

    /// The time of `ticks`.
    #[inline]
    pub(super) fn at(self, ticks: u64) -> Timestamp {
        let since = match self.unit {
            Unit::Times(factor) => times(ticks, factor),
            Unit::Over(divisor) => ticks / divisor,
            Unit::Binary(exponent) => saturated((u128::from(ticks) * u128::from(SECOND)) >> exponent),
        };
        if self.offset == 0 {
            return Timestamp(since);
        }
        let moved = i128::from(since) + i128::from(self.offset) * i128::from(SECOND);
        Timestamp(saturated(u128::try_from(moved).unwrap_or(0)))
    }
}

/// Some writers count from later than a packet's time, and their ticks run from 2^64 backwards. Such times are kept as
/// the same distance from the end of our own time line, so that what lies between two packets stays right.
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
    use super::Clock;
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
            let clock = Clock::new(resolution, offset);
            assert_eq!(clock.at(ticks), Timestamp(ns), "{resolution:#x} {offset} {ticks}");
        }
        assert_eq!(Clock::MICROSECONDS, Clock::new(6, 0));
    }
}

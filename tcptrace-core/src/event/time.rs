//! RFC 3339 time stamps with nine digits, UTC. A general formatter costs more than the rest of a short event.

use crate::segment::Timestamp;

/// A time stamp in RFC 3339, such as `2020-06-10T06:59:50.293475000Z`: 30 bytes, without allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339([u8; 30]);

impl Rfc3339 {
    /// Formats nanoseconds of the Unix epoch. 64 bits of them end in the year 2554, so four digits always do.
    #[must_use]
    pub fn new(ts: Timestamp) -> Self {
        let (seconds, nanos) = (ts.0 / 1_000_000_000, ts.0 % 1_000_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        // Eight digits at a time: of the date, of the time of day, and of what is left but the last.
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let date = eight_digits(year * 10_000 + month * 100 + day).to_le_bytes();
        text[0..4].copy_from_slice(&date[0..4]);
        text[5..7].copy_from_slice(&date[4..6]);
        text[8..10].copy_from_slice(&date[6..8]);
        let time = second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60;
        let time = eight_digits(time).to_le_bytes();
        text[11..13].copy_from_slice(&time[2..4]);
        text[14..16].copy_from_slice(&time[4..6]);
        text[17..19].copy_from_slice(&time[6..8]);
        text[20..28].copy_from_slice(&eight_digits(nanos / 10).to_le_bytes());
        text[28] = b'0' + (nanos % 10) as u8;
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default() // only ASCII was ever written to it
    }

    /// The same as bytes, without looking at them.
    pub(crate) const fn as_bytes(&self) -> &[u8; 30] {
        &self.0
    }
}

/// The digit 0, eight times.
pub(crate) const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight decimal digits of a number below 100,000,000, the first in the lowest byte. Halves are divided into halves,
/// all of them at once: 10,486 / 2^20 is near enough to 1/100 for four digits, and 103 / 2^10 to 1/10 for two.
pub(crate) const fn eight_digits(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | ((pairs - tens * 10) << 8)) | ZEROS
}

/// Year, month and day of the civil calendar for a day of the Unix epoch. Howard Hinnant's `civil_from_days`: years
/// are counted from March, so that the leap day comes last and month lengths follow one linear formula.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097; // 400 years
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::Rfc3339;
    use crate::segment::Timestamp;
    use proptest::prelude::*;

    fn jiff(ns: u64) -> String {
        let ts = jiff::Timestamp::from_nanosecond(i128::from(ns)).expect("64 bits are in jiff's range");
        format!("{ts:.9}")
    }

    #[test]
    fn the_edges_of_the_calendar() {
        let day = 86_400_000_000_000;
        for ns in [0, 1, day - 1, day, 951_782_400_000_000_000, 4_107_542_400_000_000_000, u64::MAX] {
            for ns in [ns, ns.saturating_sub(1), ns.saturating_add(day)] {
                assert_eq!(Rfc3339::new(Timestamp(ns)).as_str(), jiff(ns));
            }
        }
    }

    #[test]
    fn every_day_for_four_centuries() {
        for days in 0..146_097 {
            let ns = days * 86_400_000_000_000;
            assert_eq!(Rfc3339::new(Timestamp(ns)).as_str(), jiff(ns));
        }
    }

    proptest! {
        #[test]
        fn any_instant_is_as_jiff_has_it(ns: u64) {
            let ours = Rfc3339::new(Timestamp(ns));
            prop_assert_eq!(ours.as_str(), jiff(ns));
        }
    }
}

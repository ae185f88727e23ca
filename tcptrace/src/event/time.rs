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
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second / 3600);
        digits(&mut text[14..16], second / 60 % 60);
        digits(&mut text[17..19], second % 60);
        digits(&mut text[20..29], nanos);
        Self(text)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default() // only ASCII was ever written to it
    }
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

/// Writes `number` right-aligned over all of `text`.
pub(crate) fn digits(text: &mut [u8], mut number: u64) {
    for place in text.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
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

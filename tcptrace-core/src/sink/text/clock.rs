//! The column that says when something happened, in the formats of tcpdump.

use crate::segment::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;

/// A format of the column that says when something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// The local time of day, after the date where the day has changed.
    #[default]
    OfDay,
    /// No column.
    None,
    /// Seconds since 1970 in UTC.
    Epoch,
    /// The time since the line before.
    SincePrevious,
    /// The local date and time.
    Date,
    /// The time since the first line.
    SinceFirst,
}

/// Prints the column that says when something happened. The rules of the time zone are asked once for each second, not
/// for each line.
#[derive(Debug)]
pub(super) struct TimeColumn {
    zone: TimeZone,
    times: TimeFormat,
    /// The second since 1970 in UTC that `local` and `time_of_day` belong to.
    second: u64,
    local: u64,
    time_of_day: String,
    /// The latest day so far, in days since 1970.
    day: Option<u64>,
    /// The time that the next span counts from.
    from: Option<Timestamp>,
}

impl TimeColumn {
    pub(super) fn new(zone: TimeZone, times: TimeFormat) -> Self {
        Self { zone, times, second: u64::MAX, local: 0, time_of_day: String::new(), day: None, from: None }
    }

    /// Writes the column and two spaces after it, or nothing where there is no column.
    pub(super) fn write(&mut self, ts: Timestamp, out: &mut impl fmt::Write) -> fmt::Result {
        match (self.times, ts) {
            (TimeFormat::None, _) => return Ok(()),
            // This is as wide as a time that is known.
            (_, Timestamp::UNKNOWN) => out.write_str("--:--:--.------")?,
            (TimeFormat::OfDay, ts) => self.write_of_day(ts, out)?,
            (TimeFormat::Date, ts) => {
                let (local, micros) = self.local(ts);
                write_date(local / DAY, out)?;
                write!(out, " {}.{micros:06}", self.time_of_day)?;
            }
            (TimeFormat::Epoch, ts) => {
                write!(out, "{}.{:06}", ts.0 / 1_000_000_000, ts.0 / 1000 % 1_000_000)?;
            }
            (TimeFormat::SinceFirst, ts) => write_span(*self.from.get_or_insert(ts), ts, out)?,
            (TimeFormat::SincePrevious, ts) => {
                let previous = self.from.replace(ts).unwrap_or(ts);
                write_span(previous, ts, out)?;
            }
        }
        out.write_str("  ")
    }

    /// Writes the time of day, after the date if the day is later than all before.
    fn write_of_day(&mut self, ts: Timestamp, out: &mut impl fmt::Write) -> fmt::Result {
        let (local, micros) = self.local(ts);
        let day = local / DAY;
        let before = *self.day.get_or_insert(day);
        if day > before {
            self.day = Some(day);
            write_date(day, out)?;
            out.write_char(' ')?;
        }
        write!(out, "{}.{micros:06}", self.time_of_day)
    }

    /// The local second since 1970 and the microseconds within it. Sets `time_of_day` to the text of that second.
    fn local(&mut self, ts: Timestamp) -> (u64, u64) {
        let second = ts.0 / 1_000_000_000;
        if second != self.second {
            self.second = second;
            // Both conversions hold until the year 2554, where 64 bits of nanoseconds end.
            let instant =
                i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            let offset = instant.map_or(0, |instant| self.zone.to_offset(instant).seconds());
            self.local = second.saturating_add_signed(i64::from(offset));
            let of_day = self.local % DAY;
            self.time_of_day = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
        }
        (self.local, ts.0 / 1000 % 1_000_000)
    }
}

/// The seconds of a day.
const DAY: u64 = 86_400;

fn write_date(day: u64, out: &mut impl fmt::Write) -> fmt::Result {
    let seconds = i64::try_from(day * DAY).unwrap_or(i64::MAX);
    let date =
        jiff::Timestamp::from_second(seconds).map(|midnight| TimeZone::UTC.to_datetime(midnight).date());
    match date {
        Ok(date) => write!(out, "{date}"),
        Err(_) => out.write_str("----------"),
    }
}

/// Writes a span as tcpdump does, with a minus sign where time went back.
fn write_span(from: Timestamp, to: Timestamp, out: &mut impl fmt::Write) -> fmt::Result {
    let sign = if to < from { "-" } else { " " };
    let micros = to.0.abs_diff(from.0) / 1000;
    let seconds = micros / 1_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    write!(out, "{sign}{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{TimeColumn, TimeFormat, Timestamp};
    use jiff::tz::{Offset, TimeZone};

    fn print(clock: &mut TimeColumn, ns: u64) -> String {
        let mut text = String::new();
        clock.write(Timestamp(ns), &mut text).expect("a String takes everything");
        text.trim_end().to_owned()
    }

    fn of_day(zone: TimeZone) -> TimeColumn {
        TimeColumn::new(zone, TimeFormat::OfDay)
    }

    #[test]
    fn the_time_of_day_is_local() {
        let ns = 1_591_772_390_293_475_999;
        assert_eq!(print(&mut of_day(TimeZone::UTC), ns), "06:59:50.293475");
        for (hours, text) in [(2, "08:59:50.293475"), (-8, "22:59:50.293475")] {
            let mut clock = of_day(TimeZone::fixed(Offset::constant(hours)));
            assert_eq!(print(&mut clock, ns), text);
            assert_eq!(print(&mut clock, ns + 1000), text.replace("475", "476"));
        }
    }

    #[test]
    fn daylight_saving_time_begins_within_a_trace() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone");
        let mut clock = of_day(zone);
        let change = 1_585_443_600_000_000_000; // 2020-03-29T01:00:00Z
        assert_eq!(print(&mut clock, change - 1000), "01:59:59.999999");
        assert_eq!(print(&mut clock, change), "03:00:00.000000");
    }

    #[test]
    fn each_number_of_t_has_its_column() {
        const NS: u64 = 1_591_772_390_293_475_999;
        for (times, first, later, back) in [
            (TimeFormat::None, "", "", ""),
            (TimeFormat::OfDay, "06:59:50.293475", "06:59:51.793475", "06:59:51.793474"),
            (TimeFormat::Epoch, "1591772390.293475", "1591772391.793475", "1591772391.793474"),
            (TimeFormat::SincePrevious, " 00:00:00.000000", " 00:00:01.500000", "-00:00:00.000001"),
            (
                TimeFormat::Date,
                "2020-06-10 06:59:50.293475",
                "2020-06-10 06:59:51.793475",
                "2020-06-10 06:59:51.793474",
            ),
            (TimeFormat::SinceFirst, " 00:00:00.000000", " 00:00:01.500000", " 00:00:01.499999"),
        ] {
            let clock = &mut TimeColumn::new(TimeZone::UTC, times);
            assert_eq!(print(clock, NS), first, "{times:?}");
            assert_eq!(print(clock, NS + 1_500_000_000), later, "{times:?}");
            assert_eq!(print(clock, NS + 1_499_999_000), back, "{times:?}");
        }
    }

    #[test]
    fn the_date_is_said_where_the_day_changes() {
        const MIDNIGHT: u64 = 1_591_747_200_000_000_000; // 2020-06-10T00:00:00Z
        let clock = &mut of_day(TimeZone::fixed(Offset::constant(2)));
        let local = MIDNIGHT - 2 * 3_600_000_000_000;
        assert_eq!(print(clock, local - 1000), "23:59:59.999999");
        assert_eq!(print(clock, local), "2020-06-10 00:00:00.000000");
        // A line that is printed late and belongs to the day before has no date.
        assert_eq!(print(clock, local - 1000), "23:59:59.999999");
        assert_eq!(print(clock, local + 1000), "00:00:00.000001");
    }
}

//! Local time of day, as tcpdump prints it.

use crate::segment::Timestamp;
use jiff::tz::TimeZone;
use std::fmt;

/// Prints the time of day with microseconds. The zone's rules are consulted once a second, not once a line.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    second: u64,
    time_of_day: String,
}

impl Clock {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, second: u64::MAX, time_of_day: String::new() }
    }

    pub(super) fn write(&mut self, ts: Timestamp, out: &mut impl fmt::Write) -> fmt::Result {
        if ts == Timestamp::UNKNOWN {
            // As wide as one that is known.
            return out.write_str("--:--:--.------");
        }
        let second = ts.0 / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.time_of_day = self.format(second);
        }
        write!(out, "{}.{:06}", self.time_of_day, ts.0 / 1000 % 1_000_000)
    }

    fn format(&self, second: u64) -> String {
        // Both hold until the year 2554, where nanoseconds of 64 bits end.
        let instant = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
        let offset = instant.map_or(0, |instant| self.zone.to_offset(instant).seconds());
        let local = second.saturating_add_signed(i64::from(offset)) % 86_400;
        format!("{:02}:{:02}:{:02}", local / 3600, local / 60 % 60, local % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Timestamp};
    use jiff::tz::{Offset, TimeZone};

    fn print(clock: &mut Clock, ns: u64) -> String {
        let mut text = String::new();
        clock.write(Timestamp(ns), &mut text).expect("a String takes everything");
        text
    }

    #[test]
    fn the_time_of_day_is_local() {
        let ns = 1_591_772_390_293_475_999;
        assert_eq!(print(&mut Clock::new(TimeZone::UTC), ns), "06:59:50.293475");
        for (hours, text) in [(2, "08:59:50.293475"), (-8, "22:59:50.293475")] {
            let mut clock = Clock::new(TimeZone::fixed(Offset::constant(hours)));
            assert_eq!(print(&mut clock, ns), text);
            assert_eq!(print(&mut clock, ns + 1000), text.replace("475", "476"));
        }
    }

    #[test]
    fn daylight_saving_time_begins_within_a_trace() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone");
        let mut clock = Clock::new(zone);
        let change = 1_585_443_600_000_000_000; // 2020-03-29T01:00:00Z
        assert_eq!(print(&mut clock, change - 1000), "01:59:59.999999");
        assert_eq!(print(&mut clock, change), "03:00:00.000000");
    }
}

//! When files are rotated by time: at times that a clock on the wall shows, counted from midnight.

use jiff::{SignedDuration, Timestamp, Zoned, civil::Time};
use std::time::Duration;

/// The longest time between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_mins(1);

/// The next time after `now` that is a multiple of `every` from midnight on, by the clock on the wall, or the next
/// midnight if that comes before.
pub(super) fn next(now: &Zoned, every: Duration) -> Timestamp {
    aligned(now, every).unwrap_or_else(|_| {
        // At the end of all times that there are.
        now.timestamp().checked_add(every).unwrap_or(Timestamp::MAX)
    })
}

fn aligned(now: &Zoned, every: Duration) -> Result<Timestamp, jiff::Error> {
    let midnight = now.tomorrow()?.start_of_day()?.timestamp();
    let every = SignedDuration::try_from(every)?;
    let shown = now.time().duration_since(Time::midnight());
    let Some(next) = multiple(shown, every).filter(|next| next.as_hours() < 24) else { return Ok(midnight) };
    let next = now.date().at(0, 0, 0, 0).checked_add(next)?.to_zoned(now.time_zone().clone())?.timestamp();
    // Where the clock is set back, an hour is shown twice, and each of the two is an hour.
    let again = next.duration_since(now.timestamp()) > every && every <= HOUR;
    let passed = now.timestamp().duration_since(now.start_of_day()?.timestamp());
    match multiple(passed, every) {
        Some(passed) if again => now.start_of_day()?.timestamp().checked_add(passed),
        _ => Ok(next),
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The next multiple of `every` after so much time.
fn multiple(passed: SignedDuration, every: SignedDuration) -> Option<SignedDuration> {
    let times = passed.as_nanos() / every.as_nanos().max(1) + 1;
    every.checked_mul(i32::try_from(times).ok()?)
}

/// How long to wait before the clock is looked at again for `due`.
pub(super) fn wait(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO).min(LOOK)
}

/// Whether `due` is further away than it can be, as the clock was set back.
pub(super) fn is_too_far(now: Timestamp, due: Timestamp, every: Duration) -> bool {
    Duration::try_from(due.duration_since(now)).is_ok_and(|left| left > every)
}

#[cfg(test)]
mod tests {
    use super::{is_too_far, next, wait};
    use jiff::{
        Timestamp, Zoned,
        tz::{Offset, TimeZone},
    };
    use std::time::Duration;

    const HOUR: u64 = 3600;

    /// The next time, on the clock of a zone two hours east.
    fn after(time: &str, seconds: u64) -> String {
        let zone = TimeZone::fixed(Offset::constant(2));
        let now: Timestamp = time.parse().expect("a time");
        next(&Zoned::new(now, zone), Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn times_are_those_of_the_clock_on_the_wall() {
        assert_eq!(after("2026-06-13T10:17:03.5+02", HOUR), "2026-06-13T09:00:00Z");
        assert_eq!(after("2026-06-13T10:00:00+02", HOUR), "2026-06-13T09:00:00Z", "later, not now");
        assert_eq!(after("2026-06-13T10:17:03+02", 600), "2026-06-13T08:20:00Z");
        assert_eq!(after("2026-06-13T10:17:03+02", 24 * HOUR), "2026-06-13T22:00:00Z", "local midnight");
        assert_eq!(after("2026-06-13T10:17:03+02", 6 * HOUR), "2026-06-13T10:00:00Z");
    }

    #[test]
    fn what_does_not_divide_a_day_begins_anew_at_midnight() {
        assert_eq!(after("2026-06-13T19:59:00+02", 10 * HOUR), "2026-06-13T18:00:00Z");
        assert_eq!(after("2026-06-13T20:01:00+02", 10 * HOUR), "2026-06-13T22:00:00Z");
    }

    #[test]
    fn a_day_on_which_the_clock_is_set_keeps_to_it() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let at = |time: &str| Zoned::new(time.parse().expect("a time"), zone.clone());
        let day = Duration::from_secs(24 * HOUR);
        assert_eq!(next(&at("2026-03-29T00:30:00Z"), day).to_string(), "2026-03-29T22:00:00Z", "of 23 hours");
        assert_eq!(next(&at("2026-10-24T22:30:00Z"), day).to_string(), "2026-10-25T23:00:00Z", "of 25 hours");
        let six = Duration::from_secs(6 * HOUR);
        assert_eq!(next(&at("2026-10-25T00:30:00Z"), six).to_string(), "2026-10-25T05:00:00Z", "6 o'clock");
        // Two o'clock is shown twice, at 0 and at 1 by UTC.
        let hour = Duration::from_secs(HOUR);
        assert_eq!(next(&at("2026-10-25T00:30:00Z"), hour).to_string(), "2026-10-25T01:00:00Z");
        assert_eq!(next(&at("2026-10-25T01:30:00Z"), hour).to_string(), "2026-10-25T02:00:00Z");
    }

    #[test]
    fn a_clock_that_is_set_is_noticed() {
        let now: Timestamp = "2026-06-13T10:00:00Z".parse().expect("a time");
        let due: Timestamp = "2026-06-13T11:00:00Z".parse().expect("a time");
        let hour = Duration::from_secs(HOUR);
        assert_eq!(wait(now, due), Duration::from_mins(1), "the clock is looked at now and then");
        assert_eq!(wait(due, now), Duration::ZERO);
        assert!(!is_too_far(now, due, hour));
        assert!(is_too_far("2026-06-13T09:59:59Z".parse().expect("a time"), due, hour));
    }
}

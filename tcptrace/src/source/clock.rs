//! The distance between `CLOCK_MONOTONIC`, which the kernel programs stamp records by, and the wall clock, which people
//! read. It is measured anew now and then, because the wall clock is steered and set while a trace runs.

use crate::segment::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::{fs, sync::OnceLock};

/// The time now, as the kernel programs stamp their records (`bpf_ktime_get_ns`).
#[must_use]
pub fn monotonic_now() -> Timestamp {
    Timestamp(u64::try_from(monotonic()).unwrap_or(0))
}

/// The host's monotonic clock in nanoseconds, which is the kernel's. A process in a time namespace is shown another one
/// (`time_namespaces(7)`), so that the namespace's offset is taken off again.
fn monotonic() -> i64 {
    static NAMESPACE: OnceLock<i64> = OnceLock::new();
    let ahead = NAMESPACE.get_or_init(|| {
        // A kernel without time namespaces has no such file, and a process cannot change its own.
        fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|it| ahead(&it)).unwrap_or(0)
    });
    nanoseconds(clock_gettime(ClockId::Monotonic)).saturating_sub(*ahead)
}

/// How many nanoseconds the namespace's monotonic clock is ahead of the host's, by the lines of `timens_offsets`
/// (kernel/time/namespace.c, `proc_timens_show_offsets`), which have the clock's name, seconds and nanoseconds.
fn ahead(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut words = line.split_whitespace().map(str::parse);
    let (seconds, nanoseconds): (i64, i64) = (words.next()?.ok()?, words.next()?.ok()?);
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// The difference of `CLOCK_REALTIME` and `CLOCK_MONOTONIC`, as it was last measured.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    offset: Offset,
    /// When it was measured.
    anchored: Timestamp,
}

/// A measurement of the difference. The most exact of several is the least in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offset {
    /// The time between two readings of the monotonic clock, between which the other clock was read.
    bracket_ns: u64,
    /// What to add to the monotonic clock's time to get the other's.
    ns: i64,
}

impl WallClock {
    /// How old an offset may become. A clock is steered by at most 500 ppm (adjtimex(2)), so an offset this old is
    /// wrong by 5 ms at most.
    const PERIOD_NS: u64 = 10_000_000_000;
    /// How many times the offset is measured to find the most exact.
    const TRIES: usize = 8;
    /// A change of the offset beyond this is a step and no error of the measurement: the clock was set, or the host
    /// slept, which `CLOCK_MONOTONIC` does not count.
    const STEP_NS: u64 = 1_000_000;

    /// Measures the offset.
    #[must_use]
    pub fn new() -> Self {
        Self { offset: measure(Self::TRIES), anchored: monotonic_now() }
    }

    /// What to add to a monotonic stamp to get nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn offset_ns(&self) -> i64 {
        self.offset.ns
    }

    /// How wrong the offset could be when it was measured, in nanoseconds.
    #[must_use]
    pub const fn uncertainty_ns(&self) -> u64 {
        self.offset.bracket_ns.div_ceil(2)
    }

    /// The time now, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(monotonic_now().0.saturating_add_signed(self.offset.ns))
    }

    /// Measures the offset again if the last time is ten seconds ago, or the clock was set since. Finding that out
    /// costs some tens of nanoseconds. Durations do not change with the offset, as they are differences of monotonic
    /// stamps.
    pub fn refresh(&mut self, now: Timestamp) {
        self.refresh_by(now, measure);
    }

    fn refresh_by(&mut self, now: Timestamp, measure: impl Fn(usize) -> Offset) {
        let stepped = measure(1).ns.abs_diff(self.offset.ns) > Self::STEP_NS;
        if stepped || now.since(self.anchored) >= Self::PERIOD_NS {
            *self = Self { offset: measure(Self::TRIES), anchored: now };
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures the offset `tries` times and takes the one whose two monotonic readings lie closest together: there the
/// process was least interrupted between them.
fn measure(tries: usize) -> Offset {
    let once = || {
        let before = monotonic();
        let real = nanoseconds(clock_gettime(ClockId::Realtime));
        let bracket_ns = monotonic().abs_diff(before);
        Offset { bracket_ns, ns: real - before.saturating_add_unsigned(bracket_ns / 2) }
    };
    (1..tries).map(|_| once()).fold(once(), Offset::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_stamp_and_the_offset_make_the_wall_clock() {
        let clock = WallClock::new();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let now = i128::from(monotonic_now().0) + i128::from(clock.offset_ns());
        let after = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let slack = 1_000_000;
        assert!(now >= before.cast_signed() - slack && now <= after.cast_signed() + slack);
        assert!(clock.now().0.abs_diff(u64::try_from(now).expect("after 1970")) < 1_000_000_000);
        // Two readings of a clock are not the same one, nor a tenth of a second apart in each of eight tries.
        assert!((1..100_000_000).contains(&clock.uncertainty_ns()), "{clock:?}");
    }

    #[test]
    fn a_time_namespace_is_known_by_its_offset() {
        assert_eq!(ahead("monotonic           0         0\nboottime            0         0\n"), Some(0));
        assert_eq!(
            ahead("monotonic       -2000       500\nboottime         1000         0\n"),
            Some(-1_999_999_999_500)
        );
        assert_eq!(ahead("boottime 7 0\n"), None);
    }

    #[test]
    fn it_is_measured_again_after_ten_seconds_or_a_step() {
        let offset = |ns| Offset { bracket_ns: 3, ns };
        let clock = WallClock { offset: offset(7), anchored: Timestamp(1_000) };
        assert_eq!(clock.uncertainty_ns(), 2);
        let after = |ns: u64, now: i64| {
            let mut clock = clock;
            clock.refresh_by(Timestamp(1_000 + ns), |_| offset(now));
            (clock.offset_ns(), clock.anchored.0)
        };
        assert_eq!(after(WallClock::PERIOD_NS - 1, 900), (7, 1_000), "steered, and not yet due");
        assert_eq!(after(WallClock::PERIOD_NS, 900), (900, 1_000 + WallClock::PERIOD_NS));
        for hour in [3_600_000_000_000, -3_600_000_000_000] {
            assert_eq!(after(50, hour), (hour, 1_050), "set");
        }
    }
}

//! The kernel's statistics of how often programs ran, and how long.

use std::time::Duration;

/// How often programs ran, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many runs there were.
    pub count: u64,
    /// The time that all runs took together.
    pub time: Duration,
}

impl Runs {
    /// Reads the runs from the file in `/proc/self/fdinfo` of a program's descriptor (`kernel/bpf/syscall.c`,
    /// `bpf_prog_show_fdinfo`).
    pub(super) fn of(fdinfo: &str) -> Self {
        let number = |name: &str| {
            let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Self { count: number("run_cnt"), time: Duration::from_nanos(number("run_time_ns")) }
    }

    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, time: self.time + other.time }
    }

    /// The runs since `before`. The runs of programs that ended meanwhile are missing.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self { count: self.count.saturating_sub(before.count), time: self.time.saturating_sub(before.time) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_read_from_what_is_said_of_a_descriptor() {
        let said = "pos:\t0\nprog_type:\t3\nrun_time_ns:\t5107\nrun_cnt:\t2\nrecursion_misses:\t0\n";
        assert_eq!(Runs::of(said), Runs { count: 2, time: Duration::from_nanos(5107) });
        assert_eq!(Runs::of("run_cnt:\tmany\n"), Runs::default());
    }
}

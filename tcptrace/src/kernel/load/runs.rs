//! The kernel's statistics of programs.

use std::time::Duration;

/// Runs of programs, and the time they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// All together.
    pub time: Duration,
}

impl Runs {
    /// From what is said of a program's descriptor (`kernel/bpf/syscall.c`, `bpf_prog_show_fdinfo`).
    pub(super) fn of(fdinfo: &str) -> Self {
        let number = |name: &str| {
            let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.and_then(|number| number.parse().ok()).unwrap_or_default()
        };
        Self { count: number("run_cnt"), time: Duration::from_nanos(number("run_time_ns")) }
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, time: self.time + other.time }
    }

    /// Without those of before. Programs that ended meanwhile have taken theirs with them.
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

//! How many things happened in each second of the last minute.

use crate::segment::Timestamp;

/// Seconds that are remembered.
pub(super) const SECONDS: usize = 60;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Counts of the last minute, second by second.
#[derive(Clone, Debug)]
pub struct Window {
    /// A count for each second; that of second `s` is at `s % SECONDS`.
    counts: [u32; SECONDS],
    /// The latest second that has a place.
    last: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { counts: [0; SECONDS], last: 0 }
    }
}

impl Window {
    /// Counts something that happened at `ts`; nothing is counted of a time that nobody knows, or more than a minute before the
    /// latest.
    pub(super) fn add(&mut self, ts: Timestamp) {
        if ts != Timestamp::UNKNOWN {
            self.advance(ts);
            if let Some(count) = self.at(ts) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Takes back what [`Self::add`] has counted.
    pub(super) fn take_back(&mut self, ts: Timestamp) {
        if let Some(count) = self.at(ts) {
            *count = count.saturating_sub(1);
        }
    }

    /// Adds all that another window has counted.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.advance(Timestamp(other.last.saturating_mul(SECOND)));
        for second in other.last.saturating_sub(SECONDS as u64 - 1)..=other.last {
            let count = other.counts[place(second)];
            if let Some(ours) = self.at(Timestamp(second.saturating_mul(SECOND))) {
                *ours = ours.saturating_add(count);
            }
        }
    }

    /// The counts of so many seconds before `now`, the earliest first. The second that `now` is in is not over, and not among them.
    #[must_use]
    pub fn before(&self, now: Timestamp, seconds: usize) -> Vec<u32> {
        self.each_before(now, seconds).collect()
    }

    /// How many things happened in so many seconds before `now`.
    #[must_use]
    pub fn sum(&self, now: Timestamp, seconds: usize) -> u64 {
        self.each_before(now, seconds).map(u64::from).sum()
    }

    fn each_before(&self, now: Timestamp, seconds: usize) -> impl Iterator<Item = u32> {
        let now = now.0 / SECOND;
        let seconds = (1..=seconds as u64).rev().map(move |ago| now.checked_sub(ago));
        seconds.map(|second| {
            second.filter(|second| self.keeps(*second)).map_or(0, |second| self.counts[place(second)])
        })
    }

    /// Whether the count of a second is still there.
    const fn keeps(&self, second: u64) -> bool {
        second <= self.last && self.last - second < SECONDS as u64
    }

    /// Makes room for the second that a time is in.
    fn advance(&mut self, ts: Timestamp) {
        let second = ts.0 / SECOND;
        if second > self.last {
            let from = (self.last + 1).max(second.saturating_sub(SECONDS as u64 - 1));
            (from..=second).for_each(|second| self.counts[place(second)] = 0);
            self.last = second;
        }
    }

    fn at(&mut self, ts: Timestamp) -> Option<&mut u32> {
        let second = ts.0 / SECOND;
        self.keeps(second).then(|| &mut self.counts[place(second)])
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{SECOND, Window};
    use crate::segment::Timestamp;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let mut window = Window::default();
        for second in 1000..1120 {
            window.add(at(second));
        }
        assert_eq!(window.sum(at(1120), 60), 60);
        assert_eq!(window.sum(at(1120), 10), 10);
        assert_eq!(window.sum(at(1150), 60), 30);
        assert_eq!(window.sum(at(2000), 60), 0);
        assert_eq!(window.before(at(1121), 3), [1, 1, 0]);
    }

    #[test]
    fn what_is_too_old_or_of_no_time_is_not_counted() {
        let mut window = Window::default();
        window.add(at(1000));
        window.add(at(100));
        window.add(at(940));
        window.add(Timestamp::UNKNOWN);
        window.add(at(941));
        assert_eq!(window.sum(at(1001), 60), 2);
        window.take_back(at(941));
        window.take_back(at(10));
        assert_eq!(window.sum(at(1001), 60), 1);
    }

    #[test]
    fn windows_are_added_second_by_second() {
        let (mut early, mut late) = (Window::default(), Window::default());
        for second in [100, 130, 130] {
            early.add(at(second));
        }
        for second in [130, 165] {
            late.add(at(second));
        }
        for (mut sum, other) in [(early.clone(), &late), (late.clone(), &early)] {
            sum.add_all(other);
            assert_eq!(sum.sum(at(166), 60), 4);
            assert_eq!(sum.before(at(131), 1), [3]);
        }
    }
}

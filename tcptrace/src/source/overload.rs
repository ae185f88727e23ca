//! How many connections to follow: all of them, or fewer while the ring or the output cannot keep up.
//!
//! The number goes down fast and up slowly. It is halved as soon as the ring or the output's queue is half full, and
//! doubled after a quarter of a second in which both were nearly empty. If the load is still as high as when it was too
//! much, twice as many connections would be too much again, and doubling is tried only every ten seconds.

use crate::segment::Timestamp;
use tcptrace_common::admission::Admission;

/// How full the queues are that can overflow, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fill {
    /// How full the ring was before it was read.
    pub(super) ring: f64,
    /// How full the queue for the reader of the output is.
    pub(super) output: f64,
}

/// Decides which part of connections is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overload {
    limit: Admission,
    now: Admission,
    changed: Timestamp,
    /// When a queue was last more than nearly empty.
    pressed: Timestamp,
    /// How many records a second came when they were last too many; None if they are not known to have been.
    too_many: Option<f64>,
    /// When the present period began, over which records are counted.
    since: Timestamp,
    /// How many records came in the present period.
    records: u64,
    /// How many records a second came in the period before.
    rate: f64,
}

impl Overload {
    /// A queue that is fuller than this halves the part that is followed.
    const HIGH: f64 = 0.5;
    /// A queue that is fuller than this quarters it.
    const VERY_HIGH: f64 = 0.85;
    /// A queue that is no fuller than this is nearly empty.
    const LOW: f64 = 0.125;
    /// The time between two steps down, in which the first one takes effect.
    const DOWN_NS: u64 = 10_000_000;
    /// How long the queues are nearly empty before a step up. It is also the period over which records are counted.
    const UP_NS: u64 = 250_000_000;
    /// How long the queues are nearly empty before a step up that will probably be too much.
    const PROBE_NS: u64 = 10_000_000_000;
    /// The part of a rate that was too much that is taken to be none too much.
    const SAFE: f64 = 0.7;
    /// The least part that is followed: one connection in 65,536.
    const LEAST: Admission = Admission::one_in(1 << 16);

    /// Begins with `limit`, which is never exceeded.
    pub(super) const fn new(limit: Admission, now: Timestamp) -> Self {
        Self {
            limit,
            now: limit,
            changed: now,
            pressed: now,
            too_many: None,
            since: now,
            records: 0,
            rate: 0.0,
        }
    }

    /// The part of connections that is followed.
    pub(super) const fn admission(&self) -> Admission {
        self.now
    }

    /// Takes note of `records` more and of how full the queues are. Returns the part that is to be followed from now
    /// on, if it changes.
    pub(super) fn observe(&mut self, now: Timestamp, records: u64, fill: Fill) -> Option<Admission> {
        self.count(now, records);
        let most = fill.ring.max(fill.output);
        if most > Self::LOW {
            self.pressed = now;
        }
        let next = if most > Self::HIGH && now.since(self.changed) >= Self::DOWN_NS {
            self.too_many = Some(self.rate.max(self.recent_rate(now)));
            let shift = if most > Self::VERY_HIGH { 2 } else { 1 };
            // A limit below the least part stays in force.
            Admission(self.now.0 >> shift).max(Self::LEAST.min(self.limit))
        } else if self.now < self.limit && self.may_rise(now) {
            Admission(self.now.0 << 1 | 1).min(self.limit)
        } else {
            return None;
        };
        if next == self.now {
            return None;
        }
        (self.now, self.changed) = (next, now);
        if next == self.limit {
            self.too_many = None;
        }
        Some(next)
    }

    fn may_rise(&self, now: Timestamp) -> bool {
        let calm = now.since(self.pressed.max(self.changed));
        let fits = self.too_many.is_none_or(|too_many| 2.0 * self.rate <= Self::SAFE * too_many);
        calm >= if fits { Self::UP_NS } else { Self::PROBE_NS }
    }

    fn count(&mut self, now: Timestamp, records: u64) {
        self.records += records;
        if now.since(self.since) >= Self::UP_NS {
            self.rate = self.recent_rate(now);
            (self.since, self.records) = (now, 0);
        }
    }

    /// How many records a second came since the period began; 0 while that is too short to tell.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    fn recent_rate(&self, now: Timestamp) -> f64 {
        match now.since(self.since) {
            0..1_000_000 => 0.0,
            ns => self.records as f64 * 1e9 / ns as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const EMPTY: Fill = Fill { ring: 0.0, output: 0.0 };

    /// The admission after each of `ms` milliseconds, with a ring that holds 100,000 records and a reader that takes
    /// 1,000 of them in a millisecond. `offered` records would come in a millisecond if all connections were admitted.
    fn run(overload: &mut Overload, from: u64, ms: u64, offered: f64, level: &mut f64) -> Vec<Admission> {
        (from..from + ms)
            .map(|ms| {
                let came = (offered * overload.admission().rate()).min(100_000.0 - *level);
                *level += came;
                let fill = Fill { ring: *level / 100_000.0, output: 0.0 };
                let taken = level.min(1_000.0);
                *level -= taken;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1000")]
                overload.observe(Timestamp(ms * MS), taken as u64, fill);
                overload.admission()
            })
            .collect()
    }

    #[test]
    fn a_flood_is_held_at_a_share_that_can_be_followed_and_then_let_go() {
        let mut overload = Overload::new(Admission::ALL, Timestamp(0));
        let mut level = 0.0;
        assert!(run(&mut overload, 0, 2_000, 500.0, &mut level).iter().all(|a| *a == Admission::ALL));
        // Eight times as many records come as can be read.
        let flood = run(&mut overload, 2_000, 20_000, 8_000.0, &mut level);
        let steady = &flood[1_000..];
        let rates: Vec<f64> = steady.iter().map(|admission| admission.rate()).collect();
        let mean = rates.iter().sum::<f64>() / 19_000.0;
        assert!((0.02..0.125).contains(&mean), "{mean}");
        // A flood that stays the same is not a reason to go up and down all the time.
        let changes = steady.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 12, "{changes} changes in 19 s");
        // All is admitted again within seconds of its end.
        let after = run(&mut overload, 22_000, 4_000, 500.0, &mut level);
        assert_eq!(after.last(), Some(&Admission::ALL));
    }

    #[test]
    fn a_reader_that_never_reads_leaves_one_in_65536() {
        let mut overload = Overload::new(Admission::ALL, Timestamp(0));
        for ms in 0..1_000 {
            overload.observe(Timestamp(ms * MS), 10, Fill { ring: 0.0, output: 1.0 });
        }
        assert_eq!(overload.admission(), Overload::LEAST);
    }

    #[test]
    fn a_sample_is_the_limit() {
        let limit = Admission::one_in(10);
        let mut overload = Overload::new(limit, Timestamp(0));
        assert_eq!(overload.observe(Timestamp(MS), 0, EMPTY), None);
        let full = Fill { ring: 0.6, output: 0.0 };
        assert_eq!(overload.observe(Timestamp(20 * MS), 0, full), Some(Admission(limit.0 / 2)));
        assert_eq!(overload.observe(Timestamp(21 * MS), 0, full), None, "that has to take effect first");
        let risen = overload.observe(Timestamp(600 * MS), 0, EMPTY);
        assert_eq!(risen, Some(limit));
        let tiny = Admission::one_in(1_000_000);
        let mut overload = Overload::new(tiny, Timestamp(0));
        assert_eq!(overload.observe(Timestamp(20 * MS), 0, full), None, "there is next to nothing to shed");
    }
}

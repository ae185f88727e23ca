//! Frees the places in the pending-ACK table that nobody will come for.
//!
//! A word goes when its acknowledgement comes. Where none ever does (a SYN-ACK that nobody answers, a FIN to a host that is
//! gone) it would stay to the end of the trace: some hundred thousand of them fill every bucket, and from then on each new
//! word costs another connection its own. So each word is looked at again and again, and freed if it is the one that was
//! there a period before. That costs packets nothing: whoever frees them only reads the table, and compares with a copy.
//!
//! The period is longer than anybody waits in earnest. A stack sends its SYN-ACK for the last time 63 s after the first at the
//! most, and waits as long again (`net/ipv4/inet_connection_sock.c`, `reqsk_timer_handler`, with its `tcp_synack_retries`); a
//! FIN is sent again no later than after two minutes (RFC 6298 §2.4 allows such a bound, and `TCP_RTO_MAX` is that). What is
//! sent again after its word was freed arms it anew. So an acknowledgement goes unrecorded only where none of what it
//! acknowledges passed for longer than a period; the tracker is told how far back that is possible.

use crate::segment::Timestamp;
use std::{ops::Range, time::Duration};

/// How old a word is at least when it is freed; at most it is twice as old.
pub const PERIOD: Duration = Duration::from_secs(150);
/// The table is looked at in so many parts, one after the other, so that no look takes long.
const PARTS: usize = 64;

/// The words of a pending table.
pub trait Words {
    /// The word at this place, 0 where nobody waits.
    fn get(&self, place: usize) -> u64;

    /// Frees the place, unless there is another word by now; whether it did.
    fn free(&mut self, place: usize, word: u64) -> bool;
}

/// What was in the table, and when it was looked at.
#[derive(Debug)]
pub struct Sweep {
    period_ns: u64,
    /// As each part was when it was looked at last. Only what differs is written, so that of a table that is mostly empty
    /// the copy is mostly memory that was never touched.
    copy: Box<[u64]>,
    /// When each part is due.
    due: [Timestamp; PARTS],
    next: usize,
    freed: u64,
}

impl Sweep {
    /// For a table of so many words, from `now` on.
    #[must_use]
    pub fn new(words: usize, period: Duration, now: Timestamp) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let step = period_ns / PARTS as u64;
        let mut due = [now; PARTS];
        for (part, due) in (1..).zip(&mut due) {
            due.0 = now.0.saturating_add(step * part);
        }
        Self { period_ns, copy: vec![0; words].into_boxed_slice(), due, next: 0, freed: 0 }
    }

    /// Looks at the parts that are due. If it freed any word, the acknowledgements of what passed longer ago than it returns,
    /// in nanoseconds, may no longer be waited for.
    #[inline]
    pub fn step(&mut self, now: Timestamp, words: &mut impl Words) -> Option<u64> {
        if now < self.due[self.next] { None } else { self.look(now, words) }
    }

    #[cold]
    fn look(&mut self, now: Timestamp, words: &mut impl Words) -> Option<u64> {
        let before = self.freed;
        while self.due[self.next] <= now {
            for place in self.part(self.next) {
                self.freed += u64::from(visit(&mut self.copy[place], place, words));
            }
            self.due[self.next].0 = now.0.saturating_add(self.period_ns.max(1));
            self.next = (self.next + 1) % PARTS;
        }
        (self.freed > before).then_some(self.period_ns)
    }

    /// How many words were freed.
    #[must_use]
    pub const fn freed(&self) -> u64 {
        self.freed
    }

    fn part(&self, part: usize) -> Range<usize> {
        let words = self.copy.len();
        words * part / PARTS..words * (part + 1) / PARTS
    }
}

/// Frees the place if the word in it is the one that was there before, and remembers what is there now.
fn visit(known: &mut u64, place: usize, words: &mut impl Words) -> bool {
    let mut word = words.get(place);
    let freed = word != 0 && word == *known && words.free(place, word);
    if freed {
        word = 0;
    }
    if word != *known {
        *known = word;
    }
    freed
}

/// How far the time of a file's packets has come, by steps that can be believed: no clock that was set, no packet with a
/// time of its own, and no order in which several captures were put together frees a word before its time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    latest: Timestamp,
    passed: Timestamp,
}

impl Pace {
    /// More than this between two packets, in whichever direction, is not taken for time that passed.
    const MOST_NS: u64 = 60_000_000_000;

    /// The time passed before a packet with this time of its own, since the first one.
    #[inline]
    pub fn at(&mut self, ts: Timestamp) -> Timestamp {
        let ahead = ts.0.saturating_sub(self.latest.0);
        if ahead > 0 && ahead <= Self::MOST_NS {
            self.passed.0 += ahead;
        }
        if ahead > 0 || self.latest.0 - ts.0 > Self::MOST_NS {
            self.latest = ts;
        }
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    impl Words for Vec<u64> {
        fn get(&self, place: usize) -> u64 {
            self[place]
        }

        fn free(&mut self, place: usize, word: u64) -> bool {
            let same = self[place] == word;
            if same {
                self[place] = 0;
            }
            same
        }
    }

    fn seconds(n: u64) -> Timestamp {
        Timestamp(n * SECOND)
    }

    /// A table of 1,000 words that is looked at each second.
    struct Table {
        words: Vec<u64>,
        sweep: Sweep,
        now: u64,
    }

    impl Table {
        fn new() -> Self {
            Self { words: vec![0; 1000], sweep: Sweep::new(1000, PERIOD, seconds(0)), now: 0 }
        }

        /// How often any was freed.
        fn wait(&mut self, until: u64) -> usize {
            let mut times = 0;
            while self.now < until {
                self.now += 1;
                let told = self.sweep.step(seconds(self.now), &mut self.words);
                assert!(told.is_none_or(|ns| ns == PERIOD.as_secs() * SECOND));
                times += usize::from(told.is_some());
            }
            times
        }
    }

    #[test]
    fn a_word_is_freed_when_it_is_between_one_and_two_periods_old() {
        let period = PERIOD.as_secs();
        for begun in [0, 7, 149, 150, 1000] {
            let mut table = Table::new();
            table.wait(begun);
            table.words.fill(5);
            assert_eq!(table.wait(begun + period), 0);
            assert!(table.words.iter().all(|word| *word == 5), "none is freed before, from {begun}");
            // A look comes up to a second late here.
            assert!(table.wait(begun + 2 * period + 2) > 1);
            assert!(table.words.iter().all(|word| *word == 0), "all are freed by then, from {begun}");
            assert_eq!(table.sweep.freed(), 1000);
        }
    }

    #[test]
    fn a_word_that_changed_is_as_young_as_its_change() {
        let mut table = Table::new();
        table.words.fill(5);
        table.wait(200);
        table.words.fill(6);
        assert_eq!(table.wait(350), 0, "by the first look at each it had changed");
        table.wait(502);
        assert!(table.words.iter().all(|word| *word == 0));
    }

    #[test]
    fn a_look_that_comes_late_frees_nothing_before_its_time() {
        let mut table = Table::new();
        assert_eq!(table.sweep.step(seconds(400), &mut table.words), None);
        table.words.fill(5);
        // All parts were late, and are due together from then on.
        assert_eq!(table.sweep.step(seconds(550), &mut table.words), None);
        assert_eq!(table.sweep.step(seconds(699), &mut table.words), None);
        assert_eq!(table.sweep.step(seconds(700), &mut table.words), Some(150 * SECOND));
        assert_eq!(table.sweep.freed(), 1000);
    }

    #[test]
    fn a_word_that_comes_while_its_place_is_freed_stays() {
        /// Somebody else puts a word in after each look.
        struct Racing(u64);
        impl Words for Racing {
            fn get(&self, _: usize) -> u64 {
                5
            }
            fn free(&mut self, _: usize, word: u64) -> bool {
                word == self.0
            }
        }
        let mut known = 5;
        assert!(!visit(&mut known, 0, &mut Racing(6)));
        assert!(visit(&mut known, 0, &mut Racing(5)));
        assert_eq!(known, 0);
    }

    #[test]
    fn no_leap_of_a_files_clock_counts_as_time_that_passed() {
        let pass = |times: &[u64]| {
            let mut pace = Pace::default();
            times.iter().map(|&ts| pace.at(seconds(ts)).0 / SECOND).collect::<Vec<_>>()
        };
        assert_eq!(pass(&[1000, 1001, 1060, 1060]), [0, 1, 60, 60]);
        assert_eq!(pass(&[1000, 1_000_000, 1001, 1002]), [0, 0, 0, 1], "one packet was far ahead");
        assert_eq!(pass(&[1000, 990, 1001, 991, 1002]), [0, 0, 1, 1, 2], "two clocks, ten seconds apart");
        assert_eq!(pass(&[1000, 9000, 1001, 9001, 1002, 9002]), [0; 6], "two clocks, hours apart");
        assert_eq!(pass(&[1000, 10, 11, 12]), [0, 0, 1, 2], "a clock was set back");
    }
}

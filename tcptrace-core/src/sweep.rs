//! Frees the words in the pending-ACK table whose acknowledgement will not come.
//!
//! A word stands for one expected acknowledgement and is freed when that comes. Where none ever does (a SYN-ACK that
//! nobody answers, a FIN to a host that is gone) the word would stay to the end of the trace: some hundred thousand of
//! them fill every bucket, and from then on each new word costs another connection its own. So the sweep visits each
//! word again and again, and frees it if the same word was there a period before. That costs packets nothing: the sweep
//! only reads the table and compares it with a copy of its own.
//!
//! The period is longer than anybody waits in earnest. A stack sends its SYN-ACK for the last time 63 s after the first
//! at the most, and waits as long again (`net/ipv4/inet_connection_sock.c`, `reqsk_timer_handler`, with its
//! `tcp_synack_retries`); a FIN is sent again no later than after two minutes (RFC 6298 §2.4 allows such a bound, and
//! `TCP_RTO_MAX` is that). What is sent again after its word was freed arms it anew. So an acknowledgement goes
//! unrecorded only where none of what it acknowledges passed for longer than a period; the tracker is told how far back
//! that is possible.

use crate::segment::Timestamp;
use std::{ops::Range, time::Duration};
use tcptrace_common::lifecycle::expects_acknowledgement;

/// The age that a word has at least when it is freed; it has twice that age at most.
pub const PERIOD: Duration = Duration::from_secs(150);
/// The number of parts in which the table is visited, one after the other, so that no step takes long.
const PARTS: usize = 64;

/// The words of a pending-ACK table, as the sweep reads and frees them.
pub trait Words {
    /// The word at this place of the table; 0 where no acknowledgement is expected.
    fn get(&self, place: usize) -> u64;

    /// Frees this place of the table, unless another word is there by now. Returns whether it was freed.
    fn free(&mut self, place: usize, word: u64) -> bool;
}

/// The sweep over one pending-ACK table: a copy of it as it was visited last, and when each part is due again.
#[derive(Debug)]
pub struct Sweep {
    period_ns: u64,
    /// The table, each part as it was when it was visited last. Only words that differ are written, so the copy of a
    /// table that is mostly empty is mostly memory that was never touched.
    copy: Box<[u64]>,
    /// When each part is to be visited next.
    due: [Timestamp; PARTS],
    next: usize,
    freed: u64,
}

impl Sweep {
    /// The sweep of a table of `words` words that visits each part once in `period`, from `now` on.
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

    /// Visits the parts of the table that are due. If any word was freed, returns a time in nanoseconds:
    /// acknowledgements of segments that passed longer ago than that may go unrecorded.
    #[inline]
    pub fn step(&mut self, now: Timestamp, words: &mut impl Words) -> Option<u64> {
        if now < self.due[self.next] { None } else { self.sweep_due_parts(now, words) }
    }

    #[cold]
    fn sweep_due_parts(&mut self, now: Timestamp, words: &mut impl Words) -> Option<u64> {
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

    /// How many words this sweep has freed so far for which an acknowledgement was expected.
    #[must_use]
    pub const fn freed(&self) -> u64 {
        self.freed
    }

    fn part(&self, part: usize) -> Range<usize> {
        let words = self.copy.len();
        words * part / PARTS..words * (part + 1) / PARTS
    }
}

/// Frees `place` if its word is `known`, the one that was there before, and keeps in `known` what is there now. Returns
/// whether an acknowledgement was expected that is not any more.
fn visit(known: &mut u64, place: usize, words: &mut impl Words) -> bool {
    let mut word = words.get(place);
    let mut freed = false;
    if word != 0 && word == *known && words.free(place, word) {
        freed = expects_acknowledgement(word);
        word = 0;
    }
    if word != *known {
        *known = word;
    }
    freed
}

/// The time that has passed in a capture file, counted only by steps between packets that can be believed. A clock that
/// was set, a packet with a time that fits nothing, or several captures put together in any order must not free a word
/// early.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketClock {
    latest: Timestamp,
    passed: Timestamp,
}

impl PacketClock {
    /// A longer step than this between two packets, forward or back, is not taken for time that passed.
    const MOST_NS: u64 = 60_000_000_000;

    /// The time that has passed from the first packet to this one, which has the time stamp `ts`.
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

    /// A table of 1,000 words, swept once a second.
    struct Table {
        words: Vec<u64>,
        sweep: Sweep,
        now: u64,
    }

    impl Table {
        fn new() -> Self {
            Self { words: vec![0; 1000], sweep: Sweep::new(1000, PERIOD, seconds(0)), now: 0 }
        }

        /// Sweeps until that second, and returns how many of the steps freed a word.
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
            // A step comes up to a second late here.
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
        assert_eq!(table.wait(350), 0, "when each was visited first it had changed");
        table.wait(502);
        assert!(table.words.iter().all(|word| *word == 0));
    }

    #[test]
    fn a_step_that_comes_late_frees_nothing_before_its_time() {
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
        /// A table in which another word can have replaced the one that was read.
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
            let mut pace = PacketClock::default();
            times.iter().map(|&ts| pace.at(seconds(ts)).0 / SECOND).collect::<Vec<_>>()
        };
        assert_eq!(pass(&[1000, 1001, 1060, 1060]), [0, 1, 60, 60]);
        assert_eq!(pass(&[1000, 1_000_000, 1001, 1002]), [0, 0, 0, 1], "one packet was far ahead");
        assert_eq!(pass(&[1000, 990, 1001, 991, 1002]), [0, 0, 1, 1, 2], "two clocks, ten seconds apart");
        assert_eq!(pass(&[1000, 9000, 1001, 9001, 1002, 9002]), [0; 6], "two clocks, hours apart");
        assert_eq!(pass(&[1000, 10, 11, 12]), [0, 0, 1, 2], "a clock was set back");
    }
}

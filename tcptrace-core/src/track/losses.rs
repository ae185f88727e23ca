//! What is known to be missing from the input, and which connections that may concern.

use super::conn::Conn;
use crate::segment::{LossReport, Timestamp};

/// How long a stack waits before it sends its SYN again for the first time: 1 s by RFC 6298 §2.1, 3 s by RFC 1122
/// §4.2.3.1.
const FIRST_WAITS_NS: [u64; 2] = [1_000_000_000, 3_000_000_000];
/// The most retries of a SYN after which stacks give up (`net/ipv4/tcp_timer.c`, `tcp_syn_retries`); the wait doubles
/// each time (RFC 6298 §5.5). Stacks that first wait equally long some times (`tcp_syn_linear_timeouts` in the same
/// file) are covered by the first of these waits.
const MOST_RETRIES: u32 = 6;
/// How early a retry can come, and how late beside an eighth of its wait: timers are late by some ticks, and by up to
/// an eighth where they are coarse (`kernel/time/timer.c`), and seldom early.
const SLACK_NS: u64 = 10_000_000;

/// What is known to be missing from the input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// The latest time up to which records were lost.
    until: Option<Timestamp>,
    /// The latest time up to which acknowledgements were not recorded.
    unacknowledged_until: Option<Timestamp>,
    recent: RecentLosses,
    /// The time of the first input: of what was before nothing is known.
    began: Option<Timestamp>,
    /// Connections were evicted, so one that begins in the middle may be the rest of such a one.
    dropped: bool,
}

impl Losses {
    pub(super) const fn set_dropped(&mut self) {
        self.dropped = true;
    }

    pub(super) fn set_began(&mut self, ts: Option<Timestamp>) {
        self.began = self.began.or(ts);
    }

    pub(super) fn add_records(&mut self, report: &LossReport) {
        self.until = self.until.max(Some(report.until));
        self.recent.add(report.after, report.until);
    }

    pub(super) fn add_acknowledgements(&mut self, until: Timestamp) {
        self.unacknowledged_until = self.unacknowledged_until.max(Some(until));
    }

    /// Whether nothing that is missing can have been of `conn`. A lost record counts against every connection that was
    /// open at the time, and against every one whose beginning was not seen after it. A lost acknowledgement counts
    /// only against a connection that lacks one; so does the second view of a connection (`views.rs`), as an
    /// acknowledgement may have been taken for that view's.
    pub(super) fn cannot_touch(&self, conn: &Conn) -> bool {
        let began_after =
            |until: Option<Timestamp>| until.is_none_or(|until| conn.start > until && !conn.flags.partial);
        let may_lack_one = !began_after(self.unacknowledged_until) || conn.extra().other_view.is_some();
        let lacks_one = may_lack_one && conn.lacks_acknowledgement();
        let hides_a_try = self.hide_a_try_before(conn.start) || self.was_tried_before(conn);
        began_after(self.until) && !(lacks_one || hides_a_try) && !(self.dropped && conn.flags.partial)
    }

    /// Whether the first SYN of `conn` was a retry, and the SYN before it passed before the trace began: the wait for
    /// the second SYN is one that stacks reach by doubling (RFC 6298 §5.5). Of a SYN that was not sent again nobody can
    /// know that.
    fn was_tried_before(&self, conn: &Conn) -> bool {
        let (Some(began), Some(&gap)) = (self.began, conn.extra().syns.gaps().first()) else { return false };
        let near = |expected: u64| gap.abs_diff(expected) <= expected / 8;
        let doubled = || FIRST_WAITS_NS.iter().any(|first| (1..=MOST_RETRIES).any(|n| near(first << n)));
        !conn.flags.partial && !FIRST_WAITS_NS.into_iter().any(near) && doubled() && {
            conn.start.before(gap / 2) <= began
        }
    }

    /// Whether the SYN that came at `syn` may be a retry: all tries before it, at the distances at which stacks try,
    /// fall into times of which records are missing. What was lost more than two minutes before is forgotten.
    pub(super) fn hide_a_try_before(&self, syn: Timestamp) -> bool {
        let all_hidden = |first: u64, retries: u32| {
            let mut ago = 0;
            (0..retries).rev().all(|doubled| {
                ago += first << doubled;
                self.recent.has(syn.before(ago + ago / 8 + SLACK_NS), syn.before(ago - SLACK_NS))
            })
        };
        !self.recent.is_empty()
            && self.recent.reaches(syn)
            && FIRST_WAITS_NS
                .iter()
                .any(|&first| (1..=MOST_RETRIES).any(|retries| all_hidden(first, retries)))
    }
}

/// The times in which records were lost, over the last 137 s or so, in slots of 134 ms.
#[derive(Clone, Copy, Debug, Default)]
struct RecentLosses {
    /// A bit for each slot, in a ring.
    slots: [u64; Self::WORDS],
    newest: u64,
}

impl RecentLosses {
    const WORDS: usize = 16;
    const SLOTS: u64 = Self::WORDS as u64 * 64;
    /// How many bits of a time in nanoseconds are within a slot.
    const SLOT_BITS: u32 = 27;

    /// Adds a loss between these times.
    fn add(&mut self, after: Timestamp, until: Timestamp) {
        let (first, last) = (after.0 >> Self::SLOT_BITS, until.0 >> Self::SLOT_BITS);
        if last > self.newest {
            // Slots from one round of the ring before give way.
            for slot in (self.newest + 1).max(last.saturating_sub(Self::SLOTS - 1))..=last {
                *self.word(slot) &= !Self::bit(slot);
            }
            self.newest = last;
        }
        for slot in first.max(self.oldest())..=last {
            *self.word(slot) |= Self::bit(slot);
        }
    }

    /// Whether no loss was ever added: no trace has begun within the first slot after the host started.
    const fn is_empty(&self) -> bool {
        self.newest == 0
    }

    /// Whether some records were lost between these times, as far back as is known.
    fn has(&self, from: Timestamp, to: Timestamp) -> bool {
        let (first, last) = (from.0 >> Self::SLOT_BITS, to.0 >> Self::SLOT_BITS);
        let mut slots = first.max(self.oldest())..=last.min(self.newest);
        slots.any(|slot| self.slots[Self::word_of(slot)] & Self::bit(slot) != 0)
    }

    /// Whether the ring covers any time before `ts` that matters to a SYN at `ts`.
    const fn reaches(&self, ts: Timestamp) -> bool {
        let slot = ts.0 >> Self::SLOT_BITS;
        self.oldest() < slot && slot < self.newest + Self::SLOTS
    }

    const fn oldest(&self) -> u64 {
        self.newest.saturating_sub(Self::SLOTS - 1)
    }

    fn word(&mut self, slot: u64) -> &mut u64 {
        &mut self.slots[Self::word_of(slot)]
    }

    const fn word_of(slot: u64) -> usize {
        (slot / 64 % Self::WORDS as u64) as usize
    }

    const fn bit(slot: u64) -> u64 {
        1 << (slot % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    /// A time at which the host has been up for a while.
    const T: u64 = 5_000_000 * MS;

    fn lost(windows: &[(u64, u64)]) -> Losses {
        let mut losses = Losses::default();
        for &(after, until) in windows {
            let [after, until] = [after, until].map(|ms| Timestamp(T + ms * MS));
            losses.add_records(&LossReport { records: 1, after, until });
        }
        losses
    }

    fn hidden(losses: &Losses, ms: u64) -> bool {
        losses.hide_a_try_before(Timestamp(T + ms * MS))
    }

    #[test]
    fn without_loss_a_syn_is_the_first() {
        assert!(!hidden(&lost(&[]), 0));
        assert!(!Losses::default().hide_a_try_before(Timestamp(0)));
    }

    #[test]
    fn a_syn_at_a_retry_s_distance_from_a_loss_may_be_one() {
        let losses = lost(&[(0, 1)]);
        for retry in [1000, 1040, 1120, 3000, 3300] {
            assert!(hidden(&losses, retry), "{retry}");
        }
        // The second retry of a second comes 2 s after the first, which was not lost.
        for other in [500, 1500, 2000, 4000, 7000, 60_000, 200_000] {
            assert!(!hidden(&losses, other), "{other}");
        }
    }

    #[test]
    fn all_tries_before_have_to_be_lost() {
        let losses = lost(&[(0, 1), (1010, 1011)]);
        assert!(hidden(&losses, 3020), "the third try");
        assert!(!hidden(&losses, 7100), "the fourth, and the third was not lost");
        let losses = lost(&[(0, 64_000)]);
        assert!(hidden(&losses, 64_900), "before the last retry all were lost");
        assert!(!hidden(&losses, 180_000), "nobody waits that long");
    }

    #[test]
    fn losses_of_long_ago_are_forgotten() {
        let losses = lost(&[(0, 1), (300_000, 300_001)]);
        assert!(!hidden(&losses, 1000));
        assert!(hidden(&losses, 301_000));
        let windows: Vec<_> = (0..400).map(|second| (second * 1000, second * 1000 + 1)).collect();
        assert!(hidden(&lost(&windows), 400_000));
    }

    #[test]
    fn a_loss_that_is_known_late_counts_where_it_was() {
        let losses = lost(&[(5000, 5001), (2000, 2001)]);
        assert!(hidden(&losses, 3050));
        assert!(hidden(&losses, 6050));
        assert!(!hidden(&losses, 4000));
    }
}

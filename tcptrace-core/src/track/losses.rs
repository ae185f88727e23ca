//! What is known to be missing from the input, and which connections it may have been of.

use super::conn::Conn;
use crate::segment::{LossReport, Timestamp};

/// How long a stack waits before its first retry of a SYN: RFC 6298 §2.1; RFC 1122 §4.2.3.1 had three seconds.
const FIRST_WAITS_NS: [u64; 2] = [1_000_000_000, 3_000_000_000];
/// The wait doubles each time (RFC 6298 §5.5), and stacks give up after so many retries or fewer (`net/ipv4/tcp_timer.c`,
/// `tcp_syn_retries`). Those that first wait equally long some times (there, `tcp_syn_linear_timeouts`) lose nothing by that.
const MOST_RETRIES: u32 = 6;
/// Timers are late, by some ticks and by up to an eighth where they are coarse (`kernel/time/timer.c`), and seldom early.
const SLACK_NS: u64 = 10_000_000;

/// What is known to be missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// Records were lost up to this time.
    until: Option<Timestamp>,
    /// Acknowledgements were not recorded up to this time.
    unacknowledged_until: Option<Timestamp>,
    recent: Recent,
    /// The first input's time: nothing is known of what was before.
    began: Option<Timestamp>,
    /// Connections were dropped: what begins in the middle may be the rest of one.
    dropped: bool,
}

impl Losses {
    pub(super) const fn drop_one(&mut self) {
        self.dropped = true;
    }

    pub(super) fn begin(&mut self, ts: Option<Timestamp>) {
        self.began = self.began.or(ts);
    }

    pub(super) fn records(&mut self, report: &LossReport) {
        self.until = self.until.max(Some(report.until));
        self.recent.add(report.after, report.until);
    }

    pub(super) fn acknowledgements(&mut self, until: Timestamp) {
        self.unacknowledged_until = self.unacknowledged_until.max(Some(until));
    }

    /// No lost record can have belonged to `conn`: a loss counts against every connection that lived in its
    /// time, and against every one whose beginning was not seen after it. That of an acknowledgement counts only
    /// where one is missing; and one of a connection that was seen with other numbers too may have been taken for the other
    /// view's.
    pub(super) fn spare(&self, conn: &Conn) -> bool {
        let spares =
            |until: Option<Timestamp>| until.is_none_or(|until| conn.start > until && !conn.flags.partial);
        let may_lack_one = !spares(self.unacknowledged_until) || conn.extra().other_view.is_some();
        let lacks_one = may_lack_one && conn.lacks_acknowledgement();
        let hides_a_try = self.hide_a_try_before(conn.start) || self.was_tried_before(conn);
        spares(self.until) && !(lacks_one || hides_a_try) && !(self.dropped && conn.flags.partial)
    }

    /// The first SYN of `conn` was a retry, and the try before it was before the trace: the wait for the next SYN is one that
    /// stacks come to by doubling (RFC 6298 §5.5). Of a SYN that was not sent again nobody can know.
    fn was_tried_before(&self, conn: &Conn) -> bool {
        let (Some(began), Some(&gap)) = (self.began, conn.extra().syns.gaps().first()) else { return false };
        let near = |expected: u64| gap.abs_diff(expected) <= expected / 8;
        let doubled = || FIRST_WAITS_NS.iter().any(|first| (1..=MOST_RETRIES).any(|n| near(first << n)));
        !conn.flags.partial && !FIRST_WAITS_NS.into_iter().any(near) && doubled() && {
            conn.start.before(gap / 2) <= began
        }
    }

    /// The SYN that came at `syn` may be a retry: all tries before it, at the distances at which stacks try, fall into times of
    /// which records are missing. What was lost more than two minutes before is forgotten.
    pub(super) fn hide_a_try_before(&self, syn: Timestamp) -> bool {
        let all_hidden = |first: u64, retries: u32| {
            let mut ago = 0;
            (0..retries).rev().all(|doubled| {
                ago += first << doubled;
                self.recent.has(syn.before(ago + ago / 8 + SLACK_NS), syn.before(ago - SLACK_NS))
            })
        };
        self.recent.reaches(syn)
            && FIRST_WAITS_NS
                .iter()
                .any(|&first| (1..=MOST_RETRIES).any(|retries| all_hidden(first, retries)))
    }
}

/// The times of the last two minutes or so in which records were lost, in slots of 134 ms.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// A bit for each slot, in turns.
    slots: [u64; Self::WORDS],
    newest: u64,
}

impl Recent {
    const WORDS: usize = 16;
    const SLOTS: u64 = Self::WORDS as u64 * 64;
    /// Of a time in nanoseconds these bits are within a slot.
    const SLOT_BITS: u32 = 27;

    /// Records were lost between these.
    fn add(&mut self, after: Timestamp, until: Timestamp) {
        let (first, last) = (after.0 >> Self::SLOT_BITS, until.0 >> Self::SLOT_BITS);
        if last > self.newest {
            // What is older than a round gives way.
            for slot in (self.newest + 1).max(last.saturating_sub(Self::SLOTS - 1))..=last {
                *self.word(slot) &= !Self::bit(slot);
            }
            self.newest = last;
        }
        for slot in first.max(self.oldest())..=last {
            *self.word(slot) |= Self::bit(slot);
        }
    }

    /// Some records were lost between these, as far back as is known.
    fn has(&self, from: Timestamp, to: Timestamp) -> bool {
        let (first, last) = (from.0 >> Self::SLOT_BITS, to.0 >> Self::SLOT_BITS);
        let mut slots = first.max(self.oldest())..=last.min(self.newest);
        slots.any(|slot| self.slots[Self::place(slot)] & Self::bit(slot) != 0)
    }

    /// Something is known of the time before `ts`, and matters to it.
    const fn reaches(&self, ts: Timestamp) -> bool {
        let slot = ts.0 >> Self::SLOT_BITS;
        self.oldest() < slot && slot < self.newest + Self::SLOTS
    }

    const fn oldest(&self) -> u64 {
        self.newest.saturating_sub(Self::SLOTS - 1)
    }

    fn word(&mut self, slot: u64) -> &mut u64 {
        &mut self.slots[Self::place(slot)]
    }

    const fn place(slot: u64) -> usize {
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
    /// Some time since the host began.
    const T: u64 = 5_000_000 * MS;

    fn lost(windows: &[(u64, u64)]) -> Losses {
        let mut losses = Losses::default();
        for &(after, until) in windows {
            let [after, until] = [after, until].map(|ms| Timestamp(T + ms * MS));
            losses.records(&LossReport { records: 1, after, until });
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

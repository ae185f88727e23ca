//! What became of each segment between the places that could see it.

use super::{
    by::Fate,
    same::role,
    sent::{Sent, Stop, Windows},
    trace::{Seg, Trace, nanoseconds},
};
use tcptrace_common::seq::SeqNum;

/// What became of a segment, and between which places of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) fate: Fate,
    /// The places, by their numbers on the path from sender to receiver.
    pub(super) between: Option<(usize, usize)>,
}

/// What there is to judge by.
pub(super) struct Judge<'a> {
    pub(super) traces: &'a [Trace],
    /// The places from the sender to the receiver.
    pub(super) path: &'a [Stop<'a>],
    /// Whether each of them may have lost no record of this connection.
    pub(super) complete: &'a [bool],
    /// How much later a segment is seen at the second of two traces.
    pub(super) windows: Windows<'a>,
    /// How much later things are at the second of two traces, about.
    pub(super) shift: &'a dyn Fn(usize, usize) -> Option<i64>,
}

impl Judge<'_> {
    /// Says what became of a segment.
    pub(super) fn verdict(&self, sent: &Sent<'_>) -> Verdict {
        let passed = Verdict { fate: Fate::Passed, between: None };
        let (Some((first, early)), Some((last, late))) = (sent.first(), sent.last()) else { return passed };
        let always = sent.identity.is_always_recorded();
        let end = last + 1;
        if end < self.path.len() {
            let fate = if !self.would_see(last, late, end) {
                Fate::Unknown
            } else if always {
                Fate::Lost
            } else {
                self.of_acknowledgement(last, late, end)
            };
            if matches!(fate, Fate::Lost | Fate::LostOrUnrecorded) || first == 0 || !always {
                return Verdict { fate, between: Some((last, end)) };
            }
        }
        if first > 0 && always && self.would_see(first, early, first - 1) {
            return Verdict { fate: Fate::Appeared, between: Some((first - 1, first)) };
        }
        if first > 0 && end == self.path.len() && !always {
            return Verdict { fate: Fate::OfOne, between: None };
        }
        if first > 0 {
            return Verdict { fate: Fate::Unknown, between: Some((first - 1, first)) };
        }
        passed
    }

    /// Whether the place `there` would have recorded a segment that was seen at the place `here`, had it passed.
    fn would_see(&self, here: usize, seen: &Seg, there: usize) -> bool {
        let (from, to) = (self.path[here].trace, self.path[there].trace);
        let is_covered = || {
            let (least, most) = self.margins(here, there)?;
            let at = |margin: i64| nanoseconds(seen.ts).saturating_add(margin);
            Some(self.traces[to].covers(at(least)) && self.traces[to].covers(at(most)))
        };
        from != to && self.complete[there] && is_covered() == Some(true)
    }

    /// The times by the clock of another place between which it passed there, as far as is known, counted from when it was seen
    /// here: from now on at a place that comes after this one, and until now at one before.
    fn margins(&self, here: usize, there: usize) -> Option<(i64, i64)> {
        let (from, to) = (self.path[here].trace, self.path[there].trace);
        let now = (self.shift)(from, to)?;
        Some(if there > here {
            (now, (self.windows)(from, to).map_or(now, |(_, most)| most.max(now)))
        } else {
            ((self.windows)(to, from).map_or(now, |(_, most)| most.saturating_neg().min(now)), now)
        })
    }

    /// An acknowledgement is recorded where somebody waits for it: where a SYN-ACK or FIN has passed, until something that
    /// acknowledges it comes. So it was lost if at the time when it should have come somebody still waited.
    fn of_acknowledgement(&self, here: usize, seen: &Seg, there: usize) -> Fate {
        let stop = &self.path[there];
        let window = (self.windows)(self.path[here].trace, stop.trace);
        let expected = window.map(|(least, most)| {
            let at = |margin: i64| nanoseconds(seen.ts).saturating_add(margin);
            (at(least), at(most))
        });
        let mut may_be = false;
        for (at, awaited) in stop.segs.iter().enumerate() {
            let is_awaited = role(awaited.sender(), stop.flipped)
                != role(seen.sender(), self.path[here].flipped)
                && (awaited.flags().fin() || (awaited.flags().syn() && awaited.flags().ack()))
                && reaches(seen.ack, awaited);
            if !is_awaited || expected.is_some_and(|(_, most)| nanoseconds(awaited.ts) > most) {
                continue;
            }
            let answer = stop.segs[at + 1..]
                .iter()
                .find(|it| it.sender() != awaited.sender() && it.flags().ack() && reaches(it.ack, awaited));
            match (answer, expected) {
                (None, _) => return Fate::Lost,
                (Some(answer), Some((_, most))) if nanoseconds(answer.ts) > most => return Fate::Lost,
                (Some(answer), Some((least, _))) => may_be |= nanoseconds(answer.ts) >= least,
                (Some(_), None) => may_be = true,
            }
        }
        if may_be { Fate::LostOrUnrecorded } else { Fate::OfOne }
    }
}

/// Whether `ack` acknowledges all of a segment.
fn reaches(ack: u32, seg: &Seg) -> bool {
    SeqNum(ack).at_or_after(seg.end())
}

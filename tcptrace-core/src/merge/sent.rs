//! Each segment that was sent, with the places that saw it.
//!
//! A segment that was sent again has the numbers that it had before. Where all places saw it as often, the first is the first
//! everywhere. Where one saw it less often, the times decide: others that were surely seen at two places show how long the way
//! takes. Where that fits more than one of them, it is known how many were lost, and not which.

use super::{
    same::{Identity, role},
    trace::{Seg, nanoseconds},
};
use crate::{event::Role, segment::Timestamp};

/// What one place saw of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop<'a> {
    /// Which trace.
    pub(super) trace: usize,
    /// Its segments, in order; none where the connection was not seen.
    pub(super) segs: &'a [Seg],
    /// Whether its client is the others' server.
    pub(super) flipped: bool,
}

/// A segment that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent<'a> {
    pub(super) identity: Identity,
    /// What each place saw of it, from the sender to the receiver.
    pub(super) seen: Vec<Option<&'a Seg>>,
    /// Whether it is known that these are sightings of one segment, and not of it and of one like it.
    pub(super) is_settled: bool,
}

/// Between which least and most later a segment is seen at the second of two traces than at the first; `None` if not known.
pub(super) type Windows<'a> = &'a dyn Fn(usize, usize) -> Option<(i64, i64)>;

/// The segments that `sender` sent. `path` has the places from the sender on.
pub(super) fn all_sent<'a>(path: &[Stop<'a>], sender: Role, windows: Windows<'_>) -> Vec<Sent<'a>> {
    let mut all: Vec<(Identity, usize, &'a Seg)> = Vec::new();
    for (at, stop) in path.iter().enumerate() {
        let by_sender = stop.segs.iter().filter(|seg| role(seg.sender(), stop.flipped) == sender);
        all.extend(by_sender.map(|seg| (Identity::of(seg, sender), at, seg)));
    }
    // Stable, so that those of one place stay in order.
    all.sort_by_key(|&(identity, at, _)| (identity, at));
    let mut sent = Vec::new();
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let mut alike: Vec<Sent<'a>> = Vec::new();
        for of_one in same.chunk_by(|a, b| a.1 == b.1) {
            let (identity, at, _) = of_one[0];
            let segs: Vec<&'a Seg> = of_one.iter().map(|&(_, _, seg)| seg).collect();
            let window = |sent: &Sent<'a>| {
                let (from, before) = sent.last()?;
                let (least, most) = windows(path[from].trace, path[at].trace)?;
                let is_known = before.ts != Timestamp::UNKNOWN;
                let arrives = |later: i64| nanoseconds(before.ts).saturating_add(later);
                is_known.then(|| (arrives(least), arrives(most)))
            };
            continue_at(&mut alike, (identity, at, path.len()), &segs, &window);
        }
        // What all traces take for a copy is none that was sent.
        sent.extend(alike.into_iter().filter(|it| !it.is_copy()));
    }
    sent
}

/// Finds for each sighting at one more place which of the segments it is of. What a trace takes for a copy counts where otherwise
/// there would be fewer than at the other place.
fn continue_at<'a>(
    alike: &mut Vec<Sent<'a>>,
    (identity, at, places): (Identity, usize, usize),
    segs: &[&'a Seg],
    window: &dyn Fn(&Sent<'a>) -> Option<(i64, i64)>,
) {
    let arrivals: Vec<Option<(i64, i64)>> = alike.iter().map(window).collect();
    let found = assign(alike, segs, &arrivals);
    let mut is_taken = vec![false; segs.len()];
    for (sent, is_settled) in alike.iter_mut().zip(found.settled) {
        sent.is_settled &= is_settled;
    }
    for (sent, seg) in found.pairs {
        alike[sent].seen[at] = Some(segs[seg]);
        is_taken[seg] = true;
    }
    for (at_seg, seg) in segs.iter().enumerate().filter(|(at, _)| !is_taken[*at]) {
        let mut seen = vec![None; places];
        seen[at] = Some(*seg);
        let could_be =
            |arrival: &Option<(i64, i64)>| arrival.is_none_or(|arrival| fits(arrival, segs[at_seg]));
        let is_settled = !arrivals.iter().any(could_be);
        alike.push(Sent { identity, seen, is_settled });
    }
}

impl<'a> Sent<'a> {
    /// The last place that saw it so far, and what it saw.
    pub(super) fn last(&self) -> Option<(usize, &'a Seg)> {
        self.seen.iter().enumerate().rev().find_map(|(at, seg)| Some((at, (*seg)?)))
    }

    /// Whether all who saw it take it for a copy of one before.
    fn is_copy(&self) -> bool {
        self.seen.iter().flatten().all(|seg| seg.is_copy)
    }

    /// The first place that saw it, and what it saw.
    pub(super) fn first(&self) -> Option<(usize, &'a Seg)> {
        self.seen.iter().enumerate().find_map(|(at, seg)| Some((at, (*seg)?)))
    }
}

/// Which sighting is of which segment, by their places.
type Pairs = Vec<(usize, usize)>;

/// What was found of like segments.
struct Found {
    pairs: Pairs,
    /// Of each segment, whether nothing else would fit.
    settled: Vec<bool>,
}

/// Finds which sighting is of which segment. `arrivals` says between which times each can have arrived.
fn assign(alike: &[Sent<'_>], segs: &[&Seg], arrivals: &[Option<(i64, i64)>]) -> Found {
    let originals: Vec<usize> = (0..alike.len()).filter(|&at| !alike[at].is_copy()).collect();
    let seen: Vec<usize> = (0..segs.len()).filter(|&at| !segs[at].is_copy).collect();
    let all = |pairs, is_settled| Found { pairs, settled: vec![is_settled; alike.len()] };
    let in_order = || originals.iter().copied().zip(seen.iter().copied()).collect::<Pairs>();
    let Some(first) = alike.first() else { return all(Vec::new(), true) };
    let is_always = first.identity.is_always_recorded();
    let are_equal = originals.len() == seen.len();
    // What is recorded only when somebody waits for it may be another one at each place, even if there is one at each.
    if are_equal && originals.len() == 1 && is_always {
        return all(in_order(), true);
    }
    let times: Option<Vec<(i64, i64)>> = arrivals.iter().copied().collect();
    let Some(times) = times.filter(|_| segs.iter().all(|seg| seg.ts != Timestamp::UNKNOWN)) else {
        return all(in_order(), are_equal && is_always);
    };
    let places = |count: usize| (0..count).collect::<Vec<usize>>();
    let (early, _) = by_time(&times, segs, &originals, &seen);
    if are_equal && early.len() == seen.len() {
        return all(early, true);
    }
    let (early, late) = by_time(&times, segs, &places(alike.len()), &places(segs.len()));
    let settled = (0..alike.len()).map(|at| {
        let of = |pairs: &Pairs| pairs.iter().find(|(sent, _)| *sent == at).map(|(_, seg)| *seg);
        match (of(&early), of(&late)) {
            (None, None) => !segs.iter().any(|seg| fits(times[at], seg)),
            (early, late) => early == late,
        }
    });
    Found { settled: settled.collect(), pairs: early }
}

/// Whether a sighting is at a time at which a segment can have arrived.
fn fits((least, most): (i64, i64), seg: &Seg) -> bool {
    seg.ts != Timestamp::UNKNOWN && (least..=most).contains(&nanoseconds(seg.ts))
}

/// Pairs as many as can be of these segments and sightings, each sighting at a time at which its segment can have arrived: those
/// that come of beginning with the earliest, and of beginning with the latest. Which of several like segments overtook another is
/// not asked, as nobody could tell.
fn by_time(times: &[(i64, i64)], segs: &[&Seg], sent: &[usize], seen: &[usize]) -> (Pairs, Pairs) {
    let pair =
        |sent: &mut dyn Iterator<Item = usize>, seen: &mut dyn Iterator<Item = usize>, is_late: bool| {
            let mut pairs = Vec::new();
            let (mut one, mut other) = (sent.next(), seen.next());
            while let (Some(at), Some(seg)) = (one, other) {
                let ((least, most), ts) = (times[at], nanoseconds(segs[seg].ts));
                if ts < least {
                    if is_late { one = sent.next() } else { other = seen.next() }
                } else if ts > most {
                    if is_late { other = seen.next() } else { one = sent.next() }
                } else {
                    pairs.push((at, seg));
                    (one, other) = (sent.next(), seen.next());
                }
            }
            pairs
        };
    let early = pair(&mut sent.iter().copied(), &mut seen.iter().copied(), false);
    let late = pair(&mut sent.iter().rev().copied(), &mut seen.iter().rev().copied(), true);
    (early, late)
}

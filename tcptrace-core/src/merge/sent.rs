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

/// More candidates than this are not weighed against each other.
const MOST_CANDIDATES: usize = 1 << 16;

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
            let at = of_one[0].1;
            let segs: Vec<&'a Seg> = of_one.iter().map(|&(_, _, seg)| seg).collect();
            continue_at(&mut alike, path, at, &segs, same[0].0, windows);
        }
        sent.append(&mut alike);
    }
    sent
}

/// Finds for each sighting at one more place which of the segments it is of.
fn continue_at<'a>(
    alike: &mut Vec<Sent<'a>>,
    path: &[Stop<'a>],
    at: usize,
    segs: &[&'a Seg],
    identity: Identity,
    windows: Windows<'_>,
) {
    let fits = |sent: &Sent<'a>, seg: &Seg| {
        let (from, before) = sent.last()?;
        let (least, most) = windows(path[from].trace, path[at].trace)?;
        if [before.ts, seg.ts].contains(&Timestamp::UNKNOWN) {
            return None;
        }
        let later = nanoseconds(seg.ts).saturating_sub(nanoseconds(before.ts));
        Some((least..=most).contains(&later))
    };
    let (pairs, are_settled) = assign(alike, segs, identity, &fits);
    if !are_settled {
        alike.iter_mut().for_each(|sent| sent.is_settled = false);
    }
    let mut is_taken = vec![false; segs.len()];
    for (sent, seg) in pairs {
        alike[sent].seen[at] = Some(segs[seg]);
        is_taken[seg] = true;
    }
    for (seg, _) in segs.iter().zip(&is_taken).filter(|(_, is_taken)| !**is_taken) {
        let mut seen = vec![None; path.len()];
        seen[at] = Some(*seg);
        let is_settled = are_settled || alike.is_empty();
        alike.push(Sent { identity, seen, is_settled });
    }
}

impl<'a> Sent<'a> {
    /// The last place that saw it so far, and what it saw.
    pub(super) fn last(&self) -> Option<(usize, &'a Seg)> {
        self.seen.iter().enumerate().rev().find_map(|(at, seg)| Some((at, (*seg)?)))
    }

    /// The first place that saw it, and what it saw.
    pub(super) fn first(&self) -> Option<(usize, &'a Seg)> {
        self.seen.iter().enumerate().find_map(|(at, seg)| Some((at, (*seg)?)))
    }
}

/// Which sighting is of which segment, by their places, and whether nothing else would fit.
fn assign<'a>(
    alike: &[Sent<'a>],
    segs: &[&'a Seg],
    identity: Identity,
    fits: &impl Fn(&Sent<'a>, &Seg) -> Option<bool>,
) -> (Vec<(usize, usize)>, bool) {
    let in_order: Vec<(usize, usize)> = (0..alike.len().min(segs.len())).map(|at| (at, at)).collect();
    if alike.is_empty() {
        return (in_order, true);
    }
    if alike.len() == segs.len() {
        let fit: Vec<Option<bool>> = alike.iter().zip(segs).map(|(sent, seg)| fits(sent, seg)).collect();
        // What is recorded only when somebody waits for it may be another one at each place, even if there is one at each.
        let is_one = identity.is_always_recorded() && segs.len() == 1;
        if is_one || fit.iter().all(|fits| *fits == Some(true)) {
            return (in_order, true);
        }
        if fit.contains(&None) {
            return (in_order, identity.is_always_recorded());
        }
    }
    match by_time(alike, segs, fits) {
        Some(pairs) => (pairs, true),
        None => (in_order, false),
    }
}

/// The sightings of segments, if no time fits more than one segment and none is seen twice. What has no time is not told apart.
fn by_time<'a>(
    alike: &[Sent<'a>],
    segs: &[&'a Seg],
    fits: &impl Fn(&Sent<'a>, &Seg) -> Option<bool>,
) -> Option<Vec<(usize, usize)>> {
    if alike.len().saturating_mul(segs.len()) > MOST_CANDIDATES {
        return None;
    }
    let mut pairs = Vec::new();
    for (at, sent) in alike.iter().enumerate() {
        let mut found = None;
        for (seg, it) in segs.iter().enumerate() {
            if fits(sent, it)? && found.replace(seg).is_some() {
                return None;
            }
        }
        pairs.extend(found.map(|seg| (at, seg)));
    }
    pairs.windows(2).all(|two| two[0].1 < two[1].1).then_some(pairs)
}

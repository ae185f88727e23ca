//! The connections of the table. Their number is bounded: the slowest, those that failed, and others by lot.

use super::services::asked_for;
use crate::{
    event::{Address, Cgroup, Connection, Outcome, Process},
    segment::Timestamp,
    sink::units::shortened,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// The most of the slowest handshakes.
const MOST_SLOW: usize = 500;
/// The most of those that failed or were reset.
const MOST_FAILED: usize = 1000;
/// The most of all.
const MOST_OF_ALL: usize = 2000;

/// A connection of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) start: Timestamp,
    pub(super) client: Address,
    pub(super) server: Address,
    /// The name that the client asked for.
    pub(super) name: Option<Box<str>>,
    /// Who uses the sockets of this host.
    pub(super) user: Option<Box<str>>,
    pub(super) outcome: Outcome,
    pub(super) handshake_ns: Option<u64>,
    pub(super) lifetime_ns: Option<u64>,
    pub(super) bytes: [Option<u64>; 2],
    pub(super) retries: u64,
}

impl Row {
    fn new(event: &Connection) -> Self {
        let users =
            [(&event.server_process, &event.server_cgroup), (&event.client_process, &event.client_cgroup)];
        Self {
            start: event.start,
            client: event.common.client,
            server: event.common.server,
            name: asked_for(event).map(Into::into),
            user: users.into_iter().find_map(|(process, cgroup)| user(process.as_ref(), cgroup.as_ref())),
            outcome: event.outcome,
            handshake_ns: event.times.syn_to_established_ns,
            lifetime_ns: event.lifetime_ns,
            bytes: [event.client_bytes, event.server_bytes],
            retries: u64::from(event.syn_retransmits) + u64::from(event.synack_retransmits),
        }
    }
}

/// Who uses a socket, as far as it is known: the program, else the unit, else the user.
fn user(process: Option<&Process>, cgroup: Option<&Cgroup>) -> Option<Box<str>> {
    let program = process.and_then(|it| it.comm.as_deref());
    let unit = cgroup.and_then(|it| it.unit.as_deref());
    let user = process.and_then(|it| it.user.as_deref());
    program.or(unit).or(user).map(|name| shortened(name).into())
}

/// The connections of the table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// How many connections there were, and how many of them failed or were reset.
    pub(super) seen: u64,
    pub(super) failed_seen: u64,
    /// By the time of their handshake, and of equal ones the earlier.
    slow: BinaryHeap<Reverse<(u64, Reverse<u64>)>>,
    failed: Lot,
    all: Lot,
    /// By their number in the order of their ends, with how many of the lists above have them.
    kept: BTreeMap<u64, (Row, u8)>,
}

impl Rows {
    pub(super) fn add(&mut self, event: &Connection) {
        let number = self.seen;
        self.seen += 1;
        let mut lists = 0;
        let mut gone = [None; 3];
        if let Some(ns) = event.times.syn_to_established_ns {
            let rank = Reverse((ns, Reverse(number)));
            if self.slow.len() < MOST_SLOW {
                self.slow.push(rank);
                lists += 1;
            } else if let Some(mut least) = self.slow.peek_mut().filter(|least| rank < **least) {
                let Reverse((_, Reverse(out))) = std::mem::replace(&mut *least, rank);
                gone[0] = Some(out);
                lists += 1;
            }
        }
        if event.failed || event.outcome == Outcome::Reset {
            self.failed_seen += 1;
            lists += u8::from(self.failed.draw(number, MOST_FAILED, &mut gone[1]));
        }
        lists += u8::from(self.all.draw(number, MOST_OF_ALL, &mut gone[2]));
        gone.into_iter().flatten().for_each(|number| self.leave(number));
        if lists > 0 {
            self.kept.insert(number, (Row::new(event), lists));
        }
    }

    fn leave(&mut self, number: u64) {
        if let Some((_, lists)) = self.kept.get_mut(&number) {
            *lists -= 1;
            if *lists == 0 {
                self.kept.remove(&number);
            }
        }
    }

    /// The rows, in the order in which the connections ended.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.kept.values().map(|(row, _)| row)
    }

    /// How many of the slowest, of the failed, and of all were put in.
    pub(super) fn lists(&self) -> [usize; 3] {
        [self.slow.len(), self.failed.chosen.len(), self.all.chosen.len()]
    }
}

/// Numbers drawn by lot, each of those that were offered with the same chance (Vitter's algorithm R). The same numbers are drawn
/// in every run.
#[derive(Debug)]
struct Lot {
    chosen: Vec<u64>,
    offered: u64,
    random: u64,
}

impl Default for Lot {
    fn default() -> Self {
        Self { chosen: Vec::new(), offered: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl Lot {
    /// Offers a number. Returns whether it is chosen, and puts into `gone` the one that it takes the place of.
    fn draw(&mut self, number: u64, most: usize, gone: &mut Option<u64>) -> bool {
        self.offered += 1;
        if self.chosen.len() < most {
            self.chosen.push(number);
            return true;
        }
        let place = usize::try_from(self.next() % self.offered).unwrap_or(usize::MAX);
        let Some(chosen) = self.chosen.get_mut(place) else { return false };
        *gone = Some(std::mem::replace(chosen, number));
        true
    }

    /// Marsaglia's xorshift with Vigna's multiplier.
    fn next(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::Lot;

    #[test]
    fn each_has_the_same_chance() {
        let mut lot = Lot::default();
        let mut gone = None;
        let drawn = (0..100_000).filter(|number| lot.draw(*number, 1000, &mut gone)).count();
        assert_eq!(lot.chosen.len(), 1000);
        assert!(drawn > 1000, "later ones take the place of earlier ones");
        let mut tenths = [0; 10];
        lot.chosen.iter().for_each(|number| tenths[usize::try_from(*number / 10_000).expect("small")] += 1);
        // 100 are expected of each; the deviation is 9.5.
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}

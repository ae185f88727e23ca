//! The label sets that have series of their own: the busiest.
//!
//! The first label sets get series of their own as long as there is room. After that, what comes of others is counted together,
//! and once a minute those that have become busier take the places of those that are least busy. Nothing is ever moved from
//! one series to another, so that no series goes backwards and nothing is counted twice:
//!
//! - A label set that gets a place is written with zeros in the same scrape, so that whoever computes rates sees all that comes
//!   after. What it had before stays in `other`.
//! - A label set that loses its place is written for the last time in the same scrape, with all that it had. What comes of it
//!   after that is counted in `other`. If it gets a place again, that is in a later scrape, and it begins at zero, which
//!   Prometheus takes for a counter that was reset.

use super::{labels::Labels, series::Series};
use crate::event::Vantage;
use hashbrown::{HashMap, hash_map::Entry};
use std::time::Duration;

/// How long a round is at least: within it no label set gets the place of another.
const ROUND: Duration = Duration::from_mins(1);
/// How many label sets without a place are counted in a round, for each place. The next round begins anew, so that what is busy
/// is among them sooner or later, however many there are.
const CANDIDATES: usize = 8;
/// Of how many places one at most changes hands in a round: each change is new series in the store that reads them.
const CHANGES: usize = 10;
/// How much busier than twice the other a label set has to be, in events a minute. A single event takes nobody's place.
const MARGIN: f64 = 10.0;

/// The series of the busiest label sets, and those of all others.
#[derive(Debug)]
pub(super) struct Busiest {
    own: HashMap<Labels, Place>,
    limit: usize,
    /// The series of all others, by the role of this host.
    others: Vec<(Labels, Series)>,
    /// How many events of label sets without a place came in this round.
    candidates: HashMap<Labels, u64>,
    /// When this round began.
    since: Duration,
    /// The label sets that have lost their places and are written once more.
    leaving: Vec<Labels>,
    /// How often a label set has taken the place of another.
    changes: u64,
}

/// The place of a label set.
#[derive(Debug, Default)]
struct Place {
    series: Series,
    /// How many events came in this round.
    recent: u64,
    /// How many events a minute came of late; `None` before the end of its first round.
    pace: Option<f64>,
}

impl Busiest {
    pub(super) fn new(limit: usize) -> Self {
        let others = Vantage::ALL.map(|role| (Labels::Other(role), Series::default())).into();
        let (own, candidates) = (HashMap::new(), HashMap::new());
        Self { own, limit, others, candidates, since: Duration::ZERO, leaving: Vec::new(), changes: 0 }
    }

    /// The series that an event of these labels counts in.
    pub(super) fn series(&mut self, labels: Labels) -> &mut Series {
        let has_room = self.own.len() < self.limit;
        let role = labels.role() as usize;
        match self.own.entry(labels) {
            Entry::Occupied(entry) => {
                let place = entry.into_mut();
                place.recent += 1;
                &mut place.series
            }
            Entry::Vacant(entry) if has_room => {
                &mut entry.insert(Place { recent: 1, ..Place::default() }).series
            }
            Entry::Vacant(entry) => {
                let labels = entry.into_key();
                if let Some(count) = self.candidates.get_mut(&labels) {
                    *count += 1;
                } else if self.candidates.len() < CANDIDATES * self.limit {
                    self.candidates.insert(labels, 1);
                }
                // The order is that of `Vantage::ALL`.
                &mut self.others[role].1
            }
        }
    }

    /// Ends the round if it was long enough. What comes of it is written, and then [`Self::forget`] is called.
    pub(super) fn turn(&mut self, now: Duration) {
        let round = now.saturating_sub(self.since);
        if round < ROUND {
            return;
        }
        self.since = now;
        let minutes = round.as_secs_f64() / 60.0;
        for place in self.own.values_mut() {
            let recent = pace(place.recent, minutes);
            place.pace = Some(place.pace.map_or(recent, |before| 0.75 * before + 0.25 * recent));
            place.recent = 0;
        }
        let mut rising: Vec<(Labels, f64)> =
            self.candidates.drain().map(|(labels, count)| (labels, pace(count, minutes))).collect();
        if rising.is_empty() {
            return;
        }
        rising.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        let mut falling: Vec<(Labels, f64)> =
            self.own.iter().map(|(labels, place)| (labels.clone(), place.pace.unwrap_or_default())).collect();
        falling.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        let most = self.limit.div_ceil(CHANGES);
        for ((up, new), (down, old)) in rising.into_iter().zip(falling).take(most) {
            if new <= 2.0 * old + MARGIN {
                break;
            }
            self.own.insert(up, Place { pace: Some(new), ..Place::default() });
            self.leaving.push(down);
            self.changes += 1;
        }
    }

    /// Forgets the label sets that have lost their places, now that they were written for the last time.
    pub(super) fn forget(&mut self) {
        for labels in self.leaving.drain(..) {
            self.own.remove(&labels);
        }
    }

    /// All series with their labels, in the same order each time, without those of others that have counted nothing.
    pub(super) fn all(&self) -> Vec<(&Labels, &Series)> {
        let mut all: Vec<_> = self.own.iter().map(|(labels, place)| (labels, &place.series)).collect();
        all.sort_unstable_by_key(|(labels, _)| *labels);
        all.extend(self.others.iter().filter(|(_, it)| it.has_counted()).map(|(labels, it)| (labels, it)));
        all
    }

    /// How many label sets have a place.
    pub(super) fn places(&self) -> usize {
        self.own.len() - self.leaving.len()
    }

    /// How often a label set has taken the place of another.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }
}

/// Events a minute.
#[expect(clippy::cast_precision_loss, reason = "paces are compared, and need no 53 bits")]
fn pace(count: u64, minutes: f64) -> f64 {
    count as f64 / minutes
}

#[cfg(test)]
mod tests {
    use super::{Busiest, CANDIDATES, Labels, ROUND};
    use crate::event::{HandshakeTimes, Vantage};
    use std::{collections::HashMap, time::Duration};

    fn labels(port: u16) -> Labels {
        Labels::Own { interface: "eth0".into(), role: Vantage::Client, server_port: Some(port), unit: None }
    }

    fn connect(busiest: &mut Busiest, port: u16, times: usize) {
        for _ in 0..times {
            busiest.series(labels(port)).established(&HandshakeTimes::default());
        }
    }

    /// What Prometheus would know after some scrapes: by label set the value of the last one, and what came in all.
    #[derive(Default)]
    struct Store {
        last: HashMap<Labels, u64>,
        increase: u64,
    }

    impl Store {
        /// The next scrape, in which no series is less than in the one before, and none but the first ones begins above zero.
        fn scrape(&mut self, busiest: &mut Busiest, now: Duration) {
            let is_first = self.last.is_empty();
            busiest.turn(now);
            let all: HashMap<Labels, u64> = busiest
                .all()
                .into_iter()
                .map(|(labels, it)| (labels.clone(), it.counts.established))
                .collect();
            for (labels, &value) in &all {
                match self.last.get(labels) {
                    Some(&before) => self.increase += value.checked_sub(before).expect("it never goes back"),
                    None if is_first || matches!(labels, Labels::Other(_)) => self.increase += value,
                    None => assert_eq!(value, 0, "{labels:?}"),
                }
            }
            self.last = all;
            busiest.forget();
        }
    }

    #[test]
    fn the_first_have_places_and_the_rest_is_other() {
        let mut busiest = Busiest::new(3);
        for port in [1, 2, 3, 4, 5, 1, 4] {
            connect(&mut busiest, port, 1);
        }
        let counts: Vec<_> =
            busiest.all().into_iter().map(|(labels, it)| (labels.clone(), it.counts.established)).collect();
        let other = Labels::Other(Vantage::Client);
        assert_eq!(counts, [(labels(1), 2), (labels(2), 1), (labels(3), 1), (other, 3)]);
    }

    #[test]
    fn what_becomes_busy_takes_the_place_of_the_least_busy() {
        let mut busiest = Busiest::new(2);
        connect(&mut busiest, 1, 50);
        connect(&mut busiest, 2, 5);
        connect(&mut busiest, 3, 100);
        let mut store = Store::default();
        // Before a minute is over all stays as it is.
        store.scrape(&mut busiest, Duration::from_secs(59));
        assert!(store.last.contains_key(&labels(2)) && !store.last.contains_key(&labels(3)));
        store.scrape(&mut busiest, ROUND);
        // The one that leaves is written for the last time beside the one that comes.
        assert_eq!(store.last[&labels(2)], 5);
        assert_eq!(store.last[&labels(3)], 0);
        assert_eq!((busiest.places(), busiest.changes()), (2, 1));
        connect(&mut busiest, 2, 7);
        connect(&mut busiest, 3, 9);
        store.scrape(&mut busiest, ROUND + Duration::from_secs(15));
        assert!(!store.last.contains_key(&labels(2)));
        assert_eq!(store.last[&labels(3)], 9);
        assert_eq!(store.last[&Labels::Other(Vantage::Client)], 107);
        assert_eq!(store.increase, 50 + 5 + 100 + 7 + 9);
    }

    #[test]
    fn a_little_more_takes_nobodys_place() {
        let mut busiest = Busiest::new(1);
        for (own, other, changes) in [(20, 50, 0), (0, 10, 0), (20, 40, 0), (20, 100, 1)] {
            connect(&mut busiest, 1, own);
            connect(&mut busiest, 2, other);
            let now = busiest.since + ROUND;
            busiest.turn(now);
            busiest.forget();
            assert_eq!(busiest.changes(), changes, "{own} against {other}");
        }
    }

    #[test]
    fn whatever_comes_nothing_is_lost_and_memory_is_bounded() {
        const TOP: usize = 20;
        let mut busiest = Busiest::new(TOP);
        let (mut store, mut total, mut seed) = (Store::default(), 0, 7_u64);
        for scrape in 0..400_u32 {
            for _ in 0..500 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Ten thousand servers, some of them busy, and which those are changes with time.
                let (lot, any) = (seed >> 60, u16::try_from(seed >> 33 & 0x1fff).expect("13 bits"));
                let busy = u16::try_from(scrape / 40).expect("few") * 100 + any % 30;
                connect(&mut busiest, if lot < 8 { busy } else { 1000 + any }, 1);
                total += 1;
            }
            store.scrape(&mut busiest, Duration::from_secs(15) * (scrape + 1));
            assert!(busiest.own.len() == TOP && busiest.candidates.len() <= CANDIDATES * TOP);
            assert!(store.last.len() <= TOP + TOP.div_ceil(super::CHANGES) + 1);
        }
        assert_eq!(store.increase, total);
        // What was busy last has places, however many others there were.
        let has_place = (900..930).filter(|port| store.last.contains_key(&labels(*port))).count();
        assert!(has_place >= TOP / 2, "{has_place} of {TOP}; {} changes", busiest.changes());
        assert!(busiest.changes() < 200, "{}", busiest.changes());
    }
}

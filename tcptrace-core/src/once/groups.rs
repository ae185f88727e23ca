//! The table of all groups, which finds them by the tracker's number of a sighting and by four-tuple, and forgets them
//! a while after their end.

use super::{
    HOLD_NS,
    group::{FourTuple, Group},
};
use crate::{
    event::{Common, Event, Kind},
    segment::Timestamp,
};
use hashbrown::HashMap;
use std::{
    collections::VecDeque,
    iter,
    ops::{Index, IndexMut},
};

/// The most groups of one four-tuple that a new sighting is compared with, the latest first: ports that are reused
/// again and again must not cost more and more.
const MOST_COMPARED: usize = 16;
/// The most groups that are tried to make room for a new sighting.
const MOST_TRIES: usize = 16;

/// The group of an event, or why it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignment {
    /// The event is of the group in this slot.
    Group(u32),
    /// There is no room for the event's group: it is reported on its own.
    Apart,
    /// Nobody reads the event.
    Unwanted,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    /// The slot of the next older group of the same four-tuple.
    older: Option<u32>,
    /// The slot of the next newer group of the same four-tuple.
    newer: Option<u32>,
}

/// The table of all groups.
#[derive(Debug)]
pub(super) struct Groups {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    ids: HashMap<u64, u32>,
    /// The newest group of each four-tuple.
    four_tuples: HashMap<FourTuple, u32>,
    /// The groups whose sightings are all over, each once, with the time at which they may be forgotten.
    leaving: VecDeque<(Timestamp, u32)>,
    remember_ns: u64,
    most: usize,
}

impl Groups {
    /// An empty table, which keeps a group for `remember_ns` nanoseconds after its end, and at most `most` sightings.
    pub(super) fn new(remember_ns: u64, most: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            four_tuples: HashMap::new(),
            leaving: VecDeque::new(),
            remember_ns,
            most: most.min(u32::MAX as usize),
        }
    }

    /// How many groups are open, as far as was reported.
    pub(super) fn open(&self) -> u64 {
        let open = self.entries.iter().flatten().filter(|entry| entry.group.is_open()).count();
        open.try_into().unwrap_or(u64::MAX)
    }

    /// How many sightings are remembered.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is remembered in any of the parts.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.four_tuples.is_empty()
            && self.leaving.is_empty()
            && self.entries.iter().all(Option::is_none)
    }

    /// Finds the group of an event, and updates it by what the event says; `kept` if somebody reads events of this
    /// kind.
    pub(super) fn assign(&mut self, event: &Event, kept: bool) -> Assignment {
        let Some(common) = event.common() else { return Assignment::Apart };
        let slot = match self.ids.get(&common.id) {
            Some(&slot) => slot,
            // Such an event is the end of TIME-WAIT: it would be the only one of a new group.
            None if !kept && common.origin.ended && event.kind() != Kind::Connection => {
                return Assignment::Unwanted;
            }
            None => match self.add_sighting(common) {
                Some(slot) => slot,
                None if kept => return Assignment::Apart,
                None => return Assignment::Unwanted,
            },
        };
        let group = &mut self[slot];
        group.update(event, common);
        if group.open == 0 && !group.leaving {
            group.leaving = true;
            let due = group.end.plus(self.remember_ns);
            self.leaving.push_back((due, slot));
        }
        if kept { Assignment::Group(slot) } else { Assignment::Unwanted }
    }

    /// Adds a new sighting to the group that it fits best, or to a new one; `None` if there is no room.
    fn add_sighting(&mut self, common: &Common) -> Option<u32> {
        if self.ids.len() >= self.most && !self.make_room() {
            return None;
        }
        let four_tuple = FourTuple::of(common);
        let newest = self.four_tuples.get(&four_tuple).copied();
        let older = |slot: &u32| self.entry(*slot).older;
        let known = iter::successors(newest, older).take(MOST_COMPARED);
        let best = known.filter_map(|slot| Some((self[slot].fit(common)?, slot))).min();
        let slot = match best {
            Some((_, slot)) => slot,
            None => self.insert(Group::new(common), newest),
        };
        self[slot].join(common);
        self.ids.insert(common.id, slot);
        Some(slot)
    }

    fn insert(&mut self, group: Group, older: Option<u32>) -> u32 {
        let four_tuple = group.four_tuple;
        let entry = Some(Entry { group, older, newer: None });
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("a group has a sighting, and these are limited")
        };
        if let Some(older) = older {
            self.entry_mut(older).newer = Some(slot);
        }
        self.four_tuples.insert(four_tuple, slot);
        slot
    }

    /// Forgets at `now` the groups that have been over for long enough.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((_, slot)) = self.leaving.pop_front_if(|(due, _)| *due < now) {
            let remember_ns = self.remember_ns;
            let group = &mut self[slot];
            let due = if group.held > 0 { now.plus(HOLD_NS) } else { group.end.plus(remember_ns) };
            if group.open > 0 {
                group.leaving = false;
            } else if due < now {
                self.forget(slot);
            } else {
                self.leaving.push_back((due, slot));
            }
        }
    }

    /// Forgets one group that is over before its time; false if none could be found soon.
    fn make_room(&mut self) -> bool {
        for _ in 0..MOST_TRIES {
            let Some((due, slot)) = self.leaving.pop_front() else { return false };
            let group = &mut self[slot];
            if group.open > 0 {
                group.leaving = false;
            } else if group.held > 0 {
                self.leaving.push_back((due, slot));
            } else {
                self.forget(slot);
                return true;
            }
        }
        false
    }

    /// Forgets the group in `slot`, which is no longer in `leaving`.
    fn forget(&mut self, slot: u32) {
        let Entry { group, older, newer } = self.entries[slot as usize].take().expect("a slot in use");
        self.free.push(slot);
        for id in group.ids() {
            self.ids.remove(&id);
        }
        if let Some(older) = older {
            self.entry_mut(older).newer = newer;
        }
        match (newer, older) {
            (Some(newer), _) => self.entry_mut(newer).older = older,
            (None, Some(older)) => {
                self.four_tuples.insert(group.four_tuple, older);
            }
            (None, None) => {
                self.four_tuples.remove(&group.four_tuple);
            }
        }
    }

    fn entry(&self, slot: u32) -> &Entry {
        self.entries[slot as usize].as_ref().expect("a slot in use")
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        self.entries[slot as usize].as_mut().expect("a slot in use")
    }
}

impl Index<u32> for Groups {
    type Output = Group;

    fn index(&self, slot: u32) -> &Group {
        &self.entry(slot).group
    }
}

impl IndexMut<u32> for Groups {
    fn index_mut(&mut self, slot: u32) -> &mut Group {
        &mut self.entry_mut(slot).group
    }
}

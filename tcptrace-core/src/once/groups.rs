//! All groups: found by the tracker's number of a sighting and by four-tuple, and forgotten after their end.

use super::{
    HOLD_NS,
    group::{Group, Tuple},
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

/// Groups of one four-tuple that are looked through, the latest first: ports that are used again at once are not to cost
/// more and more.
const LOOKED_AT: usize = 16;
/// Groups that are looked at to make room for one.
const TRIES: usize = 16;

/// Where an event belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this group.
    Group(u32),
    /// There is no room for its group.
    Apart,
    /// Nobody reads it.
    Nowhere,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    /// Of the same four-tuple: the next older and the next newer one.
    older: Option<u32>,
    newer: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Groups {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    ids: HashMap<u64, u32>,
    /// The newest group of each.
    tuples: HashMap<Tuple, u32>,
    /// Those that ended, each once, and when it is time to look at them.
    leaving: VecDeque<(Timestamp, u32)>,
    remember_ns: u64,
    most: usize,
}

impl Groups {
    /// Keeps a group for `remember_ns` after its end, and at most so many sightings.
    pub(super) fn new(remember_ns: u64, most: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            tuples: HashMap::new(),
            leaving: VecDeque::new(),
            remember_ns,
            most: most.min(u32::MAX as usize),
        }
    }

    /// Groups of which no end was told.
    pub(super) fn open(&self) -> u64 {
        let open = self.entries.iter().flatten().filter(|entry| entry.group.is_open()).count();
        open.try_into().unwrap_or(u64::MAX)
    }

    /// Sightings in memory.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Nothing is remembered, by any way to find it.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.tuples.is_empty()
            && self.leaving.is_empty()
            && self.entries.iter().all(Option::is_none)
    }

    /// Finds the group of an event, and notes what it says.
    pub(super) fn place(&mut self, event: &Event, kept: bool) -> Place {
        let Some(common) = event.common() else { return Place::Apart };
        let slot = match self.ids.get(&common.id) {
            Some(&slot) => slot,
            // Such as the end of TIME-WAIT, which would be all of a new group.
            None if !kept && common.origin.ended && event.kind() != Kind::Connection => {
                return Place::Nowhere;
            }
            None => match self.take_up(common) {
                Some(slot) => slot,
                None if kept => return Place::Apart,
                None => return Place::Nowhere,
            },
        };
        let group = &mut self[slot];
        group.note(event, common);
        if group.open == 0 && !group.leaving {
            group.leaving = true;
            let due = group.end.plus(self.remember_ns);
            self.leaving.push_back((due, slot));
        }
        if kept { Place::Group(slot) } else { Place::Nowhere }
    }

    /// A sighting that is new; `None` if there is no room.
    fn take_up(&mut self, common: &Common) -> Option<u32> {
        if self.ids.len() >= self.most && !self.make_room() {
            return None;
        }
        let tuple = Tuple::of(common);
        let newest = self.tuples.get(&tuple).copied();
        let older = |slot: &u32| self.entry(*slot).older;
        let known = iter::successors(newest, older).take(LOOKED_AT);
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
        let tuple = group.tuple;
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
        self.tuples.insert(tuple, slot);
        slot
    }

    /// Time has come to `now`: forgets what is over for long enough.
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

    /// Forgets one that is over before its time.
    fn make_room(&mut self) -> bool {
        for _ in 0..TRIES {
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

    /// It is not in `leaving` any more.
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
                self.tuples.insert(group.tuple, older);
            }
            (None, None) => {
                self.tuples.remove(&group.tuple);
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

//! The groups of one kind. Their number is bounded: the busiest are kept, and the rest are one.

use super::{by::Key, group::Group};
use crate::segment::Timestamp;
use hashbrown::HashMap;
use std::cmp::Reverse;

/// The number of a group in its table. A group that is folded into the others leaves a number that nobody has any more.
pub(super) type Slot = u32;

/// The part of the groups that is folded into the others when there are too many: one in so many.
const FOLDED: usize = 8;

/// The groups of one kind.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The most groups that are kept.
    most: usize,
    slots: HashMap<Key, Slot>,
    groups: HashMap<Slot, Group>,
    next: Slot,
    /// The sum of the groups that were not busy enough to be kept.
    other: Group,
    /// How many times a group was folded into the others.
    folded: u64,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(FOLDED),
            slots: HashMap::new(),
            groups: HashMap::new(),
            next: 0,
            other: Group::new(Key::Other),
            folded: 0,
        }
    }

    /// The number of a group, which is made if it is not there.
    pub(super) fn slot(&mut self, key: Key, now: Timestamp) -> Slot {
        if let Some(slot) = self.slots.get(&key) {
            return *slot;
        }
        if self.groups.len() >= self.most {
            self.fold(now);
        }
        let slot = self.next;
        self.next = self.next.wrapping_add(1);
        self.groups.insert(slot, Group::new(key.clone()));
        self.slots.insert(key, slot);
        slot
    }

    /// The group of a number; the sum of the others if it is not kept any more.
    pub(super) fn of(&mut self, slot: Slot) -> &mut Group {
        self.groups.get_mut(&slot).unwrap_or(&mut self.other)
    }

    /// Whether a connection of the group `slot` belongs to what `key` stands for.
    pub(super) fn is(&self, slot: Slot, key: &Key) -> bool {
        match self.groups.get(&slot) {
            Some(group) => group.key == *key,
            None => *key == Key::Other,
        }
    }

    /// Forgets a group of which everything was taken back.
    pub(super) fn drop_if_empty(&mut self, slot: Slot) {
        if let Some(group) = self.groups.get(&slot)
            && (group.begun, group.open) == (0, 0)
        {
            self.slots.remove(&group.key);
            self.groups.remove(&slot);
        }
    }

    /// Folds the least busy groups into the others: those with the fewest connections of the last minute, and of these those
    /// with the fewest in all.
    fn fold(&mut self, now: Timestamp) {
        let mut all: Vec<_> = self
            .groups
            .iter()
            .map(|(slot, group)| (group.recent.sum(now, super::window::SECONDS), group.begun, Reverse(*slot)))
            .collect();
        let count = (all.len() / FOLDED).max(1);
        all.select_nth_unstable(count - 1);
        for (.., Reverse(slot)) in &all[..count] {
            if let Some(group) = self.groups.remove(slot) {
                self.slots.remove(&group.key);
                self.other.add(&group);
                self.folded += 1;
            }
        }
    }

    /// All groups, in no order, and the sum of the others if there are any.
    pub(super) fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().chain((self.folded > 0).then_some(&self.other))
    }

    /// The group of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&Group> {
        if *key == Key::Other { Some(&self.other) } else { self.groups.get(self.slots.get(key)?) }
    }

    /// How many times a group was folded into the others.
    pub(super) const fn folded(&self) -> u64 {
        self.folded
    }
}

//! The connection table: a slab, an index by key, and three lists by age threaded through the slab, so that
//! every operation takes the same time at a thousand connections and at a million.

use super::conn::{Conn, Key};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::{
    hash::BuildHasher,
    ops::{Index, IndexMut},
};

/// Which time-out a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// The handshake is under way.
    Handshake,
    /// An ICMP error came, and a client that goes on all the same tries again soon.
    Rejected,
    /// Past the handshake: none.
    Open,
    /// Reported; remembered while late segments may come.
    Ended,
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry {
    /// `None` while the slot is free.
    conn: Option<Conn>,
    list: List,
    previous: u32,
    next: u32,
}

/// What one connection takes in the slab while it is open.
#[cfg(test)]
pub(crate) const ENTRY_BYTES: usize = size_of::<Entry>();

/// The ends of one list, oldest first.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    lists: [Ends; 4],
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            // Seeded at random for each table, so that nobody can aim at one bucket.
            hasher: DefaultHashBuilder::default(),
            lists: [Ends { first: NONE, last: NONE, len: 0 }; 4],
        }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn len_of(&self, list: List) -> usize {
        self.lists[list as usize].len
    }

    /// The oldest of a list.
    pub(crate) fn first(&self, list: List) -> Option<u32> {
        let first = self.lists[list as usize].first;
        (first != NONE).then_some(first)
    }

    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.index.find(self.hasher.hash_one(key), |&slot| self[slot].key == *key).copied()
    }

    /// All slots in use, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.index.iter().copied()
    }

    /// Every connection, in no order.
    pub(crate) fn for_each(&mut self, each: impl FnMut(&mut Conn)) {
        self.entries.iter_mut().filter_map(|entry| entry.conn.as_mut()).for_each(each);
    }

    /// Adds a connection whose key is not there yet, as the youngest of `list`.
    pub(crate) fn insert(&mut self, conn: Conn, list: List) -> u32 {
        let hash = self.hasher.hash_one(conn.key);
        let entry = Entry { conn: Some(conn), list, previous: NONE, next: NONE };
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("the limit on connections is below 2^32")
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, slot, |&slot| hasher.hash_one(conn_at(entries, slot).key));
        self.link(slot, list);
        slot
    }

    /// Makes a connection the youngest of `list`.
    pub(crate) fn touch(&mut self, slot: u32, list: List) {
        self.unlink(slot);
        self.link(slot, list);
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Conn {
        self.unlink(slot);
        let conn = self.entries[slot as usize].conn.take().expect("a slot in use");
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(conn.key), |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        conn
    }

    fn link(&mut self, slot: u32, list: List) {
        let ends = &mut self.lists[list as usize];
        let last = ends.last;
        ends.last = slot;
        ends.len += 1;
        if last == NONE {
            ends.first = slot;
        } else {
            self.entries[last as usize].next = slot;
        }
        let entry = &mut self.entries[slot as usize];
        (entry.list, entry.previous, entry.next) = (list, last, NONE);
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { list, previous, next, .. } = self.entries[slot as usize];
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        if previous == NONE {
            ends.first = next;
        }
        if next == NONE {
            ends.last = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
    }
}

fn conn_at(entries: &[Entry], slot: u32) -> &Conn {
    entries[slot as usize].conn.as_ref().expect("a slot in use")
}

impl Index<u32> for Table {
    type Output = Conn;

    fn index(&self, slot: u32) -> &Conn {
        conn_at(&self.entries, slot)
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, slot: u32) -> &mut Conn {
        self.entries[slot as usize].conn.as_mut().expect("a slot in use")
    }
}

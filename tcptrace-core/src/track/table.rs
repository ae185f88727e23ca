//! The connection table: a slab, an index by key, and lists by age threaded through the slab, so that
//! every operation takes the same time at a thousand connections and at a million.

use super::{
    ahead::Place,
    conn::{Conn, List},
    key::Key,
};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::{
    hash::BuildHasher,
    ops::{Index, IndexMut},
};

const NONE: u32 = u32::MAX;

/// The neighbours of a connection in its list. A connection that moves changes the links of its neighbours too, so
/// links are kept apart from the connections: a cache has room for many of them.
#[derive(Clone, Copy, Debug)]
struct Links {
    previous: u32,
    next: u32,
}

/// The number of connections by which the slab grows at once. So it never moves a connection, and never has room for
/// twice as many.
const CHUNK: usize = 1024;

/// The ends of one list, oldest first.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

/// A vector that grows by chunks and never moves what is in it.
#[derive(Debug)]
struct Slab<T>(Vec<Vec<T>>);

impl<T> Slab<T> {
    fn push(&mut self, value: T) -> usize {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        let chunks = self.0.len();
        let chunk = &mut self.0[chunks - 1];
        chunk.push(value);
        (chunks - 1) * CHUNK + chunk.len() - 1
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: u32) -> &T {
        &self.0[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.0[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

/// The connection table: connections by slot, by key, and by age in the list of each time-out.
#[derive(Debug)]
pub(crate) struct Table {
    /// `None` while the slot is free.
    conns: Slab<Option<Conn>>,
    links: Slab<Links>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    lists: [Ends; 5],
    /// The oldest connection of a list with a time-out may have changed since [`Table::clear_new_heads`].
    new_heads: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            conns: Slab(Vec::new()),
            links: Slab(Vec::new()),
            free: Vec::new(),
            index: HashTable::new(),
            // Seeded at random for each table, so that nobody can aim at one bucket.
            hasher: DefaultHashBuilder::default(),
            lists: [Ends { first: NONE, last: NONE, len: 0 }; 5],
            new_heads: false,
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

    /// The slot of the oldest connection of a list.
    pub(crate) fn first(&self, list: List) -> Option<u32> {
        let first = self.lists[list as usize].first;
        (first != NONE).then_some(first)
    }

    /// Whether the oldest connection of a list with a time-out, or its time, may have changed since
    /// [`Table::clear_new_heads`].
    pub(crate) fn has_new_heads(&self) -> bool {
        self.new_heads
    }

    /// Tells the table that the oldest connections of its lists, and their times, are known to the caller.
    pub(crate) fn clear_new_heads(&mut self) {
        self.new_heads = false;
    }

    pub(crate) fn hash(&self, key: &Key) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.index.find(self.hash(key), |&slot| self[slot].key == *key).copied()
    }

    /// The slot of the connection at this place.
    pub(super) fn find_at(&self, place: &Place) -> Option<u32> {
        let Place { key, hash, guess, .. } = place;
        // Another connection may have the slot by now, but no two have one key.
        let is_it = |slot: &u32| self.conns[*slot].as_ref().is_some_and(|conn| conn.key == *key);
        guess.filter(is_it).or_else(|| self.index.find(*hash, is_it).copied())
    }

    /// The slot of a connection whose key is likely to have this hash, without a look at the key.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        self.index.find(hash, |_| true).copied()
    }

    /// Reads what a segment of the connection in `slot` will need: parts of the connection that lie far apart, and its
    /// neighbours in its list. The result means nothing.
    pub(crate) fn read(&self, slot: u32) -> u64 {
        let Links { previous, next } = self.links[slot];
        let of_neighbours = [previous, next]
            .into_iter()
            .filter(|&neighbour| neighbour != NONE)
            .map(|neighbour| u64::from(self.links[neighbour].next));
        let conn = self.conns[slot].as_ref();
        let of_conn = conn.map_or(0, |conn| conn.id ^ conn.last.0 ^ conn.start.0 ^ u64::from(conn.lot));
        of_neighbours.fold(of_conn, |all, one| all ^ one)
    }

    /// All slots in use, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.index.iter().copied()
    }

    /// Every connection, in no order.
    pub(crate) fn for_each(&mut self, each: impl FnMut(&mut Conn)) {
        self.conns.iter_mut().filter_map(Option::as_mut).for_each(each);
    }

    /// Adds a connection whose key is not there yet, as the youngest of `list`.
    pub(crate) fn insert(&mut self, conn: Conn, list: List) -> u32 {
        let hash = self.hash(&conn.key);
        self.insert_hashed(hash, conn, list)
    }

    /// Adds a connection whose key is not there yet and has this hash in this table, as the youngest of `list`.
    pub(crate) fn insert_hashed(&mut self, hash: u64, conn: Conn, list: List) -> u32 {
        let slot = if let Some(slot) = self.free.pop() {
            self.conns[slot] = Some(conn);
            slot
        } else {
            self.links.push(Links { previous: NONE, next: NONE });
            let slot = self.conns.push(Some(conn));
            u32::try_from(slot).expect("the limit on connections is below 2^32")
        };
        let (conns, hasher) = (&self.conns, &self.hasher);
        self.index.insert_unique(hash, slot, |&slot| hasher.hash_one(conn_at(conns, slot).key));
        self.link(slot, list);
        slot
    }

    /// Makes the connection in `slot` the youngest of `list`.
    pub(crate) fn touch(&mut self, slot: u32, list: List) {
        if self[slot].list == list && self.lists[list as usize].last == slot {
            // The time of the connection may have changed, and is later.
            self.check_head(slot, list);
            return;
        }
        self.unlink(slot);
        self.link(slot, list);
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Conn {
        self.unlink(slot);
        let conn = self.conns[slot].take().expect("a slot in use");
        if let Ok(found) = self.index.find_entry(self.hash(&conn.key), |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        conn
    }

    /// Remembers that deadlines are to be looked up anew, if `slot` is the oldest of a list with a time-out.
    fn check_head(&mut self, slot: u32, list: List) {
        self.new_heads |= list != List::Open && self.lists[list as usize].first == slot;
    }

    /// Puts the connection in `slot` behind the last one of `list` that is not younger.
    fn link(&mut self, slot: u32, list: List) {
        let previous = self.last_not_younger(slot, list);
        let ends = &mut self.lists[list as usize];
        ends.len += 1;
        let next = if previous == NONE { ends.first } else { self.links[previous].next };
        if next == NONE {
            self.lists[list as usize].last = slot;
        } else {
            self.links[next].previous = slot;
        }
        if previous == NONE {
            self.lists[list as usize].first = slot;
            self.check_head(slot, list);
        } else {
            self.links[previous].next = slot;
        }
        self.links[slot] = Links { previous, next };
        self[slot].list = list;
    }

    /// The slot of the last connection of `list` that is not younger than the one in `slot`. That is the last of the
    /// list, except where the segments of the connection waited while a reset was held, and are taken only now. In a
    /// flood it is enough that a connection is near its place, so the search is short.
    fn last_not_younger(&self, slot: u32, list: List) -> u32 {
        const MOST: usize = 64;
        let mut previous = self.lists[list as usize].last;
        for _ in 0..MOST {
            if previous == NONE || self[previous].last <= self[slot].last {
                break;
            }
            previous = self.links[previous].previous;
        }
        previous
    }

    fn unlink(&mut self, slot: u32) {
        let list = self[slot].list;
        let Links { previous, next } = self.links[slot];
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        if next == NONE {
            ends.last = previous;
        } else {
            self.links[next].previous = previous;
        }
        if previous == NONE {
            self.lists[list as usize].first = next;
            self.check_head(next, list);
        } else {
            self.links[previous].next = next;
        }
    }
}

fn conn_at(conns: &Slab<Option<Conn>>, slot: u32) -> &Conn {
    conns[slot].as_ref().expect("a slot in use")
}

impl Index<u32> for Table {
    type Output = Conn;

    #[inline]
    fn index(&self, slot: u32) -> &Conn {
        conn_at(&self.conns, slot)
    }
}

impl IndexMut<u32> for Table {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Conn {
        self.conns[slot].as_mut().expect("a slot in use")
    }
}

#[cfg(test)]
mod tests {
    use super::{Conn, Links};

    #[test]
    fn an_open_connection_takes_at_most_208_bytes() {
        // The index holds a slot number and a control byte for each place, and is at most 7/8 full after growing.
        let index = (size_of::<u32>() + 1) * 8 / 7 * 2;
        let bytes = size_of::<Option<Conn>>() + size_of::<Links>() + index;
        assert!(bytes <= 208, "{bytes} bytes a connection");
    }
}

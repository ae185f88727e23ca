//! The pending-ACK table of a capture file: the buckets of the kernel programs, and one bit for each bucket that is not
//! empty.
//!
//! The buckets of half a million words do not fit into the caches of a CPU. For nearly every data packet nobody waits,
//! and the bits, one for 64 bytes of table, are enough to tell that.

use crate::sweep::Words;
use tcptrace_common::{
    abi::{BUCKET_WORDS, Bucket},
    lifecycle::{Slots, Table},
};

/// A pending-ACK table in memory.
#[derive(Debug)]
pub(super) struct Pending {
    buckets: Box<[Bucket]>,
    /// One bit for each bucket that is not empty.
    occupied: Box<[u64]>,
    /// Whether the first data of each direction is awaited too.
    awaits_data: bool,
}

impl Pending {
    /// A table of `buckets`, rounded up to a power of two.
    pub(super) fn new(buckets: usize, awaits_data: bool) -> Self {
        let buckets = buckets.next_power_of_two();
        Self {
            buckets: vec![Bucket::default(); buckets].into_boxed_slice(),
            occupied: vec![0; buckets.div_ceil(64)].into_boxed_slice(),
            awaits_data,
        }
    }

    /// The number of words in the table.
    pub(super) const fn words(&self) -> usize {
        self.buckets.len() * BUCKET_WORDS
    }

    #[inline]
    const fn place(&self, bucket: u32) -> usize {
        bucket as usize & self.buckets.len().wrapping_sub(1)
    }
}

impl Table for Pending {
    type Slots<'a> = Occupied<'a>;

    #[inline]
    fn bucket(&mut self, bucket: u32) -> Option<Occupied<'_>> {
        let place = self.place(bucket);
        let (bucket, bits) = (self.buckets.get_mut(place)?, self.occupied.get_mut(place / 64)?);
        Some(Occupied { bucket, bits, bit: 1 << (place % 64), awaits_data: self.awaits_data })
    }

    #[inline]
    fn is_surely_empty(&self, bucket: u32) -> bool {
        let place = self.place(bucket);
        self.occupied.get(place / 64).is_some_and(|bits| bits & (1 << (place % 64)) == 0)
    }
}

impl Words for Pending {
    fn get(&self, place: usize) -> u64 {
        self.buckets[place / BUCKET_WORDS].words[place % BUCKET_WORDS]
    }

    fn free(&mut self, place: usize, word: u64) -> bool {
        let (at, slot) = (place / BUCKET_WORDS, place % BUCKET_WORDS);
        let bits = &mut self.occupied[at / 64];
        let mut bucket =
            Occupied { bucket: &mut self.buckets[at], bits, bit: 1 << (at % 64), awaits_data: false };
        let is_there = bucket.get(slot) == word;
        if is_there {
            bucket.set(slot, 0);
        }
        is_there
    }
}

/// A bucket, and the bit that says whether it is empty.
pub(super) struct Occupied<'a> {
    bucket: &'a mut Bucket,
    bits: &'a mut u64,
    bit: u64,
    awaits_data: bool,
}

impl Slots for Occupied<'_> {
    #[inline]
    fn get(&self, slot: usize) -> u64 {
        self.bucket.words[slot]
    }

    #[inline]
    fn set(&mut self, slot: usize, word: u64) {
        self.bucket.words[slot] = word;
        if self.bucket.words == [0; BUCKET_WORDS] {
            *self.bits &= !self.bit;
        } else {
            *self.bits |= self.bit;
        }
    }

    #[inline]
    fn awaits_data(&self) -> bool {
        self.awaits_data
    }
}

#[cfg(test)]
mod tests {
    use super::{Pending, Slots as _, Table as _, Words as _};

    #[test]
    fn a_bucket_is_surely_empty_exactly_while_no_slot_holds_a_word() {
        let mut table = Pending::new(128, false);
        let states = |table: &Pending| (0..128).filter(|&it| !table.is_surely_empty(it)).collect::<Vec<_>>();
        assert!(states(&table).is_empty());
        // The table has 128 buckets, so that 198 stands for 70.
        for (bucket, slot, word, occupied) in [
            (70, 0, 5, &[70][..]),
            (198, 7, 6, &[70]),
            (3, 1, 7, &[3, 70]),
            (70, 0, 0, &[3, 70]),
            (70, 7, 0, &[3]),
        ] {
            table.bucket(bucket).expect("every number is some bucket").set(slot, word);
            assert_eq!(states(&table), occupied, "bucket {bucket}, slot {slot}, word {word}");
        }
    }

    #[test]
    fn a_word_is_freed_where_it_is_and_no_other() {
        let mut table = Pending::new(128, false);
        table.bucket(70).expect("every number is some bucket").set(3, 5);
        assert!(!table.free(70 * 8 + 3, 6) && !table.free(70 * 8 + 2, 5));
        assert!(!table.is_surely_empty(70));
        assert!(table.free(70 * 8 + 3, 5));
        assert!(table.is_surely_empty(70));
    }
}

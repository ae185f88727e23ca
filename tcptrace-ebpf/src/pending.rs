//! The pending-ACK table of the kernel programs, which all CPUs share.

use crate::{
    hook::Hook,
    maps::{first_byte, forget, is_shared},
};
use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use tcptrace_common::{
    abi::Bucket,
    lifecycle::{Slots, Table},
};

/// The pending-ACK table, which has `PENDING_MASK + 1` buckets. It can be mapped, because user space frees old words in
/// it, and because the kernel puts the values of such an array on a page boundary (kernel/bpf/arraymap.c,
/// `array_map_alloc`), which makes each bucket one cache line.
#[map]
static PENDING: Array<Bucket> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);

/// The marks of the buckets of `PENDING`, which say whether a bucket may have words in it. Buckets are looked at in
/// random order, and on a host with many connections they lie outside the nearer caches. The marks, which are a 32nd of
/// that, lie within.
#[map]
static MARKS: Array<[Mark; MARKS_PER_ENTRY as usize]> =
    Array::with_max_entries((1 << 16) / MARKS_PER_ENTRY, BPF_F_MMAPABLE);

/// How many marks are in an entry: as many as fit in eight bytes, which is the least that the kernel keeps for an entry
/// (kernel/bpf/arraymap.c, `array_map_alloc`).
const MARKS_PER_ENTRY: u32 = 4;

/// The mark of a bucket, which is empty if both numbers are equal. CPUs share the mark without locks, and none can undo
/// what another says meanwhile: a CPU that puts a word in changes `filled` after that, and a CPU that finds the bucket
/// empty copies into `emptied` what `filled` was before it looked.
#[repr(C, align(2))]
struct Mark {
    filled: u8,
    emptied: u8,
}

/// The number of buckets of `PENDING` less one, which is a power of two less one.
#[unsafe(no_mangle)]
static PENDING_MASK: u32 = (1 << 16) - 1;

/// The table [`PENDING`] as the lifecycle test of one packet uses it.
pub(crate) struct PendingTable<H>(pub(crate) H);

/// One bucket that all CPUs share, and its mark.
pub(crate) struct SharedBucket<H> {
    hook: H,
    bucket: *mut Bucket,
    mark: *mut Mark,
    /// What [`Mark::filled`] was before any word was read.
    filled: u8,
}

impl<H> PendingTable<H> {
    #[inline(always)]
    fn place(bucket: u32) -> u32 {
        // SAFETY: a valid static; volatile because the loader writes it after the compiler is done.
        let mask = unsafe { (&raw const PENDING_MASK).read_volatile() };
        bucket & mask
    }

    #[inline(always)]
    fn mark(place: u32) -> Option<*mut Mark> {
        let entry = MARKS.get_ptr_mut(place / MARKS_PER_ENTRY)?;
        // SAFETY: within the entry.
        Some(unsafe { entry.cast::<Mark>().add((place % MARKS_PER_ENTRY) as usize) })
    }
}

impl<H: Hook> Table for PendingTable<H> {
    type Slots<'a>
        = SharedBucket<H>
    where
        H: 'a;

    #[inline(always)]
    fn bucket(&mut self, bucket: u32) -> Option<SharedBucket<H>> {
        let place = Self::place(bucket);
        let mark = Self::mark(place)?;
        // SAFETY: the kernel's pointer to a map value is valid while the program runs; no reference is made.
        let filled = unsafe { &raw const (*mark).filled };
        // SAFETY: as above. Other CPUs may write it: volatile.
        let filled = unsafe { filled.read_volatile() };
        Some(SharedBucket { hook: self.0, bucket: PENDING.get_ptr_mut(place)?, mark, filled })
    }

    #[inline(always)]
    fn is_surely_empty(&self, bucket: u32) -> bool {
        let Some(mark) = Self::mark(Self::place(bucket)) else {
            return false;
        };
        // SAFETY: as in `bucket`; both bytes in one access.
        let both = unsafe { mark.cast::<u16>().read_volatile() };
        both & 0xff == both >> 8
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is the same number")]
    fn forget(&self, n: u32) -> u32 {
        forget(n as usize) as u32
    }
}

impl<H: Hook> Slots for SharedBucket<H> {
    /// Mixes the number of the packet's namespace into the tag. The bucket does not depend on the number, so that it
    /// need not be read for packets whose bucket is empty.
    #[inline(always)]
    fn tag(&self, tag: u32) -> u32 {
        if !is_shared() {
            return tag;
        }
        match tag ^ u32::from(self.hook.netns()) {
            0 => 1,
            tag => tag,
        }
    }

    #[inline(always)]
    fn awaits_data(&self) -> bool {
        first_byte()
    }

    #[inline(always)]
    fn get(&self, slot: usize) -> u64 {
        // SAFETY: the kernel's pointer to a map value is valid while the program runs; no reference is made.
        let word = unsafe { &raw const (*self.bucket).words[slot] };
        // SAFETY: in bounds, and aligned as map values are. Other CPUs may write it: volatile makes it one access
        // of 64 bits, which the machine does whole.
        unsafe { word.read_volatile() }
    }

    #[inline(always)]
    fn set(&mut self, slot: usize, word: u64) {
        // SAFETY: as in `get`.
        let at = unsafe { &raw mut (*self.bucket).words[slot] };
        // SAFETY: as in `get`.
        unsafe { at.write_volatile(word) }
        if word != 0 {
            self.fill();
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the target has 64 bits")]
    fn forget(&self, n: u64) -> u64 {
        forget(n as usize) as u64
    }

    #[inline(always)]
    fn note_empty(&mut self) {
        // SAFETY: as in `get`.
        let emptied = unsafe { &raw mut (*self.mark).emptied };
        // SAFETY: as in `get`.
        unsafe { emptied.write_volatile(self.filled) }
    }
}

impl<H> SharedBucket<H> {
    /// Marks the bucket as one with words in it, by a number in `filled` that is not the one in `emptied`.
    #[inline(always)]
    fn fill(&mut self) {
        // SAFETY: as in `get`.
        let filled = unsafe { &raw mut (*self.mark).filled };
        // SAFETY: as in `get`.
        let emptied = unsafe { &raw const (*self.mark).emptied };
        // SAFETY: as in `get`.
        let next = unsafe { filled.read_volatile() }.wrapping_add(1);
        // SAFETY: as in `get`.
        let same = next == unsafe { emptied.read_volatile() };
        // SAFETY: as in `get`.
        unsafe { filled.write_volatile(next.wrapping_add(u8::from(same))) }
    }
}

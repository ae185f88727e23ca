//! The pending-ACK table of the kernel programs, which all CPUs share.

use crate::{
    hook::Hook,
    maps::{forget, is_shared},
};
use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use tcptrace_common::{
    abi::Bucket,
    lifecycle::{Slots, Table},
};

/// The pending-ACK table: `PENDING_MASK + 1` buckets. Mappable, because user space frees words in it that nobody comes for,
/// and because the kernel puts the values of such an array on a page boundary (kernel/bpf/arraymap.c, `array_map_alloc`),
/// which makes each bucket one cache line.
#[map]
static PENDING: Array<Bucket> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);

/// For each bucket of `PENDING` whether anybody may wait in it. Buckets are looked at at random and lie outside the nearer
/// caches on a host with many connections; these marks, a 32nd of that, within.
#[map]
static MARKS: Array<[Mark; MARKS_PER_ENTRY as usize]> =
    Array::with_max_entries((1 << 16) / MARKS_PER_ENTRY, BPF_F_MMAPABLE);

/// As many as make the eight bytes that the kernel keeps at least (kernel/bpf/arraymap.c, `array_map_alloc`).
const MARKS_PER_ENTRY: u32 = 4;

/// Nobody waits in a bucket if both numbers are equal. CPUs share it without locks, and what one says cannot undo what
/// another says meanwhile: who puts a word in changes `filled` after that, and who finds the bucket empty copies into
/// `emptied` what `filled` was before it looked.
#[repr(C, align(2))]
struct Mark {
    filled: u8,
    emptied: u8,
}

/// Buckets of `PENDING` less one; a power of two less one.
#[unsafe(no_mangle)]
static PENDING_MASK: u32 = (1 << 16) - 1;

/// [`PENDING`] as the lifecycle test of one packet sees it.
pub(crate) struct PendingTable<H>(pub(crate) H);

/// One bucket that all CPUs share, and its mark.
pub(crate) struct SharedBucket<H> {
    hook: H,
    bucket: *mut Bucket,
    mark: *mut Mark,
    /// [`Mark::filled`] before the first look at a word.
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
    /// The bucket is found without the number, so that packets whose bucket is empty need not know it.
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
    /// Says that a word is there, by a number that is not the other one.
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

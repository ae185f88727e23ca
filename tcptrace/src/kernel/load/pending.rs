//! The words of the pending-ACK table, which this process shares with the kernel programs.
#![expect(unsafe_code, reason = "maps the table")]

use rustix::{
    fd::BorrowedFd,
    io,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};
use std::{
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};
use tcptrace_common::abi::{BUCKET_WORDS, Bucket};
use tcptrace_core::sweep::Words;

const _: () = assert!(size_of::<Bucket>() == BUCKET_WORDS * size_of::<AtomicU64>());

/// The memory of the map `PENDING`, mapped (kernel/bpf/arraymap.c, `array_map_mmap`). Reading and writing it takes no
/// system call, which a confined process might not be allowed. All copies of the programs share one such table.
pub(crate) struct PendingWords {
    words: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the words are shared with the kernel anyway, and only ever accessed atomically.
unsafe impl Send for PendingWords {}

impl PendingWords {
    /// Maps the memory of the map behind `fd`, which has so many buckets. The descriptor may be closed afterwards.
    pub(super) fn map(fd: BorrowedFd<'_>, buckets: u32) -> io::Result<Self> {
        let len = buckets as usize * BUCKET_WORDS;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe {
            mmap(
                ptr::null_mut(),
                Self::bytes(len),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
        }?;
        let words = NonNull::new(address.cast()).ok_or(io::Errno::NOMEM)?;
        Ok(Self { words, len })
    }

    /// The size of the mapping in bytes: the words, made up to whole pages as the kernel maps them.
    fn bytes(len: usize) -> usize {
        (len * size_of::<AtomicU64>()).next_multiple_of(page_size())
    }

    const fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped until drop, aligned to a page, and as long as that; the programs write whole words meanwhile.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }

    /// How many words there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Words for PendingWords {
    fn get(&self, place: usize) -> u64 {
        self.words()[place].load(Ordering::Relaxed)
    }

    /// Frees a word unless a program has changed it. The mark of a bucket that is empty by that is left to the
    /// programs, which set it when they look at the bucket next.
    fn free(&mut self, place: usize, word: u64) -> bool {
        self.words()[place].compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Drop for PendingWords {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and nobody borrows from it any more. Failure would leave it mapped,
        // which harms nobody.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), Self::bytes(self.len)) };
    }
}

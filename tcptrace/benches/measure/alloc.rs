//! Counts what is allocated, where that is asked for. The only way to know that a path allocates nothing.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one passes everything on to the system's"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering::Relaxed},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
/// What was freed may have been allocated before counting began.
static BYTES: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

struct Counting;

impl Counting {
    fn note(more: usize, less: usize) {
        if ON.load(Relaxed) {
            let change = more.cast_signed() - less.cast_signed();
            let bytes = BYTES.fetch_add(change, Relaxed) + change;
            if more > 0 {
                CALLS.fetch_add(1, Relaxed);
                PEAK.fetch_max(bytes, Relaxed);
            }
        }
    }
}

// SAFETY: every call is the system allocator's own, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        // SAFETY: the caller promises what the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        // SAFETY: as above; the pointer came from there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size, layout.size());
        // SAFETY: as above; the pointer came from there.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What was allocated while something ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocated {
    /// Calls that allocate or grow.
    pub(crate) calls: u64,
    /// What is left of it afterwards.
    pub(crate) bytes: isize,
    /// The most there was of it at any time.
    pub(crate) peak: isize,
}

/// Runs something and counts; only one such at a time, with no other thread at work.
pub(crate) fn count<R>(run: impl FnOnce() -> R) -> (R, Allocated) {
    CALLS.store(0, Relaxed);
    BYTES.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    ON.store(true, Relaxed);
    let result = run();
    ON.store(false, Relaxed);
    (result, Allocated { calls: CALLS.load(Relaxed), bytes: BYTES.load(Relaxed), peak: PEAK.load(Relaxed) })
}

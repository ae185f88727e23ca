//! How full the ring is: its two positions, read where the kernel and the reader keep them.
#![expect(unsafe_code, reason = "maps the ring's position pages and reads them")]

use aya::maps::{MapData, RingBuf};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};
use std::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

/// The first two pages of a ring buffer map: the consumer's position, then the producer's
/// (kernel/bpf/ringbuf.c, `struct bpf_ringbuf`).
pub struct RingGauge {
    consumer: PositionPage,
    producer: PositionPage,
}

impl RingGauge {
    /// For this ring; holds on to its memory, not to its descriptor.
    pub fn new(ring: &RingBuf<MapData>) -> io::Result<Self> {
        let fd = ring.as_fd();
        Ok(Self { consumer: PositionPage::map(fd, 0)?, producer: PositionPage::map(fd, 1)? })
    }

    /// Bytes between the two positions: records with their headers, those still being written included.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        // The consumer's first: read the other way round, it could have overtaken the producer's.
        let read = self.read_to();
        self.written_to().wrapping_sub(read)
    }

    /// Where the reader is, in bytes since the ring was made; it wraps.
    #[must_use]
    pub fn read_to(&self) -> usize {
        self.consumer.position().load(Ordering::Acquire)
    }

    /// Where the last record ends, one that is still being written included, in the same measure.
    #[must_use]
    pub fn written_to(&self) -> usize {
        self.producer.position().load(Ordering::Acquire)
    }
}

/// One page, mapped for reading.
struct PositionPage(NonNull<AtomicUsize>);

// SAFETY: the page is shared with the kernel anyway and only ever read atomically.
unsafe impl Send for PositionPage {}

impl PositionPage {
    fn map(fd: BorrowedFd<'_>, page: u64) -> io::Result<Self> {
        let size = page_size();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe {
            mmap(ptr::null_mut(), size, ProtFlags::READ, MapFlags::SHARED, fd, page * size as u64)
        }?;
        NonNull::new(address.cast()).map(Self).ok_or(io::Errno::NOMEM)
    }

    const fn position(&self) -> &AtomicUsize {
        // SAFETY: the page stays mapped until drop, is aligned, and begins with an unsigned long that all
        // sides access atomically; loads never write to it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for PositionPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and nobody borrows from it any more. Failure would leave it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), page_size()) };
    }
}

//! How full the ring is, by the positions of its two ends, which the kernel and the reader keep in the ring's own
//! pages.
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

/// The first two pages of a ring buffer map, which have the consumer's position and the producer's
/// (kernel/bpf/ringbuf.c, `struct bpf_ringbuf`).
pub struct RingGauge {
    consumer: PositionPage,
    producer: PositionPage,
}

impl RingGauge {
    /// Maps the pages of this ring. Its descriptor may be closed afterwards.
    pub fn new(ring: &RingBuf<MapData>) -> io::Result<Self> {
        let fd = ring.as_fd();
        Ok(Self { consumer: PositionPage::map(fd, 0)?, producer: PositionPage::map(fd, 1)? })
    }

    /// How many bytes lie between the two positions: records with their headers, those still being written included.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        // The consumer's position is read first: read after the producer's, it could have overtaken that.
        let read = self.read_to();
        self.written_to().wrapping_sub(read)
    }

    /// How far the reader has come, in bytes since the ring was made. The number wraps.
    #[must_use]
    pub fn read_to(&self) -> usize {
        self.consumer.position().load(Ordering::Acquire)
    }

    /// Where the last record ends, in bytes since the ring was made, also if it is still being written. The number
    /// wraps.
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

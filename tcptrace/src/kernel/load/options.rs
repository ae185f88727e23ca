//! What the programs are loaded with.

use super::error::LoadError;
use tcptrace_common::wire::tunnel::Decap;

/// How big, and whether the programs log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Bytes of the ring: a power of two and at least a page.
    pub ring_bytes: u32,
    /// Buckets of the pending-ACK table: a power of two. A bucket is 64 bytes, a cache line.
    pub pending_buckets: u32,
    /// The programs log each record, for finding out what they do.
    pub kernel_log: bool,
    /// Which tunnels the programs look into, one level.
    pub decap: Decap,
}

impl LoadOptions {
    /// 8 MiB: at 128 bytes a SYN record that is 65,536 of them, which a reader that pauses 20 ms before each
    /// drain leaves room for 3 million records a second; at a more usual 100,000 a second it outlasts half a
    /// second in which the reader gets no CPU. The kernel allocates it whole, so bigger is not free.
    pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
    /// The reader is woken, if it waits, when this part of the ring is full: time enough to come before the rest is.
    pub const WAKE_PART: u32 = 8;
    /// 65,536 buckets (4 MiB): half a million acknowledgements awaited at once.
    pub const DEFAULT_PENDING_BUCKETS: u32 = 1 << 16;
    /// Larger tables than 1 GiB are mistakes.
    const MAX_PENDING_BUCKETS: u32 = 1 << 24;
    const MIN_RING_BYTES: u32 = 1 << 16;
    const MAX_RING_BYTES: u32 = 1 << 30;

    pub(super) fn check(self) -> Result<(), LoadError> {
        let Self { ring_bytes, pending_buckets, .. } = self;
        if !ring_bytes.is_power_of_two()
            || !(Self::MIN_RING_BYTES..=Self::MAX_RING_BYTES).contains(&ring_bytes)
        {
            return Err(LoadError::Size {
                what: "ring size in bytes",
                value: ring_bytes,
                from: Self::MIN_RING_BYTES,
                to: Self::MAX_RING_BYTES,
            });
        }
        if !pending_buckets.is_power_of_two() || pending_buckets > Self::MAX_PENDING_BUCKETS {
            return Err(LoadError::Size {
                what: "number of pending-table buckets",
                value: pending_buckets,
                from: 1,
                to: Self::MAX_PENDING_BUCKETS,
            });
        }
        Ok(())
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            ring_bytes: Self::DEFAULT_RING_BYTES,
            pending_buckets: Self::DEFAULT_PENDING_BUCKETS,
            kernel_log: false,
            decap: Decap::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_are_refused_before_the_kernel_sees_them() {
        let ok = LoadOptions::default();
        assert!(ok.check().is_ok());
        for wrong in [
            LoadOptions { ring_bytes: 5_000_000, ..ok },
            LoadOptions { ring_bytes: 4096, ..ok },
            LoadOptions { pending_buckets: 0, ..ok },
            LoadOptions { pending_buckets: 48, ..ok },
        ] {
            assert!(matches!(wrong.check(), Err(LoadError::Size { .. })), "{wrong:?}");
        }
    }
}

//! What the kernel programs are loaded with.

use super::error::LoadError;
use tcptrace_common::wire::tunnel::Decap;

/// The sizes of the programs' maps, the tunnels they look into, and whether they log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct LoadOptions {
    /// The size of the ring in bytes: a power of two from 64 KiB to 1 GiB.
    pub ring_bytes: u32,
    /// How many buckets the pending-ACK table has: a power of two up to 2^24. A bucket is 64 bytes, a cache line.
    pub pending_buckets: u32,
    /// Whether the programs log each record, to find out what they do.
    pub kernel_log: bool,
    /// The tunnels that the programs look into, one level deep.
    pub decap: Decap,
    /// Whether the programs ask the sockets of this host whose they are, and what they know of a connection that closes.
    pub sockets: bool,
    /// Whether the programs record which processes open, accept and close sockets. It has no effect without `sockets`.
    pub processes: bool,
    /// Whether the programs record the segments with the first data of each direction.
    pub first_byte: bool,
    /// Whether the programs record the beginning of the client's first data too, where that may have the server's name.
    pub server_name: bool,
}

impl LoadOptions {
    /// The default size of the ring: 8 MiB, which hold about 61,000 SYN records of 128 bytes with their headers. A
    /// reader that pauses 20 ms before each drain can take 3 million records a second with it; at a more usual 100,000
    /// a second the ring outlasts half a second in which the reader gets no CPU. The kernel allocates all of it, so a
    /// larger one is not free.
    pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
    /// The default size of the pending-ACK table: 65,536 buckets (4 MiB), for half a million acknowledgements that are
    /// expected at once.
    pub const DEFAULT_PENDING_BUCKETS: u32 = 1 << 16;
    /// The largest pending-ACK table, 1 GiB: who asks for more has made a mistake.
    const MAX_PENDING_BUCKETS: u32 = 1 << 24;
    const MIN_RING_BYTES: u32 = 1 << 16;
    const MAX_RING_BYTES: u32 = 1 << 30;

    /// How many bytes of a ring have to be filled for the reader to be woken from its pause: an eighth, so that it comes before the
    /// rest is.
    #[must_use]
    pub const fn wake_bytes(ring_bytes: u64) -> u64 {
        ring_bytes / 8
    }

    /// An error if a size is out of its range, or no power of two.
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
            sockets: true,
            processes: false,
            first_byte: false,
            server_name: false,
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

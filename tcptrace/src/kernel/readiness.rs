//! Waits for descriptors on the runtime.
#![expect(unsafe_code, reason = "the runtime asks for a promise about descriptors")]

use super::netlink::Socket;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use std::{io, os::fd::AsRawFd};
use tokio::io::{Interest, unix::AsyncFd};

/// Owns one open descriptor for its whole life, and `as_raw_fd` returns that one always.
///
/// # Safety
///
/// The runtime keeps the descriptor's number until the value is dropped.
pub(crate) unsafe trait OwnsDescriptor: AsRawFd {}

// SAFETY: its only descriptor is an OwnedFd that no method replaces.
unsafe impl OwnsDescriptor for Socket {}
// SAFETY: the map's descriptor is owned by its MapData, which no method replaces.
unsafe impl OwnsDescriptor for RingBuf<MapData> {}
// SAFETY: it wraps a RingBuf<MapData> and returns that one's descriptor.
unsafe impl OwnsDescriptor for EbpfLogger<&'static dyn log::Log> {}

/// Registers it for reading.
pub(crate) fn readable<T: OwnsDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the trait's contract is the one asked for.
    let registered = unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

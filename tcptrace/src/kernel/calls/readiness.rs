//! Waits for descriptors on the runtime.
#![expect(unsafe_code, reason = "the runtime asks for a promise about descriptors")]

use super::netlink::Socket;
use crate::kernel::namespaces::nsid::Listener;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use std::{fs::File, io, os::fd::AsRawFd};
use tokio::io::{Interest, unix::AsyncFd};

/// A type that owns one open descriptor for its whole life, which `as_raw_fd` always returns.
///
/// # Safety
///
/// The runtime keeps the descriptor's number until the value is dropped.
pub(crate) unsafe trait OwnsDescriptor: AsRawFd {}

// SAFETY: its only descriptor is an OwnedFd that no method replaces.
unsafe impl OwnsDescriptor for Socket {}
// SAFETY: it is one of two sockets, always the same, that no method replaces.
unsafe impl OwnsDescriptor for Listener {}
// SAFETY: a file is one descriptor.
unsafe impl OwnsDescriptor for File {}
// SAFETY: the map's descriptor is owned by its MapData, which no method replaces.
unsafe impl OwnsDescriptor for RingBuf<MapData> {}
// SAFETY: it wraps a RingBuf<MapData> and returns that one's descriptor.
unsafe impl OwnsDescriptor for EbpfLogger<&'static dyn log::Log> {}

/// Registers a descriptor on the runtime, to wait until it can be read from.
pub(crate) fn readable<T: OwnsDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    registered(inner, Interest::READABLE)
}

/// Registers a file of the kernel's on the runtime, to wait for a change, which such a file signals as priority data.
pub(crate) fn changing(file: File) -> io::Result<AsyncFd<File>> {
    registered(file, Interest::PRIORITY)
}

fn registered<T: OwnsDescriptor>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: the trait's contract is the one asked for.
    let registered = unsafe { AsyncFd::register_with_interest(inner, interest) };
    registered.map_err(|error| error.into_parts().1)
}

//! The version of the running kernel.

use aya::util::KernelVersion;
use std::fs;

/// Whether the running kernel is older than this. A kernel whose version cannot be read counts as newer.
pub(crate) fn kernel_before(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|v| v < KernelVersion::new(major, minor, 0))
}

/// The release of the running kernel, such as `6.1.0-18-amd64`.
pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |s| s.trim().to_owned())
}

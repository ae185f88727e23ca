//! Which kernel runs.

use aya::util::KernelVersion;
use std::fs;

/// The running kernel is older than this. Kernels that hide their version count as new.
pub(crate) fn kernel_before(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|v| v < KernelVersion::new(major, minor, 0))
}

pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |s| s.trim().to_owned())
}

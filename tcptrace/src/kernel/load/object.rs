//! The compiled kernel programs, as build.rs made them.
#![expect(unsafe_code, reason = "gives pages back")]

use rustix::{
    mm::{Advice, madvise},
    param::page_size,
};

/// An ELF object with the programs `tcptrace_tc_ingress`, `tcptrace_tc_egress`, `tcptrace_tc_ingress_l3`,
/// `tcptrace_tc_egress_l3` and `tcptrace_xdp`, the maps `EVENTS`, `PENDING` and `COUNTERS`, and the globals `SEEDS`,
/// `PENDING_MASK`, `NETNS`, `SHARED` and `KERNEL_LOG`. Aligned as an ELF parser wants it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace"));

/// Gives back the pages that it was read from: they are the program's file, where they can be read again.
pub(super) fn give_back() {
    let before = OBJECT.as_ptr().align_offset(page_size()).min(OBJECT.len());
    let pages = &OBJECT[before..];
    let len = pages.len() / page_size() * page_size();
    // SAFETY: whole pages of a constant, which is mapped from the file and never written: whoever reads them again finds
    // the same (madvise(2), MADV_DONTNEED). Where that fails they stay.
    let _ = unsafe { madvise(pages.as_ptr().cast_mut().cast(), len, Advice::LinuxDontNeed) };
}

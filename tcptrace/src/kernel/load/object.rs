//! The compiled kernel programs, which build.rs makes and this embeds.
#![expect(unsafe_code, reason = "gives pages back")]

use rustix::{
    mm::{Advice, madvise},
    param::page_size,
};

/// The ELF object with the kernel programs, their maps and the globals that are set when they are loaded. tcptrace-ebpf
/// has their source. The object is aligned as an ELF parser wants it.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcptrace"));

/// Gives back the memory that the object was read into. It is part of the program's file, from which it is read again
/// if needed.
pub(super) fn give_back() {
    let before = OBJECT.as_ptr().align_offset(page_size()).min(OBJECT.len());
    let pages = &OBJECT[before..];
    let len = pages.len() / page_size() * page_size();
    // SAFETY: these are whole pages of a constant, which is mapped from the file and never written: whoever reads them
    // again finds the same (madvise(2), MADV_DONTNEED). If the call fails, the memory stays.
    let _ = unsafe { madvise(pages.as_ptr().cast_mut().cast(), len, Advice::LinuxDontNeed) };
}

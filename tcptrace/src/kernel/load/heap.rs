//! Gives back the heap's memory that loading the programs left free.
#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "the C library's allocator is asked by a call of its own")
)]

/// Gives the heap's free memory back to the system. Loading the programs takes several MiB for a moment, and glibc
/// keeps of them what lies below memory that is still in use. Other C libraries give memory back by themselves, or
/// never.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks the heap against other threads (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0)
    };
}

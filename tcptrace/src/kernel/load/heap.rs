//! What loading left in the heap.
#![cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "the C library's allocator is asked by a call of its own")
)]

/// Gives memory that is free back to the system. Loading the programs takes several MiB for a moment, of which glibc
/// keeps what lies below something that is still in use. Other libraries give back by themselves, or never.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks the heap against other threads (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0)
    };
}

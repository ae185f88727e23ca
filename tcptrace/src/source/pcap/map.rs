//! A file's bytes as memory, one stretch at a time: packets that are looked at only for their headers are never
//! copied, and a large file never counts as this process's memory.
//!
//! The only unsafe code of the file reader.
#![expect(unsafe_code, reason = "a file can change under a mapping; nothing safe can promise otherwise")]

use memmap2::{Mmap, MmapOptions};
use std::{fs::File, io};

/// Bytes mapped at a time: enough that the calls cost nothing beside the pages, and the most that are resident.
/// More than any block that has to be in one piece.
pub(super) const STRETCH: usize = 4 << 20;

const _: () = assert!(STRETCH >= super::ng::MAX_BLOCK && STRETCH >= 2 * super::MAX_PACKET);

/// A regular file.
#[derive(Debug)]
pub(super) struct Map {
    file: File,
    len: u64,
    stretch: Option<Mmap>,
}

impl Map {
    /// The first `len` bytes of `file`; nothing is mapped yet.
    pub(super) const fn new(file: File, len: u64) -> Self {
        Self { file, len, stretch: None }
    }

    /// The file's length.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// What is mapped.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.stretch.as_deref().unwrap_or_default()
    }

    /// Maps what begins at `from`, instead of what was mapped.
    pub(super) fn go_to(&mut self, from: u64) -> io::Result<()> {
        // First away with the old one, so that there is never more than one.
        self.stretch = None;
        let left = self.len.saturating_sub(from);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(STRETCH);
        if len == 0 {
            return Ok(());
        }
        let mut options = MmapOptions::new();
        options.offset(from).len(len).populate();
        // SAFETY: the mapping is private to this reader and read-only, and lies within the length the file had.
        // Somebody who writes into the file meanwhile changes bytes that no decision was made on twice (headers
        // are copied out before they are looked at); who cuts it short ends this process with SIGBUS, as with
        // every program that maps files. No memory of ours is written either way.
        let stretch = unsafe { options.map(&self.file) }?;
        self.stretch = Some(stretch);
        Ok(())
    }
}

//! The bytes of a file in order, of which a reader gets as many in one piece as it asks for.

use std::io::{self, Read};

/// How many bytes of a file or a stream are read at a time. A pipe holds 64 KiB unless it is made larger.
const BLOCK: usize = 256 << 10;
/// How many bytes are decompressed at a time.
const DECOMPRESSED_BLOCK: usize = 16 << 10;

/// Whether the bytes that were asked for are in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fill {
    /// The bytes are in the window.
    Ready,
    /// The bytes have not arrived, and the reader did not want to wait.
    Later,
    /// The file ends before the bytes.
    End,
}

/// The bytes of a file from the position of its reader on.
pub(super) struct Window {
    stream: Stream,
    /// The offset in the file of the first byte of the buffer.
    base: u64,
    /// The position of the reader in the buffer.
    at: usize,
    /// How many bytes after the buffer are to be skipped.
    to_skip: u64,
}

struct Stream {
    read: Box<dyn Read + Send>,
    /// How many bytes are read at a time.
    most: usize,
    buffer: Vec<u8>,
    /// How many bytes of `buffer` were read.
    filled: usize,
    ended: bool,
    /// Whether reading never waits, so that it is done even for a reader that does not want to wait.
    prompt: bool,
}

impl Window {
    /// A window over a regular file, from the byte `from` on. The file is read and not mapped: truncating a mapped file
    /// kills the process that reads it with SIGBUS, in the middle of a line of output.
    pub(super) fn file(read: Box<dyn Read + Send>, from: u64) -> Self {
        let mut window = Self::of(read, BLOCK);
        (window.base, window.stream.prompt) = (from, true);
        window
    }

    /// A window over a stream.
    pub(super) fn stream(read: Box<dyn Read + Send>) -> Self {
        Self::of(read, BLOCK)
    }

    /// A window over a decompressor. What that has made in a call that ends with damage is lost, so that it is asked
    /// for little at a time.
    pub(super) fn decompressed(read: Box<dyn Read + Send>) -> Self {
        Self::of(read, DECOMPRESSED_BLOCK)
    }

    fn of(read: Box<dyn Read + Send>, most: usize) -> Self {
        let stream = Stream { read, most, buffer: Vec::new(), filled: 0, ended: false, prompt: false };
        Self { stream, base: 0, at: 0, to_skip: 0 }
    }

    /// The position of the reader as an offset in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.base + self.at as u64 + self.to_skip
    }

    /// The bytes in the window.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.stream.buffer.get(self.at..self.stream.filled).unwrap_or_default()
    }

    /// Whether the file ends exactly at the position of the reader. This is meaningful only after [`Fill::End`].
    pub(super) fn is_at_end(&self) -> bool {
        self.to_skip == 0 && self.bytes().is_empty()
    }

    /// Moves the reader on by `len` bytes that are in the window.
    #[inline]
    pub(super) const fn consume(&mut self, len: usize) {
        self.at += len;
    }

    /// Whether some of the bytes to be skipped have not been read yet.
    pub(super) const fn is_skipping(&self) -> bool {
        self.to_skip > 0
    }

    /// Moves the reader on by `len` bytes, whether they are in the window or not.
    #[inline]
    pub(super) fn skip(&mut self, len: u64) {
        let here = self.bytes().len();
        match usize::try_from(len) {
            Ok(len) if len <= here => self.at += len,
            _ => {
                self.at += here;
                self.to_skip += len - here as u64;
            }
        }
    }

    /// Gets `len` bytes in one piece into the window. Waits for them only if `wait` is true.
    #[inline]
    pub(super) fn want(&mut self, len: usize, wait: bool) -> io::Result<Fill> {
        if self.to_skip == 0 && self.bytes().len() >= len {
            return Ok(Fill::Ready);
        }
        self.refill(len, wait)
    }

    #[cold]
    fn refill(&mut self, len: usize, wait: bool) -> io::Result<Fill> {
        let Self { stream, base, at, to_skip } = self;
        loop {
            // What the reader has passed is dropped first, so that the buffer holds one piece at most.
            stream.drop_front(*at);
            *base += *at as u64;
            *at = 0;
            let passed = usize::try_from(*to_skip).unwrap_or(usize::MAX).min(stream.filled);
            stream.drop_front(passed);
            *base += passed as u64;
            *to_skip -= passed as u64;
            if stream.ended || (*to_skip == 0 && stream.filled >= len) {
                break;
            }
            if !wait && !stream.prompt {
                return Ok(Fill::Later);
            }
            stream.read_some(len)?;
        }
        Ok(if self.to_skip == 0 && self.bytes().len() >= len { Fill::Ready } else { Fill::End })
    }
}

impl Stream {
    fn drop_front(&mut self, len: usize) {
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
    }

    /// Reads once, into a buffer with room for at least `len` bytes.
    fn read_some(&mut self, len: usize) -> io::Result<()> {
        let room = len.next_power_of_two().max(BLOCK);
        if self.buffer.len() < room {
            // Zeroed memory from the allocator is not touched before it is used.
            let mut buffer = vec![0; room];
            buffer[..self.filled].copy_from_slice(&self.buffer[..self.filled]);
            self.buffer = buffer;
        }
        loop {
            let end = self.buffer.len().min(self.filled + self.most);
            match self.read.read(&mut self.buffer[self.filled..end]) {
                Ok(0) => self.ended = true,
                Ok(len) => self.filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

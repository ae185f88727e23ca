//! A file's bytes in order, with so many of them in one piece as a reader asks for.

use std::io::{self, Read};

/// Bytes a stream is read in. A pipe holds 64 KiB unless it is made larger.
const BLOCK: usize = 256 << 10;
/// The same for what is decompressed.
const DECOMPRESSED_BLOCK: usize = 16 << 10;

/// Whether the bytes asked for are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fill {
    /// They are.
    Ready,
    /// They have not arrived, and nobody wanted to wait.
    Later,
    /// The file ends before.
    End,
}

/// The bytes from where a reader stands.
pub(super) struct Window {
    stream: Stream,
    /// Where the first byte in reach lies in the file.
    base: u64,
    /// Where the reader stands, from there.
    at: usize,
    /// Bytes to pass over that are not in reach.
    skip: u64,
}

struct Stream {
    read: Box<dyn Read + Send>,
    /// Bytes asked for at a time.
    most: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read.
    filled: usize,
    ended: bool,
    /// Reading never waits.
    prompt: bool,
}

impl Window {
    /// Over a regular file, from the byte `from` on. It is read and not mapped: who cuts a mapped file short ends whoever
    /// reads it (SIGBUS), in the middle of a line.
    pub(super) fn file(read: Box<dyn Read + Send>, from: u64) -> Self {
        let mut window = Self::of(read, BLOCK);
        (window.base, window.stream.prompt) = (from, true);
        window
    }

    /// Over anything else.
    pub(super) fn stream(read: Box<dyn Read + Send>) -> Self {
        Self::of(read, BLOCK)
    }

    /// Over a decompressor, which keeps what it made in a call that ends at damage: it is called for little at a
    /// time, so that this is little.
    pub(super) fn decompressed(read: Box<dyn Read + Send>) -> Self {
        Self::of(read, DECOMPRESSED_BLOCK)
    }

    fn of(read: Box<dyn Read + Send>, most: usize) -> Self {
        let stream = Stream { read, most, buffer: Vec::new(), filled: 0, ended: false, prompt: false };
        Self { stream, base: 0, at: 0, skip: 0 }
    }

    /// Where the reader stands.
    pub(super) const fn offset(&self) -> u64 {
        self.base + self.at as u64 + self.skip
    }

    /// What is in reach from there.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.stream.buffer.get(self.at..self.stream.filled).unwrap_or_default()
    }

    /// There is nothing from there on, and the file ends just there. Meaningful after [`Fill::End`].
    pub(super) fn is_at_end(&self) -> bool {
        self.skip == 0 && self.bytes().is_empty()
    }

    /// Goes on by `len` bytes that are in reach.
    #[inline]
    pub(super) const fn step(&mut self, len: usize) {
        self.at += len;
    }

    /// What is being passed over has not all been found yet.
    pub(super) const fn is_passing(&self) -> bool {
        self.skip > 0
    }

    /// Passes over `len` bytes, whether in reach or not.
    #[inline]
    pub(super) fn advance(&mut self, len: u64) {
        let here = self.bytes().len();
        match usize::try_from(len) {
            Ok(len) if len <= here => self.at += len,
            _ => {
                self.at += here;
                self.skip += len - here as u64;
            }
        }
    }

    /// Gets `len` bytes in one piece into reach.
    #[inline]
    pub(super) fn want(&mut self, len: usize, wait: bool) -> io::Result<Fill> {
        if self.skip == 0 && self.bytes().len() >= len {
            return Ok(Fill::Ready);
        }
        self.refill(len, wait)
    }

    #[cold]
    fn refill(&mut self, len: usize, wait: bool) -> io::Result<Fill> {
        let Self { stream, base, at, skip } = self;
        loop {
            // What was passed over goes first, so that the buffer holds one piece at most.
            stream.drop_front(*at);
            *base += *at as u64;
            *at = 0;
            let passed = usize::try_from(*skip).unwrap_or(usize::MAX).min(stream.filled);
            stream.drop_front(passed);
            *base += passed as u64;
            *skip -= passed as u64;
            if stream.ended || (*skip == 0 && stream.filled >= len) {
                break;
            }
            if !wait && !stream.prompt {
                return Ok(Fill::Later);
            }
            stream.read_some(len)?;
        }
        Ok(if self.skip == 0 && self.bytes().len() >= len { Fill::Ready } else { Fill::End })
    }
}

impl Stream {
    fn drop_front(&mut self, len: usize) {
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
    }

    /// Reads what there is, once, into room for `len` bytes at least.
    fn read_some(&mut self, len: usize) -> io::Result<()> {
        let room = len.next_power_of_two().max(BLOCK);
        if self.buffer.len() < room {
            // Memory that is zero from the start is not touched before it is needed.
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

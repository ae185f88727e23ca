//! Bytes of events that are written together, and where each event ends in them.

use bytes::{Bytes, BytesMut};
use std::mem;

/// Events that are still collected into a batch.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The memory of batches that were written is used again.
    bytes: BytesMut,
    /// How many bytes there are up to the end of each event.
    ends: Vec<usize>,
}

impl Collected {
    /// Appends one event, whose bytes `write` appends.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what was collected; `None` if it has no bytes.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let (bytes, ends) = (self.bytes.split().freeze(), mem::take(&mut self.ends));
        Some(Batch { bytes, ends, written: 0, events_written: 0 })
    }

    /// Drops what was collected, and returns how many events that were.
    pub(super) fn drop_all(&mut self) -> u64 {
        self.bytes.clear();
        let events = self.ends.len() as u64;
        self.ends.clear();
        events
    }
}

/// Bytes of events, of which some may have been written.
#[derive(Debug)]
pub struct Batch {
    bytes: Bytes,
    ends: Vec<usize>,
    /// How many of the bytes are written.
    written: usize,
    /// How many of the events are written whole.
    events_written: usize,
}

impl Batch {
    /// The bytes that are not written yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// The first bytes that are not written yet.
    pub(super) fn piece(&self, bytes: usize) -> Bytes {
        self.bytes.slice(self.written..self.written + bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many events are not written whole.
    pub(super) fn events_left(&self) -> u64 {
        (self.ends.len() - self.events_written) as u64
    }

    /// Records that so many bytes more are written.
    pub fn advance(&mut self, written: usize) {
        self.written += written;
        let left = &self.ends[self.events_written..];
        self.events_written += left.partition_point(|&end| end <= self.written);
    }

    /// How many bytes of an event are written of which others are not.
    #[must_use]
    pub fn torn(&self) -> usize {
        let whole = self.events_written.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.written - whole
    }

    /// Takes back the bytes of an event that was not written whole, as they were removed again.
    pub fn mend(&mut self) {
        self.written -= self.torn();
    }

    /// How many of the bytes that are left are those of whole events and fit into `room`.
    #[must_use]
    pub fn fitting(&self, room: usize) -> usize {
        let most = self.written.saturating_add(room);
        let left = &self.ends[self.events_written..];
        match left.partition_point(|&end| end <= most) {
            0 => 0,
            events => left[events - 1] - self.written,
        }
    }

    /// How many bytes are left of the next event.
    #[must_use]
    pub fn next_event(&self) -> usize {
        // Events without bytes have nothing to write.
        let left = &self.ends[self.events_written..];
        left.iter().find(|&&end| end > self.written).map_or(0, |end| end - self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::Collected;

    #[test]
    fn bytes_are_told_by_whole_events() {
        let mut collected = Collected::default();
        assert!(collected.take().is_none(), "there is nothing");
        for event in [&b"one\n"[..], b"", b"three\n", b"4\n"] {
            collected.append(|out| out.extend_from_slice(event));
        }
        let mut batch = collected.take().expect("three lines");
        assert_eq!((batch.events_left(), batch.torn(), batch.next_event()), (4, 0, 4));
        assert_eq!((batch.fitting(3), batch.fitting(4), batch.fitting(9), batch.fitting(10)), (0, 4, 4, 10));
        batch.advance(6);
        assert_eq!((batch.events_left(), batch.torn(), batch.next_event()), (2, 2, 4));
        assert_eq!((batch.fitting(3), batch.fitting(5), batch.fitting(usize::MAX)), (0, 4, 6));
        batch.mend();
        assert_eq!(batch.rest(), b"three\n4\n");
        batch.advance(8);
        assert_eq!((batch.events_left(), batch.next_event(), batch.fitting(100)), (0, 0, 0));
    }
}

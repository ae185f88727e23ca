//! Writes bytes to a file descriptor, without ever making a live trace wait for the reader.
//!
//! Lines collect in a buffer, [`Pipe::flush`] hands the buffer to a thread of its own, and that thread makes one
//! write(2) of it. What may wait there is bounded. When a live trace meets the bound, whole batches of lines are
//! dropped and the events in them counted; a file's trace waits instead, since a file can wait too.

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};
use std::{
    collections::VecDeque,
    fmt, io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;

/// How many bytes a batch has when it is handed over without a call of [`Pipe::flush`].
const BATCH_BYTES: usize = 256 * 1024;

/// What to do when the reader is slower than the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Drop whole events and count them, as a live trace must not stall.
    Drop,
    /// Wait for the reader, as the packets of a file do not run away.
    Wait,
}

/// How many bytes may wait for the reader. They are the events of some seconds on a busy host.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Why the output ended before the trace did.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutputError {
    /// The reader has gone away, as `head` does. That is no failure.
    #[error("the reader has closed the output")]
    Closed,
    /// A write failed, for instance because the disk is full.
    #[error("cannot write the output: {error} (after {written} bytes)")]
    Write {
        /// The error that the system returned.
        error: WriteError,
        /// How many bytes were written before.
        written: u64,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes the output: {0}")]
    Start(WriteError),
}

/// An error of the operating system, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError(Errno);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&io::Error::from(self.0), f)
    }
}

/// What [`Pipe::finish`] found at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Bytes written in all.
    pub written: u64,
    /// Events that were never written: dropped under pressure, or given up on at the end.
    pub dropped: u64,
    /// Why writing ended early, if it did.
    pub result: Result<(), OutputError>,
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    bytes: Bytes,
    events: u64,
}

/// What the tracer and the thread that writes share under a lock.
#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// Bytes in `batches` and in the batch that the thread is writing.
    waiting: usize,
    /// No more batches will come: the thread ends when it has written those that are there.
    finishing: bool,
    /// How the thread has ended; None while it runs.
    ended: Option<Result<(), OutputError>>,
    written: u64,
    /// Events that the thread could not write.
    unwritten: u64,
}

/// What the tracer and the thread that writes share.
struct Shared {
    queue: Mutex<Queue>,
    /// The thread signals by this that there is room, or that it has ended.
    progress: Condvar,
    /// The tracer wakes the thread by this. It is an eventfd, so that the thread can wait for it and for the reader's
    /// going away at once.
    wake: OwnedFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere does not make the queue's plain numbers wrong.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The write fails only if the counter is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// A queue of bytes and the thread that writes them. The bytes of an event are written whole or not at all.
pub struct Pipe {
    pressure: Pressure,
    /// How many bytes may wait for the reader.
    queue_bytes: usize,
    /// Lines that were not handed over yet. The memory of lines that were is used again once they are written.
    lines: BytesMut,
    /// How many events `lines` has.
    events: u64,
    shared: Arc<Shared>,
    dropped: u64,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("pressure", &self.pressure).finish_non_exhaustive()
    }
}

impl Pipe {
    /// Starts writing to `fd`, with at most `queue_bytes` waiting for the reader. `on_end` is called once, from the
    /// writing thread, if writing ends before [`Pipe::finish`]: it can wake a trace that waits for packets.
    pub fn start(
        fd: OwnedFd,
        pressure: Pressure,
        queue_bytes: usize,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, OutputError> {
        let start = |error: Errno| OutputError::Start(WriteError(error));
        let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(start)?;
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), progress: Condvar::new(), wake });
        let writer = Writer { shared: Arc::clone(&shared), fd, written: 0 };
        thread::Builder::new()
            .name("tcptrace-output".to_owned())
            .spawn(move || writer.run(on_end))
            .map_err(|error| start(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
        Ok(Self { pressure, queue_bytes, lines: BytesMut::new(), events: 0, shared, dropped: 0 })
    }

    /// Appends the bytes of one event, which `write` writes. They wait for [`Pipe::flush`], unless the batch has grown
    /// large.
    pub fn append(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), OutputError> {
        write(&mut self.lines);
        self.events += 1;
        if self.lines.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands over the lines that have collected. It is to be called at the end of each batch of input, so that no line
    /// waits. The error says that writing has ended, also if there was nothing to hand over.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        let limit = self.queue_bytes;
        let mut queue = self.shared.lock();
        if !self.lines.is_empty() && self.pressure == Pressure::Wait {
            let full = |queue: &mut Queue| queue.waiting > limit && queue.ended.is_none();
            queue = self.shared.progress.wait_while(queue, full).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(Err(error)) = &queue.ended {
            self.dropped += std::mem::take(&mut self.events);
            self.lines.clear();
            return Err(error.clone());
        }
        if self.lines.is_empty() {
            return Ok(());
        }
        if self.pressure == Pressure::Drop && queue.waiting + self.lines.len() > limit {
            self.dropped += std::mem::take(&mut self.events);
            self.lines.clear();
            return Ok(());
        }
        hand_over(&mut queue, &mut self.lines, &mut self.events);
        drop(queue);
        self.shared.wake();
        Ok(())
    }

    /// How full the queue is, from 0 to 1: bytes that wait for the reader.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    pub fn backlog(&self) -> f64 {
        self.shared.lock().waiting as f64 / self.queue_bytes.max(1) as f64
    }

    /// Events dropped so far because the reader was too slow: `events_dropped` of the `stats` event.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Hands over the rest, even beyond the bound, and waits until all is written, but for at most `patience`: a reader
    /// that never reads must not keep Ctrl-C from working. What the reader did not take by then counts as dropped, and
    /// the thread is left in its write(2), which ends with the process.
    #[must_use]
    pub fn finish(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        let mut queue = self.shared.lock();
        hand_over(&mut queue, &mut self.lines, &mut self.events);
        queue.finishing = true;
        self.shared.wake();
        while queue.ended.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.shared.progress.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let left_behind: u64 = queue.batches.iter().map(|batch| batch.events).sum();
        Finished {
            written: queue.written,
            dropped: self.dropped + queue.unwritten + left_behind,
            result: queue.ended.clone().unwrap_or(Ok(())),
        }
    }
}

impl Drop for Pipe {
    /// Lets the thread end, also if the pipe was never finished.
    fn drop(&mut self) {
        self.shared.lock().finishing = true;
        self.shared.wake();
    }
}

fn hand_over(queue: &mut Queue, lines: &mut BytesMut, events: &mut u64) {
    if !lines.is_empty() {
        queue.waiting += lines.len();
        queue.batches.push_back(Batch { bytes: lines.split().freeze(), events: std::mem::take(events) });
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    fd: OwnedFd,
    written: u64,
}

impl Writer {
    fn run(mut self, on_end: impl FnOnce()) {
        let result = self.write_until_the_end();
        let failed = result.is_err();
        self.shared.lock().ended = Some(result);
        self.shared.progress.notify_all();
        if failed {
            on_end();
        }
    }

    fn write_until_the_end(&mut self) -> Result<(), OutputError> {
        while let Some(batch) = self.next()? {
            let len = batch.bytes.len();
            let result = self.write(batch.bytes);
            let mut queue = self.shared.lock();
            queue.waiting -= len;
            queue.written = self.written;
            queue.unwritten -= batch.events;
            if result.is_err() {
                queue.unwritten +=
                    batch.events + queue.batches.drain(..).map(|batch| batch.events).sum::<u64>();
            }
            drop(queue);
            self.shared.progress.notify_all();
            result?;
        }
        Ok(())
    }

    /// Waits for the next batch; None when no more will come. Until the batch is written its events count as unwritten,
    /// in case [`Pipe::finish`] gives up meanwhile.
    fn next(&self) -> Result<Option<Batch>, OutputError> {
        loop {
            {
                let mut queue = self.shared.lock();
                if let Some(batch) = queue.batches.pop_front() {
                    queue.unwritten += batch.events;
                    return Ok(Some(batch));
                }
                if queue.finishing {
                    return Ok(None);
                }
            }
            self.wait()?;
        }
    }

    /// Waits for something to write, or for the reader to go away: on an idle host `tcptrace | head -1` should end
    /// with its head, not with the next connection.
    fn wait(&self) -> Result<(), OutputError> {
        let mut fds = [
            PollFd::new(&self.shared.wake, PollFlags::IN),
            PollFd::new(&self.fd, PollFlags::empty()), // poll(2) always reports errors
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(self.failed(error)),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]); // sets the counter back to zero
        } else if fds[1].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return Err(OutputError::Closed);
        }
        Ok(())
    }

    /// Writes all of `bytes` by one write(2), and by more only if the system took less.
    fn write(&mut self, mut bytes: Bytes) -> Result<(), OutputError> {
        while bytes.has_remaining() {
            match rustix::io::write(&self.fd, bytes.chunk()) {
                Ok(0) => return Err(self.failed(Errno::IO)),
                Ok(n) => {
                    bytes.advance(n);
                    self.written += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for_room()?,
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Waits until the descriptor can be written to. It does not block by itself if another process that shares the
    /// terminal or the pipe with us has made it so.
    fn wait_for_room(&self) -> Result<(), OutputError> {
        match poll(&mut [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::OUT)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: Errno) -> OutputError {
        match error {
            Errno::PIPE | Errno::CONNRESET => OutputError::Closed,
            error => OutputError::Write { error: WriteError(error), written: self.written },
        }
    }
}

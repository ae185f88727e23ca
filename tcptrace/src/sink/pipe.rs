//! Writes bytes to a [`Place`], without ever making a live trace wait for the reader.
//!
//! Lines collect in a buffer, [`Pipe::flush`] hands the buffer to a thread of its own, and that thread makes one
//! write(2) of it. What may wait there is bounded. When a live trace meets the bound, whole batches of lines are
//! dropped and the events in them counted; a file's trace waits instead, since a file can wait too.
//!
//! Where a place may recover from an error, such as a full disk, the batch is kept and tried again, and what comes
//! meanwhile waits within the same bound.

use super::{
    batch::{Batch, Collected},
    place::{Descriptor, Place, PlaceError},
};
use bytes::BytesMut;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};
use std::{
    collections::VecDeque,
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;

pub use super::place::WriteError;

/// How many bytes a batch has when it is handed over without a call of [`Pipe::flush`].
const BATCH_BYTES: usize = 256 * 1024;

/// How long after an error writing is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
    /// Events dropped because there was no room for them.
    dropped: u64,
    /// The place is to be opened again.
    reopen: bool,
    /// Writing fails at present, and is tried again.
    failing: bool,
    /// What is called if writing ends early.
    on_end: Option<OnEnd>,
}

type OnEnd = Box<dyn FnOnce() + Send>;

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
    /// Events that were not handed over yet.
    collected: Collected,
    shared: Arc<Shared>,
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
        let pipe = Self::to(Descriptor(fd), pressure, queue_bytes, || ())?;
        pipe.on_end(on_end);
        Ok(pipe)
    }

    /// Starts writing to a place, with at most `queue_bytes` waiting for it. The writing thread calls `first` before
    /// anything else.
    pub fn to(
        place: impl Place + 'static,
        pressure: Pressure,
        queue_bytes: usize,
        first: impl FnOnce() + Send + 'static,
    ) -> Result<Self, OutputError> {
        let start = |error: Errno| OutputError::Start(WriteError(error));
        let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(start)?;
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), progress: Condvar::new(), wake });
        let keeps = pressure == Pressure::Drop && place.recovers();
        let writer = Writer { shared: Arc::clone(&shared), place, keeps, tried_last: false, written: 0 };
        thread::Builder::new()
            .name("tcptrace-output".to_owned())
            .spawn(move || {
                first();
                writer.run();
            })
            .map_err(|error| start(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
        Ok(Self { pressure, queue_bytes, collected: Collected::default(), shared })
    }

    /// Has `on_end` called once, from the writing thread, if writing ends before [`Pipe::finish`].
    pub fn on_end(&self, on_end: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        if matches!(queue.ended, Some(Err(_))) {
            drop(queue);
            on_end();
        } else {
            queue.on_end = Some(Box::new(on_end));
        }
    }

    /// Has the place opened again, as it may have been moved away.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.wake();
    }

    /// Appends the bytes of one event, which `write` writes. They wait for [`Pipe::flush`], unless the batch has grown
    /// large.
    pub fn append(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), OutputError> {
        self.collected.append(write);
        if self.collected.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands over the lines that have collected. It is to be called at the end of each batch of input, so that no line
    /// waits. The error says that writing has ended, also if there was nothing to hand over.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        let limit = self.queue_bytes;
        let mut queue = self.shared.lock();
        if !self.collected.is_empty() && self.pressure == Pressure::Wait {
            let full = |queue: &mut Queue| queue.waiting > limit && queue.ended.is_none();
            queue = self.shared.progress.wait_while(queue, full).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(Err(error)) = &queue.ended {
            let error = error.clone();
            queue.dropped += self.collected.drop_all();
            return Err(error);
        }
        if self.collected.is_empty() {
            return Ok(());
        }
        if self.pressure == Pressure::Drop && queue.waiting + self.collected.len() > limit {
            queue.dropped += self.collected.drop_all();
            return Ok(());
        }
        queue.take(&mut self.collected);
        drop(queue);
        self.shared.wake();
        Ok(())
    }

    /// How full the queue is, from 0 to 1: bytes that wait for the reader. While writing fails it counts as empty: to
    /// follow fewer connections would not help.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    pub fn backlog(&self) -> f64 {
        let queue = self.shared.lock();
        if queue.failing { 0.0 } else { queue.waiting as f64 / self.queue_bytes.max(1) as f64 }
    }

    /// Events dropped so far because the reader was too slow: `events_dropped` of the `stats` event.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Hands over the rest, even beyond the bound, and waits until all is written, but for at most `patience`: a reader
    /// that never reads must not keep Ctrl-C from working. What the reader did not take by then counts as dropped, and
    /// the thread is left in its write(2), which ends with the process.
    #[must_use]
    pub fn finish(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        let mut queue = self.shared.lock();
        queue.take(&mut self.collected);
        queue.finishing = true;
        self.shared.wake();
        while queue.ended.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.shared.progress.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let left_behind: u64 = queue.batches.iter().map(Batch::events_left).sum();
        Finished {
            written: queue.written,
            dropped: queue.dropped + queue.unwritten + left_behind,
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

impl Queue {
    /// Hands over what was collected.
    fn take(&mut self, collected: &mut Collected) {
        if let Some(batch) = collected.take() {
            self.waiting += batch.len();
            self.batches.push_back(batch);
        }
    }
}

/// The thread that writes.
struct Writer<P> {
    shared: Arc<Shared>,
    place: P,
    /// Whether a batch that could not be written is kept, and tried again.
    keeps: bool,
    /// Whether a place that fails was tried for the last time.
    tried_last: bool,
    written: u64,
}

/// What the thread that writes has to do next.
enum Next {
    Write(Batch),
    Reopen,
    End,
}

impl<P: Place> Writer<P> {
    fn run(mut self) {
        let result = self.write_until_the_end();
        self.place.end();
        let failed = result.is_err();
        let mut queue = self.shared.lock();
        queue.ended = Some(result);
        let on_end = queue.on_end.take();
        drop(queue);
        self.shared.progress.notify_all();
        if let Some(on_end) = on_end.filter(|_| failed) {
            on_end();
        }
    }

    fn write_until_the_end(&mut self) -> Result<(), OutputError> {
        loop {
            match self.next()? {
                Next::End => return Ok(()),
                Next::Reopen => {
                    if let Err(error) = self.place.reopen()
                        && !self.keeps
                    {
                        return Err(self.failed(error));
                    }
                }
                Next::Write(batch) => self.write(batch)?,
            }
        }
    }

    /// Waits for what is next. Until a batch is written its events count as unwritten, in case [`Pipe::finish`] gives
    /// up meanwhile.
    fn next(&mut self) -> Result<Next, OutputError> {
        loop {
            {
                let mut queue = self.shared.lock();
                if std::mem::take(&mut queue.reopen) {
                    return Ok(Next::Reopen);
                }
                if let Some(batch) = queue.batches.pop_front() {
                    queue.unwritten += batch.events_left();
                    return Ok(Next::Write(batch));
                }
                if queue.finishing {
                    return Ok(Next::End);
                }
            }
            self.wait()?;
        }
    }

    /// Waits for something to do, or for the reader to go away.
    fn wait(&mut self) -> Result<(), OutputError> {
        let tick = self.place.next_tick();
        if self.wait_at_most(tick)? {
            self.place.tick();
        }
        Ok(())
    }

    /// Waits to be woken, or for the reader to go away, and returns whether so much time has passed instead.
    fn wait_at_most(&self, patience: Option<Duration>) -> Result<bool, OutputError> {
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        // poll(2) always reports errors.
        fds.extend(self.place.watched().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(self.failed(error.into())),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]); // sets the counter back to zero
        } else if fds[1..].iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP)) {
            return Err(OutputError::Closed);
        }
        Ok(false)
    }

    /// Writes a batch, however long the place needs to recover if it does.
    fn write(&mut self, mut batch: Batch) -> Result<(), OutputError> {
        let mut failing: Option<Failing> = None;
        let result = loop {
            let (before, left) = (batch.rest().len(), batch.events_left());
            let result = self.place.write(&mut batch);
            self.written += (before.saturating_sub(batch.rest().len())) as u64;
            let mut queue = self.shared.lock();
            queue.written = self.written;
            queue.unwritten -= left - batch.events_left();
            drop(queue);
            match result {
                Ok(()) => break Ok(()),
                Err(error) if !self.keeps => break Err(self.failed(error)),
                Err(error) => {
                    if failing.is_none() {
                        failing = Some(self.begin_to_fail(error));
                    }
                    if !self.wait_to_try_again()? {
                        // The trace ends, and the place takes nothing: what waits is lost.
                        break Ok(());
                    }
                }
            }
        };
        let mut queue = self.shared.lock();
        queue.waiting -= batch.len();
        let is_written = batch.events_left() == 0;
        if !is_written {
            queue.unwritten += queue.batches.drain(..).map(|batch| batch.events_left()).sum::<u64>();
        }
        let dropped = queue.dropped;
        queue.failing = false;
        drop(queue);
        self.shared.progress.notify_all();
        if let Some(Failing { since, dropped: before }) = failing
            && is_written
        {
            self.place.recovered(dropped - before, since.elapsed());
        }
        result
    }

    /// Tells the place that it fails.
    fn begin_to_fail(&mut self, error: PlaceError) -> Failing {
        self.place.failed(error);
        let mut queue = self.shared.lock();
        queue.failing = true;
        Failing { since: Instant::now(), dropped: queue.dropped }
    }

    /// Waits until writing is to be tried again, and returns false if the trace ends instead. The place is tried once
    /// more at the end.
    fn wait_to_try_again(&mut self) -> Result<bool, OutputError> {
        let at = Instant::now() + RETRY;
        loop {
            {
                let mut queue = self.shared.lock();
                if std::mem::take(&mut queue.reopen) {
                    drop(queue);
                    // If it fails, so does the next try to write, and that tells why.
                    let _ = self.place.reopen();
                    return Ok(true);
                }
                if queue.finishing {
                    return Ok(!std::mem::replace(&mut self.tried_last, true));
                }
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wait_at_most(Some(left))? {
                return Ok(true);
            }
        }
    }

    fn failed(&self, error: PlaceError) -> OutputError {
        match error {
            PlaceError::Closed => OutputError::Closed,
            PlaceError::System(error) => OutputError::Write { error, written: self.written },
        }
    }
}

/// A time in which writing fails.
struct Failing {
    since: Instant,
    /// How many events had been dropped when it began.
    dropped: u64,
}

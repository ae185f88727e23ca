//! Where a [`Pipe`](super::pipe::Pipe) writes to: a [`Place`], of which a descriptor is the simplest.

use super::batch::Batch;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Why a place could not take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The reader has gone away.
    Closed,
    /// A system call failed.
    System(WriteError),
}

impl From<Errno> for PlaceError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            error => Self::System(WriteError(error)),
        }
    }
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody reads it any more"),
            Self::System(error) => fmt::Display::fmt(error, f),
        }
    }
}

/// An error of the operating system, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError(pub Errno);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&io::Error::from(self.0), f)
    }
}

/// Where batches are written to, by a thread of its own.
pub trait Place: Send {
    /// Writes what is left of a batch. After an error, what was not written is still in the batch, and the call can be
    /// repeated.
    fn write(&mut self, batch: &mut Batch) -> Result<(), PlaceError>;

    /// A descriptor whose errors end the writing also while there is nothing to write, as when a reader goes away.
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// How long until [`Place::tick`] is to be called, even if nothing is to be written; `None` for never.
    fn next_tick(&self) -> Option<Duration> {
        None
    }

    /// Does what is to be done at a time of the clock.
    fn tick(&mut self) {}

    /// Opens again what the place writes to, as it may have been moved away.
    fn reopen(&mut self) -> Result<(), PlaceError> {
        Ok(())
    }

    /// Whether writing may succeed later although it failed now. Then it is tried again until it does.
    fn recovers(&self) -> bool {
        false
    }

    /// Is told that writing has failed, once before it succeeds again.
    fn failed(&mut self, _: PlaceError) {}

    /// Is told that writing succeeds again, and how many events were lost since it failed.
    fn recovered(&mut self, _lost: u64, _after: Duration) {}

    /// Ends what the place has begun. Nothing more is written.
    fn end(&mut self) {}
}

/// A descriptor that is open already.
pub(super) struct Descriptor(pub(super) OwnedFd);

impl Place for Descriptor {
    /// Writes all of the batch by one write(2), and by more only if the system took less.
    fn write(&mut self, batch: &mut Batch) -> Result<(), PlaceError> {
        write_all(&self.0, batch, usize::MAX)
    }

    /// On an idle host `tcptrace | head -1` should end with its head, not with the next connection.
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Writes at most `limit` bytes of what is left of the batch.
pub(super) fn write_all(
    fd: impl rustix::fd::AsFd,
    batch: &mut Batch,
    limit: usize,
) -> Result<(), PlaceError> {
    let mut left = batch.rest().len().min(limit);
    while left > 0 {
        match rustix::io::write(&fd, &batch.rest()[..left]) {
            Ok(0) => return Err(Errno::IO.into()),
            Ok(n) => {
                batch.advance(n);
                left -= n;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for_room(fd.as_fd())?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until the descriptor can be written to. It does not block by itself if another process that shares the
/// terminal or the pipe with us has made it so.
fn wait_for_room(fd: BorrowedFd<'_>) -> Result<(), PlaceError> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

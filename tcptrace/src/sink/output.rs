//! Writes events to a file descriptor, by a sink in front of a [`Pipe`].

use super::{Sink, pipe::Pipe};
use crate::event::Event;
use std::time::Duration;

pub use super::pipe::{Finished, OutputError, Pressure, QUEUE_BYTES};

/// A sink that makes lines of events, and the pipe that they are written by.
pub struct Output {
    sink: Box<dyn Sink>,
    pipe: Pipe,
}

impl Output {
    /// Writes what `sink` makes of events by a pipe that has begun.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, pipe: Pipe) -> Self {
        Self { sink, pipe }
    }

    /// Appends the lines of one event; see [`Pipe::append`].
    pub fn event(&mut self, event: &Event) -> Result<(), OutputError> {
        let Self { sink, pipe } = self;
        pipe.append(|out| sink.event(event, out))
    }

    /// Hands over the lines of a batch at its end; see [`Pipe::flush`].
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.sink.end_of_batch();
        self.pipe.flush()
    }

    /// How full the queue is, from 0 to 1; see [`Pipe::backlog`].
    #[must_use]
    pub fn backlog(&self) -> f64 {
        self.pipe.backlog()
    }

    /// Has what is written to opened again; see [`Pipe::reopen`].
    pub fn reopen(&self) {
        self.pipe.reopen();
    }

    /// Events dropped so far; see [`Pipe::dropped`].
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.pipe.dropped()
    }

    /// Writes what is left, for at most `patience`; see [`Pipe::finish`].
    #[must_use]
    pub fn finish(self, patience: Duration) -> Finished {
        self.pipe.finish(patience)
    }
}

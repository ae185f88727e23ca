//! Sinks turn events into bytes, and do no I/O.

pub mod json;
pub mod ladder;
mod markup;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod pcapng;
#[cfg(feature = "report")]
pub mod report;
pub mod summary;
pub mod text;
pub mod units;
pub mod wrap;

use crate::event::Event;
use bytes::BytesMut;

/// Turns events into bytes.
pub trait Sink: Send {
    /// Appends what this sink has to say about `event`: whole lines, or nothing.
    fn event(&mut self, event: &Event, out: &mut BytesMut);

    /// Is called after all events that arrived together.
    fn end_of_batch(&mut self) {}
}

//! What becomes of events. A sink turns them into bytes and does no I/O.

pub mod json;
pub mod pcapng;
pub mod summary;
pub mod text;
pub mod units;
pub mod wrap;

use crate::event::Event;
use bytes::BytesMut;

/// Turns events into bytes.
pub trait Sink: Send {
    /// Appends what there is to say about `event`: whole lines, or nothing.
    fn event(&mut self, event: &Event, out: &mut BytesMut);

    /// All that came at once has been written.
    fn end_of_batch(&mut self) {}
}

//! JSON lines: one object a line, for programs.

mod line;

use super::Sink;
use crate::event::Event;
use bytes::BytesMut;
use line::Line;
use serde::Serialize as _;

/// Writes one JSON object a line, as `tcptrace schema` describes it.
#[derive(Clone, Debug, Default)]
pub struct JsonSink {
    /// The line in the making: a hundred small pieces each, which a vector takes with less ado than a shared buffer.
    line: Vec<u8>,
}

impl Sink for JsonSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        self.line.clear();
        // No event has what Line does not know, and a test sees all kinds; half a line would be a lie.
        if event.serialize(Line::<false>(&mut self.line)).is_err() {
            log::error!("an event that JSON cannot say: {event:?}");
            return;
        }
        self.line.push(b'\n');
        out.extend_from_slice(&self.line);
    }
}

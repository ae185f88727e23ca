//! JSON lines: one object a line, for programs.

use super::Sink;
use crate::event::Event;
use bytes::{BufMut as _, BytesMut};

/// Writes one JSON object a line, as `tcptrace schema` describes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSink;

impl Sink for JsonSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        let start = out.len();
        // Neither the events (no map with keys that are not strings) nor the buffer can fail; half a line would be a lie.
        match serde_json::to_writer((&mut *out).writer(), event) {
            Ok(()) => out.put_u8(b'\n'),
            Err(error) => {
                log::error!("an event that JSON cannot say: {error}");
                out.truncate(start);
            }
        }
    }
}

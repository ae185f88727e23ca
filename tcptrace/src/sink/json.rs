//! JSON lines: one object a line, for programs.

use super::Sink;
use crate::event::Event;

/// Writes one JSON object a line, as `tcptrace schema` describes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSink;

impl Sink for JsonSink {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        let start = out.len();
        // Neither the events (no map with keys that are not strings) nor a Vec can fail; half a line would be a lie.
        match serde_json::to_writer(&mut *out, event) {
            Ok(()) => out.push(b'\n'),
            Err(error) => {
                log::error!("an event that JSON cannot say: {error}");
                out.truncate(start);
            }
        }
    }
}

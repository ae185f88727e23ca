//! JSON lines: one object a line, for programs.

mod events;
mod ids;
mod line;
mod put;

use super::Sink;
use crate::event::Event;
use bytes::BytesMut;
use ids::Ids;
use line::Line;
use serde::Serialize as _;

/// Writes one JSON object a line, as `tcptrace schema` describes it.
#[derive(Clone, Debug, Default)]
pub struct JsonSink {
    /// The line in the making: a hundred small pieces each, which a vector takes with less ado than a shared buffer.
    line: Vec<u8>,
    ids: Ids,
}

impl Sink for JsonSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        let Self { line, ids } = self;
        line.clear();
        match event {
            Event::Established(event) => events::established(event, ids, line),
            Event::Connection(event) => events::connection(event, ids, line),
            Event::Transition(event) => events::transition(event, ids, line),
            Event::Segment(event) => events::segment(event, ids, line),
            Event::Anomaly(event) => events::anomaly(event, ids, line),
            // Rare enough for their derives.
            Event::Start(_) | Event::IcmpError(_) | Event::Stats(_) => {
                // No event has what Line does not know, and a test sees all kinds; half a line would be a lie.
                if event.serialize(Line::<false>(line)).is_err() {
                    log::error!("an event that JSON cannot say: {event:?}");
                    return;
                }
            }
        }
        line.push(b'\n');
        out.extend_from_slice(line);
    }
}

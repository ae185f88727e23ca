//! JSON lines: one object a line, for programs.

mod ids;

use super::Sink;
use crate::event::{Event, Kind, Line, Put as _};
use bytes::BytesMut;
use ids::Ids;

/// Writes one JSON object a line, as `tcptrace schema` describes it.
#[derive(Clone, Debug, Default)]
pub struct JsonSink {
    line: Line,
    ids: Ids,
}

impl JsonSink {
    /// A sink that leaves out fields that are null, false or an empty array.
    #[must_use]
    pub fn compact() -> Self {
        let mut sink = Self::default();
        sink.line.is_compact = true;
        sink
    }
}

impl Sink for JsonSink {
    fn event(&mut self, event: &Event, out: &mut BytesMut) {
        let Self { line, ids } = self;
        line.clear();
        line.community_id = event.common().map(|common| ids.of(common, event.kind() != Kind::Connection));
        event.put(line);
        line.push(b'\n');
        out.extend_from_slice(line);
    }
}

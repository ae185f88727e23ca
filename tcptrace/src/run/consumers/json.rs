//! Writes events as JSON lines to the standard output, for programs.

use super::{Opened, Opening, lines::Lines};
use crate::{cli::Format, sink::json::JsonSink};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    if opening.config.output.format != Format::Json {
        return None;
    }
    let is_compact = opening.config.output.compact;
    Lines::to_stdout(opening, Box::new(move |_| Box::new(sink(is_compact))))
}

/// What makes lines of JSON, with or without fields that say nothing.
pub(super) fn sink(is_compact: bool) -> JsonSink {
    if is_compact { JsonSink::compact() } else { JsonSink::default() }
}

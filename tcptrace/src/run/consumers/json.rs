//! Writes events as JSON lines to the standard output, for programs.

use super::{Opened, Opening, lines::Lines};
use crate::{cli::Format, sink::json::JsonSink};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    if opening.config.output.format != Format::Json {
        return None;
    }
    Lines::to_stdout(opening, Box::new(|_| Box::new(JsonSink::default())))
}

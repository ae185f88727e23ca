//! Writes events as JSON lines to the standard output, for programs.

use super::{Opened, Opening, lines::Lines};
use crate::{cli::Format, sink::json::JsonSink};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let asked = opening.config.output.format == Format::Json;
    asked.then(|| Ok(Lines::open(opening.config, Box::new(|_| Box::new(JsonSink::default())))))
}

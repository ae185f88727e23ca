//! Draws the ladders of connections: of a capture file, or of the lines of JSON that a trace has written.

use super::{
    RunError,
    events::{EventFiles, Selection},
    filter, print,
    screen::Screen,
};
use crate::{
    cli::ShowConfig,
    confine::{self, Purpose},
    event::Event,
    sink::{
        Sink as _,
        ladder::{LadderForm, LadderSink},
        text::{TextOptions, TextSink, TimeFormat},
    },
    stderr,
};
use bytes::BytesMut;
use jiff::tz::TimeZone;
use std::slice;

/// How many bytes are drawn before they are written.
const BATCH: usize = 1 << 16;

/// Draws what is asked for on the standard output.
pub fn show(config: &ShowConfig) -> Result<(), RunError> {
    let filter = filter::compile(&config.filter)?;
    let mut drawing = Drawing::new(config);
    let files = EventFiles::open(slice::from_ref(&config.file))?;
    confine::confine(Purpose::File, &[])?;
    let read = files.read(&Selection::new(filter, config.decap), &mut |event| drawing.event(event));
    // Damage does not take back what was drawn before it.
    drawing.end()?;
    read
}

/// The ladders, on their way to the standard output.
struct Drawing {
    sink: LadderSink,
    drawn: BytesMut,
    /// Whether somebody reads.
    is_read: bool,
}

impl Drawing {
    fn new(config: &ShowConfig) -> Self {
        let screen = Screen::new(config.width);
        let head = TextSink::new(TextOptions {
            interfaces: false,
            color: false,
            zone: TimeZone::system(),
            times: TimeFormat::Date,
            width: screen.width(),
        });
        let form = if config.svg { LadderForm::Svg } else { LadderForm::Text { width: screen.columns() } };
        Self { sink: LadderSink::new(form, config.only, head), drawn: BytesMut::new(), is_read: true }
    }

    /// Draws, and writes what was drawn if that is much. Returns false if nobody reads any more.
    fn event(&mut self, event: &Event) -> Result<bool, RunError> {
        self.sink.event(event, &mut self.drawn);
        if self.drawn.len() >= BATCH {
            self.write_all()?;
        }
        Ok(self.is_read)
    }

    fn write_all(&mut self) -> Result<(), RunError> {
        self.is_read &= print(&self.drawn)?;
        self.drawn.clear();
        Ok(())
    }

    /// Writes the rest, and says so if there was nothing to draw.
    fn end(mut self) -> Result<(), RunError> {
        if self.sink.drawn() == 0 {
            stderr::say("no connection matches");
        }
        self.write_all()
    }
}

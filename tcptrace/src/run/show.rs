//! Draws the ladders of connections: of a capture file, or of the lines of JSON that a trace has written.

use super::{RunError, filter, screen::Screen};
use crate::{
    cli::ShowConfig,
    confine::{self, Purpose},
    event::Event,
    filter::Filter,
    segment::{Direction, Flow, mapped},
    sink::{
        Sink as _,
        ladder::{LadderForm, LadderSink},
        text::{TextOptions, TextSink, TimeFormat},
    },
    source::pcap::{CaptureOptions, Files, PcapSource, Reader},
    stderr,
    track::{self, Tracker},
};
use bytes::BytesMut;
use jiff::tz::TimeZone;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
};

/// How many bytes are drawn before they are written.
const BATCH: usize = 1 << 16;

/// The width of what goes to no terminal.
const USUAL_WIDTH: usize = 80;

/// Draws what is asked for on the standard output.
pub fn show(config: &ShowConfig) -> Result<(), RunError> {
    let filter = filter::compile(&config.filter)?;
    let read = |source| RunError::Read { path: config.file.clone(), source };
    // What is not a file can be read once, and is taken for a capture.
    let is_file = config.file.metadata().is_ok_and(|file| file.is_file());
    let drawing = Drawing::new(config);
    if is_file && begins_with_a_brace(&config.file).map_err(read)? {
        events(config, &filter, drawing)
    } else {
        capture(config, filter, drawing)
    }
}

/// Whether a file is one of lines of JSON. No capture begins so.
fn begins_with_a_brace(path: &Path) -> io::Result<bool> {
    let mut first = [0];
    Ok(File::open(path)?.read(&mut first)? == 1 && first == *b"{")
}

/// Draws the connections of a capture file. Those that come before damage in it are drawn, and then the damage is told.
fn capture(config: &ShowConfig, filter: Filter, mut drawing: Drawing) -> Result<(), RunError> {
    let options = CaptureOptions { filter: filter.clone(), decap: config.decap, ..CaptureOptions::default() };
    let unread = Reader::open_unread(&config.file)?;
    confine::confine(Purpose::File, &[])?;
    let mut source = PcapSource::new(Files::open(vec![unread])?, &options);
    let mut tracker = Tracker::new(track::Config::default());
    tracker.set_filter(filter);
    let mut inputs = Vec::new();
    let read = loop {
        let more = source.next_batch(&mut inputs);
        for input in inputs.drain(..) {
            tracker.input(&input, &mut |event| drawing.event(&event));
        }
        if !matches!(more, Ok(true)) || !drawing.write()? {
            break more;
        }
    };
    tracker.finish(source.last_packet(), &mut |event| drawing.event(&event));
    drawing.end()?;
    read.map(drop).map_err(RunError::from)
}

/// Draws the connections of lines of JSON.
fn events(config: &ShowConfig, filter: &Filter, mut drawing: Drawing) -> Result<(), RunError> {
    let read = |source| RunError::Read { path: config.file.clone(), source };
    let file = File::open(&config.file).map_err(read)?;
    confine::confine(Purpose::File, &[])?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(read)?;
        let event: Event = serde_json::from_str(&line).map_err(|error| RunError::Line {
            path: config.file.clone(),
            line: number + 1,
            reason: error.to_string(),
        })?;
        if takes(filter, &event) {
            drawing.event(&event);
        }
        if !drawing.write()? {
            break;
        }
    }
    drawing.end()
}

/// Whether the filter takes the connection of an event. How its first segment went is not in that.
fn takes(filter: &Filter, event: &Event) -> bool {
    let Some(common) = event.common() else { return false };
    let tags = [common.vlan.outer, common.vlan.inner];
    let flow = Flow {
        src: mapped(common.client.ip),
        dst: mapped(common.server.ip),
        src_port: common.client.port,
        dst_port: common.server.port,
        interface: 0,
        vlan: tags.map(|tag| tag.unwrap_or(Flow::NO_VLAN)),
        ipv6: common.ip_version == 6,
        tunnel: 0,
    };
    filter.takes(&flow, Direction::Unknown)
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
        let form = if config.svg {
            LadderForm::Svg
        } else {
            LadderForm::Text { width: screen.width().columns().unwrap_or(USUAL_WIDTH) }
        };
        Self { sink: LadderSink::new(form, config.only, head), drawn: BytesMut::new(), is_read: true }
    }

    fn event(&mut self, event: &Event) {
        self.sink.event(event, &mut self.drawn);
    }

    /// Writes what was drawn, if that is much. Returns false if nobody reads any more.
    fn write(&mut self) -> Result<bool, RunError> {
        if self.drawn.len() >= BATCH {
            self.write_all()?;
        }
        Ok(self.is_read)
    }

    fn write_all(&mut self) -> Result<(), RunError> {
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(&self.drawn).and_then(|()| stdout.flush());
        self.drawn.clear();
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_read = false,
            result => result.map_err(RunError::system("write to stdout"))?,
        }
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

//! The events of files that a subcommand reads: of captures, whose connections are traced first, or of the lines of JSON that
//! a trace has written.

use super::{
    RunError,
    progress::Progress,
    reading::{Batch, Pace, Reading, SoFar},
};
use crate::{
    event::{Event, Stats},
    filter::Filter,
    segment::{Direction, Flow, mapped},
    source::pcap::{CaptureOptions, Content, Files, Lines, PcapSource, Reader, Unread},
    track::{self, Tracker},
};
use std::{fs::File, io::PipeReader, path::PathBuf, sync::Arc};
use tcptrace_common::wire::tunnel::Decap;

/// Files that are open, so that nothing has to be opened any more once the process is confined.
pub(super) struct EventFiles(Vec<Unread>);

/// Files that are read as one.
enum Part {
    /// Captures, whose packets are merged by time, so that a connection may begin in one and end in another.
    Captures(Box<Files>),
    /// Lines of JSON.
    Lines(Box<Lines>),
}

/// Which connections are read, and how captures are traced.
pub(super) struct Selection {
    /// Takes the connections.
    pub(super) filter: Filter,
    /// The tunnels of captures that are looked into.
    pub(super) decap: Decap,
    /// Whether the first data of captures is read for the name of the server.
    pub(super) server_name: bool,
    /// How the connections of captures are followed.
    pub(super) tracker: track::Config,
    /// Whether a person at the terminal is not told how far the reading is.
    pub(super) quiet: bool,
}

impl Selection {
    /// A selection that looks for nothing else, with the usual bounds.
    pub(super) fn new(filter: Filter, decap: Decap) -> Self {
        Self { filter, decap, server_name: false, tracker: track::Config::default(), quiet: false }
    }
}

/// Takes an event. It returns false if no more are wanted.
type Take<'a> = &'a mut dyn FnMut(&Event) -> Result<bool, RunError>;

impl EventFiles {
    /// Opens captures and files of JSON lines, plain or compressed. `-` is the standard input.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, RunError> {
        let files = paths.iter().map(|path| Reader::open_unread(path)).collect::<Result<_, _>>()?;
        Ok(Self(files))
    }

    /// Whether one of them is this file.
    pub(super) fn have(&self, file: &File) -> bool {
        self.0.iter().any(|unread| unread.is_same_file(file))
    }

    /// The same files, of which streams are not waited for once `until` can be read from.
    pub(super) fn interrupted_by(self, until: &Arc<PipeReader>) -> Self {
        Self(self.0.into_iter().map(|file| file.interrupted_by(Arc::clone(until))).collect())
    }

    /// Reads the events of the connections that are selected, until there are no more or none is wanted. Where a file is
    /// damaged, the events before the damage are given, and then the damage is the error.
    pub(super) fn read(self, selection: &Selection, take: Take<'_>) -> Result<(), RunError> {
        for part in self.parts()? {
            let wanted = match part {
                Part::Captures(files) => captures(*files, selection, take)?,
                Part::Lines(lines) => events(*lines, selection, take)?,
            };
            if !wanted {
                break;
            }
        }
        Ok(())
    }

    /// Finds out what the files are, each by its first byte.
    fn parts(self) -> Result<Vec<Part>, RunError> {
        let (mut captures, mut parts) = (Vec::new(), Vec::new());
        for file in self.0 {
            match file.content()? {
                Content::Lines(lines) => parts.push(Part::Lines(lines)),
                Content::Stream(files) => parts.push(Part::Captures(files)),
                Content::Capture(unread) => captures.push(unread),
            }
        }
        if !captures.is_empty() {
            parts.insert(0, Part::Captures(Box::new(Files::open(captures)?)));
        }
        Ok(parts)
    }
}

/// Gives the events of captures, and at last their counters, which tell what they lack. Returns whether more are wanted.
fn captures(files: Files, selection: &Selection, take: Take<'_>) -> Result<bool, RunError> {
    let filter = selection.filter.clone();
    let options = CaptureOptions {
        filter: filter.clone(),
        decap: selection.decap,
        first_byte: selection.tracker.first_byte,
        server_name: selection.server_name,
        ..CaptureOptions::default()
    };
    let source = PcapSource::new(files, &options);
    let mut reading =
        Reading::begin(source, false, Pace::fastest()).map_err(RunError::system("start a thread"))?;
    let mut tracker = Tracker::new(selection.tracker);
    tracker.set_filter(filter);
    let mut batch = Batch::default();
    let mut taken = Ok(true);
    let mut progress = Progress::new(selection.quiet);
    let read = loop {
        let more = reading.next(&mut batch);
        tracker.inputs(&batch.inputs, &mut |event| give(&event, take, &mut taken));
        progress.step(|| reading.so_far().position);
        if !matches!((&more, &taken), (Ok(true), Ok(true))) {
            break more;
        }
    };
    let SoFar { last_packet, counters, .. } = reading.so_far();
    tracker.finish(last_packet, &mut |event| give(&event, take, &mut taken));
    let stats = Stats { ts: last_packet, last: true, ..counters };
    give(&Event::Stats(Box::new(stats)), take, &mut taken);
    let wanted = taken?;
    read?;
    Ok(wanted)
}

/// Gives an event, unless the one before was the last that was wanted.
fn give(event: &Event, take: Take<'_>, taken: &mut Result<bool, RunError>) {
    if matches!(taken, Ok(true)) {
        *taken = take(event);
    }
}

/// Gives the events of lines of JSON. Returns whether more are wanted.
fn events(mut lines: Lines, selection: &Selection, take: Take<'_>) -> Result<bool, RunError> {
    let mut progress = Progress::new(selection.quiet);
    while let Some(line) = lines.next()? {
        let event: Event = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(error) => {
                let (name, line) = (lines.name().to_owned(), lines.count());
                return Err(RunError::Line { name, line, reason: error.to_string() });
            }
        };
        if takes(&selection.filter, &event) && !take(&event)? {
            return Ok(false);
        }
        progress.step(|| lines.position());
    }
    Ok(true)
}

/// Whether the filter takes the connection of an event; it takes each event that is of none. How the connection's first segment
/// went is not in an event.
fn takes(filter: &Filter, event: &Event) -> bool {
    let Some(common) = event.common() else { return true };
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

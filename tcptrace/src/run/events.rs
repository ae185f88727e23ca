//! The events of files that a subcommand reads: of captures, whose connections are traced first, or of the lines of JSON that
//! a trace has written.

use super::RunError;
use crate::{
    event::Event,
    filter::Filter,
    segment::{Direction, Flow, mapped},
    source::pcap::{CaptureOptions, Files, PcapSource, Reader, Unread},
    track::{self, Tracker},
};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, PipeReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tcptrace_common::wire::tunnel::Decap;

/// Files that are open, so that nothing has to be opened any more once the process is confined.
pub(super) struct EventFiles {
    parts: Vec<Part>,
}

/// Files that are read as one.
enum Part {
    /// Captures, whose packets are merged by time, so that a connection may begin in one and end in another.
    Captures(Vec<Unread>),
    /// Lines of JSON.
    Lines { path: PathBuf, file: File },
}

/// Which connections are read, and how captures are traced.
pub(super) struct Selection {
    /// Takes the connections.
    pub(super) filter: Filter,
    /// The tunnels of captures that are looked into.
    pub(super) decap: Decap,
    /// Whether the first data of captures is looked for, and read for the name of the server.
    pub(super) first_data: [bool; 2],
    /// Bounds of the tracker of captures.
    pub(super) tracker: track::Config,
}

impl Selection {
    /// A selection that looks for nothing else, with the usual bounds.
    pub(super) fn new(filter: Filter, decap: Decap) -> Self {
        Self { filter, decap, first_data: [false; 2], tracker: track::Config::default() }
    }
}

/// Takes an event. It returns false if no more are wanted.
type Take<'a> = &'a mut dyn FnMut(&Event) -> Result<bool, RunError>;

impl EventFiles {
    /// Opens captures and files of JSON lines, each of which tells by its first byte what it is. `-` is a capture on the
    /// standard input.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, RunError> {
        let (mut captures, mut parts) = (Vec::new(), Vec::new());
        for path in paths {
            match lines(path)? {
                Some(file) => parts.push(Part::Lines { path: path.clone(), file }),
                None => captures.push(Reader::open_unread(path)?),
            }
        }
        if !captures.is_empty() {
            parts.insert(0, Part::Captures(captures));
        }
        Ok(Self { parts })
    }

    /// The same files, of which captures are not waited for once `until` can be read from.
    pub(super) fn interrupted_by(self, until: &Arc<PipeReader>) -> Self {
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Captures(unread) => {
                Part::Captures(unread.into_iter().map(|it| it.interrupted_by(Arc::clone(until))).collect())
            }
            lines @ Part::Lines { .. } => lines,
        });
        Self { parts: parts.collect() }
    }

    /// Reads the events of the connections that are selected, until there are no more or none is wanted. Where a capture is
    /// damaged, the events before the damage are given, and then the damage is the error.
    pub(super) fn read(self, selection: &Selection, take: Take<'_>) -> Result<(), RunError> {
        for part in self.parts {
            let wanted = match part {
                Part::Captures(unread) => captures(unread, selection, take)?,
                Part::Lines { path, file } => events(&path, file, &selection.filter, take)?,
            };
            if !wanted {
                break;
            }
        }
        Ok(())
    }
}

/// Opens a file if it is one of JSON lines. No capture begins with a brace. What is not a file can be read once, and is taken
/// for a capture.
fn lines(path: &Path) -> Result<Option<File>, RunError> {
    let read = |source| RunError::Read { path: path.to_owned(), source };
    if !path.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(None);
    }
    let mut first = [0];
    let mut file = File::open(path).map_err(read)?;
    let is_lines = file.read(&mut first).map_err(read)? == 1 && first == *b"{";
    file.rewind().map_err(read)?;
    Ok(is_lines.then_some(file))
}

/// Gives the events of captures. Returns whether more are wanted.
fn captures(unread: Vec<Unread>, selection: &Selection, take: Take<'_>) -> Result<bool, RunError> {
    let filter = selection.filter.clone();
    let options = CaptureOptions {
        filter: filter.clone(),
        decap: selection.decap,
        first_byte: selection.first_data[0],
        server_name: selection.first_data[1],
        ..CaptureOptions::default()
    };
    let mut source = PcapSource::new(Files::open(unread)?, &options);
    let mut tracker = Tracker::new(selection.tracker);
    tracker.set_filter(filter);
    let mut inputs = Vec::new();
    let mut taken = Ok(true);
    let read = loop {
        let more = source.next_batch(&mut inputs);
        for input in inputs.drain(..) {
            tracker.input(&input, &mut |event| give(&event, take, &mut taken));
        }
        if !matches!((&more, &taken), (Ok(true), Ok(true))) {
            break more;
        }
    };
    tracker.finish(source.last_packet(), &mut |event| give(&event, take, &mut taken));
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
fn events(path: &Path, file: File, filter: &Filter, take: Take<'_>) -> Result<bool, RunError> {
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        let event: Event = serde_json::from_str(&line).map_err(|error| RunError::Line {
            path: path.to_owned(),
            line: number + 1,
            reason: error.to_string(),
        })?;
        if takes(filter, &event) && !take(&event)? {
            return Ok(false);
        }
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

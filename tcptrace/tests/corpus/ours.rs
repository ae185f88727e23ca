//! What `tcptrace -r` makes of a capture, in process: its events, each with the number of the packet behind it.

use super::stream::{Stream, plain};
use libtest_mimic::Failed;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::Path,
};
use tcptrace::{
    event::{AnomalyReason, Connection, Event, Kind, Kinds, Role, SegmentEvent},
    segment::{Segment, Timestamp},
    source::pcap::{CaptureOptions, Captured, FileError, PcapSource, Reader},
    track::{Config, Tracker},
};
use tcptrace_common::wire::{Unparsable, tunnel::Decap};

/// One lifecycle segment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The packet's number in the file, from 1.
    pub(crate) frame: u64,
    pub(crate) segment: SegmentEvent,
    /// Its connection was reported before.
    pub(crate) late: bool,
    pub(crate) anomaly: Option<AnomalyReason>,
}

impl Seen {
    pub(crate) fn id(&self) -> u64 {
        self.segment.common.id
    }

    pub(crate) fn source(&self) -> (IpAddr, u16) {
        let common = &self.segment.common;
        let end = if self.segment.sender == Role::Client { &common.client } else { &common.server };
        (plain(end.ip), end.port)
    }

    fn destination(&self) -> (IpAddr, u16) {
        let common = &self.segment.common;
        let end = if self.segment.sender == Role::Client { &common.server } else { &common.client };
        (plain(end.ip), end.port)
    }

    /// The same addresses and ports, in either direction.
    pub(crate) fn is_between(&self, stream: &Stream) -> bool {
        let ends = (stream.a.address(), stream.b.address());
        let (source, destination) = (Some(self.source()), Some(self.destination()));
        ends == (source, destination) || ends == (destination, source)
    }
}

/// A capture as we see it.
#[derive(Default)]
pub(crate) struct Ours {
    pub(crate) seen: Vec<Seen>,
    pub(crate) connections: HashMap<u64, Connection>,
    /// Packets whose IP version is not the frame's.
    pub(crate) bad_version: u64,
}

impl Ours {
    /// Reads a capture, looking into all tunnels, and tracks what is in it.
    pub(crate) fn of(path: &Path) -> Result<Self, Failed> {
        Self::with(path, Decap::all())
    }

    /// The same, looking into these tunnels.
    pub(crate) fn with(path: &Path, decap: Decap) -> Result<Self, Failed> {
        let options = CaptureOptions { buckets: 1 << 12, decap, ..CaptureOptions::default() };
        let mut source = PcapSource::new(Reader::open(path)?, &options);
        let wants = Kinds::ALL.without(Kind::Transition);
        let mut tracker = Tracker::new(Config { wants, ..Config::default() });
        let mut frames = Frames::of(path)?;
        let mut ours = Self::default();
        let (mut inputs, mut numbers, mut last) = (Vec::new(), Vec::new(), Timestamp::default());
        let mut by_segment = HashMap::new();
        let mut more = true;
        while more {
            let mut wrong = None;
            more = source.next_batch_with(&mut inputs, |what, packet| {
                match frames.number_of(what.segment(), packet) {
                    Ok(number) => numbers.push(number),
                    Err(error) => wrong = Some(error),
                }
            })?;
            if let Some(error) = wrong {
                return Err(error.into());
            }
            let mut numbers = numbers.drain(..);
            for input in inputs.drain(..) {
                // What is not of a packet has no number, and makes no event by itself.
                let mut number = 0;
                if let Some(segment) = input.segment() {
                    last = last.max(segment.ts);
                    number = numbers.next().ok_or("a segment without a packet")?;
                    by_segment.insert((segment.ts, segment.seq.0, segment.flags.0), number);
                }
                // What comes while a reset is doubted is told later.
                let frame_of = |event: &Event| match event {
                    Event::Segment(it) if input.ts() != Some(it.common.ts) => {
                        by_segment.get(&(it.common.ts, it.seq, it.flags.0)).copied().unwrap_or(number)
                    }
                    _ => number,
                };
                tracker.input(&input, &mut |event| ours.take(frame_of(&event), event));
            }
        }
        ours.bad_version = source.counters().unparsable[Unparsable::BadVersion as usize];
        let frame_of = |event: &Event| match event {
            Event::Segment(it) => {
                by_segment.get(&(it.common.ts, it.seq, it.flags.0)).copied().unwrap_or_default()
            }
            _ => 0,
        };
        tracker.finish(last, &mut |event| ours.take(frame_of(&event), event));
        Ok(ours)
    }

    fn take(&mut self, frame: u64, event: Event) {
        match event {
            Event::Segment(segment) => {
                let late = self.connections.contains_key(&segment.common.id);
                self.seen.push(Seen { frame, segment, late, anomaly: None });
            }
            Event::Anomaly(anomaly) => {
                if let Some(seen) = self.seen.last_mut().filter(|seen| seen.id() == anomaly.common.id) {
                    seen.anomaly = Some(anomaly.reason);
                }
            }
            Event::Connection(connection) => {
                self.connections.insert(connection.common.id, *connection);
            }
            _ => {}
        }
    }

    /// The kinds of tunnels that a stream was found in, those within each other together.
    pub(crate) fn tunnels_of(&self, stream: &Stream) -> BTreeSet<String> {
        let found = self.of_stream(stream).into_iter().map(|seen| {
            let layers = seen.segment.common.tunnel.iter();
            layers.map(|tunnel| tunnel.kind.0.name()).collect::<Vec<_>>().join(":")
        });
        found.filter(|kinds| !kinds.is_empty()).collect()
    }

    /// Ours of what tshark calls one stream.
    pub(crate) fn of_stream(&self, stream: &Stream) -> Vec<&Seen> {
        let frames = stream.first_frame..=stream.last_frame;
        self.seen.iter().filter(|seen| frames.contains(&seen.frame) && seen.is_between(stream)).collect()
    }
}

/// Finds the packet behind a segment by reading the file beside the source.
struct Frames {
    reader: Reader,
    number: u64,
}

impl Frames {
    fn of(path: &Path) -> Result<Self, FileError> {
        Ok(Self { reader: Reader::open(path)?, number: 0 })
    }

    fn number_of(&mut self, segment: &Segment, packet: Captured<'_>) -> Result<u64, String> {
        while let Some(next) = self.reader.next().map_err(|error| error.to_string())? {
            self.number += 1;
            if next.ts == segment.ts && next.data.starts_with(packet.headers) {
                return Ok(self.number);
            }
        }
        Err(format!("no packet behind {segment:?}"))
    }
}

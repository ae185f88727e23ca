//! What can be done with a record, each with all that has to be done before.

use super::stream::{INTERFACE, Stream, input};
use bytes::BytesMut;
use std::{error::Error, hint::black_box, sync::Arc};
use tcptrace::{
    event::{Event, Kind, Kinds},
    segment::Input,
    sink::{
        Sink,
        json::JsonSink,
        metrics::{Metrics, Options},
        pcapng::{Origin, Writer},
        summary::Summary,
        text::{TextOptions, TextSink, TimeFormat, Width},
    },
    track::{Config, Tracker},
};

/// Output is handed over when there is so much of it.
const BATCH: usize = 256 * 1024;
/// Records that are tracked together, as those are that a busy ring has.
const TOGETHER: usize = 256;
/// The wall clock's distance, which every event is moved by.
const OFFSET_NS: i64 = 1_767_225_600_000_000_000;

pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) start: fn() -> State,
}

const LIVES: Kinds = Kinds::NONE.with(Kind::Established).with(Kind::Connection);

#[rustfmt::skip]
pub(crate) const LAYERS: [Layer; 10] = [
    Layer { name: "decode", about: "decode", start: || State::new(None, Out::Nowhere) },
    Layer { name: "track", about: "+ track, telling nothing", start: || State::new(Some(Kinds::NONE), Out::Nowhere) },
    Layer { name: "events", about: "+ track, established and connection", start: || State::new(Some(LIVES), Out::Nowhere) },
    Layer { name: "summary", about: "  + summary", start: || State::new(Some(LIVES), Out::Summary(Box::default())) },
    Layer { name: "metrics", about: "  + metrics", start: || State::new(Some(LIVES), Out::Metrics(metrics())) },
    Layer { name: "json", about: "  + JSON", start: || State::new(Some(LIVES), Out::Sink(Box::new(JsonSink::default()))) },
    Layer { name: "compact", about: "  + JSON, compact", start: || State::new(Some(LIVES), Out::Sink(Box::new(JsonSink::compact()))) },
    Layer { name: "text", about: "  + text", start: || State::new(Some(LIVES), Out::Sink(Box::new(text()))) },
    Layer { name: "json-all", about: "+ track, all events + JSON", start: || State::new(Some(Kinds::ALL), Out::Sink(Box::new(JsonSink::default()))) },
    Layer { name: "pcapng", about: "+ track, telling nothing + pcapng", start: || State::new(Some(Kinds::NONE), Out::Pcapng(Writer::new())) },
];

fn text() -> TextSink {
    TextSink::new(TextOptions {
        interfaces: false,
        color: false,
        zone: jiff::tz::TimeZone::UTC,
        times: TimeFormat::OfDay,
        width: Width::default(),
    })
}

fn metrics() -> Metrics {
    Metrics::new(Options { top: 100, max_connections: 262_144 })
}

enum Out {
    Nowhere,
    Metrics(Metrics),
    Summary(Box<Summary>),
    Sink(Box<dyn Sink>),
    Pcapng(Writer),
}

/// One layer at work.
pub(crate) struct State {
    tracker: Option<Tracker>,
    out: Out,
    bytes: BytesMut,
    block: Vec<u8>,
    written: usize,
    connections: u64,
    passes: u32,
}

impl State {
    fn new(wants: Option<Kinds>, out: Out) -> Self {
        let config = |wants| Config { wants, max_connections: 262_144, ..Config::default() };
        let tracker = wants.map(|wants| {
            let mut tracker = Tracker::new(config(wants));
            tracker.name_interface(INTERFACE, Arc::from("eth0"));
            tracker
        });
        let bytes = BytesMut::with_capacity(2 * BATCH);
        Self { tracker, out, bytes, block: Vec::new(), written: 0, connections: 0, passes: 0 }
    }

    /// Every record of the stream.
    pub(crate) fn pass(&mut self, stream: &Stream) {
        self.passes += 1;
        let mut batch = Vec::with_capacity(TOGETHER);
        let mut records = stream.records();
        loop {
            batch.extend(records.by_ref().take(TOGETHER).map(input));
            if batch.is_empty() {
                return;
            }
            self.batch(&batch);
            batch.clear();
        }
    }

    fn batch(&mut self, batch: &[Input]) {
        for input in batch {
            if let Out::Pcapng(writer) = &mut self.out
                && let Some(what) = input.observation()
            {
                let ts = what.segment().ts.0.saturating_add_signed(OFFSET_NS);
                writer.packet(&what, ts, Some("eth0"), Origin::Record, &mut self.block);
                self.bytes.extend_from_slice(&self.block);
                self.block.clear();
            }
        }
        self.track(batch);
        if self.bytes.len() >= BATCH {
            self.written += self.bytes.len();
            black_box(&self.bytes);
            self.bytes.clear();
        }
    }

    fn track(&mut self, batch: &[Input]) {
        let Self { tracker, out, bytes, connections, .. } = self;
        let Some(tracker) = tracker else {
            black_box(batch);
            return;
        };
        tracker.inputs(batch, &mut |mut event| {
            *connections += u64::from(matches!(event, Event::Connection(_)));
            event.shift(OFFSET_NS);
            match out {
                Out::Summary(summary) => summary.observe(&event),
                Out::Metrics(metrics) => metrics.observe(&event),
                Out::Sink(sink) => sink.event(&event, bytes),
                Out::Nowhere | Out::Pcapng(_) => drop(black_box(event)),
            }
        });
    }

    /// That it did what it was timed for.
    pub(crate) fn check(&self, connections: u32) -> Result<(), Box<dyn Error>> {
        let made = u64::from(connections) * u64::from(self.passes);
        let Some(tracker) = &self.tracker else { return Ok(()) };
        // Some of the last pass are still open.
        let closed = tracker.counts().closed;
        if closed * 100 < made * 99 {
            return Err(format!("of {made} connections {closed} closed").into());
        }
        let written = self.written + self.bytes.len();
        if matches!(self.out, Out::Sink(_) | Out::Pcapng(_)) && written < usize::try_from(made)? * 100 {
            return Err(format!("of {made} connections only {written} bytes were written").into());
        }
        Ok(())
    }
}

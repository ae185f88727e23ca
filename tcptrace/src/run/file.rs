//! A trace of capture files. It has the tracker and the consumers of a live trace, and the files' own time.

use super::{
    RunError,
    consumers::{Beginning, Consumers, Opening, Packet},
    pipeline::Pipeline,
    progress::Progress,
    reading::{Batch, Pace, Reading, SoFar},
    signals::Stop,
    start::Identity,
};
use crate::{
    cli::Config,
    confine::{self, Purpose},
    event::{CaptureStats, Stats},
    filter::Filter,
    segment::{Input, Timestamp},
    sink::{
        pcapng::Origin,
        pipe::Pressure,
        units::{Count, Nanos},
    },
    source::pcap::{CaptureOptions, Files, Overlap, PcapSource, Reader, Unread},
};
use hashbrown::HashMap;
use std::{path::PathBuf, sync::Arc};
use tokio::sync::Notify;

/// Reads `paths` to their end, or until a signal comes, `--count` is reached or the reader of the output goes away.
/// Where a file is damaged, connections that come before the damage are reported, and then the damage is.
pub(super) fn trace(config: &Config, paths: &[PathBuf], filter: Filter) -> Result<(), RunError> {
    let stop = Stop::new(config.reopens())?;
    let mut options = CaptureOptions {
        filter: filter.clone(),
        decap: config.decap,
        first_byte: config.first_byte,
        server_name: config.server_name,
        ..CaptureOptions::default()
    };
    let mut pace = Pace::fastest();
    if config.count.is_some() {
        // Packets behind the last connection that is wanted are neither counted nor captured.
        (pace, options.batch) = (Pace::InStep, 1);
    }
    let unread = paths.iter().map(|path| Reader::open_unread(path)).collect::<Result<Vec<_>, _>>()?;
    let consumers = Consumers::open(&Opening { config, unread: &unread, pressure: Pressure::Wait })?;
    let identity = Identity::read()?;
    confine::confine(Purpose::File, &[])?;
    let until = Arc::new(stop.pipe()?);
    let unread: Vec<Unread> =
        unread.into_iter().map(|unread| unread.interrupted_by(Arc::clone(&until))).collect();
    let mut source = match Files::open(unread) {
        // A signal ended the trace before anything came.
        Err(_) if stop.is_set() => return Ok(()),
        files => PcapSource::new(files?, &options),
    };
    // This reads ahead, so that the interfaces that a file begins with have names.
    let many_interfaces = source.has_many_interfaces();
    let start = identity.start(config, &filter, source.named(), None);
    let beginning =
        Beginning { many_interfaces, end: Arc::new(stop.setter()?), ask: Arc::new(Notify::new()) };
    let pipeline = Pipeline::begin(config, filter, consumers, &beginning, start)?;
    let reading =
        Reading::begin(source, pipeline.wants_packets(), pace).map_err(RunError::system("start a thread"))?;
    let mut file = File {
        pipeline,
        reading,
        names: HashMap::new(),
        first: None,
        last: Timestamp::default(),
        written: Timestamp::default(),
    };
    let read = file.read(&stop);
    let result = match read {
        // Damage does not take back what was read before it.
        read @ (Ok(()) | Err(RunError::File(_))) => {
            let waiting = file.reading.so_far().files_waiting as u64;
            if read.is_err() && waiting > 0 {
                let (one, many) =
                    ("file after the damaged one is left out", "files after the damaged one are left out");
                file.pipeline.say(Count(waiting, one, many));
            }
            file.report_rest().and(read)
        }
        read => read,
    };
    file.pipeline.end(result)
}

/// A trace of capture files that has begun.
struct File<'a> {
    pipeline: Pipeline<'a>,
    reading: Reading,
    names: HashMap<u32, Arc<str>>,
    /// The earliest time of a lifecycle segment or ICMP error.
    first: Option<Timestamp>,
    /// The latest time of a lifecycle segment or ICMP error.
    last: Timestamp,
    /// The time of the last packet that was written to a capture.
    written: Timestamp,
}

impl File<'_> {
    fn read(&mut self, stop: &Stop) -> Result<(), RunError> {
        let mut batch = Batch::default();
        let mut progress = Progress::new(self.pipeline.config.output.quiet);
        loop {
            let more = self.reading.next(&mut batch);
            for (interface, name) in batch.names.drain(..) {
                self.names.insert(interface, Arc::clone(&name));
                self.pipeline.name_interface(interface, name);
            }
            if stop.reopens() {
                self.pipeline.reopen();
            }
            if let Some(overlap) = batch.overlap.take() {
                self.report_overlap(&overlap);
            }
            self.hand_over_packets(&batch)?;
            self.record_times(&batch.inputs);
            self.pipeline.track(&mut batch.inputs, 0)?;
            progress.step(|| self.reading.so_far().position);
            if stop.was_asked() {
                let stats = self.counters(&self.reading.so_far(), false);
                self.pipeline.report(stats);
            }
            // A read that a signal broke off is no error.
            if stop.is_set() || !more? || self.pipeline.has_counted() {
                return Ok(());
            }
        }
    }

    /// Says, once, that files overlap in time and cannot be put into an order.
    fn report_overlap(&mut self, Overlap { before, name, ns }: &Overlap) {
        let ns = Nanos(*ns);
        self.pipeline.say(format_args!(
            "{name} begins {ns} before {before} ends: what lies across that has no times (`mergecap -w OUT FILES` puts \
             packets of several files in order)"
        ));
    }

    /// Hands a batch's packets over to the consumers, now that the names of their interfaces are known.
    fn hand_over_packets(&mut self, batch: &Batch) -> Result<(), RunError> {
        for (what, packet) in batch.packets.iter() {
            let interface = self.names.get(&what.segment().flow.interface).map(|name| &**name);
            // A capture's format has no way to say that a time is unknown: the time of the packet before stands for it.
            let ts = if packet.ts == Timestamp::UNKNOWN { self.written } else { packet.ts };
            self.written = ts;
            let packet = Packet { what, unix_ns: ts.0, interface, origin: Origin::Captured(packet) };
            self.pipeline.packet(&packet)?;
        }
        Ok(())
    }

    fn record_times(&mut self, inputs: &[Input]) {
        for input in inputs {
            if let Some(segment) = input.segment() {
                let ts = segment.ts;
                self.first = Some(self.first.map_or(ts, |first| first.min(ts)));
                self.last = self.last.max(ts);
            }
        }
    }

    /// Reports connections that are still open, or were never answered, when the files end, and then what was wrong
    /// with the files.
    fn report_rest(&mut self) -> Result<(), RunError> {
        let so_far = self.reading.so_far();
        self.pipeline.finish(self.end(&so_far), 0)?;
        for (link, packets) in &so_far.unknown_links {
            let link = link.name().map_or_else(|| link.0.to_string(), str::to_owned);
            self.pipeline.say(format_args!("{packets} packets of link type {link} were not looked into"));
        }
        self.report_wrong_times(&so_far);
        let stats = self.counters(&so_far, true);
        self.pipeline.stats(stats, 0)
    }

    /// The time of the latest packet of any kind. Packets that are no lifecycle segments count as well: they show how
    /// long an answer was waited for.
    fn end(&self, so_far: &SoFar) -> Timestamp {
        self.last.max(so_far.last_packet)
    }

    /// The counters as they are now, `last` at the end of the trace.
    fn counters(&self, so_far: &SoFar, last: bool) -> Stats {
        Stats {
            // Without a segment no time is known.
            ts: self.first.map_or(Timestamp::UNKNOWN, |_| self.end(so_far)),
            elapsed_ns: self.first.and_then(|first| self.pipeline.clock().span(first, self.last)),
            last,
            ..so_far.counters.clone()
        }
    }

    /// Says what is wrong with the times in the files.
    fn report_wrong_times(&self, so_far: &SoFar) {
        let CaptureStats { time_went_back, time_went_back_most_ns, without_time, .. } =
            so_far.counters.capture.unwrap_or_default();
        if time_went_back > so_far.overlaps {
            self.pipeline.say(format_args!(
                "time goes back {}, at most by {}: what lies across that has no times (`reordercap` sorts packets by time)",
                Count(time_went_back, "time", "times"),
                Nanos(time_went_back_most_ns)
            ));
        }
        if without_time > 0 {
            let packets = Count(without_time, "packet", "packets");
            self.pipeline.say(format_args!("{packets} without a time stamp: what they show has no times"));
        }
    }
}

//! Reads captures for a trace of files: on a thread of its own, some batches ahead of the tracker, so that on two processors
//! the packets are searched while what was found before is tracked.
//!
//! The batches come in the order of the files, each with what was counted up to its end, so nothing that is reported depends
//! on how far ahead the thread is.

use crate::{
    event::Stats,
    segment::{Input, Observation, Timestamp},
    source::{
        counters::CountersTotal,
        pcap::{Captured, FileError, LinkType, Overlap, PcapSource, Position},
    },
};
use std::{
    io, mem,
    ops::Range,
    panic, slice,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

/// How many batches there are at most, read or being read.
const BATCHES: usize = 4;

/// How far ahead of the tracker the files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Some batches, by a thread of its own.
    Ahead,
    /// Not at all: what is behind the last batch is not read.
    InStep,
}

impl Pace {
    /// The pace that is fastest here: where there is one processor, another thread would only take time from it.
    pub(super) fn fastest() -> Self {
        match thread::available_parallelism() {
            Ok(processors) if processors.get() > 1 => Self::Ahead,
            _ => Self::InStep,
        }
    }
}

/// What a batch of packets showed.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    /// The packets behind the inputs, if they were asked for.
    pub(super) packets: Packets,
    /// The names of interfaces that became known with this batch.
    pub(super) names: Vec<(u32, Arc<str>)>,
    /// The first overlap of two files, if it was found in this batch.
    pub(super) overlap: Option<Overlap>,
}

/// What is known of the files up to some place.
#[derive(Clone, Default)]
pub(super) struct SoFar {
    pub(super) position: Position,
    /// The time of the latest packet, whatever the packet was.
    pub(super) last_packet: Timestamp,
    /// What was counted.
    pub(super) counters: Stats,
    /// How many files begin before the file that was read before them ends.
    pub(super) overlaps: u64,
    /// How many files have not been begun.
    pub(super) files_waiting: usize,
    /// The link types that are not known, each with the number of its packets.
    pub(super) unknown_links: Vec<(LinkType, u64)>,
}

impl SoFar {
    fn of(source: &PcapSource) -> Self {
        Self {
            position: source.position(),
            last_packet: source.last_packet(),
            counters: counters(source),
            overlaps: source.overlaps(),
            files_waiting: source.files_waiting(),
            unknown_links: source.unknown_links().to_vec(),
        }
    }
}

/// What a source of captures has counted so far.
fn counters(source: &PcapSource) -> Stats {
    let mut stats = Stats {
        capture: Some(source.capture()),
        admission_rate: 1.0,
        pending_expired: source.pending_expired(),
        ..Stats::default()
    };
    CountersTotal::sum(slice::from_ref(source.counters())).fill(&mut stats);
    stats
}

/// A batch, what was known at its end, and whether there are more.
type Read = (Batch, SoFar, Result<bool, FileError>);

/// The files as they are read.
pub(super) enum Reading {
    InStep(Source),
    Ahead(Box<Ahead>),
}

/// The source, and what is wanted of it.
pub(super) struct Source {
    source: Box<PcapSource>,
    wants_packets: bool,
}

/// The thread that reads, from the other side.
pub(super) struct Ahead {
    read: Receiver<Read>,
    /// Batches whose memory can be used again.
    used: Sender<Batch>,
    /// What was known at the end of the last batch that was taken.
    so_far: SoFar,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    /// Begins to read. The thread is confined as the one that calls this.
    pub(super) fn begin(source: PcapSource, wants_packets: bool, pace: Pace) -> io::Result<Self> {
        let source = Source { source: Box::new(source), wants_packets };
        Ok(match pace {
            Pace::InStep => Self::InStep(source),
            Pace::Ahead => Self::Ahead(Box::new(Ahead::begin(source)?)),
        })
    }

    /// Waits for the next batch, which takes the place of the one before, and returns whether there are more. An error comes
    /// with what was read before it.
    pub(super) fn next(&mut self, batch: &mut Batch) -> Result<bool, FileError> {
        match self {
            Self::InStep(source) => source.read(batch),
            Self::Ahead(ahead) => ahead.next(batch),
        }
    }

    /// What is known of the files up to the end of the last batch. It is put together when it is asked for, as a batch may be a
    /// single packet.
    pub(super) fn so_far(&self) -> SoFar {
        match self {
            Self::InStep(Source { source, .. }) => SoFar::of(source),
            Self::Ahead(ahead) => ahead.so_far.clone(),
        }
    }
}

impl Source {
    fn read(&mut self, batch: &mut Batch) -> Result<bool, FileError> {
        let Self { source, wants_packets } = self;
        let Batch { inputs, packets, names, overlap } = batch;
        inputs.clear();
        packets.clear();
        names.clear();
        let more = if *wants_packets {
            source.next_batch_with(inputs, |what, packet| packets.keep(what, packet))
        } else {
            source.next_batch(inputs)
        };
        names.extend(source.new_names());
        *overlap = source.take_overlap();
        more
    }

    /// Reads to the end, or until nobody takes it.
    fn read_all(mut self, used: &Receiver<Batch>, read: &mpsc::SyncSender<Read>) {
        while let Ok(mut batch) = used.recv() {
            let more = self.read(&mut batch);
            let ends = !matches!(more, Ok(true));
            if read.send((batch, SoFar::of(&self.source), more)).is_err() || ends {
                return;
            }
        }
    }
}

impl Ahead {
    fn begin(source: Source) -> io::Result<Self> {
        let (to_read, read) = mpsc::sync_channel(BATCHES);
        let (used, to_use) = mpsc::channel();
        for _ in 0..BATCHES {
            // The other end is still here.
            let _ = used.send(Batch::default());
        }
        let thread = thread::Builder::new()
            .name("tcptrace-files".to_owned())
            .spawn(move || source.read_all(&to_use, &to_read))?;
        Ok(Self { read, used, so_far: SoFar::default(), thread: Some(thread) })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<bool, FileError> {
        let Ok((next, so_far, more)) = self.read.recv() else {
            // It sends the last batch before it ends, unless it panics.
            if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                panic::resume_unwind(panic);
            }
            return Ok(false);
        };
        self.so_far = so_far;
        // At the end nobody takes it.
        let _ = self.used.send(mem::replace(batch, next));
        more
    }
}

/// Copies of the packets behind a batch, as the reader reuses their bytes when it goes on.
#[derive(Default)]
pub(super) struct Packets {
    packets: Vec<(Observation, Timestamp, LinkType, u32, Range<usize>)>,
    bytes: Vec<u8>,
}

impl Packets {
    fn keep(&mut self, what: &Observation, packet: Captured<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet.headers);
        let Captured { ts, link, original_len, .. } = packet;
        self.packets.push((what.clone(), ts, link, original_len, start..self.bytes.len()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Observation, Captured<'_>)> {
        self.packets.iter().map(|&(ref what, ts, link, original_len, ref range)| {
            let headers = &self.bytes[range.clone()];
            (what, Captured { ts, link, headers, original_len })
        })
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Pace, Reading};
    use crate::{
        segment::{Input, Observation},
        source::pcap::{CaptureOptions, PcapSource, Reader},
    };
    use std::{
        io::{self, Cursor, Read},
        sync::{Arc, Weak},
        thread,
        time::{Duration, Instant},
    };
    use tcptrace_testing::{
        packet,
        script::{Script, Step},
    };

    /// More than two batches of SYNs.
    const PACKETS: u32 = 10_000;

    /// A capture whose last packet is cut off in the middle.
    fn damaged() -> Vec<u8> {
        let script = Script::parse("0 C S 1000").expect("a SYN");
        let syn = script.steps().find_map(|step| match step {
            Step::Input(Input::Segment(seg)) => Some(packet::of(&Observation::Segment(seg.clone()))),
            _ => None,
        });
        let syn = syn.expect("a SYN");
        let len = u32::try_from(syn.len()).expect("some octets");
        let mut file = Vec::new();
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        file.extend(words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]));
        for second in 0..PACKETS {
            file.extend(words(&[second, 0, len, len]));
            file.extend(&syn);
        }
        file.truncate(file.len() - 1);
        file
    }

    fn reading(file: impl Read + Send + 'static, pace: Pace) -> Reading {
        let reader = Reader::from_read("damaged", file).expect("it begins well");
        let source = PcapSource::new(reader, &CaptureOptions::default());
        Reading::begin(source, true, pace).expect("a thread can be started")
    }

    /// What each batch brings, and the error at the end.
    fn batches(pace: Pace) -> (Vec<String>, String) {
        let mut reading = reading(Cursor::new(damaged()), pace);
        let mut batch = Batch::default();
        let mut all = Vec::new();
        loop {
            let more = reading.next(&mut batch);
            let Batch { inputs, packets, .. } = &batch;
            let (packets, so_far) = (packets.iter().count(), reading.so_far());
            all.push(format!("{inputs:?} {packets} {:?} {:?}", so_far.position, so_far.counters));
            match more {
                Ok(true) => {}
                Ok(false) => return (all, String::new()),
                Err(error) => return (all, error.to_string()),
            }
        }
    }

    #[test]
    fn both_paces_bring_the_same() {
        let (in_step, error) = batches(Pace::InStep);
        assert!(in_step.len() > 2, "{}", in_step.len());
        assert!(error.contains("damaged"), "{error}");
        assert!(batches(Pace::Ahead) == (in_step, error), "another batch, or another error");
    }

    /// Knows whether the thread that reads it is still there.
    struct Watched(Cursor<Vec<u8>>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl Read for Watched {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    #[test]
    fn the_thread_ends_when_nobody_takes_what_it_reads() {
        let alive = Arc::new(());
        let gone: Weak<()> = Arc::downgrade(&alive);
        let mut reading = reading(Watched(Cursor::new(damaged()), alive), Pace::Ahead);
        reading.next(&mut Batch::default()).expect("the first batch");
        drop(reading);
        let start = Instant::now();
        while gone.strong_count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "the thread goes on");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

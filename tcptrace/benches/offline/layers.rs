//! How fast capture files are read, layer by layer.
//!
//! Each file is read to its end once to fill the page cache, then thrice by the reader alone, by the source (parser and
//! lifecycle test) and with the tracker behind it; the fastest run counts.

use std::{hint::black_box, path::Path, time::Instant};
use tcptrace::{
    event::{Kind, Kinds},
    source::pcap::{CaptureOptions, FileError, PcapSource, Reader},
    track::{Config, Tracker},
};

/// Measures each layer over `path`.
pub(crate) fn measure(path: &Path) -> Result<(), FileError> {
    read(path)?;
    for (what, run) in
        [("read", read as fn(&Path) -> Result<u64, FileError>), ("parse and test", parse), ("track", track)]
    {
        let mut best = f64::INFINITY;
        let mut packets = 0;
        for _ in 0..3 {
            let start = Instant::now();
            packets = run(path)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 packets")]
        let rate = packets as f64 / best;
        let file = path.display();
        println!("{file}: {what}: {packets} packets, {:.1} ns each, {:.2} M/s", 1e9 / rate, rate / 1e6);
    }
    Ok(())
}

fn read(path: &Path) -> Result<u64, FileError> {
    let mut reader = Reader::open(path)?;
    while let Some(packet) = reader.next()? {
        black_box(packet.data.first());
    }
    Ok(reader.position().packets)
}

fn parse(path: &Path) -> Result<u64, FileError> {
    let mut source = PcapSource::new(Reader::open(path)?, &CaptureOptions::default());
    let mut inputs = Vec::new();
    while source.next_batch(&mut inputs)? {
        black_box(&inputs);
        inputs.clear();
    }
    Ok(source.counters().packets)
}

fn track(path: &Path) -> Result<u64, FileError> {
    let mut source = PcapSource::new(Reader::open(path)?, &CaptureOptions::default());
    let wants = Kinds::ALL.without(Kind::Transition).without(Kind::Segment);
    let mut tracker = Tracker::new(Config { wants, ..Config::default() });
    let mut inputs = Vec::new();
    loop {
        let more = source.next_batch(&mut inputs)?;
        tracker.inputs(&inputs, &mut |event| drop(black_box(event)));
        inputs.clear();
        if !more {
            return Ok(source.counters().packets);
        }
    }
}

//! Prints the slowest handshakes of a capture file: `cargo run -p tcptrace-core --example slowest -- trace.pcap`.

use std::{env, error::Error, io::Write as _, path::Path};
use tcptrace_core::{CaptureOptions, Config, Event, PcapSource, Reader, Tracker};

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("the capture file is missing: name one")?;
    let mut source = PcapSource::new(Reader::open(Path::new(&path))?, &CaptureOptions::default());
    let (mut tracker, mut inputs, mut handshakes) = (Tracker::new(Config::default()), Vec::new(), Vec::new());
    let mut collect = |event: Event| {
        if let Event::Established(it) = event
            && let Some(ns) = it.times.syn_to_established_ns
        {
            handshakes.push((ns, it.common.client, it.common.server));
        }
    };
    loop {
        let more = source.next_batch(&mut inputs)?;
        inputs.drain(..).for_each(|input| tracker.input(&input, &mut collect));
        if !more {
            break;
        }
    }
    tracker.finish(source.last_packet(), &mut collect);
    handshakes.sort_unstable_by_key(|(ns, ..)| std::cmp::Reverse(*ns));
    let mut out = std::io::stdout().lock();
    for (ns, client, server) in handshakes.iter().take(10) {
        writeln!(out, "{:>12} us  {client} > {server}", ns / 1000)?;
    }
    Ok(())
}

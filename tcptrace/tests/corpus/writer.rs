//! What `-w` writes of each capture: read back it is the same, and tshark sees the same segments in it.

use super::{
    corpus::{Capture, Corpus},
    reader::{TUNNELS, tshark_is_there},
};
use libtest_mimic::{Failed, Trial};
use std::{
    collections::HashMap,
    env, fs,
    io::Cursor,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
};
use tcptrace::{
    segment::{IcmpError, Input, RawOptions},
    sink::pcapng::{Origin, Writer},
    source::pcap::{CaptureOptions, Captured, FileError, PcapSource, Reader},
};

pub(crate) fn trials(corpus: &Corpus) -> Vec<Trial> {
    let tshark = tshark_is_there();
    let mut trials = Vec::new();
    for capture in corpus.captures().into_iter().filter(|capture| capture.format != "snoop") {
        let path = corpus.capture(&capture.name);
        let name = capture.name.clone();
        let read = path.clone();
        trials.push(Trial::test(format!("written and read back: {name}"), move || round_trip(&read)));
        if shows_what_is_there(&capture) {
            let trial = Trial::test(format!("written for tshark: {name}"), move || same_to_tshark(&path));
            trials.push(trial.with_ignored_flag(!tshark));
        }
    }
    trials
}

/// tshark finds the same TCP headers as the header parser does, at the same times: it looks into no tunnel, shows
/// nothing malformed, and puts no fragments together.
fn shows_what_is_there(capture: &Capture) -> bool {
    let hidden = ["malformed (per tshark)", "IP fragments"];
    !TUNNELS.into_iter().chain(hidden).any(|feature| capture.has(feature))
}

/// The segments of a capture, and two files of them: with the packets' own bytes, and rebuilt.
struct Written {
    inputs: Vec<Input>,
    captured: Vec<u8>,
    rebuilt: Vec<u8>,
}

fn write(reader: Reader) -> Result<Written, FileError> {
    let mut source = source(reader);
    let (mut captured, mut rebuilt) = (Writer::new(), Writer::new());
    let mut written = Written { inputs: Vec::new(), captured: Vec::new(), rebuilt: Vec::new() };
    let mut names: HashMap<u32, Arc<str>> = HashMap::new();
    captured.begin(&mut written.captured);
    rebuilt.begin(&mut written.rebuilt);
    loop {
        let mut packets = Vec::new();
        let more = source.next_batch_with(&mut written.inputs, |what, packet: Captured<'_>| {
            packets.push((
                what.clone(),
                packet.ts,
                packet.link,
                packet.headers.to_vec(),
                packet.original_len,
            ));
        })?;
        names.extend(source.new_names());
        for (what, ts, link, headers, original_len) in &packets {
            let segment = what.segment();
            let name = names.get(&segment.flow.interface).map(|name| &**name);
            let packet = Captured { ts: *ts, link: *link, headers, original_len: *original_len };
            let ns = ts.0;
            captured.packet(what, ns, name, Origin::Captured(packet), &mut written.captured);
            rebuilt.packet(what, ns, name, Origin::Record, &mut written.rebuilt);
        }
        if !more {
            return Ok(written);
        }
    }
}

fn source(reader: Reader) -> PcapSource {
    PcapSource::new(reader, &CaptureOptions { buckets: 1 << 12, ..CaptureOptions::default() })
}

/// Which acknowledgements were not expected any more depends on what else is in the file.
fn is_of_a_packet(input: &Input) -> bool {
    input.segment().is_some()
}

fn round_trip(path: &Path) -> Result<(), Failed> {
    let Written { mut inputs, captured, rebuilt } = write(Reader::open(path)?)?;
    inputs.retain(is_of_a_packet);
    number_interfaces(&mut inputs);
    inputs.iter_mut().for_each(forget_the_cut);
    for (what, file) in [("the packets' own bytes", captured), ("rebuilt packets", rebuilt)] {
        let mut source = source(Reader::from_read("a written file", Cursor::new(file))?);
        let mut back = Vec::new();
        while source.next_batch(&mut back)? {}
        back.retain(is_of_a_packet);
        number_interfaces(&mut back);
        back.iter_mut().for_each(forget_the_cut);
        if let Some((ours, theirs)) = inputs.iter().zip(&back).find(|(a, b)| a != b) {
            return Err(format!("{what}: {theirs:?}\nis not\n{ours:?}").into());
        }
        if inputs.len() != back.len() {
            return Err(format!("{what}: {} segments, not {}", back.len(), inputs.len()).into());
        }
    }
    Ok(())
}

/// A rebuilt header ends with the options that are known, so that nothing of it is cut off.
fn forget_the_cut(input: &mut Input) {
    if let Input::Segment(segment) = input {
        segment.options = segment.options.map(|options| RawOptions::new(options.as_slice()));
    }
}

/// Numbers interfaces as they come up, which is how a written file numbers them.
fn number_interfaces(inputs: &mut [Input]) {
    let mut numbers = HashMap::new();
    for input in inputs {
        if let Input::Segment(segment) | Input::Icmp(IcmpError { quoted: segment, .. }) = input {
            let next = u32::try_from(numbers.len()).expect("few interfaces");
            segment.flow.interface = *numbers.entry(segment.flow.interface).or_insert(next);
        }
    }
}

fn same_to_tshark(path: &Path) -> Result<(), Failed> {
    let Written { captured, rebuilt, .. } = write(Reader::open(path)?)?;
    let original: Vec<Header> = headers(path)?;
    for (what, file) in [("captured", captured), ("rebuilt", rebuilt)] {
        let written = headers(&Scratch::new(&file)?.0)?;
        if original.len() != written.len() {
            return Err(format!("{what}: {} segments, not {}", written.len(), original.len()).into());
        }
        for (before, after) in original.iter().zip(&written) {
            if before.fields != after.fields || !same_time(&before.time, &after.time) {
                return Err(format!("{what}: {after:?}\nis not\n{before:?}").into());
            }
            if what == "rebuilt" && after.checksums_wrong {
                return Err(format!("wrong checksum: {after:?}").into());
            }
        }
    }
    Ok(())
}

/// What tshark shows of one segment.
#[derive(Debug)]
struct Header {
    time: String,
    fields: Vec<String>,
    checksums_wrong: bool,
}

/// The seconds that 64 bits of nanoseconds can count. Times beyond, which are really times before 1970, stay in order
/// but not the same.
fn same_time(before: &str, after: &str) -> bool {
    before == after || before.parse().is_ok_and(|seconds: f64| seconds > 18_446_744_073.0)
}

/// Segments with SYN, FIN or RST as tshark lists them.
fn headers(path: &Path) -> Result<Vec<Header>, Failed> {
    let fields = [
        "frame.time_epoch",
        "ip.checksum.status",
        "tcp.checksum.status",
        "tcp.len",
        "ip.src",
        "ip.dst",
        "ip.ttl",
        "ipv6.src",
        "ipv6.dst",
        "ipv6.hlim",
        "tcp.srcport",
        "tcp.dstport",
        "tcp.flags",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.window_size_value",
        "tcp.options.mss_val",
        "tcp.options.wscale.shift",
    ];
    let output = Command::new("tshark")
        .args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-T", "fields"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .args(["-Y", "tcp and (tcp.flags.syn == 1 or tcp.flags.fin == 1 or tcp.flags.reset == 1)", "-r"])
        .arg(path)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let header = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        let (time, ip, tcp) = (next(), next(), next());
        let fields: Vec<String> = fields.collect();
        let empty = fields.first().is_some_and(|len| len == "0");
        Header { time, fields, checksums_wrong: ip == "0" || (tcp == "0" && empty) }
    };
    Ok(text.lines().map(header).collect())
}

/// A file for as long as this lives.
struct Scratch(PathBuf);

impl Scratch {
    fn new(bytes: &[u8]) -> Result<Self, Failed> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("tcptrace-written-{}-{number}.pcapng", process::id()));
        fs::write(&path, bytes)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

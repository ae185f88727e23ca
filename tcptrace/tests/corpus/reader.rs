//! The file reader: every packet of every capture, and the right word about what is no capture.

use super::corpus::{Capture, Corpus, Negative};
use libtest_mimic::{Failed, Trial};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};
use tcptrace::{
    segment::Input,
    source::pcap::{CaptureOptions, Damage, FileError, Foreign, LinkType, PcapSource, Reader},
};

/// What reading a file to its end gives.
#[derive(Default)]
struct Outcome {
    inputs: Vec<Input>,
    packets: u64,
    tcp_packets: u64,
    unparsable: u64,
    unknown_links: Vec<(LinkType, u64)>,
    error: Option<FileError>,
}

fn read(reader: Result<Reader, FileError>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut source = match reader {
        Ok(reader) => {
            PcapSource::new(reader, &CaptureOptions { buckets: 1 << 12, ..CaptureOptions::default() })
        }
        Err(error) => return Outcome { error: Some(error), ..outcome },
    };
    loop {
        match source.next_batch(&mut outcome.inputs) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                outcome.error = Some(error);
                break;
            }
        }
    }
    outcome.packets = source.counters().packets;
    outcome.tcp_packets = source.counters().tcp_packets;
    outcome.unparsable = source.counters().unparsable.iter().sum();
    outcome.unknown_links = source.unknown_links().to_vec();
    outcome
}

pub(crate) fn trials(corpus: &Corpus) -> Vec<Trial> {
    let tshark = tshark_is_there();
    let mut trials = Vec::new();
    for capture in corpus.captures() {
        let path = corpus.capture(&capture.name);
        let name = capture.name.clone();
        if capture.format == "snoop" {
            trials.push(Trial::test(format!("refused: {name}"), move || refused(&path)));
            continue;
        }
        let counted = path.clone();
        trials.push(
            Trial::test(format!("packets as tshark counts them: {name}"), move || count(&counted))
                .with_ignored_flag(!tshark),
        );
        trials.push(Trial::test(format!("TCP and streaming: {name}"), move || tcp(&path, &capture)));
    }
    for negative in corpus.negatives() {
        let path = corpus.negative(&negative.name);
        let name = format!("{}: {}", negative.kind, negative.name);
        // Of what one of the two refuses there is nothing to count.
        if negative.kind != "unsupported" {
            let counted = path.clone();
            let trial = Trial::test(format!("packets before the end: {name}"), move || count(&counted));
            trials.push(trial.with_ignored_flag(!tshark));
        }
        trials.push(Trial::test(name, move || odd(&path, &negative)));
    }
    trials
}

/// Without it, what is compared with it is ignored, by name.
pub(crate) fn tshark_is_there() -> bool {
    Command::new("tshark").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn refused(path: &Path) -> Result<(), Failed> {
    match read(Reader::open(path)).error {
        Some(FileError::Foreign { format: Foreign::Snoop, .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Wireshark's reader and this one see the same packets, those before damage included.
fn count(path: &Path) -> Result<(), Failed> {
    let output =
        Command::new("tshark").args(["-T", "fields", "-e", "frame.number", "-r"]).arg(path).output()?;
    let theirs = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    let ours = read(Reader::open(path));
    let impossible_length =
        matches!(ours.error, Some(FileError::Damaged { damage: Damage::PacketTooLong(_), .. }));
    if impossible_length && ours.packets > theirs {
        // At an impossible length Wireshark looks whether one of the variants of pcap that share its magic number
        // fits better (wiretap/libpcap.c), and starts anew with that.
        return Ok(());
    }
    equal("packets", ours.packets, theirs)
}

/// What tshark looks into and the header parser does not: TCP inside of these is not visible yet.
pub(crate) const TUNNELS: [&str; 14] = [
    "GRE",
    "ERSPAN",
    "VXLAN",
    "GENEVE",
    "GTP-U",
    "IPIP (4in4)",
    "6in4",
    "4in6",
    "6in6",
    "L2TP/PPP",
    // In tunnel mode: it is before another IP header, and compressed.
    "complete conn inside AH",
    // A wireless frame within CAPWAP, and provider backbone bridging, which is QinQ with a third header.
    "complete conn inside 802.11",
    "complete conn inside QinQ",
    "ICMP error quoting the TCP segment",
];

/// What of TCP is visible without looking into tunnels, and that a pipe gives the same as a mapped file.
fn tcp(path: &Path, capture: &Capture) -> Result<(), Failed> {
    let mapped = read(Reader::open(path));
    if let Some(error) = mapped.error {
        return Err(error.to_string().into());
    }
    let has = |feature: &str| capture.has(feature);
    let (ours, theirs) = (mapped.tcp_packets, capture.tcp_frames);
    let explained = if TUNNELS.into_iter().any(has) {
        ours <= theirs
    } else if has("malformed (per tshark)") {
        // Headers that contradict themselves: tshark shows what it can, here they are counted as such.
        ours <= theirs && ours + mapped.unparsable + fabric_path(path)? >= theirs
    } else {
        ours == theirs
    };
    if !explained {
        return Err(
            format!("{ours} TCP packets, {} unparsable; tshark has {theirs}", mapped.unparsable).into()
        );
    }
    let streamed = read(Reader::from_read("a stream", File::open(path)?));
    equal("packets", streamed.packets, mapped.packets)?;
    if streamed.inputs != mapped.inputs {
        return Err("a stream gives other segments than a mapped file".into());
    }
    Ok(())
}

/// Packets in Cisco's `FabricPath` (Ethernet type 0x8903), a tunnel that the manifest has no word for.
fn fabric_path(path: &Path) -> Result<u64, FileError> {
    let mut reader = Reader::open(path)?;
    let mut packets = 0;
    while let Some(packet) = reader.next()? {
        packets += u64::from(packet.data.get(12..14) == Some(&[0x89, 0x03]));
    }
    Ok(packets)
}

/// What is damaged, odd or empty is called so.
fn odd(path: &Path, negative: &Negative) -> Result<(), Failed> {
    let outcome = read(Reader::open(path));
    let tshark = negative.tshark_err.join(" ");
    let fits = match (negative.kind.as_str(), &outcome.error) {
        // Where Wireshark guesses at another variant (see `count`), it sees another kind of damage.
        (
            "cut-short",
            Some(FileError::Truncated { .. } | FileError::Damaged { damage: Damage::PacketTooLong(_), .. }),
        )
        | ("damaged", Some(FileError::Damaged { .. })) => true,
        ("unsupported", Some(FileError::Version { .. })) => tshark.contains("version"),
        ("unsupported", None) => {
            tshark.contains("unknown or unsupported") && !outcome.unknown_links.is_empty()
        }
        ("empty", None) => outcome.packets == 0,
        ("no-tcp", None) => outcome.packets > 0 && outcome.tcp_packets == 0,
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(format!("{:?}, {:?}", outcome.error.map(|e| e.to_string()), outcome.unknown_links).into())
    }
}

fn equal(what: &str, ours: u64, theirs: u64) -> Result<(), Failed> {
    if ours == theirs { Ok(()) } else { Err(format!("{ours} {what}, not {theirs}").into()) }
}

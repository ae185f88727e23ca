//! The bodies of the fuzz targets, which take any bytes. The targets in `fuzz/` call these functions, and so do
//! ordinary property tests. A panic is a finding.

pub mod audit;
mod filters;
mod printed;
#[cfg(feature = "program")]
mod program;
#[cfg(test)]
mod tests;

pub use filters::filter;
pub use printed::{capture, lines};
#[cfg(feature = "program")]
pub use program::arguments;
#[cfg(feature = "program")]
pub use tcptrace::kernel::fuzzing::{netlink, tables};

use audit::Audit;
use std::{
    io::{self, Cursor, Read},
    mem::offset_of,
};
use tcptrace_common::{
    abi::{self, SEED_WORDS},
    admission::Admission,
    seq::SeqNum,
    tcp::TcpFlags,
    wire::{
        self, Bytes, Icmp, Link, Parsed,
        icmp::{self, Quoted},
        tunnel::{self, Decap, Deep, End},
    },
};
use tcptrace_core::{
    capture::{CaptureOptions, PcapSource, Reader},
    decode,
    segment::{
        AdmissionChange, Direction, Flow, IcmpError, Input, LossReport, Observation, RawOptions, Segment,
        Sender, Timestamp,
    },
    socket::SocketFacts,
    track::{Config, Tracker},
};

/// The lengths of the three layouts of a record.
const PLAIN: usize = size_of::<abi::Record>();
const ICMP: usize = size_of::<abi::IcmpRecord>();
const SYN: usize = size_of::<abi::SynRecord>();

/// Runs the file reader and all that follows it up to segments. The result must not depend on how the bytes arrive.
pub fn file(bytes: &[u8]) {
    let whole = segments(Cursor::new(bytes.to_vec()));
    let pieces = segments(Pieces { bytes: Cursor::new(bytes.to_vec()), len: 1 + bytes.len() % 61 });
    // How much of broken compressed data is decompressed depends on how it arrives.
    let common = whole.len().min(pieces.len());
    assert_eq!(whole[..common], pieces[..common]);
    let compressed = matches!(bytes, [0x1f, 0x8b, ..] | [_, 0xb5 | 0x2a, ..]);
    assert!(compressed || whole.len() == pieces.len());
}

fn segments(read: impl Read + Send + 'static) -> Vec<Input> {
    let mut inputs = Vec::new();
    let Ok(reader) = Reader::from_read("fuzzing", read) else {
        return inputs;
    };
    let mut source = PcapSource::new(
        reader,
        &CaptureOptions { buckets: 4, seeds: [3; SEED_WORDS], ..CaptureOptions::default() },
    );
    // Compressed data can become very long, so that this stops at some point.
    while matches!(source.next_batch(&mut inputs), Ok(true)) && source.position().packets < 100_000 {}
    inputs
}

/// A reader that returns a few bytes at a time.
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    len: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.len);
        self.bytes.read(&mut buffer[..len])
    }
}

/// Runs the header parser, with and without tunnels, and the parser of quotes in ICMP errors. All that they find must
/// lie within the packet.
pub fn headers(bytes: &[u8]) {
    let Some((&[len, tag], captured)) = bytes.split_first_chunk() else {
        return;
    };
    let packet = Bytes { captured, wire_len: usize::from(len) * 8 };
    for decap in [Decap::NONE, Decap::all()] {
        let packet = Deep { packet, decap: &decap };
        headers_of(&packet, u16::from(tag));
    }
}

fn headers_of(packet: &Deep<'_, Bytes<'_>>, tag: u16) {
    for link in [Link::Ethernet, Link::Ip, Link::Behind(0), Link::Behind(0x8847), Link::Behind(0x8864)] {
        for offloaded in [None, Some(tag)] {
            let mut parsed = wire::parse(packet, link, offloaded);
            // Each header within another one takes some octets, so that this loop ends.
            let mut last = 0;
            while let Parsed::Tunnel(outer) = parsed {
                assert!(outer.at > last && !packet.decap.is_none());
                last = outer.at;
                let step = tunnel::enter(packet, outer.ipv6, outer.protocol, outer.at);
                if step.end != End::Inside {
                    break;
                }
                assert!(step.at >= outer.at);
                parsed = tunnel::inside(packet, step.ethertype, step.at, outer.fragmented);
            }
            check_found(packet, &parsed);
        }
    }
}

fn check_found(packet: &Deep<'_, Bytes<'_>>, parsed: &Parsed) {
    let (options_at, options_len) = match parsed {
        Parsed::V4(tcp) => (tcp.options_at, tcp.options_len),
        Parsed::V6(tcp) => (tcp.options_at, tcp.options_len),
        Parsed::Icmp(icmp) => return check_quote(&packet.packet, icmp),
        _ => return,
    };
    assert!(options_at <= packet.packet.captured.len() && options_len <= 40);
}

/// Checks what an ICMP message quotes.
fn check_quote(packet: &Bytes<'_>, icmp: &Icmp) {
    let (ipv6, flags, payload_len) = match icmp::quoted(packet, icmp) {
        Quoted::V4(quote) => (false, quote.segment.flags, quote.segment.payload_len),
        Quoted::V6(quote) => (true, quote.segment.flags, quote.segment.payload_len),
        Quoted::Nothing | Quoted::Short => return,
    };
    assert_eq!(ipv6, icmp.ipv6);
    assert!(flags == TcpFlags(0) || (flags.syn() && !flags.fin() && !flags.rst()));
    assert!(payload_len <= 0xffff);
    let least = if ipv6 { 40 } else { 20 } + 16;
    assert!(icmp.len >= least && icmp.at + least <= packet.captured.len());
}

/// Runs the parser of the options of a SYN.
pub fn options(bytes: &[u8]) {
    let _ = wire::options::parse(bytes);
}

/// Reads what may be the beginning of a request. What it says is text.
pub fn request(bytes: &[u8]) {
    let names = tcptrace_core::request::read(bytes);
    let Some(tcptrace_core::request::Request { server_name, alpn, http_host }) = names else { return };
    let all = server_name.into_iter().chain(http_host).chain(alpn.into_iter().flatten());
    all.for_each(|text| assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())));
}

/// Runs the decoder of ring records.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = decode::record(bytes) {
        let segment = record.what.segment();
        let layers = segment.encapsulation.as_deref().unwrap_or_default();
        let has_request =
            bytes[offset_of!(abi::Record, more)..].starts_with(&abi::MORE_REQUEST.to_ne_bytes());
        let request = if has_request { size_of::<abi::Request>() } else { 0 };
        let socket = match segment.socket.as_deref().map(|socket| &socket.facts) {
            None => 0,
            Some(SocketFacts::Owner(_)) => size_of::<abi::Owner>(),
            Some(SocketFacts::Numbers(_)) => size_of::<abi::Socket>(),
        };
        let has_process = bytes[offset_of!(abi::Record, bits)] & abi::BIT_PROCESS != 0;
        let process = if has_process { size_of::<abi::Process>() } else { 0 };
        let tunnels = size_of_val::<[abi::Tunnel]>(&[abi::Tunnel::EMPTY][..layers.len()]);
        let len = bytes.len() - request - socket - process - tunnels;
        assert!(layers.len() <= 1 && [PLAIN, ICMP, SYN].contains(&len));
        assert_eq!(segment.flow.tunnel != 0, !layers.is_empty());
        assert_eq!(segment.options.is_some(), len == SYN);
        assert_eq!(matches!(record.what, Observation::Icmp(_)), len == ICMP);
    }
}

/// Runs the tracker over inputs made of the bytes. [`Audit`] checks what must hold of the events whatever the inputs
/// are.
pub fn tracker(bytes: &[u8]) {
    let mut tracker = Tracker::new(Config { max_connections: 5, ..Config::default() });
    let mut audit = Audit::default();
    let mut sink = |event| audit.event(&event);
    let last = inputs(bytes, |input| tracker.input(input, &mut sink));
    tracker.finish(last, &mut sink);
    assert_eq!(tracker.open(), 0);
    assert_eq!(tracker.counts().total(), audit.ended);
}

/// Calls `handle` with each input that is made of the bytes, and returns the time of the last one.
fn inputs(bytes: &[u8], mut handle: impl FnMut(&Input)) -> Timestamp {
    let mut last = Timestamp(0);
    for chunk in bytes.as_chunks::<12>().0 {
        let (input, ts) = input(chunk, last);
        last = ts;
        handle(&input);
    }
    last
}

/// Makes an input after the time `last` of twelve bytes. There are few flows and few sequence numbers, so that inputs
/// belong together.
fn input(bytes: &[u8; 12], last: Timestamp) -> (Input, Timestamp) {
    let &[what, flow, flags, more, time, scale, seq, far, ack, far_ack, payload, big] = bytes;
    let step = u64::from(time) << (scale & 31);
    let ts =
        Timestamp(if scale & 0x20 == 0 { last.0.saturating_add(step) } else { last.0.saturating_sub(step) });
    match what {
        0 => return (Input::Tick(ts), ts),
        1 => return (Input::Lost(LossReport { records: u64::from(more), after: last, until: ts }), ts),
        9 => return (Input::Overwritten(ts), ts),
        10 => {
            let admission = Admission(u32::from(more) << 24);
            return (Input::Admission(AdmissionChange { ts, admission }), ts);
        }
        _ => {}
    }
    let forth = Flow {
        src: [1; 16],
        dst: [2; 16],
        src_port: 40000 + u16::from(flow & 3),
        dst_port: 40000 + u16::from(flow >> 2 & 1),
        interface: u32::from(flow >> 3 & 1),
        vlan: [if flow & 0x10 == 0 { Flow::NO_VLAN } else { 5 }, Flow::NO_VLAN],
        ipv6: flow & 0x20 != 0,
        tunnel: 0,
    };
    let flags = TcpFlags(u16::from(flags) | u16::from(more & 1) << 8);
    let segment = Segment {
        ts,
        flow: if flow & 0x80 == 0 { forth } else { forth.reversed() },
        flags,
        seq: SeqNum(u32::from(seq) | u32::from(far) << 24),
        ack: SeqNum(u32::from(ack) | u32::from(far_ack) << 24),
        window: u16::from(payload),
        payload_len: u32::from(payload) << (big & 0x17),
        fragmented: false,
        ttl: 64,
        id: 0,
        options: flags.syn().then_some(RawOptions::new(&[1, 3, 3, more & 15])),
        direction: [Direction::Unknown, Direction::Ingress, Direction::Egress][usize::from(more >> 2) % 3],
        sender: [Sender::Unknown, Sender::Here, Sender::There][usize::from(more >> 4) % 3],
        lot: u32::from(flow & 0x3f) << 26,
        encapsulation: None,
        socket: None,
        request: None,
    };
    if (2..10).contains(&what) {
        let quoted = Segment { options: None, ..segment };
        return (Input::Icmp(IcmpError { quoted, from: [3; 16], kind: payload & 15, code: big & 15 }), ts);
    }
    (Input::Segment(segment), ts)
}

//! Headers that the kernel keeps in a packet's pages, where direct access does not reach. `BPF_PROG_TEST_RUN` makes no such
//! packets for TC, but a packet socket does: of a frame of a page or more only the Ethernet header is put into the linear
//! part (`net/packet/af_packet.c`, `packet_snd` and `packet_alloc_skb`), and veth passes it on as it is. Needs root and
//! `ip`; fails without them. That it is these packets that the programs see here was tried: without the branch in
//! `tcptrace-ebpf/src/trace.rs` that takes the long way for them, all of these frames but those that are rare by their
//! Ethernet type are missed.

use netns::Netns;
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, SockFlag, SockType, bind, socket},
};
use packets::{Frame, Shape, tunnel::Wrap};
use rustix::net::{SendFlags, send};
use std::{os::fd::AsRawFd as _, time::Duration};
use tcptrace::{
    kernel::load::LoadOptions,
    parse::{Parser, Tunnels},
    segment::{Direction, Input, Segment},
    source::live::{LiveConfig, LiveSource, Selection},
};
use tcptrace_common::{
    abi::SEED_WORDS,
    record::Sighting,
    wire::{Bytes, Link, tunnel::Decap},
};
use tcptrace_testing::{netns, packets};

/// Long enough for a busy machine; nothing waits for it unless something is broken.
const DEADLINE: Duration = Duration::from_mins(1);
/// With it a frame is longer than a page.
const PAYLOAD: usize = 5000;
/// The first frame's source port; the next ones count on.
const FIRST_PORT: u16 = 40_000;

/// One of each shape, of both families, and of each kind of record.
fn frames() -> Vec<Frame> {
    // No 802.3: a length says at most 1535.
    let shapes = [Shape::Plain, Shape::Mpls(1), Shape::Mpls(8), Shape::PppoE];
    let mut frames = Vec::new();
    for flags in [0x02, 0x12, 0x11, 0x04] {
        for ipv6 in [false, true] {
            for shape in shapes.clone() {
                for tags in 0..=2 {
                    frames.push(Frame {
                        ipv6,
                        flags,
                        src_port: FIRST_PORT + u16::try_from(frames.len()).expect("few"),
                        seq: 7,
                        vlans: [0x2064, 0x0007][..tags].to_vec(),
                        shape: shape.clone(),
                        extensions: if ipv6 { vec![0, 60, 51] } else { vec![] },
                        ip_options: if ipv6 { 0 } else { 4 * tags },
                        authentication: usize::from(!ipv6 && tags == 1),
                        options: (0..20).collect(),
                        payload: PAYLOAD,
                        ..Frame::default()
                    });
                }
            }
        }
    }
    frames
}

/// One in each kind of tunnel, of both families.
fn tunnelled() -> Vec<Frame> {
    let mut frames = Vec::new();
    for wrap in Wrap::ALL {
        for ipv6 in [false, true] {
            let inner = Frame {
                ipv6,
                flags: 0x02,
                src_port: FIRST_PORT + 1000 + u16::try_from(frames.len()).expect("few"),
                options: (0..20).collect(),
                payload: PAYLOAD,
                ..Frame::default()
            };
            frames.push(wrap.around(&Frame { ipv6, src: 7, vlans: vec![5], ..Frame::default() }, &inner));
        }
    }
    frames
}

/// What user space makes of them, in their order.
fn expected(frames: &[Frame], decap: Decap) -> Vec<Segment> {
    let mut parser = Parser::new(64, [1; SEED_WORDS]);
    parser.set_tunnels(Tunnels { decap, levels: 1 });
    let seen = Sighting { ifindex: 1, egress: false, forwarded: false };
    frames
        .iter()
        .map(|frame| {
            let bytes = frame.bytes();
            let record = parser.packet(Link::Ethernet, Bytes::whole(&bytes), None, 0, seen);
            comparable(record.expect("a record").what.segment())
        })
        .collect()
}

/// Without what depends on when and where it was seen.
fn comparable(segment: &Segment) -> Segment {
    let mut segment = segment.clone();
    segment.ts.0 = 0;
    segment.lot = 0;
    segment.flow.interface = 0;
    segment.direction = Direction::Unknown;
    segment.sender = tcptrace::segment::Sender::Unknown;
    segment
}

fn send_from(ns: &Netns, device: &str, frames: &[Frame]) {
    ns.enter(|| {
        let address = getifaddrs()
            .expect("interfaces are listed")
            .filter(|it| it.interface_name == device)
            .find_map(|it| it.address?.as_link_addr().copied())
            .expect("veth has a link-layer address");
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .expect("root may open a packet socket");
        bind(socket.as_raw_fd(), &address).expect("it is there");
        for frame in frames {
            let bytes = frame.bytes();
            assert_eq!(send(&socket, &bytes, SendFlags::empty()), Ok(bytes.len()));
        }
    });
}

/// Sends the frames out of `tt0` and demands all of them of the source on `device` in `traced`.
fn all_are_seen(here: &Netns, traced: &Netns, device: &str, direction: Direction, decap: Decap) {
    let mut frames = frames();
    if !decap.is_none() {
        frames.extend(tunnelled());
    }
    let trace = async || {
        let config = LiveConfig {
            interfaces: Selection::Named(vec![device.to_owned()]),
            load: LoadOptions { decap, ..LoadOptions::default() },
            ..LiveConfig::default()
        };
        let (mut source, _) = LiveSource::open(&config).unwrap_or_else(|error| panic!("{error}"));
        send_from(here, "tt0", &frames);
        let mut inputs: Vec<Input> = Vec::new();
        let reading = async {
            while inputs.iter().filter_map(Input::observation).count() < frames.len() {
                source.next_batch(&mut inputs).await.unwrap_or_else(|error| panic!("{error}"));
            }
        };
        let late = tokio::time::timeout(DEADLINE, reading).await.is_err();
        let counters = source.counters().expect("counters");
        assert!(!late, "{} of {}: {counters:?}", inputs.len(), frames.len());
        assert_eq!(counters.unparsable.truncated, 0);
        let mut segments: Vec<Segment> = inputs.iter().filter_map(Input::segment).cloned().collect();
        segments.sort_by_key(|segment| segment.flow.src_port);
        assert!(segments.iter().all(|segment| segment.direction == direction));
        let seen: Vec<Segment> = segments.iter().map(comparable).collect();
        for ((frame, seen), expected) in frames.iter().zip(&seen).zip(expected(&frames, decap)) {
            assert_eq!(*seen, expected, "{frame:?}");
        }
        assert_eq!(seen.len(), frames.len());
    };
    traced.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(trace());
    });
}

#[test]
fn headers_in_pages_are_read() {
    let (here, there) = (Netns::new(), Netns::new());
    here.veth("tt0", &there, "tt1", 0);
    here.ip(&["link", "set", "tt0", "mtu", "9000"]);
    there.ip(&["link", "set", "tt1", "mtu", "9000"]);
    for decap in [Decap::NONE, Decap::all()] {
        all_are_seen(&here, &here, "tt0", Direction::Egress, decap);
        all_are_seen(&here, &there, "tt1", Direction::Ingress, decap);
    }
}

//! The real kernel programs over generated packets, compared record for record and count for count with the same
//! code in user space. Needs root and BPF: without them these tests fail.
#![expect(clippy::cast_possible_truncation, reason = "small numbers of generated packets")]

mod pair;
mod racing;
mod shapes;
mod shedding;
mod tunnels;

use packets::{Frame, Rng};
use pair::Pair;
use std::collections::HashMap;
use tcptrace::{
    decode,
    segment::{IcmpError, Observation},
};
use tcptrace_common::{
    abi::{RecordKind, SEED_WORDS, UNPARSABLE_REASONS},
    wire::Link,
};
use tcptrace_testing::kernel::test_run::{Harness, Program};
use tcptrace_testing::packets;

const ETHERNET: [Program; 3] = [Program::TcIngress, Program::TcEgress, Program::Xdp];
const L3: [Program; 2] = [Program::TcIngressL3, Program::TcEgressL3];

#[test]
fn all_flag_combinations() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for flags in 0..512_u16 {
            for ipv6 in [false, true] {
                let frame = Frame { ipv6, flags, ..Frame::default() };
                let record = pair.show(&format!("flags {flags:#x}"), &frame.bytes());
                if flags & 7 != 0 {
                    assert_eq!(record.map(|record| record.what.segment().flags.0), Some(flags));
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn vlan_tags_extension_headers_options_and_padding() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for tags in 0..=3 {
            for ipv6 in [false, true] {
                for extensions in 0..=7 {
                    for options in 0..=10 {
                        let frame = Frame {
                            flags: 2,
                            ipv6,
                            vlans: vec![0x2064; tags],
                            extensions: vec![60; if ipv6 { extensions } else { 0 }],
                            ip_options: if ipv6 { 0 } else { extensions * 4 },
                            options: (0..options * 4).collect(),
                            padding: 11,
                            ..Frame::default()
                        };
                        let name = format!("{tags} tags, v6 {ipv6}, {extensions} headers, {options} words");
                        let record = pair.show(&name, &frame.bytes());
                        let parsable = tags <= 2 && (!ipv6 || extensions <= 6);
                        assert_eq!(record.is_some(), parsable, "{name}");
                        if let Some(record) = record {
                            assert_eq!(
                                record.what.segment().payload_len,
                                0,
                                "{name}: padding is not payload"
                            );
                        }
                    }
                }
            }
        }
        pair.finish();
    }
}

/// Every kind that is walked, and the one that says that nothing follows.
const KINDS: [u8; 9] = [0, 43, 44, 51, 60, 135, 139, 140, 59];

#[test]
fn every_kind_of_extension_header() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for first in KINDS {
            for second in KINDS {
                let frame =
                    Frame { flags: 1, ipv6: true, extensions: vec![first, second], ..Frame::default() };
                let record = pair.show(&format!("{first}, {second}"), &frame.bytes());
                assert_eq!(record.is_some(), first != 59 && second != 59, "{first}, {second}");
            }
        }
        pair.finish();
    }
}

#[test]
fn fragments() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            for (offset, is_record) in [(0, true), (1, false), (185, false), (0x1fff, false)] {
                let extensions = if ipv6 { vec![44] } else { vec![] };
                let frame = Frame { flags: 1, ipv6, extensions, fragment: offset, ..Frame::default() };
                let record = pair.show(&format!("v6 {ipv6}, offset {offset}"), &frame.bytes());
                assert_eq!(record.is_some(), is_record);
            }
        }
        assert_eq!(pair.parser.counters().fragments, 6);
        pair.finish();
    }
}

#[test]
fn truncated_at_every_length() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            for tags in 0..=2 {
                let extensions = if ipv6 { vec![0, 60] } else { vec![] };
                let frame = Frame {
                    flags: 2,
                    ipv6,
                    vlans: vec![7; tags],
                    extensions,
                    options: vec![1; 20],
                    payload: 9,
                    ..Frame::default()
                };
                let bytes = frame.bytes();
                // For TC the kernel refuses what ends within an untagged packet's IP header (net/bpf/test_run.c,
                // bpf_prog_test_run_skb).
                let shortest = match (program, tags, ipv6) {
                    (Program::Xdp, ..) => 14,
                    (_, 0, false) => 14 + 20,
                    (_, 0, true) => 14 + 40,
                    _ => 15,
                };
                for len in shortest..=bytes.len() {
                    let record = pair.show(&format!("v6 {ipv6}, {tags} tags, cut at {len}"), &bytes[..len]);
                    assert_eq!(record.is_some(), len == bytes.len());
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn lengths_that_contradict() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        let mut rng = Rng(99);
        for ipv6 in [false, true] {
            let bytes = Frame { flags: 2, ipv6, options: vec![1; 8], payload: 5, ..Frame::default() }.bytes();
            // Every value of every byte of both headers, one at a time.
            for at in 12..bytes.len() {
                for value in (0..=255_u8).step_by(3) {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    pair.show(&format!("v6 {ipv6}, byte {at} is {value}"), &bytes);
                }
            }
            pair.show_tampered(&mut rng, &bytes, 12, 500);
        }
        pair.finish();
    }
}

#[test]
fn devices_without_a_link_header() {
    for program in L3 {
        let mut pair = Pair::new(program, 64);
        for flags in [1, 2, 4, 0x10, 0x11, 0x12, 0x18] {
            for ipv6 in [false, true] {
                for extensions in 0..=7 {
                    let extensions = if ipv6 { vec![0; extensions] } else { vec![] };
                    let frame = Frame { flags, ipv6, extensions, options: vec![1; 12], ..Frame::default() };
                    pair.show(&format!("flags {flags}, v6 {ipv6}"), &frame.ip());
                }
            }
        }
        for version in 0..16 {
            let mut bytes = Frame { flags: 2, ..Frame::default() }.ip();
            bytes[0] = version << 4 | 5;
            pair.show(&format!("version {version}"), &bytes);
        }
        pair.finish();
    }
}

/// The error in a record, if it is of one.
fn error_of(record: Option<decode::Record>) -> Option<IcmpError> {
    match record?.what {
        Observation::Icmp(error) => Some(error),
        Observation::Segment(_) => None,
    }
}

/// Shows an error in frames of all shapes that its program can see.
fn show_error(pair: &mut Pair, name: &str, error: &Frame) -> Option<IcmpError> {
    let bytes = if pair.link() == Link::Ip { error.ip() } else { error.bytes() };
    error_of(pair.show(name, &bytes))
}

#[test]
fn icmp_errors_that_quote_a_syn() {
    for program in Program::ALL {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            let (kind, code) = if ipv6 { (1, 4) } else { (3, 3) };
            for flags in 0..512_u16 {
                let segment = Frame { ipv6, flags, options: vec![1; 20], ..Frame::default() };
                let name = format!("{program:?}, v6 {ipv6}, quoted flags {flags:#x}");
                let found = show_error(&mut pair, &name, &segment.error(kind, code, 600));
                let opens = flags & 2 != 0 && flags & 5 == 0;
                assert_eq!(found.is_some(), opens, "{name}");
                let Some(IcmpError { quoted, from, .. }) = found else { continue };
                let flow = quoted.flow;
                assert_eq!((flow.src_port, flow.dst_port, flow.ipv6), (1234, 80, ipv6), "{name}");
                assert_eq!((quoted.flags.0, quoted.seq.0, quoted.window), (flags, 1000, 501), "{name}");
                assert_eq!((&flow.src[12..], &from[12..]), (&[10, 0, 0, 1][..], &[10, 0, 0, 0xfe][..]));
                assert_eq!((quoted.options, quoted.payload_len), (None, 0), "{name}");
            }
        }
        pair.finish();
    }
}

#[test]
fn icmp_of_every_type_and_code() {
    for program in Program::ALL {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            let syn = Frame { ipv6, flags: 2, ..Frame::default() };
            for kind in 0..=255 {
                for code in [0, 1, 3, 4, 5, 13, 15, 255] {
                    let name = format!("{program:?}, v6 {ipv6}, type {kind}, code {code}");
                    let found = show_error(&mut pair, &name, &syn.error(kind, code, 60));
                    let refuses = match (ipv6, kind) {
                        (false, 3) => code != 4,
                        (false, 11 | 12) | (true, 1 | 3 | 4) => true,
                        _ => false,
                    };
                    assert_eq!(
                        found.map(|error| (error.kind, error.code)),
                        refuses.then_some((kind, code)),
                        "{name}"
                    );
                }
            }
        }
        let counted = pair.parser.counters();
        assert_eq!(counted.emitted[RecordKind::Icmp.index()], counted.number);
        assert_eq!((counted.tcp_packets, counted.unparsable), (0, [0; UNPARSABLE_REASONS]));
        pair.finish();
    }
}

#[test]
fn icmp_errors_quote_as_much_as_they_like() {
    for program in Program::ALL {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            for headers in [0, 1, 4, 7] {
                let segment = Frame {
                    ipv6,
                    flags: 0x12,
                    ip_options: if ipv6 { 0 } else { headers * 4 },
                    extensions: vec![60; if ipv6 { headers } else { 0 }],
                    options: vec![1; 8],
                    ..Frame::default()
                };
                let whole = segment.ip().len();
                let tcp_at = whole - 28;
                for octets in 0..=whole {
                    let name = format!("{program:?}, v6 {ipv6}, {headers} headers, {octets} octets");
                    let error = Frame { padding: 18, ..segment.error(3, 1, octets) };
                    let found = show_error(&mut pair, &name, &error);
                    let there = octets >= tcp_at + 8 && (!ipv6 || headers <= 6);
                    assert_eq!(found.is_some(), there, "{name}");
                    if let Some(error) = found {
                        let flags = if octets < tcp_at + 14 { 0 } else { 0x12 };
                        assert_eq!(error.quoted.flags.0, flags, "{name}");
                    }
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn icmp_errors_behind_tags_options_and_extension_headers() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for tags in 0..=3 {
            for ipv6 in [false, true] {
                for headers in 0..=7 {
                    let syn = Frame { ipv6, flags: 2, ..Frame::default() };
                    let error = Frame {
                        vlans: [0x2064, 0x0005, 0x0006][..tags].to_vec(),
                        extensions: vec![60; if ipv6 { headers } else { 0 }],
                        ip_options: if ipv6 { 0 } else { headers * 4 },
                        ..syn.error(3, 0, 100)
                    };
                    let name = format!("{program:?}, {tags} tags, v6 {ipv6}, {headers} headers");
                    let found = show_error(&mut pair, &name, &error);
                    assert_eq!(found.is_some(), tags <= 2 && (!ipv6 || headers <= 6), "{name}");
                    if let Some(error) = found {
                        let ids = [[0xffff, 0xffff], [100, 0xffff], [100, 5]][tags];
                        assert_eq!(error.quoted.flow.vlan, ids, "{name}");
                    }
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn icmp_errors_that_were_tampered_with() {
    for program in Program::ALL {
        let mut pair = Pair::new(program, 64);
        let mut rng = Rng(17);
        for ipv6 in [false, true] {
            let extensions = if ipv6 { vec![0, 44] } else { vec![] };
            let syn = Frame { ipv6, flags: 2, extensions, options: vec![1; 20], ..Frame::default() };
            let error = syn.error(3, 0, 600);
            let bytes = if pair.link() == Link::Ip { error.ip() } else { error.bytes() };
            let start = bytes.len() - error.ip().len();
            for at in start..bytes.len() {
                for value in (0..=255_u8).step_by(5) {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    pair.show(&format!("{program:?}, v6 {ipv6}, byte {at} is {value}"), &bytes);
                }
            }
            pair.show_tampered(&mut rng, &bytes, start, 500);
            // For TC the kernel refuses what ends within the IP header.
            for len in start + if ipv6 { 40 } else { 20 }..bytes.len() {
                pair.show(&format!("{program:?}, v6 {ipv6}, cut at {len}"), &bytes[..len]);
            }
        }
        pair.finish();
    }
}

/// A connection's segments in order: (from the client, flags, seq, ack, payload).
type Script = Vec<(bool, u16, u32, u32, usize)>;

/// Open, data, close; `merged`: in three segments, FIN and the acknowledgement of the peer's FIN in one.
fn life(rng: &mut Rng, merged: bool) -> Script {
    let (c, s) = (rng.next() as u32, rng.next() as u32);
    let mut script = vec![(true, 0x02, c, 0, 0), (false, 0x12, s, c.wrapping_add(1), 0)];
    let (mut cn, mut sn) = (c.wrapping_add(1), s.wrapping_add(1));
    script.push((true, 0x10, cn, sn, 0));
    for _ in 0..rng.below(4) {
        let len = rng.below(1400) as u32;
        script.push((true, 0x18, cn, sn, len as usize));
        cn = cn.wrapping_add(len);
        script.push((false, 0x10, sn, cn, 0));
    }
    let len = rng.below(100) as u32;
    script.push((true, 0x11, cn, sn, len as usize));
    cn = cn.wrapping_add(len + 1);
    if !merged {
        script.push((false, 0x10, sn, cn, 0));
    }
    script.push((false, 0x11, sn, cn, 0));
    sn = sn.wrapping_add(1);
    script.push((true, 0x10, cn, sn, 0));
    script.push((true, 0x10, cn, sn, 0));
    script
}

#[test]
fn whole_connections_interleaved() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 1024);
        let mut rng = Rng(7);
        let mut scripts: Vec<(Frame, Frame, Script, usize)> = (0..120_u16)
            .map(|n| {
                let merged = n % 2 == 0;
                let client = Frame {
                    ipv6: n % 3 == 0,
                    src: u32::from(n) + 1,
                    dst: 9,
                    src_port: 40_000 + n,
                    dst_port: 443,
                    vlans: vec![n % 5; usize::from(n % 4 == 0)],
                    ..Frame::default()
                };
                let server = client.reversed();
                (client, server, life(&mut rng, merged), 0)
            })
            .collect();
        let mut kinds: HashMap<RecordKind, usize> = HashMap::new();
        while !scripts.is_empty() {
            let pick = rng.below(scripts.len());
            let (client, server, script, step) = &mut scripts[pick];
            let (from_client, flags, seq, ack, payload) = script[*step];
            let base = if from_client { &*client } else { &*server };
            let bytes = Frame { flags, seq, ack, payload, ..base.clone() }.bytes();
            if let Some(record) = pair.show("a segment of a connection", &bytes) {
                *kinds.entry(record.kind).or_default() += 1;
            }
            *step += 1;
            if *step == script.len() {
                scripts.swap_remove(pick);
            }
        }
        // Each connection: SYN, SYN-ACK, two FINs, and as acknowledgements the handshake's, and the FINs' unless merged.
        let expected = [
            (RecordKind::Syn, 120),
            (RecordKind::SynAck, 120),
            (RecordKind::Fin, 240),
            (RecordKind::Ack, 60 * 2 + 60 * 3),
        ];
        for (kind, count) in expected {
            assert_eq!(kinds.get(&kind), Some(&count), "{kind:?}");
        }
        assert_eq!(pair.parser.pending(), 0, "every expected acknowledgement came");
        pair.finish();
    }
}

#[test]
fn full_buckets_give_way_alike() {
    for program in ETHERNET {
        // Two buckets for hundreds of unanswered SYN-ACKs.
        let mut pair = Pair::new(program, 2);
        for port in 0..300 {
            let frame = Frame { flags: 0x12, dst_port: port, seq: u32::from(port) << 20, ..Frame::default() };
            pair.show("a SYN-ACK", &frame.bytes());
            let ack = Frame {
                flags: 0x10,
                ack: (u32::from(port / 2) << 20) + 1,
                dst_port: port / 2,
                ..Frame::default()
            };
            pair.show("an acknowledgement", &ack.reversed().bytes());
        }
        assert!(pair.parser.counters().pending_overwrites > 0);
        pair.finish();
    }
}

#[test]
fn a_full_ring_is_counted_and_leaves_a_gap() {
    let mut rng = Rng(1);
    let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
    let mut harness = Harness::load(&seeds, 64, 4096).unwrap_or_else(|error| panic!("{error}"));
    let syn = Frame { flags: 2, ..Frame::default() };
    for (kind, packet) in [(RecordKind::Syn, syn.bytes()), (RecordKind::Icmp, syn.error(3, 3, 60).bytes())] {
        harness.run(Program::TcIngress, &packet, None, 100).unwrap_or_else(|error| panic!("{error}"));
        let counters = harness.counters().unwrap_or_else(|error| panic!("{error}"));
        let (kept, lost) = (counters.emitted[kind.index()], counters.ring_full[kind.index()]);
        assert!(kept > 0 && lost > 0, "{kind:?}: kept {kept}, lost {lost}");
        assert_eq!((kept + lost, counters.number), (100, 100), "{kind:?}");
        harness.clear().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `BPF_PROG_TEST_RUN` makes no packet with pages for TC (seen on 6.18: more than a page less head and tail room is
/// EINVAL, and so is `data_end` in the context). Such packets are in `live_paged.rs`.
#[test]
fn a_packet_that_nearly_fills_a_page() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for ipv6 in [false, true] {
            let record =
                pair.show("FIN", &Frame { flags: 0x11, payload: 3000, ipv6, ..Frame::default() }.bytes());
            assert_eq!(record.map(|record| record.what.segment().payload_len), Some(3000));
        }
        pair.finish();
    }
}

#[test]
fn the_log_is_there_only_when_asked_for() {
    let frame = Frame { flags: 2, ..Frame::default() }.bytes();
    let mut walked = Vec::new();
    for log in [0, 1] {
        let mut harness = Harness::load_with_log(&[1; SEED_WORDS], 64, 1 << 16, log)
            .unwrap_or_else(|error| panic!("KERNEL_LOG {log}: {error}"));
        harness.run(Program::TcIngress, &frame, None, 1).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(harness.drain().unwrap_or_else(|error| panic!("{error}")).len(), 1);
        walked.push(
            harness.verified_instructions(Program::TcIngress).unwrap_or_else(|error| panic!("{error}")),
        );
    }
    assert!(walked[0] < walked[1], "the verifier must have dropped the log: {walked:?}");
}

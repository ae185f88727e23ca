use super::{Origin, Writer};
use crate::{
    capture::{CaptureOptions, PcapSource, Reader},
    segment::{Direction, Flow, IcmpError, Input, Observation, RawOptions, Segment, Sender, Timestamp},
};
use std::{io::Cursor, sync::Arc};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

fn source(file: Vec<u8>) -> PcapSource {
    let reader = Reader::from_read("test", Cursor::new(file)).expect("a capture");
    PcapSource::new(reader, &CaptureOptions { buckets: 256, ..CaptureOptions::default() })
}

fn inputs(file: Vec<u8>) -> Vec<Input> {
    let mut source = source(file);
    let mut inputs = Vec::new();
    while source.next_batch(&mut inputs).expect("undamaged") {}
    // How much passed before each segment depends on the payloads, which a file of headers does not have.
    inputs.retain(|input| !matches!(input, Input::Passed(_)));
    inputs
}

const SYN: Segment = Segment {
    ts: Timestamp(1_500_000_000_123_456_789),
    flow: Flow {
        src: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
        dst: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2],
        src_port: 40000,
        dst_port: 443,
        interface: 0,
        vlan: [Flow::NO_VLAN; 2],
        ipv6: false,
        tunnel: 0,
    },
    flags: TcpFlags::SYN,
    seq: SeqNum(0xffff_fff0),
    ack: SeqNum(0),
    window: 64240,
    payload_len: 0,
    fragmented: false,
    ttl: 63,
    id: 0,
    options: None,
    direction: Direction::Egress,
    sender: Sender::Unknown,
    lot: 0,
    encapsulation: None,
    socket: None,
    request: None,
};

/// A SYN with the options that Linux sends: MSS, SACK permitted, timestamps, window scale.
fn syn() -> Segment {
    let raw = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
    Segment { options: Some(RawOptions::new(&raw)), ..SYN }
}

fn write(segments: &[Segment]) -> Vec<u8> {
    write_all(segments.iter().cloned().map(Observation::Segment))
}

fn write_all(all: impl IntoIterator<Item = Observation>) -> Vec<u8> {
    let mut writer = Writer::new();
    let mut file = Vec::new();
    for what in all {
        writer.packet(&what, what.segment().ts.0, Some("eth0"), Origin::Record, &mut file);
    }
    file
}

#[test]
fn a_rebuilt_segment_is_read_back_as_it_was() {
    let synack = Segment {
        flow: SYN.flow.reversed(),
        flags: TcpFlags::SYN.union(TcpFlags::ACK),
        ack: SYN.seq.plus(1),
        seq: SeqNum(7),
        direction: Direction::Ingress,
        options: Some(RawOptions::new(&[])),
        ..SYN
    };
    let ack = Segment {
        flags: TcpFlags::ACK,
        seq: SYN.seq.plus(1),
        ack: SeqNum(8),
        payload_len: 100,
        options: None,
        ..SYN
    };
    let big = Segment { flags: TcpFlags::FIN.union(TcpFlags::ACK), payload_len: 500_000, ..ack.clone() };
    let mut segments = vec![syn(), synack, ack, big];
    for (index, segment) in segments.clone().into_iter().enumerate() {
        let vlan = [[5, Flow::NO_VLAN], [7, 5]][index % 2];
        let flow = Flow { ipv6: true, src: [1; 16], dst: [2; 16], vlan, ..segment.flow };
        segments.push(Segment { flow, ..segment });
    }
    // The acknowledgement among the IPv6 segments has other VLANs than the SYN-ACK and the same as its SYN. It is found
    // as the first segment after a SYN to which no SYN-ACK has passed.
    let expected: Vec<_> = segments.iter().map(|s| Input::Segment(s.clone())).collect();
    assert_eq!(inputs(write(&segments)), expected);
}

/// ICMP errors as records have them, of both IP versions and with quotes of all lengths.
fn errors() -> Vec<IcmpError> {
    let mut errors = Vec::new();
    let synack = TcpFlags::SYN.union(TcpFlags::ACK);
    for (flags, ack, window, payload_len) in
        [(TcpFlags::SYN, 0, 64240, 0), (synack, 7, 1, 0), (TcpFlags::SYN, 0, 9, 1200), (TcpFlags(0), 0, 0, 0)]
    {
        let quoted = Segment { flags, ack: SeqNum(ack), window, payload_len, ..SYN };
        let mut from = SYN.flow.dst;
        from[15] = 254;
        errors.push(IcmpError { quoted: quoted.clone(), from, kind: 3, code: 13 });
        let flow = Flow { ipv6: true, src: [1; 16], dst: [2; 16], vlan: [7, 5], ..SYN.flow };
        let quoted = Segment { flow, direction: Direction::Ingress, ..quoted };
        errors.push(IcmpError { quoted, from: [3; 16], kind: 1, code: 4 });
    }
    errors
}

#[test]
fn a_rebuilt_icmp_error_is_read_back_as_it_was() {
    let expected: Vec<_> = errors().into_iter().map(Input::Icmp).collect();
    let file = write_all(errors().into_iter().map(Observation::Icmp));
    assert_eq!(inputs(file.clone()), expected);
    assert_eq!(inputs(rewrite(file)), expected, "written again it is the same");
}

/// A 16-bit one's complement sum over bytes that include their own checksum is all ones (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for word in parts.concat().chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

#[test]
fn a_rebuilt_icmp_error_has_its_checksums() {
    let file = write_all(errors().into_iter().map(Observation::Icmp));
    let mut reader = Reader::from_read("test", Cursor::new(file)).expect("a capture");
    for error in errors() {
        let packet = reader.next().expect("undamaged").expect("a packet");
        assert_eq!(packet.data.len(), packet.original_len as usize);
        let ip = &packet.data[if error.quoted.flow.ipv6 { 22 } else { 14 }..];
        let quote = if error.quoted.flow.ipv6 {
            let len = u8::try_from(ip.len() - 40).expect("short");
            assert_eq!(sum(&[&ip[8..40], &[0, len, 0, 58], &ip[40..]]), 0xffff, "ICMPv6: {error:?}");
            &ip[48..]
        } else {
            assert_eq!(sum(&[&ip[..20]]), 0xffff, "IP: {error:?}");
            assert_eq!(sum(&[&ip[20..]]), 0xffff, "ICMP: {error:?}");
            assert_eq!(sum(&[&ip[28..48]]), 0xffff, "the quoted IP: {error:?}");
            &ip[28..]
        };
        let tcp = quote.len() - if error.quoted.flow.ipv6 { 40 } else { 20 };
        assert_eq!(tcp, if error.quoted.flags == TcpFlags(0) { 8 } else { 20 }, "{error:?}");
    }
}

#[test]
fn an_icmp_error_of_a_file_keeps_its_bytes_to_its_end() {
    use crate::capture::build::{Endian, pcap, record};
    let written = write_all(errors().into_iter().take(1).map(Observation::Icmp));
    let mut reader = Reader::from_read("test", Cursor::new(written)).expect("a capture");
    let mut frame = reader.next().expect("undamaged").expect("a packet").data.to_vec();
    // What follows the quoted header is part of the message (RFC 4884), and what follows the message is not.
    frame[17] += 6;
    let message = frame.len() + 6;
    frame.extend([0x55; 20]);
    for (captured, kept) in [(frame.len(), message), (message - 2, message - 2), (message - 18, message - 18)]
    {
        let mut file = pcap(Endian::Little, 0xa1b2_3c4d, 1);
        let original = u32::try_from(frame.len()).expect("short");
        file.extend(record(Endian::Little, (1, 2), original, &[], &frame[..captured]));
        let rewritten = rewrite(file.clone());
        let mut reader = Reader::from_read("test", Cursor::new(rewritten.clone())).expect("a capture");
        let packet = reader.next().expect("undamaged").expect("a packet");
        assert_eq!((packet.data, packet.original_len), (&frame[..kept], original), "captured {captured}");
        assert_eq!(inputs(rewritten), inputs(file));
    }
}

/// A capture with a handshake on two interfaces of two link types.
fn capture() -> Vec<u8> {
    use crate::capture::build::{Endian, enhanced, interface, option, section};
    let endian = Endian::Big;
    let mut file = section(endian);
    file.extend(interface(endian, 1, 0, &[option(endian, 2, b"wan"), option(endian, 9, &[9])]));
    file.extend(interface(endian, 101, 0, &[option(endian, 9, &[0x94])]));
    let written = write(&[syn(), Segment { flow: SYN.flow.reversed(), ..syn() }]);
    let mut reader = Reader::from_read("test", Cursor::new(written)).expect("a capture");
    let mut number = 0;
    while let Some(packet) = reader.next().expect("undamaged") {
        let mut frame = packet.data.to_vec();
        frame.extend([0x55; 40]);
        let original = u32::try_from(frame.len()).expect("short") + 100;
        number += 1;
        file.extend(enhanced(endian, 1, number << 20, original - 14, &frame[14..], &[]));
        file.extend(enhanced(endian, 0, number, original, &frame, &[option(endian, 2, &endian.u32(1))]));
    }
    file
}

/// What `-w` writes for a capture.
fn rewrite(file: Vec<u8>) -> Vec<u8> {
    let mut source = source(file);
    let (mut writer, mut out) = (Writer::new(), Vec::new());
    let mut inputs = Vec::new();
    let mut names: Vec<(u32, Arc<str>)> = Vec::new();
    loop {
        let mut kept = Vec::new();
        let more = source
            .next_batch_with(&mut inputs, |what, captured| {
                kept.push((
                    what.clone(),
                    captured.ts,
                    captured.link,
                    captured.headers.to_vec(),
                    captured.original_len,
                ));
            })
            .expect("undamaged");
        names.extend(source.new_names());
        for (what, ts, link, headers, original_len) in &kept {
            let segment = what.segment();
            let captured =
                crate::capture::Captured { ts: *ts, link: *link, headers, original_len: *original_len };
            let name =
                names.iter().find(|(number, _)| *number == segment.flow.interface).map(|(_, name)| &**name);
            writer.packet(what, ts.0, name, Origin::Captured(captured), &mut out);
        }
        if !more {
            return out;
        }
    }
}

#[test]
fn what_is_written_from_a_file_is_read_back_as_the_same() {
    let file = capture();
    let rewritten = rewrite(file.clone());
    let (mut before, after) = (inputs(file), inputs(rewritten.clone()));
    // The writer numbers interfaces in the order of their first packets.
    for input in &mut before {
        if let Input::Segment(segment) = input {
            segment.flow.interface = 1 - segment.flow.interface;
        }
    }
    assert_eq!(after, before);
    assert_eq!(after.len(), 4);
    assert_eq!(rewrite(rewritten.clone()), rewritten, "written again it is the same file");
    let mut reader = Reader::from_read("test", Cursor::new(rewritten)).expect("a capture");
    let packet = reader.next().expect("undamaged").expect("a packet");
    assert_eq!((packet.link.0, packet.data.len(), packet.original_len), (101, 60, 200));
    let packet = reader.next().expect("undamaged").expect("a packet");
    assert_eq!((packet.link.0, packet.data.len(), packet.original_len), (1, 74, 214));
    assert_eq!(reader.interfaces()[1].name.as_deref(), Some("wan"));
}

#[test]
fn a_file_without_packets_is_a_file() {
    let mut file = Vec::new();
    let mut writer = Writer::new();
    writer.begin(&mut file);
    writer.begin(&mut file);
    assert!(inputs(file).is_empty());
}

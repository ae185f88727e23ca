extern crate std;

use super::{Quoted, quoted};
use crate::{
    abi::{BIT_EGRESS, BIT_IPV6, IcmpRecord, NO_VLAN, RecordKind},
    flow::{V4, V6},
    record::{Sighting, fill_icmp},
    seq::SeqNum,
    tcp::TcpFlags,
    wire::{Bytes, Icmp, Link, Packet, Parsed, Unparsable, parse},
};
use proptest::prelude::*;
use std::vec::Vec;

/// A SYN from port 40000 to 443 with 20 octets of options.
const SYN: [u8; 40] = [
    0x9c, 0x40, 1, 0xbb, 0, 0, 1, 0, 0, 0, 2, 0, 0xa0, 2, 0xfa, 0xf0, 1, 2, 0, 0, 2, 4, 5, 0xb4, 4, 2, 8, 10,
    0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
const PORTS: u32 = 0x9c40_01bb;

/// An IP header with `options` octets of IPv4 options, or as many of an IPv6 extension header.
fn ip(ipv6: bool, protocol: u8, options: usize, body: &[u8]) -> Vec<u8> {
    let byte = |len: usize| u8::try_from(len).unwrap_or_else(|_| panic!("short"));
    let mut packet = Vec::new();
    if ipv6 {
        let next = if options == 0 { protocol } else { 60 };
        packet.extend([0x60, 0, 0, 0, 0, byte(options + body.len()), next, 55]);
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        if options > 0 {
            packet.extend([protocol, byte(options / 8 - 1)]);
            packet.resize(40 + options, 0);
        }
    } else {
        packet.extend([byte(0x45 + options / 4), 0, 0, byte(20 + options + body.len()), 0, 0, 0x40, 0, 55]);
        packet.extend([protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.resize(20 + options, 1);
    }
    packet.extend(body);
    packet
}

/// An error from a router, or whoever has its address.
fn error(ipv6: bool, kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    let mut message = std::vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(quote);
    let mut packet = ip(ipv6, if ipv6 { 58 } else { 1 }, 0, &message);
    if ipv6 {
        packet[20..24].copy_from_slice(&[10, 0, 0, 9]);
    } else {
        packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
    }
    packet
}

/// What every error here has that is worth recording.
fn refusal(ipv6: bool, quote: &[u8]) -> Vec<u8> {
    if ipv6 { error(true, 1, 4, quote) } else { error(false, 3, 3, quote) }
}

fn icmp(packet: &[u8]) -> Icmp {
    match parse(&Bytes::whole(packet), Link::Ip, None) {
        Parsed::Icmp(icmp) => icmp,
        other => panic!("{other:?}"),
    }
}

fn of(packet: &[u8]) -> Quoted {
    quoted(&Bytes::whole(packet), &icmp(packet))
}

/// What is compared of a quoted segment; its addresses are always the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    ports: u32,
    seq: SeqNum,
    ack: SeqNum,
    flags: TcpFlags,
    window: u16,
    payload_len: u32,
    ttl: u8,
    options_len: usize,
}

impl Seen {
    fn of<A>(packet: &Packet<A>) -> Self {
        let Packet { ports, seq, ack, flags, window, payload_len, ttl, options_len, .. } = *packet;
        Self { ports, seq, ack, flags, window, payload_len, ttl, options_len }
    }
}

fn segment(quoted: Quoted) -> Option<Seen> {
    match quoted {
        Quoted::V4(quote) => {
            let V4 { src, dst } = quote.segment.addresses;
            assert_eq!([src, dst].map(u32::to_ne_bytes), [[10, 0, 0, 1], [10, 0, 0, 2]]);
            Some(Seen::of(&quote.segment))
        }
        Quoted::V6(quote) => {
            let V6 { src, dst } = quote.segment.addresses;
            assert_eq!([src[3], dst[3]].map(u32::to_ne_bytes), [[10, 0, 0, 1], [10, 0, 0, 2]]);
            Some(Seen::of(&quote.segment))
        }
        Quoted::Nothing | Quoted::Short => None,
    }
}

#[test]
fn every_field_of_an_error() {
    for ipv6 in [false, true] {
        let packet = refusal(ipv6, &ip(ipv6, 6, 0, &SYN));
        let message = icmp(&packet);
        assert_eq!((message.ipv6, message.ttl, message.at), (ipv6, 55, if ipv6 { 40 } else { 20 }));
        let mut from = [0; 16];
        message.write_from(&mut from);
        let prefix = if ipv6 {
            [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]
        } else {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        };
        assert_eq!((&from[..12], &from[12..]), (&prefix[..], &[10, 0, 0, 9][..]));
        let quoted = of(&packet);
        let (kind, code) = match quoted {
            Quoted::V4(quote) => (quote.kind, quote.code),
            Quoted::V6(quote) => (quote.kind, quote.code),
            _ => panic!("{quoted:?}"),
        };
        assert_eq!((kind, code), if ipv6 { (1, 4) } else { (3, 3) });
        let segment = segment(quoted).unwrap_or_else(|| panic!("a segment"));
        assert_eq!((segment.ports, segment.seq, segment.ack), (PORTS, SeqNum(256), SeqNum(512)));
        assert_eq!((segment.flags, segment.window), (TcpFlags::SYN, 0xfaf0));
        assert_eq!((segment.payload_len, segment.ttl, segment.options_len), (0, 55, 0));
    }
}

#[test]
fn the_record_of_an_error_is_of_both_packets() {
    let seen = Sighting { ifindex: 7, egress: true, forwarded: false };
    let mut tagged = std::vec![0; 12];
    tagged.extend([0x81, 0, 0, 5, 8, 0]);
    tagged.extend(refusal(false, &ip(false, 6, 0, &SYN)));
    let Parsed::Icmp(message) = parse(&Bytes::whole(&tagged), Link::Ethernet, None) else {
        panic!("not parsed");
    };
    let Quoted::V4(quote) = quoted(&Bytes::whole(&tagged), &message) else {
        panic!("no quote");
    };
    let mut entry = IcmpRecord::EMPTY;
    fill_icmp(&mut entry, &quote, seen);
    let record = entry.record;
    assert_eq!((record.kind, entry.icmp_type, entry.icmp_code), (RecordKind::Icmp as u8, 3, 3));
    assert_eq!((record.ifindex, record.bits, record.ttl, record.vlan), (7, BIT_EGRESS, 55, [5, NO_VLAN]));
    assert_eq!((&record.src[12..], &record.dst[12..]), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    assert_eq!((record.src_port, record.dst_port, record.seq), (40000, 443, 256));
    assert_eq!((record.flags, record.options_len), (2, 0));

    let packet = refusal(true, &ip(true, 6, 0, &SYN));
    let Quoted::V6(quote) = of(&packet) else {
        panic!("no quote");
    };
    fill_icmp(&mut entry, &quote, seen);
    assert_eq!((entry.record.bits, entry.icmp_type, entry.icmp_code), (BIT_EGRESS | BIT_IPV6, 1, 4));
}

#[test]
fn only_errors_that_refuse_are_looked_into() {
    for ipv6 in [false, true] {
        let quote = ip(ipv6, 6, 0, &SYN);
        for kind in 0..=255 {
            for code in 0..=16 {
                let refuses = if ipv6 {
                    [1, 3, 4].contains(&kind)
                } else {
                    [3, 11, 12].contains(&kind) && (kind, code) != (3, 4)
                };
                let found = of(&error(ipv6, kind, code, &quote));
                assert_eq!(segment(found).is_some(), refuses, "v6 {ipv6}, type {kind}, code {code}");
                assert!(refuses || found == Quoted::Nothing);
            }
        }
    }
}

#[test]
fn the_quoted_control_bits_decide_where_they_are_quoted() {
    for ipv6 in [false, true] {
        for flags in 0..0x200_u16 {
            let mut tcp = SYN;
            tcp[12..14].copy_from_slice(&(0xa000 | flags).to_be_bytes());
            let found = segment(of(&refusal(ipv6, &ip(ipv6, 6, 0, &tcp))));
            let opens = flags & 2 != 0 && flags & 5 == 0;
            assert_eq!(found.map(|segment| segment.flags.0), opens.then_some(flags), "{flags:#x}");
        }
    }
}

#[test]
fn as_much_as_the_quote_has() {
    for ipv6 in [false, true] {
        for options in [0, 8, 40] {
            let whole = ip(ipv6, 6, options, &SYN);
            let tcp_at = whole.len() - SYN.len();
            for len in 0..=whole.len() {
                let name = std::format!("v6 {ipv6}, {options} octets of options, quoted {len}");
                // An Ethernet frame has at least 46 octets: what is behind the message is not the quote's.
                let mut packet = refusal(ipv6, &whole[..len]);
                packet.extend([0xee; 18]);
                let found = of(&packet);
                let quoted = len.saturating_sub(tcp_at);
                if quoted < 8 {
                    assert_eq!(found, Quoted::Short, "{name}");
                    continue;
                }
                let segment = segment(found).unwrap_or_else(|| panic!("{name}"));
                assert_eq!((segment.ports, segment.seq.0), (PORTS, 256), "{name}");
                let (flags, ack) = if quoted < 14 { (0, 0) } else { (2, 512) };
                assert_eq!((segment.flags.0, segment.ack.0), (flags, ack), "{name}");
                assert_eq!(segment.window, if quoted < 16 { 0 } else { 0xfaf0 }, "{name}");
                assert_eq!(segment.payload_len, 0, "{name}");
            }
        }
    }
}

#[test]
fn what_was_not_captured_is_not_quoted() {
    let whole = refusal(false, &ip(false, 6, 0, &SYN));
    for len in 28..whole.len() {
        let bytes = Bytes { captured: &whole[..len], wire_len: whole.len() };
        let Parsed::Icmp(message) = parse(&bytes, Link::Ip, None) else {
            panic!("not parsed");
        };
        assert_eq!(message.len, whole.len() - 20, "by the IP length, whatever was captured");
        let found = quoted(&bytes, &message);
        assert_eq!(found == Quoted::Short, len < 56, "{len}");
        assert_eq!(segment(found).is_some(), len >= 56, "{len}");
    }
    let cut = Bytes { captured: &whole[..19], wire_len: whole.len() };
    assert_eq!(parse(&cut, Link::Ip, None), Parsed::Unparsable(Unparsable::Truncated));
}

#[test]
fn the_payload_is_what_the_quoted_lengths_say() {
    let with = |ipv6: bool, change: &dyn Fn(&mut [u8])| {
        let mut quote = ip(ipv6, 6, 8, &SYN);
        change(&mut quote);
        segment(of(&refusal(ipv6, &quote))).map(|segment| segment.payload_len)
    };
    // A SYN with 100 octets of data (RFC 7413), of which none are quoted.
    assert_eq!(with(false, &|quote| quote[3] += 100), Some(100));
    assert_eq!(with(true, &|quote| quote[5] += 100), Some(100));
    // Lengths that leave no room for the headers, and none at all.
    for len in [0, 20, 28, 67] {
        assert_eq!(with(false, &|quote| quote[2..4].copy_from_slice(&[0, len])), Some(0), "{len}");
        assert_eq!(with(true, &|quote| quote[4..6].copy_from_slice(&[0, len.min(47)])), Some(0), "{len}");
    }
    assert_eq!(with(false, &|quote| quote[2] = 0xff), Some(0xff00));
}

#[test]
fn quotes_of_anything_else_are_nothing() {
    let v4 = ip(false, 6, 0, &SYN);
    let v6 = ip(true, 6, 0, &SYN);
    let change = |quote: &[u8], at: usize, value: u8| {
        let mut quote = quote.to_vec();
        quote[at] = value;
        quote
    };
    for (name, ipv6, quote) in [
        ("UDP", false, change(&v4, 9, 17)),
        ("UDP", true, change(&v6, 6, 17)),
        ("ICMPv6", true, change(&v6, 6, 58)),
        ("a later fragment", false, change(&v4, 7, 1)),
        ("IPv6 in ICMP", false, v6.clone()),
        ("IPv4 in ICMPv6", true, [&v4[..], &[0; 40]].concat()),
        ("an IP header of four words", false, change(&v4, 0, 0x44)),
        ("too many extension headers", true, ip(true, 6, 0, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(8))),
    ] {
        let quote = if name.starts_with("too many") { change(&quote, 6, 60) } else { quote };
        assert_eq!(of(&refusal(ipv6, &quote)), Quoted::Nothing, "{name}");
    }
    // The first fragment is as good as the whole.
    assert!(segment(of(&refusal(false, &change(&v4, 6, 0x20)))).is_some());
    let fragment = |offset: u8| ip(true, 44, 0, &[&[6, 0, 0, offset, 0, 0, 0, 9][..], &SYN].concat());
    assert!(segment(of(&refusal(true, &fragment(1)))).is_some());
    assert_eq!(of(&refusal(true, &fragment(9))), Quoted::Nothing);
}

#[test]
fn zeros_behind_a_short_quote_are_padding() {
    for ipv6 in [false, true] {
        let mut quote = ip(ipv6, 6, 0, &SYN);
        let tcp_at = quote.len() - SYN.len();
        quote.truncate(tcp_at + 8);
        quote.resize(128, 0);
        let segment = segment(of(&refusal(ipv6, &quote))).unwrap_or_else(|| panic!("v6 {ipv6}"));
        assert_eq!((segment.ports, segment.flags, segment.ack), (PORTS, TcpFlags(0), SeqNum(0)));
    }
}

#[test]
fn the_packet_around_is_checked_as_any_other() {
    let packet = refusal(false, &ip(false, 6, 0, &SYN));
    let change = |at: usize, value: u8| {
        let mut packet = packet.clone();
        packet[at] = value;
        parse(&Bytes::whole(&packet), Link::Ip, None)
    };
    assert_eq!(change(3, 200), Parsed::Unparsable(Unparsable::BadLength));
    assert_eq!(change(7, 1), Parsed::Other, "a later fragment of ICMP is of no interest");
    assert!(matches!(change(6, 0x20), Parsed::Icmp(_)));
}

proptest! {
    #[test]
    fn any_changed_error_is_looked_into(
        ipv6: bool, options in 0..5_usize, changes in proptest::collection::vec((0..200_usize, any::<u8>()), 0..4),
        cut in 0..120_usize,
    ) {
        let mut packet = refusal(ipv6, &ip(ipv6, 6, options * 8, &SYN));
        for (at, value) in changes {
            let at = at % packet.len();
            packet[at] = value;
        }
        let captured = &packet[..packet.len().saturating_sub(cut)];
        let bytes = Bytes { captured, wire_len: packet.len() };
        if let Parsed::Icmp(message) = parse(&bytes, Link::Ip, None) {
            prop_assert!(message.at + message.len <= packet.len());
            let _ = quoted(&bytes, &message);
        }
    }
}

extern crate std;

use super::{Bytes, Link, Parsed, Unparsable, Vlans, parse};
use crate::{abi::NO_VLAN, seq::SeqNum, tcp::TcpFlags};
use proptest::prelude::*;
use std::vec::Vec;

const TCP: [u8; 24] =
    [0x1f, 0x90, 0, 80, 0, 0, 1, 0, 0, 0, 2, 0, 0x61, 0x12, 0x20, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4];

fn v4(tcp: &[u8]) -> Vec<u8> {
    v4_with(6, tcp)
}

pub(super) fn v4_with(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let total = u8::try_from(20 + rest.len()).unwrap_or_default();
    let mut packet =
        std::vec![0x45, 0, 0, total, 0, 0, 0x40, 0, 61, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend(rest);
    packet
}

pub(super) fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = std::vec![0x60, 0, 0, 0, 0, u8::try_from(rest.len()).unwrap_or_default(), next, 61];
    packet.extend([0x20; 32]);
    packet.extend(rest);
    packet
}

fn frame(tags: &[u16], ethertype: u16, ip: &[u8]) -> Vec<u8> {
    let mut frame = std::vec![0; 12];
    for tci in tags {
        frame.extend([0x81, 0]);
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(ip);
    frame
}

fn reason(parsed: Parsed) -> Option<Unparsable> {
    match parsed {
        Parsed::Unparsable(reason) => Some(reason),
        _ => None,
    }
}

fn of(bytes: &[u8], link: Link) -> Parsed {
    parse(&Bytes::whole(bytes), link, None)
}

#[test]
fn every_field_of_a_segment() {
    let Parsed::V4(packet) = of(&frame(&[], 0x0800, &v4(&TCP)), Link::Ethernet) else {
        panic!("not parsed");
    };
    assert_eq!(packet.ports, 0x1f90_0050);
    assert_eq!((packet.seq, packet.ack), (SeqNum(256), SeqNum(512)));
    assert_eq!(packet.flags, TcpFlags(0x112));
    assert_eq!((packet.window, packet.ttl, packet.payload_len), (0x2000, 61, 0));
    assert_eq!((packet.options_at, packet.options_len), (14 + 20 + 20, 4));
    assert_eq!(packet.addresses.src.to_ne_bytes(), [10, 0, 0, 1]);
}

#[test]
fn payload_is_what_the_ip_length_says_not_the_padding() {
    let mut segment = TCP.to_vec();
    segment.extend([1, 2, 3]);
    let mut bytes = frame(&[], 0x0800, &v4(&segment));
    bytes.extend([0; 9]);
    let Parsed::V4(packet) = of(&bytes, Link::Ethernet) else {
        panic!("not parsed");
    };
    assert_eq!(packet.payload_len, 3);
}

#[test]
fn a_length_of_zero_is_a_big_packet() {
    let mut ip = v4(&TCP);
    ip[2..4].copy_from_slice(&[0, 0]);
    let Parsed::V4(packet) = parse(&Bytes { captured: &ip, wire_len: 150_000 }, Link::Ip, None) else {
        panic!("not parsed");
    };
    assert_eq!(packet.payload_len, 150_000 - 20 - 24);
    let mut ip = v6(6, &TCP);
    ip[5] = 0;
    let Parsed::V6(packet) = parse(&Bytes { captured: &ip, wire_len: 150_000 }, Link::Ip, None) else {
        panic!("not parsed");
    };
    assert_eq!(packet.payload_len, 150_000 - 40 - 24);
}

#[test]
fn tags_offloaded_and_in_band() {
    for (offloaded, tags, ids) in [
        (None, &[][..], [NO_VLAN, NO_VLAN]),
        (None, &[0x6005], [5, NO_VLAN]),
        (Some(0x2007), &[], [7, NO_VLAN]),
        (Some(7), &[5], [7, 5]),
        (None, &[7, 5], [7, 5]),
        (Some(9), &[7, 5], [9, 7]),
        // A priority tag names no VLAN.
        (Some(0x6000), &[5], [5, NO_VLAN]),
    ] {
        let bytes = frame(tags, 0x0800, &v4(&TCP));
        let Parsed::V4(packet) = parse(&Bytes::whole(&bytes), Link::Ethernet, offloaded) else {
            panic!("not parsed: {offloaded:?} {tags:?}");
        };
        assert_eq!(packet.vlans.ids(), ids, "{offloaded:?} {tags:?}");
    }
    assert_eq!(Vlans::NONE.ids(), [NO_VLAN, NO_VLAN]);
    let deep = frame(&[1, 2, 3], 0x0800, &v4(&TCP));
    assert_eq!(reason(of(&deep, Link::Ethernet)), Some(Unparsable::VlanDepth));
}

#[test]
fn what_contradicts_is_refused() {
    let change = |at: usize, value: u8| {
        let mut ip = v4(&TCP);
        ip[at] = value;
        of(&ip, Link::Ip)
    };
    for (name, parsed, expected) in [
        ("header of 4 words", change(0, 0x44), Unparsable::BadLength),
        ("version 5", change(0, 0x55), Unparsable::BadVersion),
        ("total length less than the header", change(3, 19), Unparsable::BadLength),
        ("total length beyond the frame", change(3, 45), Unparsable::BadLength),
        ("TCP header of 4 words", change(32, 0x40), Unparsable::BadLength),
        ("TCP header beyond the packet", change(32, 0xf0), Unparsable::BadLength),
        (
            "IPv6 in a frame that says IPv4",
            of(&frame(&[], 0x0800, &v6(6, &TCP)), Link::Ethernet),
            Unparsable::BadVersion,
        ),
        (
            "IPv4 in a frame that says IPv6",
            of(&frame(&[], 0x86dd, &v4(&TCP)), Link::Ethernet),
            Unparsable::BadVersion,
        ),
    ] {
        assert_eq!(reason(parsed), Some(expected), "{name}");
    }
}

#[test]
fn extension_headers_up_to_the_depth() {
    for depth in 0..=8_usize {
        let mut rest = Vec::new();
        for place in 0..depth {
            rest.extend([if place + 1 == depth { 6 } else { 60 }, 0, 0, 0, 0, 0, 0, 0]);
        }
        rest.extend(TCP);
        let parsed = of(&v6(if depth == 0 { 6 } else { 60 }, &rest), Link::Ip);
        match parsed {
            Parsed::V6(packet) => assert_eq!((packet.payload_len, packet.options_len), (0, 4)),
            other => assert_eq!(reason(other), Some(Unparsable::ExtensionDepth)),
        }
        assert_eq!(matches!(parsed, Parsed::V6(_)), depth <= super::MAX_EXTENSIONS);
    }
}

#[test]
fn fragments_are_told_apart() {
    let mut ip = v4(&TCP);
    ip[7] = 1;
    assert_eq!(of(&ip, Link::Ip), Parsed::Fragment);
    ip[9] = 17;
    assert_eq!(of(&ip, Link::Ip), Parsed::Other);
    let mut first = std::vec![6, 0, 0, 1, 0, 0, 0, 9];
    first.extend(TCP);
    assert!(matches!(of(&v6(44, &first), Link::Ip), Parsed::V6(_)));
    first[3] = 8;
    assert_eq!(of(&v6(44, &first), Link::Ip), Parsed::Fragment);
    first[0] = 17;
    assert_eq!(of(&v6(44, &first), Link::Ip), Parsed::Other);
}

#[test]
fn a_header_that_goes_on_in_the_next_fragment_is_told_from_one_that_is_cut() {
    // The last ends in its options.
    for at in [8, 16, 20] {
        for padded in [false, true] {
            let mut ip = v4(&TCP[..at]);
            // "More fragments", in both versions.
            ip[6] = 0x20;
            let mut ip6 = v6(44, &[&[6, 0, 0, 1, 0, 0, 0, 9], &TCP[..at]].concat());
            for bytes in [&mut ip, &mut ip6] {
                if padded {
                    bytes.extend([0x61; 40]);
                }
                assert_eq!(reason(of(bytes, Link::Ip)), Some(Unparsable::SplitHeader), "{at}");
            }
            ip[6] = 0;
            assert_ne!(reason(of(&ip, Link::Ip)), Some(Unparsable::SplitHeader), "{at}");
        }
    }
}

#[test]
fn truncated_at_every_length() {
    for bytes in [frame(&[5], 0x0800, &v4(&TCP)), frame(&[5, 6], 0x86dd, &v6(6, &TCP))] {
        for len in 0..bytes.len() - 4 {
            let cut = Bytes { captured: &bytes[..len], wire_len: bytes.len() };
            assert_eq!(reason(parse(&cut, Link::Ethernet, None)), Some(Unparsable::Truncated), "{len}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(
        bytes in proptest::collection::vec(any::<u8>(), 0..120), wire_len in 0_usize..200, l3: bool, tci: Option<u16>,
    ) {
        let link = if l3 { Link::Ip } else { Link::Ethernet };
        let _ = parse(&Bytes { captured: &bytes, wire_len }, link, tci);
    }

    #[test]
    fn any_changed_packet_is_parsed(at in 12_usize..90, value: u8, ipv6: bool) {
        let mut bytes = if ipv6 { frame(&[], 0x86dd, &v6(6, &TCP)) } else { frame(&[], 0x0800, &v4(&TCP)) };
        let at = at.min(bytes.len() - 1);
        bytes[at] = value;
        if let Parsed::V4(packet) = of(&bytes, Link::Ethernet) {
            prop_assert!(packet.options_at + packet.options_len <= bytes.len());
        }
    }
}

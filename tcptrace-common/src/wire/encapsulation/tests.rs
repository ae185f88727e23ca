extern crate std;

use crate::{
    abi::NO_VLAN,
    wire::{
        Bytes, Link, Parsed, Unparsable, parse,
        tests::{v4_with as v4, v6},
    },
};
use std::vec::Vec;

/// A SYN from port 8080 to port 80.
const TCP: [u8; 20] = [0x1f, 0x90, 0, 80, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The SYN, in these VLANs.
    Syn([u16; 2]),
    Other,
    Fragment,
    Bad(Unparsable),
}

fn see(link: Link, bytes: Bytes<'_>) -> Seen {
    let (ports, vlans) = match parse(&bytes, link, None) {
        Parsed::V4(packet) => (packet.ports, packet.vlans),
        Parsed::V6(packet) => (packet.ports, packet.vlans),
        Parsed::Unparsable(reason) => return Seen::Bad(reason),
        Parsed::Fragment => return Seen::Fragment,
        Parsed::Other | Parsed::Icmp(_) | Parsed::Rare | Parsed::Tunnel(_) => return Seen::Other,
    };
    assert_eq!(ports, 0x1f90_0050);
    Seen::Syn(vlans.ids())
}

const NO: [u16; 2] = [NO_VLAN; 2];
const MACS: [u8; 12] = [2; 12];

/// Rows of headers between the addresses of a frame and IP, with what comes of them.
fn check(ip: &[u8], rows: &[(&str, &[u8], Seen)]) {
    for (name, headers, expected) in rows {
        let frame = [&MACS[..], headers, ip].concat();
        assert_eq!(see(Link::Ethernet, Bytes::whole(&frame)), *expected, "{name}");
        // The same from behind the Ethernet type on.
        let ethertype = u16::from_be_bytes([headers[0], headers[1]]);
        assert_eq!(see(Link::Behind(ethertype), Bytes::whole(&frame[14..])), *expected, "{name}, behind");
        // Cut anywhere, it is cut or nothing, never another packet.
        for len in 0..frame.len() {
            let cut = Bytes { captured: &frame[..len], wire_len: frame.len() };
            let seen = see(Link::Ethernet, cut);
            assert!(seen == *expected || seen == Seen::Bad(Unparsable::Truncated), "{name}, cut: {seen:?}");
            if let Seen::Syn(_) = expected {
                assert_eq!(seen, Seen::Bad(Unparsable::Truncated), "{name}, cut at {len}");
            }
        }
    }
}

fn labels(depth: usize) -> Vec<u8> {
    let entry = |place| [0, 1, u8::from(place + 1 == depth), 64];
    [&[0x88, 0x47][..], &(0..depth).flat_map(entry).collect::<Vec<u8>>()].concat()
}

#[test]
fn labels_down_to_the_bottom_of_the_stack() {
    let deep = Seen::Bad(Unparsable::LabelDepth);
    for ip in [v4(6, &TCP), v6(6, &TCP)] {
        check(
            &ip,
            &[
                ("one label", &labels(1), Seen::Syn(NO)),
                ("two", &labels(2), Seen::Syn(NO)),
                ("as many as are walked", &labels(super::MAX_LABELS), Seen::Syn(NO)),
                ("one more", &labels(super::MAX_LABELS + 1), deep),
                ("upstream-assigned (RFC 5332)", &[0x88, 0x48, 0, 1, 1, 64], Seen::Syn(NO)),
                ("in a VLAN", &[&[0x81, 0, 0, 5][..], &labels(2)].concat(), Seen::Syn([5, NO_VLAN])),
                ("a pseudowire's control word", &[&labels(1)[..], &[0; 4]].concat(), Seen::Other),
            ],
        );
    }
}

#[test]
fn sessions_of_ppp() {
    let session = |rest: &[u8]| [&[0x88, 0x64][..], rest].concat();
    check(
        &v4(6, &TCP),
        &[
            ("IPv4", &session(&[0x11, 0, 0, 7, 0, 42, 0, 0x21]), Seen::Syn(NO)),
            ("its protocol compressed", &session(&[0x11, 0, 0, 7, 0, 41, 0x21]), Seen::Syn(NO)),
            (
                "in two VLANs",
                &[&[0x88, 0xa8, 0, 3, 0x81, 0, 0, 4][..], &session(&[0x11, 0, 0, 7, 0, 42, 0, 0x21])]
                    .concat(),
                Seen::Syn([3, 4]),
            ),
            ("as IPv6", &session(&[0x11, 0, 0, 7, 0, 42, 0, 0x57]), Seen::Bad(Unparsable::BadVersion)),
            ("PPP's link control", &session(&[0x11, 0, 0, 7, 0, 42, 0xc0, 0x21]), Seen::Other),
            ("another code", &session(&[0x11, 9, 0, 7, 0, 42, 0, 0x21]), Seen::Other),
            ("another version", &session(&[0x21, 0, 0, 7, 0, 42, 0, 0x21]), Seen::Other),
            ("discovery", &[0x88, 0x63, 0x11, 0, 0, 7, 0, 42, 0, 0x21], Seen::Other),
        ],
    );
    check(&v6(6, &TCP), &[("IPv6", &session(&[0x11, 0, 0, 7, 0, 62, 0, 0x57]), Seen::Syn(NO))]);
}

#[test]
fn lengths_and_llc() {
    let snap = |rest: &[u8]| [&[0, 48, 0xaa, 0xaa, 3, 0, 0, 0][..], rest].concat();
    let tags = |numbers: &[u8]| numbers.iter().flat_map(|&number| [0x81, 0, 0, number]).collect::<Vec<u8>>();
    check(
        &v4(6, &TCP),
        &[
            ("SNAP", &snap(&[8, 0]), Seen::Syn(NO)),
            ("802.1H", &[0, 48, 0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0], Seen::Syn(NO)),
            ("the longest length", &[5, 0xff, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], Seen::Syn(NO)),
            ("the least type", &[6, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], Seen::Other),
            ("in a VLAN", &[&[0x81, 0, 0, 5][..], &snap(&[8, 0])].concat(), Seen::Syn([5, NO_VLAN])),
            ("two VLANs within", &snap(&[&tags(&[5, 6])[..], &[8, 0]].concat()), Seen::Syn([5, 6])),
            (
                "three VLANs within",
                &snap(&[&tags(&[5, 6, 7])[..], &[8, 0]].concat()),
                Seen::Bad(Unparsable::VlanDepth),
            ),
            ("labels within", &snap(&labels(3)), Seen::Syn(NO)),
            ("a session within", &snap(&[0x88, 0x64, 0x11, 0, 0, 7, 0, 42, 0, 0x21]), Seen::Syn(NO)),
            ("a length within", &snap(&snap(&[8, 0])), Seen::Other),
            ("another organization", &[0, 48, 0xaa, 0xaa, 3, 0, 0, 12, 8, 0], Seen::Other),
            ("LLC's number for IP", &[0, 43, 6, 6, 3], Seen::Syn(NO)),
            ("spanning tree", &[0, 38, 0x42, 0x42, 3], Seen::Other),
            ("not unnumbered information", &[0, 48, 0xaa, 0xaa, 7, 0, 0, 0, 8, 0], Seen::Other),
        ],
    );
    // What an LLC header ends is whole.
    let short = [&MACS[..], &[0, 3, 0, 1, 0xaf]].concat();
    assert_eq!(see(Link::Ethernet, Bytes::whole(&short)), Seen::Other);
}

#[test]
fn tags_of_all_numbers() {
    for number in [0x8100_u16, 0x88a8, 0x9100, 0x9200, 0x9300] {
        let [high, low] = number.to_be_bytes();
        check(
            &v4(6, &TCP),
            &[
                ("alone", &[high, low, 0, 5, 8, 0], Seen::Syn([5, NO_VLAN])),
                ("outside", &[high, low, 0, 5, 0x81, 0, 0, 6, 8, 0], Seen::Syn([5, 6])),
            ],
        );
    }
}

/// RFC 4302 §2: next header, length in words less 2, then at least 8 octets.
fn authentication(next: u8, words: u8) -> Vec<u8> {
    let mut header = std::vec![0; 4 * usize::from(words)];
    header[..2].copy_from_slice(&[next, words - 2]);
    header
}

#[test]
fn an_authentication_header_before_tcp_in_ipv4() {
    let behind = |headers: &[Vec<u8>]| v4(51, &[&headers.concat()[..], &TCP].concat());
    let ip = |packet: &[u8]| see(Link::Ip, Bytes::whole(packet));
    assert_eq!(ip(&behind(&[authentication(6, 6)])), Seen::Syn(NO));
    assert_eq!(ip(&behind(&[authentication(6, 3)])), Seen::Syn(NO));
    assert_eq!(ip(&behind(&[authentication(17, 6)])), Seen::Other);
    let twice = behind(&[authentication(51, 6), authentication(6, 6)]);
    assert_eq!(ip(&twice), Seen::Bad(Unparsable::ExtensionDepth));
    let mut beyond = behind(&[authentication(6, 6)]);
    beyond[21] = 200;
    assert_eq!(ip(&beyond), Seen::Bad(Unparsable::BadLength));
    let mut fragment = behind(&[authentication(6, 6)]);
    fragment[7] = 3;
    assert_eq!(ip(&fragment), Seen::Fragment);
    let whole = behind(&[authentication(6, 6)]);
    for len in 0..whole.len() {
        let cut = Bytes { captured: &whole[..len], wire_len: whole.len() };
        assert_eq!(see(Link::Ip, cut), Seen::Bad(Unparsable::Truncated), "{len}");
    }
}

#[test]
fn every_kind_of_extension_header() {
    for kind in 0..=255 {
        let rest = match kind {
            51 => authentication(6, 6),
            _ => std::vec![6, 0, 0, 0, 0, 0, 0, 0],
        };
        let seen = see(Link::Ip, Bytes::whole(&v6(kind, &[&rest[..], &TCP].concat())));
        let known = [0, 43, 44, 51, 60, 135, 139, 140].contains(&kind);
        // TCP itself would have other ports there.
        if kind != 6 {
            assert_eq!(seen, if known { Seen::Syn(NO) } else { Seen::Other }, "{kind}");
        }
    }
}

extern crate std;

use super::{
    Decap, Deep, End,
    End::{BadLength, Inside, Other, Truncated},
    MAX_GTP_EXTENSIONS, MAX_TZSP_TAGS, Step, TunnelProtocol, enter, inside,
};
use crate::wire::{
    Bytes, Link, Parsed, Unparsable, Vlans, parse,
    tests::{v4_with, v6},
};
use proptest::prelude::*;
use std::vec::Vec;

const TCP: [u8; 20] = [0x1f, 0x90, 0, 80, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0];

fn inner() -> Vec<u8> {
    v4_with(6, &TCP)
}

fn inner_v6() -> Vec<u8> {
    v6(6, &TCP)
}

fn frame(ethertype: u16, rest: &[u8]) -> Vec<u8> {
    [&[2; 12], &ethertype.to_be_bytes()[..], rest].concat()
}

fn udp(port: u16, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + rest.len()).unwrap_or_default();
    [&[0x80, 0][..], &port.to_be_bytes(), &len.to_be_bytes(), &[0, 0], rest].concat()
}

/// What a bare IP packet leads to, by as many steps as there are tunnels, at most three.
fn walk(packet: &[u8], decap: &Decap) -> (Vec<Step>, Parsed) {
    let packet = Deep { packet: Bytes::whole(packet), decap };
    let mut parsed = parse(&packet, Link::Ip, None);
    let mut steps = Vec::new();
    while let (Parsed::Tunnel(outer), true) = (parsed, steps.len() < 3) {
        let step = enter(&packet, outer.ipv6, outer.protocol, outer.at);
        steps.push(step);
        if step.end != Inside {
            break;
        }
        parsed = inside(&packet, step.ethertype, step.at, outer.fragmented);
    }
    (steps, parsed)
}

/// A header's shape: its name, the protocol that IP says, its bytes, and what is made of it: the end, the kind, the
/// identifier.
type Shape = (&'static str, u8, Vec<u8>, End, TunnelProtocol, Option<u32>);

fn shapes() -> Vec<Shape> {
    [behind_ip(), vxlan_and_geneve(), gtp(), tzsp()].concat()
}

fn before(header: &[u8], rest: &[u8]) -> Vec<u8> {
    [header, rest].concat()
}

fn behind_ip() -> Vec<Shape> {
    let (packet, ethernet) = (inner(), frame(0x0800, &inner()));
    let gre = before;
    std::vec![
        ("IPv4", 4, packet.clone(), Inside, TunnelProtocol::Ipip, None),
        ("IPv6", 41, inner_v6(), Inside, TunnelProtocol::SixInFour, None),
        ("GRE", 47, gre(&[0, 0, 8, 0], &packet), Inside, TunnelProtocol::Gre, None),
        ("GRE, IPv6", 47, gre(&[0, 0, 0x86, 0xdd], &inner_v6()), Inside, TunnelProtocol::Gre, None),
        ("GRE, MPLS", 47, gre(&[0, 0, 0x88, 0x47, 0, 0, 1, 64], &packet), Inside, TunnelProtocol::Gre, None),
        ("GRE, checksum", 47, gre(&[0x80, 0, 8, 0, 1, 2, 0, 0], &packet), Inside, TunnelProtocol::Gre, None),
        (
            "GRE, key",
            47,
            gre(&[0x20, 0, 8, 0, 0, 0, 1, 2], &packet),
            Inside,
            TunnelProtocol::Gre,
            Some(0x102)
        ),
        ("GRE, key 0", 47, gre(&[0x20, 0, 8, 0, 0, 0, 0, 0], &packet), Inside, TunnelProtocol::Gre, Some(0)),
        (
            "GRE, all three, Ethernet",
            47,
            gre(&[0xb0, 0, 0x65, 0x58, 9, 9, 0, 0, 0xff, 0, 0, 1, 0, 0, 0, 3], &ethernet),
            Inside,
            TunnelProtocol::Gre,
            Some(0xff00_0001),
        ),
        ("GRE, routing", 47, gre(&[0x40, 0, 8, 0, 0, 0, 0, 0], &packet), Other, TunnelProtocol::Gre, None),
        (
            "GRE, version 1",
            47,
            gre(&[0x20, 1, 0x88, 0x0b, 0, 0, 0, 0], &packet),
            Other,
            TunnelProtocol::Gre,
            None
        ),
        ("GRE, a length for a type", 47, gre(&[0, 0, 5, 0xff], &packet), Other, TunnelProtocol::Gre, None),
        (
            "GRE, key cut",
            47,
            std::vec![0xa0, 0, 8, 0, 0, 0, 0, 0, 1, 2, 3],
            Truncated,
            TunnelProtocol::Gre,
            None
        ),
        (
            "EoIP",
            47,
            gre(&[0x20, 1, 0x64, 0, 0, 54, 0x19, 0], &ethernet),
            Inside,
            TunnelProtocol::Gre,
            Some(0x19),
        ),
        ("GRE in UDP", 17, udp(4754, &gre(&[0, 0, 8, 0], &packet)), Inside, TunnelProtocol::Gre, None),
        ("ERSPAN I", 47, gre(&[0, 0, 0x88, 0xbe], &ethernet), Inside, TunnelProtocol::Erspan, None),
        (
            "ERSPAN II",
            47,
            gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 5, 0xf8, 0x64, 0, 0, 0, 0], &ethernet),
            Inside,
            TunnelProtocol::Erspan,
            Some(0x64),
        ),
        (
            "ERSPAN III with a subheader",
            47,
            [
                &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0x80, 1][..],
                &[0; 8],
                &ethernet
            ]
            .concat(),
            Inside,
            TunnelProtocol::Erspan,
            Some(1),
        ),
        (
            "ERSPAN III of IP frames",
            47,
            gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0x88, 0], &packet),
            Other,
            TunnelProtocol::Erspan,
            None,
        ),
    ]
}

fn vxlan_and_geneve() -> Vec<Shape> {
    let (packet, ethernet) = (inner(), frame(0x0800, &inner()));
    let vx = |port, header: [u8; 8], rest: &[u8]| udp(port, &before(&header, rest));
    let mut options = std::vec![0x3f, 0, 0x65, 0x58, 0, 0, 9, 0];
    options.extend([7; 252]);
    std::vec![
        (
            "VXLAN",
            17,
            vx(4789, [8, 0, 0, 0, 1, 2, 3, 0xff], &ethernet),
            Inside,
            TunnelProtocol::Vxlan,
            Some(0x1_0203)
        ),
        (
            "VXLAN, Linux",
            17,
            vx(8472, [8, 0, 0, 0, 0, 0, 5, 0], &ethernet),
            Inside,
            TunnelProtocol::Vxlan,
            Some(5)
        ),
        (
            "VXLAN, no identifier",
            17,
            vx(4789, [0, 0, 0, 0, 0, 0, 5, 0], &ethernet),
            Other,
            TunnelProtocol::Vxlan,
            None
        ),
        (
            "VXLAN-GPE",
            17,
            vx(4789, [0xc, 0, 0, 1, 0, 0, 5, 0], &packet),
            Inside,
            TunnelProtocol::Vxlan,
            Some(5)
        ),
        (
            "VXLAN-GPE of NSH",
            17,
            vx(4789, [0xc, 0, 0, 4, 0, 0, 5, 0], &packet),
            Other,
            TunnelProtocol::Vxlan,
            None
        ),
        ("VXLAN cut", 17, udp(4789, &[8, 0, 0, 0, 0, 0, 5]), Truncated, TunnelProtocol::Vxlan, None),
        (
            "Geneve",
            17,
            vx(6081, [0, 0, 0x65, 0x58, 0, 0, 9, 0], &ethernet),
            Inside,
            TunnelProtocol::Geneve,
            Some(9),
        ),
        (
            "Geneve, 252 octets of options",
            17,
            udp(6081, &[options, ethernet.clone()].concat()),
            Inside,
            TunnelProtocol::Geneve,
            Some(9)
        ),
        (
            "Geneve, options beyond the packet",
            17,
            vx(6081, [0x3f, 0, 0x65, 0x58, 0, 0, 9, 0], &ethernet),
            BadLength,
            TunnelProtocol::Geneve,
            None,
        ),
        (
            "Geneve, version 1",
            17,
            vx(6081, [0x40, 0, 8, 0, 0, 0, 9, 0], &packet),
            Other,
            TunnelProtocol::Geneve,
            None
        ),
    ]
}

fn gtp() -> Vec<Shape> {
    let (packet, ethernet) = (inner(), frame(0x0800, &inner()));
    let gtp = |header: &[u8]| udp(2152, &before(header, &packet));
    let mut many = std::vec![0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85];
    for _ in 0..MAX_GTP_EXTENSIONS {
        many.extend([1, 0, 0, 0x85]);
    }
    std::vec![
        ("GTP-U", 17, gtp(&[0x30, 255, 0, 0, 0, 0, 0, 7]), Inside, TunnelProtocol::GtpU, Some(7)),
        (
            "GTP-U, sequence",
            17,
            gtp(&[0x32, 255, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0]),
            Inside,
            TunnelProtocol::GtpU,
            Some(7)
        ),
        (
            "GTP-U, a type without its flag",
            17,
            gtp(&[0x32, 255, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0x85]),
            Inside,
            TunnelProtocol::GtpU,
            Some(7),
        ),
        (
            "GTP-U, two extension headers",
            17,
            gtp(&[0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0, 9, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0]),
            Inside,
            TunnelProtocol::GtpU,
            Some(7),
        ),
        (
            "GTP-U, an extension of length 0",
            17,
            gtp(&[0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 0, 0, 0, 0]),
            BadLength,
            TunnelProtocol::GtpU,
            None,
        ),
        ("GTP-U, one extension too many", 17, gtp(&many), End::Deep, TunnelProtocol::GtpU, None),
        (
            "GTP-U, an extension beyond the packet",
            17,
            gtp(&[0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 255, 0, 0, 0]),
            Truncated,
            TunnelProtocol::GtpU,
            None,
        ),
        (
            "GTP-U, echo request",
            17,
            gtp(&[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
            Other,
            TunnelProtocol::GtpU,
            None
        ),
        ("GTP'", 17, gtp(&[0x20, 255, 0, 0, 0, 0, 0, 7]), Other, TunnelProtocol::GtpU, None),
        (
            "GTP-U of Ethernet",
            17,
            udp(2152, &[&[0x30, 255, 0, 0, 0, 0, 0, 7][..], &ethernet].concat()),
            Other,
            TunnelProtocol::GtpU,
            None,
        ),
    ]
}

fn tzsp() -> Vec<Shape> {
    let ethernet = frame(0x0800, &inner());
    let tagged = |header: [u8; 4], tags: &[u8]| udp(37008, &[&header[..], tags, &ethernet].concat());
    let received = |tags: &[u8]| tagged([1, 0, 0, 1], tags);
    let many = |tags: usize| [&std::vec![0; tags][..], &[1]].concat();
    let long = [&[60, 255][..], &[1; 255], &[41, 2, 1, 0, 1]].concat();
    let is = |name, bytes, end| (name, 17, bytes, end, TunnelProtocol::Tzsp, None);
    std::vec![
        is("TZSP", received(&[1]), Inside),
        is("TZSP, padding", received(&[0, 0, 1]), Inside),
        // A value of 1 is no end.
        is("TZSP, tags", received(&[10, 1, 1, 0, 13, 4, 1, 1, 1, 1, 99, 0, 1]), Inside),
        is("TZSP, a tag as long as can be", received(&long), Inside),
        is("TZSP, as many tags as are walked", received(&many(MAX_TZSP_TAGS)), Inside),
        is("TZSP, one tag too many", received(&many(MAX_TZSP_TAGS + 1)), End::Deep),
        is("TZSP, a tag beyond the packet", received(&[60, 255]), Truncated),
        is("TZSP, no end", udp(37008, &[1, 0, 0, 1, 10, 1, 200, 0]), Truncated),
        is("TZSP, nothing behind the end", udp(37008, &[1, 0, 0, 1, 1]), Truncated),
        is("TZSP, header cut", udp(37008, &[1, 0, 0]), Truncated),
        is("TZSP, version 2", tagged([2, 0, 0, 1], &[1]), Other),
        is("TZSP, to be sent", tagged([1, 1, 0, 1], &[1]), Other),
        is("TZSP, a sensor that says that it is there", udp(37008, &[1, 4, 0, 0]), Other),
        is("TZSP of 802.11", tagged([1, 0, 0, 18], &[1]), Other),
        is("TZSP of Ethernet in the other octet", tagged([1, 0, 1, 0], &[1]), Other),
    ]
}

#[test]
fn tags_of_tzsp_cut_anywhere() {
    let tags = [0, 10, 1, 200, 99, 0, 60, 6, 1, 1, 1, 1, 1, 1, 0, 1];
    let bytes = udp(37008, &[&[1, 0, 0, 1][..], &tags, &frame(0x0800, &inner())].concat());
    let whole = long_v4(17, &bytes);
    let at_frame = 20 + 8 + 4 + tags.len();
    for len in 20..=whole.len() {
        let (steps, parsed) = walk(&whole[..len], &Decap::all());
        let name = std::format!("cut at {len}: {steps:?}, {parsed:?}");
        // Before its port can be read nobody can say that it is a tunnel.
        assert_eq!(steps.is_empty(), len < 24, "{name}");
        let Some(step) = steps.first() else { continue };
        // By one octet of the frame: the end is read with what is behind it.
        assert_eq!(step.end, if len > at_frame { Inside } else { Truncated }, "{name}");
        assert_eq!(step.at, if len > at_frame { at_frame } else { 0 }, "{name}");
        assert_eq!(matches!(parsed, Parsed::V4(_)), len == whole.len(), "{name}");
    }
}

#[test]
fn every_header_over_both_families() {
    for (name, protocol, bytes, end, kind, id) in shapes() {
        for ipv6 in [false, true] {
            let packet = if ipv6 { long_v6(protocol, &bytes) } else { long_v4(protocol, &bytes) };
            let kind = match (ipv6, protocol) {
                (true, 4) => TunnelProtocol::FourInSix,
                (true, 41) => TunnelProtocol::Ipip,
                _ => kind,
            };
            let (steps, parsed) = walk(&packet, &Decap::all());
            let [step] = steps[..] else { panic!("{name}: {} steps", steps.len()) };
            assert_eq!((step.end, step.kind), (end, kind), "{name}, v6 {ipv6}");
            assert_eq!(step.has_id.then_some(step.id), id, "{name}, v6 {ipv6}");
            let read = matches!(parsed, Parsed::V4(tcp) if tcp.ports == 0x1f90_0050)
                || matches!(parsed, Parsed::V6(tcp) if tcp.ports == 0x1f90_0050);
            assert_eq!(read, end == Inside, "{name}, v6 {ipv6}: {parsed:?}");
            // Nothing is looked into without being told to, nor at another kind's.
            assert_eq!(walk(&packet, &Decap::NONE).1, Parsed::Other, "{name}");
            let others = TunnelProtocol::ALL.into_iter().filter(|&other| other != kind);
            let (steps, parsed) = walk(&packet, &others.fold(Decap::NONE, Decap::with));
            assert!(steps.iter().all(|step| step.end != Inside), "{name}, v6 {ipv6}");
            assert!(!matches!(parsed, Parsed::V4(_) | Parsed::V6(_)), "{name}, v6 {ipv6}");
        }
    }
}

/// The test packets of the parser say their length in one octet.
fn long_v4(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = v4_with(protocol, rest);
    packet[2..4].copy_from_slice(&u16::try_from(20 + rest.len()).unwrap_or_default().to_be_bytes());
    packet
}

fn long_v6(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = v6(protocol, rest);
    packet[4..6].copy_from_slice(&u16::try_from(rest.len()).unwrap_or_default().to_be_bytes());
    packet
}

#[test]
fn the_outer_header() {
    let tagged = [&[2; 12][..], &[0x81, 0, 0, 7, 8, 0], &v4_with(4, &inner())].concat();
    let packet = Deep { packet: Bytes::whole(&tagged), decap: &Decap::all() };
    let Parsed::Tunnel(outer) = parse(&packet, Link::Ethernet, Some(5)) else { panic!("no tunnel") };
    assert_eq!((outer.vlans, outer.at, outer.ipv6), (Vlans::of([5, 7]), 14 + 4 + 20, false));
    assert_eq!(outer.src[3].to_ne_bytes(), [10, 0, 0, 1]);
    // The inner frame's tags are its own.
    let frame = [&[2; 12][..], &[0x81, 0, 0, 9, 8, 0], &inner()].concat();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0], &frame[..]].concat();
    let (_, parsed) = walk(&v4_with(17, &udp(4789, &vxlan)), &Decap::all());
    assert!(matches!(parsed, Parsed::V4(tcp) if tcp.vlans == Vlans::of([9, 0xffff])));
}

#[test]
fn tunnels_in_tunnels() {
    let mut packet = inner();
    for depth in 1..5 {
        packet = v4_with(4, &packet);
        let (steps, parsed) = walk(&packet, &Decap::all());
        assert_eq!(steps.len(), depth.min(3));
        assert_eq!(matches!(parsed, Parsed::V4(_)), depth <= 3);
        assert_eq!(matches!(parsed, Parsed::Tunnel(_)), depth > 3);
    }
}

/// What begins within its own header is nothing, and above all not a packet within itself.
#[test]
fn an_outer_header_that_is_too_short() {
    for words in 0..5 {
        let mut packet = v4_with(4, &v4_with(4, &inner()));
        packet[0] = 0x40 + words;
        let (steps, parsed) = walk(&packet, &Decap::all());
        assert_eq!((steps.len(), parsed), (0, Parsed::Unparsable(Unparsable::BadLength)), "{words} words");
        let (_, parsed) = walk(&packet, &Decap::NONE);
        assert_eq!(parsed, Parsed::Other, "nobody asked for tunnels");
        let mut within = v4_with(4, &packet);
        within[20] = 0x40 + words;
        let (steps, parsed) = walk(&within, &Decap::all());
        assert_eq!(
            (steps.len(), parsed),
            (1, Parsed::Unparsable(Unparsable::BadLength)),
            "{words} words within"
        );
    }
}

#[test]
fn fragments_of_the_outer_packet() {
    let mut whole = v4_with(4, &long_v4(6, &[&TCP[..], &[0; 100]].concat()));
    whole.truncate(20 + 48);
    whole[3] = 68;
    // Its length says that the rest is missing.
    let (_, parsed) = walk(&whole, &Decap::all());
    assert_eq!(parsed, Parsed::Unparsable(Unparsable::BadLength));
    // With more fragments it may be.
    whole[6] = 0x20;
    let (_, parsed) = walk(&whole, &Decap::all());
    assert!(matches!(parsed, Parsed::V4(tcp) if tcp.payload_len == 100));
    // Of a later one nobody can say, but of what it is.
    whole[7] = 1;
    assert_eq!(walk(&whole, &Decap::all()).1, Parsed::Fragment);
    assert_eq!(walk(&whole, &Decap::NONE).1, Parsed::Other);
    let first = [&[4, 0, 0, 1, 0, 0, 0, 9][..], &long_v4(6, &[&TCP[..], &[0; 100]].concat())[..48]].concat();
    let (_, parsed) = walk(&v6(44, &first), &Decap::all());
    assert!(matches!(parsed, Parsed::V4(tcp) if tcp.payload_len == 100));
}

#[test]
fn what_is_asked_for() {
    let at =
        |port| v4_with(17, &udp(port, &[&[8, 0, 0, 0, 0, 0, 5, 0], &frame(0x0800, &inner())[..]].concat()));
    let asked = Decap::NONE.with_port(TunnelProtocol::Vxlan, 4790).expect("a port");
    for (port, decap, found) in [
        (4789, Decap::NONE.with(TunnelProtocol::Vxlan), true),
        (4790, Decap::NONE.with(TunnelProtocol::Vxlan), false),
        (4790, asked, true),
        (4789, asked, false),
        (4789, asked.with(TunnelProtocol::Vxlan), true),
    ] {
        assert_eq!(matches!(walk(&at(port), &decap).1, Parsed::V4(_)), found, "{port}");
    }
    assert_eq!(asked.with_port(TunnelProtocol::Vxlan, 4790), Some(asked));
    assert_eq!(asked.with_port(TunnelProtocol::Geneve, 4790), None);
    let mut full = Decap::NONE;
    for port in 1..=12 {
        full = full.with_port(TunnelProtocol::Vxlan, port).expect("room");
    }
    assert_eq!(full.with_port(TunnelProtocol::Vxlan, 13), None);
    assert!(Decap::NONE.is_none() && !asked.is_none());
}

#[test]
fn a_kind_survives_its_code() {
    for (index, kind) in TunnelProtocol::ALL.into_iter().enumerate() {
        assert_eq!((TunnelProtocol::from_code(kind as u8), kind.index()), (Some(kind), index));
    }
    assert_eq!((TunnelProtocol::from_code(0), TunnelProtocol::from_code(10)), (None, None));
}

proptest! {
    #[test]
    fn any_changed_tunnel_is_parsed(shape in 0_usize..64, changes in proptest::collection::vec((20_usize..120, any::<u8>()), 0..6), cut in 0_usize..300, ipv6: bool) {
        let shapes = shapes();
        let (_, protocol, bytes, ..) = &shapes[shape % shapes.len()];
        let mut packet = if ipv6 { long_v6(*protocol, bytes) } else { long_v4(*protocol, bytes) };
        for (at, value) in changes {
            let at = at % packet.len();
            packet[at] = value;
        }
        packet.truncate(cut.max(20));
        let (_, parsed) = walk(&packet, &Decap::all());
        if let Parsed::V4(tcp) = parsed {
            prop_assert!(tcp.options_at <= packet.len());
        }
    }
}

use super::{Device, Dissected, UnknownLink, dissect};
use crate::{
    capture::{LinkType, Packet},
    segment::{Direction, Timestamp},
};
use proptest::prelude::*;
use tcptrace_common::wire::{Parsed, Unparsable, tunnel::Decap};

/// An IPv4 SYN from port 1025 to port 80.
const V4: [u8; 40] = [
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    4, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

/// The same SYN over IPv6.
fn v6() -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    packet.extend([1; 32]);
    packet.extend(&V4[20..]);
    packet
}

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    let original_len = u32::try_from(data.len()).expect("short");
    let (ts, direction) = (Timestamp(0), Direction::Unknown);
    Packet { ts, link, interface: 0, direction, data, original_len, dropped: 0 }
}

fn dissected(packet: &Packet<'_>, decap: &Decap) -> Result<Dissected, UnknownLink> {
    let mut out = Dissected::NOTHING;
    dissect(packet, decap, &mut out).map(|()| out)
}

/// Where the IP or Ethernet header of the SYN above was found, and its VLANs; `None` if no TCP header was found.
fn found(link: LinkType, data: &[u8]) -> Option<(usize, [u16; 2])> {
    let dissected = dissected(&packet(link, data), &Decap::NONE).expect("a known link type");
    let (ports, vlans) = match dissected.parsed {
        Parsed::V4(tcp) => (tcp.ports, tcp.vlans),
        Parsed::V6(tcp) => (tcp.ports, tcp.vlans),
        _ => return None,
    };
    assert_eq!(ports, 0x0401_0050);
    Some((dissected.at, vlans.ids()))
}

const NO: u16 = 0xffff;
const MACS: [u8; 12] = [2; 12];
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

fn behind(header: &[u8]) -> Vec<u8> {
    [header, &V4].concat()
}

fn behind_v6(header: &[u8]) -> Vec<u8> {
    [header, &v6()].concat()
}

#[test]
fn every_link_type_leads_to_the_same_segment() {
    let ethernet = |rest: &[u8]| [&MACS[..], rest].concat();
    let snap = |ethertype: &[u8]| [&SNAP[..], ethertype].concat();
    let rows = [
        ("Ethernet", 1, behind(&ethernet(&[8, 0])), 0, [NO, NO]),
        ("Ethernet, IPv6", 1, behind_v6(&ethernet(&[0x86, 0xdd])), 0, [NO, NO]),
        ("a VLAN", 1, behind(&ethernet(&[0x81, 0, 0, 5, 8, 0])), 0, [5, NO]),
        ("802.3 with SNAP", 1, behind(&ethernet(&[&[0, 48][..], &snap(&[8, 0])].concat())), 0, [NO, NO]),
        (
            "SNAP in two VLANs",
            1,
            behind(&ethernet(&[&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5, 0, 48][..], &snap(&[8, 0])].concat())),
            0,
            [7, 5],
        ),
        (
            "a VLAN in SNAP",
            1,
            behind(&ethernet(&[&[0, 52][..], &snap(&[0x81, 0, 0, 9, 8, 0])].concat())),
            0,
            [9, NO],
        ),
        ("802.1H", 1, behind(&ethernet(&[0, 48, 0xaa, 0xaa, 3, 0, 0, 0xf8, 8, 0])), 0, [NO, NO]),
        ("LLC of IP", 1, behind(&ethernet(&[0, 43, 6, 6, 3])), 0, [NO, NO]),
        ("RAW", 101, V4.to_vec(), 0, [NO, NO]),
        ("RAW, IPv6", 101, v6(), 0, [NO, NO]),
        ("RAW of BSD", 12, V4.to_vec(), 0, [NO, NO]),
        ("RAW of OpenBSD", 14, V4.to_vec(), 0, [NO, NO]),
        ("IPV4", 228, V4.to_vec(), 0, [NO, NO]),
        ("IPV6", 229, v6(), 0, [NO, NO]),
        ("NULL, little-endian", 0, behind(&[2, 0, 0, 0]), 4, [NO, NO]),
        ("NULL, big-endian", 0, behind(&[0, 0, 0, 2]), 4, [NO, NO]),
        ("NULL, Darwin's IPv6", 0, behind_v6(&[30, 0, 0, 0]), 4, [NO, NO]),
        ("LOOP", 108, behind(&[0, 0, 0, 2]), 4, [NO, NO]),
        ("LOOP, the wrong way round", 108, behind_v6(&[24, 0, 0, 0]), 4, [NO, NO]),
        ("SLL", 113, behind(&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0]), 16, [NO, NO]),
        (
            "SLL with a VLAN",
            113,
            behind(&[0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0, 0, 5, 8, 0]),
            16,
            [5, NO],
        ),
        (
            "SLL2",
            276,
            behind_v6(&[0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 2, 2, 2, 2, 2, 0, 0]),
            20,
            [NO, NO],
        ),
        ("PPP", 9, behind(&[0, 0x21]), 2, [NO, NO]),
        ("PPP, IPv6 with address and control", 9, behind_v6(&[0xff, 3, 0, 0x57]), 4, [NO, NO]),
        ("PPP, compressed protocol", 9, behind(&[0x21]), 1, [NO, NO]),
        ("PPP in HDLC", 50, behind(&[0xff, 3, 0, 0x21]), 4, [NO, NO]),
        ("Cisco's HDLC as PPP", 50, behind(&[0x0f, 0, 8, 0]), 4, [NO, NO]),
        ("Cisco's HDLC", 104, behind(&[0x8f, 0, 8, 0]), 4, [NO, NO]),
        ("PPPoE", 51, behind(&[0x11, 0, 0, 1, 0, 42, 0, 0x21]), 0, [NO, NO]),
        ("FDDI", 10, behind(&[&[0x50][..], &MACS, &snap(&[8, 0])].concat()), 13, [NO, NO]),
        (
            "SLL with two MPLS labels",
            113,
            behind_v6(&[0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x88, 0x47, 0, 1, 0, 9, 0, 2, 1, 9]),
            16,
            [NO, NO],
        ),
        ("NFLOG", 239, behind(&[2, 0, 0, 0, 6, 0, 10, 0, 65, 0, 0, 0, 44, 0, 9, 0]), 16, [NO, NO]),
        ("NFLOG, big-endian", 239, behind(&[2, 0, 0, 0, 0, 44, 0, 9]), 8, [NO, NO]),
        (
            "PPI over Ethernet",
            192,
            behind(&[&[0, 0, 8, 0, 1, 0, 0, 0][..], &MACS, &[8, 0]].concat()),
            8,
            [NO, NO],
        ),
        ("PPI over NULL", 192, behind(&[0, 0, 8, 0, 0, 0, 0, 0, 2, 0, 0, 0]), 12, [NO, NO]),
    ];
    for (name, link, data, at, vlans) in rows {
        assert_eq!(found(LinkType(link), &data), Some((at, vlans)), "{name}");
        // A packet that is cut anywhere is counted as cut or as nothing known, and never read as another packet.
        for len in 0..data.len() - 20 {
            let cut = Packet {
                original_len: u32::try_from(data.len()).expect("short"),
                ..packet(LinkType(link), &data[..len])
            };
            let parsed = dissected(&cut, &Decap::NONE).expect("a known link type").parsed;
            assert!(
                matches!(parsed, Parsed::Other | Parsed::Unparsable(Unparsable::Truncated)),
                "{name} cut to {len}: {parsed:?}"
            );
        }
    }
}

/// An 802.11 header with these control bytes, `len` bytes long.
fn wireless(control: [u8; 2], len: usize) -> Vec<u8> {
    let mut header = vec![0; len];
    header[..2].copy_from_slice(&control);
    header
}

#[test]
fn wireless_data_frames_are_read() {
    let snap = [&SNAP[..], &[8, 0]].concat();
    for (name, control, len) in [
        ("data", [0x08, 1], 24),
        ("between access points", [0x08, 3], 30),
        ("with quality of service", [0x88, 2], 26),
        ("with HT control", [0x88, 0x82], 30),
    ] {
        let frame = behind(&[wireless(control, len), snap.clone()].concat());
        assert_eq!(found(LinkType::IEEE802_11, &frame), Some((len, [NO, NO])), "{name}");
        let radiotap = [&[0, 0, 9, 0, 2, 0, 0, 0, 0][..], &frame].concat();
        assert_eq!(found(LinkType::RADIOTAP, &radiotap), Some((len + 9, [NO, NO])), "{name}");
    }
    for (name, control) in [
        ("beacon", [0x80, 0]),
        ("no data", [0x48, 1]),
        ("encrypted", [0x08, 0x41]),
        ("acknowledgement", [0xd4, 0]),
    ] {
        let frame = behind(&[wireless(control, 24), snap.clone()].concat());
        assert_eq!(found(LinkType::IEEE802_11, &frame), None, "{name}");
    }
    // A later fragment has no header of its own.
    let mut fragment = behind(&[wireless([0x08, 1], 24), snap.clone()].concat());
    fragment[22] = 1;
    assert_eq!(found(LinkType::IEEE802_11, &fragment), None);
    // In this header, the second word of the bitmap says that a time and flags are there, and the flags say that the
    // 802.11 header is padded.
    let mut radiotap = vec![0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
    radiotap.extend([0; 8]);
    radiotap.push(0x20);
    let frame = [&radiotap[..], &wireless([0x88, 2], 26), &[0, 0], &snap, &V4].concat();
    assert_eq!(found(LinkType::RADIOTAP, &frame), Some((25 + 28, [NO, NO])));
}

#[test]
fn cooked_headers_say_the_direction_and_the_device() {
    let sll2 = |kind| behind(&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, kind, 6, 2, 2, 2, 2, 2, 2, 0, 0]);
    for (kind, direction) in
        [(0, Direction::Ingress), (2, Direction::Ingress), (3, Direction::Unknown), (4, Direction::Egress)]
    {
        let data = sll2(kind);
        let dissected = dissected(&packet(LinkType::LINUX_SLL2, &data), &Decap::NONE).expect("known");
        assert_eq!((dissected.direction, dissected.device), (direction, Some(Device::Index(3))));
    }
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let known = packet(LinkType(274), &V4);
    assert_eq!(dissected(&known, &Decap::NONE), Err(UnknownLink(LinkType(274))));
    let ppi = behind(&[0, 0, 8, 0, 0x12, 1, 0, 0]);
    assert_eq!(dissected(&packet(LinkType::PPI, &ppi), &Decap::NONE), Err(UnknownLink(LinkType::PPI)));
    let within_itself = behind(&[0, 0, 8, 0, 192, 0, 0, 0]);
    assert_eq!(
        dissected(&packet(LinkType::PPI, &within_itself), &Decap::NONE),
        Err(UnknownLink(LinkType::PPI))
    );
    for (name, link, data) in [
        ("ARP", 1, behind(&[&MACS[..], &[8, 6]].concat())),
        ("spanning tree", 1, behind(&[&MACS[..], &[0, 38, 0x42, 0x42, 3]].concat())),
        ("IPX in SNAP", 1, behind(&[&MACS[..], &[0, 48], &SNAP, &[0x81, 0x37]].concat())),
        ("SLL of netlink", 113, behind(&[0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("NULL of another family", 0, behind(&[7, 0, 0, 0])),
        ("PPP's link control", 9, behind(&[0xff, 3, 0xc0, 0x21])),
        ("PPPoE's discovery", 51, behind(&[0x11, 9, 0, 0, 0, 42, 0, 0x21])),
        ("an FDDI token", 10, behind(&[&[0x80][..], &MACS, &SNAP, &[8, 0]].concat())),
        ("NFLOG of a bridge", 239, behind(&[7, 0, 0, 0, 44, 0, 9, 0])),
    ] {
        assert_eq!(found(LinkType(link), &data), None, "{name}");
    }
}

proptest! {
    #[test]
    fn any_bytes_of_any_link_type_are_looked_at(
        link in prop_oneof![0_u16..300, Just(1), Just(105), Just(127), Just(192), Just(239)],
        data in proptest::collection::vec(any::<u8>(), 0..120),
        original_len: u32,
    ) {
        let _ = dissected(&Packet { original_len, ..packet(LinkType(link), &data) }, &Decap::NONE);
    }
}

//! The bodies of the fuzz targets as property tests, over bytes that get far.

use super::*;
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// The beginning of an IPv4 packet with UDP to a port.
fn udp_to(port: u16, rest: &[u8]) -> Just<Vec<u8>> {
    let ip = [255, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 17];
    Just([&ip[..], &[10; 10], &[1, 1], &port.to_be_bytes(), &[0, 60, 0, 0], rest].concat())
}

/// Bytes that get further in the parser than random ones.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(vec![200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45]),
        Just(vec![200, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60]),
        // These begin with MPLS, PPPoE and LLC with SNAP, also in a VLAN.
        Just([&[200, 0][..], &[0; 12], &[0x88, 0x47, 0, 0, 0, 9, 0, 0, 1, 9, 0x45]].concat()),
        Just([&[200, 0][..], &[0; 12], &[0x91, 0, 0, 5, 0x88, 0x48]].concat()),
        Just([&[200, 0][..], &[0; 12], &[0x88, 0x64, 0x11, 0, 0, 7, 0, 99, 0, 0x57, 0x60]].concat()),
        Just([&[200, 0][..], &[0; 12], &[0, 99, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45]].concat()),
        Just([&[200, 0][..], &[0; 12], &[0x81, 0, 0, 5, 0, 99, 0xaa, 0xaa, 3, 0, 0, 0]].concat()),
        // These begin with IP in IP, GRE with all fields, VXLAN, Geneve with options, GTP-U with extension headers and
        // TZSP with tags.
        Just([&[255, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 4][..], &[10; 10], &[0x45]].concat()),
        Just([&[255, 0, 0x60, 0, 0, 0, 0, 99, 4, 64][..], &[10; 32], &[0x45]].concat()),
        Just([&[255, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 47][..], &[10; 10], &[0xb0, 0, 0x65, 0x58]].concat()),
        Just([&[255, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 47][..], &[10; 10], &[0x10, 0, 0x22, 0xeb]].concat()),
        udp_to(4789, &[8, 0, 0, 0]),
        udp_to(6081, &[2, 0, 0x65, 0x58]),
        udp_to(2152, &[0x34, 255, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x85, 1]),
        udp_to(37008, &[1, 0, 0, 1, 0, 10, 1, 200]),
        Just(vec![255, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6]),
        Just([&[255, 0, 0x45, 0, 0, 99, 0, 0, 0, 0, 64, 51][..], &[10; 10], &[6, 4]].concat()),
        Just([&[255, 0, 0x60, 0, 0, 0, 0, 99, 135, 64][..], &[10; 32], &[51, 0]].concat()),
        Just(vec![255, 0, 0x60, 0, 0, 0, 0, 60]),
        Just(
            [&[255, 0, 0x45, 0, 0, 90, 0, 0, 0, 0, 64, 1][..], &[10; 10], &[3, 3, 0, 0, 0, 0, 0, 0, 0x45]]
                .concat()
        ),
        Just(
            [&[255, 0, 0x60, 0, 0, 0, 0, 99, 58, 64][..], &[10; 32], &[1, 4, 0, 0, 0, 0, 0, 0, 0x60]]
                .concat()
        ),
    ];
    (start, bytes(120)).prop_map(|(start, rest)| [start, rest].concat())
}

/// Words of filters, and between them some that are not of the language.
fn expression() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "host",
        "net",
        "port",
        "portrange",
        "src",
        "dst",
        "and",
        "or",
        "not",
        "(",
        ")",
        "in",
        "{",
        "}",
        "80",
        "443-90",
        "192.0.2.2",
        "192.0.2.0/24",
        "192.0.2",
        "mask",
        "255.0.0.0",
        "2001::2",
        "2001::/16",
        "::/0",
        "two",
        "http",
        "vlan",
        "5",
        "ip",
        "ip6",
        "tcp",
        "inbound",
        "outbound",
        "&&",
        "!",
        "4294967296",
    ];
    let word = prop_oneof![
        12 => proptest::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => bytes(6),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.join(&b' '))
}

proptest! {
    #[test]
    fn files(bytes in bytes(400)) {
        file(&bytes);
        file(&[&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0], &bytes[..]].concat());
    }

    #[test]
    fn packets(any in bytes(120), packet in packet()) {
        headers(&any);
        headers(&packet);
    }

    #[test]
    fn option_lists(bytes in bytes(60)) {
        options(&bytes);
    }

    #[test]
    fn records(mut bytes in proptest::collection::vec(any::<u8>(), 176), sound: bool, tunnel: bool, kind in 0..8_u8, any in bytes(200)) {
        if sound {
            // Flags, kind, bits, options and reserved bytes are valid.
            bytes[66..68].copy_from_slice(&[0; 2]);
            bytes[74..76].copy_from_slice(&[0; 2]);
            bytes[83..86].copy_from_slice(&[kind, if tunnel { 8 } else { 0 }, 0]);
            if kind == 6 {
                bytes[106..112].copy_from_slice(&[0; 6]);
            }
            for len in [PLAIN, ICMP, SYN] {
                // The kind, the bits and the zero bytes of a tunnel are valid at each place where one may be.
                let end = len + size_of::<abi::Tunnel>();
                let (kind, bits) = (1 + bytes[0] % 8, bytes[1] & 1);
                let rest = if end == bytes.len() || tunnel { end - 8..end } else { 168..176 };
                bytes[rest].copy_from_slice(&[kind, bits, 0, 0, 0, 0, 0, 0]);
            }
        }
        for len in [PLAIN, ICMP, SYN].into_iter().flat_map(|len| [len, len + size_of::<abi::Tunnel>()]) {
            record(&bytes[..len]);
            capture(&bytes[..len]);
        }
        record(&any);
        capture(&any);
    }

    #[test]
    fn records_of_sockets(octet: u8, code in 0..8_u8, process: bool) {
        use abi::RecordKind::{Fin, Rst, Syn, SynAck};
        let kind = abi::RecordKind::from_code(code);
        let bits = if process { abi::BIT_SOCKET | abi::BIT_PROCESS } else { abi::BIT_SOCKET };
        for (head, block, kinds) in [(SYN, size_of::<abi::Owner>(), [Syn, SynAck]), (PLAIN, size_of::<abi::Socket>(), [Fin, Rst])] {
            let mut bytes = vec![octet; head + block];
            // Flags, kind, bits, options and what is always 0 are valid.
            bytes[66..68].copy_from_slice(&[0; 2]);
            bytes[74..76].copy_from_slice(&[0; 2]);
            bytes[83..86].copy_from_slice(&[code, bits, 0]);
            if head == SYN {
                bytes[SYN + block - 4..].fill(0);
            }
            // No process.
            bytes.extend(&[0; size_of::<abi::Process>()][..if process { size_of::<abi::Process>() } else { 0 }]);
            assert_eq!(decode::record(&bytes).is_ok(), kind.is_some_and(|kind| kinds.contains(&kind)));
            record(&bytes);
            record(&bytes[..bytes.len() - 1]);
        }
    }

    #[test]
    fn requests(any in bytes(300), at in 0_usize..60, octet: u8, len in 0_usize..2100) {
        request(&any);
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 32], &[0, 0, 2, 19, 1, 1, 0, 0, 9, 0, 0, 0, 5, 0, 3, 0, 0]];
        let mut hello = hello.concat();
        hello[at.min(59)] = octet;
        hello.extend(&any);
        request(&hello);
        request(&[b"GET / HTTP/1.1\r\nHost: ", &any[..]].concat());
        // A record with a request, of any length.
        let mut bytes = vec![octet; PLAIN + size_of::<abi::Request>()];
        bytes[66..68].copy_from_slice(&1_u16.to_ne_bytes());
        bytes[74..76].copy_from_slice(&[0; 2]);
        bytes[83..86].copy_from_slice(&[5, 0, 0]);
        bytes[PLAIN..PLAIN + 8].fill(0);
        bytes[PLAIN..PLAIN + 4].copy_from_slice(&(len as u32).to_ne_bytes());
        let room = bytes.len() - PLAIN - 8;
        let part = hello.len().min(room);
        bytes[PLAIN + 8..PLAIN + 8 + part].copy_from_slice(&hello[..part]);
        assert_eq!(decode::record(&bytes).is_ok(), len <= abi::REQUEST_OCTETS);
        record(&bytes);
        record(&bytes[..bytes.len() - 1]);
    }

    #[test]
    fn trackers(bytes in bytes(1200)) {
        tracker(&bytes);
    }

    #[test]
    fn filters(any in bytes(60), expression in expression()) {
        filter(&any);
        filter(&expression);
    }

    #[test]
    fn what_is_printed(name in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'e')], printed::NAME), rest in bytes(600)) {
        lines(&[name, rest].concat());
    }
}

//! What lies between Ethernet and TCP besides plain IP: MPLS, PPPoE, LLC with SNAP, authentication headers.

use crate::{
    ETHERNET,
    packets::{Frame, Rng, Shape},
    pair::Pair,
    show_error,
};
use tcptrace_common::{
    abi::RecordKind,
    wire::{Link, Unparsable},
};
use tcptrace_testing::kernel::test_run::Program;

/// Each shape, and whether it is looked into.
fn shapes() -> Vec<(Shape, bool)> {
    let mut shapes = vec![
        (Shape::PppoE, true),
        (Shape::Snap(vec![]), true),
        (Shape::Snap(vec![5]), true),
        (Shape::Snap(vec![5, 6]), true),
        (Shape::Snap(vec![5, 6, 7]), false),
    ];
    for depth in 1..=10 {
        shapes.push((Shape::Mpls(depth), depth <= 8));
        shapes.push((Shape::SnapMpls(depth), depth <= 8));
    }
    shapes
}

/// The frame that the tests show in every shape: as much in every header as there can be.
fn frame(ipv6: bool, tags: usize, shape: Shape) -> Frame {
    Frame {
        flags: 2,
        ipv6,
        vlans: [0x2064, 0x0007][..tags].to_vec(),
        shape,
        options: (0..40).collect(),
        payload: 3,
        padding: 9,
        ..Frame::default()
    }
}

#[test]
fn every_shape_behind_tags_and_before_more_headers() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for (shape, read) in shapes() {
            for tags in 0..=2 {
                for (ipv6, headers) in
                    [(false, 0), (false, 1), (false, 10), (true, 0), (true, 1), (true, 6), (true, 7)]
                {
                    let frame = Frame {
                        extensions: vec![60; if ipv6 { headers } else { 0 }],
                        ip_options: if ipv6 { 0 } else { headers * 4 },
                        ..frame(ipv6, tags, shape.clone())
                    };
                    let name = format!("{program:?}, {tags} tags, {shape:?}, v6 {ipv6}, {headers} headers");
                    let record = pair.show(&name, &frame.bytes());
                    let read = read && headers != 7;
                    assert_eq!(record.is_some(), read, "{name}");
                    let Some(record) = record else { continue };
                    let segment = record.what.segment();
                    let inner = if let Shape::Snap(tags) = &shape { &tags[..] } else { &[] };
                    let mut ids = [&[100, 7][..tags], inner, &[0xffff; 2]].concat();
                    ids.truncate(2);
                    assert_eq!(segment.flow.vlan[..], ids, "{name}");
                    assert_eq!(
                        (segment.seq.0, segment.payload_len),
                        (1000, 3),
                        "{name}: padding is not payload"
                    );
                    assert_eq!(segment.options.map(|options| options.as_slice().len()), Some(40), "{name}");
                }
            }
        }
        let unparsable = pair.parser.counters().unparsable;
        assert!(
            unparsable[Unparsable::LabelDepth as usize] > 0 && unparsable[Unparsable::VlanDepth as usize] > 0
        );
        pair.finish();
    }
}

#[test]
fn shapes_cut_anywhere() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for shape in [Shape::PppoE, Shape::Snap(vec![5]), Shape::Mpls(8), Shape::SnapMpls(2)] {
            for ipv6 in [false, true] {
                let frame = Frame { padding: 0, ..frame(ipv6, 1, shape.clone()) };
                let bytes = frame.bytes();
                for len in 15..=bytes.len() {
                    let record = pair.show(&format!("{shape:?}, v6 {ipv6}, cut at {len}"), &bytes[..len]);
                    assert_eq!(record.is_some(), len == bytes.len());
                }
            }
        }
        assert!(pair.parser.counters().unparsable[Unparsable::Truncated as usize] > 0);
        pair.finish();
    }
}

#[test]
fn shapes_that_were_tampered_with() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        let mut rng = Rng(23);
        for shape in [Shape::PppoE, Shape::Snap(vec![5]), Shape::Mpls(2), Shape::SnapMpls(1)] {
            for ipv6 in [false, true] {
                let plain = frame(ipv6, 1, shape.clone());
                let (bytes, end) = (plain.bytes(), plain.bytes().len() - plain.ip().len() - plain.padding);
                // Every value of every byte down to the first of IP, one at a time.
                for at in 12..=end {
                    for value in 0..=255 {
                        let mut bytes = bytes.clone();
                        bytes[at] = value;
                        pair.show(&format!("{shape:?}, v6 {ipv6}, byte {at} is {value}"), &bytes);
                    }
                }
                pair.show_tampered(&mut rng, &bytes, 12, 300);
            }
        }
        pair.finish();
    }
}

#[test]
fn tags_of_every_number() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for outer in [0x8100_u16, 0x88a8, 0x9100, 0x9200, 0x9300, 0x9400] {
            for ipv6 in [false, true] {
                let mut bytes = Frame { flags: 2, ipv6, vlans: vec![7, 5], ..Frame::default() }.bytes();
                bytes[12..14].copy_from_slice(&outer.to_be_bytes());
                let record = pair.show(&format!("{outer:#x}, v6 {ipv6}"), &bytes);
                let vlan = record.map(|record| record.what.segment().flow.vlan);
                assert_eq!(vlan, (outer != 0x9400).then_some([7, 5]), "{outer:#x}, v6 {ipv6}");
            }
        }
        pair.finish();
    }
}

#[test]
fn authentication_headers() {
    for program in Program::ALL {
        let mut pair = Pair::new(program, 64);
        for authentication in 0..=3 {
            for ip_options in [0, 4, 40] {
                for fragment in [0, 1] {
                    let segment =
                        Frame { flags: 0x12, authentication, ip_options, fragment, ..Frame::default() };
                    let bytes = if pair.link() == Link::Ip { segment.ip() } else { segment.bytes() };
                    let name = format!(
                        "{program:?}, {authentication} headers, {ip_options} octets, offset {fragment}"
                    );
                    let record = pair.show(&name, &bytes);
                    assert_eq!(record.is_some(), authentication <= 1 && fragment == 0, "{name}");
                    assert_eq!(record.map_or(0, |record| record.what.segment().payload_len), 0);
                    // Of an error and in its quote.
                    let refused = show_error(&mut pair, &name, &segment.error(3, 1, 600));
                    assert_eq!(refused.is_some(), authentication <= 1 && fragment == 0, "{name}, quoted");
                }
                let error = Frame { flags: 2, ..Frame::default() }.error(3, 1, 60);
                let error = Frame { ip_options, authentication, ..error };
                let found = show_error(&mut pair, "an error that is authenticated", &error);
                assert_eq!(found.is_some(), authentication <= 1);
            }
        }
        let counters = pair.parser.counters();
        assert_eq!(counters.fragments, 12);
        // Two and three headers, three lengths of options; of segments and of errors.
        assert_eq!(counters.unparsable[Unparsable::ExtensionDepth as usize], 12);
        assert_eq!(counters.emitted[RecordKind::Icmp.index()], 12);
        // Its length may be anything.
        let segment = Frame { flags: 1, authentication: 1, payload: 100, ..Frame::default() };
        let bytes = if pair.link() == Link::Ip { segment.ip() } else { segment.bytes() };
        let at = bytes.len() - segment.ip().len() + 20;
        for len in 0..=255 {
            let mut bytes = bytes.clone();
            bytes[at + 1] = len;
            pair.show(&format!("{program:?}, length {len}"), &bytes);
        }
        for next in 0..=255 {
            let mut bytes = bytes.clone();
            bytes[at] = next;
            pair.show(&format!("{program:?}, next header {next}"), &bytes);
        }
        pair.finish();
    }
}

#[test]
fn errors_in_every_shape() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        for (shape, read) in shapes() {
            for ipv6 in [false, true] {
                let syn = Frame { ipv6, flags: 2, ..Frame::default() };
                let error = Frame { vlans: vec![9], shape: shape.clone(), ..syn.error(3, 0, 100) };
                let name = format!("{program:?}, {shape:?}, v6 {ipv6}");
                let found = show_error(&mut pair, &name, &error);
                assert_eq!(found.is_some(), read, "{name}");
            }
        }
        pair.finish();
    }
}

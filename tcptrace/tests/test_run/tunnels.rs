//! Packets in tunnels: both sides say the same of them, and nothing without being told to look.

use crate::{
    ETHERNET,
    packets::{Frame, Rng, tunnel::Wrap},
    pair::Pair,
};
use tcptrace::segment::Observation;
use tcptrace_common::{
    abi::RecordKind,
    wire::{
        Link, Unparsable,
        tunnel::{Decap, TunnelProtocol},
    },
};
use tcptrace_testing::kernel::test_run::Program;

fn outer(ipv6: bool) -> Frame {
    Frame { ipv6, src: 0xc0a8_0001, dst: 0xc0a8_0002, vlans: vec![5], ..Frame::default() }
}

fn bytes(pair: &Pair, frame: &Frame) -> Vec<u8> {
    if pair.link() == Link::Ip { frame.ip() } else { frame.bytes() }
}

fn kind(wrap: Wrap, outer: bool, inner: bool) -> (TunnelProtocol, Option<u32>) {
    match wrap {
        Wrap::Ip if outer == inner => (TunnelProtocol::Ipip, None),
        Wrap::Ip => (if outer { TunnelProtocol::FourInSix } else { TunnelProtocol::SixInFour }, None),
        Wrap::Gre(_, key, _) => (TunnelProtocol::Gre, key),
        Wrap::Bridged(key) => (TunnelProtocol::Gre, Some(key)),
        Wrap::GreInUdp => (TunnelProtocol::Gre, None),
        Wrap::Erspan(session) => (TunnelProtocol::Erspan, Some(session.into())),
        Wrap::Vxlan(_, id) => (TunnelProtocol::Vxlan, Some(id)),
        Wrap::Geneve(id, _) => (TunnelProtocol::Geneve, Some(id)),
        Wrap::GtpU(id, _) => (TunnelProtocol::GtpU, Some(id)),
        Wrap::Tzsp(_) => (TunnelProtocol::Tzsp, None),
    }
}

#[test]
fn every_tunnel_with_a_whole_handshake_in_it() {
    for program in Program::ALL {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        for wrap in Wrap::ALL {
            for (over_v6, inner_v6) in [(false, false), (false, true), (true, false), (true, true)] {
                let name = format!("{program:?}, {wrap:?}, v6 {inner_v6} over v6 {over_v6}");
                let there = outer(over_v6);
                let syn = Frame {
                    ipv6: inner_v6,
                    flags: 2,
                    options: (0..40).collect(),
                    payload: 3,
                    vlans: vec![9],
                    ..Frame::default()
                };
                let packet = bytes(&pair, &wrap.around(&there, &syn));
                let record = pair.show(&name, &packet).unwrap_or_else(|| panic!("{name}: no record"));
                let Observation::Segment(segment) = &record.what else { panic!("{name}: {record:?}") };
                assert_eq!((segment.flow.src_port, segment.payload_len), (1234, 3), "{name}");
                assert_eq!(segment.options.map(|options| options.as_slice().len()), Some(40), "{name}");
                let layers = segment.encapsulation.as_deref().unwrap_or_default();
                let [layer] = layers else { panic!("{name}: {layers:?}") };
                assert_eq!((layer.kind, layer.id), kind(wrap, over_v6, inner_v6), "{name}");
                assert_eq!(
                    (&layer.src[12..], &layer.dst[12..]),
                    (&[192, 168, 0, 1][..], &[192, 168, 0, 2][..])
                );
                let tags = if pair.link() == Link::Ip { [0xffff; 2] } else { [5, 0xffff] };
                assert_eq!(layer.vlan, tags, "{name}");

                // The way back, by the same end points: the acknowledgement that it announces is recorded, and data is not.
                let synack = Frame { flags: 0x12, options: vec![], payload: 0, ..syn.reversed() };
                let back = bytes(&pair, &wrap.around(&there.reversed(), &synack));
                let answer = pair.show(&name, &back).unwrap_or_else(|| panic!("{name}: no answer"));
                assert_eq!(answer.what.segment().flow.tunnel, segment.flow.tunnel, "{name}: both directions");
                let ack = Frame { flags: 0x10, ack: 1001, options: vec![], payload: 0, ..syn.clone() };
                for expected in [true, false] {
                    let packet = bytes(&pair, &wrap.around(&there, &ack));
                    assert_eq!(pair.show(&name, &packet).is_some(), expected, "{name}");
                }
                // Outside it is another connection.
                let plain = pair.show(&name, &bytes(&pair, &syn)).unwrap_or_else(|| panic!("{name}: none"));
                assert_eq!(
                    (plain.what.segment().flow.tunnel, plain.what.segment().encapsulation.as_ref()),
                    (0, None)
                );
                pair.show(&name, &bytes(&pair, &Frame { flags: 4, options: vec![], ..syn }));
            }
        }
        let tunnels = pair.parser.counters().tunnels;
        assert!(tunnels.iter().all(|&packets| packets > 0), "{tunnels:?}");
        pair.finish();
    }
}

#[test]
fn nothing_is_looked_into_without_being_told_to() {
    for program in ETHERNET {
        let mut pair = Pair::new(program, 64);
        let mut one = Pair::with_decap(program, 64, &Decap::NONE.with(TunnelProtocol::Vxlan));
        for wrap in Wrap::ALL {
            for ipv6 in [false, true] {
                let syn = Frame { flags: 2, ..Frame::default() };
                let packet = wrap.around(&outer(ipv6), &syn).bytes();
                assert_eq!(pair.show("off", &packet), None, "{wrap:?}");
                let found = one.show("vxlan", &packet).is_some();
                assert_eq!(found, matches!(wrap, Wrap::Vxlan(..)), "{wrap:?}");
            }
        }
        assert_eq!(pair.parser.counters().tcp_packets, 0);
        pair.finish();
        one.finish();
    }
}

/// The acknowledgement of one does not count for the other, whatever the kind.
#[test]
fn two_tenants_with_the_same_addresses() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        let elsewhere = |frame: Frame| Frame { dst: frame.dst + 9, ..frame };
        let tenants = [
            (Wrap::Vxlan(4789, 1), outer(false), Wrap::Vxlan(4789, 2), outer(false)),
            (Wrap::Geneve(1, 0), outer(false), Wrap::Geneve(2, 0), outer(false)),
            (Wrap::Vxlan(4789, 1), outer(false), Wrap::Geneve(1, 0), outer(false)),
            (Wrap::Bridged(1), outer(true), Wrap::Bridged(2), outer(true)),
            (Wrap::Bridged(3), outer(true), Wrap::Bridged(3), elsewhere(outer(true))),
            (Wrap::Ip, outer(false), Wrap::Ip, elsewhere(outer(false))),
            (Wrap::GtpU(1, 0), outer(false), Wrap::GtpU(1, 0), elsewhere(outer(false))),
            (Wrap::Tzsp(0), outer(false), Wrap::Tzsp(0), elsewhere(outer(false))),
        ];
        for (one, one_outer, other, other_outer) in tenants {
            let name = format!("{program:?}, {one:?} and {other:?}");
            let synack = Frame { flags: 0x12, ..Frame::default() };
            let ack = Frame { flags: 0x10, ack: 1001, ..synack.reversed() };
            let announced = pair.show(&name, &one.around(&one_outer, &synack).bytes());
            let there = announced.map(|record| record.what.segment().flow);
            let other_ack = other.around(&other_outer.reversed(), &ack).bytes();
            assert_eq!(pair.show(&name, &other_ack), None, "{name}");
            let own_ack = pair.show(&name, &one.around(&one_outer.reversed(), &ack).bytes());
            let back = own_ack.map(|record| record.what.segment().flow.reversed());
            assert!(there.is_some() && there == back, "{name}");
            // Their connections are two to the tracker.
            let another = pair.show(&name, &other.around(&other_outer, &synack).bytes());
            assert_ne!(another.map(|record| record.what.segment().flow), there, "{name}");
        }
        // Identifiers of GTP-U are each direction's own, and end points of VXLAN may change.
        for (one, other, back) in [
            (Wrap::GtpU(1, 0), Wrap::GtpU(2, 0), outer(false).reversed()),
            (Wrap::Vxlan(4789, 1), Wrap::Vxlan(8472, 1), Frame { src: 7, ..outer(false) }),
        ] {
            let synack = Frame { flags: 0x12, src_port: 9, ..Frame::default() };
            pair.show("there", &one.around(&outer(false), &synack).bytes());
            let ack = Frame { flags: 0x10, ack: 1001, ..synack.reversed() };
            assert!(pair.show("back", &other.around(&back, &ack).bytes()).is_some(), "{one:?}");
        }
        pair.finish();
    }
}

#[test]
fn a_tunnel_in_a_tunnel_is_one_too_many() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        for inner in Wrap::ALL {
            let syn = Frame { flags: 2, ..Frame::default() };
            let packet = Wrap::Vxlan(4789, 3).around(&outer(false), &inner.around(&outer(true), &syn));
            assert_eq!(pair.show("two", &packet.bytes()), None, "{inner:?}");
        }
        let counters = *pair.parser.counters();
        assert_eq!(counters.unparsable[Unparsable::TunnelDepth as usize], Wrap::ALL.len() as u64);
        assert_eq!(counters.tunnels[TunnelProtocol::Vxlan.index()], Wrap::ALL.len() as u64);
        pair.finish();
    }
}

#[test]
fn more_headers_in_a_tunnel_than_are_walked() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        for (wrap, found) in [
            (Wrap::GtpU(1, 4), true),
            (Wrap::GtpU(1, 5), false),
            (Wrap::Tzsp(8), true),
            (Wrap::Tzsp(9), false),
        ] {
            let syn = Frame { flags: 2, ..Frame::default() };
            let record = pair.show("deep", &wrap.around(&outer(false), &syn).bytes());
            assert_eq!(record.is_some(), found, "{program:?}, {wrap:?}");
        }
        assert_eq!(pair.parser.counters().unparsable[Unparsable::ExtensionDepth as usize], 2);
        pair.finish();
    }
}

#[test]
fn tunnels_cut_anywhere_and_tampered_with() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        let mut rng = Rng(5);
        for wrap in Wrap::ALL {
            for ipv6 in [false, true] {
                let inner = Frame { flags: 2, ipv6, options: vec![1; 8], ..Frame::default() };
                let packet = wrap.around(&Frame { vlans: vec![], ..outer(ipv6) }, &inner).bytes();
                let shortest = if ipv6 { 54 } else { 34 };
                for len in shortest..packet.len() {
                    pair.show(&format!("{wrap:?}, v6 {ipv6}, cut at {len}"), &packet[..len]);
                }
                pair.show_tampered(&mut rng, &packet, 12, 150);
                // Every value of the first octets behind IP, which have the flags.
                for at in shortest..shortest + 12 {
                    for value in 0..=255 {
                        let mut packet = packet.clone();
                        packet[at] = value;
                        pair.show(&format!("{wrap:?}, v6 {ipv6}, octet {at} is {value}"), &packet);
                    }
                }
            }
        }
        let unparsable = pair.parser.counters().unparsable;
        assert!(
            unparsable[Unparsable::Truncated as usize] > 0 && unparsable[Unparsable::BadLength as usize] > 0
        );
        pair.finish();
    }
}

#[test]
fn headers_between_ip_and_the_tunnel_and_behind_it() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        for wrap in Wrap::ALL {
            for (over_v6, headers) in
                [(false, 0), (false, 4), (false, 40), (true, 0), (true, 1), (true, 6), (true, 7)]
            {
                for inner_headers in [0, 6] {
                    let there = Frame {
                        extensions: vec![60; if over_v6 { headers } else { 0 }],
                        ip_options: if over_v6 { 0 } else { headers },
                        ..outer(over_v6)
                    };
                    let syn = Frame {
                        ipv6: true,
                        flags: 2,
                        extensions: vec![60; inner_headers],
                        ..Frame::default()
                    };
                    let name = format!("{program:?}, {wrap:?}, v6 {over_v6}, {headers} headers");
                    let record = pair.show(&name, &wrap.around(&there, &syn).bytes());
                    assert_eq!(record.is_some(), headers != 7, "{name}");
                }
            }
        }
        pair.finish();
    }
}

#[test]
fn icmp_errors_in_tunnels() {
    for program in ETHERNET {
        let mut pair = Pair::with_decap(program, 64, &Decap::all());
        for wrap in Wrap::ALL {
            for ipv6 in [false, true] {
                let name = format!("{program:?}, {wrap:?}, v6 {ipv6}");
                let syn = Frame { ipv6, flags: 2, ..Frame::default() };
                let sent = pair.show(&name, &wrap.around(&outer(ipv6), &syn).bytes());
                let error = wrap.around(&outer(ipv6).reversed(), &syn.error(3, 0, 100)).bytes();
                let found = pair.show(&name, &error).unwrap_or_else(|| panic!("{name}: no error"));
                assert_eq!(found.kind, RecordKind::Icmp, "{name}");
                // It is of the same connection.
                let flow = |record: &tcptrace::decode::Record| record.what.segment().flow;
                assert_eq!(Some(flow(&found)), sent.as_ref().map(flow), "{name}");
                assert!(found.what.segment().encapsulation.is_some(), "{name}");
            }
        }
        pair.finish();
    }
}

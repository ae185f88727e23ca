//! The capture that the textbooks begin with, sent again as packets: the header fields are the published ones, and the
//! gaps at least as long as the published ones.

use crate::{
    frames::{ACK, FIN, PSH, SYN, Segment, Wire},
    lab::Lab,
    trace::{Trace, last_stats, of_kind},
};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, thread, time::Duration};

const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 168, 64, 128), 60592);
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(180, 101, 49, 11), 80);
const CLIENT_ISN: u32 = 4_130_871_516;
const SERVER_ISN: u32 = 528_643_112;

const CLIENT_OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, // MSS 1460
    4, 2, // SACK permitted
    8, 10, 0x00, 0x12, 0x34, 0x56, 0, 0, 0, 0, // timestamps
    1, 3, 3, 6, // window scale 6
];
const SERVER_OPTIONS: [u8; 4] = [2, 4, 0x05, 0xb4];

struct Packet {
    /// Microseconds after the packet before.
    gap: u64,
    by_client: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: &'static [u8],
    payload: usize,
}

/// Relative to the two ISNs.
fn packet(gap: u64, by_client: bool, flags: u8, (seq, ack): (u32, u32), payload: usize) -> Packet {
    let (own, other) = if by_client { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
    let ack = if flags & ACK == 0 { 0 } else { other.wrapping_add(ack) };
    let (window, options): (_, &[u8]) = match (flags & SYN != 0, by_client) {
        (true, true) => (14_600, &CLIENT_OPTIONS),
        (true, false) => (64_240, &SERVER_OPTIONS),
        (false, _) => (64_240, &[]),
    };
    Packet { gap, by_client, flags, seq: own.wrapping_add(seq), ack, window, options, payload }
}

fn capture() -> [Packet; 12] {
    let (client, server) = (true, false);
    [
        packet(0, client, SYN, (0, 0), 0),
        packet(28_789, server, SYN | ACK, (0, 1), 0),
        packet(31, client, ACK, (1, 1), 0),
        packet(100, client, PSH | ACK, (1, 1), 172),
        packet(100, server, ACK, (1, 173), 0),
        packet(16_000, server, ACK, (1, 173), 1460),
        packet(10, server, PSH | ACK, (1461, 173), 1321),
        packet(10, client, ACK, (173, 2782), 0),
        packet(2_203, client, FIN | ACK, (173, 2782), 0),
        packet(202, server, ACK, (2782, 174), 0),
        packet(18_874, server, FIN | PSH | ACK, (2782, 174), 0),
        packet(17, client, ACK, (174, 2783), 0),
    ]
}

#[test]
fn the_textbook_capture_is_told_as_it_was() {
    let lab = Lab::new();
    // The client's address is this host's own, and its stack keeps quiet about segments that it knows nothing of.
    lab.a.ns.ip(&["addr", "add", &format!("{}/24", CLIENT.0), "dev", lab.a.dev]);
    lab.a.filter(
        "table inet quiet { chain input { type filter hook input priority 0; meta l4proto tcp drop\n}\n}",
    );
    let trace = Trace::all_events(&lab.a, &[]);
    let (out, into) = (Wire::of(&lab.a), Wire::of(&lab.b));
    for packet in capture() {
        thread::sleep(Duration::from_micros(packet.gap));
        let (from, to) = if packet.by_client { (&out, &into) } else { (&into, &out) };
        from.send(&packet.segment().frame(from.mac, to.mac));
    }
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let stats = last_stats(&events);
    assert_eq!(
        (&stats["records_lost"], &stats["connections"]["closed"]),
        (&json!(0), &json!(1)),
        "{stats:#}"
    );
    check_segments(&events);
    check_established(of_kind(&events, "established").next().expect("the handshake was seen"));
    let connections: Vec<_> = of_kind(&events, "connection").collect();
    assert_eq!(connections.len(), 1, "{connections:#?}");
    check_connection(connections[0]);
}

/// The seven lifecycle segments, and neither data nor its acknowledgements.
fn check_segments(events: &[Value]) {
    let capture = capture();
    let lifecycle = [0, 1, 2, 8, 9, 10, 11].map(|nth| &capture[nth]);
    let segments: Vec<_> = of_kind(events, "segment").collect();
    assert_eq!(segments.len(), lifecycle.len(), "{segments:#?}");
    for (segment, sent) in segments.iter().zip(lifecycle) {
        let (sender, direction) = if sent.by_client { ("client", "egress") } else { ("server", "ingress") };
        assert_eq!(segment["sender"], sender, "{segment:#}");
        assert_eq!(segment["direction"], direction, "{segment:#}");
        assert_eq!(segment["seq"], sent.seq, "{segment:#}");
        assert_eq!(
            segment["ack"],
            if sent.flags & ACK == 0 { Value::Null } else { sent.ack.into() },
            "{segment:#}"
        );
        assert_eq!(segment["window"], sent.window, "{segment:#}");
        assert_eq!(segment["payload_bytes"], 0, "{segment:#}");
        assert_eq!(segment["ttl"], 64, "{segment:#}");
    }
    let flags: Vec<_> = segments.iter().filter_map(|segment| segment["flags"].as_str()).collect();
    assert_eq!(flags, ["S", "S.", ".", "F.", ".", "FP.", "."]);
}

fn check_established(event: &Value) {
    let plain = json!({
        "mss": 1460, "window_scale": null, "sack_permitted": false, "timestamps": false, "fast_open": false,
        "mptcp": false,
    });
    let mut full = plain.clone();
    for (option, value) in
        [("window_scale", json!(6)), ("sack_permitted", json!(true)), ("timestamps", json!(true))]
    {
        full[option] = value;
    }
    assert_eq!((&event["client_options"], &event["server_options"]), (&full, &plain));
}

fn check_connection(event: &Value) {
    let expected = json!({
        "client": {"ip": CLIENT.0.to_string(), "port": CLIENT.1},
        "server": {"ip": SERVER.0.to_string(), "port": SERVER.1},
        "ip_version": 4, "vantage": "client", "complete": true, "partial": false,
        "outcome": "closed", "closed_by": "client", "reset_by": null, "half_closed": false, "simultaneous_open": false,
        "client_bytes": 172, "server_bytes": 2781, "bytes_mod_4gib": false,
        "syn_retransmits": 0, "synack_retransmits": 0, "client_fins": 1, "server_fins": 1,
        "client_isn": CLIENT_ISN, "server_isn": SERVER_ISN,
        "client_state": "TIME_WAIT", "server_state": "CLOSED",
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&event[field], value, "{field} in {event:#}");
    }
    // A packet is sent no sooner than its gap after the one before was.
    for (field, at_least) in [
        ("syn_to_synack_ns", 28_789_000),
        ("synack_to_ack_ns", 31_000),
        ("syn_to_established_ns", 28_820_000),
        ("first_fin_to_ack_ns", 202_000),
        ("close_wait_ns", 18_874_000),
        ("second_fin_to_ack_ns", 17_000),
        ("teardown_ns", 19_093_000),
        ("lifetime_ns", 66_336_000),
    ] {
        assert!(event[field].as_u64().is_some_and(|ns| ns >= at_least), "{field} in {event:#}");
    }
}

impl Packet {
    fn segment(&self) -> Segment {
        let (from, to) = if self.by_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        Segment {
            from: from.into(),
            to: to.into(),
            flags: self.flags,
            seq: self.seq,
            ack: self.ack,
            window: self.window,
            options: self.options.to_vec(),
            payload: vec![b'x'; self.payload],
        }
    }
}

//! What somebody does between the two ends: sends a reset in the name of one of them, or shows each packet twice.

use crate::{
    frames::{RST, Segment, Wire},
    lab::{Family, Host, Routed},
    loss::Loss,
    netns::Netns,
    trace::{Trace, flow_of, last_stats, of_kind},
    traffic::{ANSWER, Flow, Kind, REQUEST, bound, connect, drive, impatient, in_turn, listener, send},
};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpStream};

/// The only connection of a flow.
fn connection(events: &[Value], flow: Flow) -> &Value {
    let mine: Vec<_> = of_kind(events, "connection").filter(|event| flow_of(event) == flow).collect();
    let [connection] = mine[..] else { panic!("{flow}: {mine:#?}") };
    assert_eq!(
        (&connection["outcome"], &connection["complete"]),
        (&"closed".into(), &true.into()),
        "{connection:#}"
    );
    connection
}

fn open(lab: &Routed, flow: Flow) -> (TcpStream, TcpStream) {
    let listener = listener(&lab.server, flow.server, 1);
    let client = lab.client.ns.enter(|| bound(flow.client));
    connect(&client, &flow.server).unwrap_or_else(|error| panic!("{flow}: {error}"));
    let (server, _) = listener.accept().unwrap_or_else(|error| panic!("{flow}: {error}"));
    (impatient(client), impatient(server.into()))
}

/// The router's own packets begin with the TTL that the server's began with, and do not pass the router.
#[test]
fn a_routers_reset_in_the_servers_name_that_is_not_obeyed_ends_nothing() {
    /// Above what was sent, as far as numbers can be compared, and above every window (RFC 7323 §2.3).
    const ABOVE: u32 = 0x6000_0000;
    let lab = Routed::new();
    let (wire, ear) = (Wire::of(&lab.router), Wire::of(&lab.client));
    let trace = Trace::all_events(&lab.client, &[]);
    let flows = Family::BOTH.map(|family| Loss::Nothing.flow(&lab.client, &lab.server, family));
    for (before, flow) in flows.into_iter().enumerate() {
        let (mut client, mut server) = open(&lab, flow);
        send(&mut client, &mut server, REQUEST);
        send(&mut server, &mut client, ANSWER);
        let answer = wire.receive("the answer", |it| it.from == flow.server && it.payload.len() == ANSWER);
        let rst = Segment {
            flags: RST,
            seq: answer.seq.wrapping_add(ABOVE),
            ack: 0,
            payload: Vec::new(),
            ..answer
        };
        wire.send(&rst.frame(wire.mac, ear.mac));
        ear.receive("the reset", |it| it.flags == RST && it.seq == rst.seq);
        send(&mut client, &mut server, REQUEST);
        send(&mut server, &mut client, ANSWER);
        trace.wait_for_lines(before + 1, "rst_ignored");
        assert_eq!(
            trace.count(|line| line.contains(r#""event":"connection""#)),
            before,
            "{flow} is not over"
        );
        in_turn(&client, server);
        trace.wait_for_connections(before + 1);
    }
    let events = trace.stop().events();
    for flow in flows {
        let connection = connection(&events, flow);
        let ignored = connection["resets_ignored"].as_array().expect("a list");
        let [ignored] = &ignored[..] else { panic!("{connection:#}") };
        let told = ["sender", "ttl", "sender_ttl"].map(|field| ignored[field].clone());
        assert_eq!(told, [json!("server"), json!(64), json!(63)], "{connection:#}");
        assert_eq!(connection["server_bytes"], 2 * ANSWER, "{connection:#}");
    }
}

/// All that passes the interface, in and out, goes to `to` as well.
fn mirror(ns: &Netns, dev: &str, to: &str) {
    ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    for side in ["ingress", "egress"] {
        let every = ["protocol", "all", "u32", "match", "u32", "0", "0"];
        let action = ["action", "mirred", "egress", "mirror", "dev", to];
        ns.tc(&[&["filter", "add", "dev", dev, side], &every[..], &action].concat());
    }
}

/// What an analyser tells of a connection, on the mirror of the two ports of a host that is between its ends. Each packet goes
/// in by the one and out by the other, and so is seen twice.
fn analysed(between: &Netns, ports: [&str; 2], drive: impl FnOnce() -> Flow) -> (Value, String) {
    let analyser = Host::new(Netns::new(), "mirror1", Ipv4Addr::new(10, 77, 9, 2));
    between.veth("mirror0", &analyser.ns, analyser.dev, 9);
    for port in ports {
        mirror(between, port, "mirror0");
    }
    let trace = Trace::all_events(&analyser, &[]);
    let flow = drive();
    trace.wait_for_connections(1);
    let report = trace.stop();
    let events = report.events();
    let connection = connection(&events, flow);
    // Four that everybody sends, at least, and their acknowledgements where they were expected.
    let counts = ["copies", "syn_retransmits", "synack_retransmits", "client_fins", "server_fins"];
    let [copies, counts @ ..] = counts.map(|field| connection[field].as_u64().expect("a number"));
    assert!((4..=7).contains(&copies), "{connection:#}");
    assert_eq!(counts, [0, 0, 1, 1], "nothing was sent again: {connection:#}");
    assert_eq!(connection["client_bytes"], REQUEST, "{connection:#}");
    let stats = last_stats(&events)["copies"].clone();
    assert_eq!(stats["segments"], copies);
    (stats, report.stderr)
}

#[test]
fn a_mirror_of_both_ports_of_a_switch_shows_each_packet_twice_and_nothing_is_sent_again() {
    let switch = Netns::new();
    switch.ip(&["link", "add", "br0", "type", "bridge"]);
    switch.ip(&["link", "set", "br0", "up"]);
    let host = |port, n| {
        let host = Host::new(Netns::new(), "v0", Ipv4Addr::new(10, 78, 99, n));
        host.ns.veth(host.dev, &switch, port, n);
        switch.ip(&["link", "set", port, "master", "br0"]);
        host.ns.ip(&["addr", "add", &format!("10.78.99.{n}/24"), "dev", host.dev]);
        host
    };
    let (client, server) = (host("p1", 1), host("p2", 2));
    let (stats, said) =
        analysed(&switch, ["p1", "p2"], || drive(Kind::ClientCloses, &client, &server, Family::V4));
    assert_eq!(stats["ttl"], json!([64, 64]));
    let (times, how) =
        (said.contains("captured twice: "), "with an equal TTL (a mirror port or tap of both directions)");
    assert!(times && said.contains(how), "{said}");
}

#[test]
fn a_mirror_of_both_ports_of_a_router_shows_each_packet_twice_and_nothing_is_sent_again() {
    for family in Family::BOTH {
        let lab = Routed::new();
        let (stats, said) = analysed(&lab.router.ns, [lab.router.dev, "tt2"], || {
            drive(Kind::ServerCloses, &lab.client, &lab.server, family)
        });
        assert_eq!(stats["ttl"], json!([64, 63]));
        let (times, how) =
            (said.contains("captured twice: "), "with TTL 64 and 63 (on both sides of a router)");
        assert!(times && said.contains(how), "{said}");
    }
}

//! Both ends by hand: orders that a capture point can see and no pair of stacks makes on a cable.

use crate::{
    frames::{ACK, FIN, SYN, Segment, Wire},
    lab::{Family, Lab},
    loss::Loss,
    trace::{Trace, last_stats, of_flow, of_kind},
    traffic::Flow,
};
use serde_json::Value;

const CLIENT_ISN: u32 = 1000;
const SERVER_ISN: u32 = 0xffff_fffe;

/// By the client or not, flags, numbers relative to the two ISNs.
type Sent = (bool, u8, u32, u32);

const OPENING: [Sent; 3] = [(true, SYN, 0, 0), (false, SYN | ACK, 0, 1), (true, ACK, 1, 1)];

/// Sends opening and closing over a cable between two stacks that keep quiet, and gives the events of each family's
/// connection.
fn capture(closing: &[Sent]) -> [Vec<Value>; 2] {
    let lab = Lab::new();
    for host in [&lab.a, &lab.b] {
        let quiet =
            "table inet quiet { chain input { type filter hook input priority 0; meta l4proto tcp drop\n}\n}";
        host.filter(quiet);
    }
    let trace = Trace::all_events(&lab.a, &[]);
    let wires = [Wire::of(&lab.a), Wire::of(&lab.b)];
    let flows = Family::BOTH.map(|family| Loss::Nothing.flow(&lab.a, &lab.b, family));
    for flow in flows {
        for sent in OPENING.iter().chain(closing) {
            let (out, into) = if sent.0 { (&wires[0], &wires[1]) } else { (&wires[1], &wires[0]) };
            out.send(&segment(flow, *sent).frame(out.mac, into.mac));
        }
    }
    trace.wait_for_connections(flows.len());
    let events = trace.stop().events();
    assert_eq!(last_stats(&events)["records_lost"], 0);
    flows.map(|flow| of_flow(&events, flow).cloned().collect())
}

fn segment(flow: Flow, (by_client, flags, seq, ack): Sent) -> Segment {
    let (from, to) = if by_client { (flow.client, flow.server) } else { (flow.server, flow.client) };
    let (own, other) = if by_client { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
    Segment {
        from,
        to,
        flags,
        seq: own.wrapping_add(seq),
        ack: if flags & ACK == 0 { 0 } else { other.wrapping_add(ack) },
        window: 64_240,
        options: Vec::new(),
        payload: Vec::new(),
    }
}

fn states(events: &[Value], endpoint: &str) -> String {
    let of_endpoint = of_kind(events, "transition").filter(|event| event["endpoint"] == endpoint);
    let way: Vec<_> = of_endpoint.filter_map(|event| event["to"].as_str()).collect();
    way.join(" ")
}

fn connection(events: &[Value]) -> &Value {
    let connections: Vec<_> = of_kind(events, "connection").collect();
    assert_eq!(connections.len(), 1, "{events:#?}");
    connections[0]
}

#[test]
fn the_acknowledgement_of_a_fin_is_seen_before_the_fin() {
    let closing = [(false, ACK, 1, 2), (true, FIN | ACK, 1, 1), (false, FIN | ACK, 1, 2), (true, ACK, 2, 2)];
    for events in capture(&closing) {
        assert_eq!(connection(&events)["outcome"], "closed", "{events:#?}");
        assert_eq!(states(&events, "client"), "SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT");
        assert_eq!(states(&events, "server"), "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED");
        assert_eq!(of_kind(&events, "anomaly").count(), 0, "{events:#?}");
    }
}

#[test]
fn fins_cross_and_so_do_their_acknowledgements() {
    let closing = [(true, FIN | ACK, 1, 1), (false, FIN | ACK, 1, 1), (true, ACK, 2, 2), (false, ACK, 2, 2)];
    for events in capture(&closing) {
        let connection = connection(&events);
        assert_eq!((&connection["outcome"], &connection["closed_by"]), (&"closed".into(), &"both".into()));
        assert_eq!(states(&events, "client"), "SYN_SENT ESTABLISHED FIN_WAIT_1 CLOSING TIME_WAIT");
        assert_eq!(
            states(&events, "server"),
            "LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT"
        );
    }
}

#[test]
fn an_acknowledgement_of_something_never_sent_closes_nothing() {
    let closing = [
        (true, FIN | ACK, 1, 1),
        (false, ACK, 1, 50),
        (false, ACK, 1, 2),
        (false, FIN | ACK, 1, 2),
        (true, ACK, 2, 2),
    ];
    for events in capture(&closing) {
        assert_eq!(connection(&events)["outcome"], "closed", "{events:#?}");
        let reasons: Vec<_> = of_kind(&events, "anomaly").map(|event| &event["reason"]).collect();
        assert_eq!(reasons, ["ack_beyond_sent"], "{events:#?}");
    }
}

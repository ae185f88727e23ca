//! One connection of every kind, with exactly the events that it must give: over TC and XDP, IPv4 and IPv6, traced
//! at both ends at once, and on loopback.

use crate::{
    lab::{Family, Host, Lab},
    loss::lose_segments,
    trace::{Report, Trace, flow_of, last_stats, of_flow, of_kind},
    traffic::{AFTERWARDS, ANSWER, BULK, Flow, Kind, REQUEST, drive},
};
use serde_json::{Value, json};
use std::thread;

/// Long enough for the one retry after 1 s, short enough to wait for.
const SYN_TIMEOUT: [&str; 2] = ["--syn-timeout", "2s"];

#[test]
fn every_kind_through_tc_over_ipv4() {
    every_kind_at_both_ends(Family::V4, &[]);
}

#[test]
fn every_kind_through_tc_over_ipv6() {
    every_kind_at_both_ends(Family::V6, &[]);
}

#[test]
fn every_kind_through_xdp_over_ipv4() {
    every_kind_at_both_ends(Family::V4, &["--ingress", "xdp"]);
}

#[test]
fn every_kind_through_xdp_over_ipv6() {
    every_kind_at_both_ends(Family::V6, &["--ingress", "xdp"]);
}

#[test]
fn on_loopback_every_connection_shows_once() {
    let host = Host::alone();
    let trace = Trace::all_events(&host, &SYN_TIMEOUT);
    let kinds = Kind::ALL.into_iter().filter(|kind| !kind.needs_loss());
    let driven: Vec<_> = Family::BOTH
        .into_iter()
        .flat_map(|family| kinds.clone().map(move |kind| (kind, family)))
        .map(|(kind, family)| (kind, drive(kind, &host, &host, family)))
        .collect();
    trace.wait_for_connections(driven.len());
    let events = events_without_loss(&trace.stop());
    check_all(&driven, &events, "middle");
    host.assert_nothing_attached();
}

#[test]
fn text_is_as_the_documentation_shows_it() {
    let lab = Lab::new();
    let trace = Trace::start(&lab.a, &[]);
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_lines(1, "CLOSED");
    let report = trace.stop();
    assert_eq!(report.lines.len(), 2, "{:?}", report.lines);
    let words: Vec<Vec<&str>> = report.lines.iter().map(|line| line.split_whitespace().collect()).collect();
    let pair = [flow.client.to_string(), ">".to_owned(), flow.server.to_string()];
    for (words, label) in words.iter().zip(["ESTABLISHED", "CLOSED"]) {
        let time = words[0];
        assert!(time.len() == 15 && time.split(':').count() == 3 && time.as_bytes()[8] == b'.', "{time}");
        assert_eq!(words[1], label);
        assert_eq!(words[2..5], pair);
        assert!(words[5].parse::<f64>().is_ok(), "{words:?}");
    }
    // 0.028 ms  = syn 0.021 + ack 0.007
    assert_eq!(
        [words[0][7], words[0][8], words[0][10], words[0][11]],
        ["=", "syn", "+", "ack"],
        "{:?}",
        words[0]
    );
    assert!(
        report.lines[1].contains("  by client, 100 B sent, 1000 B received, close_wait "),
        "{}",
        report.lines[1]
    );
    assert!(report.stderr.contains("closed"), "the summary counts outcomes: {}", report.stderr);
    assert!(report.stderr.contains("lost: nothing"), "{}", report.stderr);
}

fn every_kind_at_both_ends(family: Family, args: &[&str]) {
    let lab = Lab::new();
    lose_segments(&lab.b);
    let args = [&SYN_TIMEOUT, args].concat();
    let (at_a, at_b) = (Trace::all_events(&lab.a, &args), Trace::all_events(&lab.b, &args));
    if args.contains(&"xdp") {
        for host in [&lab.a, &lab.b] {
            let programs = host.programs();
            assert!(programs.iter().any(|it| it.contains("driver")), "veth has native XDP: {programs:?}");
        }
    }
    let driven = drive_all(&lab, family);
    at_a.wait_for_connections(driven.len());
    at_b.wait_for_connections(driven.len());
    let (at_client, at_server) = (events_without_loss(&at_a.stop()), events_without_loss(&at_b.stop()));
    check_all(&driven, &at_client, "client");
    check_all(&driven, &at_server, "server");
    for (kind, flow) in &driven {
        let [at_client, at_server] = [&at_client, &at_server].map(|events| connection_of(events, *flow));
        for field in ["client_isn", "server_isn", "client_bytes", "server_bytes", "community_id"] {
            assert_eq!(at_client[field], at_server[field], "{kind:?}: {field} is the same at both ends");
        }
    }
    lab.a.assert_nothing_attached();
    lab.b.assert_nothing_attached();
}

/// Those that have to wait for retries wait side by side.
fn drive_all(lab: &Lab, family: Family) -> Vec<(Kind, Flow)> {
    thread::scope(|scope| {
        let drive = |kind| (kind, drive(kind, &lab.a, &lab.b, family));
        let (slow, quick): (Vec<_>, Vec<_>) = Kind::ALL.into_iter().partition(|kind| kind.needs_loss());
        let slow: Vec<_> = slow.into_iter().map(|kind| scope.spawn(move || drive(kind))).collect();
        let mut driven: Vec<_> = quick.into_iter().map(drive).collect();
        driven.extend(slow.into_iter().map(|thread| thread.join().expect("the traffic runs")));
        driven
    })
}

fn events_without_loss(report: &Report) -> Vec<Value> {
    let events = report.events();
    let stats = last_stats(&events);
    assert_eq!((&stats["records_lost"], &stats["events_dropped"]), (&json!(0), &json!(0)), "{stats}");
    assert_eq!(stats["connections_open"], 0, "{stats}");
    assert_eq!(stats["admission_rate"].as_f64(), Some(1.0), "{stats}");
    events
}

fn connection_of(events: &[Value], flow: Flow) -> &Value {
    let found: Vec<_> = of_kind(events, "connection").filter(|event| flow_of(event) == flow).collect();
    assert_eq!(found.len(), 1, "{flow} is reported once: {found:#?}");
    found[0]
}

fn check_all(driven: &[(Kind, Flow)], events: &[Value], vantage: &str) {
    assert_eq!(of_kind(events, "connection").count(), driven.len(), "nothing else is reported");
    for (kind, flow) in driven {
        let context = format!("{kind:?} at the {vantage}'s vantage, {flow}");
        let mine: Vec<Value> = of_flow(events, *flow).cloned().collect();
        let connection = connection_of(&mine, *flow);
        let mut expected = expected(*kind);
        if *kind == Kind::SimultaneousClose {
            // As often as the kernel found time to, until one of them came through.
            let fins = connection["client_fins"].as_u64();
            assert!(fins >= Some(2), "{context}: {fins:?} FINs");
            expected["client_fins"] = json!(fins);
        }
        assert_fields(connection, &expected, &context);
        assert_fields(connection, &json!({"vantage": vantage, "complete": true, "partial": false}), &context);
        let (client, server) = expected_states(*kind);
        check_states(&mine, "client", client, connection, &context);
        check_states(&mine, "server", server, connection, &context);
        check_times(*kind, connection, &context);
        check_established(*kind, &mine, connection, &context);
        check_segments(*kind, &mine, &context);
    }
}

/// Every field of `expected` is so in `actual`.
fn assert_fields(actual: &Value, expected: &Value, context: &str) {
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&actual[field], value, "{context}: {field} in\n{actual:#}");
    }
}

/// What the `connection` event must say.
fn expected(kind: Kind) -> Value {
    let mut expected = json!({
        "outcome": "closed", "closed_by": "client", "reset_by": null, "reset_phase": null,
        "half_closed": false, "simultaneous_open": false,
        "client_bytes": REQUEST, "server_bytes": ANSWER,
        "syn_retransmits": 0, "synack_retransmits": 0,
        "client_fins": 1, "server_fins": 1, "client_rsts": 0, "server_rsts": 0,
        "client_state": "TIME_WAIT", "server_state": "CLOSED",
    });
    let reset = |by: &str, phase: Option<&str>| {
        json!({
            "outcome": "reset", "closed_by": null, "reset_by": by, "reset_phase": phase,
            "client_fins": 0, "server_fins": 0, format!("{by}_rsts"): 1,
            "client_state": "CLOSED", "server_state": "CLOSED",
        })
    };
    let changes = match kind {
        Kind::ClientCloses | Kind::ThreeSegmentClose | Kind::ThirdSegmentCarriesData => json!({}),
        Kind::ServerCloses => {
            json!({"closed_by": "server", "client_state": "CLOSED", "server_state": "TIME_WAIT"})
        }
        Kind::Silent => json!({"client_bytes": 0, "server_bytes": 0}),
        Kind::HalfClose => json!({"half_closed": true, "server_bytes": ANSWER + AFTERWARDS}),
        Kind::SimultaneousClose => {
            json!({"closed_by": "both", "server_state": "TIME_WAIT"})
        }
        Kind::SimultaneousOpen => json!({"simultaneous_open": true}),
        // The RST acknowledges what came from the other end.
        Kind::ResetByClient => reset("client", Some("established")),
        Kind::ResetByServer => reset("server", Some("established")),
        Kind::ResetWhenClosing => {
            merged(reset("server", Some("closing")), json!({"closed_by": "client", "client_fins": 1}))
        }
        Kind::Refused => merged(
            reset("server", None),
            json!({"outcome": "refused", "client_bytes": null, "server_bytes": null}),
        ),
        Kind::Unanswered => json!({
            "outcome": "unanswered", "closed_by": null, "client_bytes": null, "server_bytes": null,
            "syn_retransmits": 1, "client_fins": 0, "server_fins": 0, "client_state": "CLOSED",
        }),
        Kind::SynRetry => json!({"syn_retransmits": 1}),
        Kind::SynAckRetry => json!({"synack_retransmits": 1}),
        Kind::Bulk => json!({"client_bytes": BULK, "server_bytes": BULK}),
    };
    expected = merged(expected, changes);
    expected
}

fn merged(mut into: Value, changes: Value) -> Value {
    let (Value::Object(into_fields), Value::Object(changes)) = (&mut into, changes) else {
        panic!("both are objects")
    };
    into_fields.extend(changes);
    into
}

/// The states that the client and the server pass through.
fn expected_states(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::ServerCloses => (
            "CLOSED SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED",
            "CLOSED LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT",
        ),
        Kind::SimultaneousClose => (
            "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 CLOSING TIME_WAIT",
            "CLOSED LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT",
        ),
        Kind::SimultaneousOpen => (
            "CLOSED SYN_SENT SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT",
            "CLOSED LISTEN SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED",
        ),
        Kind::ResetByClient | Kind::ResetByServer => {
            ("CLOSED SYN_SENT ESTABLISHED CLOSED", "CLOSED LISTEN SYN_RECEIVED ESTABLISHED CLOSED")
        }
        Kind::ResetWhenClosing => (
            "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED",
            "CLOSED LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT CLOSED",
        ),
        Kind::Refused | Kind::Unanswered => ("CLOSED SYN_SENT CLOSED", "CLOSED LISTEN CLOSED"),
        _ => (
            "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT",
            "CLOSED LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED",
        ),
    }
}

/// An endpoint's transitions are a way through these states, each from where the last one led, and the time in each
/// state is the time between its two transitions.
fn check_states(events: &[Value], endpoint: &str, expected: &str, connection: &Value, context: &str) {
    let transitions: Vec<_> = of_kind(events, "transition").filter(|t| t["endpoint"] == endpoint).collect();
    let way: Vec<_> = [&transitions[0]["from"]]
        .into_iter()
        .chain(transitions.iter().map(|t| &t["to"]))
        .map(|state| state.as_str().expect("a name"))
        .collect();
    assert_eq!(way.join(" "), expected, "{context}: the {endpoint}'s states");
    assert!(transitions.windows(2).all(|w| w[0]["to"] == w[1]["from"]), "{context}: {transitions:#?}");

    let untimed = ["CLOSED", "LISTEN"];
    let expected: serde_json::Map<String, Value> = transitions
        .iter()
        .filter(|t| !untimed.contains(&t["from"].as_str().expect("a name")))
        .map(|t| (t["from"].as_str().expect("a name").to_owned(), t["since_previous_ns"].clone()))
        .collect();
    // Of the others there is a null.
    let mut reported = connection[format!("{endpoint}_state_ns")].clone();
    let states = reported.as_object_mut().expect("an object");
    assert_eq!(states.len(), 9, "{context}: {states:?}");
    states.retain(|_, ns| !ns.is_null());
    assert_eq!(reported, Value::Object(expected), "{context}: the {endpoint}'s time in each state");

    let way_out = transitions.iter().filter(|t| t["inferred"] == true).map(|t| (&t["from"], &t["to"]));
    let inferred: Vec<_> = way_out.collect();
    let gave_up = connection["outcome"] == "unanswered";
    let expected = match (endpoint, gave_up) {
        ("server", false) => vec![("CLOSED", "LISTEN")],
        ("server", true) => vec![("CLOSED", "LISTEN"), ("LISTEN", "CLOSED")],
        (_, false) => vec![],
        (_, true) => vec![("SYN_SENT", "CLOSED")],
    };
    let inferred: Vec<_> =
        inferred.iter().map(|(f, t)| (f.as_str().unwrap_or(""), t.as_str().unwrap_or(""))).collect();
    assert_eq!(inferred, expected, "{context}: what is inferred of the {endpoint}");
}

fn ns(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is a time in\n{value:#}"))
}

/// How the times hang together.
fn check_times(kind: Kind, connection: &Value, context: &str) {
    let time = |field| ns(connection, field);
    if matches!(kind, Kind::Refused | Kind::Unanswered) {
        for field in ["syn_to_established_ns", "syn_to_synack_ns", "synack_to_ack_ns"] {
            assert_eq!(connection[field], Value::Null, "{context}: {field}");
        }
        return;
    }
    let parts = time("syn_retry_ns") + time("syn_to_synack_ns") + time("synack_to_ack_ns");
    assert_eq!(time("syn_to_established_ns"), parts, "{context}: the handshake's parts");
    // The kernel waits 1 s before the first retry (include/net/tcp.h, TCP_TIMEOUT_INIT).
    let retried = time("syn_retry_ns");
    if kind == Kind::SynRetry {
        assert!((900_000_000..2_000_000_000).contains(&retried), "{context}: {retried} ns to the retry");
    } else {
        assert_eq!(retried, 0, "{context}");
    }
    let [network, local] = ["network_rtt_ns", "local_stack_ns"].map(|field| connection[field].as_u64());
    let [first, second] = ["syn_to_synack_ns", "synack_to_ack_ns"].map(|field| Some(time(field)));
    let expected = match connection["vantage"].as_str() {
        Some("client") => (first, second),
        Some("server") => (second, first),
        _ => (None, None),
    };
    assert_eq!((network, local), expected, "{context}: whose part is whose");
    if connection["outcome"] == "closed" && connection["closed_by"] != "both" {
        let parts = time("first_fin_to_ack_ns") + time("close_wait_ns") + time("second_fin_to_ack_ns");
        assert_eq!(time("teardown_ns"), parts, "{context}: the teardown's parts");
    }
    // Less than 2^32 octets at 400 Gbit/s.
    if time("lifetime_ns") < 80_000_000 {
        assert_eq!(connection["bytes_mod_4gib"], false, "{context}");
    }
    assert!(time("lifetime_ns") >= time("syn_to_established_ns") + time("teardown_ns"), "{context}");
}

/// One `established` event where there was a handshake, and it says the same as the `connection` event.
fn check_established(kind: Kind, events: &[Value], connection: &Value, context: &str) {
    let established: Vec<_> = of_kind(events, "established").collect();
    if matches!(kind, Kind::Refused | Kind::Unanswered) {
        assert!(established.is_empty(), "{context}: {established:#?}");
        return;
    }
    assert_eq!(established.len(), 1, "{context}: {established:#?}");
    for field in
        ["id", "syn_to_established_ns", "syn_retransmits", "client_isn", "server_isn", "community_id"]
    {
        assert_eq!(established[0][field], connection[field], "{context}: {field}");
    }
    for end in ["client_options", "server_options"] {
        let options = &established[0][end];
        assert!(options["mss"].as_u64().is_some_and(|mss| mss > 1000), "{context}: {options}");
        assert_eq!(options["sack_permitted"], true, "{context}: {options}");
    }
}

/// The lifecycle segments themselves: each one's flags in order, `>` from the client and `<` from the server. Data
/// between handshake and teardown is none of them.
fn check_segments(kind: Kind, events: &[Value], context: &str) {
    let segments: Vec<_> = of_kind(events, "segment").collect();
    let shown = |segment: &Value| {
        let arrow = if segment["sender"] == "client" { '>' } else { '<' };
        let flags = segment["flags"].as_str().expect("flags").replace('P', "");
        format!("{arrow}{flags}")
    };
    let mut all: Vec<_> = segments.iter().map(|segment| shown(segment)).collect();
    if kind == Kind::SimultaneousClose {
        all.dedup();
    }
    let expected = match kind {
        Kind::Refused => vec![">S <R."],
        Kind::Unanswered => vec![">S >S"],
        Kind::SynRetry => vec![">S >S <S. >. >F. <. <F. >."],
        Kind::SynAckRetry => vec![">S <S. >. <S. >. >F. <. <F. >."],
        Kind::ServerCloses => vec![">S <S. >. <F. >. >F. <."],
        Kind::ResetByClient => vec![">S <S. >. >R."],
        Kind::ResetByServer => vec![">S <S. >. <R."],
        Kind::ResetWhenClosing => vec![">S <S. >. >F. <. <R."],
        Kind::SimultaneousOpen => vec![">S <S >S. <. >F. <. <F. >."],
        Kind::SimultaneousClose => vec![">S <S. >. >F. <F. >. >F. <."],
        // A kernel under load may be too late to merge the two.
        Kind::ThreeSegmentClose => vec![">S <S. >. >F. <F. >.", ">S <S. >. >F. <. <F. >."],
        _ => vec![">S <S. >. >F. <. <F. >."],
    };
    assert!(expected.contains(&all.join(" ").as_str()), "{context}: {} is not {expected:?}", all.join(" "));
    if kind == Kind::ThirdSegmentCarriesData {
        assert_eq!(segments[2]["payload_bytes"], REQUEST, "{context}: {:#}", segments[2]);
    } else if !matches!(kind, Kind::Refused | Kind::Unanswered) {
        assert_eq!(segments[2]["payload_bytes"], 0, "{context}: {:#}", segments[2]);
    }
}

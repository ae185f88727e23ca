//! The JSON lines and their schema.

use crate::{any::Dice, fixtures, schema};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use tcptrace::{
    event::{self, Event, Origin, Outcome, SCHEMA_VERSION, State, StateTimes, Vlans},
    segment::Timestamp,
    sink::{Sink as _, json::JsonSink},
};

fn lines(events: &[Event]) -> String {
    lines_of(JsonSink::default(), events)
}

fn lines_of(mut sink: JsonSink, events: &[Event]) -> String {
    let mut out = bytes::BytesMut::new();
    for event in events {
        sink.event(event, &mut out);
    }
    String::from_utf8(out.to_vec()).expect("JSON is UTF-8")
}

#[test]
fn the_textbook_connection_is_as_documented() {
    let events =
        [Event::Established(fixtures::established()), Event::Connection(Box::new(fixtures::connection()))];
    let text = lines(&events);
    schema::assert_valid(&text);
    assert_snapshot!(text, @r###"
    {"event":"established","schema":2,"ts":"2020-06-10T06:59:50.293475000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"syn_to_established_ns":28820000,"syn_to_synack_ns":28789000,"synack_to_ack_ns":31000,"syn_retry_ns":0,"network_rtt_ns":28789000,"local_stack_ns":31000,"syn_retransmits":0,"synack_retransmits":0,"client_isn":4130871516,"server_isn":528643112,"client_options":{"mss":1460,"window_scale":6,"sack_permitted":true,"timestamps":true,"fast_open":false,"mptcp":false},"server_options":{"mss":1460,"window_scale":null,"sack_permitted":false,"timestamps":false,"fast_open":false,"mptcp":false},"ecn":{"offered":"none","negotiated":"none","unanswered_syns":0},"client_process":null,"server_process":null,"client_cgroup":null,"server_cgroup":null}
    {"event":"connection","schema":2,"ts":"2020-06-10T06:59:50.330991000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"partial":false,"direction_inferred":false,"outcome":"closed","failed":false,"closed_by":"client","reset_by":null,"reset_phase":null,"no_such_connection":false,"half_closed":false,"simultaneous_open":false,"start":"2020-06-10T06:59:50.264655000Z","syn_to_established_ns":28820000,"syn_to_synack_ns":28789000,"synack_to_ack_ns":31000,"syn_retry_ns":0,"network_rtt_ns":28789000,"local_stack_ns":31000,"client_first_data_ns":null,"server_first_data_ns":null,"first_response_ns":null,"first_response_server_ns":null,"server_spoke_first":null,"server_name":null,"alpn":null,"http_host":null,"first_fin_to_ack_ns":202000,"close_wait_ns":18874000,"second_fin_to_ack_ns":17000,"teardown_ns":19093000,"lifetime_ns":66336000,"client_bytes":172,"server_bytes":2781,"bytes_mod_4gib":false,"syn_retransmits":0,"synack_retransmits":0,"syn_intervals_ns":[],"syn_backoff":null,"synacks_after_ack":0,"synack_again":null,"accept_queue":null,"challenge_ack":false,"wrong_answers":null,"earlier_closed_ns":null,"ecn":{"offered":"none","negotiated":"none","unanswered_syns":0},"client_ttl":64,"server_ttl":128,"reset_ttl":null,"reset_seq":null,"probe":false,"copies":0,"other_view":null,"client_fins":1,"server_fins":1,"client_rsts":0,"server_rsts":0,"client_isn":4130871516,"server_isn":528643112,"client_state":"TIME_WAIT","server_state":"CLOSED","client_state_ns":{"SYN_SENT":28820000,"SYN_RECEIVED":null,"ESTABLISHED":18423000,"FIN_WAIT_1":202000,"FIN_WAIT_2":18891000,"CLOSE_WAIT":null,"CLOSING":null,"LAST_ACK":null,"TIME_WAIT":null},"server_state_ns":{"SYN_SENT":null,"SYN_RECEIVED":31000,"ESTABLISHED":18625000,"FIN_WAIT_1":null,"FIN_WAIT_2":null,"CLOSE_WAIT":18874000,"CLOSING":null,"LAST_ACK":17000,"TIME_WAIT":null},"client_process":null,"server_process":null,"client_cgroup":null,"server_cgroup":null,"client_closed_by_process":null,"server_closed_by_process":null,"client_socket":null,"server_socket":null,"icmp_error":null,"zeek_conn_state":"SF"}
    "###);
}

#[test]
fn every_event_full_or_minimal_is_as_the_schema_says() {
    let text = lines(&fixtures::full_and_minimal());
    assert_eq!(text.lines().count(), 16);
    schema::assert_valid(&text);
}

#[test]
fn a_line_is_what_serde_json_makes_of_the_event() {
    let mut events = fixtures::full_and_minimal();
    // Linux takes any character but slash and white space in an interface's name.
    let mut established = fixtures::established();
    established.common.interface = "a\"b\\c\u{1}é".into();
    events.push(Event::Established(established));
    for event in &events {
        let expected = serde_json::to_string(event).expect("an event is JSON");
        assert_eq!(lines(std::slice::from_ref(event)), expected + "\n");
    }
}

/// The event as its line tells it: without what is not written.
fn as_written(event: &Event) -> Event {
    let mut event = event.clone();
    let in_order = |times: &mut StateTimes| {
        let all = State::TIMED.into_iter().zip(times.by_state());
        *times = all.filter(|(_, ns)| ns.is_some()).collect();
    };
    // One tag is the outer one.
    let vlans = |vlans: &mut Vlans| {
        if vlans.outer.is_none() {
            vlans.outer = vlans.inner.take();
        }
    };
    if let Some(common) = event.common_mut() {
        common.origin = Origin::default();
        let of_tunnels = common.tunnel.iter_mut().map(|tunnel| &mut tunnel.vlan);
        of_tunnels.chain([&mut common.vlan]).chain(&mut common.server_vlan).for_each(vlans);
    }
    if let Event::Connection(connection) = &mut event {
        in_order(&mut connection.client_state_ns);
        in_order(&mut connection.server_state_ns);
    }
    event
}

/// Reads every line back, as the event that it was made of and the same line again.
fn assert_read_back(events: &[Event]) {
    let text = lines(events);
    assert_eq!(text.lines().count(), events.len());
    for (line, event) in text.lines().zip(events) {
        let read: Event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(read, as_written(event));
        assert_eq!(lines(&[read]).trim_end(), line);
    }
}

#[test]
fn every_event_full_or_minimal_is_read_back() {
    assert_read_back(&fixtures::full_and_minimal());
}

proptest! {
    /// Nothing is escaped, ordered or rounded otherwise than serde_json does it.
    #[test]
    fn a_line_of_any_event_is_what_serde_json_makes_of_it(seed: u64) {
        for event in Dice(seed).events() {
            let expected = serde_json::to_string(&event).expect("an event is JSON");
            prop_assert_eq!(lines(&[event]), expected + "\n");
        }
    }

    /// Writing and reading have nothing in common but the list of the fields.
    #[test]
    fn any_event_is_read_back(seed: u64) {
        assert_read_back(&Dice(seed).events());
    }

    #[test]
    fn any_compact_line_says_the_same(seed: u64) {
        assert_compact_lines(&Dice(seed).events());
    }
}

/// Compares a compact line with the line that has all fields: the same values, without those that say nothing.
fn assert_compact(compact: &Value, full: &Value) {
    let (Value::Object(compact), Value::Object(full)) = (compact, full) else {
        // Elements of arrays that are objects have to be compact as well.
        if let (Value::Array(compact), Value::Array(full)) = (compact, full) {
            assert_eq!(compact.len(), full.len());
            compact.iter().zip(full).for_each(|(compact, full)| assert_compact(compact, full));
        } else {
            assert_eq!(compact, full);
        }
        return;
    };
    assert!(compact.keys().all(|name| full.contains_key(name)));
    for (name, value) in full {
        match compact.get(name) {
            Some(compact) => assert_compact(compact, value),
            None => {
                assert!(matches!(value, Value::Null | Value::Bool(false)) || *value == json!([]), "{name}");
            }
        }
    }
}

fn assert_compact_lines(events: &[Event]) {
    let (compact, full) = (lines_of(JsonSink::compact(), events), lines(events));
    assert_eq!(compact.lines().count(), events.len());
    for ((compact, full), event) in compact.lines().zip(full.lines()).zip(events) {
        let [compact_value, full] = [compact, full].map(|line| serde_json::from_str(line).expect("JSON"));
        assert_compact(&compact_value, &full);
        let read: Event = serde_json::from_str(compact).unwrap_or_else(|error| panic!("{error}: {compact}"));
        assert_eq!(read, as_written(event), "{compact}");
    }
}

#[test]
fn a_compact_line_has_no_field_that_says_nothing() {
    let events = fixtures::full_and_minimal();
    assert_compact_lines(&events);
    let connection = [Event::Connection(Box::new(fixtures::connection()))];
    let (compact, full) = (lines_of(JsonSink::compact(), &connection), lines(&connection));
    assert!(!compact.contains("null") && !compact.contains("false") && !compact.contains("[]"), "{compact}");
    assert!(compact.len() * 5 < full.len() * 3, "{} of {}", compact.len(), full.len());
}

/// A line, changed, as an event, or why it is none.
fn read_changed(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Result<Event, String> {
    let line = lines(&[Event::Transition(fixtures::transition())]);
    let mut line: Value = serde_json::from_str(&line).expect("JSON");
    change(line.as_object_mut().expect("an object"));
    serde_json::from_str(&line.to_string()).map_err(|error| error.to_string())
}

#[test]
fn a_field_that_is_not_known_is_passed_over() {
    let read = read_changed(|line| {
        line.insert("newer".to_owned(), [1].as_slice().into());
    });
    assert_eq!(read, Ok(as_written(&Event::Transition(fixtures::transition()))));
}

#[test]
fn a_line_that_is_no_event_of_this_version_is_refused_with_the_reason() {
    let set = |name: &'static str, value: Value| {
        let error = read_changed(|line| drop(line.insert(name.to_owned(), value))).expect_err("it is wrong");
        // Without the place in the line.
        error.split(" at line ").next().map(str::to_owned).expect("a text")
    };
    let without =
        |name: &'static str| read_changed(|line| drop(line.shift_remove(name))).expect_err("it lacks");
    assert_snapshot!(
        [
            set("schema", (SCHEMA_VERSION + 1).into()),
            set("event", "closing".into()),
            set("to", "OPEN".into()),
            set("ts", "yesterday".into()),
            set("ts", "1969-12-31T23:59:59.999999999Z".into()),
            set("vlan", [1, 2, 3].as_slice().into()),
            without("schema"),
            without("event"),
            without("from"),
        ]
        .join("\n")
    );
}

#[test]
fn every_outcome_is_in_the_schema() {
    let events = Outcome::ALL.map(|outcome| Event::Connection(Box::new(fixtures::unopened(outcome))));
    schema::assert_valid(&lines(&events));
}

#[test]
fn the_schema_refuses_what_is_not_an_event() {
    let validator = schema::validator();
    let line = lines(&[Event::Transition(fixtures::transition())]);
    let good: Value = serde_json::from_str(&line).expect("JSON");
    assert!(validator.is_valid(&good));
    for (key, value) in [
        ("extra", 1.into()),
        ("ts", "yesterday".into()),
        ("id", (-1).into()),
        ("schema", 1.into()),
        ("to", "OPEN".into()),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let mut short = good;
    short.as_object_mut().expect("an object").remove("inferred");
    assert!(!validator.is_valid(&short));
}

#[test]
fn the_other_kinds_are_as_documented() {
    let events = [
        Event::Start(Box::new(fixtures::start())),
        Event::Transition(fixtures::transition()),
        Event::Segment(fixtures::segment()),
        Event::Anomaly(fixtures::anomaly()),
        Event::IcmpError(fixtures::icmp_error()),
        Event::Stats(Box::new(fixtures::stats())),
    ];
    assert_snapshot!(lines(&events), @r###"
    {"event":"start","schema":2,"ts":"2020-06-10T06:59:50.000000000Z","run":"11111111-1111-4111-9111-111111111111","version":"0.1.0","host":"web-1","boot_id":"0b0c9a2e-6f0a-4d0c-9f57-5a1d1a3b7c11","kernel":"6.12.1","live":true,"files":[],"interfaces":[{"name":"eth0","index":2,"netns":null},{"name":"blue/eth0","index":4,"netns":"blue"}],"filter":"port 80","clock":{"monotonic_offset_ns":1591772000000000000,"uncertainty_ns":40},"settings":{"events":["start","connection"],"failed":true,"slower_ns":10000000,"once":true,"count":10,"duration_ns":60000000000,"ingress":"tc","decap":["vxlan:4789"],"sockets":true,"process":true,"first_byte":true,"server_name":true,"sample":0.5,"max_connections":262144,"syn_timeout_ns":70000000000,"time_wait_ns":60000000000}}
    {"event":"transition","schema":2,"ts":"2020-06-10T06:59:50.293475000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"endpoint":"client","from":"SYN_SENT","to":"ESTABLISHED","inferred":false,"since_previous_ns":28820000}
    {"event":"segment","schema":2,"ts":"2020-06-10T06:59:50.293444000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"sender":"server","direction":"ingress","flags":"S.","seq":528643112,"ack":4130871517,"relative_seq":0,"relative_ack":1,"window":64240,"payload_bytes":0,"ttl":128,"copy":false,"options":{"mss":1460,"window_scale":6,"sack_permitted":true,"timestamps":true,"fast_open":false,"mptcp":false}}
    {"event":"anomaly","schema":2,"ts":"2020-06-10T06:59:50.293444000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"reason":"synack_ack_mismatch","sender":"server","flags":"S.","seq":528643112,"ack":7,"expected":4130871517,"payload_bytes":0}
    {"event":"icmp_error","schema":2,"ts":"2020-06-10T06:59:50.000000000Z","id":1,"interface":"eth0","ip_version":4,"client":{"ip":"192.168.64.128","port":60592},"server":{"ip":"180.101.49.11","port":80},"community_id":"1:rX7PVeVfKhpa3/0NXsVz6EasO9c=","vantage":"client","complete":true,"from":"192.168.64.2","type":3,"code":1,"meaning":"host unreachable","quoted_sender":"client","seq":4130871516}
    {"event":"stats","schema":2,"ts":"2020-06-10T06:59:50.400000000Z","run":"11111111-1111-4111-9111-111111111111","elapsed_ns":135345000,"last":true,"packets":1200,"tcp_packets":1000,"segments":{"syn":1,"synack":1,"fin":2,"rst":0,"ack":3,"icmp":1},"ring_full":{"syn":2,"synack":0,"fin":0,"rst":0,"ack":0,"icmp":0},"shed":{"syn":0,"synack":0,"fin":0,"rst":0,"ack":0,"icmp":0},"records_lost":2,"pending_overwrites":0,"pending_expired":0,"unparsable":{"truncated":1,"bad_length":0,"bad_version":0,"vlan_depth":0,"extension_depth":0,"label_depth":0,"tunnel_depth":0,"split_header":0},"fragments":0,"copies":{"segments":2,"ttl":[64,63]},"events_dropped":7,"connections_open":0,"connections":{"closed":1,"reset":0,"refused":0,"refused_icmp":0,"unanswered":0,"synack_unanswered":0,"aborted":0,"reused":0,"open":0,"evicted":0},"handshakes":{"syn_to_established_ns":{"count":1,"p50":28820000,"p90":28820000,"p99":28820000,"max":28820000},"syn_to_synack_ns":{"count":0,"p50":null,"p90":null,"p99":null,"max":null},"synack_to_ack_ns":{"count":0,"p50":null,"p90":null,"p99":null,"max":null},"network_rtt_ns":{"count":0,"p50":null,"p90":null,"p99":null,"max":null},"local_stack_ns":{"count":0,"p50":null,"p90":null,"p99":null,"max":null}},"admission_rate":1.0,"cost":{"kernel_ns_per_packet":41.25,"kernel_packets_timed":1000,"kernel_cpu_percent":0.25,"cpu_percent":0.31,"ring_peak_bytes":4096,"ring_bytes":8388608}}
    "###);
}

#[test]
fn vlan_tags_and_ipv6() {
    let mut event = fixtures::transition();
    event.common.ip_version = 6;
    event.common.client = fixtures::address("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943);
    event.common.server = fixtures::address("2607:f8b0:400c:c03::1a", 25);
    event.common.vlan.outer = Some(100);
    let text = lines(&[Event::Transition(event)]);
    schema::assert_valid(&text);
    assert_snapshot!(text, @r###"
    {"event":"transition","schema":2,"ts":"2020-06-10T06:59:50.293475000Z","id":1,"interface":"eth0","ip_version":6,"client":{"ip":"2001:470:e5bf:dead:4957:2174:e82c:4887","port":63943},"server":{"ip":"2607:f8b0:400c:c03::1a","port":25},"community_id":"1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=","vlan":[100],"vantage":"client","complete":true,"endpoint":"client","from":"SYN_SENT","to":"ESTABLISHED","inferred":false,"since_previous_ns":28820000}
    "###);
}

#[test]
fn shifting_moves_every_time_stamp_and_no_duration() {
    let before = fixtures::full_and_minimal();
    let mut after = before.clone();
    for (before, after) in before.iter().zip(&mut after) {
        after.shift(1_000_000_000);
        assert_eq!(after.ts().0, before.ts().0 + 1_000_000_000);
        after.shift(-1_000_000_000);
        assert_eq!(after, before);
    }
    let mut connection = Event::Connection(Box::new(fixtures::connection()));
    connection.shift(-5);
    let Event::Connection(shifted) = connection else { unreachable!("it was one") };
    assert_eq!(shifted.start, Timestamp(fixtures::connection().start.0 - 5));
}

#[test]
fn the_checked_in_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&event::schema()).expect("a schema is JSON") + "\n";
    assert!(
        generated == schema::CHECKED_IN,
        "the events have changed: run `cargo xtask schema`, commit tcptrace/schema/events.schema.json with the change, \
         and raise SCHEMA_VERSION if old readers would misread the new lines"
    );
}

//! The metrics that are made of events and counters.

use crate::{any::Dice, fixtures};
use insta::assert_snapshot;
use std::{collections::BTreeSet, time::Duration};
use tcptrace::{
    event::{
        Cgroup, Connection, Established, Event, FirstData, Outcome, OutcomeCounts, Role, Socket,
        SocketMoment, Stats, Vantage,
    },
    sink::metrics::{Format, Metrics, Options},
};

fn metrics(top: usize) -> Metrics {
    Metrics::new(Options { top, max_connections: 1000 })
}

fn text(metrics: &Metrics) -> String {
    let bytes = metrics.render(Format::Text, Duration::ZERO).expect("it can be written");
    String::from_utf8(bytes).expect("text")
}

/// The samples without comments and buckets.
fn samples(metrics: &Metrics) -> String {
    let text = text(metrics);
    text.split_inclusive('\n').filter(|line| !line.starts_with('#') && !line.contains("_bucket")).collect()
}

fn unit(name: &str) -> Cgroup {
    let path = format!("/system.slice/{name}").into();
    Cgroup { path, unit: Some(name.into()), container: None, pod: None, pod_name: None }
}

fn socket(rtt_ns: u64) -> Socket {
    Socket {
        at: SocketMoment::Fin,
        rtt_ns: Some(rtt_ns),
        min_rtt_ns: None,
        retransmits: 2,
        segments_out: 40,
        segments_in: 30,
        bytes_acked: 0,
        bytes_received: 0,
        cwnd: 10,
        delivery_rate: None,
    }
}

#[test]
fn a_connection_and_its_handshake_in_all_that_is_kept_of_them() {
    let metrics = metrics(10);
    let client_cgroup = Some(unit("curl.service"));
    metrics.observe(&Event::Established(Established {
        client_cgroup: client_cgroup.clone(),
        ..fixtures::established()
    }));
    metrics.observe(&Event::Connection(Box::new(Connection {
        client_cgroup,
        server_cgroup: Some(unit("other.service")),
        outcome: Outcome::Reset,
        reset_by: Some(Role::Server),
        syn_retransmits: 3,
        synack_retransmits: 1,
        first_data: FirstData { first_response_ns: Some(7_000_000), ..FirstData::default() },
        client_socket: Some(socket(28_000_000)),
        ..fixtures::connection()
    })));
    let all = samples(&metrics);
    // Zeros say that nothing is missing, and are left out here.
    let some: String = all.split_inclusive('\n').filter(|line| !line.ends_with(" 0\n")).collect();
    assert_snapshot!(some, @r#"
    tcptrace_handshake_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.02882
    tcptrace_handshake_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_handshake_network_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.028789
    tcptrace_handshake_network_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_handshake_local_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.000031
    tcptrace_handshake_local_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_first_response_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.007
    tcptrace_first_response_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_rtt_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.028
    tcptrace_rtt_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_connection_duration_seconds_sum{interface="eth0",role="client",server_port="80",unit="curl.service"} 0.066336
    tcptrace_connection_duration_seconds_count{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_established_connections_total{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_syn_retransmits_total{interface="eth0",role="client",server_port="80",unit="curl.service"} 3
    tcptrace_synack_retransmits_total{interface="eth0",role="client",server_port="80",unit="curl.service"} 1
    tcptrace_sent_segments_total{interface="eth0",role="client",server_port="80",unit="curl.service"} 40
    tcptrace_retransmitted_segments_total{interface="eth0",role="client",server_port="80",unit="curl.service"} 2
    tcptrace_connections_total{interface="eth0",role="client",server_port="80",unit="curl.service",outcome="reset"} 1
    tcptrace_resets_total{interface="eth0",role="client",server_port="80",unit="curl.service",by="server"} 1
    tcptrace_label_sets 1
    tcptrace_build_info{version="0.1.0"} 1
    "#);
    assert_eq!(all.matches("tcptrace_connections_total{").count(), OUTCOMES);
    assert!(!all.contains("outcome=\"open\""));
}

/// All outcomes but `open`.
const OUTCOMES: usize = Outcome::ALL.len() - 1;

#[test]
fn the_unit_is_that_of_this_hosts_end_and_a_guessed_port_is_not_told() {
    let metrics = metrics(10);
    let connection = |vantage, [client, server]: [Option<&str>; 2], direction_inferred| {
        let mut event = Connection {
            client_cgroup: client.map(unit),
            server_cgroup: server.map(unit),
            direction_inferred,
            ..fixtures::connection()
        };
        event.common.vantage = vantage;
        metrics.observe(&Event::Connection(Box::new(event)));
    };
    connection(Vantage::Client, [Some("a"), Some("b")], false);
    connection(Vantage::Server, [Some("a"), Some("b")], true);
    connection(Vantage::Middle, [Some("a"), Some("b")], false);
    connection(Vantage::Middle, [Some("a"), None], false);
    connection(Vantage::Middle, [None, None], false);
    let all = samples(&metrics);
    let closed: String =
        all.split_inclusive('\n').filter(|line| line.contains("outcome=\"closed\"")).collect();
    assert_snapshot!(closed, @r#"
    tcptrace_connections_total{interface="eth0",role="client",server_port="80",unit="a",outcome="closed"} 1
    tcptrace_connections_total{interface="eth0",role="server",server_port="unknown",unit="b",outcome="closed"} 1
    tcptrace_connections_total{interface="eth0",role="middle",server_port="80",unit="",outcome="closed"} 1
    tcptrace_connections_total{interface="eth0",role="middle",server_port="80",unit="a",outcome="closed"} 1
    tcptrace_connections_total{interface="eth0",role="middle",server_port="80",unit="b",outcome="closed"} 1
    "#);
}

#[test]
fn the_counters_of_the_trace() {
    let metrics = metrics(10);
    assert!(!samples(&metrics).contains("tcptrace_packets_total"), "nothing is known yet");
    metrics.counters(&Stats {
        connections_open: 4,
        connections: OutcomeCounts { evicted: 5, ..OutcomeCounts::default() },
        interfaces_taken_off: Some(1),
        admission_rate: 0.25,
        pending_overwrites: 3,
        ..fixtures::stats()
    });
    assert_snapshot!(samples(&metrics), @r#"
    tcptrace_packets_total 1200
    tcptrace_tcp_packets_total 1000
    tcptrace_segments_total{kind="syn"} 1
    tcptrace_segments_total{kind="synack"} 1
    tcptrace_segments_total{kind="fin"} 2
    tcptrace_segments_total{kind="rst"} 0
    tcptrace_segments_total{kind="ack"} 3
    tcptrace_segments_total{kind="icmp"} 1
    tcptrace_shed_segments_total{kind="syn"} 0
    tcptrace_shed_segments_total{kind="synack"} 0
    tcptrace_shed_segments_total{kind="fin"} 0
    tcptrace_shed_segments_total{kind="rst"} 0
    tcptrace_shed_segments_total{kind="ack"} 0
    tcptrace_shed_segments_total{kind="icmp"} 0
    tcptrace_lost_total{cause="ring_full"} 2
    tcptrace_lost_total{cause="records_lost"} 2
    tcptrace_lost_total{cause="events_dropped"} 7
    tcptrace_lost_total{cause="pending_overwrites"} 3
    tcptrace_lost_total{cause="evicted"} 5
    tcptrace_unparsable_packets_total 1
    tcptrace_label_set_changes_total 0
    tcptrace_process_cpu_seconds_total 0.0004195695
    tcptrace_open_connections 4.0
    tcptrace_table_size_connections 1000.0
    tcptrace_admission_ratio 0.25
    tcptrace_ring_size_bytes 8388608.0
    tcptrace_ring_peak_bytes 4096.0
    tcptrace_kernel_packet_duration_seconds 4.125e-8
    tcptrace_untraced_interfaces 1.0
    tcptrace_label_sets 0
    tcptrace_build_info{version="0.1.0"} 1
    "#);
}

#[test]
fn names_with_quotes_and_line_feeds_stay_within_their_label() {
    let metrics = metrics(10);
    let mut event = fixtures::established();
    event.common.interface = "a\"b\\c\nd".into();
    metrics.observe(&Event::Established(event));
    assert!(text(&metrics).contains(r#"{interface="a\"b\\c\nd",role="client""#), "{}", text(&metrics));
}

#[test]
fn whatever_happens_labels_tell_of_no_client() {
    let known: BTreeSet<&str> = [
        "interface",
        "role",
        "server_port",
        "unit",
        "outcome",
        "error_type",
        "by",
        "kind",
        "cause",
        "le",
        "version",
    ]
    .into();
    let metrics = metrics(1000);
    for seed in 0..200 {
        for event in Dice(seed).events() {
            metrics.observe(&event);
            if let Event::Stats(stats) = &event {
                metrics.counters(stats);
            }
        }
    }
    let text = text(&metrics);
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut inside = line.split_once('{').map_or("", |(_, labels)| labels);
        // What is between quotes is a value, in which quotes are escaped.
        while let Some((key, rest)) = inside.split_once("=\"") {
            keys.insert(key.trim_start_matches(','));
            let mut escaped = false;
            let end = rest.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            inside = &rest[end.expect("a quote ends it") + 1..];
        }
    }
    assert_eq!(keys, known);
    for format in Format::ALL {
        assert!(!metrics.render(format, Duration::ZERO).expect("it can be written").is_empty());
    }
}

#[test]
fn ten_thousand_servers_are_bounded_in_series_and_time() {
    let metrics = metrics(100);
    let connect = |port: u16| {
        let mut event = fixtures::connection();
        event.common.server.port = port;
        metrics.observe(&Event::Connection(Box::new(event)));
    };
    for minute in 1..=20 {
        (1..=10_000).for_each(connect);
        let written =
            metrics.render(Format::Text, Duration::from_secs(60 * minute)).expect("it can be written");
        assert!(written.len() < 2 << 20, "{} octets", written.len());
    }
    let all = samples(&metrics);
    assert!(all.contains("tcptrace_label_sets 100\n"));
    let other =
        all.lines().find(|line| line.contains("outcome=\"closed\"") && line.contains("port=\"other\""));
    assert_eq!(other.and_then(|line| line.rsplit(' ').next()), Some("198000"));
}

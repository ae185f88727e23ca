//! The summary at the end.

use crate::fixtures;
use insta::assert_snapshot;
use tcptrace::{
    event::{
        Connection, Copies, Cost, Established, Event, FirstData, HandshakeStats, HandshakeTimes, Outcome,
        Percentiles, SegmentCounts, Stats,
    },
    sink::summary::{GroupBy, Summary},
};

fn handshake(server: &str, ns: u64) -> Event {
    let times = HandshakeTimes {
        syn_to_established_ns: Some(ns),
        syn_to_synack_ns: Some(ns - ns / 10),
        synack_to_ack_ns: Some(ns / 10),
        ..HandshakeTimes::default()
    };
    let mut event = Established { times, ..fixtures::established() };
    event.common.server = fixtures::address(server, 443);
    Event::Established(event)
}

fn ended(outcome: Outcome) -> Event {
    Event::Connection(Box::new(Connection { ..fixtures::unopened(outcome) }))
}

#[test]
fn nothing_seen() {
    assert_eq!(Summary::new().render(), "no connections seen\n");
}

#[test]
fn nothing_seen_but_packets() {
    let mut summary = Summary::new();
    let stats = Stats { packets: 3, admission_rate: 1.0, ..Stats::default() };
    summary.observe(&Event::Stats(Box::new(stats)));
    assert_snapshot!(summary.render(), @r###"
    no connections seen

    lost: nothing
    read: 3 packets
    "###);
}

#[test]
fn times_from_requests_to_answers() {
    let mut summary = Summary::new();
    for (ns, of_server) in [(41_300_000, Some(12_511_000)), (2_300_000, None), (9_000_000, Some(0))] {
        let first_data = FirstData {
            first_response_ns: Some(ns),
            first_response_server_ns: of_server,
            ..FirstData::default()
        };
        summary.observe(&Event::Connection(Box::new(Connection { first_data, ..fixtures::connection() })));
    }
    assert_snapshot!(summary.render(), @r###"
    3 connections: 3 closed

    handshake                  min         p50         p90         p99         max
    request to answer     2.300 ms    9.003 ms   41.300 ms   41.300 ms   41.300 ms
      in the server       0.000 ms    0.000 ms   12.511 ms   12.511 ms   12.511 ms
    "###);
}

#[test]
fn packets_that_were_captured_twice() {
    for (segments, ttl, said) in [
        (
            6,
            Some([64, 63]),
            "captured twice: 6 segments, with TTL 64 and 63 (on both sides of a router); counted once\n",
        ),
        (
            1,
            Some([64, 64]),
            "captured twice: 1 segment, with an equal TTL (a mirror port or tap of both directions); counted once\n",
        ),
        (
            2,
            None,
            "twice: 2 segments, with other sequence numbers (on both sides of a device that rewrites them); counted once",
        ),
    ] {
        let mut summary = Summary::new();
        let copies = Copies { segments, ttl };
        summary.observe(&Event::Stats(Box::new(Stats { copies, ..Stats::default() })));
        assert!(summary.render().contains(said), "{}", summary.render());
    }
}

#[test]
fn packets_of_what_was_left_out_did_not_begin_before() {
    let first = |summary: Summary, stats: Stats| {
        let mut summary = summary;
        summary.observe(&Event::Stats(Box::new(Stats { tcp_packets: 3, admission_rate: 1.0, ..stats })));
        summary.render().lines().next().map(str::to_owned)
    };
    let before = "no connections seen: 3 TCP packets of connections that began before";
    let one = SegmentCounts { syn: 1, ..SegmentCounts::default() };
    for (summary, stats, line) in [
        (Summary::new(), Stats::default(), before),
        (Summary::new().filtered(), Stats::default(), "no connections seen"),
        (Summary::new(), Stats { shed: one, ..Stats::default() }, "no connections seen"),
        (Summary::new(), Stats { segments: one, ..Stats::default() }, "no connections seen"),
    ] {
        assert_eq!(first(summary, stats).as_deref(), Some(line));
    }
}

#[test]
fn a_trace() {
    let mut summary = Summary::new();
    for i in 1..=100_u64 {
        summary.observe(&handshake(&format!("192.0.2.{}", i % 7), i * 100_000));
    }
    summary.observe(&handshake("2001:db8::1", 3_028_820_000));
    for _ in 0..99 {
        summary.observe(&ended(Outcome::Closed));
    }
    summary.observe(&ended(Outcome::Refused));
    summary.observe(&ended(Outcome::SynackUnanswered));
    summary.observe(&Event::Stats(Box::new(fixtures::stats())));
    assert_snapshot!(summary.render(), @r###"
    101 connections: 99 closed, 1 refused, 1 syn-ack unanswered

    handshake                  min         p50         p90         p99         max
    syn to established    0.100 ms    5.104 ms    9.101 ms   10.002 ms     3.029 s
      syn to syn-ack      0.090 ms    4.592 ms    8.192 ms    9.003 ms     2.726 s
      syn-ack to ack      0.010 ms    0.510 ms    0.910 ms    1.000 ms  302.882 ms

    syn to established, up to
        0.200 ms          1  #
        0.500 ms          3  ###
        1.000 ms          5  ####
        2.000 ms         10  ########
        5.000 ms         30  ########################
       10.000 ms         50  ########################################
       20.000 ms          1  #
             ...          0
         5.000 s          1  #

    slowest servers, by their slowest handshake
         3.029 s  [2001:db8::1]:443  (mean 3.029 s of 1)
       10.000 ms  192.0.2.2:443  (mean 5.100 ms of 15)
        9.900 ms  192.0.2.1:443  (mean 5.000 ms of 15)
        9.800 ms  192.0.2.0:443  (mean 5.250 ms of 14)
        9.700 ms  192.0.2.6:443  (mean 5.150 ms of 14)

    handshakes that failed, by server
               1  180.101.49.11:80  refused
               1  180.101.49.11:80  syn-ack unanswered

    lost: 2 records between kernel and tracer, 2 records for which the ring was full, 1 packet not parsable, 7 events dropped for a slow reader
    captured twice: 2 segments, with TTL 64 and 63 (on both sides of a router); counted once
    cost: 1200 packets at 41.2 ns each in the kernel (1000 of them timed), 0.2 % of one CPU there and 0.3 % in this process, ring at most 0.0 % full
    "###);
}

#[test]
fn what_was_not_measured_is_not_claimed() {
    let mut summary = Summary::new();
    summary.observe(&ended(Outcome::Unanswered));
    let shed = SegmentCounts { syn: 300, synack: 150, fin: 20, rst: 7, ..SegmentCounts::default() };
    let segments = SegmentCounts { syn: 100, ..SegmentCounts::default() };
    let stats = Stats { segments, shed, cost: Cost::default(), ..Stats::default() };
    summary.observe(&Event::Stats(Box::new(stats)));
    assert_snapshot!(summary.render(), @r###"
    1 connection: 1 unanswered

    handshakes that failed, by server
               1  180.101.49.11:80  unanswered

    lost: nothing
    not followed: 300 SYN, 150 SYN-ACK, 20 FIN, 7 RST; outcomes and times are of the other connections, 25.0 % of all by their SYNs
    read: 0 packets
    "###);
}

#[test]
fn the_slowest_servers_are_found_among_more_than_are_remembered() {
    let mut summary = Summary::new();
    for i in 0..50_000_u64 {
        let server = format!("10.{}.{}.{}", i >> 16, i >> 8 & 255, i & 255);
        // The slow ones come early, in the middle and last.
        let slow = matches!(i, 0 | 9_999 | 25_000 | 40_000 | 49_999);
        summary.observe(&handshake(&server, if slow { 1_000_000_000 + i } else { 1_000_000 }));
    }
    let text = summary.render();
    for server in ["10.0.0.0:443", "10.0.39.15:443", "10.0.97.168:443", "10.0.156.64:443", "10.0.195.79:443"]
    {
        assert!(text.contains(server), "{server} is not in\n{text}");
    }
}

#[test]
fn events_given_up_at_the_end_are_lost_too() {
    let mut summary = Summary::new();
    summary.observe(&Event::Stats(Box::new(Stats {
        events_dropped: 3,
        admission_rate: 1.0,
        ..Stats::default()
    })));
    summary.record_dropped(5);
    assert!(summary.render().contains("lost: 5 events dropped for a slow reader\n"), "{}", summary.render());
}

#[test]
fn failures_by_server_and_what_retries_lost() {
    let mut summary = Summary::new();
    let mut slow = fixtures::established();
    for (retry_ns, total_ns) in
        [(0, 1_000_000), (1_000_000_000, 1_001_000_000), (3_000_000_000, 3_001_000_000)]
    {
        slow.times = HandshakeTimes {
            syn_to_established_ns: Some(total_ns),
            syn_retry_ns: Some(retry_ns),
            ..HandshakeTimes::default()
        };
        summary.observe(&Event::Established(slow.clone()));
    }
    // As of a scan: each port once, and one that is refused often.
    for port in 1..=6000 {
        let mut failed = fixtures::unopened(Outcome::Refused);
        failed.common.server = fixtures::address("192.0.2.1", if port % 100 == 0 { 81 } else { port });
        summary.observe(&Event::Connection(Box::new(failed)));
    }
    summary.observe(&ended(Outcome::Closed));
    let text = summary.render();
    let retries = "  lost in retries      1.000 s     1.000 s     3.000 s     3.000 s     3.000 s  (of 2 with SYN retries)\n";
    assert!(text.contains(retries), "{text}");
    let most = "handshakes that failed, by server\n          61  192.0.2.1:81  refused\n";
    assert!(text.contains(most) && text.contains(" others\n"), "{text}");
}

#[test]
fn a_scan_is_one_line_however_many_ports_it_asks_for() {
    let mut summary = Summary::new();
    for port in 1..=1000 {
        for scanner in 1..=if port <= 10 { 7 } else { 1 } {
            let mut probe = fixtures::unopened(Outcome::Refused);
            probe.probe = true;
            probe.common.client = fixtures::address(&format!("198.51.100.{scanner}"), 40_000);
            probe.common.server = fixtures::address("192.0.2.1", port);
            summary.observe(&Event::Connection(Box::new(probe)));
        }
    }
    let text = summary.render();
    let scans = "
RSTs to probes without SYN and ACK, as scanners send
        1000  198.51.100.1 > 192.0.2.1
          10  198.51.100.2 > 192.0.2.1
          10  198.51.100.3 > 192.0.2.1
          10  198.51.100.4 > 192.0.2.1
          10  198.51.100.5 > 192.0.2.1
         and  20 others
";
    assert!(text.contains(scans) && !text.contains("handshakes that failed"), "{text}");
}

#[test]
fn connections_that_were_given_up_for_room_are_lost() {
    let mut summary = Summary::new();
    for outcome in [Outcome::Evicted, Outcome::Evicted, Outcome::Closed] {
        summary.observe(&ended(outcome));
    }
    summary.observe(&Event::Stats(Box::default()));
    let text = summary.render();
    let lost = "lost: 2 connections given up: there were more at once than --max-connections\n";
    assert!(text.contains(lost), "{text}");
}

/// A handshake of `client` with `server`, after so many SYN retries.
fn between(client: &str, server: &str, ns: u64, retries: u32) -> Event {
    let Event::Established(mut event) = handshake(server, ns) else { unreachable!("it is one") };
    event.common.client = fixtures::address(client, 40_000);
    event.syn_retransmits = retries;
    event.times.syn_retry_ns = Some(u64::from(retries) * 1_000_000_000);
    Event::Established(event)
}

fn ended_between(client: &str, server: &str, outcome: Outcome) -> Event {
    let mut event = Connection { syn_retransmits: 0, ..fixtures::unopened(outcome) };
    if outcome == Outcome::Unanswered {
        (event.syn_retransmits, event.times.syn_retry_ns) = (2, Some(3_000_000_000));
    }
    event.common.client = fixtures::address(client, 40_000);
    event.common.server = fixtures::address(server, 443);
    Event::Connection(Box::new(event))
}

/// What follows the failures.
fn tables(summary: &Summary) -> String {
    let text = summary.render();
    let failures = text.find("handshakes that failed").unwrap_or_default();
    text[failures..].split_once("\n\n").expect("a table").1.to_owned()
}

#[test]
fn by_service_and_by_client() {
    let mut summary = Summary::new().by(&[GroupBy::Service, GroupBy::Client], 2);
    for i in 1..=200_u64 {
        let client = if i % 4 == 0 { "255.255.255.255" } else { "192.0.2.7" };
        summary.observe(&between(client, "198.51.100.80", i * 100_000, u32::from(i % 100 == 0)));
        summary.observe(&ended_between(client, "198.51.100.80", Outcome::Closed));
    }
    for _ in 0..105 {
        summary.observe(&ended_between("192.0.2.7", "198.51.100.81", Outcome::Refused));
    }
    summary.observe(&ended_between("192.0.2.7", "198.51.100.81", Outcome::Unanswered));
    // Open, and so not ended.
    summary.observe(&between("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8::80", 28_820_000, 0));
    summary.observe(&ended_between("192.0.2.9", "198.51.100.82", Outcome::SynackUnanswered));
    let text = tables(&summary);
    assert_snapshot!(text, @r###"
    the 2 busiest of 4 services
    service                 conns   estab  failed        p50        p90        p99
    198.51.100.80:443         200     200       0  10.027 ms  18.088 ms  19.923 ms
        2 SYN retries lost 2.000 s
    198.51.100.81:443         106       0     106       -          -          -
        105 refused, 1 otherwise; 2 SYN retries lost 3.000 s
    other (2)                   1       1       1  28.820 ms  28.820 ms  28.820 ms
        1 syn-ack unanswered

    the 2 busiest of 4 clients
    client                  conns   estab  failed        p50        p90        p99
    192.0.2.7                 256     150     106   9.961 ms  17.957 ms  19.900 ms
        105 refused, 1 otherwise; 2 SYN retries lost 3.000 s
    255.255.255.255            50      50       0  10.027 ms  18.088 ms  20.000 ms
        2 SYN retries lost 2.000 s
    other (2)                   1       1       1  28.820 ms  28.820 ms  28.820 ms
        1 syn-ack unanswered
    "###);
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");

    let mut summary = Summary::new().by(&[GroupBy::Server], 10);
    summary.observe(&between("192.0.2.7", "2001:db8:1111:2222:3333:4444:5555:6666", 28_820_000, 0));
    let text = summary.render();
    assert_snapshot!(text[text.find("1 server").expect("a table")..], @r###"
    1 server
    server                  conns   estab  failed        p50        p90        p99
    2001:db8:1111:2222:3333:4444:5555:6666
                                1       1       0  28.820 ms  28.820 ms  28.820 ms
    "###);
}

/// As of a scan from everywhere, with a few that come again and again.
#[test]
fn the_busiest_are_found_among_more_than_are_remembered() {
    let mut summary = Summary::new().by(&[GroupBy::Client], 3);
    for i in 0..60_000_u32 {
        summary.observe(&ended_between(
            &std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string(),
            "192.0.2.1",
            Outcome::Refused,
        ));
        // These begin late, each with more than a five-hundredth of all.
        if i >= 30_000 {
            let client = format!("203.0.113.{}", i % 3);
            summary.observe(&ended_between(&client, "192.0.2.1", Outcome::Refused));
        }
    }
    let text = summary.render();
    let table =
        &text[text.find("\nthe 3 busiest of more than 1024 clients\n").unwrap_or_else(|| panic!("{text}"))..];
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.contains('.') || line.starts_with("other"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let missed = table.split("of each up to ").nth(1).and_then(|rest| rest.split(' ').next()).expect(table);
    let missed: u64 = missed.parse().expect(table);
    assert!((1..=90_000 / 512).contains(&missed), "{table}");
    let mut sum = 0;
    for row in &rows {
        let count: u64 = row[1].parse().expect(table);
        assert!(
            row[0] == "other" || (row[0].starts_with("203.0.113.") && count + missed >= 10_000),
            "{table}"
        );
        sum += count;
    }
    assert_eq!((rows.len(), sum), (4, 90_000), "nothing is lost: {table}");
}

#[test]
fn what_stats_say_of_handshakes_is_what_the_summary_says() {
    let mut summary = Summary::new();
    assert_eq!(summary.handshakes(), HandshakeStats::default());
    for i in 1..=100 {
        summary.observe(&handshake("192.0.2.1", i * 100_000));
    }
    let all = summary.handshakes();
    let Percentiles { count, p50, p90, p99, max } = all.syn_to_established_ns;
    assert_eq!((count, max), (100, Some(10_000_000)));
    let text = summary.render();
    for ns in [p50, p90, p99, max].into_iter().flatten() {
        let shown = format!("{}.{:03} ms", ns / 1_000_000, (ns % 1_000_000 + 500) / 1000);
        assert!(text.contains(&shown), "{shown} is not in {text}");
    }
    assert_eq!(all.network_rtt_ns, Percentiles::default(), "no vantage told it");
}

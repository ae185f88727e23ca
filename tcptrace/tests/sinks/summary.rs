//! The summary at the end.

use crate::fixtures;
use insta::assert_snapshot;
use tcptrace::{
    event::{Connection, Cost, Established, Event, HandshakeTimes, Outcome, Stats},
    sink::summary::Summary,
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
    assert_snapshot!(summary.render(), @"");
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
    assert_snapshot!(summary.render(), @"");
}

#[test]
fn what_was_not_measured_is_not_claimed() {
    let mut summary = Summary::new();
    summary.observe(&ended(Outcome::Unanswered));
    let stats = Stats { admission_rate: 0.25, cost: Cost::default(), ..Stats::default() };
    summary.observe(&Event::Stats(Box::new(stats)));
    assert_snapshot!(summary.render(), @"");
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

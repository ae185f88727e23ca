//! The lines for people.

use crate::fixtures::{self, at};
use insta::assert_snapshot;
use jiff::tz::TimeZone;
use tcptrace::{
    event::{
        ClosedBy, Connection, Established, Event, HandshakeTimes, Outcome, ResetPhase, Role, State,
        Transition, Vlans,
    },
    sink::{
        Sink as _,
        text::{TextOptions, TextSink},
    },
};

fn print(events: impl IntoIterator<Item = Event>, interfaces: bool, color: bool) -> String {
    let mut sink = TextSink::new(TextOptions { interfaces, color, zone: TimeZone::UTC });
    let mut out = Vec::new();
    for event in events {
        sink.event(&event, &mut out);
    }
    String::from_utf8(out).expect("text is UTF-8")
}

fn lines(events: impl IntoIterator<Item = Event>) -> String {
    print(events, false, false)
}

fn ended(connection: Connection) -> Event {
    Event::Connection(Box::new(connection))
}

#[test]
fn the_textbook_connection() {
    let events = [Event::Established(fixtures::established()), ended(fixtures::connection())];
    assert_snapshot!(lines(events), @"");
}

#[test]
fn verbose() {
    let presumed = Transition {
        endpoint: Role::Server,
        from: State::Closed,
        to: State::Listen,
        inferred: true,
        since_previous_ns: None,
        ..fixtures::transition()
    };
    let events = [
        Event::Segment(fixtures::segment()),
        Event::Transition(presumed),
        Event::Transition(fixtures::transition()),
        Event::Established(fixtures::established()),
        Event::Anomaly(fixtures::anomaly()),
        Event::Stats(Box::new(fixtures::stats())),
    ];
    assert_snapshot!(lines(events), @"");
}

#[test]
fn retries_are_time_lost() {
    let times = HandshakeTimes {
        syn_to_established_ns: Some(3_028_820_000),
        syn_retry_ns: Some(3_000_000_000),
        ..fixtures::times()
    };
    let retried = Established { times, syn_retransmits: 2, ..fixtures::established() };
    // The answer was sent again too: what lies between the two SYN-ACKs is in neither part.
    let times = HandshakeTimes { syn_to_established_ns: Some(1_028_820_000), ..fixtures::times() };
    let answered_twice = Established { times, synack_retransmits: 1, ..fixtures::established() };
    let unseen = Established { times: HandshakeTimes::default(), ..fixtures::established() };
    let events = [retried, answered_twice, unseen].map(Event::Established);
    assert_snapshot!(lines(events), @"");
}

#[test]
fn every_outcome() {
    let opened = fixtures::connection();
    let reset = |reset_phase| Connection {
        outcome: Outcome::Reset,
        closed_by: None,
        close_wait_ns: None,
        reset_by: Some(Role::Server),
        reset_phase: Some(reset_phase),
        ..opened.clone()
    };
    let alive = |outcome| Connection {
        client_state: State::Established,
        server_state: State::Established,
        lifetime_ns: Some(725_000_000_000),
        ..fixtures::unopened(outcome)
    };
    let events = [
        Connection { closed_by: Some(ClosedBy::Both), half_closed: true, ..opened.clone() },
        reset(ResetPhase::Established),
        reset(ResetPhase::Closing),
        reset(ResetPhase::AfterClose),
        Connection {
            reset_by: Some(Role::Server),
            lifetime_ns: Some(120_000),
            ..fixtures::unopened(Outcome::Refused)
        },
        Connection {
            syn_retransmits: 6,
            lifetime_ns: Some(63_000_000_000),
            ..fixtures::unopened(Outcome::Unanswered)
        },
        Connection { synack_retransmits: 5, ..fixtures::unopened(Outcome::SynackUnanswered) },
        Connection { syn_retransmits: 1, ..fixtures::unopened(Outcome::Aborted) },
        alive(Outcome::Reused),
        Connection { server_bytes: Some(5_000_000_000), bytes_mod_4gib: true, ..alive(Outcome::Open) },
        Connection { server_state: State::CloseWait, ..alive(Outcome::Evicted) },
    ];
    assert_snapshot!(lines(events.map(ended)), @"");
}

#[test]
fn partial_incomplete_and_tagged() {
    let mut partial = Connection {
        partial: true,
        direction_inferred: true,
        lifetime_ns: None,
        client_bytes: None,
        server_bytes: None,
        times: HandshakeTimes::default(),
        ..fixtures::connection()
    };
    partial.common.complete = false;
    let mut tagged = fixtures::established();
    tagged.common.vlan = Vlans { outer: Some(100), inner: Some(20) };
    assert_snapshot!(lines([ended(partial), Event::Established(tagged)]), @"");
}

#[test]
fn ipv6_and_columns_that_grow() {
    let mut v6 = fixtures::established();
    v6.common.ip_version = 6;
    v6.common.client = fixtures::address("2001:db8::1", 50000);
    v6.common.server = fixtures::address("2001:db8:0:1::2", 443);
    let mut short = fixtures::established();
    short.common.ts = at(999_999);
    short.common.client = fixtures::address("10.0.0.1", 1);
    short.common.interface = "enp3s0".into();
    let events =
        [Event::Established(v6), Event::Established(short), Event::Established(fixtures::established())];
    assert_snapshot!(print(events, true, false), @"");
}

#[test]
fn colour_does_not_change_the_columns() {
    let events =
        || [Event::Established(fixtures::established()), ended(fixtures::unopened(Outcome::Refused))];
    let colored = print(events(), false, true);
    assert!(colored.contains("\u{1b}[32mESTABLISHED\u{1b}[0m"), "{colored:?}");
    let stripped = colored.replace("\u{1b}[32m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
    assert_eq!(stripped, lines(events()));
}

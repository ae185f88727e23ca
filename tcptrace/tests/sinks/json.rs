//! The JSON lines and their schema.

use crate::{fixtures, schema};
use insta::assert_snapshot;
use tcptrace::{
    event::{self, Event, Outcome},
    segment::Timestamp,
    sink::{Sink as _, json::JsonSink},
};

fn lines(events: &[Event]) -> String {
    let mut out = Vec::new();
    for event in events {
        JsonSink.event(event, &mut out);
    }
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn the_textbook_connection_is_as_documented() {
    let events =
        [Event::Established(fixtures::established()), Event::Connection(Box::new(fixtures::connection()))];
    let text = lines(&events);
    schema::assert_valid(&text);
    assert_snapshot!(text, @"");
}

#[test]
fn every_event_full_or_minimal_is_as_the_schema_says() {
    let text = lines(&fixtures::full_and_minimal());
    assert_eq!(text.lines().count(), 12);
    schema::assert_valid(&text);
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
    let good: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert!(validator.is_valid(&good));
    for (key, value) in [
        ("extra", 1.into()),
        ("ts", "yesterday".into()),
        ("id", (-1).into()),
        ("schema", 2.into()),
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
        Event::Transition(fixtures::transition()),
        Event::Segment(fixtures::segment()),
        Event::Anomaly(fixtures::anomaly()),
        Event::Stats(Box::new(fixtures::stats())),
    ];
    assert_snapshot!(lines(&events), @"");
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
    assert_snapshot!(text, @"");
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

//! How long after a segment its event is told.

use crate::{
    lab::{Family, Lab},
    trace::Trace,
    traffic::{Kind, drive},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{thread, time::Duration};

const CONNECTIONS: usize = 15;

/// Milliseconds from the end of a connection to its line, of some connections one after the other, in order.
fn delays(latency: &[&str]) -> Vec<i128> {
    let lab = Lab::new();
    let trace = Trace::start(&lab.a, &[&["--json", "--events", "connection"], latency].concat());
    let mut delays: Vec<i128> = (0..CONNECTIONS)
        .map(|nth| {
            drive(Kind::ALL[0], &lab.a, &lab.b, Family::V4);
            trace.wait_for_connections(nth + 1);
            let now = Timestamp::now();
            let line = trace.last_line();
            let event: Value = serde_json::from_str(&line).expect("JSON");
            let ts: Timestamp = event["ts"].as_str().and_then(|ts| ts.parse().ok()).expect("a time");
            // The next one finds the reader asleep.
            thread::sleep(Duration::from_millis(150));
            now.duration_since(ts).as_millis()
        })
        .collect();
    trace.stop();
    delays.sort_unstable();
    delays
}

/// Medians: what the machine does elsewhere can delay any single one. The test looks every 10 ms.
#[test]
fn events_are_told_within_the_latency() {
    let (usual, short) = (delays(&[]), delays(&["--latency", "30ms"]));
    eprintln!("latency: by default {usual:?} ms, of 30 ms {short:?} ms");
    assert!(usual[CONNECTIONS / 2] <= 110, "by default within 100 ms: {usual:?}");
    assert!(usual[CONNECTIONS / 2] >= 60, "the first of them waits for more to come: {usual:?}");
    assert!(short[CONNECTIONS / 2] <= 50, "within 30 ms: {short:?}");
}

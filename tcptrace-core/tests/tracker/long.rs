//! Connections that live for days, clocks that are set, and very many connections that do nothing.

use super::script::{OPEN, Run, config, opened, segment};
use std::time::Instant;
use tcptrace_core::{
    event::{Event, Kind, Kinds, Outcome},
    segment::{Input, Timestamp},
    track::{Config, Tracker},
};

const DAY_MS: u64 = 86_400_000;

#[test]
fn a_life_of_forty_days() {
    let end = 40 * DAY_MS;
    let r = opened("").tick(&(20 * DAY_MS).to_string());
    assert!(r.connections().is_empty(), "nothing times out an open connection");
    let r = r.feed(&format!(
        "{end} C F. 1101 5001
         {end}.5 S . 5001 1102
         {} S F. 9001 1102
         {}.1 C . 1102 9002",
        end + DAY_MS,
        end + DAY_MS
    ));
    let c = r.only();
    assert_eq!((c.outcome, c.half_closed), (Outcome::Closed, true));
    let ns = |ms: u64| Some(ms * 1_000_000);
    assert_eq!(c.lifetime_ns, ns(end + DAY_MS).map(|ns| ns + 100_000));
    assert_eq!(c.close_wait_ns, ns(DAY_MS).map(|ns| ns - 500_000));
    // In forty days anything can have been sent.
    assert!(c.bytes_mod_4gib);
    assert_eq!((c.client_bytes, c.server_bytes), (Some(100), Some(4000)));
}

/// Where the wall clock is set while a connection lives, times of day move and durations do not: the tracker never sees
/// that clock (`tcptrace/src/source/clock.rs` anchors it anew).
#[test]
fn a_clock_that_is_set_moves_no_duration() {
    let closing = "20 C F. 1001 5001\n30 S F. 5001 1002\n31 C . 1002 5002";
    let r = opened(closing);
    let before = r.only().clone();
    let mut event = Event::Connection(Box::new(before.clone()));
    let hour = 3_600_000_000_000;
    event.shift(hour);
    let Event::Connection(mut after) = event else { panic!("it stays what it was") };
    assert_eq!(after.start, before.start.plus(hour.unsigned_abs()));
    assert_eq!(after.common.ts.since(after.start), before.common.ts.since(before.start));
    (after.start, after.common.ts) = (before.start, before.common.ts);
    assert_eq!(*after, before, "nothing else changed");
}

/// Opens `count` connections that then do nothing.
fn idle(count: u32) -> Tracker {
    let wants = Kinds::ALL.without(Kind::Segment).without(Kind::Transition).without(Kind::Established);
    let mut tracker = Tracker::new(Config { max_connections: 2_000_000, wants, ..config() });
    let lines: Vec<_> = OPEN.trim().lines().map(segment).collect();
    for number in 0..count {
        for line in &lines {
            let mut seg = line.clone();
            let address = if seg.flow.dst_port == 80 { &mut seg.flow.src } else { &mut seg.flow.dst };
            address[12..].copy_from_slice(&number.to_be_bytes());
            tracker.input(&Input::Segment(seg), &mut |_| {});
        }
    }
    tracker
}

#[test]
fn a_million_idle_connections_cost_no_time() {
    const MANY: u32 = 1_000_000;
    let ticks = |tracker: &mut Tracker| {
        let began = Instant::now();
        for second in 0..10_000 {
            tracker.input(&Input::Tick(Timestamp(second * 1_000_000_000)), &mut |event| panic!("{event:?}"));
        }
        began.elapsed()
    };
    let (mut few, mut many) = (idle(1000), idle(MANY));
    assert_eq!(many.open(), MANY as usize);
    let (few, many_took) = (ticks(&mut few), ticks(&mut many));
    // A walk over a million connections would take a thousand times as long, so the test has room for a noisy machine.
    assert!(many_took < few * 50, "10,000 ticks: {few:?} with a thousand, {many_took:?} with a million");
    // Each connection is still there, in the order in which they began.
    let mut next = 1;
    many.finish(Timestamp(20_000_000_000_000), &mut |event| {
        let Event::Connection(it) = event else { panic!("{event:?}") };
        assert_eq!((it.common.id, it.outcome), (next, Outcome::Open));
        next += 1;
    });
    assert_eq!(next, u64::from(MANY) + 1);
}

#[test]
fn time_outs_come_in_their_order_whatever_the_ticks() {
    let script = "
        0     C S 1000
        100   C S 1000";
    let finely =
        (0..90).fold(Run::new(config()).feed(script), |r, second| r.tick(&(second * 1000).to_string()));
    let at_once = Run::new(config()).feed(script).tick("90000");
    assert_eq!(finely.events, at_once.events);
}

//! More connections than can be followed, or than are asked for: whole ones are left out, counted, and said to be.

use crate::{
    lab::{Lab, eventually},
    load::Load,
    trace::{Report, Trace, flow_of, last_stats, of_kind},
    traffic::Flow,
};
use serde_json::{Value, json};
use std::collections::HashSet;

const EVENTS: [&str; 3] = ["--json", "--events", "connection,stats"];

/// Those that are called complete are so, whatever happened to the others.
pub(crate) fn assert_honest(flows: &[Flow], events: &[Value]) -> usize {
    let driven: HashSet<&Flow> = flows.iter().collect();
    let complete: Vec<&Value> =
        of_kind(events, "connection").filter(|event| event["complete"] == true).collect();
    for event in &complete {
        assert!(driven.contains(&flow_of(event)), "{event:#} was not driven");
        for (field, expected) in [
            ("outcome", json!("closed")),
            ("closed_by", json!("client")),
            ("partial", json!(false)),
            ("client_bytes", json!(1)),
            ("server_bytes", json!(1)),
        ] {
            assert_eq!(event[field], expected, "{field} of {event:#}");
        }
    }
    complete.len()
}

pub(crate) fn count(stats: &Value, counters: &str, kind: &str) -> u64 {
    stats[counters][kind].as_u64().unwrap_or_else(|| panic!("{counters} {kind} in {stats:#}"))
}

#[test]
fn a_sample_is_of_whole_connections() {
    let lab = Lab::new();
    let load = Load { connections: 2000, threads: 2, batch: 50, args: &[] };
    let args = [&EVENTS[..], &["--sample", "1/4", "--ring-size", "16M"]].concat();
    let trace = Trace::start(&lab.a, &args);
    let (flows, _) = load.drive(&lab);
    trace.wait_until_idle();
    let events = trace.stop().events();
    let stats = last_stats(&events);
    let reported = of_kind(&events, "connection").count();
    assert_eq!(assert_honest(&flows, &events), reported, "each that is followed is complete");
    // 500 with a standard deviation below 20.
    assert!((380..=620).contains(&reported), "{reported} of 2000");
    assert_eq!(stats["admission_rate"], 0.25);
    assert_eq!(count(stats, "segments", "syn"), 2000);
    assert_eq!(count(stats, "shed", "syn") + reported as u64, 2000);
    assert_eq!(count(stats, "shed", "fin") + 2 * reported as u64, count(stats, "segments", "fin"));
    assert_eq!((stats["records_lost"].as_u64(), stats["pending_overwrites"].as_u64()), (Some(0), Some(0)));
    lab.a.assert_nothing_attached();
}

#[test]
fn overload_is_announced_and_passes() {
    const CONNECTIONS: usize = 8000;
    const AFTERWARDS: usize = 10;
    let lab = Lab::new();
    // A ring that a burst of some dozens of connections fills.
    let trace =
        Trace::start(&lab.a, &[&EVENTS[..], &["--ring-size", "64K", "--stats-interval", "500ms"]].concat());
    let load = Load { connections: CONNECTIONS, threads: 4, batch: 250, args: &[] };
    let (mut flows, _) = load.drive(&lab);
    trace.wait_for_notice("too much to follow: following 1 connection in ");
    trace.wait_for_notice("keeping up again");
    // That may have been in the midst of the load.
    trace.wait_until_idle();
    eventually("all are followed", || {
        let stats = trace.last_line();
        if stats.contains(r#""admission_rate":1.0,"#) { Ok(()) } else { Err(stats) }
    });
    // Of those before, perhaps none was whole between what the ring lost and what was not followed.
    let few = Load { connections: AFTERWARDS, threads: 1, batch: 1, args: &[] };
    let (afterwards, _) = few.drive_from(&lab, load.threads);
    flows.extend(&afterwards);
    trace.wait_until_idle();
    let report: Report = trace.stop();
    let events = report.many_events();
    assert!(report.stderr.contains("\nnot followed: "), "{}", report.stderr);
    let stats = last_stats(&events);
    assert_eq!(stats["admission_rate"], 1.0, "{stats:#}");
    let complete = assert_honest(&flows, &events);
    // They need not be complete: each may be the second try of a SYN that the ring lost.
    let told: HashSet<Flow> = of_kind(&events, "connection").map(flow_of).collect();
    assert!(afterwards.iter().all(|flow| told.contains(flow)), "those that came when it kept up again");
    let syn = count(stats, "segments", "syn");
    assert!(syn >= CONNECTIONS as u64 && count(stats, "shed", "syn") > 0, "{stats:#}");
    let lowest = of_kind(&events, "stats").filter_map(|stats| stats["admission_rate"].as_f64());
    assert!(lowest.fold(1.0, f64::min) < 1.0, "the change was an event");
    eprintln!(
        "overload: {complete} of {} complete, {} SYN shed, {} records lost",
        flows.len(),
        count(stats, "shed", "syn"),
        stats["records_lost"]
    );
    lab.a.assert_nothing_attached();
}

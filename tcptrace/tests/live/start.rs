//! The first line of a live trace: which run, host and boot it is, where it looks, and how its times come about.

use crate::{
    lab::{Family, Host},
    oracle::times::Offset,
    trace::{Report, Trace, binary, command, command_of, of_kind},
    traffic::{Kind, drive},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fs;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}")).trim_end().to_owned()
}

/// The first event, of which there is no other; all statistics are of the same run.
fn start(report: &Report) -> Value {
    let events = report.events();
    assert_eq!((&events[0]["event"], of_kind(&events, "start").count()), (&json!("start"), 1));
    let runs: Vec<_> = of_kind(&events, "stats").map(|stats| &stats["run"]).collect();
    assert!(!runs.is_empty() && runs.iter().all(|run| **run == events[0]["run"]), "{runs:?}");
    events[0].clone()
}

fn trace_lo(host: &Host, args: &[&str]) -> Report {
    let trace = Trace::start(host, &[&["--json"], args].concat());
    drive(Kind::ClientCloses, host, host, Family::V4);
    trace.wait_for_connections(1);
    trace.stop()
}

#[test]
fn the_first_line_tells_of_run_host_and_clock() {
    let host = Host::alone();
    let before = Timestamp::now();
    let mut known = Offset::new();
    let args = [
        "--stats-interval",
        "100ms",
        "--syn-timeout",
        "5s",
        "--events",
        "start,connection,stats",
        "net 127.0.0.0/8",
    ];
    let told = start(&trace_lo(&host, &args));
    let ts: Timestamp = told["ts"].as_str().and_then(|ts| ts.parse().ok()).expect("a time");
    assert!(before - SignedDuration::from_millis(1) <= ts && ts <= Timestamp::now(), "{ts}, {before}");
    for (key, expected) in [
        ("host", json!(read("/proc/sys/kernel/hostname"))),
        ("kernel", json!(read("/proc/sys/kernel/osrelease"))),
        ("boot_id", json!(read("/proc/sys/kernel/random/boot_id"))),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("live", json!(true)),
        ("files", json!([])),
        ("interfaces", json!([{ "name": "lo", "index": 1, "netns": null }])),
        ("filter", json!("net 127.0.0.0/8")),
    ] {
        assert_eq!(told[key], expected, "{key}");
    }
    let settings = &told["settings"];
    assert_eq!(settings["events"], json!(["start", "connection", "stats"]));
    assert_eq!(
        (&settings["ingress"], &settings["syn_timeout_ns"]),
        (&json!("tc"), &json!(5_000_000_000_u64))
    );

    // What the kernel's clock shows is the time of day by it, but for what that was set and steered meanwhile.
    known.refresh();
    let offset = told["clock"]["monotonic_offset_ns"].as_i64().expect("a number");
    let uncertainty = told["clock"]["uncertainty_ns"].as_i64().expect("a number");
    assert!((1..10_000_000).contains(&uncertainty), "{uncertainty}");
    let off = (offset - known.middle()).abs();
    assert!(off < known.moved() + uncertainty + 1_000_000, "{off} ns");

    let next = start(&trace_lo(&host, &["--once"]));
    assert_ne!(next["run"], told["run"]);
    assert_eq!((&next["boot_id"], &next["settings"]["once"]), (&told["boot_id"], &json!(true)));
}

#[test]
fn a_boot_that_cannot_be_read_is_null() {
    let host = Host::alone();
    let hide = format!("mount -t tmpfs none /proc/sys/kernel/random && exec {} -i lo --json", binary());
    let mut trace = Trace::spawn(&host, &mut command_of("unshare", &["--mount", "sh", "-c", &hide]));
    trace.wait_until_attached();
    let told = start(&trace.stop());
    assert_eq!((&told["boot_id"], &told["live"]), (&Value::Null, &json!(true)));
    assert_eq!(told["kernel"], read("/proc/sys/kernel/osrelease"));
}

#[test]
fn interfaces_elsewhere_say_in_which_namespace_they_are() {
    let (host, outside) = (Host::alone(), Host::alone());
    let path = host.ns.path();
    let mut trace = Trace::spawn(&outside, &mut command(&["--netns", &path, "-i", "lo", "--json"]));
    trace.wait_until_attached();
    let told = start(&trace.stop());
    assert_eq!(told["interfaces"], json!([{ "name": "lo", "index": 1, "netns": path }]));
}

//! The first line of a live trace: which run, host and boot it is, where it looks, and how its times come about.

use crate::{
    lab::{Family, Host},
    trace::{Report, Trace, binary, command, command_of, of_kind},
    traffic::{Kind, drive},
};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{fs, ops::Range};

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

/// Within which bounds the time of day is ahead of the kernel's clock, in nanoseconds.
fn monotonic_offset() -> Range<i128> {
    let monotonic = || {
        let now = clock_gettime(ClockId::Monotonic);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    };
    let before = monotonic();
    let now = Timestamp::now().as_nanosecond();
    now - monotonic()..now - before
}

#[test]
fn the_first_line_tells_of_run_host_and_clock() {
    let host = Host::alone();
    let before = Timestamp::now();
    let offset_before = monotonic_offset();
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
    let offset = i128::from(told["clock"]["monotonic_offset_ns"].as_i64().expect("a number"));
    let uncertainty = i128::from(told["clock"]["uncertainty_ns"].as_u64().expect("a number"));
    let known = [offset_before, monotonic_offset()];
    let (least, most) = (known[0].start.min(known[1].start), known[0].end.max(known[1].end));
    assert!((1..1_000_000_000).contains(&uncertainty), "{uncertainty}");
    let around = least - uncertainty - 1_000_000..most + uncertainty + 1_000_000;
    assert!(around.contains(&offset), "{offset} and not in {around:?}");

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

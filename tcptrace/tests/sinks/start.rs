//! The first line of JSON, which tells of the trace, and what joins it to the last.

use crate::{
    icmp::{Scratch, run},
    packets::Frame,
    schema,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    process::{Command, Stdio},
};
use tcptrace::{
    segment::{Observation, Timestamp},
    sink::{
        Sink as _,
        json::JsonSink,
        pcapng::{Origin, Writer},
    },
};
use tcptrace_testing::{
    script::{Script, Step},
    stories,
};

fn events(text: &str) -> Vec<Value> {
    schema::assert_valid(text);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A SYN, on an interface that the file names before it.
fn named() -> Scratch {
    let script = Script::parse("0 C S 1000").expect("a script");
    let (mut writer, mut file) = (Writer::new(), Vec::new());
    let step = script.steps().next().expect("one");
    let Step::Input(tcptrace::segment::Input::Segment(segment)) = step else { panic!("{step:?}") };
    let ts = segment.ts.0;
    let what = Observation::Segment(segment.clone());
    writer.packet(&what, ts, Some("eth7"), Origin::Record, &mut file);
    let scratch = Scratch::new();
    fs::write(&scratch.0, file).expect("a folder for temporary files");
    scratch
}

/// The run of a trace whose first line alone is its start.
fn run_of(events: &[Value]) -> &Value {
    assert_eq!(events[0]["event"], "start");
    let again = events[1..].iter().filter(|event| event["event"] == "start").count();
    assert_eq!(again, 0, "{events:#?}");
    &events[0]["run"]
}

#[test]
fn a_trace_of_a_file_begins_with_what_is_known_of_it() {
    let file = named();
    let now = || jiff::Timestamp::now();
    let before = now();
    let events = events(&run(&file, &["--json", "-q", "--decap=ipip,vxlan", "-c", "9", "port", "80"]));
    run_of(&events);
    let mut start = events[0].clone();
    let ts: jiff::Timestamp = start["ts"].as_str().and_then(|ts| ts.parse().ok()).expect("a time");
    // Both clocks are read one after the other.
    assert!(before - jiff::SignedDuration::from_millis(1) <= ts && ts <= now(), "{ts} {before}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux tells");
    assert_eq!(start["host"], host.trim_end());
    for key in ["ts", "run", "host"] {
        start[key] = Value::Null;
    }
    let expected = json!({
        "event": "start", "schema": 2, "ts": null, "run": null, "version": env!("CARGO_PKG_VERSION"),
        "host": null, "boot_id": null, "kernel": null, "live": false, "files": [file.0],
        "interfaces": [{ "name": "eth7", "index": null, "netns": null }], "filter": "port 80", "clock": null,
        "settings": {
            "events": ["start", "established", "connection", "stats"], "failed": false, "slower_ns": null,
            "once": false, "count": 9, "duration_ns": null, "ingress": null,
            "decap": ["ipip", "vxlan:4789", "vxlan:8472"], "sockets": false, "process": false, "first_byte": false, "server_name": false, "sample": 1.0, "max_connections": 262_144,
            "syn_timeout_ns": 70_000_000_000_u64, "time_wait_ns": 60_000_000_000_u64,
        },
    });
    assert_eq!(start, expected);
}

#[test]
fn start_and_stats_have_the_run_and_no_other_run_has_it() {
    let file = named();
    let mut runs = BTreeSet::new();
    for args in [&["--json"][..], &["--json", "--once"], &["--json", "--events", "all"]] {
        let events = events(&run(&file, args));
        let run = run_of(&events);
        let last = events.last().expect("a line");
        assert_eq!((&last["event"], &last["run"]), (&json!("stats"), run), "{args:?}");
        runs.insert(run.to_string());
    }
    let alone = events(&run(&file, &["--json", "--events", "connection"]));
    let kinds: Vec<_> = alone.iter().map(|event| &event["event"]).collect();
    assert_eq!(kinds, ["connection"], "what was asked for, and nothing else");

    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(["-r", "-", "--json", "-q"]).stdin(fs::File::open(&file.0).expect("it was written"));
    let output = command.stdout(Stdio::piped()).output().expect("it starts");
    let piped = events(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert_eq!(piped[0]["files"], json!(["-"]));
    assert_eq!(piped.last().expect("a line")["run"], *run_of(&piped));
    runs.insert(run_of(&piped).to_string());
    assert_eq!(runs.len(), 4, "{runs:?}");
}

#[test]
fn a_file_without_packets_has_a_start_and_an_end_and_one_that_is_none_has_neither() {
    let empty = Scratch::capture(&[]);
    let told = events(&run(&empty, &["--json", "-q"]));
    assert_eq!((told.len(), &told[1]["run"]), (2, run_of(&told)));
    let wrong = Command::new(env!("CARGO_BIN_EXE_tcptrace")).args(["-r", "/dev/null", "--json"]).output();
    assert!(wrong.expect("it starts").stdout.is_empty());
}

#[test]
fn people_get_no_line_of_it() {
    let file = Scratch::capture(&[Frame { flags: 2, ack: 0, ..Frame::default() }.bytes()]);
    let text = run(&file, &["-q"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(run(&file, &["-q", "--events", "start,connection"]), text);
    assert_eq!(run(&file, &["-q", "--events", "start"]), "");
}

/// Keys that are left out where there is nothing to tell, as the documentation says.
const OPTIONAL: [&str; 12] = [
    "vlan",
    "server_vlan",
    "tunnel",
    "path",
    "answered_elsewhere",
    "resets_ignored",
    "reset_by_another",
    "self_connection",
    "client_states_untimed",
    "server_states_untimed",
    "interfaces_taken_off",
    "capture",
];

/// The keys of an object and of those in it, but for what differs by its nature.
fn keys(place: &str, value: &Value, all: &mut BTreeMap<String, BTreeSet<String>>) {
    let Some(object) = value.as_object() else { return };
    let names = object.keys().filter(|name| !OPTIONAL.contains(&name.as_str()));
    let names: BTreeSet<String> = names.cloned().collect();
    let known = all.entry(place.to_owned()).or_insert_with(|| names.clone());
    assert_eq!(*known, names, "{place}: {value}");
    for (name, inner) in object.iter().filter(|(name, _)| !OPTIONAL.contains(&name.as_str())) {
        keys(&format!("{place}.{name}"), inner, all);
    }
}

/// For a store with a column for each key: whatever a connection went through, its events have the same.
#[test]
fn all_events_of_a_kind_in_all_stories_have_the_same_keys() {
    let (mut all, mut sink, mut out) = (BTreeMap::new(), JsonSink::default(), bytes::BytesMut::new());
    let stories = stories::all();
    for story in &stories {
        let script = story.script().unwrap_or_else(|error| panic!("{error}"));
        let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
        for event in played.events() {
            out.clear();
            sink.event(event, &mut out);
            let line: Value = serde_json::from_slice(&out).expect("JSON");
            keys(line["event"].as_str().expect("a name"), &line, &mut all);
            assert_ne!(event.ts(), Timestamp::default(), "{line}");
        }
    }
    assert!(stories.len() > 100, "{}", stories.len());
    let told: Vec<_> = all.keys().filter(|place| !place.contains('.')).map(String::as_str).collect();
    assert_eq!(told, ["anomaly", "connection", "established", "icmp_error", "transition"]);
    for end in ["client", "server"] {
        assert_eq!(all[&format!("connection.{end}_state_ns")].len(), 9);
    }
}

//! `--once`: what is printed, and of a capture of several interfaces.

use crate::fixtures;
use serde_json::Value;
use std::{env, fs, path::PathBuf, process::Command};
use tcptrace::{
    event::{Common, Connection, Event, Outcome, Path},
    segment::{Input, Observation, Segment},
    sink::pcapng::{Origin, Writer},
    sink::{
        Sink as _,
        json::JsonSink,
        text::{TextOptions, TextSink, TimeFormat, Width},
    },
};
use tcptrace_testing::script::{Script, Step};

fn text(events: &[Event]) -> String {
    let options = TextOptions {
        interfaces: true,
        color: false,
        zone: jiff::tz::TimeZone::UTC,
        times: TimeFormat::OfDay,
        width: Width::default(),
    };
    let (mut sink, mut out) = (TextSink::new(options), bytes::BytesMut::new());
    for event in events {
        sink.event(event, &mut out);
    }
    String::from_utf8(out.to_vec()).expect("text is UTF-8")
}

fn over(names: &[&str]) -> [Event; 2] {
    let path: Path = names.iter().map(|name| (*name).into()).collect();
    let mut established = fixtures::established();
    established.path = path.clone();
    let common = Common { complete: false, ..fixtures::connection().common };
    let connection = Connection { common, path, ..fixtures::unopened(Outcome::Refused) };
    [Event::Established(established), Event::Connection(Box::new(connection))]
}

#[test]
fn the_path_is_said_where_it_has_several_interfaces() {
    insta::assert_snapshot!(text(&over(&["eth0", "docker0", "veth1"])), @r"
    06:59:50.293475  eth0  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031 (via eth0, docker0, veth1)
    06:59:50.330991  eth0  REFUSED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  RST by server: nothing listens there, or a firewall rejects (via eth0, docker0, veth1) (incomplete)
    ");
    assert!(!text(&over(&["eth0"])).contains("via"));
}

#[test]
fn json_has_the_path_only_where_it_was_asked_for() {
    let lines = |events: &[Event]| {
        let (mut sink, mut out) = (JsonSink::default(), bytes::BytesMut::new());
        for event in events {
            sink.event(event, &mut out);
        }
        let text = String::from_utf8(out.to_vec()).expect("text is UTF-8");
        crate::schema::assert_valid(&text);
        text
    };
    let with = lines(&over(&["blue/eth0", "a\"b"]));
    assert_eq!(with.matches(r#""path":["blue/eth0","a\"b"]"#).count(), 2, "{with}");
    assert!(!lines(&over(&[])).contains("path"));
}

/// A capture of connections that pass a router, on both of its interfaces.
struct Routed(PathBuf);

const LIFE: &str = "
    0    C S  1000
    5    S S. 5000 1001
    6    C .  1001 5001
    20   C F. 1101 5001
    21   S .  5001 1102
    30   S F. 5001 1102
    31   C .  1102 5002
    100  C2 S  7000
    101  S2 R. 0 7001
    2000 C S  9000
    2001 S S. 2000 9001
    2002 C .  9001 2001
    2005 C R. 9001 2001";

impl Routed {
    /// Of a name of its own, as files are mapped while they are read.
    fn new(name: &str) -> Self {
        let script = Script::parse(LIFE).expect("a script");
        let mut seen: Vec<Segment> = script
            .steps()
            .flat_map(|step| {
                let Step::Input(Input::Segment(segment)) = step else { panic!("{step:?}") };
                let from_client = segment.flow.dst_port == 80;
                [1, 2].map(|interface| {
                    let mut segment = segment.clone();
                    segment.flow.interface = interface;
                    // On the second it is tagged.
                    segment.flow.vlan[0] = if interface == 2 { 7 } else { segment.flow.vlan[0] };
                    let first = (interface == 1) == from_client;
                    segment.ts = segment.ts.plus(if first { 0 } else { 30_000 });
                    segment
                })
            })
            .collect();
        seen.sort_by_key(|segment| segment.ts);
        let (mut writer, mut file) = (Writer::new(), Vec::new());
        for segment in seen {
            let name = ["eth0", "eth1"][segment.flow.interface as usize - 1];
            let ts = segment.ts.0;
            let what = Observation::Segment(segment);
            writer.packet(&what, ts, Some(name), Origin::Record, &mut file);
        }
        let path = env::temp_dir().join(format!("tcptrace-{name}-{}.pcapng", std::process::id()));
        fs::write(&path, file).expect("a place for temporary files");
        Self(path)
    }

    /// The lines, and what was said on stderr.
    fn trace(&self, args: &[&str]) -> (Vec<Value>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
        command.arg("-r").arg(&self.0).arg("--json").args(args).env_remove("RUST_LOG");
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text is UTF-8");
        crate::schema::assert_valid(&text);
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        lines.retain(|line| line["event"] != "start");
        (lines, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_capture_of_two_interfaces() {
    let capture = Routed::new("routed");
    let of = |events: &[Value], kind: &str| -> Vec<String> {
        let mine = events.iter().filter(|event| event["event"] == kind);
        mine.map(|it| format!("{} {} {}", it["outcome"], it["interface"], it["path"]).replace('"', ""))
            .collect()
    };
    let (each, said) = capture.trace(&[]);
    assert_eq!(of(&each, "connection").len(), 6);
    assert!(said.starts_with("6 connections: 2 closed, 2 reset, 2 refused"), "{said}");

    let (once, said) = capture.trace(&["--once"]);
    let path = "eth0 [eth0,eth1]";
    assert_eq!(of(&once, "established"), vec![format!("null {path}"); 2]);
    assert_eq!(of(&once, "connection"), ["closed", "refused", "reset"].map(|it| format!("{it} {path}")));
    assert!(said.starts_with("3 connections: 1 closed, 1 reset, 1 refused\n"), "{said}");
    assert!(!said.contains("--once"), "{said}");
    let last = once.last().expect("statistics");
    assert_eq!(
        (&last["event"], &last["connections"]["closed"], &last["connections_open"]),
        (&"stats".into(), &1.into(), &0.into())
    );

    // All else of them is of the told ones too, and in order.
    let (all, _) = capture.trace(&["--once", "--events", "all"]);
    let segments: Vec<_> = all.iter().filter(|event| event["event"] == "segment").collect();
    assert_eq!(segments.len(), 13);
    assert!(segments.iter().all(|event| event["interface"] == "eth0" && event["vlan"].is_null()));
    assert!(all[..all.len() - 1].is_sorted_by_key(|event| event["ts"].as_str().map(str::to_owned)));

    // What is counted is what is told, and of what is held nothing is lost when the file ends.
    let (two, _) = capture.trace(&["--once", "-c", "2"]);
    assert_eq!(of(&two, "connection"), ["closed", "refused"].map(|it| format!("{it} {path}")));
    let (all, _) = capture.trace(&["--once", "-c", "10"]);
    assert_eq!(of(&all, "connection").len(), 3);
    let (quiet, said) = capture.trace(&["--once", "-q", "--events", "stats"]);
    assert_eq!((quiet.len(), said.as_str()), (1, ""));
    assert_eq!(quiet[0]["connections"]["reset"], 1);
}

#[test]
fn what_is_written_is_written_as_it_was() {
    let capture = Routed::new("written");
    let copies = ["each", "once"].map(|name| {
        let copy = env::temp_dir().join(format!("tcptrace-{name}-{}.pcapng", std::process::id()));
        let more: &[&str] = if name == "once" { &["--once"] } else { &[] };
        capture.trace(&[&["-w", copy.to_str().expect("text")], more].concat());
        let bytes = fs::read(&copy).expect("it was written");
        let _ = fs::remove_file(copy);
        bytes
    });
    assert!(copies[0] == copies[1] && copies[0].len() > 2000);
}

#[test]
fn after_the_last_connection_that_is_wanted_nothing_is_written() {
    let capture = Routed::new("counted");
    let copy = env::temp_dir().join(format!("tcptrace-cut-{}.pcapng", std::process::id()));
    let (told, _) = capture.trace(&["-c", "1", "-w", copy.to_str().expect("text")]);
    let written =
        Command::new(env!("CARGO_BIN_EXE_tcptrace")).args(["-q", "--json", "-r"]).arg(&copy).output();
    let _ = fs::remove_file(copy);
    let written = String::from_utf8(written.expect("it starts").stdout).expect("text");
    let outcomes: Vec<_> = told.iter().filter_map(|event| event["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["closed"]);
    let has = |outcome: &str| written.contains(&format!("\"outcome\":\"{outcome}\""));
    assert!(has("closed") && !has("refused"), "{written}");
}

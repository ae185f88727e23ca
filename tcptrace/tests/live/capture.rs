//! `-w` of a live trace, read with `-r`: the same engine over the same segments says the same.

use crate::{
    lab::{Family, Lab},
    trace::{Trace, command},
    traffic::{Kind, drive},
};
use serde_json::Value;
use std::{env, fs, process};

/// A line as the file can know it: whose host the capture stood on, and what follows from it, it cannot.
fn as_a_file_knows_it(line: &str) -> Option<String> {
    let mut event: Value = serde_json::from_str(line).expect("a line is JSON");
    // Two traces, and what each of them counted.
    if ["start", "stats"].iter().any(|kind| event["event"] == *kind) {
        return None;
    }
    let object = event.as_object_mut().expect("an object");
    for key in ["vantage", "network_rtt_ns", "local_stack_ns", "bytes_mod_4gib"] {
        object.remove(key);
    }
    // What is known of the sockets of this host.
    object.retain(|key, _| !["_process", "_cgroup", "_socket"].iter().any(|of| key.ends_with(of)));
    Some(event.to_string())
}

#[test]
fn the_written_capture_read_back_gives_the_same_lines() {
    let lab = Lab::new();
    let file = env::temp_dir().join(format!("tcptrace-live-{}.pcapng", process::id()));
    let path = file.to_str().expect("a plain name").to_owned();
    let trace = Trace::all_events(&lab.a, &["-w", &path]);
    let kinds = [Kind::ClientCloses, Kind::ServerCloses, Kind::HalfClose, Kind::ResetByServer, Kind::Refused];
    for family in Family::BOTH {
        for kind in kinds {
            drive(kind, &lab.a, &lab.b, family);
        }
    }
    trace.wait_for_connections(2 * kinds.len());
    let live = trace.stop();
    assert!(live.status.success(), "{}", live.stderr);

    let output = command(&["-r", &path, "--json", "--events", "all", "-q"]).output().expect("it starts");
    fs::remove_file(&file).expect("it was written");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).expect("JSON is UTF-8");

    let live: Vec<String> = live.lines.iter().filter_map(|line| as_a_file_knows_it(line)).collect();
    let read: Vec<String> = read.lines().filter_map(as_a_file_knows_it).collect();
    assert!(live.len() > 10 * kinds.len(), "segments, transitions and connections: {}", live.len());
    assert_eq!(live, read);
}

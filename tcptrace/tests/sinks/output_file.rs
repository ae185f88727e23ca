//! `--output FILE` and `-w FILE` of a trace of files, as the command does it: what is where, and what is refused.

use crate::{
    icmp::Scratch,
    packets::Frame,
    rotate::{eventually, names_in},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};
use tcptrace_testing::folder::Folder;

/// A connection of a capture file.
fn capture() -> Scratch {
    let packets = crate::files::connection(&Frame::default(), &[]);
    crate::files::pcap(&crate::files::snapped(packets, 1 << 16))
}

fn run(file: &Scratch, args: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    let output = command.arg("-r").arg(&file.0).args(args).env("TZ", "UTC").output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn text_is_on_stdout_beside_json_in_a_file() {
    let (folder, file) = (Folder::new(), capture());
    let path = folder.join("events.jsonl");
    let path = path.to_str().expect("UTF-8");
    let (plain, ..) = run(&file, &[]);
    let (json, ..) = run(&file, &["--json", "-q"]);
    let without_run = |lines: &str| {
        let lines = lines.lines().filter(|line| !line.contains("\"event\":\"st"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (stdout, stderr, code) = run(&file, &["--output", path]);
    assert_eq!((stdout, code), (plain.clone(), Some(0)), "{stderr}");
    assert!(stderr.contains("1 connection: 1 closed"), "the summary: {stderr}");
    let written = fs::read_to_string(path).expect("it was made");
    assert!(
        written.starts_with("{\"event\":\"start\"") && written.contains("\"event\":\"stats\""),
        "{written}"
    );
    assert_eq!(without_run(&written), without_run(&json));
    // Again: it is appended to, and -q leaves stdout out.
    let (stdout, stderr, code) = run(&file, &["-q", "--output", path]);
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("", "", Some(0)));
    let twice = fs::read_to_string(path).expect("it is there");
    assert!(twice.starts_with(&written));
    assert_eq!(twice.lines().count(), 2 * written.lines().count());
    // With --json both are JSON, and a name of no kind has what stdout has.
    let log = folder.join("events.log");
    let log = log.to_str().expect("UTF-8");
    let (stdout, ..) = run(&file, &["--json", "-q", "--output", path]);
    assert_eq!(stdout, "");
    let (stdout, ..) = run(&file, &["--output", log]);
    assert_eq!(stdout, plain);
    let (dated, ..) = run(&file, &["-tttt"]);
    assert_eq!(fs::read_to_string(log).expect("it was made"), dated, "lines in a file have their date");
}

/// Captures that come through a pipe may go on for as long as a live trace.
#[test]
fn a_hangup_opens_the_file_of_a_trace_that_reads_a_pipe_again() {
    let folder = Folder::new();
    let (path, moved) = (folder.join("events.jsonl"), folder.join("moved"));
    let capture = |port| {
        let packets = crate::files::connection(&Frame { src_port: port, ..Frame::default() }, &[]);
        let later = packets.into_iter().map(|(us, bytes)| (us + 1000 * u32::from(port), bytes)).collect();
        fs::read(crate::files::pcap(&crate::files::snapped(later, 1 << 16)).0.as_path()).expect("it was made")
    };
    let (first, second) = (capture(1000), capture(2000));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    let command = command.args(["-q", "-r", "-", "--output"]).arg(&path).stdin(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(&first).expect("it reads");
    let has = |path: &Path, port: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.contains("\"connection\"") && text.contains(port))
    };
    eventually("the first", || has(&path, "\"port\":1000"));
    fs::rename(&path, &moved).expect("our folder");
    kill_process(Pid::from_child(&child), Signal::HUP).expect("it runs");
    // The header of a file is 24 octets, and a pipe has one.
    input.write_all(&second[24..]).expect("it reads");
    drop(input);
    assert!(child.wait().expect("our child").success());
    assert!(has(&path, "\"port\":2000") && !has(&path, "\"port\":1000") && !has(&moved, "\"port\":2000"));
}

#[test]
fn a_full_disk_ends_a_trace_of_files_in_one_line() {
    let file = capture();
    let (_, stderr, code) = run(&file, &["-q", "--output", "/dev/full"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("tcptrace: /dev/full: cannot write the output: No space left")
            && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_capture_that_rotates_is_valid_file_by_file() {
    let folder = Folder::new();
    let packets = (0..200_u16).flat_map(|port| {
        let client = Frame { src_port: 10_000 + port, ..Frame::default() };
        let packets = crate::files::connection(&client, &[]);
        packets.into_iter().map(move |(us, bytes)| (us + 200_000 * u32::from(port), bytes))
    });
    let file = crate::files::pcap(&crate::files::snapped(packets.collect(), 1 << 16));
    let path = folder.join("events.pcapng");
    let to = path.to_str().expect("UTF-8");
    let (_, stderr, code) = run(&file, &["-q", "-w", to, "--rotate-size", "16K"]);
    assert_eq!(code, Some(0), "{stderr}");
    let names = names_in(&folder);
    assert!(names.len() > 5, "{names:?}");
    for name in &names {
        let part = folder.join(name);
        assert!(fs::metadata(&part).expect("it is there").len() <= 16 * 1024, "{name}");
        let read = Command::new(env!("CARGO_BIN_EXE_tcptrace")).arg("-r").arg(&part).arg("-q").output();
        let read = read.expect("it starts");
        assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
    }
    // All of them as one trace are what was captured.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    for name in &names {
        command.arg("-r").arg(folder.join(name));
    }
    let whole = command.output().expect("it starts");
    let summary = String::from_utf8_lossy(&whole.stderr).into_owned();
    assert!(summary.contains("200 connections: 200 closed"), "{summary}");
    // A second run does not write behind what is there, as its end might be half a block.
    let (_, stderr, code) = run(&file, &["-q", "-w", to, "--rotate-size", "1G"]);
    assert_eq!((code, names_in(&folder).len()), (Some(0), names.len() + 1), "{stderr}");
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let file = capture();
    for (args, said) in [
        (&["--rotate-size", "1M"][..], "need --output FILE or -w FILE"),
        (&["--rotate-size", "1M", "-w", "-"], "need --output FILE or -w FILE"),
        (&["--output", "-"], "events go to stdout without it"),
        (&["--output", "x.jsonl", "--keep", "3"], "need --rotate-size or --rotate-every"),
        (&["--output", "x.jsonl", "--rotate-zstd"], "need --rotate-size or --rotate-every"),
        (&["--output", "x.jsonl.zst"], "leave out .zst"),
        (&["--output", "x", "-w", "x"], "cannot write to the same file"),
        (&["--output", "x", "--rotate-size", "100"], "a size from 4K on is needed, such as 100M"),
        (&["--output", "x", "--rotate-every", "2d"], "a duration from 1s to 24h is needed"),
        (&["--output", "x", "--output-mode", "999"], "three octal digits"),
    ] {
        let (_, stderr, code) = run(&file, args);
        assert_eq!(code, Some(2), "{args:?}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

//! `--output FILE` and `-w FILE` of a live trace: rotation under load, logrotate's way, kill -9, a disk that fills and is
//! emptied, and what the threads that write may do.

use crate::{
    folder::Folder,
    lab::{Family, Lab, eventually},
    trace::{Trace, binary, command, command_of},
    traffic::{Kind, drive},
};
use nix::{
    fcntl::OFlag,
    pty::{posix_openpt, ptsname_r, unlockpt},
};
use rustix::process::Signal;
use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// The events in a file, whose lines are all whole.
fn events(path: &Path) -> Vec<Value> {
    let text = match path.extension() {
        Some(zst) if zst == "zst" => {
            let (bytes, mut text) = (fs::read(path).expect("it is there"), Vec::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                StreamingDecoder::new(&mut rest)
                    .expect("a frame")
                    .read_to_end(&mut text)
                    .expect("it is whole");
            }
            String::from_utf8(text).expect("UTF-8")
        }
        _ => fs::read_to_string(path).expect("it is there"),
    };
    assert!(text.is_empty() || text.ends_with('\n'), "half a line in {}", path.display());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("half a line: {line}")))
        .collect()
}

/// The client's port of each connection that is told, in order.
fn ports(events: &[Value]) -> Vec<u64> {
    let connections = events.iter().filter(|event| event["event"] == "connection");
    connections.map(|event| event["client"]["port"].as_u64().expect("a port")).collect()
}

/// The same of a file that may be written at this moment, or has half a line somewhere.
fn ports_so_far(path: impl AsRef<Path>) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    ports(&text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>())
}

fn connect(lab: &Lab, times: usize) {
    for _ in 0..times {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    }
}

/// Waits until the files tell of so many connections.
fn wait_for(what: &str, count: usize, read: impl Fn() -> Vec<u64>) {
    eventually(what, || {
        let there = read().len();
        if there == count { Ok(()) } else { Err(format!("{there} of {count}")) }
    });
}

#[test]
fn rotation_under_load_tells_of_every_connection_once() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("events.jsonl");
    let args =
        ["--output", &path, "--rotate-size", "16K", "--rotate-every", "1s", "--rotate-zstd", "--keep", "500"];
    let trace = Trace::start(&lab.a, &args);
    connect(&lab, 300);
    trace.wait_for_lines(300, "CLOSED");
    trace.signal(Signal::USR1);
    trace.wait_for_notice("so far: 300 connections: 300 closed");
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    let text = report.lines.iter().filter(|line| line.contains("CLOSED")).count();
    assert_eq!(text, 300, "text on stdout beside it");
    let files = folder.paths();
    assert!(files.len() > 10, "{files:?}");
    let all: Vec<_> = files.iter().flat_map(|path| events(path)).collect();
    let ports = ports(&all);
    let mut unique = ports.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!((ports.len(), unique.len()), (300, 300), "each once");
    assert_eq!(all.iter().filter(|event| event["event"] == "start").count(), 1);
    let stats = all.last().expect("the counters");
    assert_eq!(
        (&stats["event"], &stats["last"], &stats["events_dropped"]),
        (&"stats".into(), &true.into(), &0.into())
    );
    // All but the one that was written last are compressed, if there was time for it.
    let compressed = files.iter().filter(|it| it.extension().is_some_and(|it| it == "zst")).count();
    assert!(compressed > 0, "{files:?}");
    lab.a.assert_nothing_attached();
}

/// As logrotate does it: it renames, sends the signal, and takes what is renamed for finished soon after.
#[test]
fn a_hangup_opens_the_file_again_and_the_trace_goes_on() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let (path, moved) = (folder.word("events.jsonl"), folder.word("events.jsonl.1"));
    let trace = Trace::start(&lab.a, &["--output", &path, "--summary-interval", "1s"]);
    let read = |path: &str| ports_so_far(path);
    connect(&lab, 5);
    wait_for("the first", 5, || read(&path));
    trace.signal(Signal::HUP);
    connect(&lab, 5);
    wait_for("those after a signal without a move", 10, || read(&path));
    fs::rename(&path, &moved).expect("our folder");
    connect(&lab, 5);
    wait_for("those after the move", 15, || read(&moved));
    trace.signal(Signal::HUP);
    eventually("the new file", || fs::metadata(&path).map(drop).map_err(|error| error.to_string()));
    connect(&lab, 5);
    wait_for("those after the signal", 5, || read(&path));
    trace.wait_for_notice("so far: 20 connections: 20 closed");
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    let all = [events(Path::new(&moved)), events(Path::new(&path))].concat();
    assert_eq!(ports(&all).len(), 20);
    lab.a.assert_nothing_attached();
}

/// SIGHUP comes from a terminal as well, when it goes away.
#[test]
fn a_hangup_of_the_terminal_ends_the_trace() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("events.jsonl");
    // Closed in every child, so that it goes away here.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let terminal = posix_openpt(flags).expect("a terminal");
    unlockpt(&terminal).expect("it is ours");
    let end = ptsname_r(&terminal).expect("a name");
    let end = fs::File::options().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(end);
    let mut run = command(&["-i", lab.a.dev, "--output", &path]);
    let mut trace = Trace::spawn(&lab.a, run.stdin(Stdio::from(end.expect("its end"))));
    drop(run);
    trace.wait_until_attached();
    trace.signal(Signal::HUP);
    connect(&lab, 1);
    wait_for("one after the signal", 1, || ports_so_far(&path));
    drop(terminal);
    trace.signal(Signal::HUP);
    let report = trace.end();
    assert!(report.status.success() && report.stderr.contains("1 connection: 1 closed"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn after_a_kill_another_trace_goes_on_in_the_same_file() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("events.jsonl");
    let trace = Trace::start(&lab.a, &["--output", &path]);
    connect(&lab, 3);
    wait_for("the first", 3, || ports_so_far(&path));
    // Another one is refused while this one runs.
    let mut second = Trace::spawn(&lab.a, &mut command(&["-i", lab.a.dev, "--output", &path]));
    eventually("a refusal", || second.has_ended().then_some(()).ok_or_else(|| "it runs".to_owned()));
    let refused = second.end();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("is written by process ") && refused.stderr.contains("(tcptrace) already"),
        "{}",
        refused.stderr
    );
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    trace.signal(Signal::KILL);
    assert!(!trace.end().status.success());
    let mut file = fs::File::options().append(true).open(&path).expect("it is there");
    file.write_all(b"{\"event\":\"connec").expect("as a kill in the middle leaves it");
    drop(file);
    let trace = Trace::start(&lab.a, &["--output", &path]);
    connect(&lab, 3);
    wait_for("those of both", 6, || ports_so_far(&path));
    assert!(trace.stop().status.success());
    let text = fs::read_to_string(&path).expect("it is there");
    let halves: Vec<_> = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
    assert_eq!(halves, ["{\"event\":\"connec"], "by itself in its line");
    lab.a.assert_nothing_attached();
}

#[test]
fn a_disk_that_fills_costs_what_is_counted_and_is_got_over() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let disk = folder.word("disk");
    fs::create_dir(&disk).expect("our folder");
    let path = format!("{disk}/events.jsonl");
    // In a mount namespace of its own, so that nothing is left of it.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && shift && exec \"$@\"";
    let args = [
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        &disk,
        binary(),
        "-i",
        lab.a.dev,
        "--events",
        "all",
        "--stats-interval",
        "1s",
    ];
    let mut trace = Trace::spawn(
        &lab.a,
        &mut command_of("unshare", &[&args[..], &["--json", "--output", &path]].concat()),
    );
    trace.wait_until_attached();
    // Seen from outside through the process.
    let inside = format!("/proc/{}/root{disk}", trace.id());
    let (file, filling) = (format!("{inside}/events.jsonl"), format!("{inside}/filling"));
    connect(&lab, 5);
    wait_for("the first", 5, || ports_so_far(&file));
    let mut filler = fs::File::create(&filling).expect("there is room");
    while filler.write_all(&[0; 64]).is_ok() {}
    // An open file would keep its space when it is removed.
    drop(filler);
    connect(&lab, 50);
    trace.wait_for_notice("No space left on device");
    // Stdout goes on meanwhile, and nothing is shed.
    trace.wait_for_connections(55);
    fs::remove_file(&filling).expect("it was filled");
    trace.wait_for_notice("events.jsonl again after");
    connect(&lab, 5);
    wait_for("those of before, meanwhile and after", 60, || ports_so_far(&file));
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("nothing was lost"), "{}", report.stderr);
    assert_eq!(report.stderr.matches("No space left").count(), 1, "once: {}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn a_reader_of_stdout_that_goes_away_does_not_end_the_file() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("events.jsonl");
    let mut run = command(&["-i", lab.a.dev, "--output", &path]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut trace = Trace::spawn(&lab.a, run.stdout(Stdio::from(writer)));
    drop(run);
    trace.wait_until_attached();
    drop(reader);
    connect(&lab, 20);
    wait_for("all", 20, || ports_so_far(&path));
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("lost: nothing"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn a_capture_that_rotates_is_read_by_others_file_by_file() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("life.pcapng");
    let trace = Trace::start(&lab.a, &["-w", &path, "--rotate-size", "8K"]);
    connect(&lab, 50);
    trace.wait_for_lines(50, "CLOSED");
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    let files = folder.paths();
    assert!(files.len() > 3, "{files:?}");
    let mut syns = 0;
    for file in &files {
        let args = ["-T", "fields", "-e", "tcp.flags.syn", "-e", "frame.interface_name", "-r"];
        let read = Command::new("tshark").args(args).arg(file).output().expect("tshark runs");
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success() && !said.contains("cut short"), "{}: {said}", file.display());
        let text = String::from_utf8(read.stdout).expect("UTF-8");
        assert!(text.lines().all(|line| line.ends_with(lab.a.dev)), "{text}");
        syns += text.lines().filter(|line| line.starts_with("True") || line.starts_with('1')).count();
    }
    assert_eq!(syns, 100, "a SYN and a SYN-ACK of each");
    lab.a.assert_nothing_attached();
}

/// The fields of a thread's status.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.expect("a field").to_owned()
}

#[test]
fn the_threads_that_write_files_have_no_capabilities() {
    let (lab, folder) = (Lab::new(), Folder::new());
    let path = folder.word("events.jsonl");
    let trace = Trace::start(&lab.a, &["--output", &path, "--rotate-size", "1M", "--keep", "2"]);
    let tasks = fs::read_dir(format!("/proc/{}/task", trace.id())).expect("it runs");
    let mut seen = Vec::new();
    for task in tasks {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).expect("a thread");
        assert_eq!((&*field(&status, "NoNewPrivs"), &*field(&status, "Seccomp")), ("1", "2"), "{status}");
        let name = field(&status, "Name");
        if name == "tcptrace-files"
            || (name == "tcptrace-output" && field(&status, "CapPrm") == "0000000000000000")
        {
            assert_eq!(field(&status, "CapEff"), "0000000000000000");
            seen.push(name);
        }
    }
    seen.sort();
    assert_eq!(seen, ["tcptrace-files", "tcptrace-output"]);
    assert!(trace.stop().status.success());
    lab.a.assert_nothing_attached();
}

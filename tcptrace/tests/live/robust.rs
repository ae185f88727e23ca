//! What goes wrong around a trace: no permission, no interface, no reader, no time, a violent end. Errors are one line
//! that says what to do, and nothing stays attached.

use crate::{
    folder::Folder,
    lab::{Family, Host, Lab, assert_no_link_is_left, eventually},
    load::Load,
    loss::{Loss, lose_segments},
    trace::{Report, Trace, binary, command, flow_of, last_stats, of_kind},
    traffic::{Kind, bound, connect, drive, listener},
};
use rustix::{io::Errno, process::Signal};
use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::TcpStream,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Runs to the end in a host's namespace.
fn run(host: &Host, args: &[&str]) -> Report {
    Trace::spawn(host, &mut command(args)).end()
}

/// Ended with this code, and stderr is one line that has all of these.
fn assert_fails(report: &Report, code: i32, words: &[&str]) {
    assert_eq!(report.status.code(), Some(code), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "one line: {}", report.stderr);
    for word in words {
        assert!(report.stderr.contains(word), "{word:?} is in {:?}", report.stderr);
    }
    assert!(report.lines.is_empty(), "stdout has events only: {:?}", report.lines);
}

#[test]
fn without_root_the_capabilities_are_named() {
    let lab = Lab::new();
    // Where the build is, others may not be let in.
    let folder = Folder::new();
    let copy = folder.join("tcptrace");
    fs::copy(binary(), &copy).expect("it can be copied");
    let mut nobody = Command::new(copy);
    nobody.args(["-i", lab.a.dev]).uid(65534).gid(65534);
    nobody.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let report = Trace::spawn(&lab.a, &mut nobody).end();
    assert_fails(&report, 1, &["tcptrace: ", "sudo", "cap_bpf", "cap_net_admin"]);
}

#[test]
fn interfaces_that_cannot_be_traced_are_named() {
    let lab = Lab::new();
    assert_fails(&run(&lab.a, &["-i", "tt7"]), 1, &["no such interface: tt7", "tt0"]);
    lab.a.ns.ip(&["link", "set", lab.a.dev, "down"]);
    assert_fails(&run(&lab.a, &["-i", lab.a.dev]), 1, &["tt0 is down", "ip link set"]);
    assert_fails(&run(&lab.a, &[]), 1, &["no default route", "-i"]);
    lab.a.assert_nothing_attached();
}

#[test]
fn somebody_elses_xdp_program_is_left_alone() {
    let lab = Lab::new();
    let xdp = ["--ingress", "xdp"];
    let first = Trace::all_events(&lab.a, &xdp);
    let before = lab.a.programs();
    let second = run(&lab.a, &[&["-i", lab.a.dev][..], &xdp].concat());
    assert_fails(&second, 1, &["XDP", lab.a.dev, "--ingress tc"]);
    assert_eq!(lab.a.programs(), before);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    first.wait_for_connections(1);
    assert!(first.stop().status.success());
    lab.a.assert_nothing_attached();
}

#[test]
fn wrong_usage_exits_with_2() {
    let host = Host::alone();
    let cases: [&[&str]; 8] = [
        &["--nonsense"],
        &["-i"],
        &["-i", "any", "-i", "lo"],
        &["-i", "lo", "-c", "0"],
        &["-i", "lo", "--ring-size", "3K"],
        &["-i", "lo", "--events", "everything"],
        &["-i", "lo", "--ingress", "nic"],
        &["-i", "lo", "--syn-timeout", "0s"],
    ];
    for args in cases {
        let report = run(&host, args);
        assert_eq!(report.status.code(), Some(2), "{args:?}: {}", report.stderr);
        assert!(report.stderr.starts_with("error: "), "{args:?}: {}", report.stderr);
        assert!(report.lines.is_empty(), "{args:?}: {:?}", report.lines);
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_trace() {
    let lab = Lab::new();
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut trace = Trace::spawn(&lab.a, command(&["-i", lab.a.dev, "--json"]).stdout(writer));
    trace.wait_until_attached();
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    let mut reader = BufReader::new(reader);
    for kind in ["start", "established"] {
        let mut line = String::new();
        reader.read_line(&mut line).expect("it prints");
        assert!(line.starts_with(&format!("{{\"event\":\"{kind}\"")), "{line}");
    }
    drop(reader);
    eventually("it ends", || {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.has_ended().then_some(()).ok_or_else(|| "it goes on".to_owned())
    });
    let report = trace.end();
    assert_eq!(report.status.code(), Some(0), "{}", report.stderr);
    assert!(!report.stderr.contains("error") && !report.stderr.contains("cannot"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn a_full_disk_is_an_error() {
    let lab = Lab::new();
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut trace = Trace::spawn(&lab.a, command(&["-q", "-i", lab.a.dev, "--json"]).stdout(full));
    eventually("it ends", || {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.has_ended().then_some(()).ok_or_else(|| "it goes on".to_owned())
    });
    assert_fails(&trace.end(), 1, &["cannot write the output", "No space left"]);
    lab.a.assert_nothing_attached();
}

#[test]
fn a_killed_tracer_leaves_nothing_behind() {
    for args in [&[][..], &["--ingress", "xdp"]] {
        let lab = Lab::new();
        let trace = Trace::all_events(&lab.a, args);
        let programs = lab.a.programs();
        assert!(programs.len() >= 2, "one each way at least: {programs:?}");
        trace.signal(Signal::KILL);
        assert_eq!(trace.end().status.signal(), Some(9));
        assert_no_link_is_left(&lab.a.ns, lab.a.dev);
    }
}

#[test]
fn a_stopped_tracer_says_what_it_lost() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["--ring-size", "64K"]);
    trace.signal(Signal::STOP);
    let load = Load { connections: 500, threads: 1, batch: 10, args: &[] };
    load.drive(&lab);
    trace.signal(Signal::CONT);
    // Something that comes after the loss shows where the loss ends.
    eventually("a connection after the loss is complete", || {
        drive(Kind::Silent, &lab.a, &lab.b, Family::V6);
        let whole = trace.count(|line| {
            line.contains("\"event\":\"connection\"")
                && line.contains("fd77:")
                && line.contains("\"complete\":true")
        });
        if whole > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    });
    let events = trace.stop().events();
    let stats = last_stats(&events);
    assert!(stats["records_lost"].as_u64().is_some_and(|lost| lost > 0), "{stats:#}");
    let ring_full = stats["ring_full"].as_object().expect("counts");
    let ring_full: u64 = ring_full.values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(stats["records_lost"], ring_full, "the kernel counts the same: {stats:#}");
    let touched: Vec<_> = of_kind(&events, "connection").filter(|c| c["ip_version"] == 4).collect();
    assert!(touched.len() < 500, "some were lost altogether");
    let not_closed = touched.iter().filter(|c| c["outcome"] != "closed");
    for connection in not_closed {
        assert_eq!(connection["complete"], false, "{connection:#}");
    }
    assert!(touched.iter().any(|c| c["complete"] == false), "{touched:#?}");
}

/// The answer to its SYN comes while the tracer is stopped and finds the ring full; when the tracer goes on, the time to
/// give up is over.
#[test]
fn a_silence_is_not_told_before_it_is_known_what_was_lost() {
    const GIVE_UP: Duration = Duration::from_secs(2);
    let lab = Lab::new();
    lose_segments(&lab.b);
    let trace = Trace::all_events(&lab.a, &["--ring-size", "64K", "--syn-timeout", "2s"]);
    let flow = Loss::EverySyn.flow(&lab.a, &lab.b, Family::V4);
    let _listener = listener(&lab.b, flow.server, 1);
    let client = TcpStream::from(lab.a.ns.enter(|| bound(flow.client)));
    client.set_nonblocking(true).expect("a socket");
    assert_eq!(connect(&client, &flow.server), Err(Errno::INPROGRESS));
    let opened = Instant::now();
    trace.wait_for_lines(1, r#""event":"segment""#);
    trace.signal(Signal::STOP);
    Load { connections: 500, threads: 1, batch: 10, args: &[] }.drive(&lab);
    lab.b.ns.run("nft", &["flush", "chain", "inet", "losses", "input"]);
    eventually("the SYN is sent again, and answered", || {
        client.peer_addr().map(drop).map_err(|error| error.to_string())
    });
    eventually("the tracer would give up by now", || {
        if opened.elapsed() > 2 * GIVE_UP { Ok(()) } else { Err("not yet".to_owned()) }
    });
    trace.signal(Signal::CONT);
    let of_it = format!("\"port\":{}}}", flow.server.port());
    eventually("it is reported", || {
        let reported = trace.count(|line| line.contains("\"event\":\"connection\"") && line.contains(&of_it));
        if reported > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    });
    let events = trace.stop().events();
    let reported: Vec<_> = of_kind(&events, "connection").filter(|event| flow_of(event) == flow).collect();
    assert_eq!(reported.len(), 1, "{reported:#?}");
    assert_eq!(
        (&reported[0]["outcome"], &reported[0]["complete"]),
        (&"unanswered".into(), &false.into()),
        "{:#}",
        reported[0]
    );
}

/// Of a connection that comes in while the hooks are put in their places, the SYN may be seen and the answer not.
#[test]
fn what_begins_before_all_hooks_are_attached_is_not_told_as_unanswered() {
    let lab = Lab::new();
    let over = AtomicBool::new(false);
    let trace = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                drive(Kind::Silent, &lab.b, &lab.a, Family::V4);
            }
        });
        let trace = Trace::all_events(&lab.a, &[]);
        trace.wait_for_connections(20);
        over.store(true, Ordering::Relaxed);
        trace
    });
    trace.wait_until_idle();
    let events = trace.stop().events();
    let (partial, whole): (Vec<_>, Vec<_>) =
        of_kind(&events, "connection").partition(|event| event["partial"] == true);
    assert!(partial.len() <= 2, "one was under way when it began: {partial:#?}");
    for connection in whole {
        assert_eq!(
            (&connection["outcome"], &connection["complete"]),
            (&"closed".into(), &true.into()),
            "{connection:#}"
        );
    }
}

#[test]
fn two_tracers_side_by_side_see_everything() {
    let lab = Lab::new();
    let traces = [Trace::all_events(&lab.a, &[]), Trace::all_events(&lab.a, &[])];
    for _ in 0..20 {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    }
    for trace in traces {
        trace.wait_for_connections(20);
        let events = trace.stop().events();
        let stats = last_stats(&events);
        assert_eq!(
            (&stats["records_lost"], &stats["connections"]["closed"]),
            (&0.into(), &20.into()),
            "{stats:#}"
        );
    }
    lab.a.assert_nothing_attached();
}

#[test]
fn a_count_ends_the_trace() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["-c", "3"]);
    for _ in 0..5 {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    }
    let events = trace.end().events();
    assert_eq!(of_kind(&events, "connection").count(), 3);
    assert_eq!(last_stats(&events)["connections"]["closed"], 3);
    lab.a.assert_nothing_attached();
}

#[test]
fn an_interface_that_goes_away_ends_the_trace() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &[]);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    lab.a.ns.ip(&["link", "del", lab.a.dev]);
    let report = trace.end();
    assert!(report.stderr.contains(lab.a.dev), "{}", report.stderr);
    let events = report.events();
    assert_eq!(last_stats(&events)["connections"]["closed"], 1);
}

#[test]
fn a_reader_that_never_reads_stalls_nobody() {
    let lab = Lab::new();
    let (reader, writer) = io::pipe().expect("a pipe");
    let args =
        ["-i", lab.a.dev, "--json", "--events", "all", "--stats-interval", "100ms", "--ring-size", "32M"];
    let mut trace = Trace::spawn(&lab.a, command(&args).stdout(writer));
    trace.wait_until_attached();
    // Some 15 KB a connection: more than is ever kept for the reader.
    let load = Load { connections: 8000, threads: 2, batch: 100, args: &[] };
    let (flows, _) = load.drive(&lab);
    assert_eq!(flows.len(), 8000);
    trace.wait_until_idle();
    let before = Instant::now();
    let report = trace.stop();
    eprintln!("stop: the trace ended {:?} after Ctrl-C", before.elapsed());
    assert!(before.elapsed() < Duration::from_secs(5), "it ended after {:?}", before.elapsed());
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("dropped for a slow reader"), "{}", report.stderr);
    drop(reader);
    lab.a.assert_nothing_attached();
}

#[test]
fn the_kernel_programs_say_what_they_do_if_asked() {
    let lab = Lab::new();
    for (args, says) in [(&["--kernel-log"][..], true), (&[], false)] {
        let trace = Trace::start(&lab.a, args);
        drive(Kind::Refused, &lab.a, &lab.b, Family::V4);
        trace.wait_for_lines(1, "REFUSED");
        let stderr = trace.stop().stderr;
        assert_eq!(stderr.contains("record 1 of kind 1"), says, "{args:?}: {stderr}");
    }
}

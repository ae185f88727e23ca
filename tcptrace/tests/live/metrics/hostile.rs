//! Clients that mean no good: the trace loses nothing by them, grows no memory, and goes on serving.

use super::{ADDRESS, AT, connect, request, samples, scrape, sum};
use crate::{
    lab::{Family, Lab, eventually},
    trace::{Trace, last_stats, of_kind},
    traffic::{Kind, drive},
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{
    collections::VecDeque,
    fs,
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

/// How many connections are tried.
const CONNECTIONS: usize = 10_000;
/// How many of them are held at a time.
const HELD: usize = 400;
/// How much the tracer may grow meanwhile.
const GROWTH_KIB: u64 = 16 * 1024;

fn resident_kib(trace: &Trace) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", trace.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("every process has it");
    line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number")
}

/// How many descriptors the tracer has open.
fn open_files(trace: &Trace) -> usize {
    fs::read_dir(format!("/proc/{}/fd", trace.id())).expect("it runs").count()
}

/// Drives some connections, which the trace has to tell of in time.
fn drive_some(lab: &Lab, trace: &Trace, told: &mut usize) {
    let begun = Instant::now();
    for _ in 0..5 {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        *told += 1;
    }
    trace.wait_for_connections(*told);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn whatever_clients_do_the_trace_goes_on() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["--metrics", AT]);
    let mut told = 0;
    drive_some(&lab, &trace, &mut told);
    scrape(&lab.a);
    let before = (resident_kib(&trace), open_files(&trace));

    // Requests that never end.
    let mut halves: Vec<_> = (0..40).map(|_| connect(&lab.a)).collect();
    for half in &mut halves {
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-").expect("it is open");
    }
    drive_some(&lab, &trace, &mut told);
    for half in &mut halves {
        // The server ends each, with or without an answer.
        let mut rest = Vec::new();
        match half.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    // Headers without end, and too many of them.
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Huge: {}", "x".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    for evil in [huge, many, "\0\u{1}\u{2}".repeat(100_000)] {
        let mut stream = connect(&lab.a);
        // It may be closed before all of it is sent.
        let _ = stream.write_all(evil.as_bytes());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }

    // Clients that ask and do not read.
    let mut deaf: Vec<_> = (0..40).map(|_| connect(&lab.a)).collect();
    for stream in &mut deaf {
        stream.write_all(request("GET", "/metrics", "text/plain").as_bytes()).expect("it is open");
    }
    drive_some(&lab, &trace, &mut told);
    drop(deaf);

    // Ten thousand connections, of which few are accepted before they are closed again.
    lab.a.ns.enter(|| {
        let mut held = VecDeque::new();
        for _ in 0..CONNECTIONS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
            // It is under way, or the kernel refuses it as there are too many.
            let _ = rustix::net::connect(&socket, &ADDRESS);
            held.push_back(socket);
            if held.len() > HELD {
                held.pop_front();
            }
        }
        drive_some(&lab, &trace, &mut told);
    });

    let growth = resident_kib(&trace).saturating_sub(before.0);
    eprintln!("hostile clients: the tracer grew by {growth} KiB");
    assert!(growth < GROWTH_KIB, "{growth} KiB");
    eventually("all connections are closed", || {
        let now = open_files(&trace);
        if now <= before.1 + 1 { Ok(()) } else { Err(format!("{now} descriptors, before {}", before.1)) }
    });
    let scraped = samples(super::get(&lab.a, "/metrics", "text/plain").text());
    assert_eq!(sum(&scraped, "tcptrace_connections_total", &[]), told as f64);
    let events = trace.stop().events();
    assert_eq!(of_kind(&events, "connection").count(), told);
    let stats = last_stats(&events);
    assert_eq!((&stats["records_lost"], &stats["events_dropped"]), (&0.into(), &0.into()));
}

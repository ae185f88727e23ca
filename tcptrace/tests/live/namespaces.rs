//! `--netns`: the tracer is in one namespace, and the interfaces in another.

use crate::{
    lab::{Family, Host, Lab},
    netns::Netns,
    trace::{Report, Trace, command, flow_of, of_kind},
    traffic::{Flow, Kind, drive},
};
use serde_json::Value;
use std::{
    env, fs, io,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Child, Command},
};

/// A process that does nothing, in a namespace.
struct Idler(Child);

impl Idler {
    fn within(ns: &Netns) -> Self {
        Self(ns.enter(|| Command::new("sleep").arg("600").spawn().expect("a program of every system")))
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        // It is ours, and has nothing to say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Traces from the namespace of `from`, wherever the arguments say, until it is attached.
fn start(from: &Host, args: &[&str]) -> Trace {
    let mut trace = Trace::spawn(from, &mut command(&[&["--json"], args].concat()));
    trace.wait_until_attached();
    trace
}

/// Once, closed, on the interface and by the client there.
fn assert_client_saw(events: &[Value], flow: Flow, interface: &str) {
    let mine: Vec<_> = of_kind(events, "connection").filter(|event| flow_of(event) == flow).collect();
    assert_eq!(mine.len(), 1, "{flow}: {mine:#?}");
    let said = ["outcome", "interface", "vantage"].map(|field| mine[0][field].as_str().unwrap_or("null"));
    assert_eq!(said, ["closed", interface, "client"], "{:#}", mine[0]);
}

fn fails_with(report: &Report, words: &[&str]) {
    assert_eq!(report.status.code(), Some(1), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "one line: {}", report.stderr);
    for word in words {
        assert!(report.stderr.contains(word), "{word:?} is in {:?}", report.stderr);
    }
}

#[test]
fn a_namespace_is_traced_by_name_by_path_and_by_process() {
    let lab = Lab::new();
    let idler = Idler::within(&lab.a.ns);
    let path = lab.a.ns.path();
    let name = path.rsplit('/').next().expect("a path");
    let pid = idler.0.id().to_string();
    let of_process = format!("/proc/{pid}/ns/net");
    lab.a.ns.ip(&["route", "add", "default", "via", &lab.b.ip(Family::V4).to_string()]);
    for (netns, interfaces) in [
        (name, &["-i", "tt0"][..]),
        (&path, &["-i", "any"]),
        (&pid, &[]),
        (&of_process, &["-i", "tt0", "--ingress", "xdp"]),
    ] {
        let trace = start(&lab.b, &[&["--netns", netns], interfaces].concat());
        let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V6);
        trace.wait_for_connections(1);
        let report = trace.stop();
        assert!(report.stderr.contains(&format!("in network namespace {netns}")), "{}", report.stderr);
        assert_client_saw(&report.events(), flow, "tt0");
        lab.a.assert_nothing_attached();
    }
}

#[test]
fn what_comes_later_is_attached_to_inside_and_the_rest_of_the_tracer_stays_outside() {
    let (other, capture) = (Host::alone(), Capture::new());
    let host = |dev, n| Host::new(Netns::new(), dev, Ipv4Addr::new(10, 77, 200, n));
    let (a, b) = (host("late0", 1), host("late1", 2));
    let args = ["--netns", &a.ns.path(), "-i", "any", "-w", capture.0.to_str().expect("text")];
    let trace = start(&other, &args);
    let home = inode(other.ns.path()).expect("it is there");
    for task in fs::read_dir(format!("/proc/{}/task", trace.id())).expect("it runs") {
        let task = task.expect("it runs").path();
        // A thread that has ended meanwhile is nowhere.
        let theirs = inode(task.join("ns/net")).unwrap_or(home);
        assert_eq!(theirs, home, "{}", task.display());
    }
    a.ns.veth(a.dev, &b.ns, b.dev, 200);
    a.wait_until_attached_to(a.dev);
    let flow = drive(Kind::ClientCloses, &a, &b, Family::V4);
    trace.wait_for_connections(1);
    assert_client_saw(&trace.stop().events(), flow, a.dev);
    assert!(fs::metadata(&capture.0).expect("it was written").len() > 100);
    a.assert_nothing_attached();
}

#[test]
fn the_interfaces_of_a_namespace_are_listed() {
    let lab = Lab::new();
    let path = lab.a.ns.path();
    let report = Trace::spawn(&lab.b, &mut command(&["-D", "--netns", &path])).end();
    assert!(report.status.success(), "{}", report.stderr);
    let listed: Vec<_> = report.lines.iter().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(listed, ["lo", "tt0"], "{:?}", report.lines);
}

#[test]
fn namespaces_that_cannot_be_entered_are_named() {
    let lab = Lab::new();
    let path = lab.a.ns.path();
    let name = path.rsplit('/').next().expect("a path");
    let (typo, ended) = (format!("{name}x"), ended_process());
    for (args, words) in [
        (&["--netns", &typo][..], &["no such network namespace: ", "did you mean", name][..]),
        (&["--netns", &ended], &["no process", &ended]),
        (&["--netns", "/etc/passwd"], &["/etc/passwd is not a network namespace"]),
        (&["--netns", "/proc/self/ns/mnt"], &["is not a network namespace"]),
        (&["--netns", "/run"], &["/run is not a network namespace"]),
        (&["--netns", name], &["in network namespace", name, "no default route"]),
        (&["--netns", name, "-i", "tt1"], &["in network namespace", "no such interface: tt1", "tt0"]),
    ] {
        fails_with(&Trace::spawn(&lab.b, &mut command(args)).end(), words);
    }
}

/// A file of a test's own, removed when dropped.
struct Capture(PathBuf);

impl Capture {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("tcptrace-netns-{}.pcapng", process::id())))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What tells namespaces apart.
fn inode(path: impl AsRef<Path>) -> io::Result<u64> {
    fs::metadata(path).map(|file| file.ino())
}

/// The number of a process that was there.
fn ended_process() -> String {
    let mut child = Command::new("true").spawn().expect("a program of every system");
    child.wait().expect("it ends");
    child.id().to_string()
}

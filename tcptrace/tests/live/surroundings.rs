//! What a tracer is started in: another time namespace, nohup, limits; and a host on which much happens at once.

use crate::{
    lab::{Family, Host, Lab, eventually},
    trace::{Trace, binary, command, command_of, of_kind},
    traffic::{Kind, drive},
};
use jiff::{Timestamp, ToSpan as _};
use rustix::process::Signal;
use signal_hook::{consts::SIGHUP, flag};
use std::{env, fs::File, process, sync::Arc};

/// The kernel tells of more changes than there is room for, so that everything has to be looked at anew: in a namespace
/// that the tracer is not in.
#[test]
fn more_changes_than_can_be_heard_of_in_another_namespace_are_got_over() {
    let (lab, outside) = (Lab::new(), Host::alone());
    let path = lab.a.ns.path();
    let mut trace = Trace::spawn(&outside, &mut command(&["--netns", &path, "-i", lab.a.dev, "--json"]));
    trace.wait_until_attached();
    trace.signal(Signal::STOP);
    let changes =
        "for i in $(seq 500); do echo link set tt0 mtu 1400; echo link set tt0 mtu 1500; done | ip -batch -";
    lab.a.ns.run("sh", &["-c", changes]);
    trace.signal(Signal::CONT);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
}

/// The records have the kernel's clock, and the process another.
#[test]
fn in_another_time_namespace_times_are_the_host_s() {
    let lab = Lab::new();
    let before = Timestamp::now();
    let args = ["--time", "--monotonic", "1000", binary(), "-i", lab.a.dev, "--json"];
    let mut trace = Trace::spawn(&lab.a, &mut command_of("unshare", &args));
    trace.wait_until_attached();
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let connection = of_kind(&events, "connection").next().expect("it was told");
    assert_eq!(connection["complete"], true, "{connection:#}");
    let ts: Timestamp = connection["ts"].as_str().and_then(|ts| ts.parse().ok()).expect("a time");
    assert!(before - 1.second() <= ts && ts <= Timestamp::now() + 1.second(), "{ts} is not since {before}");
}

#[test]
fn a_hangup_ends_a_trace_but_not_under_nohup() {
    // Of what is ignored here, as under nohup(1), children would ignore it too; of what is handled they do not (execve(2)).
    flag::register(SIGHUP, Arc::default()).expect("it can be handled");
    let lab = Lab::new();
    let args = ["-i", lab.a.dev, "--json"];
    let trace = Trace::start(&lab.a, &["--json"]);
    trace.signal(Signal::HUP);
    assert!(trace.end().status.success());
    let mut trace = Trace::spawn(&lab.a, &mut command_of("nohup", &[&[binary()], &args[..]].concat()));
    trace.wait_until_attached();
    trace.signal(Signal::HUP);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    assert!(trace.stop().status.success());
    lab.a.assert_nothing_attached();
}

#[test]
fn a_summary_comes_when_it_is_asked_for_and_with_every_signal_that_ends() {
    let lab = Lab::new();
    for (signal, name) in [(Signal::ALARM, "SIGALRM"), (Signal::USR2, "SIGUSR2")] {
        let trace = Trace::start(&lab.a, &["--json"]);
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.wait_for_connections(1);
        trace.signal(Signal::USR1);
        trace.wait_for_notice("so far: 1 connection: 1 closed");
        trace.signal(signal);
        let report = trace.end();
        assert!(report.status.success(), "{name}: {}", report.stderr);
        assert!(report.stderr.contains("\n1 connection: 1 closed\n"), "{name}: {}", report.stderr);
    }
    let trace = Trace::start(&lab.a, &["--json", "--for", "2s", "--summary-interval", "1s"]);
    let report = trace.end();
    assert!(
        report.status.success() && report.stderr.contains("so far: no connections seen"),
        "{}",
        report.stderr
    );
    lab.a.assert_nothing_attached();
}

#[test]
fn a_limit_of_a_file_s_length_is_an_error_like_a_full_disk() {
    let lab = Lab::new();
    let path = env::temp_dir().join(format!("tcptrace-limited-{}", process::id()));
    let output = File::create(&path).expect("a folder for all");
    let args = ["--fsize=1000", binary(), "-q", "-i", lab.a.dev, "--json"];
    let mut trace = Trace::spawn(&lab.a, command_of("prlimit", &args).stdout(output));
    eventually("it ends", || {
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.has_ended().then_some(()).ok_or_else(|| "it goes on".to_owned())
    });
    let report = trace.end();
    let _ = std::fs::remove_file(path);
    assert_eq!(report.status.code(), Some(1), "{}", report.stderr);
    assert!(report.stderr.contains("cannot write the output: File too large"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn without_sysfs_nothing_is_announced() {
    let lab = Lab::new();
    let hide = format!("umount --lazy /sys && exec {} -i {}", binary(), lab.a.dev);
    let report = Trace::spawn(&lab.a, &mut command_of("unshare", &["--mount", "sh", "-c", &hide])).end();
    assert_eq!(report.status.code(), Some(1), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "{}", report.stderr);
    assert!(report.stderr.contains("the number of processors from /sys/"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

#[test]
fn an_interface_goes_by_any_of_its_names() {
    let lab = Lab::new();
    let other = "a-name-that-is-longer-than-others";
    lab.a.ns.ip(&["link", "property", "add", "dev", lab.a.dev, "altname", other]);
    let mut trace = Trace::spawn(&lab.a, &mut command(&["-i", other, "--json"]));
    trace.wait_until_attached();
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let connection = of_kind(&events, "connection").next().expect("it was told");
    assert_eq!(connection["interface"], lab.a.dev);
}

//! Every kind of interface that this kernel can make: a connection through it is reported once on it, and once on
//! what lies under it where that shows the same packets.

mod stages;
mod tunnels;

use crate::{
    lab::{Family, Host, a_few_at_a_time},
    trace::{Report, Trace, command, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use serde_json::Value;
use stages::{KINDS, Look, Stage};
use std::{
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

#[test]
fn any_reports_a_connection_on_the_bridge_and_on_its_port() {
    let stage = stages::bridge().unwrap_or_else(|lack| panic!("{lack}"));
    let trace = start(&stage.client, "any");
    let flow = drive(Kind::ClientCloses, &stage.client, stage.server.as_ref().expect("there"), Family::V4);
    trace.wait_for_connections(2);
    let events = trace.stop().events();
    let text = |field: &str| {
        let mine = of_kind(&events, "connection").filter(|event| flow_of(event) == flow);
        let mut texts: Vec<_> = mine.map(|event| event[field].as_str().expect("text")).collect();
        texts.sort_unstable();
        texts
    };
    assert_eq!(text("interface"), ["br0", "v0"]);
    assert_eq!((text("outcome"), text("vantage")), (vec!["closed"; 2], vec!["client"; 2]));
    assert_eq!(last_stats(&events)["records_lost"], 0);
}

/// What became of a kind.
enum Verdict {
    /// What was traced, in words.
    Seen(String),
    /// The kernel, or the test, lacks something.
    NotRun(String),
    /// The panic went to stderr.
    Failed,
}

#[test]
fn on_every_kind_of_interface_a_connection_is_reported_once() {
    let verdicts = a_few_at_a_time(&KINDS, 4, |(_, build)| look_at(build()));
    let verdicts =
        KINDS.into_iter().zip(verdicts).map(|((name, _), it)| (name, it.unwrap_or(Verdict::Failed)));
    let verdicts: Vec<_> = verdicts.collect();
    let mut table = String::from("kinds of interfaces\n");
    let (mut seen, mut not_run, mut failed) = (0, 0, Vec::new());
    for (name, verdict) in &verdicts {
        let text = match verdict {
            Verdict::Seen(what) => {
                seen += 1;
                format!("ok       {what}")
            }
            Verdict::NotRun(why) => {
                not_run += 1;
                format!("not run  {why}")
            }
            Verdict::Failed => {
                failed.push(name);
                "FAILED".to_owned()
            }
        };
        // A String takes everything.
        let _ = writeln!(table, "  {name:<22}{text}");
    }
    let _ = writeln!(table, "  {seen} ok, {not_run} not run, {} failed", failed.len());
    // Past the harness, which would keep it to itself: what did not run must be seen.
    std::io::stdout().write_all(table.as_bytes()).expect("stdout");
    assert!(failed.is_empty(), "{failed:?}");
    // A kernel that the programs are tried on at all has these.
    for name in ["lo", "veth"] {
        assert!(verdicts.iter().any(|(it, verdict)| *it == name && matches!(verdict, Verdict::Seen(_))));
    }
}

fn look_at(stage: Result<Stage, String>) -> Verdict {
    let stage = match stage {
        Ok(stage) => stage,
        Err(why) => return Verdict::NotRun(why),
    };
    let traces: Vec<_> = stage.looks.iter().map(|look| start(stage.host(look.place), look.dev)).collect();
    let began = Instant::now();
    let server = stage.server.as_ref().unwrap_or(&stage.client);
    let flow = drive(stage.traffic, &stage.client, server, Family::V4);
    let said = stage.looks.iter().zip(traces).map(|(look, trace)| {
        if look.shows {
            trace.wait_for_connections(1);
        }
        let report = trace.stop();
        check(look, &stage, flow, &report, began.elapsed())
    });
    Verdict::Seen(said.collect::<Vec<_>>().join("; "))
}

fn start(host: &Host, dev: &str) -> Trace {
    let args = ["-i", dev, "--json", "--syn-timeout", "2s"];
    let mut trace = Trace::spawn(host, &mut command(&args));
    trace.wait_until_attached();
    trace
}

/// Says in words what was seen.
fn check(look: &Look, stage: &Stage, flow: Flow, report: &Report, took: Duration) -> String {
    let events = report.events();
    assert_eq!(last_stats(&events)["records_lost"], 0);
    let mine: Vec<_> = of_kind(&events, "connection").filter(|event| flow_of(event) == flow).collect();
    let dev = look.dev;
    if !look.shows && mine.is_empty() {
        return format!("{dev}: in a tunnel, not seen");
    }
    let [connection] = mine[..] else { panic!("{dev}: {flow} is there {} times: {mine:#?}", mine.len()) };
    let text = |field: &str| connection[field].as_str().unwrap_or_default();
    assert_eq!(text("interface"), dev);
    let outcome = if stage.traffic == Kind::Unanswered { "unanswered" } else { "closed" };
    assert_eq!(text("outcome"), outcome, "{dev}: {connection:#}");
    assert_eq!(connection["complete"], true, "{dev}: {connection:#}");
    assert_eq!(text("vantage"), look.vantage, "{dev}: {connection:#}");
    if outcome == "closed" {
        check_times(connection, took);
        assert_eq!(
            (&connection["client_bytes"], &connection["server_bytes"]),
            (&crate::traffic::REQUEST.into(), &crate::traffic::ANSWER.into()),
            "{dev}: {connection:#}"
        );
    }
    format!("{dev}: {outcome}, {}", look.vantage)
}

/// Each is there, the parts are the whole, and nothing took longer than the test.
fn check_times(connection: &Value, took: Duration) {
    let ns = |field: &str| connection[field].as_u64().unwrap_or_else(|| panic!("{field}: {connection:#}"));
    let handshake = ns("syn_to_established_ns");
    assert_eq!(handshake, ns("syn_retry_ns") + ns("syn_to_synack_ns") + ns("synack_to_ack_ns"));
    assert!(ns("syn_to_synack_ns") > 0 && ns("synack_to_ack_ns") > 0, "{connection:#}");
    assert!(ns("lifetime_ns") > handshake + ns("teardown_ns"), "{connection:#}");
    assert!(u128::from(ns("lifetime_ns")) < took.as_nanos(), "{connection:#}");
}

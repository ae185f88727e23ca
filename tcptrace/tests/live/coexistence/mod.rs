//! Beside other programs: whatever was on an interface is there unchanged after a trace, and at work during it, however the
//! trace ends; and nothing of ours is left. A table, a row for each thing that may be there.

mod changes;
mod libxdp;
mod rows;
mod snapshot;

use crate::{
    lab::{Family, Lab, a_few_at_a_time, eventually},
    netns::has_tcx,
    trace::{Report, Trace, command, flow_of, of_kind},
    traffic::{Kind, drive},
};
use aya::sys::{Stats, enable_stats};
use rows::{ROWS, Row, Theirs};
use rustix::process::Signal;
use snapshot::Snapshot;
use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    thread,
    time::{Duration, Instant},
};

/// A tracer that was built for debugging has attached by then, and before that it is killed while it loads.
const EARLY: Duration = Duration::from_millis(800);
/// How often it is killed at such a moment, for each row.
const EARLY_KILLS: usize = 4;

/// What became of a row.
enum Verdict {
    /// What was there is there; with the hooks of ours.
    Same(String),
    /// The kernel lacks something.
    NotRun(String),
    /// The panic went to stderr.
    Failed,
}

#[test]
fn what_others_have_on_an_interface_is_the_same_after_a_trace() {
    let _counting = enable_stats(Stats::RunTime).expect("root may");
    let verdicts = a_few_at_a_time(ROWS, 3, look_at);
    let verdicts = ROWS.iter().zip(verdicts).map(|(row, it)| (row.there, it.unwrap_or(Verdict::Failed)));
    let verdicts: Vec<_> = verdicts.collect();
    let mut table = String::from("\nbeside other programs\n");
    let mut failed = Vec::new();
    for (there, verdict) in &verdicts {
        let text = match verdict {
            Verdict::Same(how) => how.clone(),
            Verdict::NotRun(why) => format!("not run  {why}"),
            Verdict::Failed => {
                failed.push(there);
                "FAILED".to_owned()
            }
        };
        // A String takes everything.
        let _ = writeln!(table, "  {there:<46}{text}");
    }
    // Past the harness, which would keep it to itself: what did not run must be seen.
    std::io::stdout().write_all(table.as_bytes()).expect("stdout");
    assert!(failed.is_empty(), "{failed:?}");
    for needed in ["nothing", "filters on clsact", "XDP, native", "xdp-filter"] {
        let ran = |(there, verdict): &(&str, Verdict)| {
            there.starts_with(needed) && matches!(verdict, Verdict::Same(_))
        };
        assert!(verdicts.iter().any(ran), "{needed} did not run");
    }
}

fn look_at(row: &Row) -> Verdict {
    let lab = Lab::new();
    let theirs = match (row.set)(&lab) {
        Ok(theirs) => theirs,
        Err(why) => return Verdict::NotRun(why),
    };
    let before = Snapshot::of(&lab);
    check(&lab, row, &theirs);
    before.assert_same(&lab, row.there, "tcptrace check");
    if let Some(says) = row.refused.filter(|_| row.is_refused()) {
        let report = run(&lab, row);
        assert_eq!(report.status.code(), Some(1), "{}: {}", row.there, report.stderr);
        assert!(report.stderr.contains(says), "{}: {}", row.there, report.stderr);
        before.assert_same(&lab, row.there, "a refusal");
        let note = theirs.note();
        theirs.assert_alive(&lab);
        return Verdict::Same(format!("says so and stops; the same: \"{says}\"{note}"));
    }
    let hooks = trace(&lab, row, &theirs, Signal::INT);
    before.assert_same(&lab, row.there, "Ctrl-C");
    trace(&lab, row, &theirs, Signal::KILL);
    after_kill(&lab, row, &before, "SIGKILL");
    // Without TCX each takes a trace more to set right.
    let early_kills = if has_tcx() { EARLY_KILLS } else { 1 };
    for _ in 0..early_kills {
        let after = kill_early(&lab, row);
        after_kill(&lab, row, &before, &format!("SIGKILL after {after:?}"));
    }
    let note = theirs.note();
    theirs.assert_alive(&lab);
    let after = if has_tcx() { "the same" } else { "the same after the next trace" };
    Verdict::Same(format!("{hooks}; after Ctrl-C the same, after SIGKILL {after}{note}"))
}

fn arguments<'a>(lab: &Lab, row: &Row, more: &[&'a str]) -> Vec<&'a str> {
    [&["-i", lab.a.dev][..], row.args, more].concat()
}

fn run(lab: &Lab, row: &Row) -> Report {
    Trace::spawn(&lab.a, &mut command(&arguments(lab, row, &["--json"]))).end()
}

/// Before all else: what is there is told, and what the trace would come to.
fn check(lab: &Lab, row: &Row, theirs: &Theirs) {
    let args = [&["check"][..], &arguments(lab, row, &[])].concat();
    let report = Trace::spawn(&lab.a, &mut command(&args)).end();
    let said = report.lines.join("\n");
    assert_eq!(report.status.code(), Some(i32::from(row.is_refused())), "{}: {said}", row.there);
    for name in theirs.names() {
        assert!(said.contains(name), "{}: {name} is in\n{said}", row.there);
    }
}

/// A connection that is traced, while the programs of others go on seeing packets; where ours were.
fn trace(lab: &Lab, row: &Row, theirs: &Theirs, end: Signal) -> String {
    let mut trace = Trace::spawn(&lab.a, &mut command(&arguments(lab, row, &["--json"])));
    trace.wait_until_attached();
    let hooks = ours(lab, theirs);
    let seen = theirs.seen(lab);
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    for ((name, before), (_, now)) in seen.iter().zip(theirs.seen(lab)) {
        assert!(now > *before, "{}: {name} saw no packets beside ours", row.there);
    }
    trace.signal(end);
    let report = trace.end();
    if end == Signal::KILL {
        assert_eq!(report.status.signal(), Some(9), "{}", report.stderr);
    } else {
        assert!(report.status.success(), "{}: {}", row.there, report.stderr);
        let events = report.events();
        let mine: Vec<_> = of_kind(&events, "connection").filter(|it| flow_of(it) == flow).collect();
        assert_eq!(mine.len(), 1, "{}: {mine:#?}", row.there);
        assert_eq!(mine[0]["outcome"], "closed", "{}: {:#}", row.there, mine[0]);
        assert_eq!(mine[0]["complete"], true, "{}: {:#}", row.there, mine[0]);
    }
    hooks
}

/// The hooks of what has come since.
fn ours(lab: &Lab, theirs: &Theirs) -> String {
    let mut programs = lab.a.programs();
    for there in &theirs.programs {
        if let Some(at) = programs.iter().position(|it| it == there) {
            programs.remove(at);
        }
    }
    let names = [
        ("tcx/", "TCX links"),
        ("clsact/", "filters on clsact"),
        ("driver", "native XDP"),
        ("generic", "generic XDP"),
    ];
    let hook = |it: &String| Some(names.into_iter().find(|(hook, _)| it.contains(hook))?.1);
    let mut hooks: Vec<_> = programs.iter().filter_map(hook).collect();
    hooks.sort_unstable();
    hooks.dedup();
    assert!(!hooks.is_empty(), "{programs:?}");
    hooks.join(" and ")
}

/// At a random moment, before or after it has attached.
fn kill_early(lab: &Lab, row: &Row) -> Duration {
    let mut trace = Trace::spawn(&lab.a, &mut command(&arguments(lab, row, &["--json"])));
    let random = RandomState::new().hash_one(0) % u64::try_from(EARLY.as_micros()).expect("short");
    let (start, wait) = (Instant::now(), Duration::from_micros(random));
    // A moment is what is meant here: nothing is waited for.
    thread::sleep(wait);
    assert!(!trace.has_ended(), "{}: it ends by itself", row.there);
    trace.signal(Signal::KILL);
    assert_eq!(trace.end().status.signal(), Some(9));
    start.elapsed().min(wait)
}

/// Before 6.6 filters stay, until the next trace removes them.
fn after_kill(lab: &Lab, row: &Row, before: &Snapshot, what: &str) {
    if !has_tcx() {
        let mut next = Trace::spawn(&lab.a, &mut command(&arguments(lab, row, &["--json"])));
        next.wait_until_attached();
        assert!(next.stop().status.success());
    }
    before.assert_same(lab, row.there, what);
}

/// Waits until a snapshot is as it was: the kernel lets go of some things a moment after their owner has ended.
fn settled(lab: &Lab, before: &Snapshot, what: &str) {
    eventually(&format!("it is as before, after {what}"), || before.compare(&Snapshot::of(lab)));
}

//! Every socket of the traced host: its changes by the kernel beside its transitions by us.

use super::{
    Driven,
    kinds::What,
    rules::{RULES, Step, Verdict, our_name, path},
    times::{Offset, Pair, Seen, TIME_RULES, Times},
    tracefs::Change,
};
use crate::{
    trace::{flow_of, of_kind},
    traffic::Flow,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    net::SocketAddr,
};

/// Steps of one endpoint with their times.
type Timed<'a> = (Vec<Step<'a>>, Vec<i64>);

/// The sums over all connections.
pub(crate) struct Total {
    pub(crate) verdict: Verdict,
    pub(crate) times: Times,
    /// Paths and outcomes that are not those of their kind.
    pub(crate) unexpected: String,
    pub(crate) table: String,
}

pub(crate) fn compare(driven: &[Driven], events: &[Value], changes: &[Change], offset: &Offset) -> Total {
    let kernel = by_socket(changes);
    let ours = Ours::of(events, offset);
    let mut rows: BTreeMap<usize, (usize, Verdict, Times)> = BTreeMap::new();
    let mut names: Vec<What> = Vec::new();
    let mut unexpected = String::new();
    let mut differences = String::new();
    for driven in driven {
        let name = driven.what.name();
        let nth = names.iter().position(|what| what.name() == name).unwrap_or_else(|| {
            names.push(driven.what);
            names.len() - 1
        });
        let row = rows.entry(nth).or_default();
        let empty = Timed::default();
        let (k, k_at) = kernel.get(&driven.local()).unwrap_or(&empty);
        let (o, o_at) = ours.steps.get(&(driven.flow, driven.local_is_client)).unwrap_or(&empty);
        let verdict = Verdict::of(name, k, o);
        let role = if driven.local_is_client { "client" } else { "server" };
        if verdict.unexplained > 0 {
            let _ = writeln!(differences, "{name}, {role}, {}:\n  kernel {k:?}\n  ours   {o:?}", driven.flow);
        }
        let seen = ours.seen.get(&driven.flow).map_or(&[][..], Vec::as_slice);
        for &(of_kernel, of_ours) in &verdict.pairs {
            let pair = Pair {
                step: o[of_ours],
                kernel: k_at[of_kernel],
                ours: o_at[of_ours],
                since: of_ours.checked_sub(1).map_or(i64::MIN, |before| o_at[before]),
            };
            row.2.add(name, driven.local_is_client, &pair, seen, offset.moved());
        }
        let way = path(k);
        if !driven.what.paths(driven.local_is_client).contains(&way.as_str()) {
            let _ = writeln!(unexpected, "{name}, {role}, {}: the kernel's way is {way:?}", driven.flow);
        }
        let lives = ours.lives.get(&driven.flow).map_or(&[][..], Vec::as_slice);
        let outcomes: Vec<_> = lives.iter().filter_map(|event| event["outcome"].as_str()).collect();
        for (field, expected) in driven.what.says(driven.local_is_client) {
            let said = lives.last().map(|event| event[field].to_string());
            if said.as_deref() != Some(expected) {
                let _ = writeln!(unexpected, "{name}, {role}, {}: {field} is {said:?}", driven.flow);
            }
        }
        if outcomes != driven.what.outcomes(driven.local_is_client) {
            let _ = writeln!(unexpected, "{name}, {role}, {}: our outcomes are {outcomes:?}", driven.flow);
        }
        row.0 += driven.what.lives();
        row.1.add(&verdict);
    }
    let mut table = head();
    let (mut connections, mut total, mut times) = (0, Verdict::default(), Times::default());
    for (nth, (n, verdict, of_kind)) in &rows {
        let what = names[*nth];
        line(&mut table, (what.name(), what.about()), *n, verdict, of_kind);
        connections += n;
        total.add(verdict);
        times.merge(of_kind);
    }
    line(&mut table, ("all", ""), connections, &total, &times);
    for (rule, n) in RULES.iter().zip(total.explained) {
        let _ = writeln!(table, "{n:5} x {}: {}", rule.name, rule.reason);
    }
    for (rule, n) in TIME_RULES.iter().zip(times.explained) {
        let _ = writeln!(table, "{n:5} x time, {}: {}", rule.name, rule.reason);
    }
    Total { verdict: total, times, unexpected, table: table + &differences }
}

fn head() -> String {
    let times = format!("{:>7} {:>9} {:>9}", "median", "p99", "max");
    let names = "connections  kernel    ours   equal  by rule unexplained";
    format!(
        "{:26} {:55} | {:27} | {:27} |\n{:26} {names} | {times} | {times} | what happens\n",
        "", "", "kernel's time less ours, us", "from the nearer hook, us", "kind"
    )
}

fn line(table: &mut String, (name, about): (&str, &str), connections: usize, v: &Verdict, times: &Times) {
    let by_rule: usize = v.explained.iter().sum();
    let _ = writeln!(
        table,
        "{name:26} {connections:11} {:7} {:7} {:7} {by_rule:8} {:11} | {} | {about}",
        v.kernel,
        v.ours,
        v.equal,
        v.unexplained,
        times.columns()
    );
}

fn by_socket(changes: &[Change]) -> HashMap<(SocketAddr, SocketAddr), Timed<'_>> {
    let mut by_socket: HashMap<_, Timed<'_>> = HashMap::new();
    for change in changes {
        let (steps, times) = by_socket.entry((change.local, change.remote)).or_default();
        steps.push(Step { from: our_name(&change.from), to: our_name(&change.to) });
        times.push(change.at);
    }
    by_socket
}

/// What we reported, by four-tuple.
#[derive(Default)]
struct Ours<'a> {
    /// Of every endpoint (connection, and whether it is the client), in order.
    steps: HashMap<(Flow, bool), Timed<'a>>,
    seen: HashMap<Flow, Vec<Seen>>,
    /// The `connection` events.
    lives: HashMap<Flow, Vec<&'a Value>>,
}

impl<'a> Ours<'a> {
    fn of(events: &'a [Value], offset: &Offset) -> Self {
        let mut ours = Self::default();
        let text = |event: &'a Value, field: &str| event[field].as_str().expect("a name");
        let at = |event: &'a Value| nanoseconds(text(event, "ts")) - offset.middle();
        // A new life can begin before the old one is known to be over: the kernel's come one after the other.
        let mut transitions: Vec<_> = of_kind(events, "transition").collect();
        transitions.sort_by_key(|event| event["id"].as_u64());
        for event in transitions {
            let endpoint = (flow_of(event), event["endpoint"] == "client");
            let (steps, times) = ours.steps.entry(endpoint).or_default();
            steps.push(Step { from: text(event, "from"), to: text(event, "to") });
            times.push(at(event));
        }
        for event in of_kind(events, "segment") {
            let seen = Seen { at: at(event), incoming: event["direction"] == "ingress" };
            ours.seen.entry(flow_of(event)).or_default().push(seen);
        }
        for event in of_kind(events, "connection") {
            ours.lives.entry(flow_of(event)).or_default().push(event);
        }
        ours
    }
}

/// Of the Unix epoch.
fn nanoseconds(ts: &str) -> i64 {
    let ts: jiff::Timestamp = ts.parse().unwrap_or_else(|error| panic!("{ts}: {error}"));
    i64::try_from(ts.as_nanosecond()).expect("this century")
}

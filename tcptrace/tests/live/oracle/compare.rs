//! Every socket of the traced host: its changes by the kernel beside its transitions by us.

use super::{
    Driven,
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
    collections::HashMap,
    fmt::{self, Write as _},
    net::SocketAddr,
};

/// The sums over all connections.
pub(crate) struct Total {
    pub(crate) verdict: Verdict,
    pub(crate) times: Times,
    /// Paths and outcomes that are not those of their kind.
    pub(crate) unexpected: String,
    pub(crate) table: String,
}

/// A line of the table.
#[derive(Default)]
struct Row {
    name: &'static str,
    about: &'static str,
    connections: usize,
    verdict: Verdict,
    times: Times,
}

pub(crate) fn compare(driven: &[Driven], events: &[Value], changes: &[Change], offset: &Offset) -> Total {
    let (kernel, ours) = (by_socket(changes), Ours::of(events, offset));
    let mut rows: Vec<Row> = Vec::new();
    let (mut unexpected, mut differences) = (String::new(), String::new());
    for driven in driven {
        let (what, none) = (driven.what, Timed::default());
        let end = End {
            driven,
            kernel: kernel.get(&driven.local()).unwrap_or(&none),
            ours: ours.steps.get(&(driven.flow, driven.local_is_client)).unwrap_or(&none),
            seen: ours.seen.get(&driven.flow).map_or(&[], Vec::as_slice),
            lives: ours.lives.get(&driven.flow).map_or(&[], Vec::as_slice),
        };
        let nth = rows.iter().position(|row| row.name == what.name()).unwrap_or_else(|| {
            rows.push(Row { name: what.name(), about: what.about(), ..Row::default() });
            rows.len() - 1
        });
        let verdict = end.compare(&mut rows[nth].times, offset.moved());
        if verdict.unexplained > 0 {
            let _ = writeln!(
                differences,
                "{end}:\n  kernel {:?}\n  ours   {:?}",
                end.kernel.steps, end.ours.steps
            );
        }
        rows[nth].connections += what.lives();
        rows[nth].verdict.add(&verdict);
        unexpected += &end.unexpected();
    }
    let mut total = Row { name: "all", ..Row::default() };
    let mut table = head();
    for row in &rows {
        row.print(&mut table);
        total.connections += row.connections;
        total.verdict.add(&row.verdict);
        total.times.merge(&row.times);
    }
    total.print(&mut table);
    let Row { verdict, times, .. } = total;
    rules(&mut table, &verdict, &times);
    Total { verdict, times, unexpected, table: table + &differences }
}

/// Steps with their times.
#[derive(Default)]
struct Timed<'a> {
    steps: Vec<Step<'a>>,
    at: Vec<i64>,
}

/// The local end of what was driven, as the kernel and as we tell of it.
struct End<'a> {
    driven: &'a Driven,
    kernel: &'a Timed<'a>,
    ours: &'a Timed<'a>,
    seen: &'a [Seen],
    /// The `connection` events.
    lives: &'a [&'a Value],
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.driven.local_is_client { "client" } else { "server" };
        write!(f, "{}, {role}, {}", self.driven.what.name(), self.driven.flow)
    }
}

impl End<'_> {
    fn compare(&self, times: &mut Times, slack: i64) -> Verdict {
        let name = self.driven.what.name();
        let verdict = Verdict::of(name, &self.kernel.steps, &self.ours.steps);
        for &(of_kernel, of_ours) in &verdict.pairs {
            let pair = Pair {
                step: self.ours.steps[of_ours],
                kernel: self.kernel.at[of_kernel],
                ours: self.ours.at[of_ours],
                since: of_ours.checked_sub(1).map_or(i64::MIN, |before| self.ours.at[before]),
            };
            times.add(name, self.driven.local_is_client, &pair, self.seen, slack);
        }
        verdict
    }

    /// What is not as the kind says.
    fn unexpected(&self) -> String {
        let (what, is_client) = (self.driven.what, self.driven.local_is_client);
        let mut unexpected = String::new();
        let way = path(&self.kernel.steps);
        if !what.paths(is_client).contains(&way.as_str()) {
            let _ = writeln!(unexpected, "{self}: the kernel's way is {way:?}");
        }
        let outcomes: Vec<_> = self.lives.iter().filter_map(|event| event["outcome"].as_str()).collect();
        if outcomes != what.outcomes(is_client) {
            let _ = writeln!(unexpected, "{self}: our outcomes are {outcomes:?}");
        }
        for (field, expected) in what.says(is_client) {
            let said = self.lives.last().map(|event| event[field].to_string());
            if said.as_deref() != Some(expected) {
                let _ = writeln!(unexpected, "{self}: {field} is {said:?}");
            }
        }
        unexpected
    }
}

impl Row {
    fn print(&self, table: &mut String) {
        let Verdict { kernel, ours, equal, unexplained, explained, .. } = &self.verdict;
        let by_rule: usize = explained.iter().sum();
        let _ = writeln!(
            table,
            "{:26} {:11} {kernel:7} {ours:7} {equal:7} {by_rule:8} {unexplained:11} | {} | {}",
            self.name,
            self.connections,
            self.times.columns(),
            self.about,
        );
    }
}

fn rules(table: &mut String, verdict: &Verdict, times: &Times) {
    for (rule, n) in RULES.iter().zip(verdict.explained) {
        let _ = writeln!(table, "{n:5} x {}: {}", rule.name, rule.reason);
    }
    for (rule, n) in TIME_RULES.iter().zip(times.explained) {
        let _ = writeln!(table, "{n:5} x time, {}: {}", rule.name, rule.reason);
    }
}

fn head() -> String {
    let times = format!("{:>7} {:>9} {:>9}", "median", "p99", "max");
    let names = "connections  kernel    ours   equal  by rule unexplained";
    format!(
        "{:26} {:55} | {:27} | {:27} |\n{:26} {names} | {times} | {times} | what happens\n",
        "", "", "kernel's time less ours, us", "from the nearer hook, us", "kind"
    )
}

fn by_socket(changes: &[Change]) -> HashMap<(SocketAddr, SocketAddr), Timed<'_>> {
    let mut by_socket: HashMap<_, Timed<'_>> = HashMap::new();
    for change in changes {
        let timed = by_socket.entry((change.local, change.remote)).or_default();
        timed.steps.push(Step { from: our_name(&change.from), to: our_name(&change.to) });
        timed.at.push(change.at);
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
            let timed = ours.steps.entry(endpoint).or_default();
            timed.steps.push(Step { from: text(event, "from"), to: text(event, "to") });
            timed.at.push(at(event));
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

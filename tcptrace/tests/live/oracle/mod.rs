//! The kernel as oracle: for every local socket, our transitions of the local endpoint are, in order, those of the
//! kernel's tracepoint `sock:inet_sock_set_state`. Each difference has a rule with a name (`rules.rs`).

mod rules;
mod tracefs;

use crate::{
    lab::{Family, Lab},
    loss::{PORTS, lose_segments},
    trace::{Trace, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use rules::{RULES, Step, Verdict, our_name};
use serde_json::Value;
use std::{collections::HashMap, fmt::Write as _, net::SocketAddr, thread};
use tracefs::{Change, Recording, changes_when};

/// Rounds of all kinds, both families and both roles: 5 x 16 x 2 x 2 = 320 connections.
const ROUNDS: usize = 5;

/// One connection and the end of it that is on the traced host.
#[derive(Clone, Copy)]
struct Driven {
    kind: Kind,
    flow: Flow,
    local_is_client: bool,
}

impl Driven {
    /// The traced host's end, and the other.
    fn local(&self) -> (SocketAddr, SocketAddr) {
        let Flow { client, server } = self.flow;
        if self.local_is_client { (client, server) } else { (server, client) }
    }
}

#[test]
fn our_transitions_are_the_kernels() {
    let lab = Lab::new();
    lose_segments(&lab.a);
    lose_segments(&lab.b);
    let recording = Recording::start(&PORTS);
    let trace = Trace::all_events(&lab.a, &["--syn-timeout", "2s"]);
    let driven = drive_mix(&lab);
    trace.wait_for_connections(driven.len());
    let events = trace.stop().events();
    assert_eq!(last_stats(&events)["records_lost"], 0);
    assert_eq!(of_kind(&events, "connection").count(), driven.len());

    let sockets: Vec<_> = driven.iter().map(Driven::local).collect();
    let changes =
        changes_when(&recording, "every local socket is closed", |changes| all_closed(&sockets, changes));
    let (table, total) = compare(&driven, &events, &changes);
    eprintln!("{table}");
    assert_eq!(total.unexplained, 0, "\n{table}");
    // Not by comparing nothing: what the traffic implies.
    let (kernel, ours) = driven.iter().map(implied).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let waiting = driven.iter().filter(|driven| ends_in_time_wait(driven)).count();
    assert_eq!(total.explained[rules::TIME_WAIT], waiting, "\n{table}");
    let [unseen, repeated] = [rules::REQUEST_SOCKET, rules::CLOSE_CALL].map(|rule| total.explained[rule]);
    assert_eq!((total.kernel + unseen - repeated, total.ours), (kernel, ours), "\n{table}");
    assert!(driven.len() >= 300 && total.equal > 1000, "\n{table}");
}

/// Every kind, in every role of the traced host; those that wait for retries all side by side.
fn drive_mix(lab: &Lab) -> Vec<Driven> {
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        for family in Family::BOTH {
            for _ in 0..ROUNDS {
                let list = if kind.needs_loss() { &mut slow } else { &mut quick };
                list.extend([(kind, family, true), (kind, family, false)]);
            }
        }
    }
    thread::scope(|scope| {
        let slow: Vec<_> = slow.into_iter().map(|it| scope.spawn(move || drive_one(lab, it))).collect();
        let mut driven: Vec<_> = quick.into_iter().map(|it| drive_one(lab, it)).collect();
        driven.extend(slow.into_iter().map(|thread| thread.join().expect("the traffic runs")));
        driven
    })
}

fn drive_one(lab: &Lab, (kind, family, local_is_client): (Kind, Family, bool)) -> Driven {
    let (from, to) = if local_is_client { (&lab.a, &lab.b) } else { (&lab.b, &lab.a) };
    Driven { kind, flow: drive(kind, from, to, family), local_is_client }
}

/// A socket's last change is to CLOSE; one that never was has none.
fn all_closed(sockets: &[(SocketAddr, SocketAddr)], changes: &[Change]) -> Result<(), String> {
    let mut last: HashMap<_, _> = HashMap::new();
    for change in changes {
        last.insert((change.local, change.remote), change.to.as_str());
    }
    let open: Vec<_> =
        sockets.iter().filter(|s| last.get(s).is_some_and(|state| *state != "CLOSE")).collect();
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
}

/// The table, and the sum of its lines.
fn compare(driven: &[Driven], events: &[Value], changes: &[Change]) -> (String, Verdict) {
    let mut by_socket: HashMap<_, Vec<Step<'_>>> = HashMap::new();
    for change in changes {
        let step = Step { from: our_name(&change.from), to: our_name(&change.to) };
        by_socket.entry((change.local, change.remote)).or_default().push(step);
    }
    let by_endpoint = transitions(events);
    let mut table = String::from(
        "kind                       connections  kernel    ours   equal  by rule  unexplained\n",
    );
    let mut differences = String::new();
    let mut total = Verdict::default();
    for kind in Kind::ALL {
        let mut sum = Verdict::default();
        let of_kind: Vec<_> = driven.iter().filter(|d| d.kind == kind).collect();
        for driven in &of_kind {
            let kernel = by_socket.get(&driven.local()).map_or(&[][..], Vec::as_slice);
            let ours = by_endpoint.get(&(driven.flow, driven.local_is_client)).map_or(&[][..], Vec::as_slice);
            let verdict = Verdict::of(kernel, ours);
            if verdict.unexplained > 0 {
                let _ = writeln!(
                    differences,
                    "{kind:?} {}:\n  kernel {kernel:?}\n  ours   {ours:?}",
                    driven.flow
                );
            }
            sum.add(&verdict);
        }
        line(&mut table, &format!("{kind:?}"), of_kind.len(), &sum);
        total.add(&sum);
    }
    line(&mut table, "all", driven.len(), &total);
    for (rule, n) in RULES.iter().zip(total.explained) {
        let _ = writeln!(table, "{n:5} x {}: {}", rule.name, rule.reason);
    }
    (table + &differences, total)
}

fn line(table: &mut String, name: &str, connections: usize, v: &Verdict) {
    let by_rule: usize = v.explained.iter().sum();
    let _ = writeln!(
        table,
        "{name:26} {connections:11} {:7} {:7} {:7} {by_rule:8} {:12}",
        v.kernel, v.ours, v.equal, v.unexplained
    );
}

/// Our transitions of every endpoint (connection, and whether it is the client), in order.
fn transitions(events: &[Value]) -> HashMap<(Flow, bool), Vec<Step<'_>>> {
    let mut by_endpoint: HashMap<_, Vec<_>> = HashMap::new();
    for event in of_kind(events, "transition") {
        let [from, to] = ["from", "to"].map(|field| event[field].as_str().expect("a name"));
        by_endpoint
            .entry((flow_of(event), event["endpoint"] == "client"))
            .or_default()
            .push(Step { from, to });
    }
    by_endpoint
}

/// How many changes the kernel makes of the local socket, and how many transitions we report, by RFC 9293's
/// figure 5 and the rules.
fn implied(driven: &Driven) -> (usize, usize) {
    match (driven.kind, driven.local_is_client) {
        // CLOSED, SYN-SENT, CLOSED; the server has no socket.
        (Kind::Refused | Kind::Unanswered, true) => (2, 2),
        (Kind::Refused | Kind::Unanswered, false) => (0, 2),
        (Kind::ResetByClient | Kind::ResetByServer, true) => (3, 3),
        (Kind::ResetByClient | Kind::ResetByServer, false) => (3, 4),
        (Kind::ResetWhenClosing, false) => (4, 5),
        (Kind::SimultaneousOpen, true) => (6, 6),
        // From CLOSED, as an active opener, or by way of LISTEN as we presume.
        (_, true) => (5, 5),
        (_, false) => (5, 6),
    }
}

/// The local endpoint closed first, or at the same time as the other.
fn ends_in_time_wait(driven: &Driven) -> bool {
    match driven.kind {
        Kind::ResetByClient
        | Kind::ResetByServer
        | Kind::ResetWhenClosing
        | Kind::Refused
        | Kind::Unanswered => false,
        Kind::SimultaneousClose => true,
        Kind::ServerCloses => !driven.local_is_client,
        _ => driven.local_is_client,
    }
}

//! The kernel as oracle: for every local socket, our transitions of the local endpoint are, in order, those of the
//! kernel's tracepoint `sock:inet_sock_set_state`, and at the same times but for the path between our hook and the
//! socket. Each difference has a rule with a name and a reason (`rules.rs` for the order, `times.rs`).

mod compare;
mod kinds;
pub(crate) mod rules;
pub(crate) mod times;
pub(crate) mod tracefs;

use crate::{
    lab::{Family, Lab},
    loss::{PORTS, lose_segments},
    scenes::{Phase, counted},
    skips::skip,
    trace::{Trace, last_stats, of_kind},
    traffic::{Flow, drive},
};
use compare::compare;
use kinds::What;
use std::{collections::HashMap, env, net::SocketAddr, thread};
use times::Offset;
use tracefs::{Change, Recording, changes_when};

/// Rounds of the kinds that take milliseconds, in both families and both roles: as many as the environment says.
const ROUNDS: &str = "TCPTRACE_ORACLE_ROUNDS";
const DEFAULT_ROUNDS: usize = 20;
/// Those that wait for the kernel's timers run side by side; more at once would be a test of the machine.
const SLOW_ROUNDS: usize = 3;

/// One connection and the end of it that is on the traced host.
#[derive(Clone, Copy)]
struct Driven {
    what: What,
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
    let rounds = env::var(ROUNDS).map_or(DEFAULT_ROUNDS, |n| n.parse().expect("a number"));
    let lab = Lab::new();
    lose_segments(&lab.a);
    lose_segments(&lab.b);
    let recording = Recording::start(&PORTS, 4 * What::all().count() * rounds.max(SLOW_ROUNDS));
    let mut offset = Offset::new();
    let trace = Trace::all_events(&lab.a, &["--syn-timeout", "5s"]);
    let mut driven = Vec::new();
    for phase in Phase::ALL {
        phase.begin(&lab);
        driven.extend(drive_phase(&lab, phase, rounds));
        offset.refresh();
    }
    let connections: usize = driven.iter().map(|driven| driven.what.lives()).sum();
    let open: usize = driven.iter().map(|driven| driven.what.stay_open(driven.local_is_client)).sum();
    trace.wait_for_connections(connections - open);

    let sockets: Vec<_> = driven.iter().map(Driven::local).collect();
    let changes =
        changes_when(&recording, "every local socket is closed", |changes| all_closed(&sockets, changes));
    offset.refresh();
    let report = trace.stop();
    let events = report.many_events();
    assert_eq!(last_stats(&events)["records_lost"], 0);

    let total = compare(&driven, &events, &changes, &offset);
    let table = &total.table;
    eprintln!("{table}the wall clock moved by {} ns meanwhile", offset.moved());
    assert_eq!(of_kind(&events, "connection").count(), connections, "\n{table}");
    assert_eq!(total.verdict.unexplained, 0, "\n{table}");
    // Not by comparing nothing: what happened is what the kind says.
    assert!(total.unexpected.is_empty(), "\n{}\n{table}", total.unexpected);
    total.times.assert_the_same(table);
    check_counters(&lab, &driven);
    assert!(connections >= 2000 || rounds < DEFAULT_ROUNDS, "thousands: {connections}");
}

/// Every kind of this phase, in every role of the traced host.
fn drive_phase(lab: &Lab, phase: Phase, rounds: usize) -> Vec<Driven> {
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for what in What::all().filter(|what| what.phase() == phase) {
        if let Some(lack) = what.lacks() {
            skip(&format!("oracle, {}", what.name()), &lack);
            continue;
        }
        let rounds = if what.is_slow() { SLOW_ROUNDS } else { rounds };
        for family in Family::BOTH {
            for local_is_client in [true, false] {
                let list = if what.is_slow() { &mut slow } else { &mut quick };
                list.extend(vec![(what, family, local_is_client); rounds]);
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

fn drive_one(lab: &Lab, (what, family, local_is_client): (What, Family, bool)) -> Driven {
    let (from, to) = if local_is_client { (&lab.a, &lab.b) } else { (&lab.b, &lab.a) };
    let flow = match what {
        What::Kind(kind) => drive(kind, from, to, family),
        What::Scene(scene) => scene.drive(from, to, family, local_is_client),
    };
    Driven { what, flow, local_is_client }
}

/// What the kernel counts itself has happened as often as it was driven.
fn check_counters(lab: &Lab, driven: &[Driven]) {
    let mut expected: HashMap<&str, u64> = HashMap::new();
    for counter in driven.iter().filter_map(|driven| driven.what.counter()) {
        *expected.entry(counter).or_default() += 1;
    }
    for (counter, times) in expected {
        let counted = counted(&lab.a, counter) + counted(&lab.b, counter);
        assert!(counted >= times, "{counter} is {counted}, and was driven {times} times");
    }
}

/// A socket's last change is to CLOSE; one that never was has none.
pub(crate) fn all_closed(sockets: &[(SocketAddr, SocketAddr)], changes: &[Change]) -> Result<(), String> {
    let mut last: HashMap<_, _> = HashMap::new();
    for change in changes {
        last.insert((change.local, change.remote), change.to.as_str());
    }
    let open: Vec<_> =
        sockets.iter().filter(|s| last.get(s).is_some_and(|state| *state != "CLOSE")).collect();
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
}

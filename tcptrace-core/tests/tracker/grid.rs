//! What the tracker makes of every combination of control bits from every sender in every state, as a table for people
//! to review (`snapshots/`). `INSTA_UPDATE=always cargo test -p tcptrace-core --test tracker grid` writes it anew.

use super::script::{Run, config, run};
use std::fmt::Write as _;
use tcptrace_core::event::{Event, Outcome, Role};

/// For each pair of states, a script that leads to it and the next sequence numbers of client and server after that.
/// Their ISNs are always 1000 and 5000.
const PLACES: [(&str, &str, u32, u32); 16] = [
    ("CLOSED/CLOSED", "", 1001, 5001),
    ("SYN-SENT/LISTEN", "0 C S 1000", 1001, 5001),
    ("SYN-SENT/SYN-RECEIVED", "0 C S 1000|1 S S. 5000 1001", 1001, 5001),
    ("SYN-SENT/SYN-SENT", "0 C S 1000|1 S S 5000", 1001, 5001),
    ("SYN-RECEIVED/SYN-SENT", "0 C S 1000|1 S S 5000|2 C S. 1000 5001", 1001, 5001),
    ("ESTABLISHED/ESTABLISHED", "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001", 1001, 5001),
    ("SYN-SENT/FIN-WAIT-1", "0 C S 1000|1 S S. 5000 1001|2 S F. 5001 1001", 1001, 5002),
    ("FIN-WAIT-1/ESTABLISHED", "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001", 1002, 5001),
    (
        "FIN-WAIT-2/CLOSE-WAIT",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S . 5001 1002",
        1002,
        5001,
    ),
    (
        "FIN-WAIT-2/LAST-ACK",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S F. 5001 1002",
        1002,
        5002,
    ),
    (
        "FIN-WAIT-1/FIN-WAIT-1",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S F. 5001 1001",
        1002,
        5002,
    ),
    (
        "FIN-WAIT-2/CLOSING",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S F. 5001 1001|5 S . 5002 1002",
        1002,
        5002,
    ),
    (
        "TIME-WAIT/CLOSED",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S F. 5001 1002|5 C . 1002 5002",
        1002,
        5002,
    ),
    (
        "TIME-WAIT/TIME-WAIT",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 C F. 1001 5001|4 S F. 5001 1001|5 S . 5002 1002|6 C . 1002 5002",
        1002,
        5002,
    ),
    (
        "CLOSE-WAIT/FIN-WAIT-2",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 S F. 5001 1001|4 C . 1001 5002",
        1001,
        5002,
    ),
    (
        "LAST-ACK/FIN-WAIT-2",
        "0 C S 1000|1 S S. 5000 1001|2 C . 1001 5001|3 S F. 5001 1001|4 C F. 1001 5002",
        1002,
        5002,
    ),
];

const FLAGS: [&str; 12] = ["S", "S.", ".", "P.", "F.", "R", "R.", "F", "SF", "SR", "FPU", "-"];

#[test]
fn every_state_sender_and_flags() {
    let mut table = String::from(
        "client/server             sender flags  numbers that fit | numbers beyond what was sent\n",
    );
    for (place, story, client, server) in PLACES {
        let story = story.replace('|', "\n");
        let before = run(&story);
        assert_eq!(reached(&before), place, "the way there");
        for sender in ["C", "S"] {
            for flags in FLAGS {
                let (own, other) = if sender == "C" { (client, server) } else { (server, client) };
                // A SYN is sent with the ISN. A segment without ACK has the acknowledgement number 0.
                let seq = if flags.contains('S') && place != "CLOSED/CLOSED" {
                    if sender == "C" { 1000 } else { 5000 }
                } else {
                    own
                };
                let line = |add: u32| {
                    let ack = if flags.contains('.') { other.wrapping_add(add) } else { 0 };
                    format!("10 {sender} {flags} {} {ack}", seq.wrapping_add(add))
                };
                let [fits, beyond] = [0, 500_000].map(|add| told(&story, &line(add)));
                let _ = writeln!(table, "{place:25} {sender:6} {flags:6} {fits} | {beyond}");
            }
        }
    }
    insta::assert_snapshot!("grid", table);
}

/// The states of both ends after a script.
fn reached(run: &Run) -> String {
    let mut states = ["CLOSED"; 2];
    for event in &run.events {
        if let Event::Transition(it) = event {
            states[usize::from(it.endpoint == Role::Server)] = it.to.name();
        }
    }
    states.join("/")
}

/// The events that one more segment causes after a script, in short.
fn told(story: &str, line: &str) -> String {
    let before = Run::new(config()).feed(story).events.len();
    let after = Run::new(config()).feed(story).feed(line);
    let words: Vec<String> = after.events[before..]
        .iter()
        .filter_map(|event| match event {
            Event::Transition(it) => {
                let who = if it.endpoint == Role::Client { "C" } else { "S" };
                let inferred = if it.inferred { "?" } else { "" };
                Some(format!("{who}:{}>{}{inferred}", it.from.name(), it.to.name()))
            }
            Event::Established(_) => Some("established".to_owned()),
            Event::Connection(it) => Some(match (it.outcome, it.partial) {
                (Outcome::Reset, _) => {
                    it.reset_phase.map_or_else(String::new, |phase| format!("reset {phase:?}"))
                }
                (outcome, partial) => {
                    let partial = if partial { " partial" } else { "" };
                    format!("{outcome:?}{partial}").to_lowercase()
                }
            }),
            Event::Anomaly(it) => Some(format!("anomaly {:?}", it.reason)),
            Event::Start(_) | Event::Segment(_) | Event::IcmpError(_) | Event::Stats(_) => None,
        })
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

//! `tcptrace -i IFACE FILTER`: whole connections or nothing of them, chosen in the kernel.

use crate::{
    lab::{Family, Lab},
    trace::{Trace, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use std::collections::HashSet;

type Wanted = fn(&Played) -> bool;

#[test]
fn a_filter_takes_whole_connections_by_their_client() {
    let lab = Lab::new();
    let address = lab.a.ip(Family::V4).to_string();
    let cases: [(&[&str], Wanted); 8] = [
        (&["ip6"], |it| it.family == Family::V6),
        (&["not", "ip6"], |it| it.family == Family::V4),
        (&["outbound"], |it| it.from_a),
        (&["inbound and ip"], |it| !it.from_a && it.family == Family::V4),
        (&["src host", &address], |it| it.from_a && it.family == Family::V4),
        (&["dst host", &address], |it| !it.from_a && it.family == Family::V4),
        (&["host", &address, "and", "tcp"], |it| it.family == Family::V4),
        (&["port 9", "or", "vlan"], |_| false),
    ];
    for (words, wanted) in cases {
        let trace = Trace::start(&lab.a, &[&["--json", "--events", "all"], words].concat());
        let played = play(&lab);
        let expected: HashSet<Flow> = played.iter().filter(|it| wanted(it)).map(|it| it.flow).collect();
        trace.wait_for_connections(expected.len());
        let events = trace.stop().events();
        let stats = last_stats(&events);
        assert_eq!(stats["records_lost"], 0, "{words:?}");
        let told: HashSet<Flow> = of_kind(&events, "connection").map(flow_of).collect();
        assert_eq!(told, expected, "{words:?}");
        assert_eq!(of_kind(&events, "connection").count(), expected.len(), "{words:?}");
        assert!(of_kind(&events, "segment").all(|event| expected.contains(&flow_of(event))), "{words:?}");
        assert_eq!(stats["connections"]["closed"], expected.len(), "{words:?}");
        // What the other end's address and port say alone is left out before it is recorded.
        let synacks = stats["segments"]["synack"].as_u64().expect("a count");
        let ends_told_apart =
            words.iter().any(|word| word.contains("src") || word.contains("dst") || word.contains("bound"));
        if !ends_told_apart {
            assert_eq!(synacks, expected.len() as u64, "{words:?}");
        }
    }
}

struct Played {
    flow: Flow,
    family: Family,
    from_a: bool,
}

/// Both ways in both families.
fn play(lab: &Lab) -> Vec<Played> {
    let mut played = Vec::new();
    for family in Family::BOTH {
        for from_a in [true, false] {
            let (from, to) = if from_a { (&lab.a, &lab.b) } else { (&lab.b, &lab.a) };
            played.push(Played { flow: drive(Kind::ClientCloses, from, to, family), family, from_a });
        }
    }
    played
}

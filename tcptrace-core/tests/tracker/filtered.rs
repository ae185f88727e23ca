//! A filter takes or leaves a connection as a whole.

use super::script::{OPEN, Run, config, run};
use std::net::IpAddr;
use tcptrace_core::{
    event::{Outcome, OutcomeCounts},
    filter::{Filter, Names},
};

const CLOSED: &str = "
    20 C F. 1101 5001
    21 S .  5001 1102
    60 S F. 9001 1102
    61 C .  1102 9002";

/// A resolver that knows no name.
struct NoNames;

impl Names for NoNames {
    fn host(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn port(&self, _: &str) -> Option<u16> {
        None
    }
}

fn filtered(filter: &str, script: &str) -> Run {
    let mut run = Run::new(config());
    run.tracker.set_filter(Filter::compile(filter, &NoNames).expect(filter));
    run.feed(script)
}

#[test]
fn all_of_a_connection_or_nothing() {
    let whole = run(&[OPEN, CLOSED].concat());
    for (filter, taken) in [
        ("port 80", true),
        ("not port 80", false),
        // The client is the source, also of what the server sends.
        ("src host 192.0.2.1", true),
        ("dst host 192.0.2.1", false),
        ("dst port 80 and dst host 192.0.2.2", true),
        ("src port 80", false),
        // The direction of these segments is not known.
        ("outbound", false),
    ] {
        let run = filtered(filter, &[OPEN, CLOSED].concat());
        let expected = if taken { &whole.events[..] } else { &[] };
        assert_eq!(run.events, expected, "{filter}");
        let closed = OutcomeCounts { closed: u64::from(taken), ..OutcomeCounts::default() };
        assert_eq!(run.tracker.counts(), closed, "{filter}");
    }
}

#[test]
fn what_is_not_taken_is_not_open() {
    assert_eq!(filtered("src port 80", OPEN).tracker.open(), 0);
    assert_eq!(filtered("dst port 80", OPEN).tracker.open(), 1);
}

#[test]
fn a_connection_met_late_goes_by_the_guess_at_its_client() {
    let synack = "0 S S. 5000 1001\n1 C . 1001 5001";
    assert_eq!(filtered("src host 192.0.2.1", synack).finish("2").connections().len(), 1);
    assert_eq!(filtered("src host 192.0.2.2", synack).finish("2").connections().len(), 0);
    let fin = "0 S F. 5001 1001";
    let r = filtered("src host 192.0.2.1", fin).finish("2");
    assert_eq!((r.only().outcome, r.only().direction_inferred), (Outcome::Open, true));
    assert_eq!(filtered("src host 192.0.2.2", fin).finish("2").connections().len(), 0);
}

#[test]
fn the_way_of_a_connection_met_by_an_icmp_error_is_that_of_what_it_quotes() {
    let error = "5 R icmp 3/13 from 192.0.2.77 quotes C S 1000";
    for (vantage, outbound) in [("client", 1), ("server", 0)] {
        let script = format!("vantage {vantage}\n{error}");
        let found = |filter| filtered(filter, &script).finish("9000").connections().len();
        assert_eq!((found("outbound"), found("inbound")), (outbound, 1 - outbound), "{vantage}");
        // A connection whose SYN was seen has the same direction.
        let script = format!("vantage {vantage}\n0 C S 1000\n{error}");
        let found = |filter| filtered(filter, &script).finish("9000").connections().len();
        assert_eq!((found("outbound"), found("inbound")), (outbound, 1 - outbound), "{vantage}");
    }
}

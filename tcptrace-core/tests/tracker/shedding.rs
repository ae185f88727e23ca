//! A connection whose segments may have been shed is not reported as complete.

use super::script::{OPEN, Run, config};
use tcptrace_common::admission::Admission;
use tcptrace_core::segment::{AdmissionChange, Input, Timestamp};
use tcptrace_testing::script::{Script, Step};

const CLOSED: &str = "
    20 C F. 1101 5001
    21 S .  5001 1102
    60 S F. 9001 1102
    61 C .  1102 9002";

/// The time of a line of a script.
fn at(ms: u64) -> Timestamp {
    tcptrace_testing::script::START.plus(ms * 1_000_000)
}

impl Run {
    /// A connection whose lot is the lowest that half of all does not take.
    fn draws_high(self, script: &str) -> Self {
        let script = Script::parse(script).unwrap_or_else(|error| panic!("{error}"));
        script.steps().fold(self, |run, step| match step {
            Step::Input(Input::Segment(segment)) => {
                let mut segment = segment.clone();
                segment.lot = 0x8000_0000;
                run.input(&Input::Segment(segment))
            }
            Step::Input(tick @ Input::Tick(_)) => run.input(tick),
            other => panic!("{other:?}"),
        })
    }

    fn admits(self, n: u32, ms: u64) -> Self {
        self.input(&Input::Admission(AdmissionChange { ts: at(ms), admission: Admission::one_in(n) }))
    }
}

fn fresh() -> Run {
    Run::new(config())
}

#[test]
fn a_connection_that_is_no_longer_admitted_is_incomplete() {
    let run = fresh().draws_high(OPEN).admits(2, 15).draws_high(CLOSED);
    assert!(!run.only().common.complete, "its FIN may have been shed");
    let run = fresh().feed(OPEN).admits(2, 15).feed(CLOSED);
    assert!(run.only().common.complete, "its lot is low");
    let run = fresh().draws_high(&[OPEN, CLOSED].concat()).admits(2, 70);
    assert!(run.only().common.complete, "it was over");
}

#[test]
fn a_connection_that_came_on_the_way_back_up_may_have_begun_before() {
    let late =
        |ms: u64| format!("{ms} C S 1000\n+10 S S. 5000 1001\n+1 C . 1001 5001\n+5 C R 1001\n+2s tick");
    // Half of the connections, then all: a SYN soon after that may be one that was sent again.
    let run = fresh().admits(2, 1).admits(1, 1_000).draws_high(&late(2_000));
    assert!(!run.only().common.complete);
    // A SYN is sent again for so long, and not longer.
    let run = fresh().admits(2, 1).admits(1, 1_000).draws_high(&late(80_000));
    assert!(run.only().common.complete);
    // A connection whose first segment is not its SYN can be of any age.
    let run = fresh().admits(2, 1).admits(1, 1_000).draws_high("80000 C F. 1 1\n+1 S R 1\n+2s tick");
    assert!(!run.only().common.complete);
}

#[test]
fn while_few_are_admitted_those_are_complete() {
    let run = fresh().admits(4, 0).feed(&[OPEN, CLOSED].concat());
    assert!(run.only().common.complete);
    // A record can be made before the programs hear of the change, and be read after it.
    let run = fresh().admits(2, 0).draws_high(&[OPEN, CLOSED].concat());
    assert!(!run.only().common.complete);
}

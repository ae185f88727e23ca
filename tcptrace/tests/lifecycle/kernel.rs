//! The files as packets, through the loaded kernel programs. Needs root and BPF: without them these tests fail.

use crate::{
    cases::{Case, Cases},
    packet,
    packets::{BUCKETS, same},
};
use libtest_mimic::{Failed, Trial};
use std::sync::{Arc, Mutex};
use tcptrace::{
    decode,
    kernel::testing::test_run::{Harness, Program},
    script::Level,
    segment::{Direction, Input, Observation},
};
use tcptrace_common::flow::known_seeds;

const RING_BYTES: u32 = 1 << 16;

/// `BPF_PROG_TEST_RUN` gives a packet the namespace's loopback device, which is number 1.
const LOOPBACK: u32 = 1;

/// Loaded programs that wait for the next file: the verifier takes longer than any of them.
type Pool = Arc<Mutex<Vec<Harness>>>;

pub(crate) fn trials(cases: &Cases) -> Vec<Trial> {
    let pool = Pool::default();
    let mut trials = Vec::new();
    for case in cases.iter().filter(|case| case.has_level(Level::Kernel)) {
        for (name, ingress) in [("tc", Program::TcIngress), ("xdp", Program::Xdp)] {
            let (case, pool) = (Arc::clone(case), Arc::clone(&pool));
            trials.push(Trial::test(format!("{name}: {}", case.name), move || play(&case, ingress, &pool)));
        }
    }
    trials
}

fn play(case: &Case, ingress: Program, pool: &Pool) -> Result<(), Failed> {
    let spare = pool.lock().map_err(|error| error.to_string())?.pop();
    let mut harness = match spare {
        Some(harness) => harness,
        None => Harness::load(&known_seeds(0), BUCKETS, RING_BYTES)
            .map_err(|error| format!("these tests need root and BPF: {error}"))?,
    };
    harness.clear()?;
    case.play(|input| see(&mut harness, ingress, input))?;
    pool.lock().map_err(|error| error.to_string())?.push(harness);
    Ok(())
}

/// The input that is left of it, if it is recorded at all.
fn see(harness: &mut Harness, ingress: Program, input: &Input) -> Result<Option<Input>, String> {
    let Some(what) = input.observation() else { return Ok(Some(input.clone())) };
    if what.segment().flow.interface != LOOPBACK {
        return Err("a test run has only one interface".to_owned());
    }
    record(harness, ingress, &what)?.map(|recorded| same(&what, recorded)).transpose()
}

/// Shows one packet to the program of its direction; what that recorded.
fn record(
    harness: &mut Harness,
    ingress: Program,
    what: &Observation,
) -> Result<Option<Observation>, String> {
    let program = if what.segment().direction == Direction::Egress { Program::TcEgress } else { ingress };
    harness.run(program, &packet::of(what), None, 1).map_err(|error| error.to_string())?;
    let records = harness.drain().map_err(|error| error.to_string())?;
    match &records[..] {
        [] => Ok(None),
        [bytes] => decode::record(bytes).map(|record| Some(record.what)).map_err(|error| error.to_string()),
        more => Err(format!("{} records of one packet", more.len())),
    }
}

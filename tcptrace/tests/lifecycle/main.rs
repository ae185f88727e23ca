//! The stories in `tcptrace-testing/stories` as packets through the loaded kernel programs. Needs root and BPF: without them
//! these tests fail. `tcptrace-core/tests/lifecycle` plays them in user space.

use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};
use tcptrace::{
    decode,
    segment::{Direction, Input, Observation},
};
use tcptrace_common::{flow::known_seeds, wire::tunnel::Decap};
use tcptrace_testing::kernel::test_run::{Harness, Program};
use tcptrace_testing::{
    packet::{self, BUCKETS, check_recorded},
    script::Level,
    stories::{self, Stories, Story},
};

const RING_BYTES: u32 = 1 << 16;

/// `BPF_PROG_TEST_RUN` gives a packet the namespace's loopback device, which is number 1.
const LOOPBACK: u32 = 1;

/// Loaded programs that wait for the next file: the verifier takes longer than any of them.
type Pool = Arc<Mutex<Vec<Harness>>>;

/// The pools of programs, without and with the first data of each direction.
type Pools = [Pool; 2];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials(&stories::all())).exit_code()
}

fn trials(stories: &Stories) -> Vec<Trial> {
    let pools = Pools::default();
    let mut trials = Vec::new();
    for story in stories.iter().filter(|story| story.has_level(Level::Kernel)) {
        for (name, ingress) in [("tc", Program::TcIngress), ("xdp", Program::Xdp)] {
            let (story, pools) = (Arc::clone(story), pools.clone());
            trials
                .push(Trial::test(format!("{name}: {}", story.name), move || play(&story, ingress, &pools)));
        }
    }
    trials
}

fn play(story: &Story, ingress: Program, pools: &Pools) -> Result<(), Failed> {
    let first_byte = story.script()?.scene().config.first_byte;
    let pool = &pools[usize::from(first_byte)];
    let spare = pool.lock().map_err(|error| error.to_string())?.pop();
    let mut harness = match spare {
        Some(harness) => harness,
        None if first_byte => {
            Harness::load_with_first_byte(&known_seeds(0), BUCKETS, RING_BYTES, &Decap::NONE)
                .map_err(|error| format!("these tests need root and BPF: {error}"))?
        }
        None => Harness::load(&known_seeds(0), BUCKETS, RING_BYTES)
            .map_err(|error| format!("these tests need root and BPF: {error}"))?,
    };
    harness.clear()?;
    story.play(|input| see(&mut harness, ingress, input))?;
    pool.lock().map_err(|error| error.to_string())?.push(harness);
    Ok(())
}

/// The input that is left of it, if it is recorded at all.
fn see(harness: &mut Harness, ingress: Program, input: &Input) -> Result<Option<Input>, String> {
    let Some(what) = input.observation() else { return Ok(Some(input.clone())) };
    if what.segment().flow.interface != LOOPBACK {
        return Err("a test run has only one interface".to_owned());
    }
    record(harness, ingress, &what)?.map(|recorded| check_recorded(&what, recorded)).transpose()
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

//! Would a ring for each CPU pay? Two CPUs make records as fast as they can, each into a ring of its own or both into one.

use crate::{
    packets::{Frame, Rng},
    report::{Samples, Table},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};
use std::{array, error::Error, sync::Barrier, thread};
use tcptrace_common::abi::SEED_WORDS;
use tcptrace_testing::kernel::test_run::{Harness, Program};

const ROUNDS: usize = 51;
/// Records of one producer in a round, some milliseconds of them.
const RECORDS: u32 = 40_000;
/// Holds those of two producers, 136 bytes each.
const RING: u32 = 16 << 20;

pub(crate) const FOOTNOTE: &str = "\
SYNs through TC by BPF_PROG_TEST_RUN on two CPUs at once, one flow each, nobody reading meanwhile; medians (least..most) of
51 rounds in turns. Two rings are two copies of everything, so the last row over the one before is all that rings for each
CPU could save, at a rate that is nothing but records.";

/// Who makes records, and where to.
struct Way {
    name: &'static str,
    /// The copy of the programs that each producer uses.
    copies: &'static [usize],
}

const WAYS: [Way; 3] = [
    Way { name: "one CPU", copies: &[0] },
    Way { name: "two CPUs, a ring each", copies: &[0, 1] },
    Way { name: "two CPUs, one ring", copies: &[0, 0] },
];

pub(crate) fn measure() -> Result<Value, Box<dyn Error>> {
    let mut rng = Rng(1);
    let seeds: [u64; SEED_WORDS] = array::from_fn(|_| rng.next());
    let mut copies = [Harness::load(&seeds, 1 << 16, RING)?, Harness::load(&seeds, 1 << 16, RING)?];
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let &[first, second, ..] = &cpus[..] else {
        return Err("two producers need two CPUs, and this process may use one only".into());
    };
    let mut times = WAYS.map(|_| Samples::default());
    for _ in 0..ROUNDS {
        for (way, times) in WAYS.iter().zip(&mut times) {
            for mean in together(&copies, way.copies, [first, second])? {
                times.push(mean);
            }
            for copy in &mut copies {
                copy.discard()?;
            }
        }
    }
    for copy in &copies {
        let lost: u64 = copy.counters()?.ring_full.iter().sum();
        if lost > 0 {
            return Err(format!("{lost} records did not fit, which cost less").into());
        }
    }
    let mut table = Table::new(&["producers", "ns a record", "million/s of all"]);
    for (way, times) in WAYS.iter().zip(&times) {
        let producers = u32::try_from(way.copies.len())?;
        let rate = f64::from(producers) * 1e3 / times.median();
        table.row([way.name.to_owned(), times.show(0), format!("{rate:.1}")]);
    }
    print!("{table}");
    let rows =
        WAYS.iter().zip(&times).map(|(way, times)| json!({ "producers": way.name, "ns": times.json() }));
    Ok(json!({ "rows": rows.collect::<Vec<_>>(), "note": FOOTNOTE }))
}

/// A round: each producer on a CPU of its own, all at once. Nanoseconds a record of each.
fn together(
    copies: &[Harness; 2],
    producers: &[usize],
    cpus: [usize; 2],
) -> Result<Vec<f64>, Box<dyn Error>> {
    let start = Barrier::new(producers.len());
    let one = |copy: usize, cpu: usize, port: u16| -> Result<f64, String> {
        let mut set = CpuSet::new();
        set.set(cpu);
        let pinned = sched_setaffinity(None, &set);
        let packet = Frame { src_port: port, options: vec![1; 20], flags: 0x02, ..Frame::default() }.bytes();
        // All wait, whether or not this one can go on.
        start.wait();
        pinned.map_err(|error| format!("CPU {cpu}: {error}"))?;
        let outcome = copies[copy].run(Program::TcIngress, &packet, None, RECORDS);
        let nanoseconds = outcome.map_err(|error| error.to_string())?.nanoseconds;
        Ok(f64::from(u32::try_from(nanoseconds).unwrap_or(u32::MAX)))
    };
    let one = &one;
    thread::scope(|scope| {
        let threads: Vec<_> = producers
            .iter()
            .zip(cpus)
            .zip(40_000..)
            .map(|((&copy, cpu), port)| scope.spawn(move || one(copy, cpu, port)))
            .collect();
        let done =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a producer panicked".to_owned())?);
        Ok(done.collect::<Result<_, String>>()?)
    })
}

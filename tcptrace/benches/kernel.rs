//! What a packet costs in the kernel programs, by `BPF_PROG_TEST_RUN`, against the shortest way through the same
//! program: a packet that is not IP. Interleaved rounds, medians. Needs root.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[expect(dead_code, missing_docs, clippy::cast_possible_truncation, reason = "shared with the tests")]
#[path = "../tests/packets/mod.rs"]
mod packets;

use packets::{Frame, Rng};
use std::error::Error;
use tcptrace::kernel::test_run::{Harness, Program, empty};
use tcptrace_common::abi::SEED_WORDS;

const ROUNDS: usize = 9;
const REPEAT: u32 = 2_000_000;

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = Rng(1);
    let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
    // A ring that is full soon: a record costs what it costs to make it, and to be refused.
    let mut harness = Harness::load(&seeds, 1 << 16, 1 << 24)?;
    let data = Frame { flags: 0x18, payload: 500, ..Frame::default() };
    let packets = [
        ("data, IPv4", data.bytes(), REPEAT),
        ("data, IPv6", Frame { ipv6: true, ..data.clone() }.bytes(), REPEAT),
        ("data, IPv4, VLAN", Frame { vlans: vec![5], ..data.clone() }.bytes(), REPEAT),
        ("data, IPv6, VLAN", Frame { vlans: vec![5], ipv6: true, ..data }.bytes(), REPEAT),
        ("SYN, record", Frame { flags: 2, options: vec![1; 20], ..Frame::default() }.bytes(), 100_000),
        ("SYN-ACK, record", Frame { flags: 0x12, options: vec![1; 20], ..Frame::default() }.bytes(), 100_000),
        ("FIN, record", Frame { flags: 0x11, ..Frame::default() }.bytes(), 100_000),
    ];
    println!("{:<8} {:<18} {:>6} {:>6} {:>6}", "hook", "packet", "ns", "empty", "over");
    for (hook, program) in [("tc", Program::TcIngress), ("xdp", Program::Xdp)] {
        let nothing = empty(program)?;
        let mut ours = vec![Vec::new(); packets.len()];
        let mut base = vec![Vec::new(); packets.len()];
        for _ in 0..ROUNDS {
            for (place, (_, bytes, repeat)) in packets.iter().enumerate() {
                base[place].push(nothing.run(bytes, *repeat)?.nanoseconds);
                ours[place].push(harness.run(program, bytes, None, *repeat)?.nanoseconds);
                harness.drain()?;
            }
        }
        for (place, (name, ..)) in packets.iter().enumerate() {
            let (ours, base) = (median(ours[place].clone()), median(base[place].clone()));
            println!("{hook:<8} {name:<18} {ours:>6} {base:>6} {:>6}", ours.saturating_sub(base));
        }
        println!("{hook:<8} verifier walked {:?} instructions", harness.verified_instructions(program)?);
    }
    Ok(())
}

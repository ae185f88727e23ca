//! Two CPUs in one bucket of the pending table at the same time.

use crate::packets::{Frame, Rng};
use std::{sync::Barrier, thread};
use tcptrace_common::abi::{RecordKind, SEED_WORDS};
use tcptrace_testing::kernel::test_run::{Harness, Program};

/// Handshakes of each CPU.
const ROUNDS: u64 = 20_000;

/// A SYN-ACK, its acknowledgement, and data, by which the bucket is found empty again.
fn handshake(src_port: u16) -> [Vec<u8>; 3] {
    let client = Frame { src_port, seq: 1001, ack: 5001, flags: 0x10, ..Frame::default() };
    let server = Frame { seq: 5000, ack: 1001, flags: 0x12, ..client.reversed() };
    let data = Frame { flags: 0x18, payload: 100, ..client.clone() };
    [server, client, data].map(|frame| frame.bytes())
}

fn run(harness: &Harness, packet: &[u8]) {
    harness.run(Program::TcIngress, packet, None, 1).unwrap_or_else(|error| panic!("{error}"));
}

/// The slot that the word of a connection goes to in the only bucket there is.
fn slot(harness: &mut Harness, src_port: u16) -> usize {
    run(harness, &handshake(src_port)[0]);
    let table = harness.pending().unwrap_or_else(|error| panic!("{error}"));
    harness.clear().unwrap_or_else(|error| panic!("{error}"));
    table[0].iter().position(|&word| word != 0).expect("a SYN-ACK announces its acknowledgement")
}

#[test]
fn two_cpus_in_one_bucket_miss_no_acknowledgement() {
    let mut rng = Rng(0x5eed);
    let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
    let mut harness = Harness::load(&seeds, 1, 1 << 20)
        .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"));
    // In one slot they could take each other's word, which is known and counted for nothing here.
    let first = slot(&mut harness, 40_000);
    let other =
        (40_001..40_100).find(|&port| slot(&mut harness, port) != first).expect("flows differ in slots");
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for packets in [40_000, other].map(handshake) {
            let (harness, start) = (&harness, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..ROUNDS {
                    for packet in &packets {
                        run(harness, packet);
                    }
                }
            });
        }
    });
    let counters = harness.counters().unwrap_or_else(|error| panic!("{error}"));
    // The ring is full soon; that is not the question.
    let made = |kind: RecordKind| counters.emitted[kind.index()] + counters.ring_full[kind.index()];
    assert_eq!((made(RecordKind::SynAck), made(RecordKind::Ack)), (2 * ROUNDS, 2 * ROUNDS));
    assert_eq!(counters.pending_overwrites, 0);
}

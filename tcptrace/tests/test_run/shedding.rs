//! Admission in the kernel programs: whole connections are left out, counted, and leave no trace in the table.

use crate::packets::{Frame, Rng};
use tcptrace::decode;
use tcptrace_common::{
    abi::{RecordKind, SEED_WORDS},
    admission::Admission,
};
use tcptrace_testing::kernel::test_run::{Harness, Program};

fn load() -> Harness {
    let mut rng = Rng(0x5eed);
    let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
    Harness::load(&seeds, 64, 1 << 20)
        .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"))
}

const SYN: u16 = 2;
const ACK: u16 = 0x10;

/// The kinds of records that the life of a connection makes, and whether the lot is the same in all that have one.
fn life(harness: &mut Harness, program: Program, src_port: u16) -> (Vec<RecordKind>, bool) {
    let client = Frame { src_port, seq: 1000, ack: 5001, ..Frame::default() };
    let server = Frame {
        src: client.dst,
        dst: client.src,
        src_port: client.dst_port,
        dst_port: src_port,
        seq: 5000,
        ack: 1001,
        ..Frame::default()
    };
    for frame in [
        Frame { flags: SYN, ..client.clone() },
        Frame { flags: SYN | ACK, ..server.clone() },
        Frame { flags: ACK, seq: 1001, ..client.clone() },
        Frame { flags: 1 | ACK, seq: 1001, ..client.clone() },
        Frame { flags: ACK, seq: 5001, ack: 1002, ..server.clone() },
        Frame { flags: 4, seq: 5001, ..server },
    ] {
        harness.run(program, &frame.bytes(), None, 1).unwrap_or_else(|error| panic!("{error}"));
    }
    let records: Vec<_> = harness
        .drain()
        .unwrap_or_else(|error| panic!("{error}"))
        .iter()
        .map(|bytes| decode::record(bytes).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let lots: Vec<u32> = records
        .iter()
        .filter(|record| record.kind != RecordKind::Ack)
        .map(|record| record.what.segment().lot)
        .collect();
    (records.iter().map(|record| record.kind).collect(), lots.windows(2).all(|pair| pair[0] == pair[1]))
}

#[test]
fn all_of_a_connection_or_none() {
    for program in [Program::TcIngress, Program::TcEgress, Program::Xdp] {
        let mut harness = load();
        harness.set_admission(Admission::one_in(4)).unwrap_or_else(|error| panic!("{error}"));
        let mut admitted = 0;
        let lives = 400;
        for port in 0..lives {
            let (kinds, same) = life(&mut harness, program, 2000 + port);
            assert!(same, "one lot for both directions");
            if !kinds.is_empty() {
                let whole = [
                    RecordKind::Syn,
                    RecordKind::SynAck,
                    RecordKind::Ack,
                    RecordKind::Fin,
                    RecordKind::Ack,
                    RecordKind::Rst,
                ];
                assert_eq!(kinds, whole, "{program:?} port {port}");
                admitted += 1;
            }
        }
        // 100 are expected, with a standard deviation below 9.
        assert!((50..=150).contains(&admitted), "{program:?}: {admitted} of {lives}");
        let counters = harness.counters().unwrap_or_else(|error| panic!("{error}"));
        for kind in [RecordKind::Syn, RecordKind::SynAck, RecordKind::Fin, RecordKind::Rst] {
            let at = kind.index();
            assert_eq!(counters.emitted[at], admitted, "{kind:?}");
            assert_eq!(counters.emitted[at] + counters.shed[at], u64::from(lives), "{kind:?}");
        }
        assert_eq!(counters.shed[RecordKind::Ack.index()], 0);
        assert_eq!(counters.pending_overwrites, 0, "what is shed takes no place in the table");
    }
}

#[test]
fn next_to_nothing_and_then_all() {
    let mut harness = load();
    harness.set_admission(Admission(0)).unwrap_or_else(|error| panic!("{error}"));
    for port in 0..50 {
        assert_eq!(life(&mut harness, Program::TcIngress, 3000 + port).0, [], "one in four thousand million");
    }
    harness.set_admission(Admission::ALL).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(life(&mut harness, Program::TcIngress, 3000).0.len(), 6);
}

//! The kernel programs beside the same code in user space.

use crate::packets::Rng;
use std::sync::{Mutex, PoisonError};
use tcptrace::{
    decode,
    parse::{Parser, Tunnels},
};
use tcptrace_common::{
    abi::SEED_WORDS,
    record::Sighting,
    wire::{Bytes, Link, tunnel::Decap},
};
use tcptrace_testing::kernel::test_run::{Harness, Program};

/// The ring holds one record at most. Each look into it maps all of it anew, which for a large one takes longer than the run.
const RING_BYTES: u32 = 1 << 12;

/// What programs are loaded for: the size of their table, and the tunnels that they look into.
type Purpose = (u32, Decap);

/// Loaded programs that wait for the next pair: the verifier takes longer than most tests do. A test that failed does not
/// give its programs back.
static SPARE: Mutex<Vec<(Purpose, Harness)>> = Mutex::new(Vec::new());

/// Both sides, to be fed the same packets.
pub(crate) struct Pair {
    pub(crate) harness: Harness,
    pub(crate) parser: Parser,
    program: Program,
    purpose: Purpose,
    sighting: Sighting,
    runs: u64,
}

impl Pair {
    pub(crate) fn new(program: Program, buckets: u32) -> Self {
        Self::with_decap(program, buckets, &Decap::NONE)
    }

    /// Both looking into these tunnels, one level.
    pub(crate) fn with_decap(program: Program, buckets: u32, decap: &Decap) -> Self {
        let mut rng = Rng(0x5eed);
        let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
        let purpose = (buckets, *decap);
        let harness = spare(&purpose).unwrap_or_else(|| {
            Harness::load_with_decap(&seeds, buckets, RING_BYTES, decap)
                .unwrap_or_else(|error| panic!("these tests need root and BPF: {error}"))
        });
        let egress = matches!(program, Program::TcEgress | Program::TcEgressL3);
        // BPF_PROG_TEST_RUN gives a packet the namespace's loopback device, which is number 1.
        let sighting = Sighting { ifindex: 1, egress, forwarded: false };
        let mut parser = Parser::new(buckets as usize, seeds);
        parser.set_tunnels(Tunnels { decap: *decap, levels: 1 });
        Self { harness, parser, program, purpose, sighting, runs: 0 }
    }

    pub(crate) fn link(&self) -> Link {
        if matches!(self.program, Program::TcIngressL3 | Program::TcEgressL3) {
            Link::Ip
        } else {
            Link::Ethernet
        }
    }

    /// Shows one packet to both, and demands the same record or none.
    pub(crate) fn show(&mut self, name: &str, packet: &[u8]) -> Option<decode::Record> {
        self.runs += 1;
        let outcome =
            self.harness.run(self.program, packet, None, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let pass = if self.program == Program::Xdp { 2 } else { u32::MAX };
        assert_eq!(outcome.verdict, pass, "{name}: the packet must pass");
        let records = self.harness.drain().unwrap_or_else(|error| panic!("{name}: {error}"));
        let kernel: Vec<decode::Record> = records
            .iter()
            .map(|bytes| decode::record(bytes).unwrap_or_else(|error| panic!("{name}: {error}")))
            .collect();
        let ours = self.parser.packet(self.link(), Bytes::whole(packet), None, 0, self.sighting);
        assert!(kernel.len() <= 1, "{name}: {kernel:?}");
        let same = kernel.first().map(|record| {
            assert!(record.what.segment().ts.0 > 0, "{name}: no time");
            // What only the kernel knows; its numbers are per CPU and looked at elsewhere.
            let mut record = record.clone();
            record.what.segment_mut().ts.0 = 0;
            record.what.segment_mut().lot = 0;
            record.cpu = 0;
            record.number = 0;
            record
        });
        let expected = ours.map(|record| decode::Record { number: 0, ..record });
        assert_eq!(same, expected, "{name}: {packet:02x?}");
        kernel.first().cloned()
    }

    /// Shows a packet that many times, each time with four bytes from `start` on changed at random.
    pub(crate) fn show_tampered(&mut self, rng: &mut Rng, packet: &[u8], start: usize, times: usize) {
        for _ in 0..times {
            let mut packet = packet.to_vec();
            for _ in 0..4 {
                let at = start + rng.below(packet.len() - start);
                packet[at] = rng.below(256) as u8;
            }
            self.show("four bytes changed", &packet);
        }
    }

    /// All counters are equal in the end.
    pub(crate) fn finish(self) {
        let kernel = self.harness.counters().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(kernel.packets, self.runs);
        assert_eq!(&kernel, self.parser.counters());
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push((self.purpose, self.harness));
    }
}

/// Programs that were loaded for the same, with nothing left in their tables and counters.
fn spare(purpose: &Purpose) -> Option<Harness> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = spare.iter().position(|(loaded, _)| loaded == purpose)?;
    let (_, mut harness) = spare.swap_remove(place);
    drop(spare);
    harness.clear().unwrap_or_else(|error| panic!("cannot clear the tables: {error}"));
    Some(harness)
}

//! The kernel programs over the packets of the captures, compared record by record with the same code in user space.
//! Needs root and BPF: without them these tests fail.

use super::{
    corpus::Corpus,
    tally::{Fit, Tables},
};
use libtest_mimic::{Failed, Trial};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tcptrace::{
    decode,
    parse::{Parser, Tunnels},
    source::pcap::{LinkType, Packet, Reader},
};
use tcptrace_common::{
    abi::SEED_WORDS,
    record::Sighting,
    wire::{Bytes, Link, tunnel::Decap},
};
use tcptrace_testing::kernel::test_run::{Harness, Program};

const BUCKETS: u32 = 1 << 8;
const RING_BYTES: u32 = 1 << 20;
const SEEDS: [u64; SEED_WORDS] = [0x5eed; SEED_WORDS];
/// Packets between two looks into the ring, whose records stay in order. It is long enough for as many.
const BATCH: usize = 1024;
/// No kernel takes more than a page as a test packet's linear part (`net/bpf/test_run.c`).
const PAGE: usize = 4096;

/// Loaded programs that wait for the next capture, without tunnels and with all: the verifier takes longer than most
/// captures do.
type Pool = Arc<Mutex<[Vec<Harness>; 2]>>;

pub(crate) fn trials(corpus: &Corpus, tables: &Tables) -> Vec<Trial> {
    let captures = corpus.captures().into_iter().filter(|capture| capture.format != "snoop");
    let all: Vec<(String, PathBuf)> =
        captures.map(|capture| (capture.name.clone(), corpus.capture(&capture.name))).collect();
    let pool = Pool::default();
    let mut trials = Vec::new();
    for (name, path) in all {
        let pool = Arc::clone(&pool);
        let fits = tables.packets.clone();
        trials.push(Trial::test(format!("kernel: {name}"), move || {
            fits.add(&compare(&path, &pool)?)?;
            Ok(())
        }));
    }
    trials
}

/// Shows every packet to the TC program, then to the XDP program, each with a table of its own; and all that once more with
/// tunnels looked into.
fn compare(path: &Path, pool: &Pool) -> Result<Vec<Fit>, Failed> {
    let mut fits = Vec::new();
    for (place, decap) in [Decap::NONE, Decap::all()].into_iter().enumerate() {
        for programs in [[Program::TcIngress, Program::TcIngressL3].as_slice(), &[Program::Xdp]] {
            let spare = pool.lock().map_err(|error| error.to_string())?[place].pop();
            let mut pair = Pair::new(programs, decap, spare)?;
            let mut reader = Reader::open(path)?;
            while let Some(packet) = reader.next()? {
                fits.push(pair.show(&packet)?);
            }
            let harness = pair.finish()?;
            pool.lock().map_err(|error| error.to_string())?[place].push(harness);
        }
    }
    Ok(fits)
}

/// Both sides, to be shown the same packets.
struct Pair<'a> {
    harness: Harness,
    parser: Parser,
    programs: &'a [Program],
    /// The longest packet that each program can be shown.
    longest: Vec<usize>,
    /// Records of the parser that the kernel's were not yet compared with.
    expected: Vec<(u64, decode::Record)>,
    shown: usize,
    number: u64,
}

impl<'a> Pair<'a> {
    fn new(programs: &'a [Program], decap: Decap, spare: Option<Harness>) -> Result<Self, Failed> {
        let mut harness = match spare {
            Some(harness) => harness,
            None => Harness::load_with_decap(&SEEDS, BUCKETS, RING_BYTES, &decap)
                .map_err(|error| format!("these tests need root and BPF: {error}"))?,
        };
        let longest = programs.iter().map(|&program| longest(&harness, program)).collect();
        harness.clear()?;
        let mut parser = Parser::new(BUCKETS as usize, SEEDS);
        parser.set_tunnels(Tunnels { decap, levels: 1 });
        Ok(Self { harness, parser, programs, longest, expected: Vec::new(), shown: 0, number: 0 })
    }

    /// Shows one packet to both, if the kernel takes it.
    fn show(&mut self, packet: &Packet<'_>) -> Result<Fit, Failed> {
        self.number += 1;
        let link = match packet.link {
            LinkType::ETHERNET => Link::Ethernet,
            LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
                Link::Ip
            }
            _ => return Ok(Fit::LinkType),
        };
        let of_link = |program: &Program| (*program == Program::TcIngressL3) == (link == Link::Ip);
        let Some(place) = self.programs.iter().position(of_link) else { return Ok(Fit::LinkType) };
        let program = self.programs[place];
        if packet.data.len() != packet.original_len as usize {
            return Ok(Fit::CutShort);
        }
        if packet.data.len() > self.longest[place] {
            return Ok(Fit::TooLong);
        }
        if packet.data.len() < shortest(program, packet.data) {
            return Ok(Fit::TooShort);
        }
        let outcome = self
            .harness
            .run(program, packet.data, None, 1)
            .map_err(|error| format!("packet {}, {} octets: {error}", self.number, packet.data.len()))?;
        let pass = if program == Program::Xdp { 2 } else { u32::MAX };
        if outcome.verdict != pass {
            return Err(format!("packet {} does not pass: {}", self.number, outcome.verdict).into());
        }
        // BPF_PROG_TEST_RUN gives a packet the namespace's loopback device, which is number 1.
        let seen = Sighting { ifindex: 1, egress: false, forwarded: false };
        let record = self.parser.packet(link, Bytes::whole(packet.data), None, 0, seen);
        self.expected.extend(record.map(|record| (self.number, decode::Record { number: 0, ..record })));
        self.shown += 1;
        if self.shown.is_multiple_of(BATCH) {
            self.check()?;
        }
        Ok(if program == Program::Xdp { Fit::Xdp } else { Fit::Tc })
    }

    /// The records that are in the ring are those that are expected, in their order.
    fn check(&mut self) -> Result<(), Failed> {
        let mut kernel = Vec::new();
        for bytes in self.harness.drain()? {
            // What only the kernel knows.
            let mut record = decode::record(&bytes)?;
            record.what.segment_mut().ts.0 = 0;
            record.what.segment_mut().lot = 0;
            record.cpu = 0;
            record.number = 0;
            kernel.push(record);
        }
        for ((number, ours), theirs) in self.expected.iter().zip(&kernel) {
            if ours != theirs {
                return Err(format!("packet {number}: {theirs:?}, not {ours:?}").into());
            }
        }
        if kernel.len() != self.expected.len() {
            let (theirs, ours) = (kernel.len(), self.expected.len());
            return Err(format!("{theirs} records up to packet {}, not {ours}", self.number).into());
        }
        self.expected.clear();
        Ok(())
    }

    /// The counters and the tables are equal in the end.
    fn finish(mut self) -> Result<Harness, Failed> {
        self.check()?;
        let counters = self.harness.counters()?;
        if counters != *self.parser.counters() {
            return Err(format!("{counters:?}, not {:?}", self.parser.counters()).into());
        }
        let ours = self.parser.table().iter().map(|bucket| bucket.words);
        if self.harness.pending()?.into_iter().ne(ours) {
            return Err("the pending-ACK tables differ".into());
        }
        Ok(self.harness)
    }
}

/// The kernel refuses for TC what ends within an untagged packet's IP header (`net/bpf/test_run.c`,
/// `bpf_prog_test_run_skb`), and everything that is shorter than an Ethernet header.
fn shortest(program: Program, packet: &[u8]) -> usize {
    match (program, packet.get(12..14)) {
        (Program::Xdp, _) => 14,
        (_, Some([0x08, 0x00])) => 14 + 20,
        (_, Some([0x86, 0xdd])) => 14 + 40,
        _ => 15,
    }
}

/// How much the kernel takes depends on its version and on the program's type.
fn longest(harness: &Harness, program: Program) -> usize {
    let takes = |len: usize| harness.run(program, &vec![0; len], None, 1).is_ok();
    let (mut taken, mut refused) = (64, PAGE + 1);
    while refused - taken > 1 {
        let middle = usize::midpoint(taken, refused);
        if takes(middle) { taken = middle } else { refused = middle }
    }
    taken
}

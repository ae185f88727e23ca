//! A test that flows which somebody chooses to crowd the pending-ACK table, without knowing the seeds, do no more harm
//! than random flows.

extern crate std;

use super::announce;
use crate::{
    abi::{Bucket, Record, SEED_WORDS},
    flow::{FlowKey, V4, known_seeds},
    tcp::TcpFlags,
};
use std::{eprintln, vec, vec::Vec};

const BUCKETS: usize = 4096;
/// How many flows there are: half of what the table holds, so four words in a bucket of eight on average.
const FLOWS: u32 = 16_384;
/// How many runs there are, each with seeds of its own.
const RUNS: u64 = 32;

type Key = FlowKey<V4>;

fn key(src: u32, ports: u32) -> Key {
    FlowKey { addresses: V4 { src, dst: 0x0200_000a }, ports, ifindex: 1, vlans: 0 }
}

/// The seeds that the attacker guesses, which are those of no run.
fn attackers_seeds() -> [u64; SEED_WORDS] {
    known_seeds(0xbad)
}

/// Sets of flows that an attacker may think of, by name. The first is of random flows, with which the others are
/// compared.
fn floods() -> [(&'static str, Vec<Key>); 6] {
    let random = |n: u32| {
        let [src, ports, ..] = known_seeds(0x5eed ^ u64::from(n) << 20);
        key((src >> 32) as u32, (ports >> 32) as u32)
    };
    let theirs = attackers_seeds();
    let in_one_bucket = (0..u32::MAX)
        .map(|n| key(n, 0x1234_0050))
        .filter(|key| (key.reversed().bucket(&theirs) as usize).is_multiple_of(BUCKETS));
    [
        ("at random", (0..FLOWS).map(random).collect()),
        ("ports one after the other", (0..FLOWS).map(|n| key(1, n << 16 | 0x50)).collect()),
        (
            "addresses one after the other, as numbers",
            (0..FLOWS).map(|n| key(n.to_be(), 0x1234_0050)).collect(),
        ),
        ("addresses 4096 apart", (0..FLOWS).map(|n| key(n << 12, 0x1234_0050)).collect()),
        ("ports and addresses in step", (0..FLOWS).map(|n| key(n, n << 16 | 0x50)).collect()),
        ("in one bucket, by seeds of their own", in_one_bucket.take(FLOWS as usize).collect()),
    ]
}

/// Announces a SYN-ACK on each of these flows. Returns how many words were to be put into the fullest bucket, and how
/// many words were overwritten.
fn crowd(keys: &[Key], seeds: &[u64; SEED_WORDS]) -> (u32, u32) {
    let mut table = vec![Bucket::default(); BUCKETS];
    let mut wanted = vec![0; BUCKETS];
    let mut overwritten = 0;
    for (key, seq) in keys.iter().zip(0..) {
        let record = Record { flags: (TcpFlags::SYN.union(TcpFlags::ACK)).0, seq, ..Record::EMPTY };
        let (own, peer) = (key.hash(seeds), key.reversed().hash(seeds));
        wanted[peer.bucket as usize % BUCKETS] += 1;
        overwritten += u32::from(announce(&record, (own, peer), &mut table[..]));
    }
    (wanted.into_iter().max().unwrap_or(0), overwritten)
}

#[test]
fn flows_that_are_made_to_collide_do_no_more_than_random_ones() {
    let mut at_random = None;
    for (about, keys) in floods() {
        let runs: Vec<(u32, u32)> = (0..RUNS).map(|run| crowd(&keys, &known_seeds(run))).collect();
        let fullest = runs.iter().map(|run| run.0).max().unwrap_or(0);
        let overwritten = runs.iter().map(|run| run.1).sum::<u32>();
        let worst = runs.iter().map(|run| run.1).max().unwrap_or(0);
        eprintln!(
            "{about}: fullest {fullest}, overwritten {overwritten} in {RUNS} runs, {worst} in the worst"
        );
        let (of_random, _) = *at_random.get_or_insert((overwritten, fullest));
        // A universal family promises this on average over the seeds. With some seeds more structured flows collide,
        // and with most seeds fewer.
        assert!(overwritten <= 2 * of_random, "{about}: {overwritten} overwritten, at random {of_random}");
    }
    let known = crowd(&floods()[5].1, &attackers_seeds());
    assert_eq!(known.0, FLOWS, "who knows the seeds fills one bucket with all of them");
}

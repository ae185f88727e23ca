extern crate std;

use super::{Buckets, Slots, Table, inspect};
use crate::{
    abi::{BUCKET_WORDS, Bucket, RecordKind, SEED_WORDS},
    filter::Steps,
    flow::V4,
    record::Sighting,
    seq::SeqNum,
    tcp::TcpFlags,
    wire::{Packet, Vlans},
};
use proptest::prelude::*;
use std::{vec, vec::Vec};

const SEEN: Sighting = Sighting { ifindex: 3, egress: false, forwarded: false };
const SEEDS: [u64; SEED_WORDS] = {
    let mut seeds = [0; SEED_WORDS];
    let mut i = 0;
    while i < SEED_WORDS {
        seeds[i] = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        i += 1;
    }
    seeds
};

const F: u16 = 1;
const S: u16 = 2;
const R: u16 = 4;
const A: u16 = 16;

/// (from the client, flags, seq, ack, payload)
type Step = (bool, u16, u32, u32, u32);

struct Bench {
    table: Vec<Bucket>,
    port: u32,
    /// The VLAN of the next segment; 0 for no tag.
    vlan: u16,
    /// The network namespace of the next packet, among those that share the table.
    netns: u32,
    /// Whether the first data of each direction is awaited.
    awaits_data: bool,
}

/// The table as packets of one namespace meet it, or a bucket of it.
struct Seen<T>(T, u32);

impl<T: Table> Table for Seen<T> {
    type Slots<'a>
        = Seen<T::Slots<'a>>
    where
        Self: 'a;

    fn bucket(&mut self, bucket: u32) -> Option<Seen<T::Slots<'_>>> {
        let netns = self.1;
        self.0.bucket(bucket).map(|bucket| Seen(bucket, netns))
    }
}

impl<S: Slots> Slots for Seen<S> {
    fn get(&self, slot: usize) -> u64 {
        self.0.get(slot)
    }

    fn set(&mut self, slot: usize, word: u64) {
        self.0.set(slot, word);
    }

    fn tag(&self, tag: u32) -> u32 {
        tag ^ self.1
    }

    fn awaits_data(&self) -> bool {
        self.0.awaits_data()
    }
}

impl Bench {
    fn new(buckets: usize) -> Self {
        let table = vec![Bucket::default(); buckets];
        Self { table, port: 1000, vlan: 0, netns: 0, awaits_data: false }
    }

    /// A bench that awaits the first data of each direction.
    fn awaiting_data(buckets: usize) -> Self {
        Self { awaits_data: true, ..Self::new(buckets) }
    }

    /// The kind of record that a step makes.
    fn step(&mut self, (from_client, flags, seq, ack, payload_len): Step) -> Option<RecordKind> {
        let (client, server) = ((1, self.port), (2, 80));
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        let packet = Packet {
            addresses: V4 { src: from.0, dst: to.0 },
            vlans: Vlans::NONE.with(self.vlan),
            ports: from.1 << 16 | to.1,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags: TcpFlags(flags),
            window: 0,
            payload_len,
            ttl: 64,
            id: 0,
            fragmented: false,
            options_at: 0,
            options_len: 0,
        };
        let buckets = Buckets { buckets: &mut self.table, awaits_data: self.awaits_data };
        let table = &mut Seen(buckets, self.netns);
        let (record, _) = inspect(&packet, SEEN, Steps::ALL, table, &SEEDS)?;
        RecordKind::from_code(record.kind)
    }

    fn pending(&self) -> usize {
        self.table.iter().flat_map(|bucket| bucket.words).filter(|&word| word != 0).count()
    }
}

/// What passes, which record it makes, how many words are in the table after it.
type Row = (Step, Option<RecordKind>, usize);

/// Plays rows one after the other.
fn play(name: &str, rows: &[Row]) {
    play_on(Bench::new(16), name, rows);
}

fn play_on(mut bench: Bench, name: &str, rows: &[Row]) {
    for (place, (step, kind, pending)) in rows.iter().enumerate() {
        assert_eq!(bench.step(*step), *kind, "{name}, step {place}");
        assert_eq!(bench.pending(), *pending, "{name}, pending after step {place}");
    }
}

mod data;

const SYN: Option<RecordKind> = Some(RecordKind::Syn);
const SYNACK: Option<RecordKind> = Some(RecordKind::SynAck);
const FIN: Option<RecordKind> = Some(RecordKind::Fin);
const RST: Option<RecordKind> = Some(RecordKind::Rst);
const ACK: Option<RecordKind> = Some(RecordKind::Ack);

#[test]
fn open_and_four_segment_close() {
    play(
        "four segments",
        &[
            ((true, S, 100, 0, 0), SYN, 0),
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((true, A, 101, 501, 0), ACK, 0),
            ((true, A, 101, 501, 10), None, 0),
            ((false, A, 501, 111, 0), None, 0),
            ((true, F | A, 111, 501, 0), FIN, 1),
            ((false, A, 501, 112, 0), ACK, 0),
            ((false, F | A, 501, 112, 0), FIN, 1),
            ((true, A, 112, 502, 0), ACK, 0),
            ((true, A, 112, 502, 0), None, 0),
        ],
    );
}

#[test]
fn equal_packets_of_several_namespaces_are_told_apart_in_one_table() {
    const NAMESPACES: u32 = 5;
    let mut bench = Bench::new(16);
    let mut in_each = |step: Step, kind: Option<RecordKind>| -> Vec<usize> {
        let in_one = |netns| {
            bench.netns = netns;
            assert_eq!(bench.step(step), kind, "{step:?} in {netns}");
            bench.pending()
        };
        (0..NAMESPACES).map(in_one).collect()
    };
    assert_eq!(in_each((false, S | A, 500, 101, 0), SYNACK), [1, 2, 3, 4, 5]);
    assert_eq!(in_each((true, A, 101, 501, 0), ACK), [4, 3, 2, 1, 0]);
    assert_eq!(in_each((true, R, 101, 0, 0), RST), [1, 2, 3, 4, 5], "each sender is watched");
    assert_eq!(in_each((true, A, 101, 501, 0), ACK), [4, 3, 2, 1, 0]);
}

#[test]
fn three_segment_close_leaves_no_word() {
    play(
        "three segments",
        &[
            ((true, F | A, 100, 500, 7), FIN, 1),
            ((false, F | A, 500, 108, 0), FIN, 1),
            ((true, A, 108, 501, 0), ACK, 0),
        ],
    );
}

#[test]
fn simultaneous_close_and_open() {
    play(
        "close",
        &[
            ((true, F | A, 100, 500, 0), FIN, 1),
            ((false, F | A, 500, 100, 0), FIN, 2),
            ((true, A, 101, 501, 0), ACK, 1),
            ((false, A, 501, 101, 0), ACK, 0),
        ],
    );
    play(
        "open",
        &[
            ((true, S, 100, 0, 0), SYN, 0),
            ((false, S, 500, 0, 0), SYN, 0),
            ((true, S | A, 100, 501, 0), SYNACK, 1),
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((true, A, 101, 501, 0), ACK, 0),
        ],
    );
}

#[test]
fn retransmissions() {
    play(
        "SYN-ACK again, then with another ISN",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((false, S | A, 900, 101, 0), SYNACK, 2),
            ((true, A, 101, 501, 0), ACK, 1),
            ((true, A, 101, 901, 0), ACK, 0),
        ],
    );
    play(
        "a copy of the SYN-ACK that comes after the FIN",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((true, A, 101, 501, 0), ACK, 0),
            ((false, F | A, 501, 101, 0), FIN, 1),
            ((false, S | A, 500, 101, 0), SYNACK, 2),
            ((true, A, 101, 501, 0), ACK, 1),
            ((true, A, 101, 502, 0), ACK, 0),
        ],
    );
    play(
        "FIN again, and again after its acknowledgement",
        &[
            ((true, F | A, 100, 500, 0), FIN, 1),
            ((true, F | A, 100, 500, 0), FIN, 1),
            ((false, A, 500, 101, 0), ACK, 0),
            ((true, F | A, 100, 500, 0), FIN, 1),
            ((false, A, 500, 101, 0), ACK, 0),
        ],
    );
}

#[test]
fn handshake_and_fin_wait_together() {
    play(
        "the third segment and an early FIN are both awaited, one acknowledgement covers both",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((false, F | A, 501, 101, 20), FIN, 2),
            ((true, A, 101, 521, 0), ACK, 1),
            ((true, A, 101, 522, 0), ACK, 0),
        ],
    );
}

#[test]
fn a_reset_voids_nothing_and_has_its_sender_watched() {
    play(
        "one that fits nothing, between the SYN-ACK and its acknowledgement",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((true, R, 3_000_000_000, 0, 0), RST, 1),
            ((true, A, 101, 501, 0), ACK, 0),
            ((true, A, 101, 501, 9), None, 0),
        ],
    );
    play(
        "the sender goes on with something else first: then its acknowledgement is still awaited",
        &[
            ((false, F | A, 500, 101, 0), FIN, 1),
            ((true, R, 7, 0, 0), RST, 1),
            ((true, R, 8, 0, 0), RST, 1),
            ((true, A, 101, 400, 10), ACK, 1),
            ((true, A, 111, 400, 10), None, 1),
            ((true, A, 121, 501, 0), ACK, 0),
        ],
    );
    play(
        "nothing was awaited",
        &[
            ((true, R | A, 9, 500, 0), RST, 1),
            ((true, R | A, 9, 500, 0), RST, 1),
            ((false, A, 500, 9, 0), None, 1),
            ((true, A, 9, 500, 3), ACK, 0),
        ],
    );
    play(
        "the sender goes on with a FIN, which is a record anyway",
        &[
            ((true, R, 9, 0, 0), RST, 1),
            ((true, F | A, 101, 500, 0), FIN, 1),
            ((true, A, 102, 500, 0), None, 1),
        ],
    );
    play("a refusal has nobody who could go on", &[((false, R | A, 0, 101, 0), RST, 0)]);
}

#[test]
fn a_watch_takes_no_slot_and_gives_way_first() {
    let mut bench = Bench::new(1);
    for port in 0..u32::try_from(BUCKET_WORDS).unwrap_or_default() {
        bench.port = port;
        bench.step((true, R, 9, 0, 0));
    }
    assert_eq!(bench.pending(), BUCKET_WORDS);
    for port in 0..u32::try_from(BUCKET_WORDS).unwrap_or_default() {
        bench.port = 100 + port;
        bench.step((false, S | A, 500, 101, 0));
    }
    bench.port = 7;
    bench.step((true, R, 9, 0, 0));
    for port in 0..u32::try_from(BUCKET_WORDS).unwrap_or_default() {
        bench.port = 100 + port;
        assert_eq!(bench.step((true, A, 101, 501, 0)), ACK, "{port}");
    }
}

/// What passes with these VLAN tags (0 for none), and which record each makes.
fn play_tagged(name: &str, rows: &[(u16, Step, Option<RecordKind>)]) {
    let mut bench = Bench::new(16);
    for (place, &(vlan, step, kind)) in rows.iter().enumerate() {
        bench.vlan = vlan;
        assert_eq!(bench.step(step), kind, "{name}, step {place}");
    }
    assert_eq!(bench.pending(), 0, "{name}");
}

#[test]
fn each_direction_may_have_vlan_tags_of_its_own() {
    play_tagged(
        "one direction is tagged",
        &[
            (5, (true, S, 100, 0, 0), SYN),
            (0, (false, S | A, 500, 101, 0), SYNACK),
            (5, (true, A, 101, 501, 0), ACK),
            (5, (true, A, 101, 501, 10), None),
            (5, (true, F | A, 111, 501, 0), FIN),
            (0, (false, F | A, 501, 112, 0), FIN),
            (5, (true, A, 112, 502, 0), ACK),
        ],
    );
}

#[test]
fn what_passes_with_two_vlan_tags_is_awaited_with_each() {
    play_tagged(
        "a router with one port",
        &[
            (5, (true, S, 100, 0, 0), SYN),
            (7, (true, S, 100, 0, 0), SYN),
            (7, (false, S | A, 500, 101, 0), SYNACK),
            (5, (false, S | A, 500, 101, 0), SYNACK),
            (5, (true, A, 101, 501, 0), ACK),
            (7, (true, A, 101, 501, 0), ACK),
            (5, (true, A, 101, 501, 10), None),
            (7, (true, A, 101, 501, 10), None),
        ],
    );
    play_tagged(
        "and a RST whose sender goes on",
        &[
            (5, (false, R, 900, 0, 0), RST),
            (7, (false, R, 900, 0, 0), RST),
            (7, (false, A, 501, 101, 0), ACK),
            (5, (false, A, 501, 101, 0), ACK),
            (5, (false, A, 501, 101, 0), None),
        ],
    );
}

#[test]
fn a_syn_voids_nothing() {
    play(
        "a retransmitted SYN crosses the SYN-ACK: the handshake's acknowledgement is awaited still",
        &[
            ((true, S, 100, 0, 0), SYN, 0),
            ((false, S | A, 500, 101, 0), SYNACK, 1),
            ((true, S, 100, 0, 0), SYN, 1),
            ((true, A, 101, 501, 0), ACK, 0),
        ],
    );
    play(
        "a four-tuple used again: the old words go with the first acknowledgements not far past them",
        &[
            ((false, F | A, 500, 90, 0), FIN, 1),
            ((true, F | A, 90, 500, 0), FIN, 2),
            ((true, S, 7000, 0, 0), SYN, 2),
            ((false, S | A, 9000, 7001, 0), SYNACK, 2),
            ((true, A, 7001, 9001, 0), ACK, 0),
        ],
    );
    play(
        "where the new numbers are not past the old ones, the old word waits on",
        &[
            ((true, F | A, 9000, 500, 0), FIN, 1),
            ((true, S, 100, 0, 0), SYN, 1),
            ((false, S | A, 700, 101, 0), SYNACK, 2),
            ((true, A, 101, 701, 0), ACK, 1),
            ((false, A, 701, 9001, 0), ACK, 0),
            ((false, A, 701, 9002, 0), None, 0),
        ],
    );
}

#[test]
fn impossible_flags_are_records_and_arm_nothing() {
    for flags in 0..512 {
        let mut bench = Bench::new(16);
        let kind = bench.step((true, flags, 1, 2, 3));
        assert_eq!(kind.is_some(), flags & (S | F | R) != 0 || flags & A == 0, "{flags:#x}");
        let announces = flags & (S | F | R) == F || flags & (S | F | R | A) == S | A || flags & (S | R) == R;
        assert_eq!(bench.pending(), usize::from(announces), "{flags:#x}");
    }
    assert_eq!(RST, Bench::new(1).step((true, R | F | A, 1, 2, 0)));
}

#[test]
fn numbers_wrap() {
    play(
        "an ISN of 2^32-1",
        &[
            ((false, S | A, u32::MAX, 101, 0), SYNACK, 1),
            ((true, A, 101, u32::MAX, 0), None, 1),
            ((true, A, 101, 0, 0), ACK, 0),
            ((false, F | A, u32::MAX - 2, 101, 5), FIN, 1),
            ((true, A, 101, 2, 0), None, 1),
            ((true, A, 101, 3, 0), ACK, 0),
        ],
    );
}

#[test]
fn a_full_bucket_overwrites_and_says_so() {
    let mut bench = Bench::new(1);
    for port in 0..u32::try_from(BUCKET_WORDS).unwrap_or_default() {
        bench.port = port;
        bench.step((false, S | A, 500, 101, 0));
    }
    assert_eq!(bench.pending(), BUCKET_WORDS);
    bench.port = 99;
    bench.step((false, S | A, 500, 101, 0));
    assert_eq!(bench.pending(), BUCKET_WORDS);
    assert_eq!(bench.step((true, A, 101, 501, 0)), ACK, "the newest is there");
    let acknowledged = (0..u32::try_from(BUCKET_WORDS).unwrap_or_default()).filter(|&port| {
        bench.port = port;
        bench.step((true, A, 101, 501, 0)) == ACK
    });
    assert_eq!(acknowledged.count(), BUCKET_WORDS - 1, "one had to go");
}

proptest! {
    #[test]
    fn an_acknowledgement_nobody_waits_for_is_no_record(
        seq: u32, ack: u32, payload in 0_u32..100_000, flags in 0_u16..512,
    ) {
        let flags = flags & !(S | F | R) | A;
        let mut bench = Bench::new(4);
        prop_assert_eq!(bench.step((true, flags, seq, ack, payload)), None);
    }

    #[test]
    fn a_life_leaves_the_table_empty(c: u32, s: u32, up in 0_u32..1 << 20, down in 0_u32..1 << 20, merged: bool) {
        let mut bench = Bench::new(4);
        let (c1, s1) = (c.wrapping_add(1), s.wrapping_add(1));
        let (c2, s2) = (c1.wrapping_add(up).wrapping_add(1), s1.wrapping_add(down).wrapping_add(1));
        prop_assert_eq!(bench.step((true, S, c, 0, 0)), SYN);
        prop_assert_eq!(bench.step((false, S | A, s, c1, 0)), SYNACK);
        prop_assert_eq!(bench.step((true, A, c1, s1, 0)), ACK);
        prop_assert_eq!(bench.step((true, F | A, c1, s1, up)), FIN);
        if !merged {
            prop_assert_eq!(bench.step((false, A, s1, c2, 0)), ACK);
        }
        prop_assert_eq!(bench.step((false, F | A, s1, c2, down)), FIN);
        prop_assert_eq!(bench.step((true, A, c2, s2, 0)), ACK);
        prop_assert_eq!(bench.pending(), 0);
    }

    #[test]
    fn only_what_covers_the_number_is_an_acknowledgement(s: u32, ack: u32) {
        let mut bench = Bench::new(4);
        bench.step((false, S | A, s, 7, 0));
        let covers = ack.wrapping_sub(s.wrapping_add(1)) < SeqNum::NEAR;
        prop_assert_eq!(bench.step((true, A, 7, ack, 0)), covers.then_some(RecordKind::Ack));
        prop_assert_eq!(bench.pending(), usize::from(!covers));
    }

    #[test]
    fn the_table_never_holds_a_word_twice(steps in proptest::collection::vec(
        (any::<bool>(), 0_u16..32, 0_u32..4, 0_u32..4, 0_u32..2), 0..200,
    )) {
        let mut bench = Bench::new(2);
        for step in steps {
            bench.step(step);
            let mut words: Vec<u64> =
                bench.table.iter().flat_map(|bucket| bucket.words).filter(|&word| word != 0).collect();
            let all = words.len();
            words.sort_unstable();
            words.dedup();
            prop_assert_eq!(words.len(), all);
        }
    }
}

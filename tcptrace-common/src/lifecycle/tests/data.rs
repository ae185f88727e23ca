//! Tests of the wait for the first data of each direction.

extern crate std;

use super::{A, ACK, Bench, F, FIN, R, RST, Row, S, SYN, SYNACK, play_on};
use crate::{
    abi::{BUCKET_WORDS, RecordKind},
    lifecycle::{WATCHED, expects_acknowledgement},
};
use proptest::prelude::*;
use std::vec::Vec;

/// Plays rows on a table that awaits data.
fn play_data(name: &str, rows: &[Row]) {
    play_on(Bench::awaiting_data(16), name, rows);
}

#[test]
fn the_first_data_of_each_direction_is_a_record_and_no_other() {
    play_data(
        "request and answer",
        &[
            ((true, S, 100, 0, 0), SYN, 0),
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, A, 101, 501, 0), ACK, 2),
            ((true, A, 101, 501, 10), ACK, 1),
            ((true, A, 111, 501, 10), None, 1),
            ((false, A, 501, 121, 0), None, 1),
            ((false, A, 501, 121, 30), ACK, 0),
            ((false, A, 531, 121, 30), None, 0),
            ((true, A, 121, 561, 0), None, 0),
            ((true, F | A, 121, 561, 0), FIN, 1),
            ((false, F | A, 561, 122, 0), FIN, 1),
            ((true, A, 122, 562, 0), ACK, 0),
        ],
    );
    play_data(
        "the third segment has data, and is one record",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, A, 101, 501, 10), ACK, 1),
            ((false, A, 501, 111, 1), ACK, 0),
        ],
    );
    play_data(
        "the server speaks first, in a packet of several segments",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, A, 101, 501, 0), ACK, 2),
            ((false, A, 501, 101, 65_536), ACK, 1),
            ((true, A, 101, 66_037, 5), ACK, 0),
        ],
    );
}

#[test]
fn fast_open() {
    play_data(
        "data in the SYN, and before the third segment from the server",
        &[
            ((true, S, 100, 0, 50), SYN, 0),
            ((false, S | A, 500, 151, 0), SYNACK, 3),
            ((false, A, 501, 151, 20), ACK, 2),
            ((true, A, 151, 521, 0), ACK, 1),
            ((true, A, 151, 521, 9), ACK, 0),
        ],
    );
    play_data(
        "data in the SYN-ACK is in its record",
        &[((false, S | A, 500, 151, 20), SYNACK, 2), ((true, A, 151, 521, 0), ACK, 1)],
    );
}

#[test]
fn what_is_no_first_data_is_passed_over() {
    let opened = [((false, S | A, 500, 101, 0), SYNACK, 3), ((true, A, 101, 501, 0), ACK, 2)];
    for (name, rows) in [
        ("a keep-alive with an octet before the first", [((true, A, 100, 501, 1), None, 2)]),
        ("a keep-alive without one", [((true, A, 100, 501, 0), None, 2)]),
        ("the second segment, which came first", [((true, A, 111, 501, 10), None, 2)]),
        ("a number far before", [((true, A, 101_u32.wrapping_sub(3000), 501, 3000), None, 2)]),
        ("one octet of it, at the end", [((true, A, 101_u32.wrapping_sub(3000), 501, 3001), ACK, 1)]),
    ] {
        play_data(name, &[&opened[..], &rows].concat());
    }
    play_data(
        "the first segment after the second",
        &[&opened[..], &[((true, A, 111, 501, 10), None, 2), ((true, A, 101, 501, 10), ACK, 1)]].concat(),
    );
}

#[test]
fn the_end_of_a_flow_ends_the_wait_for_its_data() {
    play_data(
        "a FIN with the first data, one without any, one right after the first octet",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, A, 101, 501, 0), ACK, 2),
            ((true, F | A, 101, 501, 9), FIN, 2),
            ((false, F | A, 501, 111, 0), FIN, 1),
            ((true, A, 111, 502, 0), ACK, 0),
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, F | A, 102, 501, 0), FIN, 2),
        ],
    );
    play_data(
        "a RST may not be its sender's own: that is watched, and its data is awaited still",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((true, A, 101, 501, 0), ACK, 2),
            ((true, R, 101, 0, 0), RST, 3),
            ((true, A, 101, 501, 0), ACK, 2),
            ((true, A, 101, 501, 10), ACK, 1),
            ((false, R, 501, 0, 0), RST, 2),
            ((false, A, 501, 111, 8), ACK, 0),
        ],
    );
}

#[test]
fn a_syn_ack_that_comes_again_costs_no_slot_more() {
    play_data(
        "a retransmission, then one with another number",
        &[
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((false, S | A, 500, 101, 0), SYNACK, 3),
            ((false, S | A, 900, 101, 0), SYNACK, 5),
            ((true, A, 101, 501, 7), ACK, 3),
        ],
    );
}

#[test]
fn the_wait_for_data_takes_no_slot_and_gives_way_first() {
    let ports = 0..u32::try_from(BUCKET_WORDS).unwrap_or_default();
    let mut bench = Bench::awaiting_data(1);
    for port in ports.clone() {
        bench.port = port;
        bench.step((false, S | A, 500, 101, 0));
    }
    assert_eq!(bench.pending(), BUCKET_WORDS);
    for port in ports {
        bench.port = port;
        assert_eq!(bench.step((true, A, 101, 501, 0)), ACK, "{port}");
    }
    assert_eq!(bench.pending(), 0, "each made way for an acknowledgement");
    for port in 0..4 {
        bench.port = port;
        bench.step((false, S | A, 500, 101, 0));
    }
    assert_eq!(bench.pending(), BUCKET_WORDS, "of four connections, four acknowledgements and some data");
    bench.port = 100;
    assert_eq!(bench.step((true, R, 9, 0, 0)), RST);
    assert_eq!(bench.step((true, A, 9, 500, 0)), ACK, "the one that watches found a slot");
}

proptest! {
    #[test]
    fn a_segment_is_recorded_for_its_data_if_it_has_the_first_octet(s: u32, c: u32, seq: u32, near in -50_i32..50, len in 0_u32..100, is_near: bool) {
        let first = c.wrapping_add(1);
        let seq = if is_near { first.wrapping_add_signed(near) } else { seq };
        let mut bench = Bench::awaiting_data(4);
        bench.step((false, S | A, s, first, 0));
        bench.step((true, A, first, s.wrapping_add(1), 0));
        let has = (0..len).any(|octet| seq.wrapping_add(octet) == first);
        // It acknowledges nothing that is expected.
        prop_assert_eq!(bench.step((true, A, seq, s, len)), has.then_some(RecordKind::Ack));
        prop_assert_eq!(bench.pending(), if has { 1 } else { 2 });
    }

    #[test]
    fn whatever_passes_acknowledgements_are_expected_as_without_it(steps in proptest::collection::vec(
        (any::<bool>(), 0_u16..32, 0_u32..2, 0_u32..2, 0_u32..2), 0..60,
    )) {
        // Of so few numbers a flow has at most three words for acknowledgements, three for data and one that watches, so that
        // nothing gives way.
        let (mut with, mut without) = (Bench::awaiting_data(64), Bench::new(64));
        let expected = |bench: &Bench| {
            let words = bench.table.iter().flat_map(|bucket| bucket.words);
            let mut words: Vec<u64> = words.filter(|&word| expects_acknowledgement(word)).map(|word| word & !WATCHED).collect();
            words.sort_unstable();
            words
        };
        for step in steps {
            let (more, less) = (with.step(step), without.step(step));
            prop_assert!(more == less || less.is_none(), "{:?}: {:?}, {:?}", step, more, less);
            prop_assert_eq!(expected(&with), expected(&without), "{:?}", step);
        }
    }

    #[test]
    fn a_life_with_data_leaves_the_table_empty(c: u32, s: u32, up in 1_u32..1 << 20, down in 1_u32..1 << 20, in_fin: bool) {
        let mut bench = Bench::awaiting_data(4);
        let (c1, s1) = (c.wrapping_add(1), s.wrapping_add(1));
        let (c2, s2) = (c1.wrapping_add(up), s1.wrapping_add(down));
        let (c3, s3) = (c2.wrapping_add(1), s2.wrapping_add(1));
        prop_assert_eq!(bench.step((true, S, c, 0, 0)), SYN);
        prop_assert_eq!(bench.step((false, S | A, s, c1, 0)), SYNACK);
        prop_assert_eq!(bench.step((true, A, c1, s1, 0)), ACK);
        if in_fin {
            prop_assert_eq!(bench.step((true, F | A, c1, s1, up)), FIN);
            prop_assert_eq!(bench.step((false, F | A, s1, c3, down)), FIN);
        } else {
            prop_assert_eq!(bench.step((true, A, c1, s1, up)), ACK);
            prop_assert_eq!(bench.step((false, A, s1, c2, down)), ACK);
            prop_assert_eq!(bench.step((true, F | A, c2, s2, 0)), FIN);
            prop_assert_eq!(bench.step((false, F | A, s2, c3, 0)), FIN);
        }
        prop_assert_eq!(bench.step((true, A, c3, s3, 0)), ACK);
        prop_assert_eq!(bench.pending(), 0);
    }
}

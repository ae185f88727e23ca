//! `--once` where there are more events than can be held, or more sightings than can be remembered.

use super::*;
use tcptrace_core::once::MAX_HELD;

/// The segments of `count` connections like `text` between the same two hosts, each `apart_us` microseconds after the
/// one before.
fn many(text: &str, hops: &[Hop], count: u16, apart_us: u64) -> Vec<Segment> {
    let template = pass(&segments(text), hops, 1);
    let copy = |n: u16, segment: &Segment| {
        let mut segment = segment.clone();
        let client = if segment.flow.src_port > 30_000 {
            &mut segment.flow.src_port
        } else {
            &mut segment.flow.dst_port
        };
        *client = 2000 + n;
        segment.ts = segment.ts.plus(u64::from(n) * apart_us * 1000);
        segment
    };
    in_order((0..count).flat_map(|n| template.iter().map(move |segment| copy(n, segment))).collect())
}

#[test]
fn more_than_can_be_held_go_out_before_their_time_and_once_all_the_same() {
    const COUNT: u16 = 40_000;
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&many(REFUSED, &hops, COUNT, 1));
    assert!(bench.once.early() > 0 && bench.once.early() < COUNT.into());
    let bench = bench.tick(at(1000));
    assert_eq!(bench.said(), vec!["refused on eth0 via eth0, eth1"; COUNT.into()]);
    assert!(bench.once.remembers_nothing() && bench.once.apart() == 0);
}

#[test]
fn those_for_which_there_is_no_room_are_told_apart_and_counted() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let bench = Bench::of(Bench::tracker(), Kinds::NONE, 20).name(&hops);
    let opening = "0 C S 1000\n 100 S R. 0 1001";
    let bench = bench.feed(&many(opening, &hops, 15, 1000)).tick(at(1000));
    assert_eq!(bench.once.apart(), 10);
    let (apart, told): (Vec<_>, Vec<_>) =
        bench.connections().into_iter().partition(|connection| connection.path.is_empty());
    assert_eq!((apart.len(), told.len()), (10, 10), "{:?}", bench.said());
    assert!(bench.once.remembers_nothing());
    // When those are over there is room again.
    let again = many("2000 C S 1000\n 2100 S R. 0 1001", &hops, 10, 1000);
    let bench = bench.feed(&again).tick(at(4000));
    assert_eq!((bench.once.apart(), bench.connections().len()), (10, 30));
}

#[test]
fn what_ended_makes_room() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let mut bench = Bench::of(Bench::tracker(), Kinds::ALL, 20).name(&hops);
    let mut count = 0;
    for round in 0..10_u64 {
        let mut seen = many(REFUSED, &hops, 10, 1000);
        for segment in &mut seen {
            segment.ts = segment.ts.plus(round * 1_000_000_000);
        }
        bench = bench.feed(&seen).tick(at(round * 1000 + 500));
        count += 10;
        assert_eq!(bench.connections().len(), count);
        assert!(bench.once.sightings() <= 20);
    }
    assert_eq!(bench.once.apart(), 0);
}

#[test]
fn ports_that_are_used_again_and_again_cost_no_more_and_no_less() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let mut seen = Vec::new();
    for n in 0..2000_u32 {
        let mut one = pass(&segments("0 C S 1000"), &hops, 1);
        for segment in &mut one {
            segment.seq = segment.seq.plus(n);
            segment.ts = segment.ts.plus(u64::from(n) * 100_000);
        }
        seen.extend(one);
    }
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&in_order(seen)).tick(at(400_000));
    assert_eq!(bench.connections().len(), 2000);
    assert!(bench.connections().iter().all(|connection| connection.path.names().count() == 2));
    assert!(bench.once.remembers_nothing());
}

/// The tracker evicts a sighting to stay within its own limit.
#[test]
fn one_that_is_given_up_is_told_of_once() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let config = track::Config { max_connections: 3, wants: Kinds::ALL, ..track::Config::default() };
    let seen = many("0 C S 1000\n 300 S S. 5000 1001", &hops, 20, 1000);
    let mut bench = Bench::of(Tracker::new(config), Kinds::NONE, 3 + MAX_HELD).name(&hops);
    bench = bench.feed(&seen).finish(at(1000));
    // Each of the two sightings is evicted when the other one begins, and its answer then begins a new one.
    let told = bench.connections();
    assert!(told.iter().any(|connection| connection.outcome == Outcome::Evicted));
    let syns = told.iter().filter(|connection| !connection.partial).count();
    assert_eq!(syns, 20, "{:?}", bench.said());
}

use super::{Placed, Stamp, TimeFaults, TimeLine};
use crate::{segment::Timestamp, source_clock::SourceClock};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;

/// Runs packets with these interfaces and time stamps through a time line. Returns the times on it, the clock, and what
/// was wrong.
fn place(packets: &[(u32, Option<u64>)]) -> (Vec<Timestamp>, SourceClock, TimeFaults) {
    let mut line = TimeLine::new();
    let mut clock = SourceClock::default();
    let mut own = Vec::new();
    let mut tell = |line: &mut TimeLine, stamp: Stamp| {
        let (ts, change) = line.report(stamp);
        if let Some(change) = change {
            clock.change(change);
        }
        own.push(ts);
    };
    for &(interface, shown) in packets {
        let shown = shown.map_or(Timestamp::UNKNOWN, Timestamp);
        if line.is_holding() {
            let stamp = line.decide(Some(shown)).expect("it holds one");
            tell(&mut line, stamp);
        }
        if let Placed::At(stamp) = line.place(interface, shown) {
            tell(&mut line, stamp);
        }
    }
    if let Some(stamp) = line.decide(None) {
        tell(&mut line, stamp);
    }
    (own, clock, line.faults())
}

/// What the clock shows at each packet, the time from each packet to the next, and what was wrong.
fn told(packets: &[(u32, Option<u64>)]) -> (Vec<Option<u64>>, Vec<Option<u64>>, TimeFaults) {
    let (own, clock, times) = place(packets);
    let shown = own.iter().map(|&ts| Some(clock.shown(ts)).filter(|&ts| ts != Timestamp::UNKNOWN));
    let spans = own.windows(2).map(|pair| clock.span(pair[0], pair[1])).collect();
    (shown.map(|ts| ts.map(|ts| ts.0)).collect(), spans, times)
}

fn on_one(shown: &[u64]) -> Vec<(u32, Option<u64>)> {
    shown.iter().map(|&ns| (0, Some(ns))).collect()
}

#[test]
fn time_that_goes_on_is_told_as_it_is() {
    let packets = on_one(&[5 * S, 5 * S, 5 * S + 1, 6 * S, 1000 * S, 1001 * S]);
    let (shown, spans, times) = told(&packets);
    assert_eq!(shown, packets.iter().map(|(_, ns)| *ns).collect::<Vec<_>>());
    assert_eq!(spans, [0, 1, S - 1, 994 * S, S].map(Some));
    assert_eq!(times, TimeFaults::default());
}

#[test]
fn a_file_that_begins_before_the_last_one_ended_has_another_clock() {
    for (first, back) in [(21 * S, None), (20 * S, None), (20 * S - MS, None), (19 * S, Some(S))] {
        let mut line = TimeLine::new();
        let mut clock = SourceClock::default();
        assert_eq!(line.begin_file(Timestamp(9 * S)), None, "none came before");
        // The first packet is held for the next.
        assert_eq!(line.place(0, Timestamp(20 * S)), Placed::Held);
        let mut stamps = Vec::from_iter(line.decide(None));
        assert_eq!(line.begin_file(Timestamp(first)), back);
        // This interface is new, and had no packets before.
        for ts in [first, first + S] {
            let Placed::At(stamp) = line.place(1, Timestamp(ts)) else { panic!("it goes on from {first}") };
            stamps.push(stamp);
        }
        let mut own = Vec::new();
        for stamp in stamps {
            let (ts, change) = line.report(stamp);
            if let Some(change) = change {
                clock.change(change);
            }
            own.push(ts);
        }
        let shown: Vec<_> = own.iter().map(|&ts| clock.shown(ts).0).collect();
        assert_eq!(shown, [20 * S, first, first + S]);
        // A packet that is a little out of order does not change the clock, and the time between the two is unknown.
        assert_eq!(clock.span(own[0], own[1]), first.checked_sub(20 * S), "{first}");
        assert_eq!(clock.span(own[1], own[2]), Some(S));
        assert_eq!(line.faults().back, u64::from(back.is_some()));
    }
}

#[test]
fn a_clock_that_is_set_back_makes_one_interval_unknown() {
    let packets = on_one(&[20 * S, 20 * S + MS, 19 * S, 19 * S + MS, 19 * S + 5 * MS]);
    let (shown, spans, times) = told(&packets);
    assert_eq!(shown, packets.iter().map(|(_, ns)| *ns).collect::<Vec<_>>());
    assert_eq!(spans, [Some(MS), None, Some(MS), Some(4 * MS)]);
    assert_eq!((times.back, times.back_most_ns, times.taken_back), (1, S + MS, 0));
}

#[test]
fn a_little_out_of_order_is_no_other_time() {
    let packets = on_one(&[S, S + 50_000, S + 20_000, S + 60_000]);
    let (shown, spans, times) = told(&packets);
    assert_eq!(shown, packets.iter().map(|(_, ns)| *ns).collect::<Vec<_>>());
    assert_eq!(spans, [Some(50_000), None, Some(40_000)]);
    assert_eq!(times, TimeFaults::default());
}

#[test]
fn one_stamp_that_the_next_takes_back_is_none() {
    let years = 46 * 365 * 86_400 * S;
    for (packets, spans) in [
        ([S, S + MS, years, S + 3 * MS], [Some(MS), None, None]),
        ([years, S, S + MS, S + 2 * MS], [None, Some(MS), Some(MS)]),
        ([years, years + MS, 0, years + 2 * MS], [Some(MS), None, None]),
    ] {
        let (shown, came, times) = told(&on_one(&packets));
        let odd = if packets[0] == years && packets[1] == S { 0 } else { 2 };
        for (place, shown) in shown.into_iter().enumerate() {
            assert_eq!(shown, Some(packets[place]).filter(|_| place != odd), "{packets:?}, {place}");
        }
        assert_eq!(came, spans, "{packets:?}");
        assert_eq!(times.taken_back, 1, "{packets:?}");
        // The packets around the odd one are on one time line.
        let (own, clock, _) = place(&on_one(&packets));
        let others: Vec<usize> = (0..4).filter(|&place| place != odd).collect();
        assert_eq!(clock.span(own[others[0]], own[others[2]]), Some(packets[others[2]] - packets[others[0]]));
        assert!(own[3].since(own[0]) < 10 * S, "no time-out: {own:?}");
    }
}

#[test]
fn a_lull_is_believed_when_the_next_packet_goes_on_from_there() {
    let (shown, spans, times) = told(&on_one(&[S, 500 * S, 500 * S + MS]));
    assert_eq!(shown, [S, 500 * S, 500 * S + MS].map(Some));
    assert_eq!(spans, [Some(499 * S), Some(MS)]);
    assert_eq!(times, TimeFaults::default());
    assert_eq!(told(&on_one(&[S, 500 * S])).1, [Some(499 * S)], "or when there is none");
}

#[test]
fn packets_without_a_time_have_none() {
    let (shown, spans, times) = told(&[(0, None), (0, None), (0, Some(5 * S)), (0, None), (0, Some(6 * S))]);
    assert_eq!(shown, [None, None, Some(5 * S), None, Some(6 * S)]);
    assert_eq!(spans, [None; 4]);
    assert_eq!(times.missing, 3);
}

#[test]
fn another_interface_may_lag_behind() {
    let packets = [(0, Some(S)), (1, Some(S - 50 * MS)), (0, Some(S + MS)), (1, Some(S - 49 * MS))];
    let (shown, _, times) = told(&packets);
    assert_eq!(shown, packets.map(|(_, ns)| ns));
    let (own, clock, _) = place(&packets);
    assert_eq!(clock.span(own[1], own[3]), Some(MS));
    assert_eq!(times, TimeFaults::default());
}

proptest! {
    /// Whatever time stamps a file has, the clock shows each packet's own time stamp or none, never another one.
    #[test]
    fn any_times_are_told_as_they_are_or_not_at_all(
        packets in proptest::collection::vec(
            (0_u32..3, proptest::option::weighted(0.9, prop_oneof![0..30 * S, 0..3 * MS, 0..u64::MAX / 4])), 0..40),
    ) {
        let (own, clock, _) = place(&packets);
        prop_assert_eq!(own.len(), packets.len());
        for (ts, (_, shown)) in own.iter().zip(&packets) {
            let told = clock.shown(*ts);
            let near = *shown == Some(told.0);
            prop_assert!(told == Timestamp::UNKNOWN || near, "{told:?} {shown:?}");
        }
    }
}

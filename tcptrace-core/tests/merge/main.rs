//! Merges of what two or three vantages saw of a world that knows what became of each packet.

#[expect(clippy::cast_possible_truncation, reason = "numbers at random are cut to what fits")]
mod world;

use proptest::prelude::*;
use std::{collections::BTreeMap, io::Cursor};
use tcptrace_core::{
    CaptureOptions, Config, Event, PcapSource, Reader, Role, Timestamp, Tracker,
    event::Stats,
    merge::{Fate, JoinedBy, MergeSummary, MergedConnection, MergedSegment, Merger, ResetFrom},
};
use world::{AT_SERVERS, FIN, Passage, Plan, RST, SYN, World};

/// Gives the events of a capture.
fn events(capture: Vec<u8>, take: &mut dyn FnMut(Event)) -> Timestamp {
    let reader = Reader::from_read("capture", Cursor::new(capture)).expect("it is one");
    let mut source = PcapSource::new(reader, &CaptureOptions::default());
    let (mut tracker, mut inputs) = (Tracker::new(Config::default()), Vec::new());
    while source.next_batch(&mut inputs).expect("it is whole") {
        for input in inputs.drain(..) {
            tracker.input(&input, take);
        }
    }
    tracker.finish(source.last_packet(), take);
    source.last_packet()
}

/// What a merge of captures tells.
fn merge<const N: usize>(captures: [Vec<u8>; N]) -> (Vec<MergedConnection>, MergeSummary) {
    let mut merger = Merger::new(["a", "b", "c"][..N].iter().map(|&name| name.into()).collect());
    for (at, capture) in captures.into_iter().enumerate() {
        let last = events(capture, &mut |event| merger.event(at, &event));
        merger.event(at, &Event::Stats(Box::new(Stats { ts: last, last: true, ..Stats::default() })));
    }
    let mut told = Vec::new();
    let summary = merger
        .finish(&mut |connection| {
            told.push(connection);
            Ok::<_, ()>(())
        })
        .expect("nothing fails");
    (told, summary)
}

/// When a segment was seen at a vantage.
fn time(segment: &MergedSegment, vantage: &str) -> Option<u64> {
    segment.seen.iter().find(|seen| &*seen.vantage == vantage).map(|seen| seen.ts.0.0)
}

/// Compares what is told with what happened, and counts.
struct Verifier<'a> {
    at: [BTreeMap<u64, &'a Passage>; 2],
    told: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    /// Losses that are named, and those of which it is not known which of several it was.
    named: u64,
    one_of_several: u64,
    perhaps: u64,
    unknown: u64,
    /// Those that happened between the vantages, of what each trace records.
    happened: u64,
    forged: u64,
    /// Acknowledgements that are named as lost, or perhaps so, and those of which it is not said.
    acks_named: u64,
    acks_hidden: u64,
}

impl Verifier<'_> {
    fn segment(&mut self, segment: &MergedSegment) -> Result<(), TestCaseError> {
        let times = [time(segment, "a"), time(segment, "b")];
        let passages = [0, 1].map(|vantage| times[vantage].map(|at| self.at[vantage][&at]));
        let (near, far) = if segment.sender == Role::Client { (0, 1) } else { (1, 0) };
        let always = u16::from(SYN | FIN | RST) & segment.flags.0.0 != 0;
        if let (Some(a), Some(b)) = (passages[0], passages[1])
            && segment.which_is_known
        {
            prop_assert_eq!(a.at, b.at, "two segments are taken for one: {:?}", segment);
        }
        let arrived = |it: &Passage| it.at[far].is_some();
        if !always && passages[near].is_some_and(|it| !arrived(it)) {
            let is_named = matches!(segment.fate, Fate::Lost | Fate::LostOrUnrecorded);
            *(if is_named { &mut self.told.acks_named } else { &mut self.told.acks_hidden }) += 1;
        }
        match segment.fate {
            Fate::Lost if segment.which_is_known => {
                let passage = passages[near].expect("it was seen");
                prop_assert!(!arrived(passage), "it is said to be lost: {:?} {:?}", segment, passage);
                self.told.named += u64::from(always);
            }
            Fate::Lost => self.told.one_of_several += u64::from(always),
            Fate::LostOrUnrecorded => self.told.perhaps += 1,
            Fate::Unknown => self.told.unknown += u64::from(always),
            Fate::Appeared => {
                let passage = passages[far].expect("it was seen");
                prop_assert!(passage.packet.forged, "nobody forged it: {:?} {:?}", segment, passage);
                prop_assert_eq!(segment.reset_from, Some(ResetFrom::Between));
                self.told.forged += 1;
            }
            Fate::Passed => {
                // Of those that a trace does not always record it may be another that is the same but for its time.
                let is_sure = always && segment.which_is_known;
                prop_assert!(!is_sure || passages.iter().flatten().all(|it| arrived(it)), "{:?}", segment);
            }
            Fate::OfOne => prop_assert!(!always, "{:?}", segment),
        }
        Ok(())
    }
}

fn verify(plan: &Plan) -> Result<Counts, TestCaseError> {
    let world = World::run(plan);
    let (told, summary) = merge([world.capture(0), world.capture(1)]);
    let mut verifier = Verifier { at: [world.by_time(0), world.by_time(1)], told: Counts::default() };
    verifier.told.happened = world
        .passages
        .iter()
        .filter(|it| it.packet.flags & (SYN | FIN | RST) != 0 && !it.packet.forged)
        .filter(|it| {
            let (near, far) = if it.packet.by_server { (1, 0) } else { (0, 1) };
            it.at[near].is_some() && it.at[far].is_none()
        })
        .count() as u64;
    for connection in &told {
        let of: Vec<u32> = connection
            .segments
            .iter()
            .flat_map(|it| ["a", "b"].iter().enumerate().filter_map(|(at, name)| Some((at, time(it, name)?))))
            .map(|(at, time)| verifier.at[at][&time].packet.connection)
            .collect();
        prop_assert!(of.windows(2).all(|two| two[0] == two[1]), "segments of two connections: {:?}", of);
        if plan.nat && connection.seen.len() == 2 {
            let by = connection.joined_by;
            prop_assert!(matches!(by, Some(JoinedBy::Isns | JoinedBy::ClientIsn)), "{:?}", by);
        }
        connection.segments.iter().try_for_each(|segment| verifier.segment(segment))?;
    }
    for between in &summary.between {
        prop_assert!(between.clocks_steady);
        if let (Some(offset), Some(bound)) = (between.offset_ns, between.offset_bound_ns) {
            prop_assert!(offset.abs_diff(plan.offset_ns) <= bound.unsigned_abs(), "{:?}", between);
            let least = plan.delays_ms.iter().sum::<u64>() * 1_000_000;
            prop_assert!(2 * bound.unsigned_abs() + 2 >= least, "{:?}", between);
        }
    }
    Ok(verifier.told)
}

fn plans() -> impl Strategy<Value = Plan> {
    let losses = prop_oneof![Just(0_usize), 1..300_usize];
    let outer = prop_oneof![3 => Just(0_usize), 1 => 1..200_usize];
    let delays = (0..80_u64, 0..80_u64);
    let world = (any::<u64>(), 1..60_u32, losses, (outer.clone(), outer), delays, 0..5_000_u64);
    (world, -100_000_000_000..100_000_000_000_i64, any::<[bool; 2]>(), [0..20_usize, 0..40_usize]).prop_map(
        |(
            (seed, connections, between, (before, behind), (there, back), jitter_us),
            offset_ns,
            [nat, overtakes],
            [torn, forgetful],
        )| Plan {
            seed,
            connections,
            losses: [before, between, behind],
            delays_ms: [there, back],
            jitter_us,
            overtakes,
            offset_ns,
            nat,
            torn,
            forgetful,
        },
    )
}

proptest! {
    #[test]
    fn no_segment_is_said_to_be_lost_that_was_not(plan in plans()) {
        let counts = verify(&plan)?;
        // Of what is lost at the very beginning or end of a trace it is not known.
        prop_assert!(counts.named + counts.one_of_several <= counts.happened, "{:?}", counts);
    }
}

/// Of a busy world every loss is named.
#[test]
fn all_that_is_lost_is_named() {
    let plan = Plan {
        seed: 2,
        connections: 1000,
        losses: [0, 100, 0],
        delays_ms: [7, 12],
        jitter_us: 2000,
        overtakes: false,
        offset_ns: 3_204_000_000,
        nat: true,
        torn: 5,
        forgetful: 10,
    };
    let counts = verify(&plan).expect("what is told is true");
    assert!(counts.happened > 400, "{counts:?}");
    assert!(counts.forged > 50, "{counts:?}");
    eprintln!("{counts:?}");
    assert_eq!((counts.named, counts.one_of_several, counts.unknown), (counts.happened, 0, 0), "{counts:?}");
}

/// Of three vantages on one way, a loss is told of the two that it was between.
#[test]
fn a_loss_is_between_the_right_two_of_three() {
    let plan = Plan {
        seed: 4,
        connections: 500,
        losses: [0, 60, 60],
        delays_ms: [7, 12],
        jitter_us: 2000,
        overtakes: false,
        offset_ns: -1_700_000_000,
        nat: true,
        torn: 0,
        forgetful: 0,
    };
    let world = World::run(&plan);
    let (told, summary) = merge([0, 1, AT_SERVERS].map(|vantage| world.capture(vantage)));
    assert!(told.iter().filter(|it| it.path.len() == 3).count() > 450, "most pass all three");
    let order = |it: &&MergedConnection| it.path.iter().map(|name| &**name).eq(["a", "b", "c"]);
    assert_eq!(told.iter().filter(order).count(), told.iter().filter(|it| it.path.len() == 3).count());
    // What happened: of each sender, lost between `a` and `b`, and between `b` and `c`.
    let lost = |by_server: bool, [near, far]: [usize; 2]| {
        let always = |it: &&Passage| it.packet.flags & (SYN | FIN | RST) != 0;
        let all = world.passages.iter().filter(always).filter(|it| it.packet.by_server == by_server);
        all.filter(|it| it.at[near].is_some() && it.at[far].is_none()).count() as u64
    };
    for (names, ends) in [(["a", "b"], [0, 1]), (["b", "c"], [1, AT_SERVERS])] {
        let between = summary.between.iter().find(|it| [&*it.from, &*it.to] == names).expect("this pair");
        for (told, happened) in
            [(between.there, lost(false, ends)), (between.back, lost(true, [ends[1], ends[0]]))]
        {
            let named = told.lost.total() - told.lost.ack;
            assert!(named <= happened, "{between:?}");
            assert_eq!(named + told.unknown, happened, "what is not named is counted: {between:?}");
        }
    }
    let across = summary.between.iter().find(|it| [&*it.from, &*it.to] == ["a", "c"]).expect("this pair");
    assert_eq!((across.there.lost.total(), across.there.passed), (0, 0), "`b` is between them: {across:?}");
    assert!(lost(false, [0, 1]) > 40 && lost(true, [AT_SERVERS, 1]) > 40, "there is something to tell");
}

/// What is seen twice by one clock has lost nothing, and took no time.
#[test]
fn a_capture_beside_itself_has_no_loss_and_no_difference() {
    let plan = Plan {
        seed: 3,
        connections: 300,
        losses: [100, 100, 100],
        delays_ms: [7, 12],
        jitter_us: 2000,
        overtakes: true,
        offset_ns: 0,
        nat: false,
        torn: 5,
        forgetful: 10,
    };
    let capture = World::run(&plan).capture(0);
    let (told, summary) = merge([capture.clone(), capture]);
    assert_eq!(told.iter().filter(|it| it.is_remarkable()).count(), 0);
    assert_eq!(summary.joined.total(), told.len() as u64);
    let between = &summary.between[0];
    let known = (between.offset_ns, between.offset_bound_ns, between.round_trip_ns, between.clocks_steady);
    assert_eq!(known, (Some(0), Some(0), Some(0), true));
}

/// Of a trace that begins in the midst of things nothing is said to be lost before.
#[test]
fn what_a_trace_did_not_cover_is_not_lost() {
    let plan = Plan {
        seed: 5,
        connections: 300,
        losses: [0, 0, 0],
        delays_ms: [7, 12],
        jitter_us: 2000,
        overtakes: false,
        offset_ns: -5_000_000_000,
        nat: true,
        torn: 0,
        forgetful: 10,
    };
    let world = World::run(&plan);
    let mut late = world.capture(1);
    // The first packets are gone: each is of 16 octets and its length.
    let header = late[..24].to_vec();
    for _ in 0..700 {
        let len = 16 + u32::from_le_bytes(late[32..36].try_into().expect("four")) as usize;
        late.drain(24..24 + len);
    }
    assert_eq!(late[..24], header[..]);
    let (told, summary) = merge([world.capture(0), late]);
    let lost = summary.between[0].there.lost.total() + summary.between[0].back.lost.total();
    assert_eq!((lost, summary.between[0].there.appeared), (0, 0), "{:?}", summary.between);
    assert!(summary.vantages[1].without_isn > 0, "{:?}", summary.vantages);
    assert!(summary.joined.total() > 100 && told.len() >= 300, "{:?}", summary.joined);
}

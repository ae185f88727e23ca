//! The rules of `--once`, case by case: segments that pass several interfaces go through the tracker and then through
//! `Once`.

mod properties;
mod rooms;

use tcptrace_core::{
    event::{Connection, Event, Kinds, Outcome, Stats, Vantage},
    once::{Config, HOLD_NS, Once},
    segment::{Input, Segment, Sender, Timestamp},
    track::{self, Tracker},
};
use tcptrace_testing::script::{Script, Step};

/// A place on the way from the client to the server.
#[derive(Clone, Copy, Debug)]
struct Hop {
    name: &'static str,
    vantage: Vantage,
    /// Nanoseconds from the place before.
    delay_ns: u64,
    /// Whether the client's segments pass here, and the server's.
    passes: [bool; 2],
    vlan: u16,
}

impl Hop {
    const fn at(name: &'static str, vantage: Vantage) -> Self {
        Self {
            name,
            vantage,
            delay_ns: 10_000,
            passes: [true; 2],
            vlan: tcptrace_core::segment::Flow::NO_VLAN,
        }
    }

    const fn client(name: &'static str) -> Self {
        Self::at(name, Vantage::Client)
    }

    const fn server(name: &'static str) -> Self {
        Self::at(name, Vantage::Server)
    }

    const fn middle(name: &'static str) -> Self {
        Self::at(name, Vantage::Middle)
    }

    const fn after(self, delay_ns: u64) -> Self {
        Self { delay_ns, ..self }
    }

    const fn passing(self, from_client: bool, from_server: bool) -> Self {
        Self { passes: [from_client, from_server], ..self }
    }

    const fn tagged(self, vlan: u16) -> Self {
        Self { vlan, ..self }
    }

    fn sender(&self, from_client: bool) -> Sender {
        match (self.vantage, from_client) {
            (Vantage::Client, true) | (Vantage::Server, false) => Sender::Here,
            (Vantage::Client, false) | (Vantage::Server, true) => Sender::There,
            (Vantage::Middle, _) => Sender::Unknown,
        }
    }
}

/// The time at which scripts have 0, well after the zero of the time line.
fn at(ms: u64) -> Timestamp {
    tcptrace_testing::script::START.plus(ms * 1_000_000)
}

/// The segments of a script, whose times are those at which they pass the sender's end of the path.
fn segments(text: &str) -> Vec<(bool, Segment)> {
    let script = Script::parse(text).unwrap_or_else(|error| panic!("{error} of {text}"));
    // Clients' ports are above servers'.
    let step = |step: &Step| match step {
        Step::Input(Input::Segment(seg)) => (seg.flow.src_port > seg.flow.dst_port, seg.clone()),
        other => panic!("{other:?}"),
    };
    script.steps().map(step).collect()
}

/// The segments as each place on the path sees them, in time order. Interfaces are numbered from `first` on, in the
/// order of the path.
fn pass(segments: &[(bool, Segment)], hops: &[Hop], first: u32) -> Vec<Segment> {
    let mut seen = Vec::new();
    for (from_client, segment) in segments {
        let way: u64 = hops.iter().map(|hop| hop.delay_ns).sum();
        let mut passed = 0;
        for (number, hop) in (first..).zip(hops) {
            passed += hop.delay_ns;
            if !hop.passes[usize::from(!from_client)] {
                continue;
            }
            let mut segment = segment.clone();
            segment.flow.interface = number;
            segment.flow.vlan[0] = hop.vlan;
            segment.sender = hop.sender(*from_client);
            segment.ts = segment.ts.plus(if *from_client { passed } else { way - passed });
            seen.push(segment);
        }
    }
    in_order(seen)
}

fn in_order(mut segments: Vec<Segment>) -> Vec<Segment> {
    segments.sort_by_key(|segment| segment.ts);
    segments
}

/// The tracker, `Once` behind it, and the events that came out of both.
struct Bench {
    tracker: Tracker,
    once: Once,
    told: Vec<Event>,
}

impl Bench {
    fn new(keep: Kinds) -> Self {
        Self::of(Self::tracker(), keep, 1 << 20)
    }

    fn tracker() -> Tracker {
        Tracker::new(track::Config { wants: Kinds::ALL, ..track::Config::default() })
    }

    fn of(tracker: Tracker, keep: Kinds, max_sightings: usize) -> Self {
        let once = Once::new(Config { keep, time_wait_ns: 60_000_000_000, max_sightings });
        Self { tracker, once, told: Vec::new() }
    }

    fn name(mut self, hops: &[Hop]) -> Self {
        for (number, hop) in (1..).zip(hops) {
            self.tracker.name_interface(number, hop.name.into());
        }
        self
    }

    fn feed(mut self, segments: &[Segment]) -> Self {
        for segment in segments {
            self.input(&Input::Segment(segment.clone()));
        }
        self
    }

    fn input(&mut self, input: &Input) {
        let Self { tracker, once, told } = self;
        let tell = &mut |event| told.push(event);
        tracker.input(input, &mut |event| once.event(event, tell));
        if let Some(now) = input.ts() {
            once.advance(now, tell);
        }
    }

    fn tick(mut self, ts: Timestamp) -> Self {
        self.input(&Input::Tick(ts));
        self
    }

    fn finish(mut self, ts: Timestamp) -> Self {
        let Self { tracker, once, told } = &mut self;
        let tell = &mut |event| told.push(event);
        tracker.finish(ts, &mut |event| once.event(event, tell));
        once.flush(tell);
        self
    }

    fn connections(&self) -> Vec<&Connection> {
        self.told
            .iter()
            .filter_map(|event| if let Event::Connection(it) = event { Some(&**it) } else { None })
            .collect()
    }

    /// The connections that were reported, each as `closed on eth0 via eth0, veth1`.
    fn said(&self) -> Vec<String> {
        self.connections().into_iter().map(said).collect()
    }
}

fn said(connection: &Connection) -> String {
    let path: Vec<_> = connection.path.names().collect();
    let outcome = format!("{:?}", connection.outcome).to_lowercase();
    format!("{outcome} on {} via {}", connection.common.interface, path.join(", "))
}

const CLOSED: &str = "
    0    C S  1000
    5    S S. 5000 1001
    6    C .  1001 5001
    20   C F. 1101 5001
    21   S .  5001 1102
    30   S F. 5001 1102
    31   C .  1102 5002";

const REFUSED: &str = "
    0    C S  1000
    5    S R. 0 1001";

/// Plays the whole life of one connection over a path, and then lets pass the time for which it may be remembered.
fn live(text: &str, hops: &[Hop]) -> Bench {
    let bench = Bench::new(Kinds::NONE).name(hops).feed(&pass(&segments(text), hops, 1)).tick(at(400_000));
    assert!(bench.once.remembers_nothing(), "{:#?}", bench.once);
    bench.finish(at(400_000))
}

#[test]
fn a_router_reports_once_nearest_to_the_client_and_with_the_path() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1"), Hop::middle("eth2")];
    for (text, outcome) in [(CLOSED, "closed"), (REFUSED, "refused"), ("0 C S 1000", "unanswered")] {
        assert_eq!(live(text, &hops).said(), [format!("{outcome} on eth0 via eth0, eth1, eth2")]);
    }
}

#[test]
fn the_own_host_is_told_before_the_middle_and_the_client_before_the_server() {
    for (hops, told) in [
        (&[Hop::client("veth0"), Hop::middle("br0"), Hop::middle("eth0")][..], "veth0"),
        (&[Hop::middle("eth0"), Hop::middle("br0"), Hop::server("veth0").after(50_000_000)], "veth0"),
        (&[Hop::client("a/eth0"), Hop::middle("br0"), Hop::server("b/eth0")], "a/eth0"),
        // Of several interfaces of one host, the one next to the socket is reported.
        (&[Hop::client("br0"), Hop::client("eth0"), Hop::middle("eth9")], "br0"),
        (&[Hop::middle("eth9"), Hop::server("eth0"), Hop::server("br0")], "br0"),
    ] {
        let path = hops.iter().map(|hop| hop.name).collect::<Vec<_>>().join(", ");
        for (text, outcome) in [(CLOSED, "closed"), (REFUSED, "refused"), ("0 C S 1000", "unanswered")] {
            assert_eq!(live(text, hops).said(), [format!("{outcome} on {told} via {path}")]);
        }
    }
}

#[test]
fn all_lines_of_a_connection_are_of_one_number_and_one_interface() {
    let hops = [Hop::middle("eth0"), Hop::server("veth0")];
    let bench = Bench::new(Kinds::ALL).name(&hops).feed(&pass(&segments(CLOSED), &hops, 1));
    let bench = bench.tick(at(400_000));
    let seen: Vec<_> = bench.told.iter().map(|event| event.common().expect("of a connection")).collect();
    assert!(seen.iter().all(|common| common.id == 2 && &*common.interface == "veth0"), "{seen:#?}");
    assert!(seen.is_sorted_by_key(|common| common.ts));
    let count = |name: &str| bench.told.iter().filter(|event| event.kind().name() == name).count();
    // There are seven segments, and the last transition is at the end of TIME-WAIT.
    assert_eq!(["segment", "transition", "established", "connection"].map(count), [7, 12, 1, 1]);
    assert!(bench.once.remembers_nothing(), "{:#?}", bench.once);
}

#[test]
fn nothing_is_told_before_its_time_and_all_of_it_then() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&pass(&segments(REFUSED), &hops, 1));
    // The refusal passes eth1 first, on its way back.
    let first = at(5).plus(0);
    let bench = bench.tick(Timestamp(first.0 + HOLD_NS - 1));
    assert!(bench.told.is_empty() && bench.once.is_holding());
    let bench = bench.tick(first.plus(HOLD_NS + 10_000));
    assert_eq!(bench.said(), ["refused on eth0 via eth0, eth1"]);
    assert!(!bench.once.is_holding());
}

#[test]
fn tenants_of_one_address_differ_in_their_numbers() {
    let hops = [Hop::middle("eth0").tagged(5), Hop::middle("eth1").tagged(7)];
    let others = [Hop::middle("eth0").tagged(6), Hop::middle("eth1").tagged(8)];
    let second = CLOSED.replace("1000", "9000").replace("1001", "9001").replace("1101", "9101");
    let second = segments(&second.replace("1102", "9102"));
    let both = [pass(&segments(CLOSED), &hops, 1), pass(&second, &others, 1)].concat();
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&in_order(both)).finish(at(1000));
    let told: Vec<_> = bench.connections().iter().map(|it| (it.client_isn, it.common.vlan.outer)).collect();
    assert_eq!(told, [(Some(1000), Some(5)), (Some(9000), Some(6))]);
    assert_eq!(bench.said(), ["closed on eth0 via eth0, eth1"; 2]);
}

#[test]
fn a_router_on_a_stick_has_its_interface_twice_on_the_path() {
    let hops = [Hop::middle("eth0").tagged(5), Hop::middle("eth0").tagged(6)];
    let mut seen = pass(&segments(CLOSED), &hops, 1);
    for segment in &mut seen {
        segment.flow.interface = 1;
    }
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&seen).finish(at(1000));
    assert_eq!(bench.said(), ["closed on eth0 via eth0, eth0"]);
    assert_eq!(bench.connections()[0].common.vlan.outer, Some(5));
}

#[test]
fn the_same_ports_again_are_another_connection() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    // The port is reused at once with another ISN, and after a refusal with the same one, as some stacks try again.
    for again in ["5.5 C S 7000\n 6 S R. 0 7001", "500 C S 1000\n 501 S R. 0 1001"] {
        let bench = live(&format!("{REFUSED}\n{again}"), &hops);
        assert_eq!(bench.said(), ["refused on eth0 via eth0, eth1"; 2], "{again}");
    }
}

#[test]
fn the_middle_of_a_connection_is_one_whoever_is_taken_for_the_client() {
    let fins = "
        0 C F. 1101 5001
        1 S .  5001 1102
        2 S F. 5001 1102
        3 C .  1102 5002";
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let mut seen = pass(&segments(fins), &hops, 1);
    assert_eq!(live(fins, &hops).said(), ["closed on eth0 via eth0, eth1"]);
    // At eth1 a late SYN-ACK shows who is client, and the ports suggest the opposite.
    let synack = segments("0 C S. 1000 5001").remove(0).1;
    let mut late = synack;
    (late.flow.interface, late.ts) = (2, at(0));
    seen.insert(0, late);
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&in_order(seen)).finish(at(1000));
    assert_eq!(bench.connections().len(), 1, "{:?}", bench.said());
    assert!(bench.said()[0].ends_with("via eth1, eth0"), "{:?}", bench.said());
}

#[test]
fn a_simultaneous_open_is_one_though_each_side_sees_another_begin() {
    let hops = [Hop::middle("eth0").after(0), Hop::middle("eth1").after(20_000_000)];
    let text = "
        0  C S  1000
        5  S S  5000
        26 C S. 1000 5001
        27 S S. 5000 1001
        50 C R. 1001 5001";
    let bench = live(text, &hops);
    let [it] = bench.connections()[..] else { panic!("{:?}", bench.said()) };
    assert!(it.simultaneous_open && it.path.names().count() == 2, "{:?}", bench.said());
}

#[test]
fn where_each_direction_takes_another_way_the_halves_are_one() {
    let hops = [Hop::middle("eth0").passing(true, false), Hop::middle("eth1").passing(false, true)];
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&pass(&segments(CLOSED), &hops, 1)).finish(at(1000));
    let [it] = bench.connections()[..] else { panic!("{:?}", bench.said()) };
    assert_eq!(it.path.names().collect::<Vec<_>>(), ["eth0", "eth1"]);
}

#[test]
fn who_sees_both_directions_tells_of_establishment_and_end() {
    let uplink = Hop::middle("eth0").passing(true, false);
    let downlink = Hop::middle("eth1").passing(false, true);
    let hops = [uplink, downlink, Hop::middle("veth0")];
    // This is long enough for the halves to be reported separately, if they were, and for their time-outs.
    let later = CLOSED.replace("20 ", "200000 ").replace("21 ", "200001 ").replace("30 ", "200002 ");
    for (text, end) in [(CLOSED.to_owned(), at(1000)), (later.replace("31 ", "200003 "), at(400_000))] {
        for keep in [Kinds::NONE, Kinds::ALL] {
            let bench = Bench::new(keep).name(&hops).feed(&pass(&segments(&text), &hops, 1)).finish(end);
            assert_eq!(bench.said(), ["closed on veth0 via eth0, veth0, eth1"], "{keep:?}");
            let id = bench.connections()[0].common.id;
            let established: Vec<_> =
                bench.told.iter().filter(|event| matches!(event, Event::Established(_))).collect();
            assert_eq!(established.len(), 1);
            assert_eq!(established[0].common().map(|common| common.id), Some(id));
        }
    }
}

#[test]
fn an_end_that_the_told_one_missed_is_told_by_another() {
    let hops = [Hop::client("veth0"), Hop::middle("eth0")];
    let seen = pass(&segments(CLOSED), &hops, 1);
    let missed = |segment: &Segment| segment.flow.interface == 1 && segment.ts > at(25);
    let seen: Vec<_> = seen.into_iter().filter(|segment| !missed(segment)).collect();
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&seen).tick(at(5000));
    assert_eq!(bench.said(), ["closed on eth0 via veth0, eth0"]);
    assert_eq!(bench.connections()[0].common.id, 1, "the number that its establishment has");
    assert_eq!(bench.once.open(), 0);
    let bench = bench.finish(at(6000));
    assert_eq!(bench.connections().len(), 1, "{:?}", bench.said());
}

#[test]
fn an_end_that_says_little_waits_for_the_told_one() {
    // A bridge that does not know the way sends the SYN to all of its ports, and nothing answers at the others.
    let flooded = Hop::middle("port2").passing(true, false);
    let hops = [Hop::middle("port0"), flooded, Hop::middle("port1")];
    let seen = pass(&segments("0 C S 1000\n 5 S S. 5000 1001\n 6 C . 1001 5001"), &hops, 1);
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&seen).tick(at(200_000));
    assert!(bench.connections().is_empty(), "{:?}", bench.said());
    assert_eq!((bench.once.open(), bench.once.sightings()), (1, 3));
    let reset = pass(&segments("0 C S 1000\n 200001 C R. 1001 5001"), &hops, 1);
    let bench = bench.feed(&reset[3..]).tick(at(500_000));
    assert_eq!(bench.said()[0], "reset on port0 via port0, port2, port1");
}

#[test]
fn a_reset_that_was_doubted_does_not_wait_for_later_ones() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    // It is not known whether the first reset is at the client's RCV.NXT; the second is at its sender's FIN.
    let story = "
        0    C  S  1000
        0    C2 S  3000
        5    S  S. 5000 1001
        5    S2 S. 7000 3001
        6    C  .  1001 5001
        6    C2 .  3001 7001
        1000 S  R. 5101 1001
        2000 S2 F. 7001 3001
        2001 C2 .  3001 7002
        2900 S2 R. 7002 3001";
    let bench = Bench::new(Kinds::NONE).name(&hops).feed(&pass(&segments(story), &hops, 1)).tick(at(3001));
    assert!(bench.connections().is_empty(), "{:?}", bench.said());
    let bench = bench.tick(at(3102));
    assert_eq!(bench.said(), ["reset on eth0 via eth0, eth1"]);
    let bench = bench.tick(at(5001));
    assert_eq!(bench.said(), ["reset on eth0 via eth0, eth1"; 2]);
}

#[test]
fn an_anomaly_without_a_connection_is_told_once_and_forgotten() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let bench = Bench::new(Kinds::ALL).name(&hops).feed(&pass(&segments("0 C FPU 1000"), &hops, 1));
    let bench = bench.tick(at(100_000));
    let kinds: Vec<_> = bench.told.iter().map(|event| event.kind().name()).collect();
    assert_eq!(kinds, ["segment", "anomaly"]);
    assert!(bench.once.remembers_nothing());
}

#[test]
fn an_anomaly_that_was_told_elsewhere_does_not_keep_a_connection_from_being_told() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let mut seen = pass(&segments("0 C F 1000"), &hops[..1], 1);
    seen.extend(pass(&segments("1 C S 1000"), &hops[1..], 2));
    let bench = Bench::new(Kinds::ALL).name(&hops).feed(&seen).finish(at(5000));
    assert_eq!(bench.said(), ["unanswered on eth1 via eth0, eth1"]);
}

#[test]
fn an_interface_that_joins_late_is_on_the_path_of_what_follows() {
    // The route changes while the connection is open.
    let before = [Hop::middle("eth0"), Hop::middle("eth1").passing(false, false), Hop::middle("eth2")];
    let after = [Hop::middle("eth0"), Hop::middle("eth1"), Hop::middle("eth2").passing(false, false)];
    let (opening, rest): (Vec<_>, Vec<_>) = segments(
        &CLOSED
            .replace("20 ", "5000 ")
            .replace("21 ", "5001 ")
            .replace("30 ", "5030 ")
            .replace("31 ", "5031 "),
    )
    .into_iter()
    .partition(|(_, segment)| segment.ts < at(1000));
    let seen = [pass(&opening, &before, 1), pass(&rest, &after, 1)].concat();
    let bench = Bench::new(Kinds::NONE).name(&before).feed(&seen).finish(at(9000));
    let paths: Vec<Vec<_>> = bench
        .told
        .iter()
        .filter_map(|event| match event {
            Event::Established(it) => Some(it.path.names().collect()),
            Event::Connection(it) => Some(it.path.names().collect()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, [&["eth0", "eth2"][..], &["eth0", "eth2", "eth1"]]);
}

#[test]
fn statistics_come_in_their_turn_and_count_what_was_told() {
    let hops = [Hop::middle("eth0"), Hop::middle("eth1")];
    let mut bench = Bench::new(Kinds::NONE).name(&hops).feed(&pass(&segments(REFUSED), &hops, 1));
    let stats = |ts| Event::Stats(Box::new(Stats { ts, connections_open: 77, ..Stats::default() }));
    for ms in [6, 7] {
        let Bench { once, told, .. } = &mut bench;
        once.event(stats(at(ms)), &mut |event| told.push(event));
    }
    let open = segments("8 C2 S 1000\n 9 S2 S. 5000 1001");
    let bench = bench.feed(&pass(&open, &hops, 1)).tick(at(300));
    let kinds: Vec<_> = bench.told.iter().map(|event| event.kind().name()).collect();
    assert_eq!(kinds, ["connection", "stats", "stats"]);
    let Some(Event::Stats(last)) = bench.told.last() else { panic!() };
    assert_eq!((last.connections.of(Outcome::Refused), last.connections.total()), (1, 1));
    assert_eq!(last.connections_open, 1);
}

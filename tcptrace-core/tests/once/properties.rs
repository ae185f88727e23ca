//! Random connections over random paths: each is reported once, by the best of its sightings and with the whole path,
//! and nothing is left in memory.

use super::*;
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;
use tcptrace_common::tcp::TcpFlags;
use tcptrace_core::once::MAX_HELD;

/// The lives that a connection can have, as scripts with times in milliseconds, which are stretched.
const LIVES: [(&str, Outcome); 5] = [
    (CLOSED, Outcome::Closed),
    (REFUSED, Outcome::Refused),
    ("0 C S 1000", Outcome::Unanswered),
    ("0 C S 1000\n 5 S S. 5000 1001\n 6 C . 1001 5001\n 40 S R. 5001 1001", Outcome::Reset),
    ("0 C S 1000\n 3 C R 1001", Outcome::Aborted),
];

#[derive(Clone, Debug)]
struct Plan {
    life: usize,
    /// The port. Some connections of one test have equal ports, and then other sequence numbers.
    port: u16,
    isn: u32,
    start_us: u64,
    stretch: u64,
    /// Whether the client's and the server's sockets are on hosts that are traced.
    ends: [bool; 2],
    delays_us: Vec<u64>,
    from_the_other_side: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let times = (0..3_000_000_u64, 1..40_u64);
    // The whole path takes less than the time for which an event is held, there and back.
    let delays = vec(0..9_000_u64, 1..5);
    (0..LIVES.len(), 0..3_u16, 0..1_000_000_u32, times, any::<[bool; 2]>(), delays, any::<bool>()).prop_map(
        |(life, port, isn, (start_us, stretch), ends, delays_us, from_the_other_side)| Plan {
            life,
            port,
            isn,
            start_us,
            stretch,
            ends,
            delays_us,
            from_the_other_side,
        },
    )
}

const NAMES: [&str; 4] = ["eth0", "eth1", "eth2", "eth3"];

impl Plan {
    /// The places from the client to the server, in reverse order where the connection is opened from the other side.
    fn hops(&self) -> Vec<Hop> {
        let last = self.delays_us.len() - 1;
        let vantage = |n| match n {
            0 if self.ends[0] => Vantage::Client,
            n if n == last && self.ends[1] => Vantage::Server,
            _ => Vantage::Middle,
        };
        let hop = |(n, us): (usize, &u64)| Hop::at(NAMES[n], vantage(n)).after(us * 1000 + 1);
        self.delays_us.iter().enumerate().map(hop).collect()
    }

    fn told(&self) -> &'static str {
        let last = self.delays_us.len() - 1;
        let place = if !self.ends[0] && self.ends[1] && last > 0 { last } else { 0 };
        self.names()[place]
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = NAMES[..self.delays_us.len()].to_vec();
        if self.from_the_other_side {
            names.reverse();
        }
        names
    }

    fn seen(&self, nth: u32) -> Vec<Segment> {
        let mut life = segments(LIVES[self.life].0);
        let (client, server) = (40_000 + self.port, 80);
        // The numbers are so far apart that none fits another connection.
        let offset = nth * 20_000_000 + self.isn;
        // Nobody answers what has not arrived.
        let way_us: u64 = self.delays_us.iter().map(|us| us + 1).sum();
        for (turn, (from_client, segment)) in (0..).zip(&mut life) {
            let ms = segment.ts.since(at(0));
            segment.ts = at(0).plus((self.start_us + turn * way_us) * 1000 + ms * self.stretch);
            (segment.flow.src_port, segment.flow.dst_port) =
                if *from_client { (client, server) } else { (server, client) };
            segment.seq = if segment.seq.0 == 0 { segment.seq } else { segment.seq.plus(offset) };
            segment.ack = if segment.flags.ack() { segment.ack.plus(offset) } else { segment.ack };
        }
        let hops = self.hops();
        let mut seen = pass(&life, &hops, 0);
        let names = self.names();
        for segment in &mut seen {
            let name = names[segment.flow.interface as usize];
            let number = NAMES.iter().position(|it| *it == name).expect("one of them");
            segment.flow.interface = u32::try_from(number + 1).expect("few");
        }
        seen
    }
}

/// Moves connections with the same port apart in time: which of two on one port is alive is a matter of the tracker's
/// own tests.
fn apart(plans: Vec<Plan>) -> Vec<Plan> {
    let mut free = [0_u64; 3];
    plans
        .into_iter()
        .map(|mut plan| {
            let own = &mut free[usize::from(plan.port)];
            plan.start_us += *own;
            // The longest life, 40 ms stretched and under way seven times, or the time that an unanswered SYN is waited
            // for.
            let lasts = if LIVES[plan.life].1 == Outcome::Unanswered {
                80_000_000
            } else {
                40_000 * plan.stretch + 7 * 40_000
            };
            *own = plan.start_us + lasts + 400_000;
            plan
        })
        .collect()
}

/// A segment that need not fit anything, with one of few ports and numbers, on one of few interfaces.
fn nonsense() -> impl Strategy<Value = (Segment, u64)> {
    let flags = prop_oneof![
        4 => Just(TcpFlags::SYN),
        2 => Just(TcpFlags::SYN.union(TcpFlags::ACK)),
        3 => Just(TcpFlags::ACK),
        2 => Just(TcpFlags::FIN.union(TcpFlags::ACK)),
        1 => Just(TcpFlags::RST),
        1 => Just(TcpFlags::RST.union(TcpFlags::ACK)),
        1 => Just(TcpFlags::FIN),
    ];
    let wait_us = prop_oneof![5 => 0..50_u64, 2 => 0..200_000_u64, 1 => 0..90_000_000_u64];
    (any::<bool>(), 0..2_u16, 1..4_u32, flags, 0..3_u32, 0..3_u32, wait_us).prop_map(
        |(from_client, port, interface, flags, seq, ack, wait_us)| {
            let [client, server] =
                [segments("0 C S 1000"), segments("0 S S 1000")].map(|them| them[0].1.clone());
            let mut segment = if from_client { client } else { server };
            let own = if from_client { &mut segment.flow.src_port } else { &mut segment.flow.dst_port };
            *own += port;
            segment.flow.interface = interface;
            (segment.flags, segment.seq.0, segment.ack.0) = (flags, 1000 + seq, 1000 + ack);
            (segment, wait_us * 1000)
        },
    )
}

fn tuples<'a>(connections: impl IntoIterator<Item = &'a Connection>) -> BTreeSet<(u16, u16)> {
    let ports = |it: &Connection| (it.common.client.port, it.common.server.port);
    connections.into_iter().map(ports).map(|(a, b)| (a.min(b), a.max(b))).collect()
}

proptest! {
    #[test]
    fn each_is_told_once_by_the_best_and_with_its_path(plans in vec(plan(), 1..12), all in any::<bool>()) {
        let plans = apart(plans);
        let seen = (0..).zip(&plans).flat_map(|(n, plan)| plan.seen(n)).collect();
        let keep = if all { Kinds::ALL } else { Kinds::NONE };
        let hops = NAMES.map(Hop::middle);
        let mut bench = Bench::new(keep).name(&hops);
        for segment in in_order(seen) {
            bench.input(&Input::Segment(segment.clone()));
        }
        let bench = bench.tick(at(4_000_000));
        prop_assert!(bench.once.remembers_nothing() && !bench.once.is_holding());
        // A reset is reported when it is no longer held, with the time that it had, and after it what came on the same
        // ports.
        let resets: Vec<_> = bench.connections().into_iter().filter(|it| it.outcome == Outcome::Reset).collect();
        let resets = tuples(resets);
        let of_reset = |common: &tcptrace_core::event::Common| {
            let (a, b) = (common.client.port, common.server.port);
            resets.contains(&(a.min(b), a.max(b)))
        };
        let others = bench.told.iter().filter(|it| !it.common().is_some_and(of_reset));
        prop_assert!(others.is_sorted_by_key(Event::ts));
        let told = bench.connections();
        prop_assert_eq!(told.len(), plans.len(), "{:?}", bench.said());
        for (n, plan) in (0..).zip(&plans) {
            let isn = Some(1000 + n * 20_000_000 + plan.isn);
            let mine: Vec<_> = told.iter().filter(|connection| connection.client_isn == isn).collect();
            prop_assert_eq!(mine.len(), 1);
            let (it, outcome) = (mine[0], LIVES[plan.life].1);
            prop_assert_eq!(it.outcome, outcome);
            prop_assert_eq!(&*it.common.interface, plan.told());
            prop_assert_eq!(it.path.names().collect::<Vec<_>>(), plan.names());
            // All events of the connection are reported from that place, and with that number.
            let ids: Vec<_> = bench.told.iter().filter_map(Event::common).filter(|it| it.id == mine[0].common.id).collect();
            prop_assert!(ids.iter().all(|common| common.interface == it.common.interface));
        }
    }

    #[test]
    fn whatever_comes_is_told_at_most_once_and_forgotten(
        nonsense in vec(nonsense(), 0..120),
        all in any::<bool>(),
        few in any::<bool>(),
    ) {
        let config = |max_connections| track::Config { max_connections, wants: Kinds::ALL, ..track::Config::default() };
        let most = if few { 4 } else { 1000 };
        let keep = if all { Kinds::ALL } else { Kinds::NONE };
        let mut bench = Bench::of(Tracker::new(config(most)), keep, most + MAX_HELD);
        let (mut each, mut reference) = (Vec::new(), Tracker::new(config(most)));
        let mut now = at(0);
        for (mut segment, wait_ns) in nonsense {
            now = now.plus(wait_ns);
            segment.ts = now;
            let input = Input::Segment(segment);
            bench.input(&input);
            reference.input(&input, &mut |event| each.push(event));
        }
        let bench = bench.finish(now);
        reference.finish(now, &mut |event| each.push(event));
        let each: Vec<_> =
            each.iter().filter_map(|event| if let Event::Connection(it) = event { Some(&**it) } else { None }).collect();
        let told = bench.connections();
        prop_assert!(told.len() <= each.len());
        prop_assert_eq!(tuples(told.iter().copied()), tuples(each.iter().copied()));
        let ids: BTreeSet<_> = told.iter().map(|connection| connection.common.id).collect();
        prop_assert_eq!(ids.len(), told.len());
        let bench = bench.tick(now.plus(400_000_000_000));
        prop_assert!(bench.once.remembers_nothing() && bench.once.apart() == 0);
    }
}

//! Random connections, played by a model that knows their states (`model.rs`): the tracker must find these, both from
//! all segments and from those that the kernel programs' lifecycle test lets through.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p tcptrace-core --test tracker properties` makes a long run.

use super::{
    model::{Act, Fate, Plan, Played, Seg, play, sender},
    script,
};
use proptest::{collection::vec, prelude::*};
use std::fmt::Write as _;
use tcptrace_common::{
    abi::{Bucket, SEED_WORDS},
    filter::Steps,
    flow::V4,
    lifecycle,
    record::Sighting,
    tcp::TcpFlags,
    wire::{Packet, Vlans},
};
use tcptrace_core::{
    event::{Connection, Event, Outcome, Role, State},
    reorder::Reorder,
    segment::{Input, Segment, Timestamp},
    track::Tracker,
};
use tcptrace_testing::fuzzing::audit::Audit;
use tcptrace_testing::script::CLIENT;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Late(0)),
        2 => (1..=255_u8).prop_map(Fate::Late),
        1 => Just(Fate::LostBefore),
        1 => Just(Fate::LostAfter),
        2 => any::<u8>().prop_map(Fate::Twice),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (1..9_u8).prop_map(Act::Skip),
        4 => (1..20_000_u16).prop_map(Act::Send),
        4 => Just(Act::Close),
        1 => Just(Act::CloseOnEof),
        1 => Just(Act::Abort),
    ]
}

/// A sequence number, half of the time near the ends of the number space.
fn isn() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (0..40_000_u32).prop_map(|back| u32::MAX - back)]
}

fn plan(fates: impl Strategy<Value = Vec<Fate>>) -> impl Strategy<Value = Plan> {
    let acts = vec((0..600_000_u32, any::<bool>(), act()), 0..7);
    let distance = (0..20_000_u16, 1..20_000_u16);
    (
        isn(),
        isn(),
        prop::bool::weighted(0.05),
        prop::option::weighted(0.15, 0..10_000_u16),
        acts,
        fates,
        distance,
    )
        .prop_map(|(client_isn, server_isn, closed_port, simultaneous_us, acts, fates, distance_us)| {
            // An open is simultaneous only while the first SYN is under way.
            let whole = u32::from(distance_us.0) + u32::from(distance_us.1);
            let simultaneous_us = simultaneous_us.filter(|us| u32::from(*us) < whole && !closed_port);
            let mut acts: Vec<(u32, bool, Act)> = acts;
            if simultaneous_us.is_some() {
                // A SYN that its sender's RST overtook opens a connection, as far as the capture point shows.
                acts.retain(|(_, _, act)| *act != Act::Abort);
            }
            let attacks = Vec::new();
            Plan { client_isn, server_isn, closed_port, simultaneous_us, acts, fates, distance_us, attacks }
        })
}

/// The segments that the kernel programs would make records of.
fn lifecycle_only(seen: &[Segment]) -> Vec<Segment> {
    let mut table = [Bucket::default(); 16];
    let at = |address: [u8; 16]| u32::from_ne_bytes(*address.last_chunk().expect("16 bytes"));
    seen.iter()
        .filter(|seg| {
            let packet = Packet {
                addresses: V4 { src: at(seg.flow.src), dst: at(seg.flow.dst) },
                vlans: Vlans::NONE,
                ports: u32::from(seg.flow.src_port) << 16 | u32::from(seg.flow.dst_port),
                seq: seg.seq,
                ack: seg.ack,
                flags: seg.flags,
                window: seg.window,
                payload_len: seg.payload_len,
                ttl: seg.ttl,
                id: seg.id,
                fragmented: seg.fragmented,
                options_at: 0,
                options_len: 0,
            };
            let sighting = Sighting { ifindex: 1, egress: false, forwarded: false };
            lifecycle::inspect(&packet, sighting, Steps::ALL, &mut table[..], &[7; SEED_WORDS]).is_some()
        })
        .cloned()
        .collect()
}

/// What the tracker made of the segments of a connection.
struct Tracked {
    events: Vec<Event>,
    connection: Connection,
    /// The states of the model's client and server, when all was seen.
    states: [State; 2],
}

/// Gives the segments to the tracker, checks what must hold of any input, and returns the one connection.
fn track(seen: impl IntoIterator<Item = Input>) -> Tracked {
    track_one_of(seen, |_| true)
}

/// Gives the segments to the tracker and checks what must hold of any input. There can be other connections, such as
/// one that a forged SYN seems to open.
fn track_one_of(seen: impl IntoIterator<Item = Input>, is_it: impl Fn(&Connection) -> bool) -> Tracked {
    let mut tracker = Tracker::new(script::config());
    let (mut audit, mut events) = (Audit::default(), Vec::new());
    let mut last = Timestamp(0);
    let mut take = |tracker: &mut Tracker, input: Option<Input>, last| {
        let mut sink = |event: Event| {
            audit.event(&event);
            events.push(event);
        };
        match input {
            Some(input) => tracker.input(&input, &mut sink),
            None => tracker.finish(last, &mut sink),
        }
    };
    let mut all = Vec::new();
    for input in seen {
        if let Input::Segment(seg) = &input {
            last = last.max(seg.ts);
            all.push(seg.clone());
        }
        take(&mut tracker, Some(input), last);
    }
    take(&mut tracker, None, last);
    let ended = events.iter().filter_map(|e| if let Event::Connection(c) = e { Some(&**c) } else { None });
    let ended: Vec<_> = ended.filter(|connection| is_it(connection)).collect();
    // A client that did not get the RST tries again, and is refused again.
    let refused = ended.iter().all(|connection| connection.outcome == Outcome::Refused);
    let ended = if refused { ended.into_iter().take(1).collect() } else { ended };
    let [connection] = ended[..] else {
        let outcomes: Vec<_> = ended.iter().map(|c| c.outcome).collect();
        panic!("not one connection but {outcomes:?}: {}", story(&all));
    };
    let connection = connection.clone();
    let mut states = audit.states(connection.common.id);
    if connection.common.client.port != CLIENT.port() {
        states.reverse();
    }
    Tracked { events, connection, states }
}

fn inputs(seen: &[Segment]) -> impl Iterator<Item = Input> {
    seen.iter().cloned().map(Input::Segment)
}

/// The segments that were seen, as a script.
fn story(seen: &[Segment]) -> String {
    let mut story = String::from("\n");
    for seg in seen {
        let who = if sender(seg) == Role::Client { "C" } else { "S" };
        let ns = seg.ts.0 - 1_000_000_000;
        let (ms, rest) = (ns / 1_000_000, ns % 1_000_000);
        let (flags, seq, ack, len) = (seg.flags, seg.seq.0, seg.ack.0, seg.payload_len);
        let _ = writeln!(story, "{ms}.{rest:06} {who} {flags} {seq} {ack} {len}");
    }
    story
}

/// Checks that the model and the tracker agree on how the connection ended.
fn check(plan: &Plan, played: &Played, tracked: &Tracked) {
    let Tracked { connection, states, .. } = tracked;
    let story = || story(&played.seen);
    assert_eq!(*states, [played.client.state, played.server.state], "{}", story());
    let resets = played.seen.iter().any(|seg| seg.flags.rst());
    let over = |state: &State| matches!(state, State::Closed | State::TimeWait);
    let fits = match connection.outcome {
        // A copy of the last acknowledgement that finds no connection is answered by a RST.
        Outcome::Closed => states.iter().all(over),
        Outcome::Reset => resets && played.client.was_reset | played.server.was_reset,
        Outcome::Refused => plan.closed_port || played.server.was_reset,
        Outcome::Aborted => played.client.was_reset,
        Outcome::Open => !states.iter().all(over),
        _ => false,
    };
    assert!(fits, "{:?}:{}", connection.outcome, story());
    if connection.outcome == Outcome::Closed {
        let mut bytes = [connection.client_bytes, connection.server_bytes];
        if connection.common.client.port != CLIENT.port() {
            bytes.reverse();
        }
        // Byte counts are modulo 2^32.
        let written = [&played.client, &played.server]
            .map(|end| Some(u64::from(end.written.wrapping_add(end.skipped.wrapping_mul(1 << 30)))));
        assert_eq!(bytes, written, "{}", story());
    }
    assert_eq!(connection.simultaneous_open, both_opened(&played.seen), "{}", story());
    if connection.outcome != Outcome::Refused && connection.outcome != Outcome::Aborted {
        let syns = |role| played.seen.iter().filter(|s| is_syn(s) && sender(s) == role).count();
        let all = syns(Role::Client).max(syns(Role::Server));
        assert!(connection.syn_retransmits as usize <= all, "{}", story());
    }
}

fn is_syn(seg: &Segment) -> bool {
    seg.flags.syn() && !seg.flags.ack()
}

/// Whether both ends sent a SYN, and both were seen before either was answered.
fn both_opened(seen: &[Segment]) -> bool {
    let opening = || seen.iter().take_while(|seg| is_syn(seg) || !seg.flags.syn());
    let opened = |role| opening().any(|seg| is_syn(seg) && sender(seg) == role);
    opened(Role::Client) && opened(Role::Server)
}

/// Makes every time stamp differ from all others, so that no order is left to chance.
fn apart(mut played: Played) -> Played {
    for (nth, seg) in (0..).zip(&mut played.seen) {
        seg.ts = seg.ts.plus(nth);
    }
    played
}

/// A segment of somebody who knows only the addresses and ports.
fn attack() -> impl Strategy<Value = Seg> {
    let flags = prop_oneof![
        3 => Just(TcpFlags::RST),
        2 => Just(TcpFlags::RST.union(TcpFlags::ACK)),
        3 => Just(TcpFlags::FIN.union(TcpFlags::ACK)),
        1 => Just(TcpFlags::SYN),
        1 => Just(TcpFlags::SYN.union(TcpFlags::ACK)),
        2 => Just(TcpFlags::ACK),
    ];
    // The numbers are relative to the ISNs and far from them, so that none is a lucky guess.
    let far = || 1_u32 << 25..u32::MAX - (1 << 25);
    (flags, far(), far(), 0..1000_u32).prop_map(|(flags, seq, ack, len)| Seg {
        flags: flags.0,
        seq,
        ack: if flags.ack() { ack } else { 0 },
        len: if flags.intersects(TcpFlags::SYN.union(TcpFlags::RST)) { 0 } else { len },
    })
}

/// A connection that is attacked, and closed by both ends within the time for which a reset is held.
fn attacked() -> impl Strategy<Value = Plan> {
    let acts = vec((0..600_000_u32, any::<bool>(), act()), 0..4);
    let closes = (600_000..1_500_000_u32, 600_000..1_500_000_u32);
    let attacks = vec((0..1_500_000_u32, any::<bool>(), attack()), 1..6);
    (plan(Just(Vec::new())), acts, closes, attacks).prop_map(|(plan, mut acts, closes, mut attacks)| {
        // A SYN before the end of the handshake opens something, whoever sent it.
        attacks.retain(|(us, _, seg)| *us > 100_000 || !seg.has(TcpFlags::SYN));
        for (_, client, seg) in &mut attacks {
            let (own, other) =
                if *client { (plan.client_isn, plan.server_isn) } else { (plan.server_isn, plan.client_isn) };
            seg.seq = seg.seq.wrapping_add(own);
            seg.ack = if seg.has(TcpFlags::ACK) { seg.ack.wrapping_add(other) } else { 0 };
        }
        acts.retain(|(_, _, act)| matches!(act, Act::Send(_) | Act::CloseOnEof));
        acts.extend([(closes.0, true, Act::Close), (closes.1, false, Act::Close)]);
        Plan { closed_port: false, simultaneous_us: None, acts, attacks, ..plan }
    })
}

proptest! {
    #[test]
    fn who_guesses_numbers_changes_no_story(plan in attacked()) {
        let played = apart(play(&plan));
        // The answer to an attacker's segment can end TIME-WAIT (RFC 1337).
        let assassinated = played.client.was_reset || played.server.was_reset;
        let is_it = |it: &Connection| it.client_isn == Some(plan.client_isn) && !it.partial;
        for seen in [played.seen.clone(), lifecycle_only(&played.seen)] {
            let Tracked { connection, .. } = track_one_of(inputs(&seen), is_it);
            let states = [connection.client_state, connection.server_state];
            let story = || story(&seen);
            // The connection must end, and no other end may be reported as complete.
            prop_assert_eq!(connection.outcome, Outcome::Closed, "{}", story());
            if connection.common.complete {
                let ends = [played.client.state, played.server.state].map(Some);
                prop_assert!(assassinated || states == ends, "{states:?}, {ends:?}: {}", story());
                let bytes = [connection.client_bytes, connection.server_bytes];
                let written = [&played.client, &played.server].map(|end| Some(u64::from(end.written)));
                prop_assert_eq!(bytes, written, "{}", story());
            }
        }
    }

    #[test]
    fn the_tracker_finds_what_the_model_knows(plan in plan(vec(fate(), 0..24))) {
        let played = apart(play(&plan));
        check(&plan, &played, &track(inputs(&played.seen)));
        check(&plan, &played, &track(inputs(&lifecycle_only(&played.seen))));
    }

    #[test]
    fn a_segment_seen_twice_changes_no_outcome(plan in plan(vec(fate(), 0..12)), twice in any::<u64>()) {
        let played = apart(play(&plan));
        let seen = lifecycle_only(&played.seen);
        let copied: Vec<_> = (0..)
            .zip(&seen)
            .flat_map(|(nth, seg)| std::iter::repeat_n(seg.clone(), 1 + usize::from(twice >> (nth % 64) & 1 == 1)))
            .collect();
        let (once, again) = (track(inputs(&seen)), track(inputs(&copied)));
        prop_assert_eq!(once.states, again.states);
        let (a, b) = (once.connection, again.connection);
        prop_assert_eq!(a.outcome, b.outcome);
        prop_assert_eq!((a.closed_by, a.reset_by, a.reset_phase), (b.closed_by, b.reset_by, b.reset_phase));
        prop_assert_eq!((a.client_bytes, a.server_bytes), (b.client_bytes, b.server_bytes));
        prop_assert_eq!(a.times.syn_to_established_ns, b.times.syn_to_established_ns);
        prop_assert_eq!((a.client_state_ns, a.server_state_ns), (b.client_state_ns, b.server_state_ns));
    }

    #[test]
    fn what_comes_out_of_order_within_the_window_changes_nothing(
        plan in plan(vec(fate(), 0..12)),
        late in vec(0..2_000_000_u64, 1..50),
    ) {
        let played = apart(play(&plan));
        let seen = lifecycle_only(&played.seen);
        // Each segment arrives this much after its time stamp.
        let mut arriving: Vec<_> =
            seen.iter().zip(late.iter().cycle()).map(|(seg, late)| (seg.ts.plus(*late), seg.clone())).collect();
        arriving.sort_by_key(|(at, _)| *at);
        let (mut reorder, mut sorted) = (Reorder::default(), Vec::new());
        for (at, seg) in arriving {
            reorder.push(seg.ts, Input::Segment(seg));
            reorder.release(Timestamp(at.0.saturating_sub(2_000_000)), &mut sorted);
        }
        reorder.release(Timestamp(u64::MAX), &mut sorted);
        prop_assert_eq!(reorder.late(), 0);
        prop_assert_eq!(track(sorted).events, track(inputs(&seen)).events);
    }

    #[test]
    fn without_loss_the_times_are_the_distances(plan in plan(Just(Vec::new()))) {
        let mut plan = plan;
        (plan.closed_port, plan.simultaneous_us) = (false, None);
        plan.acts.retain(|(_, _, act)| *act != Act::Abort);
        let played = play(&plan);
        let Tracked { connection, .. } = track(inputs(&lifecycle_only(&played.seen)));
        let [near, far] = [plan.distance_us.0, plan.distance_us.1].map(|us| Some(2000 * u64::from(us)));
        let times = connection.times;
        prop_assert_eq!((times.syn_to_synack_ns, times.synack_to_ack_ns), (far, near));
        prop_assert_eq!(times.syn_retry_ns, Some(0));
        prop_assert_eq!(times.syn_to_established_ns, near.zip(far).map(|(near, far)| near + far));
        if connection.outcome == Outcome::Closed {
            // The client's states follow each other from the first segment to its last change.
            let sum: u64 = connection.client_state_ns.as_slice().iter().filter_map(|(_, ns)| *ns).sum();
            let last = |role| played.seen.iter().rfind(|s| sender(s) == role).map(|s| s.ts);
            let lifetime = connection.lifetime_ns.expect("its SYN was seen");
            prop_assert!(sum <= lifetime);
            if last(Role::Server) < last(Role::Client) || connection.client_state == Some(State::Closed) {
                prop_assert_eq!(sum, lifetime);
            }
        }
    }

    #[test]
    fn any_segments_at_all(
        segments in vec((any::<bool>(), 0..512_u16, 0..6_u32, 0..6_u32, 0..3_u32, 0..100_000_000_u64), 0..60),
    ) {
        let mut now = Timestamp(1);
        let mut tracker = Tracker::new(script::config());
        let mut audit = Audit::default();
        for (client, flags, seq, ack, len, later) in segments {
            now = now.plus(later);
            // A few numbers about each ISN, so that many of them fit.
            let (own, other) = if client { (1000, 5000) } else { (5000, 1000) };
            let seg = Segment {
                ts: now,
                flow: script::flow(client),
                flags: TcpFlags(flags),
                seq: tcptrace_common::seq::SeqNum(own + seq),
                ack: tcptrace_common::seq::SeqNum(other + ack),
                payload_len: len,
                ..script::segment("0 C . 0 0")
            };
            tracker.input(&Input::Segment(seg), &mut |event| audit.event(&event));
        }
        tracker.finish(now, &mut |event| audit.event(&event));
        prop_assert_eq!(tracker.counts().total(), audit.ended);
        prop_assert_eq!(tracker.open(), 0);
    }
}

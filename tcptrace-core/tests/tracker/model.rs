//! A model of one connection: two endpoints as RFC 9293 §3.10 has them, and a network between them that loses, repeats
//! and reorders segments, with a capture point on the way. It knows the states that the tracker has to reconstruct.

mod endpoint;

pub(super) use endpoint::{Act, Endpoint};

use super::script;
use std::{cmp::Reverse, collections::BinaryHeap};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};
use tcptrace_core::{
    event::Role,
    segment::{Direction, Segment, Sender, Timestamp},
};

/// A segment between the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seg {
    pub(super) flags: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) len: u32,
}

impl Seg {
    pub(super) fn has(self, flag: TcpFlags) -> bool {
        TcpFlags(self.flags).intersects(flag)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A segment passes the capture point, and arrives this much later than usual, or never.
    Passes(Seg, Option<u8>),
    Arrives(Seg),
    /// The retransmission timer runs out, if it was not set anew since it had this number.
    Timer(u64),
    Acts(Act),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Happening {
    at: u64,
    /// The order of planning: of equal times the first to be planned comes first.
    number: u64,
    /// Whether it is the client's: it is the sender, the receiver, or the end of the timer or the application.
    client: bool,
    what: What,
}

/// What the network does to one segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// The segment is delivered, this much later than usual (in tenths of a millisecond).
    Late(u8),
    /// The segment is lost before the capture point.
    LostBefore,
    /// The segment is lost after the capture point.
    LostAfter,
    /// The segment is delivered, and again this much later.
    Twice(u8),
}

/// A connection to be played.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) client_isn: u32,
    pub(super) server_isn: u32,
    /// Nobody listens at the server.
    pub(super) closed_port: bool,
    /// Both ends open actively, the second this many microseconds after the first.
    pub(super) simultaneous_us: Option<u16>,
    /// The actions of the applications: (microseconds, whether the client's, action).
    pub(super) acts: Vec<(u32, bool, Act)>,
    /// What the network does to each segment, in the order of sending; later ones all arrive.
    pub(super) fates: Vec<Fate>,
    /// The delay from the client to the capture point, and from there to the server, in microseconds.
    pub(super) distance_us: (u16, u16),
    /// The segments of somebody who knows addresses and ports, and guesses the numbers: (microseconds, whether in the
    /// client's name).
    pub(super) attacks: Vec<(u32, bool, Seg)>,
}

/// What became of a connection that was played.
pub(super) struct Played {
    /// The segments that passed the capture point, in order.
    pub(super) seen: Vec<Segment>,
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
}

struct Play<'a> {
    plan: &'a Plan,
    fates: std::slice::Iter<'a, Fate>,
    queue: BinaryHeap<Reverse<Happening>>,
    planned: u64,
    now: u64,
    ends: [Endpoint; 2],
    seen: Vec<Segment>,
}

/// Plays a connection until nothing more happens.
pub(super) fn play(plan: &Plan) -> Played {
    /// Far more steps than any of these lives takes: each loss costs a retransmission, and losses end.
    const MOST: usize = 5000;
    let client = Endpoint::new(plan.client_isn, false);
    let server = Endpoint::new(plan.server_isn, !plan.closed_port && plan.simultaneous_us.is_none());
    let mut play = Play {
        plan,
        fates: plan.fates.iter(),
        queue: BinaryHeap::new(),
        planned: 0,
        now: 0,
        ends: [client, server],
        seen: Vec::new(),
    };
    play.plan(0, true, What::Acts(Act::Open));
    if let Some(us) = plan.simultaneous_us {
        play.plan(u64::from(us) * 1000, false, What::Acts(Act::Open));
    }
    for (us, client, act) in &plan.acts {
        play.plan(u64::from(*us) * 1000, *client, What::Acts(*act));
    }
    for (us, client, seg) in &plan.attacks {
        play.plan(u64::from(*us) * 1000, *client, What::Passes(*seg, Some(0)));
    }
    for _ in 0..MOST {
        let Some(Reverse(next)) = play.queue.pop() else {
            let [client, server] = play.ends;
            return Played { seen: play.seen, client, server };
        };
        play.now = next.at;
        play.happen(next.client, next.what);
    }
    panic!("it does not end: {plan:#?}");
}

impl Play<'_> {
    fn plan(&mut self, at: u64, client: bool, what: What) {
        self.planned += 1;
        self.queue.push(Reverse(Happening { at, number: self.planned, client, what }));
    }

    /// Moves one direction on by `gib` GiB if nothing is on its way, and all that is to come by the time that they
    /// take.
    fn skip(&mut self, client: bool, gib: u8) {
        /// The time of one GiB, which is more than a link of 100 Gbit/s needs.
        const GIB_NS: u64 = 200_000_000;
        let moves = |next: &Reverse<Happening>| matches!(next.0.what, What::Passes(..) | What::Arrives(_));
        let [one, other] = &mut self.ends;
        let (sender, receiver) = if client { (one, other) } else { (other, one) };
        if self.queue.iter().any(moves) || !sender.skip(receiver, gib) {
            return;
        }
        let later = |next: Reverse<Happening>| {
            Reverse(Happening { at: next.0.at + GIB_NS * u64::from(gib), ..next.0 })
        };
        self.queue = self.queue.drain().map(later).collect();
    }

    fn happen(&mut self, client: bool, what: What) {
        if let What::Acts(Act::Skip(gib)) = what {
            return self.skip(client, gib);
        }
        let end = &mut self.ends[usize::from(!client)];
        let before = end.clone();
        let mut out = Vec::new();
        match what {
            What::Passes(seg, late) => {
                self.seen.push(segment(client, seg, self.now));
                if let Some(tenths) = late {
                    let (near, far) = self.plan.distance_us;
                    let us = u64::from(if client { far } else { near });
                    let at = self.now + 1000 * us + 100_000 * u64::from(tenths);
                    self.plan(at, !client, What::Arrives(seg));
                }
                return;
            }
            What::Arrives(seg) => end.arrives(seg, &mut out),
            What::Timer(setting) if setting == end.timer => end.retransmits(&mut out),
            What::Timer(_) => return,
            What::Acts(act) => end.acts(act, &mut out),
        }
        let after = end.timer;
        let waits = end.wait_ns();
        if before.timer != after
            && let Some(ns) = waits
        {
            self.plan(self.now + ns, client, What::Timer(after));
        }
        for seg in out {
            self.sends(client, seg);
        }
    }

    fn sends(&mut self, client: bool, seg: Seg) {
        let (near, far) = self.plan.distance_us;
        let us = u64::from(if client { near } else { far });
        // A RST is not sent again: where it is lost, or the challenge ACK that answers it, the other side stays as it
        // was, and the capture point does not show that.
        if seg.has(TcpFlags::RST) {
            self.fates = [].iter();
        }
        let fate = self.fates.next();
        let now = self.now + 1000 * us;
        let at = |tenths: u8| now + 100_000 * u64::from(tenths);
        // Where a FIN never passed the capture point, or passed after a later segment, its order to the other side's
        // FIN is not known in time.
        let fin = seg.has(TcpFlags::FIN);
        let synack = seg.has(TcpFlags::SYN) && seg.has(TcpFlags::ACK);
        match *fate.unwrap_or(&Fate::Late(0)) {
            Fate::Late(tenths) if fin => self.plan(at(0), client, What::Passes(seg, Some(tenths))),
            Fate::Late(tenths) => self.plan(at(tenths), client, What::Passes(seg, Some(0))),
            // Only a SYN-ACK shows which acknowledgement to wait for.
            Fate::LostBefore if !(fin || synack) => {}
            Fate::LostBefore | Fate::LostAfter => self.plan(at(0), client, What::Passes(seg, None)),
            Fate::Twice(tenths) => {
                self.plan(at(0), client, What::Passes(seg, Some(0)));
                self.plan(at(tenths), client, What::Passes(seg, Some(0)));
            }
        }
    }
}

/// The segment as the tracker gets it from the capture point.
fn segment(client: bool, seg: Seg, now: u64) -> Segment {
    let flags = TcpFlags(seg.flags);
    Segment {
        ts: Timestamp(1_000_000_000 + now),
        flow: script::flow(client),
        flags,
        seq: SeqNum(seg.seq),
        ack: SeqNum(seg.ack),
        window: u16::MAX,
        payload_len: seg.len,
        fragmented: false,
        ttl: 64,
        id: 0,
        options: flags.syn().then_some(tcptrace_core::segment::RawOptions::new(&[])),
        direction: Direction::Unknown,
        sender: Sender::Unknown,
        lot: 0,
        encapsulation: None,
        socket: None,
        request: None,
    }
}

/// Whether the client sent the segment.
pub(super) fn sender(seg: &Segment) -> Role {
    if seg.flow == script::flow(true) { Role::Client } else { Role::Server }
}

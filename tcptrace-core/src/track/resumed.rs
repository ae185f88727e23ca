//! Tries that were given up and go on. A stack waits up to 64 s for its next SYN (`net.ipv4.tcp_syn_retries`), longer than
//! `--syn-timeout` may be, and an answer can come late: what comes then belongs to the try that was reported, and the times
//! of what becomes of it count from there. It is a report of its own, under a number of its own.

use super::{
    Tracker,
    conn::{
        Conn, List,
        clocks::{Moment, When},
    },
    key::Key,
    numbers,
    state::Evidence,
};
use crate::{
    event::{Event, Role, State},
    segment::{Segment, Timestamp},
};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// How long after its last segment a try may go on: twice the longest wait of Linux for its next SYN.
const GOES_ON_NS: u64 = 128_000_000_000;

/// The last so many that were given up.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    conns: HashMap<Key, Conn>,
    /// In the order in which they were given up, with their numbers: a four-tuple can be given up again.
    order: VecDeque<(Key, u64)>,
}

impl GivenUp {
    const MOST: usize = 4096;

    fn keep(&mut self, conn: Conn) {
        self.order.push_back((conn.key, conn.id));
        self.conns.insert(conn.key, conn);
        while self.order.len() > Self::MOST {
            let Some((key, id)) = self.order.pop_front() else { return };
            if self.conns.get(&key).is_some_and(|conn| conn.id == id) {
                self.conns.remove(&key);
            }
        }
    }
}

impl Tracker {
    /// Nothing answered `conn` by `deadline`, or its SYN-ACK.
    pub(super) fn give_up(&mut self, mut conn: Conn, deadline: Timestamp, sink: &mut dyn FnMut(Event)) {
        let states = conn.sides.map(|side| side.state);
        self.time_out(&mut conn, deadline, sink);
        if !conn.flags.partial && conn.side(Role::Client).isn().is_some() {
            for (side, state) in conn.sides.iter_mut().zip(states) {
                side.state = state;
            }
            self.given_up.keep(conn);
        }
    }

    /// `seg` goes on with a try that was given up: that is in the table again, under a new number.
    pub(super) fn resume(
        &mut self,
        key: &Key,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) -> Option<u32> {
        let conn = self.given_up.conns.get(key)?;
        let role = conn.role_of(src_is_low);
        let again = seg.flags.syn() && !seg.flags.ack() && conn.side(role).isn() == Some(seg.seq);
        let goes_on = again || numbers::acknowledges_syn(conn, role, seg);
        if !goes_on || seg.ts.since(conn.last) > GOES_ON_NS {
            return None;
        }
        let mut conn = self.given_up.conns.remove(key)?;
        self.make_room(seg.ts, sink);
        conn.id = self.next_id;
        self.next_id += 1;
        let mut out = self.telling.to(sink);
        conn.forget_early();
        for role in [Role::Client, Role::Server] {
            let state = conn.side(role).state;
            // In a simultaneous open the server sent a SYN of its own too.
            let opens = role == Role::Client || state == State::SynSent;
            let presumed = if opens { Evidence::SentSyn } else { Evidence::PresumedListening };
            conn.side_mut(role).state = State::Closed;
            conn.set_entered(role, When::NEVER);
            out.transition(&mut conn, role, presumed, seg.ts, true);
            if state == State::SynReceived {
                out.transition(&mut conn, role, Evidence::SentSynAck, seg.ts, true);
            }
            let answered = conn.at(Moment::FirstSynack);
            let since = if state == State::SynReceived { answered } else { conn.start.into() };
            conn.set_entered(role, since);
        }
        Some(self.table.insert(conn, List::Handshake))
    }
}

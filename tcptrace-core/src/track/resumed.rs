//! Handshakes that were given up and go on. A stack waits up to 64 s before its next SYN (`net.ipv4.tcp_syn_retries`),
//! longer than `--syn-timeout` may be, and an answer can come late. Such a segment belongs to the handshake that was
//! reported, and times are counted from the beginning of that; but it begins a connection with a number and a report of
//! its own.

use super::{
    Tracker,
    conn::{
        Conn, List,
        times::{Moment, When},
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

/// How long after its last segment a handshake may go on: twice the longest time that Linux waits before its next SYN.
const GOES_ON_NS: u64 = 128_000_000_000;

/// The handshakes that were given up last.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    conns: HashMap<Key, Conn>,
    /// The keys of the connections in the order in which they were given up, with their numbers, as a four-tuple can be
    /// given up more than once.
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
    /// Ends `conn` at `deadline`, by which its SYN or its SYN-ACK was not answered, and keeps it in case it goes on.
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

    /// Puts a handshake that was given up into the table again, under a new number, if `seg` goes on with it.
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
        let mut out = self.context.out(sink);
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

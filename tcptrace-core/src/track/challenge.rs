//! A SYN on a four-tuple whose connection is open, or was answered by a SYN-ACK. Somebody may have forgotten that connection and open a new one, or
//! somebody may only guess at numbers. The receiver cannot tell either, and asks by a challenge ACK (RFC 5961 §4); so
//! the new connection is kept beside the old one until a segment shows which of the two is alive.

use super::{
    Tracker,
    after::After,
    conn::{Conn, List},
    key::Key,
    numbers,
    report::Sight,
    rules,
};
use crate::{
    event::{AnomalyReason, Event, Outcome, Role, State},
    segment::{IcmpError, Segment, Timestamp},
};

/// What goes on from a SYN, and waits for an answer of the other end, at most.
const MOST_WAITING: usize = 32;

impl Conn {
    /// What waits for a word of the other end, in the order in which it came.
    pub(super) fn waiting(&self) -> &[Segment] {
        self.teardown().doubts.as_deref().map_or(&[], |doubts| &doubts.goes_on)
    }

    fn take_waiting(&mut self) -> Vec<Segment> {
        if self.waiting().is_empty() { Vec::new() } else { std::mem::take(&mut self.doubts_mut().goes_on) }
    }
}

impl Tracker {
    /// `seg`, a SYN, is one that the connection in `slot` does not know. If only one side of that was ever heard, nothing more
    /// can be expected to decide, and it counts.
    pub(super) fn is_challenge(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        let conn = &self.table[slot];
        let role = conn.role_of(src_is_low);
        let open = conn.is_open() && conn.sides.iter().all(|side| side.acked().is_some());
        // A server in SYN-RECEIVED answers it by an acknowledgement, too (net/ipv4/tcp_minisocks.c, tcp_check_req).
        let answered = role == Role::Client && conn.side(Role::Server).state == State::SynReceived;
        (open || (answered && !conn.flags.partial))
            && conn.side(role).isn() != Some(seg.seq)
            && !conn.is_answered_by_now(role, seg)
    }

    /// Takes such a SYN.
    pub(super) fn challenge(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let incumbent = &self.table[slot];
        let role = incumbent.role_of(src_is_low);
        self.telling.to(sink).anomaly(incumbent, role, seg, (AnomalyReason::SynInConnection, None));
        let key = incumbent.key;
        self.opens_beside(key, src_is_low, seg, sink);
    }

    /// A SYN that may open a connection anew, whose four-tuple another one still has.
    pub(super) fn opens_beside(
        &mut self,
        key: Key,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        if let Some(slot) = self.challengers.find(&key) {
            self.step(slot, src_is_low, seg, sink);
        } else {
            self.open_challenger(key, src_is_low, seg, sink);
        }
    }

    fn open_challenger(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let mut conn = self.fresh(key, src_is_low, Role::Client, seg);
        conn.note_sight(Role::Client, seg);
        let mut out = self.telling.to(sink);
        out.segment(&conn, Role::Client, seg, Sight::First);
        rules::first_syn(&mut conn, seg, &mut out);
        self.challengers.insert(conn, List::Handshake);
    }

    /// A segment on a four-tuple with two connections: true if it was the newer one's, which takes the older one's
    /// place if it is alive.
    pub(super) fn is_challengers(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) -> bool {
        let key = self.table[slot].key;
        let Some(newer) = self.challengers.find(&key) else {
            return false;
        };
        let conn = &self.challengers[newer];
        let role = conn.role_of(src_is_low);
        let (flags, answers) = (seg.flags, numbers::acknowledges_syn(conn, role, seg));
        let goes_on = role == Role::Client && !answers && numbers::follows_own_syn(conn, role, seg);
        if goes_on && flags.rst() {
            // Of the older one only its own rules can tell.
            self.step(newer, src_is_low, seg, sink);
            return true;
        }
        // Of what is lost, the answer can have been a part.
        let goes_on = goes_on && !flags.syn();
        if answers
            || (goes_on && !self.telling.losses.spare(conn))
            || self.answers_what_waits(slot, conn, src_is_low, seg)
        {
            self.takes_over(slot, seg, sink);
            return true;
        }
        if goes_on {
            return self.waits(newer, seg);
        }
        if role == Role::Server && !conn.waiting().is_empty() {
            let waiting = self.challengers[newer].take_waiting();
            self.are_of_the_older(&waiting, sink);
            // By what waited, another one can have the four-tuple now.
            self.original(seg, sink);
            return true;
        }
        false
    }

    /// `seg` acknowledges what waits in `newer`, and has no number that the older connection, in `slot`, is known to come near.
    /// That alone can be chance, once in 65536 times: both are told as incomplete.
    fn answers_what_waits(&self, slot: u32, newer: &Conn, src_is_low: bool, seg: &Segment) -> bool {
        let older = &self.table[slot];
        let role = older.role_of(src_is_low);
        let near = [older.bound(role), older.side(role).first_data()];
        newer.waiting().iter().any(|waits| seg.flow == waits.flow.reversed() && seg.ack == waits.end())
            && !near.into_iter().flatten().any(|from| seg.seq.at_or_soon_after(from))
    }

    /// `seg` shows that the newer one is alive, and so that the older one, in `slot`, is not.
    fn takes_over(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let mut older = self.table.remove(slot);
        if let Some(newer) = self.challengers.find(&older.key) {
            older.flags.missed |= !self.challengers[newer].waiting().is_empty();
        }
        let outcome = if older.is_open() { Outcome::Reused } else { Outcome::Aborted };
        self.report(&older, seg.ts, outcome, sink);
        self.inherit(&older.key, sink);
        self.original(seg, sink);
    }

    /// `seg` goes on from the SYN that opened the connection in `newer`. Whoever made up that SYN can have made up this too, so
    /// it waits for what the other end says; false if too many wait already.
    fn waits(&mut self, newer: u32, seg: &Segment) -> bool {
        let conn = &mut self.challengers[newer];
        if conn.waiting().len() >= MOST_WAITING {
            return false;
        }
        conn.doubts_mut().goes_on.push(seg.clone());
        // Whether it is alive is not known, though its client went on.
        conn.flags.missed = true;
        true
    }

    /// What waited goes on with the older connection, as the other end does, or as nothing shows that the newer one is alive.
    fn are_of_the_older(&mut self, waiting: &[Segment], sink: &mut dyn FnMut(Event)) {
        for seg in waiting {
            let (key, src_is_low) = self.key_of(&seg.flow);
            match self.table.find(&key) {
                Some(slot) if !self.table[slot].is_held() && !self.table[slot].flags.ended => {
                    self.continues(slot, src_is_low, seg, sink);
                }
                _ => self.original(seg, sink),
            }
        }
    }

    /// The older connection in `slot` ended by a segment of its own: the newer one, if there is one, takes its place.
    pub(super) fn succeed(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let key = self.table[slot].key;
        if self.challengers.find(&key).is_none() {
            return;
        }
        self.forget(slot, seg.ts, sink);
        let (_, src_is_low) = Key::of(&seg.flow);
        if let Some(newer) = self.challengers.find(&key)
            && seg.flags.rst()
            && self.challengers[newer].role_of(src_is_low) == Role::Client
            // One that came after the reset was not what that was for.
            && self.challengers[newer].start < seg.ts
        {
            self.challengers[newer].extra_mut().challenged = true;
        }
        self.inherit(&key, sink);
    }

    /// The older connection has left the table: the newer one, if there is one, takes its place, and has what waited.
    pub(super) fn inherit(&mut self, key: &Key, sink: &mut dyn FnMut(Event)) {
        let Some(newer) = self.challengers.find(key) else { return };
        let (newer, waiting) = self.remove_challenger(newer);
        self.table.insert(newer, List::Handshake);
        for seg in &waiting {
            self.original(seg, sink);
        }
    }

    /// The newer connection in `slot` no longer waits beside an older one; with it comes what waited.
    fn remove_challenger(&mut self, slot: u32) -> (Conn, Vec<Segment>) {
        let mut conn = self.challengers.remove(slot);
        let waiting = conn.take_waiting();
        (conn, waiting)
    }

    /// An ICMP error that quotes the newer connection's SYN; false if there is no such.
    pub(super) fn is_challengers_icmp(
        &mut self,
        key: &Key,
        src_is_low: bool,
        error: &IcmpError,
        sink: &mut dyn FnMut(Event),
    ) -> bool {
        let Some(slot) = self.challengers.find(key) else {
            return false;
        };
        let conn = &mut self.challengers[slot];
        let sender = conn.role_of(src_is_low);
        if conn.side(sender).isn() != Some(error.quoted.seq) {
            return false;
        }
        let mut out = self.telling.to(sink);
        let after = super::icmp::error(conn, sender, error, &mut out);
        self.settle_challenger(slot, after, src_is_low, &error.quoted, sink);
        true
    }

    /// Nothing came back to a SYN on an open connection.
    pub(super) fn give_up_challenger(&mut self, slot: u32, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let (mut conn, waiting) = self.remove_challenger(slot);
        self.time_out(&mut conn, ts, sink);
        self.are_of_the_older(&waiting, sink);
    }

    /// The trace ends: what waits is the older ones'.
    pub(super) fn nothing_waits(&mut self, sink: &mut dyn FnMut(Event)) {
        let mut slots: Vec<u32> =
            self.challengers.slots().filter(|&slot| !self.challengers[slot].waiting().is_empty()).collect();
        slots.sort_unstable_by_key(|&slot| self.challengers[slot].id);
        for slot in slots {
            let waiting = self.challengers[slot].take_waiting();
            self.are_of_the_older(&waiting, sink);
        }
    }

    fn step(&mut self, slot: u32, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let conn = &mut self.challengers[slot];
        let after = super::judge(conn, src_is_low, seg, &mut self.telling.to(sink));
        self.settle_challenger(slot, after, src_is_low, seg, sink);
    }

    fn settle_challenger(
        &mut self,
        slot: u32,
        after: After,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        match after {
            // Only an open connection's reset is doubted.
            After::Goes | After::Holds => self.challengers.touch(slot, List::Handshake),
            After::Ends(outcome, phase) => {
                let (conn, waiting) = self.remove_challenger(slot);
                super::count(&mut self.counts, &conn, outcome);
                self.telling.to(sink).connection(&conn, conn.last, outcome, phase);
                self.are_of_the_older(&waiting, sink);
            }
            After::Restarts(outcome) => {
                let (conn, waiting) = self.remove_challenger(slot);
                self.report(&conn, seg.ts, outcome, sink);
                self.are_of_the_older(&waiting, sink);
                self.open_challenger(conn.key, src_is_low, seg, sink);
            }
        }
    }
}

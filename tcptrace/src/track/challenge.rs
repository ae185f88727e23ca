//! A SYN on a four-tuple whose connection is open, or was answered by a SYN-ACK. Somebody may have forgotten that connection and open a new one, or
//! somebody may only guess at numbers. The receiver cannot tell either, and asks by a challenge ACK (RFC 5961 §4); so
//! the new connection is kept beside the old one until a segment shows which of the two is alive.

use super::{
    Tracker,
    key::Key,
    report::Sight,
    rules::{self, After},
    table::List,
};
use crate::{
    event::{AnomalyReason, Event, Outcome, Role, State},
    segment::{IcmpError, Segment, Timestamp},
};

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
        let (flags, answers) = (seg.flags, rules::acknowledges_syn(conn, role, seg));
        if flags.rst() && role == Role::Client && !answers {
            // Of the older one only its own rules can tell.
            let gives_up = rules::follows_own_syn(conn, role, seg);
            if gives_up {
                self.step(newer, src_is_low, seg, sink);
            }
            return gives_up;
        }
        // The server knows the new number, or the client goes on from it.
        let goes_on = role == Role::Client && !flags.syn() && rules::follows_own_syn(conn, role, seg);
        if !answers && !goes_on {
            return false;
        }
        let older = self.table.remove(slot);
        let outcome = if older.is_open() { Outcome::Reused } else { Outcome::Aborted };
        self.report(&older, seg.ts, outcome, sink);
        if let Some(slot) = self.inherit(&key) {
            self.continues(slot, src_is_low, seg, sink);
        }
        true
    }

    /// The older connection in `slot` ended by a segment of its own: the newer one, if there is one, takes its place.
    pub(super) fn succeed(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let key = self.table[slot].key;
        if self.challengers.find(&key).is_none() {
            return;
        }
        self.forget(slot, seg.ts, sink);
        let (_, src_is_low) = Key::of(&seg.flow);
        if let Some(slot) = self.inherit(&key)
            && seg.flags.rst()
            && self.table[slot].role_of(src_is_low) == Role::Client
            // One that came after the reset was not what that was for.
            && self.table[slot].start < seg.ts
        {
            self.table[slot].extra_mut().challenged = true;
        }
    }

    /// The older connection has left the table: the newer one, if there is one, takes its place.
    pub(super) fn inherit(&mut self, key: &Key) -> Option<u32> {
        let newer = self.challengers.find(key)?;
        let newer = self.challengers.remove(newer);
        Some(self.table.insert(newer, List::Handshake))
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
        let mut conn = self.challengers.remove(slot);
        self.time_out(&mut conn, ts, sink);
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
                let conn = self.challengers.remove(slot);
                super::count(&mut self.counts, &conn, outcome);
                self.telling.to(sink).connection(&conn, conn.last, outcome, phase);
            }
            After::Restarts(outcome) => {
                let conn = self.challengers.remove(slot);
                self.report(&conn, seg.ts, outcome, sink);
                self.open_challenger(conn.key, src_is_low, seg, sink);
            }
        }
    }
}

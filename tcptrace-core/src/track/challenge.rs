//! A SYN on a four-tuple whose connection is open, or was answered by a SYN-ACK. Its sender may have forgotten that
//! connection and open a new one, or somebody may only guess at numbers. The receiver does not know either, and asks by
//! a challenge ACK (RFC 5961 §4). So the SYN's connection, the *challenger*, is kept beside the older one until a
//! segment shows which of the two is alive. Segments that go on from the challenger's SYN are *deferred*: they wait for
//! what the other end says.

use super::{
    Tracker,
    after::After,
    conn::{Conn, List},
    key::Key,
    numbers,
    report::Originality,
    rules,
};
use crate::{
    event::{AnomalyReason, Event, Outcome, Role, State},
    segment::{IcmpError, Segment, Timestamp},
};

/// The most segments of a challenger that are deferred.
const MOST_DEFERRED: usize = 32;

impl Conn {
    /// The segments that are deferred with this challenger, in the order in which they came.
    pub(super) fn deferred(&self) -> &[Segment] {
        self.teardown().doubts.as_deref().map_or(&[], |doubts| &doubts.deferred)
    }

    fn take_deferred(&mut self) -> Vec<Segment> {
        if self.deferred().is_empty() { Vec::new() } else { std::mem::take(&mut self.doubts_mut().deferred) }
    }
}

impl Tracker {
    /// Whether `seg`, a SYN, begins a challenger of the connection in `slot`: it is not that connection's own SYN.
    /// Where only one side of that connection was ever heard, it does not: no segment that decides can be expected, so
    /// the SYN counts at once.
    pub(super) fn is_challenge(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        let conn = &self.table[slot];
        let role = conn.role_of(src_is_low);
        let open = conn.is_open() && conn.sides.iter().all(|side| side.acked().is_some());
        // A server in SYN-RECEIVED, too, answers such a SYN by an acknowledgement (net/ipv4/tcp_minisocks.c,
        // tcp_check_req).
        let answered = role == Role::Client && conn.side(Role::Server).state == State::SynReceived;
        (open || (answered && !conn.flags.partial))
            && conn.side(role).isn() != Some(seg.seq)
            && !conn.is_answered_by_now(role, seg)
    }

    /// Takes `seg`, a SYN that begins a challenger of the connection in `slot`.
    pub(super) fn challenge(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let incumbent = &self.table[slot];
        let role = incumbent.role_of(src_is_low);
        self.context.out(sink).anomaly(incumbent, role, seg, (AnomalyReason::SynInConnection, None));
        let key = incumbent.key;
        self.open_beside(key, src_is_low, seg, sink);
    }

    /// Takes a SYN that may open a connection on a four-tuple that an older one still has: as the next segment of the
    /// challenger, or as the first one of a new challenger.
    pub(super) fn open_beside(
        &mut self,
        key: Key,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        if let Some(slot) = self.challengers.find(&key) {
            self.continue_challenger(slot, src_is_low, seg, sink);
        } else {
            self.open_challenger(key, src_is_low, seg, sink);
        }
    }

    fn open_challenger(&mut self, key: Key, src_is_low: bool, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let mut conn = self.new_connection(key, src_is_low, Role::Client, seg);
        conn.record_where_seen(Role::Client, seg);
        let mut out = self.context.out(sink);
        out.segment(&conn, Role::Client, seg, Originality::Original);
        rules::first_syn(&mut conn, seg, &mut out);
        self.challengers.insert(conn, List::Handshake);
    }

    /// Takes a segment on the four-tuple of the connection in `slot`, if that has a challenger and the segment may be
    /// its own: it shows that the challenger is alive, which then takes the older connection's place, or is deferred.
    /// False if the segment is still to be taken as the older connection's.
    pub(super) fn try_challenger(
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
            // The RST has the challenger's numbers, so it gives up the challenger and does not concern the older
            // connection.
            self.continue_challenger(newer, src_is_low, seg, sink);
            return true;
        }
        // Where records are lost, the server's answer can be one of them.
        let goes_on = goes_on && !flags.syn();
        if answers
            || (goes_on && !self.context.losses.cannot_touch(conn))
            || self.answers_deferred(slot, conn, src_is_low, seg)
        {
            self.replace_by_challenger(slot, seg, sink);
            return true;
        }
        if goes_on {
            return self.defer(newer, seg);
        }
        if role == Role::Server && !conn.deferred().is_empty() {
            let waiting = self.challengers[newer].take_deferred();
            self.give_to_older(&waiting, sink);
            // By the segments that were deferred, another connection can have the four-tuple now.
            self.original(seg, sink);
            return true;
        }
        false
    }

    /// Whether `seg` acknowledges a segment that is deferred with the challenger `newer`, and has no number near those
    /// of the older connection, in `slot`. That can be chance, once in 65536 times, so both connections are reported as
    /// incomplete.
    fn answers_deferred(&self, slot: u32, newer: &Conn, src_is_low: bool, seg: &Segment) -> bool {
        let older = &self.table[slot];
        let role = older.role_of(src_is_low);
        let near = [older.bound(role), older.side(role).first_data()];
        newer.deferred().iter().any(|waits| seg.flow == waits.flow.reversed() && seg.ack == waits.end())
            && !near.into_iter().flatten().any(|from| seg.seq.at_or_soon_after(from))
    }

    /// `seg` shows that the challenger is alive: the connection in `slot` is reported as not, and the challenger takes
    /// its place.
    fn replace_by_challenger(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let mut older = self.table.remove(slot);
        if let Some(newer) = self.challengers.find(&older.key) {
            older.flags.missed |= !self.challengers[newer].deferred().is_empty();
        }
        let outcome = if older.is_open() { Outcome::Reused } else { Outcome::Aborted };
        self.report(&older, seg.ts, outcome, sink);
        self.inherit(&older.key, sink);
        self.original(seg, sink);
    }

    /// Defers `seg`, which goes on from the SYN of the challenger in `newer`: whoever made up that SYN can have made up
    /// this segment too. False if too many are deferred already.
    fn defer(&mut self, newer: u32, seg: &Segment) -> bool {
        let conn = &mut self.challengers[newer];
        if conn.deferred().len() >= MOST_DEFERRED {
            return false;
        }
        conn.doubts_mut().deferred.push(seg.clone());
        // Whether the challenger is alive is not known, though its client went on.
        conn.flags.missed = true;
        true
    }

    /// Takes the segments `waiting`, which were deferred, as the older connection's: the other end went on with that,
    /// or nothing shows that the challenger is alive.
    fn give_to_older(&mut self, waiting: &[Segment], sink: &mut dyn FnMut(Event)) {
        for seg in waiting {
            let (key, src_is_low) = self.key_of(&seg.flow);
            match self.table.find(&key) {
                Some(slot) if !self.table[slot].is_held() && !self.table[slot].flags.ended => {
                    self.continue_connection(slot, src_is_low, seg, sink);
                }
                _ => self.original(seg, sink),
            }
        }
    }

    /// Puts the challenger, if there is one, in the place of the connection in `slot`, which `seg` has ended.
    pub(super) fn inherit_at_end(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let key = self.table[slot].key;
        if self.challengers.find(&key).is_none() {
            return;
        }
        self.forget(slot, seg.ts, sink);
        let (_, src_is_low) = Key::of(&seg.flow);
        if let Some(newer) = self.challengers.find(&key)
            && seg.flags.rst()
            && self.challengers[newer].role_of(src_is_low) == Role::Client
            // A SYN that came after the reset is not why that was sent.
            && self.challengers[newer].start < seg.ts
        {
            self.challengers[newer].extra_mut().challenged = true;
        }
        self.inherit(&key, sink);
    }

    /// Puts the challenger, if there is one, in the place of the older connection, which has left the table, and takes
    /// the segments that were deferred.
    pub(super) fn inherit(&mut self, key: &Key, sink: &mut dyn FnMut(Event)) {
        let Some(newer) = self.challengers.find(key) else { return };
        let (newer, waiting) = self.remove_challenger(newer);
        self.table.insert(newer, List::Handshake);
        for seg in &waiting {
            self.original(seg, sink);
        }
    }

    /// Removes the challenger in `slot`. Returns it and the segments that were deferred with it.
    fn remove_challenger(&mut self, slot: u32) -> (Conn, Vec<Segment>) {
        let mut conn = self.challengers.remove(slot);
        let waiting = conn.take_deferred();
        (conn, waiting)
    }

    /// Takes an ICMP error, if it quotes the SYN of the challenger with `key`; false if it does not.
    pub(super) fn try_challenger_icmp(
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
        let mut out = self.context.out(sink);
        let after = super::icmp::error(conn, sender, error, &mut out);
        self.carry_out_for_challenger(slot, after, src_is_low, &error.quoted, sink);
        true
    }

    /// Gives up the challenger in `slot`: nothing came back to its SYN by `ts`.
    pub(super) fn give_up_challenger(&mut self, slot: u32, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let (mut conn, waiting) = self.remove_challenger(slot);
        self.time_out(&mut conn, ts, sink);
        self.give_to_older(&waiting, sink);
    }

    /// Takes all deferred segments as those of the older connections, when the trace ends.
    pub(super) fn return_all_deferred(&mut self, sink: &mut dyn FnMut(Event)) {
        let mut slots: Vec<u32> =
            self.challengers.slots().filter(|&slot| !self.challengers[slot].deferred().is_empty()).collect();
        slots.sort_unstable_by_key(|&slot| self.challengers[slot].id);
        for slot in slots {
            let waiting = self.challengers[slot].take_deferred();
            self.give_to_older(&waiting, sink);
        }
    }

    fn continue_challenger(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let conn = &mut self.challengers[slot];
        let after = super::apply_segment(conn, src_is_low, seg, &mut self.context.out(sink));
        self.carry_out_for_challenger(slot, after, src_is_low, seg, sink);
    }

    fn carry_out_for_challenger(
        &mut self,
        slot: u32,
        after: After,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        match after {
            // A challenger is not open, and only an open connection's reset is held, so there is none here.
            After::GoesOn | After::HoldsReset => self.challengers.touch(slot, List::Handshake),
            After::Ends(outcome, phase) => {
                let (conn, waiting) = self.remove_challenger(slot);
                super::count_outcome(&mut self.counts, &conn, outcome);
                self.context.out(sink).connection(&conn, conn.last, outcome, phase);
                self.give_to_older(&waiting, sink);
            }
            After::Restarts(outcome) => {
                let (conn, waiting) = self.remove_challenger(slot);
                self.report(&conn, seg.ts, outcome, sink);
                self.give_to_older(&waiting, sink);
                self.open_challenger(conn.key, src_is_low, seg, sink);
            }
        }
    }
}

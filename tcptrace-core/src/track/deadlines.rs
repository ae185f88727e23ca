//! What happens because time passes: a try is given up, TIME-WAIT runs out, a reset is no longer doubted.

use super::{
    Config, Tracker,
    conn::{Conn, List},
    held::DOUBT_NS,
    icmp,
    state::Evidence,
    table::Table,
    unfinished,
};
use crate::{
    event::{Event, Outcome, Role, State},
    segment::Timestamp,
};

/// What a deadline is for, and the place in its table.
#[derive(Clone, Copy)]
enum Due {
    GiveUp(u32),
    GiveUpChallenger(u32),
    Forget(u32),
    Believe(u32),
}

impl Tracker {
    /// Time has come to `now`: gives up on what was never answered, and lets TIME-WAIT run out, in the order
    /// of the deadlines, so that a file and a live trace agree whatever the ticks between.
    pub(super) fn expire(&mut self, now: Timestamp, sink: &mut dyn FnMut(Event)) {
        if now < self.due && !self.table.has_new_heads() && !self.challengers.has_new_heads() {
            return;
        }
        self.due = loop {
            let Some((deadline, due)) = self.next_deadline() else { break Timestamp(u64::MAX) };
            if now < deadline {
                break deadline;
            }
            match due {
                Due::GiveUp(slot) => {
                    let conn = self.table.remove(slot);
                    let key = conn.key;
                    self.give_up(conn, deadline, sink);
                    self.inherit(&key, sink);
                }
                Due::GiveUpChallenger(slot) => self.give_up_challenger(slot, deadline, sink),
                Due::Forget(slot) => self.forget(slot, deadline, sink),
                Due::Believe(slot) => self.believe(slot, sink),
            }
        };
        self.table.note_heads();
        self.challengers.note_heads();
    }

    /// The earliest of all.
    fn next_deadline(&self) -> Option<(Timestamp, Due)> {
        let first = |table: &Table, list, after: u64, due: fn(u32) -> Due| {
            let slot = table.first(list)?;
            Some((table[slot].last.plus(after), due(slot)))
        };
        let Config { give_up_ns, time_wait_ns, .. } = self.config;
        let retry_ns = icmp::RETRY_NS.min(give_up_ns);
        [
            first(&self.table, List::Handshake, give_up_ns, Due::GiveUp),
            first(&self.table, List::Rejected, retry_ns, Due::GiveUp),
            first(&self.table, List::Ended, time_wait_ns, Due::Forget),
            first(&self.table, List::Held, DOUBT_NS, Due::Believe),
            first(&self.challengers, List::Handshake, give_up_ns, Due::GiveUpChallenger),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }

    /// Nothing came back within the give-up time.
    pub(super) fn time_out(&mut self, conn: &mut Conn, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let outcome = unfinished(conn);
        // Who does not try again after the network's answer has given up for that, and so then.
        let left = if outcome == Outcome::RefusedIcmp { conn.last } else { ts };
        let mut out = self.telling.to(sink);
        out.transition(conn, Role::Client, Evidence::TimedOut, left, true);
        out.transition(conn, Role::Server, Evidence::TimedOut, left, true);
        self.report(conn, ts, outcome, sink);
    }

    /// A connection that was reported leaves the table; TIME-WAIT ends with it.
    pub(super) fn forget(&mut self, slot: u32, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let mut conn = self.table.remove(slot);
        let mut out = self.telling.to(sink);
        for role in [Role::Client, Role::Server] {
            if conn.side(role).state == State::TimeWait {
                out.transition(&mut conn, role, Evidence::TimedOut, ts, true);
            }
        }
        if let Some(syn) = self.forget_known_syn(slot, ts) {
            let (key, src_is_low) = self.key_of(&syn.flow);
            self.begins(key, src_is_low, &syn, sink);
        }
    }
}

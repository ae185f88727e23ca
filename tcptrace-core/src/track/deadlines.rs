//! The deadlines of connections, and what happens when one is reached: a handshake is given up, a connection that is
//! over is forgotten as its TIME-WAIT runs out, or a reset is no longer doubted.

use super::{
    Config, Tracker,
    conn::{Conn, List},
    held::DOUBT_NS,
    icmp,
    state::Evidence,
    table::Table,
    unfinished_outcome,
};
use crate::{
    event::{Event, Outcome, Role, State},
    segment::Timestamp,
};

/// What is to be done at a deadline, with the slot of its connection.
#[derive(Clone, Copy)]
enum Due {
    GiveUp(u32),
    GiveUpChallenger(u32),
    Forget(u32),
    Believe(u32),
}

impl Tracker {
    /// Does at `now` what is due: gives up handshakes that nothing answered, lets TIME-WAIT run out, and believes
    /// resets. All is done in the order of the deadlines, so that a file and a live trace agree, however often time
    /// comes in.
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
        self.table.clear_new_heads();
        self.challengers.clear_new_heads();
    }

    /// The earliest deadline of all connections, and what is to be done at it.
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

    /// Ends a connection at `ts`, as nothing came back within the give-up time.
    pub(super) fn time_out(&mut self, conn: &mut Conn, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let outcome = unfinished_outcome(conn);
        // A client that does not try again after an ICMP error gave up because of that error, and so at its time.
        let left = if outcome == Outcome::RefusedIcmp { conn.last } else { ts };
        let mut out = self.context.out(sink);
        out.transition(conn, Role::Client, Evidence::TimedOut, left, true);
        out.transition(conn, Role::Server, Evidence::TimedOut, left, true);
        self.report(conn, ts, outcome, sink);
    }

    /// Removes the connection in `slot`, which is over, from the table; its TIME-WAIT ends with that.
    pub(super) fn forget(&mut self, slot: u32, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        let mut conn = self.table.remove(slot);
        let mut out = self.context.out(sink);
        for role in [Role::Client, Role::Server] {
            if conn.side(role).state == State::TimeWait {
                out.transition(&mut conn, role, Evidence::TimedOut, ts, true);
            }
        }
        if let Some(syn) = self.forget_known_syn(slot, ts) {
            let place = self.place_of(&syn);
            self.begin_connection(&place, &syn, sink);
        }
    }
}

//! Resets that are not believed at once. Data is not recorded, so it is seldom known whether a RST is at its receiver's
//! RCV.NXT, where it is obeyed, or elsewhere in the window, where it is answered by a challenge ACK (RFC 5961 §3.2).
//! But an endpoint that sends a RST sends nothing after it. So the reset is *held*: it is kept as a hypothesis for a
//! while, together with the segments that come meanwhile. If its sender goes on, all is as if it had not come; else it
//! is reported, with the time that it had.
//!
//! A RST that is known to be at RCV.NXT is obeyed, whoever sent it. If its TTL is not that of its sender's SYN it is
//! held too, to find out whether that endpoint goes on: if it does, somebody else reset the connection in its name.

use super::{
    Tracker,
    after::After,
    conn::{
        Conn, List,
        doubts::{HeldReset, doubtful},
    },
    fins,
    key::Key,
    numbers, reopen, resets,
};
use crate::{
    event::{AnomalyReason as Reason, Event, Role},
    segment::Segment,
};

/// How long a reset is held. An endpoint that did not send it goes on, or sends its last segment again, within a
/// retransmission time-out: a second (RFC 6298 §2.4), and less in most stacks.
pub(crate) const DOUBT_NS: u64 = 2_000_000_000;

/// Queues and paths can reorder two segments that follow each other and are this far apart.
const EXCHANGED_NS: u64 = 2_000_000;
/// CPUs can reorder some segments that are this far apart.
const REORDERED_NS: u64 = 50_000;
/// How many octets at most before the RST those segments end that CPUs reordered.
const REORDERED_OCTETS: u32 = 1 << 16;

/// The most segments that wait while a reset is held. More of them on a connection that was reset are a flood.
const MOST_WAITING: usize = 32;

impl Tracker {
    /// Holds the RST `seg` of `role`, so that the connection in `slot` waits for what its sender does.
    pub(super) fn hold_reset(&mut self, slot: u32, role: Role, seg: &Segment) {
        let exact = resets::is_exact(&self.table[slot], role, seg);
        let held = HeldReset { seg: seg.clone(), role, exact, in_doubt: false, waiting: Vec::new() };
        self.table[slot].doubts_mut().held = Some(held);
        self.table.touch(slot, List::Held);
    }

    /// Takes a segment on the four-tuple of the connection in `slot`, of which a reset is held.
    pub(super) fn while_held(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let conn = &self.table[slot];
        let Some(held) = conn.teardown().doubts.as_deref().and_then(|doubts| doubts.held.as_ref()) else {
            return;
        };
        let role = conn.role_of(src_is_low);
        let goes_on = role == held.role
            && !seg.flags.rst()
            && !seg.flags.syn()
            && !self.may_be_of_newer(slot, src_is_low, seg);
        let full = held.waiting.len() >= MOST_WAITING;
        if seg.flags.syn() && !seg.flags.ack() && !reopen::is_known_syn(conn, src_is_low, seg) {
            // The sender of the SYN need not be the sender of the reset, so the SYN waits for its answer as a
            // challenger.
            let key = conn.key;
            self.open_beside(key, src_is_low, seg, sink);
        } else if self.gives_up_newer(slot, src_is_low, seg) {
            self.try_challenger(slot, src_is_low, seg, sink);
        } else if full || self.is_of_newer(slot, src_is_low, seg) {
            self.table[slot].flags.missed |= full;
            self.believe(slot, sink);
            self.original(seg, sink);
        } else if (goes_on && !may_be_reordered(held, seg)) || is_of_a_fin(conn, held, role, seg) {
            self.disbelieve(slot, seg, sink);
        } else {
            let conn = &mut self.table[slot];
            if let Some(held) = &mut conn.doubts_mut().held {
                held.in_doubt |= goes_on;
                held.waiting.push(seg.clone());
            }
        }
    }

    /// The challenger of the connection in `slot`.
    fn newer(&self, slot: u32) -> Option<&Conn> {
        // Most of the time there are no challengers at all, and then the key need not be hashed.
        if self.challengers.len() == 0 {
            return None;
        }
        self.challengers.find(&self.table[slot].key).map(|newer| &self.challengers[newer])
    }

    /// Whether `seg` is a RST by which the client of the challenger gives that up.
    fn gives_up_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        seg.flags.rst()
            && self.may_be_of_newer(slot, src_is_low, seg)
            && !self.is_of_newer(slot, src_is_low, seg)
    }

    /// Whether `seg` acknowledges the SYN of the challenger of the connection in `slot`.
    fn is_of_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        self.newer(slot).is_some_and(|newer| numbers::acknowledges_syn(newer, newer.role_of(src_is_low), seg))
    }

    /// Whether `seg` goes on from the SYN of the challenger of the connection in `slot`. Whoever made up that SYN can
    /// have made up `seg` too.
    fn may_be_of_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        self.newer(slot).is_some_and(|newer| {
            let role = newer.role_of(src_is_low);
            role == Role::Client && !seg.flags.syn() && numbers::follows_own_syn(newer, role, seg)
        })
    }

    /// Believes the reset that is held: the connection in `slot` ends by it, and the segments that waited are taken
    /// after that.
    pub(super) fn believe(&mut self, slot: u32, sink: &mut dyn FnMut(Event)) {
        let Some(HeldReset { seg, role, waiting, in_doubt, .. }) = self.table[slot].doubts_mut().held.take()
        else {
            return;
        };
        let (_, src_is_low) = Key::of(&seg.flow);
        // It is not certain that the sender did not go on.
        self.table[slot].flags.missed |= in_doubt;
        let after = resets::believed_rst(&mut self.table[slot], role, &seg, &mut self.context.out(sink));
        self.carry_out(slot, after, src_is_low, &seg, sink);
        for seg in &waiting {
            self.original(seg, sink);
        }
    }

    /// Disbelieves the reset that is held, as its sender went on with `seg`: all is as if the reset had not come, but
    /// that an anomaly is reported. A reset with exactly its receiver's RCV.NXT is believed, but as another's.
    fn disbelieve(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let conn = &mut self.table[slot];
        let doubts = conn.doubts_mut();
        let Some(HeldReset { seg: rst, role, waiting, .. }) = doubts.held.take_if(|held| !held.exact) else {
            if let Some(HeldReset { seg: rst, role, .. }) = &doubts.held {
                doubts.reset_by_another = Some(doubtful(*role, rst, Some(seg.ttl)));
            }
            self.believe(slot, sink);
            self.original(seg, sink);
            return;
        };
        let by_itself = seg.flow == rst.flow;
        conn.record_ignored_reset(role, &rst, by_itself.then_some(seg.ttl));
        self.context.out(sink).anomaly(conn, role, &rst, (Reason::RstIgnored, None));
        let (_, src_is_low) = Key::of(&rst.flow);
        self.carry_out(slot, After::GoesOn, src_is_low, &rst, sink);
        for waiting in &waiting {
            self.original(waiting, sink);
        }
        self.original(seg, sink);
    }

    /// Believes all resets that are held: the trace ends, or the table is full.
    pub(super) fn believe_all(&mut self, sink: &mut dyn FnMut(Event)) {
        while let Some(slot) = self.table.first(List::Held) {
            self.believe(slot, sink);
        }
    }
}

/// Whether `seg` of `role` disproves the reset that is held: it acknowledges exactly a FIN of the reset's sender, and
/// the reset is not at that FIN. Nothing follows a FIN.
fn is_of_a_fin(conn: &Conn, held: &HeldReset, role: Role, seg: &Segment) -> bool {
    role != held.role
        && seg.flags.ack()
        && fins::has_fin_end(conn, held.role, seg.ack)
        && ![held.seg.seq, held.seg.seq.plus(1)].contains(&seg.ack)
}

/// Whether `seg`, which passed after the RST of the same sender, may have been sent before it. As nothing follows a FIN, a RST
/// beyond one does not come from who sent that.
fn may_be_reordered(held: &HeldReset, seg: &Segment) -> bool {
    let before = held.seg.seq.0.wrapping_sub(seg.end().0);
    let after_ns = seg.ts.since(held.seg.ts);
    (before == 0 && after_ns <= EXCHANGED_NS)
        || (!seg.flags.fin() && before <= REORDERED_OCTETS && after_ns <= REORDERED_NS)
}

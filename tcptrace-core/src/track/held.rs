//! Resets that are not believed at once. Data is not recorded, so it is seldom known whether a RST is at its receiver's
//! RCV.NXT, where it is obeyed, or elsewhere in the window, where it is answered by a challenge ACK (RFC 5961 §3.2). But who
//! sends a RST of his own says nothing after it. So the reset is kept as a hypothesis for a while, and with it what comes
//! meanwhile: if its sender goes on, all is as if it had not come; else it is told, with the time that it had.
//!
//! A RST that is known to be at RCV.NXT is obeyed, whoever sent it. If its TTL is not that of its sender's SYN it is doubted
//! too, to tell whether that endpoint went on, so that somebody else reset the connection in its name.

use super::{
    Tracker,
    after::After,
    conn::{
        Conn, List,
        doubts::{Held, doubtful},
    },
    fins,
    key::Key,
    numbers, reopen, resets,
};
use crate::{
    event::{AnomalyReason as Reason, Event, Role},
    segment::Segment,
};

/// For how long a reset is doubted. An endpoint that knows nothing of it sends what it has, or sends that again, within a
/// retransmission time-out of a second (RFC 6298 §2.4), which stacks have shorter.
pub(crate) const DOUBT_NS: u64 = 2_000_000_000;

/// Queues and paths can exchange two segments that were this far apart, of which the later one follows the earlier.
const EXCHANGED_NS: u64 = 2_000_000;
/// CPUs can exchange some segments within so much time.
const REORDERED_NS: u64 = 50_000;
/// The earlier ones are then so few octets before the RST.
const REORDERED_OCTETS: u32 = 1 << 16;

/// What comes while a reset is doubted, at most. More than these of a connection that was reset are a flood.
const MOST_WAITING: usize = 32;

impl Tracker {
    /// The RST `seg` is kept as a hypothesis.
    pub(super) fn hold(&mut self, slot: u32, role: Role, seg: &Segment) {
        let exact = resets::is_exact(&self.table[slot], role, seg);
        let held = Held { seg: seg.clone(), role, exact, in_doubt: false, waiting: Vec::new() };
        self.table[slot].doubts_mut().held = Some(held);
        self.table.touch(slot, List::Held);
    }

    /// A segment of a connection whose reset is doubted.
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
            // Its sender need not be who sent the reset, so it waits beside for its answer.
            let key = conn.key;
            self.opens_beside(key, src_is_low, seg, sink);
        } else if self.gives_up_newer(slot, src_is_low, seg) {
            self.is_challengers(slot, src_is_low, seg, sink);
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

    /// The connection that a later SYN opens beside the one in `slot`.
    fn newer(&self, slot: u32) -> Option<&Conn> {
        // Most of the time there are none at all: so it takes no hash of the key.
        if self.challengers.len() == 0 {
            return None;
        }
        self.challengers.find(&self.table[slot].key).map(|newer| &self.challengers[newer])
    }

    /// `seg` is a RST by which the sender of a SYN that came later gives that up.
    fn gives_up_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        seg.flags.rst()
            && self.may_be_of_newer(slot, src_is_low, seg)
            && !self.is_of_newer(slot, src_is_low, seg)
    }

    /// `seg` acknowledges a SYN that the connection in `slot` does not know.
    fn is_of_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        self.newer(slot).is_some_and(|newer| numbers::acknowledges_syn(newer, newer.role_of(src_is_low), seg))
    }

    /// `seg` goes on from such a SYN, which whoever made that up can have made up too.
    fn may_be_of_newer(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        self.newer(slot).is_some_and(|newer| {
            let role = newer.role_of(src_is_low);
            role == Role::Client && !seg.flags.syn() && numbers::follows_own_syn(newer, role, seg)
        })
    }

    /// The reset is what it says: it is told, and then what came after it.
    pub(super) fn believe(&mut self, slot: u32, sink: &mut dyn FnMut(Event)) {
        let Some(Held { seg, role, waiting, in_doubt, .. }) = self.table[slot].doubts_mut().held.take()
        else {
            return;
        };
        let (_, src_is_low) = Key::of(&seg.flow);
        // Nobody can promise that it is what it says.
        self.table[slot].flags.missed |= in_doubt;
        let after = resets::reset(&mut self.table[slot], role, &seg, &mut self.telling.to(sink));
        self.settle(slot, after, src_is_low, &seg, sink);
        for seg in &waiting {
            self.original(seg, sink);
        }
    }

    /// The sender of the reset went on with `seg`: all is as if the reset had not come, but for the anomaly.
    fn disbelieve(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let conn = &mut self.table[slot];
        let doubts = conn.doubts_mut();
        let Some(Held { seg: rst, role, waiting, .. }) = doubts.held.take_if(|held| !held.exact) else {
            if let Some(Held { seg: rst, role, .. }) = &doubts.held {
                doubts.reset_by_another = Some(doubtful(*role, rst, Some(seg.ttl)));
            }
            self.believe(slot, sink);
            self.original(seg, sink);
            return;
        };
        let by_itself = seg.flow == rst.flow;
        conn.note_ignored_reset(role, &rst, by_itself.then_some(seg.ttl));
        self.telling.to(sink).anomaly(conn, role, &rst, (Reason::RstIgnored, None));
        let (_, src_is_low) = Key::of(&rst.flow);
        self.settle(slot, After::Goes, src_is_low, &rst, sink);
        for waiting in &waiting {
            self.original(waiting, sink);
        }
        self.original(seg, sink);
    }

    /// All that is still doubted is believed: the trace ends.
    pub(super) fn believe_all(&mut self, sink: &mut dyn FnMut(Event)) {
        while let Some(slot) = self.table.first(List::Held) {
            self.believe(slot, sink);
        }
    }
}

/// `seg` of `role` acknowledges exactly the FIN of who sent the RST, and that is elsewhere: nothing follows a FIN.
fn is_of_a_fin(conn: &Conn, held: &Held, role: Role, seg: &Segment) -> bool {
    role != held.role
        && seg.flags.ack()
        && fins::is_end(conn, held.role, seg.ack)
        && ![held.seg.seq, held.seg.seq.plus(1)].contains(&seg.ack)
}

/// `seg`, which passed after the RST of the same sender, may have been sent before it.
fn may_be_reordered(held: &Held, seg: &Segment) -> bool {
    let before = held.seg.seq.0.wrapping_sub(seg.end().0);
    let after_ns = seg.ts.since(held.seg.ts);
    (before == 0 && after_ns <= EXCHANGED_NS) || (before <= REORDERED_OCTETS && after_ns <= REORDERED_NS)
}

//! A SYN with the initial sequence number of a connection that is over. It can be a copy that the network delivers late, which
//! opens nothing. It can also open another connection: small stacks begin with the same number and port after each start, and
//! some try again with the same number after a refusal. An answer that the old connection cannot have had tells them apart, or
//! that the SYN is sent again (RFC 9293 §3.10.7.4 on TIME-WAIT, §3.4.1).

use super::{Tracker, conn::Conn};
use crate::{
    event::Event,
    segment::{Segment, Timestamp},
};

/// A copy of a SYN follows it, or what answers it, within so much time: behind a router that holds packets for long, too. The
/// quickest stack that tries again after a refusal waits for longer.
const COPY_NS: u64 = 30_000_000;
/// The SYN itself can come so much later than the answer that it overtook.
const OVERTAKEN_NS: u64 = 300_000_000;
/// An answer that comes so long after the end is no late copy of the old one, even if its numbers are the same.
const LATE_NS: u64 = 1_000_000_000;
/// A SYN that is not a copy is sent again before this (RFC 6298 §2.1; RFC 1122 §4.2.3.1 had 3 s).
const AGAIN_NS: u64 = 4_000_000_000;

/// The connection, which is over, began with this SYN, or with one like it.
pub(super) fn is_known_syn(conn: &Conn, src_is_low: bool, seg: &Segment) -> bool {
    let role = conn.role_of(src_is_low);
    conn.side(role).isn() == Some(seg.seq) || conn.is_answered_by_now(role, seg)
}

impl Tracker {
    /// Such a SYN, on the four-tuple of the connection in `slot`, which is over.
    pub(super) fn known_syn(
        &mut self,
        slot: u32,
        src_is_low: bool,
        seg: &Segment,
        sink: &mut dyn FnMut(Event),
    ) {
        let conn = &self.table[slot];
        let overtaken = conn.side(conn.role_of(src_is_low)).isn().is_none();
        if seg.ts.since(conn.last) < if overtaken { OVERTAKEN_NS } else { COPY_NS } {
            self.after_the_end(slot, src_is_low, seg, sink);
        } else if !conn.flags.established {
            self.forget(slot, seg.ts, sink);
            self.original(seg, sink);
        } else if let Some(first) = self.known_syns.get(&slot) {
            if seg.ts.since(first.ts) < COPY_NS {
                self.after_the_end(slot, src_is_low, seg, sink);
            } else {
                self.reopen(slot, seg, sink);
            }
        } else {
            self.known_syns.insert(slot, seg.clone());
        }
    }

    /// `seg` answers a SYN whose number the connection in `slot`, which is over, had too, and shows that this opens another one.
    pub(super) fn answers_known_syn(&self, slot: u32, src_is_low: bool, seg: &Segment) -> bool {
        if self.known_syns.is_empty() {
            return false;
        }
        let Some(syn) = self.known_syns.get(&slot) else { return false };
        let conn = &self.table[slot];
        let role = conn.role_of(src_is_low);
        let from_the_other_end = seg.flow == syn.flow.reversed();
        let answers = seg.flags.ack() && (seg.ack == syn.seq.plus(1) || seg.ack == syn.end());
        let of_another = conn.side(role).isn() != Some(seg.seq) || seg.ts.since(conn.last) > LATE_NS;
        from_the_other_end && answers && (seg.flags.syn() || seg.flags.rst()) && of_another
    }

    /// The SYN that was remembered opens another connection, as `seg` shows.
    pub(super) fn reopen(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let syn = self.known_syns.remove(&slot);
        self.forget(slot, seg.ts, sink);
        if let Some(syn) = syn {
            self.original(&syn, sink);
        }
        self.original(seg, sink);
    }

    /// The connection in `slot` is forgotten at `ts`. A SYN that came a moment ago needs nothing to tell it from the old one's.
    pub(super) fn forget_known_syn(&mut self, slot: u32, ts: Timestamp) -> Option<Segment> {
        if self.known_syns.is_empty() {
            return None;
        }
        self.known_syns.remove(&slot).filter(|syn| ts.since(syn.ts) < AGAIN_NS)
    }
}

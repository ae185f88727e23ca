//! A *known SYN*: one with the initial sequence number of a connection that is over. It can be a copy that the network
//! delivers late, which opens nothing. It can also open another connection: small stacks begin with the same number and
//! port after each start, and some try again with the same number after a refusal. It opens one if an answer comes that
//! the old connection cannot have had, or if it is sent again (RFC 9293 §3.10.7.4 on TIME-WAIT, §3.4.1).

use super::{Tracker, conn::Conn};
use crate::{
    event::Event,
    segment::{Segment, Timestamp},
};

/// The longest time after a connection's last segment, or after a known SYN, in which a known SYN is taken for a late
/// copy: enough for a router that holds packets for long. The quickest stack that tries again after a refusal waits for
/// longer.
const COPY_NS: u64 = 30_000_000;
/// The longest time after its connection's last segment in which a SYN can come that was overtaken by its answer.
const OVERTAKEN_NS: u64 = 300_000_000;
/// The time after the end of the old connection from which an answer is no late copy of an old one, even with the same
/// numbers.
const LATE_NS: u64 = 1_000_000_000;
/// The time within which a SYN that opens a connection is answered or sent again (1 s by RFC 6298 §2.1, 3 s by RFC 1122
/// §4.2.3.1).
const AGAIN_NS: u64 = 4_000_000_000;

/// Whether `seg` is a known SYN of `conn`, which is over: that began with this SYN, or one with the same number.
pub(super) fn is_known_syn(conn: &Conn, src_is_low: bool, seg: &Segment) -> bool {
    let role = conn.role_of(src_is_low);
    conn.side(role).isn() == Some(seg.seq) || conn.is_answered_by_now(role, seg)
}

impl Tracker {
    /// Takes a known SYN of the connection in `slot`, which is over. Until it is clear whether it opens another
    /// connection, it is remembered.
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
            self.late_segment(slot, src_is_low, seg, sink);
        } else if !conn.flags.established {
            self.forget(slot, seg.ts, sink);
            self.original(seg, sink);
        } else if let Some(first) = self.known_syns.get(&slot) {
            if seg.ts.since(first.ts) < COPY_NS {
                self.late_segment(slot, src_is_low, seg, sink);
            } else {
                self.reopen(slot, seg, sink);
            }
        } else {
            self.known_syns.insert(slot, seg.clone());
        }
    }

    /// Whether `seg` answers the known SYN that is remembered for `slot` and shows that it opens another connection.
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

    /// Opens another connection by the known SYN that is remembered for `slot`, and goes on with `seg`, which showed
    /// that it is one.
    pub(super) fn reopen(&mut self, slot: u32, seg: &Segment, sink: &mut dyn FnMut(Event)) {
        let syn = self.known_syns.remove(&slot);
        self.forget(slot, seg.ts, sink);
        if let Some(syn) = syn {
            self.original(&syn, sink);
        }
        self.original(seg, sink);
    }

    /// Forgets the known SYN of the connection in `slot`, which is forgotten at `ts`. Returns it if it came so short a
    /// time ago that its answer may follow: nothing is left that it could be a copy of.
    pub(super) fn forget_known_syn(&mut self, slot: u32, ts: Timestamp) -> Option<Segment> {
        if self.known_syns.is_empty() {
            return None;
        }
        self.known_syns.remove(&slot).filter(|syn| ts.since(syn.ts) < AGAIN_NS)
    }
}

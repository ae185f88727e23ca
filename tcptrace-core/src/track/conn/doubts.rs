//! The segments of a connection that are not believed, or not yet: a reset that is held, and FINs with other numbers
//! than the one that counts.

use super::Conn;
use crate::{
    event::{DoubtfulReset, Role},
    segment::{Segment, Timestamp},
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

/// The most resets that changed nothing that an event lists one by one.
const MOST_IGNORED: usize = 8;

/// The parts of a FIN that are remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fin {
    pub(crate) ts: Timestamp,
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
    pub(crate) payload_len: u32,
    pub(crate) flags: TcpFlags,
    /// The FIN is in the first fragment of a packet, so its end is somewhere beyond the data of that fragment.
    pub(crate) fragmented: bool,
}

impl Fin {
    pub(crate) const fn of(seg: &Segment) -> Self {
        let &Segment { ts, seq, ack, payload_len, flags, fragmented, .. } = seg;
        Self { ts, seq, ack, payload_len, flags, fragmented }
    }

    /// The sequence number after the data in the FIN's segment, which is the FIN's own.
    pub(crate) const fn data_end(&self) -> SeqNum {
        self.seq.plus(self.payload_len)
    }

    /// The sequence number after the FIN.
    pub(crate) const fn end(&self) -> SeqNum {
        self.data_end().plus(1)
    }

    /// Whether the FIN ends at `end`, or can: one in a first fragment can end soon after it.
    pub(crate) fn is_at(&self, end: SeqNum) -> bool {
        self.end() == end || (self.fragmented && end.at_or_soon_after(self.end()))
    }
}

/// A FIN that does not count, but may turn out to be its sender's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherFin {
    pub(crate) role: Role,
    pub(crate) fin: Fin,
}

/// The segments of a connection that are not believed, or not yet. Few connections have any.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// The reset that is held.
    pub(crate) held: Option<HeldReset>,
    /// FINs with other numbers than the one that counts.
    pub(crate) other_fins: Vec<OtherFin>,
    /// The deferred segments of a challenger, which go on from its SYN; see `challenge.rs`.
    pub(crate) deferred: Vec<Segment>,
    /// The resets that changed nothing.
    pub(crate) resets_ignored: Vec<DoubtfulReset>,
    /// The reset that ended it, though the endpoint in whose name it came went on.
    pub(crate) reset_by_another: Option<DoubtfulReset>,
}

/// A reset that is held, and the segments that came after it.
#[derive(Debug)]
pub(crate) struct HeldReset {
    pub(crate) seg: Segment,
    pub(crate) role: Role,
    /// The number of the reset is known to be its receiver's RCV.NXT.
    pub(crate) exact: bool,
    /// A segment came from the reset's sender that may have been sent before the reset or after it.
    pub(crate) in_doubt: bool,
    pub(crate) waiting: Vec<Segment>,
}

impl Conn {
    /// Whether a reset of the connection is held.
    pub(crate) fn is_held(&self) -> bool {
        self.teardown().doubts.as_deref().is_some_and(|doubts| doubts.held.is_some())
    }

    /// Records that the RST `seg` changed nothing. `ttl` is the TTL of a segment that is its sender's own, where one
    /// came.
    pub(crate) fn record_ignored_reset(&mut self, role: Role, seg: &Segment, ttl: Option<u8>) {
        let ignored = &mut self.doubts_mut().resets_ignored;
        if ignored.len() < MOST_IGNORED {
            ignored.push(doubtful(role, seg, ttl));
        }
    }
}

pub(crate) fn doubtful(role: Role, seg: &Segment, sender_ttl: Option<u8>) -> DoubtfulReset {
    DoubtfulReset { ts: seg.ts, sender: role, ttl: seg.ttl, sender_ttl }
}

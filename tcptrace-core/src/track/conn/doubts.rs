//! What of a connection is not believed, or not yet: a reset that is doubted, and FINs of which one counts.

use super::Conn;
use crate::{
    event::{DoubtfulReset, Role},
    segment::{Segment, Timestamp},
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

/// How many resets that changed nothing are told one by one.
const MOST_IGNORED: usize = 8;

/// What is remembered of a FIN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fin {
    pub(crate) ts: Timestamp,
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
    pub(crate) payload_len: u32,
    pub(crate) flags: TcpFlags,
    /// It is in the first fragment of a packet, so that its end is somewhere beyond what that has.
    pub(crate) fragmented: bool,
}

impl Fin {
    pub(crate) const fn of(seg: &Segment) -> Self {
        let &Segment { ts, seq, ack, payload_len, flags, fragmented, .. } = seg;
        Self { ts, seq, ack, payload_len, flags, fragmented }
    }

    /// The sequence number after its data.
    pub(crate) const fn data_end(&self) -> SeqNum {
        self.seq.plus(self.payload_len)
    }

    /// The sequence number after it.
    pub(crate) const fn end(&self) -> SeqNum {
        self.data_end().plus(1)
    }

    /// Its end is `end`, or can be.
    pub(crate) fn is_at(&self, end: SeqNum) -> bool {
        self.end() == end || (self.fragmented && end.at_or_soon_after(self.end()))
    }
}

/// A FIN that is not the one that counts, but may turn out to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherFin {
    pub(crate) role: Role,
    pub(crate) fin: Fin,
}

/// What is not believed, or not yet. Few connections have any.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// A reset that is doubted.
    pub(crate) held: Option<Held>,
    /// FINs at other places than the one that counts.
    pub(crate) other_fins: Vec<OtherFin>,
    /// Of a connection that waits beside an older one: what goes on from its SYN; see `challenge.rs`.
    pub(crate) goes_on: Vec<Segment>,
    /// Resets that changed nothing.
    pub(crate) resets_ignored: Vec<DoubtfulReset>,
    /// The reset that ended it, though the endpoint in whose name it came went on.
    pub(crate) reset_by_another: Option<DoubtfulReset>,
}

/// A reset, and what came after it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) seg: Segment,
    pub(crate) role: Role,
    /// Its number is the one that its receiver waits for.
    pub(crate) exact: bool,
    /// Something came of its sender that may have been sent before the reset or after it.
    pub(crate) in_doubt: bool,
    pub(crate) waiting: Vec<Segment>,
}

impl Conn {
    /// A reset of it is doubted.
    pub(crate) fn is_held(&self) -> bool {
        self.teardown().doubts.as_deref().is_some_and(|doubts| doubts.held.is_some())
    }

    /// The RST `seg` changed nothing. `ttl` is that of a segment which is its sender's own.
    pub(crate) fn note_ignored_reset(&mut self, role: Role, seg: &Segment, ttl: Option<u8>) {
        let ignored = &mut self.doubts_mut().resets_ignored;
        if ignored.len() < MOST_IGNORED {
            ignored.push(doubtful(role, seg, ttl));
        }
    }
}

pub(crate) fn doubtful(role: Role, seg: &Segment, sender_ttl: Option<u8>) -> DoubtfulReset {
    DoubtfulReset { ts: seg.ts, sender: role, ttl: seg.ttl, sender_ttl }
}

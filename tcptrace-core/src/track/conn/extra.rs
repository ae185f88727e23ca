//! The facts that only few connections have: what came instead of an answer, SYNs that were sent again, and the like.

use super::times::When;
use crate::{
    event::{EcnKind, Role},
    segment::{IcmpError, Segment, Timestamp},
    socket::AcceptQueue,
    track::answers::OtherSynack,
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

/// The facts that only few connections have.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact of the connection")]
pub(crate) struct Extra {
    /// The last ICMP error that quoted its SYN or SYN-ACK.
    pub(crate) icmp: Option<SeenIcmpError>,
    /// The ICMP error came after the last SYN.
    pub(crate) rejected: bool,
    pub(crate) syns: SynTimes,
    /// How many SYN-ACKs came again after the acknowledgement of the first had passed.
    pub(crate) synacks_after_ack: u16,
    /// A SYN-ACK with another ISN than the one that counts.
    pub(crate) other_synack: Option<OtherSynack>,
    /// The server acknowledged an earlier connection instead of the SYN, and the client reset that.
    pub(crate) challenged: bool,
    /// The first of the SYN-ACKs in `synacks_after_ack` came later than the server's first time-out.
    pub(crate) synack_late: bool,
    /// How full the accept queue of the listener was, where that was asked.
    pub(crate) accept_queue: Option<AcceptQueue>,
    /// The segments that came instead of an answer to the SYN.
    pub(crate) wrong_answers: WrongAnswerCounts,
    pub(crate) ecn: EcnTries,
    /// There was no SYN: a RST answers a segment with control bits that no stack sends together.
    pub(crate) probe: bool,
    /// The other sequence numbers with which the connection was captured too; see `views.rs`.
    pub(crate) other_view: Option<OtherView>,
    /// The side that sends with other VLAN tags than the key has, and its tags; see `halves.rs`.
    pub(crate) other_tags: Option<(Role, [u16; 2])>,
}

impl Extra {
    pub(super) const NONE: Self = Self {
        icmp: None,
        rejected: false,
        syns: SynTimes::NONE,
        synacks_after_ack: 0,
        other_synack: None,
        challenged: false,
        synack_late: false,
        accept_queue: None,
        wrong_answers: WrongAnswerCounts::NONE,
        ecn: EcnTries::NONE,
        probe: false,
        other_view: None,
        other_tags: None,
    };
}

/// The server's segments that came instead of an answer to the SYN: how many, and what they acknowledged last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrongAnswerCounts {
    pub(crate) rsts: u16,
    pub(crate) rst_ack: Option<SeqNum>,
    pub(crate) synacks: u16,
    pub(crate) synack_ack: Option<SeqNum>,
    pub(crate) synacks_reset: u16,
}

impl WrongAnswerCounts {
    const NONE: Self = Self { rsts: 0, rst_ack: None, synacks: 0, synack_ack: None, synacks_reset: 0 };
}

/// Which of the client's SYNs asked for ECN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EcnTries {
    /// How many SYNs that were sent again asked for it.
    pub(crate) again: u16,
    /// The ECN bits ([`ecn_bits`]) of the last SYN, where that was sent again.
    pub(crate) last: Option<u8>,
}

impl EcnTries {
    const NONE: Self = Self { again: 0, last: None };

    /// Adds a SYN that was sent again before anything answered.
    pub(crate) fn add(&mut self, flags: TcpFlags) {
        let bits = ecn_bits(flags);
        self.last = Some(bits);
        self.again = self.again.saturating_add(u16::from(offer(bits) != EcnKind::None));
    }
}

/// The control bits for ECN of a segment: ECE, CWR and AE, from the lowest bit.
pub(crate) const fn ecn_bits(flags: TcpFlags) -> u8 {
    // Bits 6 to 8 of nine.
    (flags.0 >> 6 & 0b111) as u8
}

/// The kind of ECN that a SYN with `bits` asks for (RFC 3168 §6.1.1, RFC 9768 §3.1.1).
pub(crate) const fn offer(bits: u8) -> EcnKind {
    match bits {
        0b011 => EcnKind::Classic,
        0b111 => EcnKind::Accurate,
        _ => EcnKind::None,
    }
}

/// How far apart the client's SYNs were, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SynTimes {
    gaps: [u64; Self::MOST],
    /// The time stamp of the SYN at the end of each gap, where it had one.
    tsvals: [Option<u32>; Self::MOST],
    len: u8,
    latest: When,
}

impl SynTimes {
    /// Linux sends seven SYNs (`net.ipv4.tcp_syn_retries` is 6), eleven with `tcp_syn_linear_timeouts`.
    const MOST: usize = 10;
    const NONE: Self =
        Self { gaps: [0; Self::MOST], tsvals: [None; Self::MOST], len: 0, latest: When::NEVER };

    /// Adds a SYN. `first` is when the first SYN passed; it is needed where that is the one before, and `None` if it
    /// was not seen.
    pub(crate) fn add(&mut self, first: Option<Timestamp>, syn: &Segment) {
        let before = self.latest.get().or(first);
        self.latest.set(syn.ts);
        let place = usize::from(self.len);
        if let Some(before) = before.filter(|_| place < Self::MOST) {
            self.gaps[place] = syn.ts.since(before);
            self.tsvals[place] = syn.tsval();
            self.len += 1;
        }
    }

    /// Records that the first SYN passed at `ts`, where that is not the connection's start.
    pub(crate) fn begin(&mut self, ts: Timestamp) {
        self.latest.set(ts);
    }

    /// When each SYN passed after the one at `first`, and the value of its time stamp option.
    pub(crate) fn sent_again(&self, first: Timestamp) -> impl Iterator<Item = (Timestamp, Option<u32>)> + '_ {
        self.gaps().iter().zip(self.tsvals).scan(first, |ts, (&gap, value)| {
            *ts = ts.plus(gap);
            Some((*ts, value))
        })
    }

    /// When the last SYN passed, if any was added.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        self.latest.get()
    }

    pub(crate) fn gaps(&self) -> &[u64] {
        &self.gaps[..usize::from(self.len)]
    }
}

/// The view that is not followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherView {
    pub(crate) client_isn: SeqNum,
    /// The ISN of the view's SYN-ACK, where that was seen.
    pub(crate) server_isn: Option<SeqNum>,
    /// When the view's SYN passed first.
    pub(crate) first: Timestamp,
    /// When the view's SYN passed last.
    pub(crate) last: Timestamp,
    /// The server has answered, so it is decided which of the two views is followed.
    pub(crate) is_decided: bool,
}

/// An ICMP error that quoted a SYN or SYN-ACK, as far as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenIcmpError {
    pub(crate) from: [u8; 16],
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// Which side sent the quoted segment.
    pub(crate) sender: Role,
}

impl SeenIcmpError {
    pub(crate) const fn new(error: &IcmpError, sender: Role) -> Self {
        Self { from: error.from, kind: error.kind, code: error.code, sender }
    }
}

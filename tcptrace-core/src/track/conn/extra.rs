//! What only few connections have: what came in the place of an answer, SYNs that were sent again, and the like.

use super::clocks::When;
use crate::{
    event::{EcnKind, Role},
    segment::{IcmpError, Segment, Timestamp},
    track::side::OtherSynack,
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

/// What only few connections have.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact of the connection")]
pub(crate) struct Extra {
    /// The last ICMP error that quoted its SYN or SYN-ACK.
    pub(crate) icmp: Option<IcmpNote>,
    /// That came after the last SYN.
    pub(crate) rejected: bool,
    pub(crate) syns: SynTimes,
    /// SYN-ACKs that came again after the acknowledgement of the first had passed.
    pub(crate) synacks_after_ack: u16,
    /// A SYN-ACK with another ISN than the one that counts.
    pub(crate) other_synack: Option<OtherSynack>,
    /// The server acknowledged an earlier connection instead of the SYN, and the client reset that.
    pub(crate) challenged: bool,
    /// The first of these SYN-ACKs came later than the server's first time-out.
    pub(crate) synack_late: bool,
    /// What came instead of an answer to the SYN.
    pub(crate) answers: Answers,
    pub(crate) ecn: EcnTries,
    /// There was no SYN: a RST answers a segment with control bits that no stack sends together.
    pub(crate) probe: bool,
    /// It was seen with other sequence numbers too.
    pub(crate) other_view: Option<OtherView>,
    /// Who sends with other VLAN tags than the key has, and those; see `halves.rs`.
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
        answers: Answers::NONE,
        ecn: EcnTries::NONE,
        probe: false,
        other_view: None,
        other_tags: None,
    };
}

/// Segments of the server that do not answer the SYN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers {
    pub(crate) rsts: u16,
    pub(crate) rst_ack: Option<SeqNum>,
    pub(crate) synacks: u16,
    pub(crate) synack_ack: Option<SeqNum>,
    pub(crate) synacks_reset: u16,
}

impl Answers {
    pub(super) const NONE: Self =
        Self { rsts: 0, rst_ack: None, synacks: 0, synack_ack: None, synacks_reset: 0 };
}

/// Which of the client's SYNs asked for ECN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EcnTries {
    /// SYNs sent again that did.
    pub(crate) again: u16,
    /// What the last SYN did, where it was sent again.
    pub(crate) last: Option<u8>,
}

impl EcnTries {
    pub(super) const NONE: Self = Self { again: 0, last: None };

    /// A SYN sent again before anything answered.
    pub(crate) fn add(&mut self, flags: TcpFlags) {
        let bits = ecn_bits(flags);
        self.last = Some(bits);
        self.again = self.again.saturating_add(u16::from(offer(bits) != EcnKind::None));
    }
}

/// ECE, CWR and AE, from the lowest bit.
pub(crate) const fn ecn_bits(flags: TcpFlags) -> u8 {
    // Bits 6 to 8 of nine.
    (flags.0 >> 6 & 0b111) as u8
}

/// What a SYN asks for (RFC 3168 §6.1.1, RFC 9768 §3.1.1).
pub(crate) const fn offer(bits: u8) -> EcnKind {
    match bits {
        0b011 => EcnKind::Classic,
        0b111 => EcnKind::Accurate,
        _ => EcnKind::None,
    }
}

/// How far apart the client's SYNs were.
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
    pub(super) const NONE: Self =
        Self { gaps: [0; Self::MOST], tsvals: [None; Self::MOST], len: 0, latest: When::NEVER };

    /// One more SYN; the one before, if it was the first, was at `first`, or was not seen.
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

    /// The first SYN passed at `ts`, which is not the connection's start.
    pub(crate) fn begin(&mut self, ts: Timestamp) {
        self.latest.set(ts);
    }

    /// When each SYN after the first passed, which was at `first`, and its time stamp.
    pub(crate) fn sent_again(&self, first: Timestamp) -> impl Iterator<Item = (Timestamp, Option<u32>)> + '_ {
        self.gaps().iter().zip(self.tsvals).scan(first, |ts, (&gap, value)| {
            *ts = ts.plus(gap);
            Some((*ts, value))
        })
    }

    /// When the last one was sent again.
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
    /// Of its SYN-ACK, where that was seen.
    pub(crate) server_isn: Option<SeqNum>,
    /// When its SYN passed first, and last.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// The server answered, so it is known which of the two is followed.
    pub(crate) is_settled: bool,
}

/// An ICMP error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IcmpNote {
    pub(crate) from: [u8; 16],
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// Who sent the segment that it quotes.
    pub(crate) sender: Role,
}

impl IcmpNote {
    pub(crate) const fn new(error: &IcmpError, sender: Role) -> Self {
        Self { from: error.from, kind: error.kind, code: error.code, sender }
    }
}

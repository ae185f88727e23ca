//! What is known of one end of a connection from its opening.

use crate::event::State;
use tcptrace_common::{seq::SeqNum, tcp::TcpOptions};

/// What is known of one end of a connection from its opening, in 20 bytes: each value that can be unknown has a bit
/// that says whether it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    isn: SeqNum,
    syn_end: SeqNum,
    acked: SeqNum,
    mss: u16,
    window_scale: u8,
    /// A bit for each option that there is, and one for whether the options are known at all.
    options: u8,
    pub(crate) state: State,
    /// TTL or hop limit of its SYN or SYN-ACK; 0 where that is not known.
    ttl: u8,
    /// A bit for each value that is known, and for some facts.
    known: u8,
    /// The control bits for ECN of its SYN or SYN-ACK ([`Side::ecn_bits`]).
    ecn: u8,
}

/// All that a SYN or SYN-ACK says of its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) isn: SeqNum,
    pub(crate) syn_end: Option<SeqNum>,
    pub(crate) options: Option<TcpOptions>,
    pub(crate) ttl: Option<u8>,
    /// The control bits for ECN, as [`Side::ecn_bits`] has them.
    pub(crate) ecn: u8,
}

impl Opening {
    pub(crate) fn of(side: &Side) -> Self {
        Self {
            isn: side.isn().unwrap_or(SeqNum(0)),
            syn_end: side.syn_end(),
            options: side.options(),
            ttl: side.ttl(),
            ecn: side.ecn_bits(),
        }
    }
}

const ISN: u8 = 1;
const SYN_END: u8 = 1 << 1;
const ACKED: u8 = 1 << 2;
const SYN_ACKED: u8 = 1 << 3;
const FIN_END: u8 = 1 << 4;
const BOUND: u8 = 1 << 5;
const LONG_AGO: u8 = 1 << 6;
const SEEN: u8 = 1 << 7;

/// A silence after which sequence numbers cannot be compared with those before it (RFC 9293 §3.4): more than 2 GiB,
/// half of the number space, takes less than this only at 171 Gbit/s, which is above what one connection reaches today.
pub(crate) const LONG_NS: u64 = 100_000_000;

const OPTIONS: u8 = 1;
const MSS: u8 = 1 << 1;
const WINDOW_SCALE: u8 = 1 << 2;
const SACK_PERMITTED: u8 = 1 << 3;
const TIMESTAMPS: u8 = 1 << 4;
const FAST_OPEN: u8 = 1 << 5;
const MPTCP: u8 = 1 << 6;
const CUT: u8 = 1 << 7;

impl Side {
    pub(crate) const NEW: Self = Self {
        isn: SeqNum(0),
        syn_end: SeqNum(0),
        acked: SeqNum(0),
        mss: 0,
        window_scale: 0,
        options: 0,
        state: State::Closed,
        ttl: 0,
        known: 0,
        ecn: 0,
    };

    fn if_known(&self, bit: u8, seq: SeqNum) -> Option<SeqNum> {
        (self.known & bit != 0).then_some(seq)
    }

    fn set_known(&mut self, bit: u8, known: bool) {
        self.known = if known { self.known | bit } else { self.known & !bit };
    }

    /// The sequence number of its SYN or SYN-ACK.
    pub(crate) fn isn(&self) -> Option<SeqNum> {
        self.if_known(ISN, self.isn)
    }

    /// The sequence number after its SYN or SYN-ACK, data in it included (RFC 7413).
    pub(crate) fn syn_end(&self) -> Option<SeqNum> {
        self.if_known(SYN_END, self.syn_end)
    }

    /// What it acknowledged last; of numbers within [`SeqNum::NEAR`] of each other, the greatest.
    pub(crate) fn acked(&self) -> Option<SeqNum> {
        self.if_known(ACKED, self.acked)
    }

    /// Whether the peer acknowledged its SYN.
    pub(crate) fn syn_acked(&self) -> bool {
        self.known & SYN_ACKED != 0
    }

    pub(crate) fn set_syn_acked(&mut self) {
        self.set_known(SYN_ACKED, true);
    }

    /// Whether its FIN was seen, where its connection is shrunk.
    pub(super) fn has_fin(&self) -> bool {
        self.known & FIN_END != 0
    }

    pub(super) fn set_has_fin(&mut self, known: bool) {
        self.set_known(FIN_END, known);
    }

    /// Whether any segment of it was seen.
    pub(crate) fn is_seen(&self) -> bool {
        self.known & SEEN != 0
    }

    pub(crate) fn set_seen(&mut self) {
        self.set_known(SEEN, true);
    }

    /// The control bits for ECN of its SYN or SYN-ACK: ECE, CWR and AE, from the lowest bit.
    pub(crate) fn ecn_bits(&self) -> u8 {
        self.ecn
    }

    pub(crate) fn set_syn_end(&mut self, seq: SeqNum) {
        self.syn_end = seq;
        self.set_known(SYN_END, true);
    }

    /// Sets all that its SYN or SYN-ACK says of it.
    pub(crate) fn open(&mut self, opening: &Opening) {
        let Opening { isn, syn_end, options, ttl, ecn } = *opening;
        (self.ttl, self.ecn) = (ttl.unwrap_or(0), ecn);
        self.isn = isn;
        self.set_known(ISN, true);
        self.syn_end = syn_end.unwrap_or(SeqNum(0));
        self.set_known(SYN_END, syn_end.is_some());
        self.set_options(options);
    }

    /// The TTL or hop limit of its SYN or SYN-ACK.
    pub(crate) fn ttl(&self) -> Option<u8> {
        (self.ttl != 0).then_some(self.ttl)
    }

    /// The options of its SYN or SYN-ACK.
    pub(crate) fn options(&self) -> Option<TcpOptions> {
        let has = |bit| self.options & bit != 0;
        has(OPTIONS).then(|| TcpOptions {
            mss: has(MSS).then_some(self.mss),
            window_scale: has(WINDOW_SCALE).then_some(self.window_scale),
            sack_permitted: has(SACK_PERMITTED),
            timestamps: has(TIMESTAMPS),
            fast_open: has(FAST_OPEN),
            mptcp: has(MPTCP),
            cut: has(CUT),
        })
    }

    fn set_options(&mut self, options: Option<TcpOptions>) {
        let Some(TcpOptions { mss, window_scale, sack_permitted, timestamps, fast_open, mptcp, cut }) =
            options
        else {
            self.options = 0;
            return;
        };
        let bits = [
            (true, OPTIONS),
            (mss.is_some(), MSS),
            (window_scale.is_some(), WINDOW_SCALE),
            (sack_permitted, SACK_PERMITTED),
            (timestamps, TIMESTAMPS),
            (fast_open, FAST_OPEN),
            (mptcp, MPTCP),
            (cut, CUT),
        ];
        self.options = bits.into_iter().fold(0, |all, (is, bit)| if is { all | bit } else { all });
        (self.mss, self.window_scale) = (mss.unwrap_or(0), window_scale.unwrap_or(0));
    }

    /// Whether it acknowledged everything before `seq`; meant for the handshake, where numbers are near each other.
    pub(crate) fn has_acked(&self, seq: Option<SeqNum>) -> bool {
        matches!((self.acked(), seq), (Some(acked), Some(seq)) if acked.at_or_after(seq))
    }

    /// Records an acknowledgement that it sent. That can be made up, so it replaces one that is known to be right only
    /// if it is near that.
    pub(crate) fn record_ack(&mut self, ack: SeqNum) {
        let known = self.known & BOUND != 0;
        if !known || ack.at_or_soon_after(self.acked) {
            self.acked = ack;
            self.set_known(ACKED, true);
        }
    }

    /// Records an acknowledgement that it sent and that is right: it is of a number that its peer is known to have
    /// sent.
    pub(crate) fn prove_ack(&mut self, ack: SeqNum) {
        self.acked = ack;
        self.set_known(ACKED | BOUND, true);
    }

    /// Forgets that what it acknowledged, and its own ISN, are bounds for the numbers to come: so much time went by
    /// that any number of octets may have been sent.
    pub(crate) fn forget_bound(&mut self) {
        self.set_known(BOUND, false);
        self.set_known(LONG_AGO, true);
    }

    /// The number that it is known to have acknowledged, if that was so short a time ago that its peer's numbers can be
    /// compared with it.
    pub(crate) fn bound(&self) -> Option<SeqNum> {
        self.if_known(BOUND, self.acked)
    }

    /// Whether its ISN is so recent that its numbers can be compared with that.
    pub(crate) fn is_young(&self) -> bool {
        self.known & LONG_AGO == 0
    }

    /// The sequence number of its first octet of data (RFC 9293 §3.4: the SYN counts one).
    pub(crate) fn first_data(&self) -> Option<SeqNum> {
        self.isn().map(|isn| isn.plus(1))
    }
}

#[cfg(test)]
mod tests {
    use super::{Opening, Side};
    use proptest::prelude::*;
    use tcptrace_common::{seq::SeqNum, tcp::TcpOptions};

    prop_compose! {
        fn options()(
            mss: Option<u16>,
            window_scale: Option<u8>,
            sack_permitted: bool,
            timestamps: bool,
            fast_open: bool,
            mptcp: bool,
            cut: bool,
        ) -> TcpOptions {
            TcpOptions { mss, window_scale, sack_permitted, timestamps, fast_open, mptcp, cut }
        }
    }

    proptest! {
        #[test]
        fn says_what_it_was_told_last(
            first: (u32, u32),
            isn: u32,
            syn_end: Option<u32>,
            ttl: Option<u8>,
            ecn: u8,
            before in proptest::option::of(options()),
            after in proptest::option::of(options()),
        ) {
            let mut side = Side::NEW;
            prop_assert!(side.isn().is_none() && side.syn_end().is_none() && side.options().is_none());
            let (first, syn_end, again) = ((SeqNum(first.0), SeqNum(first.1)), syn_end.map(SeqNum), SeqNum(isn));
            side.open(&Opening {
                isn: first.0,
                syn_end: Some(first.1),
                options: before,
                ttl: Some(1),
                ecn: 1,
            });
            prop_assert_eq!((side.options(), side.ttl(), side.ecn_bits()), (before, Some(1), 1));
            side.open(&Opening { isn: again, syn_end, options: after, ttl, ecn });
            prop_assert_eq!((side.ttl(), side.ecn_bits(), side.is_seen()), (ttl.filter(|&ttl| ttl != 0), ecn, false));
            prop_assert_eq!((side.isn(), side.syn_end()), (Some(again), syn_end));
            prop_assert_eq!(side.options(), after);
            prop_assert!(side.acked().is_none() && !side.syn_acked());
        }
    }
}

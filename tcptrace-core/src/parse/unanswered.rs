//! SYNs of a capture file to which no SYN-ACK has passed.
//!
//! Where only the direction of the client passes (asymmetric routing), the first segment of the client after its SYN
//! shows that it got a SYN-ACK: in SYN-SENT no stack acknowledges anything (RFC 9293 §3.10.7.3). The kernel programs do
//! not search for that, as it would cost a look at a table for every packet; the reader of a file has the time.

use tcptrace_common::{
    abi::Record,
    flow::FlowHash,
    seq::SeqNum,
    tcp::{TcpFlags, UNSCALED_WINDOW},
};

/// A SYN: the hash of its flow, which goes from client to server, and the sequence number after it. The tag 0 says that
/// there is none.
#[derive(Clone, Copy)]
struct Syn {
    flow: FlowHash,
    end: SeqNum,
}

impl Syn {
    /// Whether the SYN is of this flow. VLAN tags are not compared, because the other direction can have different
    /// ones.
    fn is_of(&self, flow: FlowHash) -> bool {
        (self.flow.bucket, self.flow.tag) == (flow.bucket, flow.tag)
    }
}

/// A table of SYNs to which no SYN-ACK has passed. Each flow has one slot, and the latest SYN of the flows of a slot
/// has it.
pub(crate) struct UnansweredSyns {
    slots: Box<[Syn]>,
    occupied: usize,
}

impl UnansweredSyns {
    const SLOTS: usize = 8192;

    pub(crate) fn new() -> Self {
        let none = Syn { flow: FlowHash { bucket: 0, tag: 0, vlans: 0 }, end: SeqNum(0) };
        Self { slots: vec![none; Self::SLOTS].into_boxed_slice(), occupied: 0 }
    }

    /// Whether there are no SYNs.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    #[inline]
    fn slot(&mut self, flow: FlowHash) -> &mut Syn {
        &mut self.slots[flow.bucket as usize % Self::SLOTS]
    }

    /// Takes in a segment with SYN, FIN or RST, with the hash of its own flow and that of the other direction.
    pub(crate) fn observe(&mut self, record: &Record, (own, peer): (FlowHash, FlowHash)) {
        let flags = TcpFlags(record.flags);
        if flags.syn() && !flags.ack() {
            let end = SeqNum(record.seq).plus(record.payload_len).plus(1);
            let syn = self.slot(own);
            let fresh = syn.flow.tag == 0;
            *syn = Syn { flow: own, end };
            self.occupied += usize::from(fresh);
            return;
        }
        // The SYN was answered, or its connection ends with a segment that the tracker gets.
        self.forget(own);
        self.forget(peer);
    }

    /// Whether a segment of `flow` without SYN, FIN and RST shows that its SYN was answered. The SYN is removed then,
    /// so that only the first such segment counts.
    #[inline]
    pub(crate) fn remove_if_answered(&mut self, flow: FlowHash, seq: SeqNum) -> bool {
        let syn = *self.slot(flow);
        // The window of a SYN-ACK is never scaled (RFC 7323 §2.2), and bounds what its client sends first.
        let found = syn.is_of(flow) && (0..=UNSCALED_WINDOW).contains(&seq.distance_from(syn.end));
        if found {
            self.forget(flow);
        }
        found
    }

    fn forget(&mut self, flow: FlowHash) {
        let syn = self.slot(flow);
        if syn.is_of(flow) && flow.tag != 0 {
            syn.flow.tag = 0;
            self.occupied -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: FlowHash = FlowHash { bucket: 7, tag: 1, vlans: 0 };
    const SERVER: FlowHash = FlowHash { bucket: 9, tag: 2, vlans: 0 };

    fn record(flags: TcpFlags, seq: u32) -> Record {
        let mut record = Record::EMPTY;
        (record.flags, record.seq) = (flags.0, seq);
        record
    }

    #[test]
    fn a_client_that_goes_on_is_told_of_once_and_only_without_a_syn_ack() {
        let syn = record(TcpFlags::SYN, 1000);
        let heard = record(TcpFlags::SYN.union(TcpFlags::ACK), 5000);
        let mut unanswered = UnansweredSyns::new();
        assert!(
            unanswered.is_empty() && !unanswered.remove_if_answered(CLIENT, SeqNum(1001)),
            "there was no SYN"
        );
        unanswered.observe(&syn, (CLIENT, SERVER));
        assert!(
            !unanswered.remove_if_answered(SERVER, SeqNum(1001))
                && !unanswered.remove_if_answered(CLIENT, SeqNum(1000))
        );
        assert!(!unanswered.remove_if_answered(CLIENT, SeqNum(1001 + 65_536)), "of another connection");
        assert!(
            unanswered.remove_if_answered(CLIENT, SeqNum(1001))
                && !unanswered.remove_if_answered(CLIENT, SeqNum(1001))
        );
        assert!(unanswered.is_empty());
        unanswered.observe(&syn, (CLIENT, SERVER));
        unanswered.observe(&syn, (CLIENT, SERVER));
        unanswered.observe(&heard, (SERVER, CLIENT));
        assert!(unanswered.is_empty() && !unanswered.remove_if_answered(CLIENT, SeqNum(1001)));
        // Two flows share a slot: the later one has it, and the count is right.
        let other = FlowHash { tag: 3, ..CLIENT };
        unanswered.observe(&syn, (CLIENT, SERVER));
        unanswered.observe(&syn, (other, SERVER));
        assert!(
            !unanswered.remove_if_answered(CLIENT, SeqNum(1001))
                && unanswered.remove_if_answered(other, SeqNum(1001))
        );
        assert!(unanswered.is_empty());
    }
}

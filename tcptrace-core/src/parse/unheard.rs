//! SYNs to which no SYN-ACK has passed, in a capture file. Where only the client's direction passes (asymmetric routing), its
//! first segment behind the SYN shows that a SYN-ACK came to it all the same: in SYN-SENT no stack acknowledges anything
//! (RFC 9293 §3.10.7.3). The kernel programs do not look for it, as it would cost them a look at every packet; a file's reader
//! has the time.

use tcptrace_common::{
    abi::Record,
    flow::FlowHash,
    seq::SeqNum,
    tcp::{TcpFlags, UNSCALED_WINDOW},
};

/// A SYN's flow, which is that of what its client sends, and the number behind it; the tag 0 for none.
#[derive(Clone, Copy)]
struct Syn {
    flow: FlowHash,
    end: SeqNum,
}

impl Syn {
    /// With whatever VLAN tags: the other direction can have different ones.
    fn is_of(&self, flow: FlowHash) -> bool {
        (self.flow.bucket, self.flow.tag) == (flow.bucket, flow.tag)
    }
}

/// See the module. A flow has one place, and the latest SYN has it.
pub(crate) struct Unheard {
    places: Box<[Syn]>,
    taken: usize,
}

impl Unheard {
    const PLACES: usize = 8192;

    pub(crate) fn new() -> Self {
        let none = Syn { flow: FlowHash { bucket: 0, tag: 0, vlans: 0 }, end: SeqNum(0) };
        Self { places: vec![none; Self::PLACES].into_boxed_slice(), taken: 0 }
    }

    /// There is none.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    #[inline]
    fn place(&mut self, flow: FlowHash) -> &mut Syn {
        &mut self.places[flow.bucket as usize % Self::PLACES]
    }

    /// A segment with SYN, FIN or RST passed: its own flow, and that of the other direction.
    pub(crate) fn note(&mut self, record: &Record, (own, peer): (FlowHash, FlowHash)) {
        let flags = TcpFlags(record.flags);
        if flags.syn() && !flags.ack() {
            let end = SeqNum(record.seq).plus(record.payload_len).plus(1);
            let syn = self.place(own);
            let fresh = syn.flow.tag == 0;
            *syn = Syn { flow: own, end };
            self.taken += usize::from(fresh);
            return;
        }
        // Its SYN was answered, or the tracker learns of its end.
        self.forget(own);
        self.forget(peer);
    }

    /// A segment of `flow` without SYN, FIN and RST goes on behind its SYN, the first one that does.
    #[inline]
    pub(crate) fn goes_on(&mut self, flow: FlowHash, seq: SeqNum) -> bool {
        let syn = *self.place(flow);
        // No more than the window of the SYN-ACK lets it send.
        let found = syn.is_of(flow) && (0..=UNSCALED_WINDOW).contains(&seq.distance_from(syn.end));
        if found {
            self.forget(flow);
        }
        found
    }

    fn forget(&mut self, flow: FlowHash) {
        let syn = self.place(flow);
        if syn.is_of(flow) && flow.tag != 0 {
            syn.flow.tag = 0;
            self.taken -= 1;
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
        let mut unheard = Unheard::new();
        assert!(unheard.is_empty() && !unheard.goes_on(CLIENT, SeqNum(1001)), "there was no SYN");
        unheard.note(&syn, (CLIENT, SERVER));
        assert!(!unheard.goes_on(SERVER, SeqNum(1001)) && !unheard.goes_on(CLIENT, SeqNum(1000)));
        assert!(!unheard.goes_on(CLIENT, SeqNum(1001 + 65_536)), "of another connection");
        assert!(unheard.goes_on(CLIENT, SeqNum(1001)) && !unheard.goes_on(CLIENT, SeqNum(1001)));
        assert!(unheard.is_empty());
        unheard.note(&syn, (CLIENT, SERVER));
        unheard.note(&syn, (CLIENT, SERVER));
        unheard.note(&heard, (SERVER, CLIENT));
        assert!(unheard.is_empty() && !unheard.goes_on(CLIENT, SeqNum(1001)));
        // Two flows of one place: the later has it, and the count is right.
        let other = FlowHash { tag: 3, ..CLIENT };
        unheard.note(&syn, (CLIENT, SERVER));
        unheard.note(&syn, (other, SERVER));
        assert!(!unheard.goes_on(CLIENT, SeqNum(1001)) && unheard.goes_on(other, SeqNum(1001)));
        assert!(unheard.is_empty());
    }
}

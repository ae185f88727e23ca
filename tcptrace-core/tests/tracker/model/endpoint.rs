//! One TCP endpoint of the model: RFC 9293 §3.10, event by event. It has no congestion control and no delayed
//! acknowledgement, and drops segments that come out of order, so that they are sent again.

use super::Seg;
use tcptrace_common::tcp::TcpFlags;
use tcptrace_core::event::State;

/// An action of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Open,
    /// Writes this many octets.
    Send(u16),
    Close,
    /// Closes from now on as soon as the other side has, so that the FIN and the acknowledgement are one segment.
    CloseOnEof,
    Abort,
    /// Makes what was written and acknowledged by now this many GiB more, without the segments that this takes.
    Skip(u8),
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact of the endpoint")]
pub(crate) struct Endpoint {
    pub(crate) state: State,
    /// The connection was reset, by this endpoint or by the other one.
    pub(crate) was_reset: bool,
    /// How many octets the application has written that can be sent.
    pub(crate) written: u32,
    /// How many GiB went by without segments.
    pub(crate) skipped: u32,
    iss: u32,
    una: u32,
    next: u32,
    /// RCV.NXT, the number that it expects next; meaningless before the other side's SYN.
    expects: u32,
    closing: bool,
    close_on_eof: bool,
    fin_sent: bool,
    /// A number that changes whenever the retransmission timer is set or stopped.
    pub(crate) timer: u64,
    armed: bool,
    tries: u32,
}

const SYN: u16 = TcpFlags::SYN.0;
const ACK: u16 = TcpFlags::ACK.0;
const FIN: u16 = TcpFlags::FIN.0;
const RST: u16 = TcpFlags::RST.0;
const WINDOW: u32 = 65_535;

/// Whether `n` lies in (`after`, `to`], modulo 2^32.
const fn within(n: u32, after: u32, to: u32) -> bool {
    let ahead = n.wrapping_sub(after);
    ahead != 0 && ahead <= to.wrapping_sub(after)
}

impl Endpoint {
    pub(super) fn new(iss: u32, listens: bool) -> Self {
        Self {
            state: if listens { State::Listen } else { State::Closed },
            was_reset: false,
            written: 0,
            skipped: 0,
            iss,
            una: iss,
            next: iss,
            expects: 0,
            closing: false,
            close_on_eof: false,
            fin_sent: false,
            timer: 0,
            armed: false,
            tries: 0,
        }
    }

    /// How long the timer runs that was just set; `None` if it was stopped.
    pub(super) fn wait_ns(&self) -> Option<u64> {
        self.armed.then_some(200_000_000 << self.tries.min(6))
    }

    /// Moves both endpoints on by `gib` GiB, if this one is open and `other` has got all that it sent. Returns whether
    /// it did.
    pub(super) fn skip(&mut self, other: &mut Self, gib: u8) -> bool {
        let open = matches!(self.state, State::Established | State::CloseWait) && !self.fin_sent;
        let receives = matches!(other.state, State::Established | State::FinWait1 | State::FinWait2);
        if !open || !receives || self.una != self.next || other.expects != self.next || self.una == self.iss {
            return false;
        }
        let octets = u32::from(gib) << 30;
        for number in [&mut self.iss, &mut self.una, &mut self.next, &mut other.expects] {
            *number = number.wrapping_add(octets);
        }
        self.skipped += u32::from(gib);
        true
    }

    fn arm(&mut self) {
        self.armed = self.una != self.next && self.state != State::Closed;
        self.timer += 1;
    }

    fn seg(&self, flags: u16, seq: u32, len: u32) -> Seg {
        let ack = if flags & ACK != 0 { self.expects } else { 0 };
        Seg { flags, seq, ack, len }
    }

    fn acknowledge(&self, out: &mut Vec<Seg>) {
        out.push(self.seg(ACK, self.next, 0));
    }

    const fn is_synchronized(&self) -> bool {
        !matches!(self.state, State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }

    pub(super) fn acts(&mut self, act: Act, out: &mut Vec<Seg>) {
        match act {
            Act::Open if self.state == State::Closed && !self.was_reset => {
                self.state = State::SynSent;
                self.next = self.iss.wrapping_add(1);
                out.push(self.seg(SYN, self.iss, 0));
                self.arm();
            }
            Act::Send(len) if !self.closing && !self.was_reset => {
                self.written += u32::from(len);
                self.push(out);
            }
            // It is too late for these: an open to which the other side's SYN came first is a passive one, and the
            // network skips GiB.
            Act::Open | Act::Send(_) | Act::Skip(_) => {}
            Act::Close => {
                self.closing = true;
                self.push(out);
            }
            Act::CloseOnEof => {
                self.close_on_eof = true;
                if matches!(self.state, State::CloseWait) {
                    self.closing = true;
                    self.push(out);
                }
            }
            Act::Abort => {
                // RFC 9293 §3.10.5: in LISTEN, SYN-SENT, CLOSING, LAST-ACK and TIME-WAIT no RST is sent.
                if matches!(
                    self.state,
                    State::SynReceived
                        | State::Established
                        | State::FinWait1
                        | State::FinWait2
                        | State::CloseWait
                ) {
                    // The RST has ACK, as in all stacks: in SYN-SENT it would not be believed without.
                    out.push(self.seg(RST | ACK, self.next, 0));
                    self.end();
                }
            }
        }
    }

    /// Sends the data and the FIN that were not sent before.
    fn push(&mut self, out: &mut Vec<Seg>) {
        if !matches!(self.state, State::Established | State::CloseWait) {
            return;
        }
        let sent = self.next.wrapping_sub(self.iss.wrapping_add(1));
        let len = self.written - sent;
        let fin = self.closing && !self.fin_sent;
        if len == 0 && !fin {
            return;
        }
        let seq = self.next;
        self.next = seq.wrapping_add(len).wrapping_add(u32::from(fin));
        self.fin_sent |= fin;
        out.push(self.seg(ACK | if fin { FIN } else { 0 }, seq, len));
        if fin {
            self.state = if self.state == State::Established { State::FinWait1 } else { State::LastAck };
        }
        self.arm();
    }

    /// Sends again everything that is not acknowledged.
    pub(super) fn retransmits(&mut self, out: &mut Vec<Seg>) {
        if self.una == self.next {
            return;
        }
        self.tries += 1;
        self.arm();
        if self.una == self.iss {
            let flags = if self.state == State::SynSent { SYN } else { SYN | ACK };
            out.push(self.seg(flags, self.iss, 0));
        } else {
            let fin = u32::from(self.fin_sent);
            let len = self.next.wrapping_sub(self.una) - fin;
            out.push(self.seg(ACK | if self.fin_sent { FIN } else { 0 }, self.una, len));
        }
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.was_reset = true;
        self.arm();
    }

    pub(super) fn arrives(&mut self, seg: Seg, out: &mut Vec<Seg>) {
        match self.state {
            State::Closed => Self::reject(seg, out),
            State::Listen => self.arrives_in_listen(seg, out),
            State::SynSent => self.arrives_in_syn_sent(seg, out),
            _ => self.arrives_otherwise(seg, out),
        }
    }

    /// A segment arrives in CLOSED (RFC 9293 §3.10.7.1).
    fn reject(seg: Seg, out: &mut Vec<Seg>) {
        let len = seg.len + u32::from(seg.has(TcpFlags::SYN)) + u32::from(seg.has(TcpFlags::FIN));
        if seg.has(TcpFlags::RST) {
        } else if seg.has(TcpFlags::ACK) {
            out.push(Seg { flags: RST, seq: seg.ack, ack: 0, len: 0 });
        } else {
            out.push(Seg { flags: RST | ACK, seq: 0, ack: seg.seq.wrapping_add(len), len: 0 });
        }
    }

    /// A segment arrives in LISTEN (RFC 9293 §3.10.7.2).
    fn arrives_in_listen(&mut self, seg: Seg, out: &mut Vec<Seg>) {
        if seg.has(TcpFlags::RST) {
        } else if seg.has(TcpFlags::ACK) {
            Self::reject(seg, out);
        } else if seg.has(TcpFlags::SYN) {
            self.expects = seg.seq.wrapping_add(1);
            self.next = self.iss.wrapping_add(1);
            self.state = State::SynReceived;
            out.push(self.seg(SYN | ACK, self.iss, 0));
            self.arm();
        }
    }

    /// A segment arrives in SYN-SENT (RFC 9293 §3.10.7.3).
    fn arrives_in_syn_sent(&mut self, seg: Seg, out: &mut Vec<Seg>) {
        let acked = seg.has(TcpFlags::ACK);
        if acked && !within(seg.ack, self.iss, self.next) {
            return Self::reject(seg, out);
        }
        if seg.has(TcpFlags::RST) {
            if acked {
                self.end();
            }
            return;
        }
        if !seg.has(TcpFlags::SYN) {
            return;
        }
        self.expects = seg.seq.wrapping_add(1);
        if acked {
            self.una = seg.ack;
            self.opens(out);
            if out.is_empty() {
                self.acknowledge(out);
            }
        } else {
            self.state = State::SynReceived;
            out.push(self.seg(SYN | ACK, self.iss, 0));
        }
        self.arm();
    }

    /// Completes the handshake, and sends the data that waited for it.
    fn opens(&mut self, out: &mut Vec<Seg>) {
        self.state = State::Established;
        self.tries = 0;
        self.push(out);
    }

    /// A segment arrives in any other state (RFC 9293 §3.10.7.4).
    fn arrives_otherwise(&mut self, seg: Seg, out: &mut Vec<Seg>) {
        let in_window = seg.seq.wrapping_sub(self.expects) < WINDOW;
        let end = seg.seq.wrapping_add(seg.len);
        let overlaps = seg.len > 0 && within(end, self.expects, self.expects.wrapping_add(WINDOW));
        if !in_window && !overlaps {
            if !seg.has(TcpFlags::RST) {
                self.acknowledge(out);
            }
            return;
        }
        if seg.has(TcpFlags::RST) {
            // RFC 5961 §3.2: only a RST with exactly RCV.NXT resets; another one is answered by a challenge ACK.
            if seg.seq == self.expects {
                self.end();
            } else {
                self.acknowledge(out);
            }
            return;
        }
        if seg.has(TcpFlags::SYN) {
            return self.acknowledge(out);
        }
        if !seg.has(TcpFlags::ACK) {
            return;
        }
        if self.state == State::SynReceived {
            if !within(seg.ack, self.una, self.next) {
                return Self::reject(seg, out);
            }
            self.una = seg.ack;
            self.opens(out);
        }
        if within(seg.ack, self.next, self.next.wrapping_add(1 << 31)) {
            return self.acknowledge(out);
        }
        self.is_acknowledged(seg.ack);
        self.takes(seg, end, out);
    }

    fn is_acknowledged(&mut self, ack: u32) {
        if within(ack, self.una, self.next) {
            self.una = ack;
            self.tries = 0;
            self.arm();
        }
        if self.fin_sent && self.una == self.next {
            self.state = match self.state {
                State::FinWait1 => State::FinWait2,
                State::Closing => State::TimeWait,
                State::LastAck => State::Closed,
                other => other,
            };
        }
    }

    /// Takes the segment's data and its FIN, if their number is the one that is expected.
    fn takes(&mut self, seg: Seg, end: u32, out: &mut Vec<Seg>) {
        let occupies = seg.len > 0 || seg.has(TcpFlags::FIN);
        if !occupies {
            return;
        }
        let next = seg.seq == self.expects || within(self.expects, seg.seq, end);
        if next && self.is_synchronized() {
            self.expects = end;
            if seg.has(TcpFlags::FIN) {
                self.expects = end.wrapping_add(1);
                self.peer_closed(out);
            }
        }
        if out.is_empty() {
            self.acknowledge(out);
        }
    }

    fn peer_closed(&mut self, out: &mut Vec<Seg>) {
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                self.closing |= self.close_on_eof;
                self.push(out);
            }
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.state = State::TimeWait,
            _ => {}
        }
    }
}

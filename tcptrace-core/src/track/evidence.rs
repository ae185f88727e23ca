//! Facts beside the states that show a reader of events why a handshake or an end went as it did: what came instead of
//! an answer, which SYNs asked for ECN, what a RST answers, and whether a handshake still goes on.

use super::{
    conn::{
        Conn,
        extra::{WrongAnswerCounts, offer},
        peer,
        times::{Moment, When},
    },
    numbers::follows_own_syn,
    side::Side,
};
use crate::{
    event::{Ecn, EcnKind, Role, State, SynackAgain, Vantage, WrongAnswers},
    segment::{Segment, Timestamp},
    socket::AcceptQueue,
};
use std::collections::VecDeque;

/// The longest time that a stack waits before it sends its first SYN again (RFC 1122 §4.2.3.1; by RFC 6298 §2.1 it is 1
/// s).
const FIRST_RETRY_NS: u64 = 3_000_000_000;

/// The first time-out of a SYN-ACK (RFC 6298 §2.1), and half of it for timers that are late.
const SYNACK_AGAIN_NS: u64 = 1_500_000_000;

/// Records `seg` of `role`, which does not fit, where it came instead of an answer to the SYN.
pub(crate) fn record_wrong_answer(conn: &mut Conn, role: Role, seg: &Segment) {
    let waits = conn.side(Role::Client).state == State::SynSent && conn.synacks == 0;
    if role != Role::Server || !waits || conn.flags.partial {
        return;
    }
    let answers = &mut conn.extra_mut().wrong_answers;
    let ack = seg.flags.ack().then_some(seg.ack);
    if seg.flags.rst() {
        answers.rsts = answers.rsts.saturating_add(1);
        answers.rst_ack = ack;
    } else if seg.flags.syn() && seg.flags.ack() {
        answers.synacks = answers.synacks.saturating_add(1);
        answers.synack_ack = ack;
    }
}

/// Records which of the server's segments the client rejects by the RST `seg`. The client's host answers a segment that
/// acknowledges anything but the SYN by a RST with that number (RFC 9293 §3.10.7.3, first step): a SYN-ACK that passed
/// here, or else a challenge ACK, as a bare acknowledgement is not recorded.
pub(crate) fn record_rejection(conn: &mut Conn, seg: &Segment) {
    let follows = follows_own_syn(conn, Role::Client, seg);
    let extra = conn.extra_mut();
    if extra.wrong_answers.synack_ack == Some(seg.seq) {
        extra.wrong_answers.synacks_reset = extra.wrong_answers.synacks_reset.saturating_add(1);
    } else if !follows {
        extra.challenged = true;
    }
}

/// Records the RST of `role` that ends the connection.
pub(crate) fn record_reset(conn: &mut Conn, role: Role, seg: &Segment) {
    let acked = conn.side(peer(role)).acked();
    let teardown = conn.teardown_mut();
    (teardown.rst_ttl, teardown.rst_seq) = (Some(seg.ttl), Some(seg.seq));
    teardown.no_such_connection = !seg.flags.ack() && acked == Some(seg.seq);
    if seg.flags.ack() && conn.is_open() {
        conn.closing_mut(peer(role)).received = Some(seg.ack);
    }
}

/// What came instead of an answer to the SYN, as `connection` events report it.
pub(crate) fn wrong_answers(conn: &Conn) -> Option<WrongAnswers> {
    let WrongAnswerCounts { rsts, rst_ack, synacks, synack_ack, synacks_reset } = conn.extra().wrong_answers;
    let expected = conn.side(Role::Client).first_data()?.0;
    (rsts > 0 || synacks > 0).then(|| WrongAnswers {
        rsts: rsts.into(),
        rst_ack: rst_ack.map(|ack| ack.0),
        synacks: synacks.into(),
        synack_ack: synack_ack.map(|ack| ack.0),
        synacks_reset: synacks_reset.into(),
        expected,
    })
}

/// The kind of ECN that a SYN-ACK with `bits` agrees to, where the SYN offered one (RFC 3168 §6.1.1; RFC 9768 §3.1.2,
/// table 2).
const fn negotiated(offered: EcnKind, bits: u8) -> EcnKind {
    match (offered, bits) {
        (EcnKind::Classic, 0b001) | (EcnKind::Accurate, 0b001 | 0b101) => EcnKind::Classic,
        (EcnKind::Accurate, 0b010 | 0b011 | 0b100 | 0b110) => EcnKind::Accurate,
        _ => EcnKind::None,
    }
}

/// What the handshake says of ECN; `None` where the SYN was not seen.
pub(crate) fn ecn(conn: &Conn) -> Option<Ecn> {
    let client: &Side = conn.side(Role::Client);
    client.isn().filter(|_| !conn.flags.partial && conn.syns > 0)?;
    let tries = conn.extra().ecn;
    let offered = offer(client.ecn_bits());
    let last = tries.last.map_or(offered, offer);
    let answered = conn.synacks > 0 && !conn.flags.simultaneous_open;
    let first = u32::from(offered != EcnKind::None);
    Some(Ecn {
        offered,
        negotiated: answered.then(|| negotiated(last, conn.side(Role::Server).ecn_bits())),
        unanswered_syns: if answered && last == EcnKind::None { first + u32::from(tries.again) } else { 0 },
    })
}

/// Records a SYN-ACK that was sent again at `ts`, after its acknowledgement had passed here; not where the two can have
/// crossed on their way. [`SynackAgain`] has what it can mean: a full accept queue drops the acknowledgement
/// (`tcp_v4_syn_recv_sock` in `net/ipv4/tcp_ipv4.c`), and a server that waits for data remembers it and lets its first
/// time-outs pass (`syn_ack_recalc` in `net/ipv4/inet_connection_sock.c`).
pub(crate) fn record_synack_again(conn: &mut Conn, ts: Timestamp) {
    // The time that the SYN took to the server and its answer took back.
    let there_and_back = match (conn.at(Moment::LastSyn).get(), conn.at(Moment::FirstSynack).get()) {
        (Some(syn), Some(synack)) => synack.since(syn),
        _ => 0,
    };
    if conn.at(Moment::Established).get().is_some_and(|acked| ts.since(acked) < there_and_back) {
        return;
    }
    // Each time-out is twice as long as the one before (RFC 6298 §5.5).
    let soon = SYNACK_AGAIN_NS << conn.synacks.saturating_sub(1).min(8);
    let late = conn.at(Moment::LastSynack).get().is_some_and(|last| ts.since(last) > soon);
    let extra = conn.extra_mut();
    extra.synack_late |= late && extra.synacks_after_ack == 0;
    extra.synacks_after_ack = extra.synacks_after_ack.saturating_add(1);
}

/// Why SYN-ACKs were sent again after their acknowledgement, as far as what was seen can show it.
pub(crate) fn synack_again(conn: &Conn) -> Option<SynackAgain> {
    let extra = conn.extra();
    match (extra.synacks_after_ack, extra.synack_late, conn.vantage) {
        (0, ..) => None,
        _ if extra.accept_queue.is_some_and(AcceptQueue::is_full) => Some(SynackAgain::NotAccepted),
        (_, true, _) => Some(SynackAgain::Deferred),
        (_, false, Some(Vantage::Server)) => Some(SynackAgain::NotAccepted),
        _ => Some(SynackAgain::LostOrNotAccepted),
    }
}

/// Whether the server, if it is on this host, seems not to take what reaches it: it did not answer a SYN that was sent again,
/// or sent its SYN-ACK again after the acknowledgement of that.
pub(crate) fn may_not_be_accepted(conn: &Conn) -> bool {
    (conn.syns > 1 && conn.synacks == 0) || conn.extra().synacks_after_ack > 0
}

/// The state of a side; `None` where nothing of it was seen and only what the other side did speaks for the state.
pub(crate) fn known_state(side: &Side) -> Option<State> {
    (side.is_seen() || side.state == State::Closed).then_some(side.state)
}

/// Whether the first SYN, or the first SYN-ACK, is so fresh at `now` that an answer may be on its way. One that was
/// sent again was not answered in time.
pub(crate) fn is_in_flight(conn: &Conn, now: Timestamp) -> bool {
    let (tries, last) = match conn.synacks {
        0 => (conn.syns, conn.latest_syn()),
        synacks => (synacks, conn.at(Moment::LastSynack).get()),
    };
    tries <= 1 && conn.extra().icmp.is_none() && last.is_some_and(|last| now.since(last) < FIRST_RETRY_NS)
}

/// Whether `seg` is the FIN of a connection that is over, sent again by a timer although its acknowledgement has passed
/// here. A copy comes sooner than any stack's timer (`TCP_RTO_MIN` in `include/net/tcp.h` is 200 ms).
pub(crate) fn is_late_fin_retry(conn: &Conn, role: Role, seg: &Segment) -> bool {
    const RTO_NS: u64 = 100_000_000;
    seg.flags.fin() && conn.fin_end(role) == Some(seg.end()) && seg.ts.since(conn.last) >= RTO_NS
}

/// Whether the FIN of `role` is in doubt at `now`: nothing proves it, and its sender would have sent it again by now if
/// it were its own. Then it is not known whether that end closed.
pub(crate) fn is_in_doubt(conn: &Conn, role: Role, now: Timestamp) -> bool {
    /// RFC 6298 §2.4: the retransmission time-out is at least a second, and in practice less.
    const AGAIN_NS: u64 = 3_000_000_000;
    let closing = conn.closing(role);
    let is_old = closing.fin.is_some_and(|fin| now.since(fin.ts) > AGAIN_NS);
    is_old
        && !closing.fin_acked
        && !closing.fin_fits
        && closing.fins < 2
        && conn.side(role).state != State::Closed
}

/// When the server of a connection that is over entered TIME-WAIT, if it is in that.
pub(crate) fn server_waits_since(conn: &Conn) -> When {
    if conn.side(Role::Server).state == State::TimeWait { conn.entered(Role::Server) } else { When::NEVER }
}

/// The connections that began while their server was in TIME-WAIT of an earlier one on the same ports, each with the
/// nanoseconds since that began; only the last few thousand.
#[derive(Debug, Default)]
pub(crate) struct EarlierCloses(VecDeque<(u64, u64)>);

impl EarlierCloses {
    const MOST: usize = 4096;

    /// Adds the connection `id`, the latest of all, which begins `ns` nanoseconds after its server's TIME-WAIT of an
    /// earlier one began.
    pub(super) fn add(&mut self, id: u64, ns: u64) {
        if self.0.len() >= Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((id, ns));
    }

    pub(crate) fn of(&self, id: u64) -> Option<u64> {
        let place = self.0.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        Some(self.0[place].1)
    }
}

//! Makes events of what the rules find, and of connections.

use super::{
    answers, bytes,
    conn::{
        Conn, Misfit,
        doubts::Fin,
        extra::SeenIcmpError,
        peer, sight,
        sockets::Closing,
        times::{Moment, Spent, When, span},
    },
    elsewhere::AnsweredSyns,
    evidence::{self, EarlierCloses},
    first_data,
    losses::Losses,
    meaning::meaning,
    state::Evidence,
};
use crate::{
    event::{
        AcceptQueue, Address, Anomaly, Backoff, ClosedBy, Common, Connection, Established, Event,
        HandshakeTimes, IcmpErrorEvent, IcmpReport, Kind, Kinds, Options, Origin, OtherView, Outcome, Path,
        ResetPhase, Role, SegmentEvent, State, StateTimes, Teids, Transition, Tunnel, TunnelKind, Vantage,
        Vlans, ZeekConnState,
    },
    segment::{Flow, IcmpError, Segment, Timestamp},
    source_clock::SourceClock,
};
use hashbrown::HashMap;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};
use tcptrace_common::{seq::SeqNum, tcp::TcpOptions};

/// Whether a segment was captured for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Originality {
    /// The segment was not captured before.
    Original,
    /// The segment was captured before ([`super::copies`]).
    Copy,
}

/// The facts on which events depend besides their connection.
#[derive(Debug)]
pub(crate) struct EventContext {
    pub(crate) wants: Kinds,
    /// Whether events say when the first data came.
    pub(crate) first_byte: bool,
    pub(crate) names: HashMap<u32, Arc<str>>,
    pub(crate) losses: Losses,
    pub(crate) earlier_closes: EarlierCloses,
    pub(crate) answered_syns: AnsweredSyns,
    pub(crate) clock: SourceClock,
    /// How many octets have passed on the wire so far, where the source counts every packet.
    pub(crate) passed: Option<u64>,
}

impl EventContext {
    /// Joins the facts with the sink for the events that one input causes.
    pub(crate) fn out<'a>(&'a self, sink: &'a mut dyn FnMut(Event)) -> Out<'a> {
        Out { context: self, sink }
    }
}

/// The way of the rules to the sink: each method makes an event, if somebody reads that kind and the filter takes the
/// connection.
pub(crate) struct Out<'a> {
    context: &'a EventContext,
    sink: &'a mut dyn FnMut(Event),
}

impl Out<'_> {
    /// Whether events say when the first data came.
    pub(crate) fn tells_of_data(&self) -> bool {
        self.context.first_byte
    }

    /// Whether the input is known to have all lifecycle segments of `conn`, as far as losses and shedding show.
    pub(crate) fn is_complete(&self, conn: &Conn) -> bool {
        !conn.flags.missed && self.context.losses.cannot_touch(conn)
    }

    fn common(&self, conn: &Conn, ts: Timestamp) -> Common {
        let key = &conn.key;
        let [client, server] = conn.ends();
        let [client_tags, server_tags] = conn.tags();
        Common {
            ts,
            id: conn.id,
            interface: self.interface_name(key.interface),
            ip_version: if key.ipv6() { 6 } else { 4 },
            client: address(client, key.ipv6()),
            server: address(server, key.ipv6()),
            vlan: vlans(client_tags),
            server_vlan: (server_tags != client_tags).then(|| vlans(server_tags)),
            tunnel: conn.teardown().tunnels.iter().flat_map(|known| &known.0).map(tunnel).collect(),
            vantage: conn.vantage.unwrap_or(Vantage::Middle),
            complete: self.is_complete(conn),
            origin: Origin {
                interface: key.interface,
                tunnel: key.tunnel,
                start: conn.start,
                client_isn: conn.side(Role::Client).isn().map(|isn| isn.0),
                server_isn: conn.side(Role::Server).isn().map(|isn| isn.0),
                ended: conn.flags.ended,
            },
        }
    }

    fn interface_name(&self, interface: u32) -> Arc<str> {
        self.context.names.get(&interface).cloned().unwrap_or_else(|| format!("#{interface}").into())
    }

    /// Moves one side along one arrow of the state machine, if `evidence` has one, and reports the transition.
    /// `inferred` where no segment at `ts` shows it.
    pub(crate) fn transition(
        &mut self,
        conn: &mut Conn,
        role: Role,
        evidence: Evidence,
        ts: Timestamp,
        inferred: bool,
    ) {
        let Some((from, to, since)) = conn.apply(role, evidence, ts, &self.context.clock) else { return };
        if self.context.wants.contains(Kind::Transition) && !conn.flags.hidden {
            let common = self.common(conn, ts);
            (self.sink)(Event::Transition(Transition {
                common,
                endpoint: role,
                from,
                to,
                inferred,
                since_previous_ns: since,
            }));
        }
    }

    /// Moves `role` back to the state `before` its FIN, which passed at `fin` and was not its own, and reports the
    /// transition.
    pub(crate) fn retract_fin(&mut self, conn: &mut Conn, role: Role, fin: Timestamp, before: (State, When)) {
        let spent = before.1.get().map(|entered| Spent::of(self.context.clock.span(entered, fin)));
        let Some((from, to)) = conn.retract_fin(role, before, spent) else { return };
        if self.context.wants.contains(Kind::Transition) && !conn.flags.hidden {
            let common = self.common(conn, conn.last.max(fin));
            let transition =
                Transition { common, endpoint: role, from, to, inferred: true, since_previous_ns: None };
            (self.sink)(Event::Transition(transition));
        }
    }

    /// Reports one lifecycle segment as it was captured.
    pub(crate) fn segment(&mut self, conn: &Conn, role: Role, seg: &Segment, originality: Originality) {
        if !self.context.wants.contains(Kind::Segment) || conn.flags.hidden {
            return;
        }
        let relative = |n: SeqNum, isn: Option<SeqNum>| isn.map(|isn| n.0.wrapping_sub(isn.0));
        let ack = seg.flags.ack().then_some(seg.ack);
        let own_isn = conn.side(role).isn().or(seg.flags.syn().then_some(seg.seq));
        let mut common = self.common(conn, seg.ts);
        // The rules have not taken the segment yet, so its ISN may not be known to the connection.
        match role {
            Role::Client => common.origin.client_isn = own_isn.map(|isn| isn.0),
            Role::Server => common.origin.server_isn = own_isn.map(|isn| isn.0),
        }
        let event = Event::Segment(SegmentEvent {
            common,
            sender: role,
            direction: seg.direction,
            flags: seg.flags,
            seq: seg.seq.0,
            ack: ack.map(|a| a.0),
            // A SYN's number is the one that its sender counts from, also where the connection holds another for true.
            relative_seq: if seg.flags.syn() { Some(0) } else { relative(seg.seq, own_isn) },
            relative_ack: ack.and_then(|a| relative(a, conn.side(peer(role)).isn())),
            window: seg.window,
            payload_bytes: seg.payload_len,
            ttl: seg.ttl,
            copy: originality == Originality::Copy,
            options: seg.options.map(|raw| options(raw.parse())),
        });
        (self.sink)(event);
    }

    /// Reports a segment that does not fit, and why.
    pub(crate) fn anomaly(&mut self, conn: &Conn, role: Role, seg: &Segment, misfit: Misfit) {
        // An anomaly tells of any segment the same parts as are remembered of a FIN.
        self.anomaly_of_fin(conn, role, &Fin::of(seg), misfit);
    }

    /// Reports a segment that does not fit, by the parts of it that are remembered, and why.
    pub(crate) fn anomaly_of_fin(&mut self, conn: &Conn, role: Role, fin: &Fin, (reason, expected): Misfit) {
        if !self.context.wants.contains(Kind::Anomaly) || conn.flags.hidden {
            return;
        }
        let event = Event::Anomaly(Anomaly {
            common: self.common(conn, fin.ts),
            reason,
            sender: role,
            flags: fin.flags,
            seq: fin.seq.0,
            ack: fin.flags.ack().then_some(fin.ack.0),
            expected,
            payload_bytes: fin.payload_len,
        });
        (self.sink)(event);
    }

    /// Reports an ICMP error that quotes a segment of `sender`.
    pub(crate) fn icmp(&mut self, conn: &Conn, sender: Role, error: &IcmpError) {
        if !self.context.wants.contains(Kind::IcmpError) || conn.flags.hidden {
            return;
        }
        let event = Event::IcmpError(IcmpErrorEvent {
            common: self.common(conn, error.quoted.ts),
            icmp: icmp_report(conn, &SeenIcmpError::new(error, sender)),
            seq: error.quoted.seq.0,
        });
        (self.sink)(event);
    }

    /// Reports that the handshake is complete.
    pub(crate) fn established(&mut self, conn: &Conn, ts: Timestamp) {
        if !self.context.wants.contains(Kind::Established) || conn.flags.hidden {
            return;
        }
        let [client, server] = &conn.sides;
        let event = Event::Established(Established {
            common: self.common(conn, ts),
            path: Path::default(),
            times: handshake_times(conn, &self.context.clock),
            syn_retransmits: conn.syns.saturating_sub(1).into(),
            synack_retransmits: conn.synacks.saturating_sub(1).into(),
            client_isn: client.isn().map(|s| s.0),
            server_isn: server.isn().map(|s| s.0),
            client_options: client.options().map(options),
            server_options: server.options().map(options),
            ecn: evidence::ecn(conn),
            client_process: conn.process(Role::Client),
            server_process: conn.process(Role::Server),
            client_cgroup: conn.cgroup(Role::Client),
            server_cgroup: conn.cgroup(Role::Server),
        });
        (self.sink)(event);
    }

    /// Whether the octets of all packets so far show that the byte counts of `it` have not wrapped: they are fewer than
    /// the 2^32 octets that a count leaves out when it wraps. In a capture that has some packets only they can be fewer
    /// than the counts, and then show nothing.
    fn is_bounded(&self, it: &Connection) -> bool {
        let counted = it.client_bytes.unwrap_or(0).saturating_add(it.server_bytes.unwrap_or(0));
        it.common.complete && self.context.passed.is_some_and(|passed| counted <= passed && passed < 1 << 32)
    }

    /// Reports the end of a connection, which was decided at `ts`.
    pub(crate) fn connection(
        &mut self,
        conn: &Conn,
        ts: Timestamp,
        outcome: Outcome,
        reset_phase: Option<ResetPhase>,
    ) {
        if !self.context.wants.contains(Kind::Connection) || conn.flags.hidden {
            return;
        }
        let mut common = self.common(conn, ts);
        common.complete &=
            ![Role::Client, Role::Server].iter().any(|&role| evidence::is_in_doubt(conn, role, ts));
        let mut connection = describe(common, conn, outcome, reset_phase, &self.context.clock);
        connection.bytes_mod_4gib &= !self.is_bounded(&connection)
            && (connection.client_bytes.is_some() || connection.server_bytes.is_some());
        connection.earlier_closed_ns = self.context.earlier_closes.of(conn.id);
        if matches!(outcome, Outcome::Unanswered | Outcome::Open) {
            let elsewhere = self.context.answered_syns.elsewhere(conn);
            connection.answered_elsewhere = elsewhere.map(|server| address(server, conn.key.ipv6()));
        }
        (self.sink)(Event::Connection(Box::new(connection)));
    }
}

fn describe(
    common: Common,
    conn: &Conn,
    outcome: Outcome,
    reset_phase: Option<ResetPhase>,
    clock: &SourceClock,
) -> Connection {
    let intervals = syn_intervals(conn, clock);
    let [client, server] = &conn.sides;
    let [client_end, server_end] = [conn.closing(Role::Client), conn.closing(Role::Server)];
    let (teardown, extra) = (conn.teardown(), conn.extra());
    let sequential = !teardown.simultaneous_close;
    let ([client_bytes, server_bytes], bytes_mod_4gib) = bytes::of_both(conn, clock);
    let [client_state_ns, server_state_ns] =
        [Role::Client, Role::Server].map(|role| conn.state_times(role).collect::<StateTimes>());
    let times = handshake_times(conn, clock);
    let closing =
        [teardown.first_fin, teardown.second_fin, teardown.rst].into_iter().filter_map(When::get).min();
    Connection {
        path: Path::default(),
        partial: conn.flags.partial,
        direction_inferred: conn.flags.direction_inferred,
        outcome,
        failed: outcome.is_failed_handshake(),
        closed_by: teardown.first_fin_by.map(|role| match (teardown.simultaneous_close, role) {
            (true, _) => ClosedBy::Both,
            (false, Role::Client) => ClosedBy::Client,
            (false, Role::Server) => ClosedBy::Server,
        }),
        reset_by: teardown.reset_by,
        reset_phase,
        no_such_connection: teardown.no_such_connection,
        half_closed: teardown.half_closed,
        simultaneous_open: conn.flags.simultaneous_open,
        start: conn.start,
        first_data: first_data::report(conn, &times, clock),
        times,
        first_fin_to_ack_ns: span(clock, teardown.first_fin, teardown.first_fin_acked),
        close_wait_ns: sequential
            .then(|| span(clock, teardown.first_fin_acked, teardown.second_fin))
            .flatten(),
        second_fin_to_ack_ns: span(clock, teardown.second_fin, teardown.second_fin_acked),
        teardown_ns: span(clock, closing.into(), Some(conn.last).into()),
        lifetime_ns: span(clock, conn.first_syn(), Some(conn.last).into()),
        client_bytes,
        server_bytes,
        bytes_mod_4gib,
        syn_retransmits: conn.syns.saturating_sub(1).into(),
        synack_retransmits: conn.synacks.saturating_sub(1).into(),
        syn_backoff: backoff(&intervals),
        syn_intervals_ns: intervals,
        synacks_after_ack: extra.synacks_after_ack.into(),
        synack_again: evidence::synack_again(conn),
        accept_queue: extra
            .accept_queue
            .map(|queue| AcceptQueue { waiting: queue.waiting, limit: queue.limit }),
        challenge_ack: extra.challenged,
        wrong_answers: evidence::wrong_answers(conn),
        earlier_closed_ns: None,
        answered_elsewhere: None,
        ecn: evidence::ecn(conn),
        client_ttl: client.ttl(),
        server_ttl: server.ttl(),
        reset_ttl: teardown.rst_ttl,
        reset_seq: teardown.rst_seq.map(|seq| seq.0),
        probe: extra.probe,
        copies: conn.copies.into(),
        other_view: extra.other_view.map(|view| OtherView {
            client_isn: view.client_isn.0,
            server_isn: view.server_isn.map(|isn| isn.0),
        }),
        client_fins: client_end.fins,
        server_fins: server_end.fins,
        client_rsts: client_end.rsts,
        server_rsts: server_end.rsts,
        client_isn: client.isn().map(|s| s.0),
        server_isn: server.isn().map(|s| s.0),
        client_state: evidence::known_state(client),
        server_state: evidence::known_state(server),
        client_state_ns,
        server_state_ns,
        client_states_untimed: client_state_ns.untimed().collect(),
        server_states_untimed: server_state_ns.untimed().collect(),
        resets_ignored: teardown.doubts.as_deref().map_or_else(Vec::new, |it| it.resets_ignored.clone()),
        reset_by_another: teardown.doubts.as_deref().and_then(|it| it.reset_by_another),
        self_connection: conn.key.is_of_one_end(),
        client_process: conn.process(Role::Client),
        server_process: conn.process(Role::Server),
        client_cgroup: conn.cgroup(Role::Client),
        server_cgroup: conn.cgroup(Role::Server),
        client_closed_by_process: conn.closed_by(Role::Client),
        server_closed_by_process: conn.closed_by(Role::Server),
        client_socket: conn.closing_socket(Role::Client).map(Closing::report),
        server_socket: conn.closing_socket(Role::Server).map(Closing::report),
        icmp_error: extra.icmp.map(|error| icmp_report(conn, &error)),
        zeek_conn_state: zeek_conn_state(conn, outcome),
        common,
    }
}

/// How far apart the SYNs were, in nanoseconds; all are unknown where the source's clock was set between the first and
/// the last.
fn syn_intervals(conn: &Conn, clock: &SourceClock) -> Vec<Option<u64>> {
    let known = conn.latest_syn().is_some_and(|latest| clock.span(conn.start, latest).is_some());
    conn.extra().syns.gaps().iter().map(|&ns| known.then_some(ns)).collect()
}

fn backoff(intervals: &[Option<u64>]) -> Option<Backoff> {
    /// The tolerance of a wait: timers are late by some ticks, and stacks round.
    const SLACK_NS: u64 = 100_000_000;
    let gaps = intervals.iter().copied().collect::<Option<Vec<u64>>>()?;
    let first = *gaps.first()?;
    let near = |gap: u64, expected: u64| gap.abs_diff(expected) <= expected / 8 + SLACK_NS;
    let doubles = |pair: &[u64]| near(pair[1], pair[0]) || near(pair[1], pair[0].saturating_mul(2));
    // RFC 6298 §2.1: 1 s; RFC 1122 §4.2.3.1 had 3 s.
    let starts = near(first, 1_000_000_000) || near(first, 3_000_000_000);
    Some(if starts && gaps.windows(2).all(doubles) { Backoff::Regular } else { Backoff::Irregular })
}

/// The connection state that Zeek's rules (`conn_state` in `base/protocols/conn/main.zeek`) give for what the tracker
/// knows. To Zeek an end has closed once its FIN is seen, acknowledged or not, and an end that it picked up in the
/// middle counts as inactive.
fn zeek_conn_state(conn: &Conn, outcome: Outcome) -> ZeekConnState {
    use ZeekConnState as Z;
    let [client, server] = [Role::Client, Role::Server].map(|role| conn.closing(role).fin_end.is_some());
    let midstream = conn.flags.partial && conn.synacks == 0;
    let client_silent = conn.side(Role::Client).acked().is_none() && conn.flags.partial;
    let server_silent = conn.side(Role::Server).acked().is_none();
    match (outcome, conn.teardown().reset_by) {
        // A RST after both FINs changes nothing for Zeek.
        (Outcome::Reset, _) if client && server => Z::Sf,
        (Outcome::Refused, _) if conn.flags.partial || conn.extra().probe => Z::Rstrh,
        (Outcome::Refused, _) => Z::Rej,
        (Outcome::Reset | Outcome::Aborted, Some(Role::Client)) if midstream || server_silent => Z::Rstos0,
        (Outcome::Reset | Outcome::Aborted, Some(Role::Client)) => Z::Rsto,
        (Outcome::Reset, Some(Role::Server)) if midstream || client_silent => Z::Rstrh,
        (Outcome::Reset, Some(Role::Server)) => Z::Rstr,
        (Outcome::Unanswered, _) => Z::S0,
        _ => match (client, server) {
            (true, true) => Z::Sf,
            (true, false) if server_silent => Z::Sh,
            (true, false) => Z::S2,
            (false, true) if client_silent => Z::Shr,
            (false, true) => Z::S3,
            (false, false) if conn.synacks == 0 && conn.syns > 0 => Z::S0,
            // To Zeek a SYN-ACK is enough to count as established.
            (false, false) if (conn.flags.established && !midstream) || conn.synacks.min(conn.syns) > 0 => {
                Z::S1
            }
            (false, false) => Z::Oth,
        },
    }
}

fn handshake_times(conn: &Conn, clock: &SourceClock) -> HandshakeTimes {
    let [last_syn, established] = [conn.at(Moment::LastSyn), conn.at(Moment::Established)];
    let syn_to_synack_ns = span(clock, last_syn, answers::answered(conn));
    let synack_to_ack_ns = span(clock, conn.at(Moment::LastSynack), established);
    let (network_rtt_ns, local_stack_ns) = match conn.vantage {
        Some(Vantage::Client) => (syn_to_synack_ns, synack_to_ack_ns),
        Some(Vantage::Server) => (synack_to_ack_ns, syn_to_synack_ns),
        Some(Vantage::Middle) | None => (None, None),
    };
    HandshakeTimes {
        syn_to_established_ns: span(clock, conn.first_syn(), established),
        syn_to_synack_ns,
        synack_to_ack_ns,
        syn_retry_ns: span(clock, conn.first_syn(), last_syn),
        network_rtt_ns,
        local_stack_ns,
    }
}

fn options(o: TcpOptions) -> Options {
    // An option that was not seen may be in the part that is cut off.
    let known = |present: bool| (present || !o.cut).then_some(present);
    Options {
        mss: o.mss,
        window_scale: o.window_scale,
        sack_permitted: known(o.sack_permitted),
        timestamps: known(o.timestamps),
        fast_open: known(o.fast_open),
        mptcp: known(o.mptcp),
    }
}

fn icmp_report(conn: &Conn, error: &SeenIcmpError) -> IcmpReport {
    let (ipv6, SeenIcmpError { from, kind, code, sender }) = (conn.key.ipv6(), *error);
    IcmpReport {
        from: ip(from, ipv6),
        kind,
        code,
        meaning: meaning(ipv6, kind, code).into(),
        quoted_sender: sender,
    }
}

fn address((bytes, port): ([u8; 16], u16), ipv6: bool) -> Address {
    Address { ip: ip(bytes, ipv6), port }
}

fn ip(bytes: [u8; 16], ipv6: bool) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    let v4 = if ipv6 { None } else { v6.to_ipv4_mapped() };
    v4.map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// A tunnel of a connection, as events report it.
fn tunnel(known: &sight::Tunnel) -> Tunnel {
    let sight::Tunnel { kind, ids: [to_server, to_client], ends: [client, server], vlan } = *known;
    let both_have_one = kind.is_by_id();
    Tunnel {
        kind: TunnelKind(kind),
        id: if both_have_one { to_server.or(to_client) } else { None },
        teid: (!both_have_one).then_some(Teids { to_server, to_client }),
        client_ip: ip(client, false),
        server_ip: ip(server, false),
        vlan: vlans(vlan),
    }
}

fn vlans([outer, inner]: [u16; 2]) -> Vlans {
    let id = |vlan: u16| (vlan != Flow::NO_VLAN).then_some(vlan);
    Vlans { outer: id(outer), inner: id(inner) }
}

//! Events of the textbook's connection, and others made from it.

use tcptrace::{
    event::{
        Address, Anomaly, AnomalyReason, Backoff, ClockAnchor, ClosedBy, Common, Connection, Copies, Cost,
        Ecn, EcnKind, Established, Event, FirstData, HandshakeStats, HandshakeTimes, IcmpErrorEvent,
        IcmpReport, Kind, Kinds, Options, Origin, Outcome, OutcomeCounts, Path, Percentiles, ResetPhase,
        Role, RunId, SegmentCounts, SegmentEvent, Settings, Start, State, StateTimes, Stats, SynackAgain,
        TracedInterface, Transition, Unparsable, Vantage, Vlans, ZeekConnState,
    },
    segment::{Direction, Timestamp},
};
use tcptrace_common::tcp::TcpFlags;

/// 2020-06-10T06:59:50Z.
const SECOND: u64 = 1_591_772_390_000_000_000;

/// An instant of that second, in microseconds.
pub(crate) fn at(us: u64) -> Timestamp {
    Timestamp(SECOND + us * 1000)
}

pub(crate) fn address(ip: &str, port: u16) -> Address {
    Address { ip: ip.parse().expect("an address"), port }
}

pub(crate) fn common(ts: Timestamp) -> Common {
    Common {
        ts,
        id: 1,
        interface: "eth0".into(),
        ip_version: 4,
        client: address("192.168.64.128", 60592),
        server: address("180.101.49.11", 80),
        vlan: Vlans::default(),
        server_vlan: None,
        tunnel: vec![],
        vantage: Vantage::Client,
        complete: true,
        origin: Origin::default(),
    }
}

pub(crate) fn times() -> HandshakeTimes {
    HandshakeTimes {
        syn_to_established_ns: Some(28_820_000),
        syn_to_synack_ns: Some(28_789_000),
        synack_to_ack_ns: Some(31_000),
        syn_retry_ns: Some(0),
        network_rtt_ns: Some(28_789_000),
        local_stack_ns: Some(31_000),
    }
}

pub(crate) fn established() -> Established {
    let plain = Options {
        mss: Some(1460),
        window_scale: None,
        sack_permitted: Some(false),
        timestamps: Some(false),
        fast_open: Some(false),
        mptcp: Some(false),
    };
    Established {
        common: common(at(293_475)),
        path: Path::default(),
        times: times(),
        syn_retransmits: 0,
        synack_retransmits: 0,
        client_isn: Some(4_130_871_516),
        server_isn: Some(528_643_112),
        client_options: Some(Options {
            window_scale: Some(6),
            sack_permitted: Some(true),
            timestamps: Some(true),
            ..plain
        }),
        server_options: Some(plain),
        ecn: Some(no_ecn()),
        client_process: None,
        server_process: None,
        client_cgroup: None,
        server_cgroup: None,
    }
}

/// A handshake without ECN.
pub(crate) fn no_ecn() -> Ecn {
    Ecn { offered: EcnKind::None, negotiated: Some(EcnKind::None), unanswered_syns: 0 }
}

pub(crate) fn connection() -> Connection {
    Connection {
        common: common(at(330_991)),
        path: Path::default(),
        partial: false,
        direction_inferred: false,
        outcome: Outcome::Closed,
        failed: false,
        closed_by: Some(ClosedBy::Client),
        reset_by: None,
        reset_phase: None,
        no_such_connection: false,
        half_closed: false,
        simultaneous_open: false,
        start: at(264_655),
        times: times(),
        first_data: FirstData::default(),
        first_fin_to_ack_ns: Some(202_000),
        close_wait_ns: Some(18_874_000),
        second_fin_to_ack_ns: Some(17_000),
        teardown_ns: Some(19_093_000),
        lifetime_ns: Some(66_336_000),
        client_bytes: Some(172),
        server_bytes: Some(2781),
        bytes_mod_4gib: false,
        syn_retransmits: 0,
        synack_retransmits: 0,
        syn_intervals_ns: vec![],
        syn_backoff: None,
        synacks_after_ack: 0,
        synack_again: None,
        accept_queue: None,
        challenge_ack: false,
        wrong_answers: None,
        earlier_closed_ns: None,
        answered_elsewhere: None,
        ecn: Some(no_ecn()),
        client_process: None,
        server_process: None,
        client_cgroup: None,
        server_cgroup: None,
        client_ttl: Some(64),
        server_ttl: Some(128),
        reset_ttl: None,
        reset_seq: None,
        probe: false,
        copies: 0,
        other_view: None,
        client_fins: 1,
        server_fins: 1,
        client_rsts: 0,
        server_rsts: 0,
        resets_ignored: Vec::new(),
        reset_by_another: None,
        self_connection: false,
        client_isn: Some(4_130_871_516),
        server_isn: Some(528_643_112),
        client_state: Some(State::TimeWait),
        server_state: Some(State::Closed),
        client_state_ns: StateTimes::from_iter([
            (State::SynSent, Some(28_820_000)),
            (State::Established, Some(18_423_000)),
            (State::FinWait1, Some(202_000)),
            (State::FinWait2, Some(18_891_000)),
        ]),
        client_closed_by_process: None,
        server_closed_by_process: None,
        client_socket: None,
        server_socket: None,
        icmp_error: None,
        zeek_conn_state: ZeekConnState::Sf,
        server_state_ns: StateTimes::from_iter([
            (State::SynReceived, Some(31_000)),
            (State::Established, Some(18_625_000)),
            (State::CloseWait, Some(18_874_000)),
            (State::LastAck, Some(17_000)),
        ]),
        client_states_untimed: Vec::new(),
        server_states_untimed: Vec::new(),
    }
}

/// A connection that never opened.
pub(crate) fn unopened(outcome: Outcome) -> Connection {
    Connection {
        outcome,
        failed: outcome.is_failed_handshake(),
        closed_by: None,
        times: HandshakeTimes::default(),
        first_fin_to_ack_ns: None,
        close_wait_ns: None,
        second_fin_to_ack_ns: None,
        teardown_ns: None,
        client_bytes: None,
        server_bytes: None,
        client_fins: 0,
        server_fins: 0,
        server_isn: None,
        ecn: Some(Ecn { negotiated: None, ..no_ecn() }),
        server_ttl: None,
        client_state: Some(State::Closed),
        server_state: Some(State::Closed),
        client_state_ns: StateTimes::default(),
        server_state_ns: StateTimes::default(),
        zeek_conn_state: ZeekConnState::Oth,
        ..connection()
    }
}

pub(crate) fn transition() -> Transition {
    Transition {
        common: common(at(293_475)),
        endpoint: Role::Client,
        from: State::SynSent,
        to: State::Established,
        inferred: false,
        since_previous_ns: Some(28_820_000),
    }
}

pub(crate) fn segment() -> SegmentEvent {
    SegmentEvent {
        common: common(at(293_444)),
        sender: Role::Server,
        direction: Direction::Ingress,
        flags: TcpFlags::SYN.union(TcpFlags::ACK),
        seq: 528_643_112,
        ack: Some(4_130_871_517),
        relative_seq: Some(0),
        relative_ack: Some(1),
        window: 64240,
        payload_bytes: 0,
        ttl: 128,
        copy: false,
        options: established().client_options,
    }
}

/// What a router says of a SYN.
pub(crate) fn icmp_report() -> IcmpReport {
    IcmpReport {
        from: [192, 168, 64, 2].into(),
        kind: 3,
        code: 1,
        meaning: "host unreachable".into(),
        quoted_sender: Role::Client,
    }
}

pub(crate) fn icmp_error() -> IcmpErrorEvent {
    IcmpErrorEvent { common: common(at(0)), icmp: icmp_report(), seq: 4_130_871_516 }
}

pub(crate) fn anomaly() -> Anomaly {
    Anomaly {
        common: common(at(293_444)),
        reason: AnomalyReason::SynackAckMismatch,
        sender: Role::Server,
        flags: TcpFlags::SYN.union(TcpFlags::ACK),
        seq: 528_643_112,
        ack: Some(7),
        expected: Some(4_130_871_517),
        payload_bytes: 0,
    }
}

pub(crate) fn run() -> RunId {
    RunId::from_random([0x11; 16])
}

/// Of a live trace, with everything filled in.
pub(crate) fn start() -> Start {
    let on = |name: &str, index, netns: Option<&str>| TracedInterface {
        name: name.to_owned(),
        index: Some(index),
        netns: netns.map(str::to_owned),
    };
    Start {
        ts: at(0),
        run: run(),
        version: "0.1.0".to_owned(),
        host: "web-1".to_owned(),
        boot_id: Some("0b0c9a2e-6f0a-4d0c-9f57-5a1d1a3b7c11".to_owned()),
        kernel: Some("6.12.1".to_owned()),
        live: true,
        files: Vec::new(),
        interfaces: vec![on("eth0", 2, None), on("blue/eth0", 4, Some("blue"))],
        filter: Some("port 80".to_owned()),
        clock: Some(ClockAnchor { monotonic_offset_ns: 1_591_772_000_000_000_000, uncertainty_ns: 40 }),
        settings: Settings {
            events: Kinds::NONE.with(Kind::Start).with(Kind::Connection),
            failed: true,
            slower_ns: Some(10_000_000),
            once: true,
            count: Some(10),
            duration_ns: Some(60_000_000_000),
            ingress: Some("tc".into()),
            decap: vec!["vxlan:4789".to_owned()],
            sockets: true,
            process: true,
            first_byte: true,
            server_name: true,
            sample: 0.5,
            max_connections: 262_144,
            syn_timeout_ns: 70_000_000_000,
            time_wait_ns: 60_000_000_000,
        },
    }
}

pub(crate) fn stats() -> Stats {
    let kinds = SegmentCounts { syn: 1, synack: 1, fin: 2, rst: 0, ack: 3, icmp: 1 };
    Stats {
        ts: at(400_000),
        run: run(),
        elapsed_ns: Some(135_345_000),
        last: true,
        packets: 1200,
        tcp_packets: 1000,
        segments: kinds,
        ring_full: SegmentCounts { syn: 2, ..SegmentCounts::default() },
        shed: SegmentCounts::default(),
        records_lost: 2,
        interfaces_taken_off: None,
        pending_overwrites: 0,
        pending_expired: 0,
        unparsable: Unparsable { truncated: 1, ..Unparsable::default() },
        copies: Copies { segments: 2, ttl: Some([64, 63]) },
        tunnels: None,
        capture: None,
        fragments: 0,
        events_dropped: 7,
        connections_open: 0,
        connections: OutcomeCounts { closed: 1, ..OutcomeCounts::default() },
        handshakes: HandshakeStats {
            syn_to_established_ns: Percentiles {
                count: 1,
                p50: Some(28_820_000),
                p90: Some(28_820_000),
                p99: Some(28_820_000),
                max: Some(28_820_000),
            },
            ..HandshakeStats::default()
        },
        admission_rate: 1.0,
        cost: Cost {
            kernel_ns_per_packet: Some(41.25),
            kernel_packets_timed: Some(1000),
            kernel_cpu_percent: Some(0.25),
            cpu_percent: Some(0.31),
            ring_peak_bytes: Some(4096),
            ring_bytes: Some(8_388_608),
        },
    }
}

/// One of each kind with everything filled in, then one of each with everything missing that can be.
pub(crate) fn full_and_minimal() -> Vec<Event> {
    let none = HandshakeTimes::default();
    let mut bare = common(at(0));
    bare.vantage = Vantage::Middle;
    let vlan = Vlans { outer: Some(100), inner: Some(20) };
    let tagged = Common { vlan, server_vlan: Some(Vlans::default()), ..common(at(0)) };
    vec![
        Event::Start(Box::new(start())),
        Event::Established(Established { common: tagged, ..established() }),
        Event::Connection(Box::new(Connection {
            outcome: Outcome::Reset,
            reset_by: Some(Role::Server),
            reset_phase: Some(ResetPhase::Closing),
            client_state_ns: State::TIMED.map(|state| (state, Some(1))).into_iter().collect(),
            server_state_ns: State::TIMED.map(|state| (state, None)).into_iter().collect(),
            server_states_untimed: State::TIMED.to_vec(),
            ..connection()
        })),
        Event::Transition(transition()),
        Event::Segment(segment()),
        Event::Anomaly(anomaly()),
        Event::IcmpError(icmp_error()),
        Event::Connection(Box::new(Connection {
            syn_intervals_ns: vec![Some(1_000_000_000), Some(2_000_000_000)],
            syn_backoff: Some(Backoff::Regular),
            synack_again: Some(SynackAgain::LostOrNotAccepted),
            icmp_error: Some(icmp_report()),
            ..unopened(Outcome::RefusedIcmp)
        })),
        Event::Stats(Box::new(stats())),
        Event::Established(Established {
            common: bare.clone(),
            times: none,
            client_isn: None,
            server_isn: None,
            client_options: None,
            server_options: None,
            ..established()
        }),
        Event::Connection(Box::new(Connection {
            common: bare.clone(),
            client_isn: None,
            lifetime_ns: None,
            ..unopened(Outcome::Unanswered)
        })),
        Event::Transition(Transition { since_previous_ns: None, ..transition() }),
        Event::Segment(SegmentEvent {
            common: bare.clone(),
            direction: Direction::Unknown,
            flags: TcpFlags(0),
            ack: None,
            relative_seq: None,
            relative_ack: None,
            options: None,
            ..segment()
        }),
        Event::Anomaly(Anomaly { common: bare, ack: None, expected: None, ..anomaly() }),
        Event::Stats(Box::default()),
        Event::Start(Box::default()),
    ]
}

//! Events at random, whether or not any trace could make them.

use crate::fixtures;
use std::{net::IpAddr, sync::Arc};
use tcptrace::{
    event::{
        AcceptQueue, Address, Anomaly, AnomalyReason, Backoff, CaptureStats, Cgroup, ClockAnchor, ClosedBy,
        Common, Connection, Copies, Cost, DoubtfulReset, Ecn, EcnKind, Established, Event, FirstData,
        HandshakeTimes, IcmpErrorEvent, IcmpReport, Kind, Options, Origin, OtherView, Outcome, Path, Process,
        ProcessHow, ResetPhase, Role, SegmentEvent, Socket, SocketMoment, Start, State, StateTimes, Stats,
        SynackAgain, Teids, TracedInterface, Transition, Tunnel, TunnelCounts, TunnelKind, Vantage, Vlans,
        WrongAnswers, ZeekConnState,
    },
    segment::{Direction, Timestamp},
};
use tcptrace_common::{tcp::TcpFlags, wire::tunnel};

/// Whoever throws it gets what is next of a sequence that the seed fixes.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// As often a short one as a long one.
    fn number(&mut self) -> u64 {
        let bits = self.next() % 64;
        self.next() >> bits
    }

    fn number_u32(&mut self) -> u32 {
        (self.number() & 0xffff_ffff) as u32
    }

    fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.coin() { Some(make(self)) } else { None }
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.next() % (most + 1)).map(|_| make(self)).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    fn ip(&mut self) -> IpAddr {
        match self.next() % 3 {
            0 => IpAddr::from((self.next() as u32).to_be_bytes()),
            1 => IpAddr::from(std::array::from_fn::<u16, 8, _>(|_| {
                self.pick(&[0, 0, 1, 0xff, 0x1000, 0xffff])
            })),
            _ => IpAddr::from((u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()),
        }
    }

    fn address(&mut self) -> Address {
        Address { ip: self.ip(), port: self.next() as u16 }
    }

    fn name(&mut self) -> String {
        self.some(15, |dice| dice.pick(&['a', 'h', '0', '"', '\\', '\u{1}', '\u{7f}', 'é', '€', '\u{2028}']))
            .into_iter()
            .collect()
    }

    fn vlans(&mut self) -> Vlans {
        Vlans { outer: self.maybe(|dice| dice.next() as u16), inner: self.maybe(|dice| dice.next() as u16) }
    }

    fn tunnel(&mut self) -> Tunnel {
        Tunnel {
            kind: TunnelKind(self.pick(&tunnel::TunnelProtocol::ALL)),
            id: self.maybe(Self::number_u32),
            teid: self.maybe(|dice| Teids {
                to_server: dice.maybe(Self::number_u32),
                to_client: dice.maybe(Self::number_u32),
            }),
            client_ip: self.ip(),
            server_ip: self.ip(),
            vlan: self.vlans(),
        }
    }

    fn common(&mut self) -> Common {
        Common {
            ts: Timestamp(self.number()),
            id: self.number(),
            interface: self.name().into(),
            ip_version: self.pick(&[4, 6]),
            client: self.address(),
            server: self.address(),
            vlan: self.vlans(),
            server_vlan: self.maybe(Self::vlans),
            tunnel: self.some(2, Self::tunnel),
            vantage: self.pick(&Vantage::ALL),
            complete: self.coin(),
            origin: Origin::default(),
        }
    }

    fn path(&mut self) -> Path {
        self.some(3, |dice| dice.name().into()).into_iter().collect()
    }

    fn times(&mut self) -> HandshakeTimes {
        HandshakeTimes {
            syn_to_established_ns: self.maybe(Self::number),
            syn_to_synack_ns: self.maybe(Self::number),
            synack_to_ack_ns: self.maybe(Self::number),
            syn_retry_ns: self.maybe(Self::number),
            network_rtt_ns: self.maybe(Self::number),
            local_stack_ns: self.maybe(Self::number),
        }
    }

    fn options(&mut self) -> Options {
        Options {
            mss: self.maybe(|dice| dice.next() as u16),
            window_scale: self.maybe(|dice| dice.next() as u8),
            sack_permitted: self.maybe(Self::coin),
            timestamps: self.maybe(Self::coin),
            fast_open: self.maybe(Self::coin),
            mptcp: self.maybe(Self::coin),
        }
    }

    fn ecn(&mut self) -> Ecn {
        Ecn {
            offered: self.pick(&EcnKind::ALL),
            negotiated: self.maybe(|dice| dice.pick(&EcnKind::ALL)),
            unanswered_syns: self.number_u32(),
        }
    }

    fn wrong_answers(&mut self) -> WrongAnswers {
        WrongAnswers {
            rsts: self.number_u32(),
            rst_ack: self.maybe(Self::number_u32),
            synacks: self.number_u32(),
            synack_ack: self.maybe(Self::number_u32),
            synacks_reset: self.number_u32(),
            expected: self.number_u32(),
        }
    }

    fn role(&mut self) -> Role {
        self.pick(&Role::ALL)
    }

    fn state(&mut self) -> State {
        self.pick(&State::ALL)
    }

    fn state_times(&mut self) -> StateTimes {
        self.some(6, |dice| (dice.state(), dice.maybe(Self::number))).into_iter().collect()
    }

    fn established(&mut self) -> Established {
        Established {
            common: self.common(),
            path: self.path(),
            times: self.times(),
            syn_retransmits: self.number_u32(),
            synack_retransmits: self.number_u32(),
            client_isn: self.maybe(Self::number_u32),
            server_isn: self.maybe(Self::number_u32),
            client_options: self.maybe(Self::options),
            server_options: self.maybe(Self::options),
            ecn: self.maybe(Self::ecn),
            client_process: self.maybe(Self::process),
            server_process: self.maybe(Self::process),
            client_cgroup: self.maybe(Self::cgroup),
            server_cgroup: self.maybe(Self::cgroup),
        }
    }

    fn process(&mut self) -> Process {
        Process {
            pid: self.maybe(Self::number_u32),
            comm: self.maybe(Self::text),
            exe: self.maybe(Self::text),
            uid: self.maybe(Self::number_u32),
            user: self.maybe(Self::text),
            how: self.maybe(|dice| dice.pick(&ProcessHow::ALL)),
        }
    }

    fn cgroup(&mut self) -> Cgroup {
        Cgroup {
            path: self.text(),
            unit: self.maybe(Self::text),
            container: self.maybe(Self::text),
            pod: self.maybe(Self::text),
            pod_name: self.maybe(Self::text),
        }
    }

    fn text(&mut self) -> Arc<str> {
        self.pick(&[
            "",
            "root",
            "/system.slice/a b.service",
            "\"quoted\"\n",
            "\u{1b}[31m",
            "\u{7ba1}\u{7406}",
        ])
        .into()
    }

    fn socket(&mut self) -> Socket {
        Socket {
            at: self.pick(&SocketMoment::ALL),
            rtt_ns: self.maybe(Self::number),
            min_rtt_ns: self.maybe(Self::number),
            retransmits: self.number_u32(),
            segments_out: self.number_u32(),
            segments_in: self.number_u32(),
            bytes_acked: self.number(),
            bytes_received: self.number(),
            cwnd: self.number_u32(),
            delivery_rate: self.maybe(Self::number),
        }
    }

    fn first_data(&mut self) -> FirstData {
        FirstData {
            client_first_data_ns: self.maybe(Self::number),
            server_first_data_ns: self.maybe(Self::number),
            first_response_ns: self.maybe(Self::number),
            first_response_server_ns: self.maybe(Self::number),
            server_spoke_first: self.maybe(Self::coin),
            server_name: self.maybe(|dice| dice.name().into()),
            alpn: self.maybe(|dice| dice.some(3, |dice| dice.name().into())),
            http_host: self.maybe(|dice| dice.name().into()),
        }
    }

    fn connection(&mut self) -> Connection {
        Connection {
            common: self.common(),
            path: self.path(),
            partial: self.coin(),
            direction_inferred: self.coin(),
            outcome: self.pick(&Outcome::ALL),
            failed: self.coin(),
            closed_by: self.maybe(|dice| dice.pick(&ClosedBy::ALL)),
            reset_by: self.maybe(Self::role),
            reset_phase: self.maybe(|dice| dice.pick(&ResetPhase::ALL)),
            no_such_connection: self.coin(),
            half_closed: self.coin(),
            simultaneous_open: self.coin(),
            start: Timestamp(self.number()),
            times: self.times(),
            first_data: self.first_data(),
            first_fin_to_ack_ns: self.maybe(Self::number),
            close_wait_ns: self.maybe(Self::number),
            second_fin_to_ack_ns: self.maybe(Self::number),
            teardown_ns: self.maybe(Self::number),
            lifetime_ns: self.maybe(Self::number),
            client_bytes: self.maybe(Self::number),
            server_bytes: self.maybe(Self::number),
            bytes_mod_4gib: self.coin(),
            syn_retransmits: self.number_u32(),
            synack_retransmits: self.number_u32(),
            syn_intervals_ns: self.some(10, |dice| dice.maybe(Self::number)),
            syn_backoff: self.maybe(|dice| dice.pick(&Backoff::ALL)),
            synacks_after_ack: self.number_u32(),
            synack_again: self.maybe(|dice| dice.pick(&SynackAgain::ALL)),
            accept_queue: self
                .maybe(|dice| AcceptQueue { waiting: dice.number_u32(), limit: dice.number_u32() }),
            challenge_ack: self.coin(),
            wrong_answers: self.maybe(Self::wrong_answers),
            earlier_closed_ns: self.maybe(Self::number),
            answered_elsewhere: self.maybe(Self::address),
            ecn: self.maybe(Self::ecn),
            client_ttl: self.maybe(|dice| dice.next() as u8),
            server_ttl: self.maybe(|dice| dice.next() as u8),
            reset_ttl: self.maybe(|dice| dice.next() as u8),
            reset_seq: self.maybe(Self::number_u32),
            probe: self.coin(),
            copies: self.number_u32(),
            other_view: self.maybe(|dice| OtherView {
                client_isn: dice.number_u32(),
                server_isn: dice.maybe(Self::number_u32),
            }),
            client_fins: self.number_u32(),
            server_fins: self.number_u32(),
            client_rsts: self.number_u32(),
            server_rsts: self.number_u32(),
            resets_ignored: self.some(2, Self::doubtful_reset),
            reset_by_another: self.maybe(Self::doubtful_reset),
            self_connection: self.coin(),
            client_isn: self.maybe(Self::number_u32),
            server_isn: self.maybe(Self::number_u32),
            client_state: self.maybe(Self::state),
            server_state: self.maybe(Self::state),
            client_state_ns: self.state_times(),
            server_state_ns: self.state_times(),
            client_states_untimed: self.some(3, Self::state),
            server_states_untimed: self.some(3, Self::state),
            client_process: self.maybe(Self::process),
            server_process: self.maybe(Self::process),
            client_cgroup: self.maybe(Self::cgroup),
            server_cgroup: self.maybe(Self::cgroup),
            client_closed_by_process: self.maybe(Self::process),
            server_closed_by_process: self.maybe(Self::process),
            client_socket: self.maybe(Self::socket),
            server_socket: self.maybe(Self::socket),
            icmp_error: self.maybe(|dice| IcmpReport { from: dice.ip(), ..fixtures::icmp_report() }),
            zeek_conn_state: self.pick(&ZeekConnState::ALL),
        }
    }

    fn doubtful_reset(&mut self) -> DoubtfulReset {
        DoubtfulReset {
            ts: Timestamp(self.number()),
            sender: self.role(),
            ttl: self.next() as u8,
            sender_ttl: self.maybe(|dice| dice.next() as u8),
        }
    }

    fn transition(&mut self) -> Transition {
        Transition {
            common: self.common(),
            endpoint: self.role(),
            from: self.state(),
            to: self.state(),
            inferred: self.coin(),
            since_previous_ns: self.maybe(Self::number),
        }
    }

    fn segment(&mut self) -> SegmentEvent {
        SegmentEvent {
            common: self.common(),
            sender: self.role(),
            direction: self.pick(&[Direction::Ingress, Direction::Egress, Direction::Unknown]),
            flags: TcpFlags(self.next() as u16 & 0x1ff),
            seq: self.number_u32(),
            ack: self.maybe(Self::number_u32),
            relative_seq: self.maybe(Self::number_u32),
            relative_ack: self.maybe(Self::number_u32),
            window: self.next() as u16,
            payload_bytes: self.number_u32(),
            ttl: self.next() as u8,
            copy: self.coin(),
            options: self.maybe(Self::options),
        }
    }

    fn anomaly(&mut self) -> Anomaly {
        Anomaly {
            common: self.common(),
            reason: self.pick(&AnomalyReason::ALL),
            sender: self.role(),
            flags: TcpFlags(self.next() as u16 & 0x1ff),
            seq: self.number_u32(),
            ack: self.maybe(Self::number_u32),
            expected: self.maybe(Self::number_u32),
            payload_bytes: self.number_u32(),
        }
    }

    fn interface(&mut self) -> TracedInterface {
        TracedInterface {
            name: self.name(),
            index: self.maybe(Self::number_u32),
            netns: self.maybe(Self::name),
        }
    }

    fn start(&mut self) -> Start {
        Start {
            ts: Timestamp(self.number()),
            host: self.name(),
            boot_id: self.maybe(Self::name),
            kernel: self.maybe(Self::name),
            files: self.some(2, Self::name),
            interfaces: self.some(3, Self::interface),
            filter: self.maybe(Self::name),
            clock: self.maybe(|dice| ClockAnchor {
                monotonic_offset_ns: dice.next().cast_signed(),
                uncertainty_ns: dice.number(),
            }),
            ..fixtures::start()
        }
    }

    fn icmp_error(&mut self) -> IcmpErrorEvent {
        let meaning = self.name().into();
        let icmp = IcmpReport {
            from: self.ip(),
            kind: self.next() as u8,
            code: self.next() as u8,
            meaning,
            quoted_sender: self.role(),
        };
        IcmpErrorEvent { common: self.common(), icmp, seq: self.number_u32() }
    }

    /// As often a small one as a large one.
    #[expect(clippy::cast_precision_loss, reason = "any fraction will do")]
    fn fraction(&mut self) -> f64 {
        self.number() as f64 / self.number().max(1) as f64
    }

    fn stats(&mut self) -> Stats {
        Stats {
            ts: Timestamp(self.number()),
            elapsed_ns: self.maybe(Self::number),
            packets: self.number(),
            interfaces_taken_off: self.maybe(Self::number),
            copies: Copies {
                segments: self.number(),
                ttl: self.maybe(|dice| [dice.next() as u8, dice.next() as u8]),
            },
            tunnels: self.maybe(|dice| TunnelCounts::of(std::array::from_fn(|_| dice.number()))),
            capture: self
                .maybe(|dice| CaptureStats { without_time: dice.number(), ..CaptureStats::default() }),
            admission_rate: self.fraction(),
            cost: Cost {
                kernel_ns_per_packet: self.maybe(Self::fraction),
                kernel_packets_timed: self.maybe(Self::number),
                cpu_percent: self.maybe(Self::fraction),
                ..Cost::default()
            },
            ..fixtures::stats()
        }
    }

    /// One of each kind.
    pub(crate) fn events(&mut self) -> [Event; Kind::ALL.len()] {
        [
            Event::Start(Box::new(self.start())),
            Event::Established(self.established()),
            Event::Connection(Box::new(self.connection())),
            Event::Transition(self.transition()),
            Event::Segment(self.segment()),
            Event::Anomaly(self.anomaly()),
            Event::IcmpError(self.icmp_error()),
            Event::Stats(Box::new(self.stats())),
        ]
    }
}

//! The lines for people.

use crate::fixtures::{self, at};
use insta::assert_snapshot;
use jiff::tz::TimeZone;
use tcptrace::{
    event::{
        Backoff, ClosedBy, Connection, Ecn, EcnKind, Established, Event, FirstData, HandshakeTimes, Outcome,
        ResetPhase, Role, State, SynackAgain, Transition, Vlans, WrongAnswers,
    },
    segment::Timestamp,
    sink::{
        Sink as _,
        text::{TextOptions, TextSink, TimeFormat, Width},
    },
};

fn print(events: impl IntoIterator<Item = Event>, interfaces: bool, color: bool) -> String {
    let mut sink = TextSink::new(TextOptions {
        interfaces,
        color,
        zone: TimeZone::UTC,
        times: TimeFormat::OfDay,
        width: Width::default(),
    });
    let mut out = bytes::BytesMut::new();
    for event in events {
        sink.event(&event, &mut out);
    }
    String::from_utf8(out.to_vec()).expect("text is UTF-8")
}

fn lines(events: impl IntoIterator<Item = Event>) -> String {
    print(events, false, false)
}

fn ended(connection: Connection) -> Event {
    Event::Connection(Box::new(connection))
}

#[test]
fn the_textbook_connection() {
    let events = [Event::Established(fixtures::established()), ended(fixtures::connection())];
    assert_snapshot!(lines(events), @r###"
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms
    "###);
}

#[test]
fn verbose() {
    let presumed = Transition {
        endpoint: Role::Server,
        from: State::Closed,
        to: State::Listen,
        inferred: true,
        since_previous_ns: None,
        ..fixtures::transition()
    };
    let events = [
        Event::Segment(fixtures::segment()),
        Event::Transition(presumed),
        Event::Transition(fixtures::transition()),
        Event::Established(fixtures::established()),
        Event::Anomaly(fixtures::anomaly()),
        Event::IcmpError(fixtures::icmp_error()),
        Event::Stats(Box::new(fixtures::stats())),
    ];
    assert_snapshot!(lines(events), @r###"
    06:59:50.293444    [S.]       180.101.49.11:80 > 192.168.64.128:60592              seq 0, ack 1, win 64240, length 0, ttl 128, options [mss 1460,wscale 6,sackOK,TS]
    06:59:50.293475    server     192.168.64.128:60592 > 180.101.49.11:80        -     CLOSED -> LISTEN (presumed)
    06:59:50.293475    client     192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  SYN-SENT -> ESTABLISHED
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.293444  ANOMALY      180.101.49.11:80 > 192.168.64.128:60592        -     SYN-ACK does not acknowledge the SYN, flags S., seq 528643112, ack 7, expected 4130871517, length 0
    06:59:50.000000    icmp       192.168.64.128:60592 > 180.101.49.11:80        -     host unreachable, says 192.168.64.2 (ICMP type 3, code 1)
    06:59:50.400000  STATS        1200 packets, 1000 TCP, 0 connections open, 1 ended, 2 records lost, 7 events dropped
    "###);
}

#[test]
fn retries_are_time_lost() {
    let times = HandshakeTimes {
        syn_to_established_ns: Some(3_028_820_000),
        syn_retry_ns: Some(3_000_000_000),
        ..fixtures::times()
    };
    let retried = Established { times, syn_retransmits: 2, ..fixtures::established() };
    // The answer was sent again too: what lies between the two SYN-ACKs is in neither part.
    let times = HandshakeTimes { syn_to_established_ns: Some(1_028_820_000), ..fixtures::times() };
    let answered_twice = Established { times, synack_retransmits: 1, ..fixtures::established() };
    let unseen = Established { times: HandshakeTimes::default(), ..fixtures::established() };
    let events = [retried, answered_twice, unseen].map(Event::Established);
    assert_snapshot!(lines(events), @r###"
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80    3.029 s   = 3.000 s lost in 2 SYN retries + syn 28.789 ms + ack 0.031 ms
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80    1.029 s   syn 28.789 ms, ack 0.031 ms, 1 SYN-ACK retry
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80        -     syn not timed, ack not timed
    "###);
}

/// A start this long before the event.
fn seconds_ago(seconds: u64) -> Timestamp {
    Timestamp(fixtures::connection().common.ts.0 - seconds * 1_000_000_000)
}

#[test]
fn every_outcome() {
    let opened = fixtures::connection();
    let reset = |reset_phase| Connection {
        outcome: Outcome::Reset,
        closed_by: None,
        close_wait_ns: None,
        reset_by: Some(Role::Server),
        reset_phase: Some(reset_phase),
        ..opened.clone()
    };
    let alive = |outcome| Connection {
        client_state: Some(State::Established),
        server_state: Some(State::Established),
        lifetime_ns: Some(725_000_000_000),
        ..fixtures::unopened(outcome)
    };
    let events = vec![
        Connection { closed_by: Some(ClosedBy::Both), half_closed: true, ..opened.clone() },
        reset(ResetPhase::Established),
        reset(ResetPhase::Closing),
        reset(ResetPhase::AfterClose),
        Connection {
            reset_by: Some(Role::Server),
            lifetime_ns: Some(120_000),
            ..fixtures::unopened(Outcome::Refused)
        },
        Connection {
            syn_retransmits: 6,
            lifetime_ns: Some(63_000_000_000),
            start: seconds_ago(133),
            ..fixtures::unopened(Outcome::Unanswered)
        },
        Connection {
            syn_retransmits: 3,
            syn_intervals_ns: vec![Some(1_020_000_000), Some(2_016_000_000), Some(4_128_000_000)],
            syn_backoff: Some(Backoff::Regular),
            start: seconds_ago(82),
            ..fixtures::unopened(Outcome::Unanswered)
        },
        Connection {
            syn_retransmits: 1,
            syn_intervals_ns: vec![Some(450_000_000)],
            syn_backoff: Some(Backoff::Irregular),
            start: seconds_ago(75),
            ..fixtures::unopened(Outcome::Unanswered)
        },
        Connection {
            lifetime_ns: Some(120_000),
            icmp_error: Some(fixtures::icmp_report()),
            ..fixtures::unopened(Outcome::RefusedIcmp)
        },
        Connection {
            synacks_after_ack: 3,
            synack_again: Some(SynackAgain::NotAccepted),
            ..alive(Outcome::Open)
        },
        Connection {
            synacks_after_ack: 1,
            synack_again: Some(SynackAgain::LostOrNotAccepted),
            challenge_ack: true,
            ..opened.clone()
        },
        Connection {
            synack_retransmits: 5,
            lifetime_ns: Some(31_000_000_000),
            start: seconds_ago(101),
            ..fixtures::unopened(Outcome::SynackUnanswered)
        },
        Connection { syn_retransmits: 1, ..fixtures::unopened(Outcome::Aborted) },
        alive(Outcome::Reused),
        Connection { server_bytes: Some(5_000_000_000), bytes_mod_4gib: true, ..alive(Outcome::Open) },
        Connection { server_state: Some(State::CloseWait), ..alive(Outcome::Evicted) },
    ];
    assert_snapshot!(lines(events.into_iter().map(ended)), @r###"
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by both at once, 172 B sent, 2781 B received, close_wait 18.874 ms, half-closed for a while
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by server while open, 172 B sent, 2781 B received
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by server while closing, 172 B sent, 2781 B received
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by server after both FINs, 172 B sent, 2781 B received
    06:59:50.330991  REFUSED      192.168.64.128:60592 > 180.101.49.11:80    0.120 ms  RST by server: nothing listens there, or a firewall rejects
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80   63.000 s   no SYN-ACK, RST or ICMP error for 7 SYNs in 133.000 s
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  no SYN-ACK, RST or ICMP error for 4 SYNs in 82.000 s (1.0, 2.0, 4.1 s apart, the usual back-off)
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  no SYN-ACK, RST or ICMP error for 2 SYNs in 75.000 s (0.5 s apart, not a usual back-off: some may not have passed here)
    06:59:50.330991  REFUSED      192.168.64.128:60592 > 180.101.49.11:80    0.120 ms  host unreachable, says 192.168.64.2 (ICMP type 3, code 1)
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80     12m 05s  when the trace ended, both ESTABLISHED, 3 SYN-ACK retries after the ACK: the server does not take it (accept queue full, or its own firewall), or waits for data (TCP_DEFER_ACCEPT)
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, server still had an earlier connection on these ports and answered that (challenge ACK), 1 SYN-ACK retry after the ACK: that was lost beyond here, or the server does not take it (accept queue full), or waits for data (TCP_DEFER_ACCEPT)
    06:59:50.330991  SYNACK-UNANSWERED  192.168.64.128:60592 > 180.101.49.11:80   31.000 s   no ACK or RST for 6 SYN-ACKs in 101.000 s
    06:59:50.330991  ABORTED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  begun anew by client before it was established, 1 SYN retry
    06:59:50.330991  REUSED       192.168.64.128:60592 > 180.101.49.11:80     12m 05s  same addresses and ports opened anew, both ESTABLISHED
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80     12m 05s  when the trace ended, both ESTABLISHED, 5.0 GB received (or 4 GiB more, or a multiple)
    06:59:50.330991  EVICTED      192.168.64.128:60592 > 180.101.49.11:80     12m 05s  forgotten to stay within --max-connections, client ESTABLISHED, server CLOSE-WAIT
    "###);
}

#[test]
fn what_came_instead_of_an_answer() {
    let unanswered = Connection {
        lifetime_ns: Some(3_000_000_000),
        start: seconds_ago(78),
        ..fixtures::unopened(Outcome::Unanswered)
    };
    let wrong = WrongAnswers {
        rsts: 5,
        rst_ack: Some(1000),
        synacks: 0,
        synack_ack: None,
        synacks_reset: 0,
        expected: 1001,
    };
    let wrong_synacks = WrongAnswers {
        rsts: 0,
        rst_ack: None,
        synacks: 3,
        synack_ack: Some(778_777),
        synacks_reset: 3,
        expected: 1001,
    };
    let refused = Connection { reset_by: Some(Role::Server), ..fixtures::unopened(Outcome::Refused) };
    let in_flight = Connection {
        start: seconds_ago(2),
        lifetime_ns: Some(0),
        client_state: Some(State::SynSent),
        server_state: None,
        ..fixtures::unopened(Outcome::Open)
    };
    let events = vec![
        Connection { wrong_answers: Some(wrong), ..unanswered.clone() },
        Connection { wrong_answers: Some(WrongAnswers { rst_ack: None, ..wrong }), ..unanswered.clone() },
        Connection { wrong_answers: Some(wrong_synacks), ..unanswered.clone() },
        Connection {
            wrong_answers: Some(WrongAnswers { rsts: 1, rst_ack: Some(7), ..wrong_synacks }),
            ..unanswered.clone()
        },
        Connection { earlier_closed_ns: Some(31_000_000_000), ..unanswered },
        Connection { server_isn: Some(7), ..refused.clone() },
        Connection { reset_seq: Some(5001), ..refused.clone() },
        Connection { server_isn: Some(7), server_ttl: Some(58), reset_ttl: Some(28), ..refused },
        Connection {
            reset_by: Some(Role::Client),
            no_such_connection: true,
            reset_ttl: Some(64),
            ..fixtures::unopened(Outcome::Aborted)
        },
        Connection { wrong_answers: Some(wrong), ..in_flight.clone() },
        Connection { server_state: Some(State::SynReceived), server_isn: Some(7), ..in_flight.clone() },
        in_flight,
        Connection {
            synacks_after_ack: 1,
            synack_again: Some(SynackAgain::Deferred),
            ..fixtures::connection()
        },
        Connection {
            client_state: Some(State::Established),
            server_state: None,
            ..fixtures::unopened(Outcome::Open)
        },
    ];
    assert_snapshot!(lines(events.into_iter().map(ended)), @r###"
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80    3.000 s   no SYN-ACK, RST or ICMP error that answers 1 SYN in 78.000 s, 5 RSTs came that acknowledge 1000, not 1001: the client ignores these (RFC 9293 §3.10.7.3)
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80    3.000 s   no SYN-ACK, RST or ICMP error that answers 1 SYN in 78.000 s, 5 RSTs came without ACK: the client ignores these (RFC 9293 §3.10.7.3)
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80    3.000 s   no SYN-ACK, RST or ICMP error that answers 1 SYN in 78.000 s, 3 SYN-ACKs came that acknowledge 778777, expected 1001, and the client reset them
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80    3.000 s   no SYN-ACK, RST or ICMP error that answers 1 SYN in 78.000 s, 1 RST came that acknowledges 7, not 1001: the client ignores this (RFC 9293 §3.10.7.3), 3 SYN-ACKs came that acknowledge 778777, expected 1001, and the client reset them
    06:59:50.330991  UNANSWERED   192.168.64.128:60592 > 180.101.49.11:80    3.000 s   no SYN-ACK, RST or ICMP error for 1 SYN in 78.000 s, server closed an earlier connection on these ports 31.000 s before (it may be in TIME-WAIT)
    06:59:50.330991  REFUSED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  RST by server after its SYN-ACK
    06:59:50.330991  REFUSED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  RST by server with a number of its own: after a SYN-ACK, or a firewall rejects
    06:59:50.330991  REFUSED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  RST by server after its SYN-ACK, RST TTL 28, the server's SYN-ACK 58: perhaps another host's, or another way here
    06:59:50.330991  ABORTED      192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  RST by client to the SYN-ACK: the client's host knows no such connection
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80    0.000 ms  when the trace ended, client SYN-SENT, server not seen, no SYN-ACK, RST or ICMP error that answers the SYN yet, sent 2.000 s before, 5 RSTs came that acknowledge 1000, not 1001: the client ignores these (RFC 9293 §3.10.7.3)
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80    0.000 ms  when the trace ended, client SYN-SENT, server SYN-RECEIVED, no ACK or RST yet for the SYN-ACK, sent 2.000 s before
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80    0.000 ms  when the trace ended, client SYN-SENT, server not seen, no SYN-ACK, RST or ICMP error for the SYN yet, sent 2.000 s before
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, 1 SYN-ACK retry after the ACK, later than a lost ACK shows: the server may wait for data (TCP_DEFER_ACCEPT)
    06:59:50.330991  OPEN         192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  when the trace ended, client ESTABLISHED, server not seen
    "###);
}

#[test]
fn who_closed_before_a_reset() {
    let closing = Connection {
        outcome: Outcome::Reset,
        reset_by: Some(Role::Server),
        reset_phase: Some(ResetPhase::Closing),
        closed_by: Some(ClosedBy::Server),
        teardown_ns: Some(1_401_000_000),
        no_such_connection: true,
        reset_ttl: Some(28),
        ..fixtures::connection()
    };
    let events = [
        Connection { closed_by: Some(ClosedBy::Client), no_such_connection: false, ..closing.clone() },
        Connection { reset_by: Some(Role::Client), reset_ttl: Some(64), ..closing.clone() },
        closing,
    ];
    assert_snapshot!(lines(events.map(ended)), @r###"
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by server while closing, 1.401 s after the client's FIN, 172 B sent, 2781 B received, RST TTL 28, the server's SYN-ACK 128: perhaps another host's, or another way here
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client while closing, 1.401 s after the server's FIN, as a host that has forgotten it, 172 B sent, 2781 B received
    06:59:50.330991  RESET        192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by server while closing, 1.401 s after its own FIN, as a host that has forgotten it, 172 B sent, 2781 B received, RST TTL 28, the server's SYN-ACK 128: perhaps another host's, or another way here
    "###);
}

#[test]
fn ecn_where_the_client_asked_for_it() {
    let with = |negotiated, unanswered_syns| Established {
        ecn: Some(Ecn { offered: EcnKind::Accurate, negotiated: Some(negotiated), unanswered_syns }),
        ..fixtures::established()
    };
    let events = [
        with(EcnKind::None, 0),
        with(EcnKind::Classic, 0),
        with(EcnKind::Accurate, 0),
        with(EcnKind::None, 2),
    ];
    assert_snapshot!(lines(events.map(Event::Established)), @r###"
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031, ECN not taken by the server
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031, ECN
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031, accurate ECN
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031, no answer to the 2 SYNs with ECN, but to one without
    "###);
}

#[test]
fn how_long_the_first_answer_took() {
    let with = |first_response_ns, first_response_server_ns, server_spoke_first| {
        let first_data = FirstData {
            first_response_ns,
            first_response_server_ns,
            server_spoke_first,
            ..FirstData::default()
        };
        ended(Connection { first_data, ..fixtures::connection() })
    };
    let events = [
        with(Some(41_300_000), Some(12_511_000), Some(false)),
        with(Some(12_300_000), Some(12_300_000), Some(false)),
        with(Some(12_300_000), None, Some(false)),
        with(None, None, Some(true)),
        with(None, None, Some(false)),
        ended(Connection {
            first_data: FirstData {
                server_name: Some("example.org\u{1b}[2J".into()),
                http_host: Some("other.example".into()),
                ..FirstData::default()
            },
            ..fixtures::connection()
        }),
    ];
    assert_snapshot!(lines(events), @r###"
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, first answer 41.300 ms after the request (server 12.511 ms)
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, first answer 12.300 ms after the request
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, first answer 12.300 ms after the request
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, server spoke first
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms, asked for example.org\u{1b}[2J
    "###);
}

#[test]
fn partial_incomplete_and_tagged() {
    let mut partial = Connection {
        partial: true,
        direction_inferred: true,
        lifetime_ns: None,
        client_bytes: None,
        server_bytes: None,
        times: HandshakeTimes::default(),
        ..fixtures::connection()
    };
    partial.common.complete = false;
    let mut tagged = fixtures::established();
    tagged.common.vlan = Vlans { outer: Some(100), inner: Some(20) };
    let mut back = fixtures::established();
    back.common.vlan.outer = Some(100);
    back.common.server_vlan = Some(Vlans::default());
    assert_snapshot!(lines([ended(partial), Event::Established(tagged), Event::Established(back)]), @r###"
    06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80        -     by client, close_wait 18.874 ms, partial: it began before the trace, client and server are a guess (incomplete)
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031 (vlan 100.20)
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031 (vlan 100 to the server, no vlan back)
    "###);
}

#[test]
fn ipv6_and_columns_that_grow() {
    let mut v6 = fixtures::established();
    v6.common.ip_version = 6;
    v6.common.client = fixtures::address("2001:db8::1", 50000);
    v6.common.server = fixtures::address("2001:db8:0:1::2", 443);
    let mut short = fixtures::established();
    short.common.ts = at(999_999);
    short.common.client = fixtures::address("10.0.0.1", 1);
    short.common.interface = "enp3s0".into();
    let events =
        [Event::Established(v6), Event::Established(short), Event::Established(fixtures::established())];
    assert_snapshot!(print(events, true, false), @r###"
    06:59:50.293475  eth0  ESTABLISHED  [2001:db8::1]:50000 > [2001:db8:0:1::2]:443   28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.999999  enp3s0  ESTABLISHED  10.0.0.1:1 > 180.101.49.11:80                 28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.293475  eth0    ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80       28.820 ms  = syn 28.789 + ack 0.031
    "###);
}

#[test]
fn a_name_cannot_act_on_the_terminal() {
    let mut event = fixtures::established();
    event.common.interface = "e\u{1b}[2J\nth".into();
    event.path = ["e\u{1b}c", "\u{202e}0hte"].into_iter().map(Into::into).collect();
    assert_snapshot!(print([Event::Established(event)], true, false), @r###"
    06:59:50.293475  e\u{1b}[2J\u{a}th  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031 (via e\u{1b}c, \u{202e}0hte)
    "###);
}

#[test]
fn colour_does_not_change_the_columns() {
    let events =
        || [Event::Established(fixtures::established()), ended(fixtures::unopened(Outcome::Refused))];
    let colored = print(events(), false, true);
    assert!(colored.contains("\u{1b}[32mESTABLISHED\u{1b}[0m"), "{colored:?}");
    let stripped = colored.replace("\u{1b}[32m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
    assert_eq!(stripped, lines(events()));
}

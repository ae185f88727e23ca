//! Lines for people where a terminal has only so many columns.

use crate::{any::Dice, fixtures};
use insta::assert_snapshot;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use tcptrace::{
    event::{
        Address, Backoff, ClosedBy, Common, Connection, DoubtfulReset, Established, Event, HandshakeTimes,
        IcmpReport, OtherView, Outcome, Path, ResetPhase, Role, State, SynackAgain, Teids, Tunnel,
        TunnelKind, Vlans, WrongAnswers,
    },
    segment::Timestamp,
    sink::{
        Sink as _,
        text::{TextOptions, TextSink, TimeFormat, Width},
        units::plain,
    },
};
use tcptrace_common::wire::tunnel::TunnelProtocol;

/// A sink, and what it makes of one event.
fn sink(width: Option<usize>, times: TimeFormat, color: bool) -> impl FnMut(&Event) -> String {
    let mut sink = TextSink::new(TextOptions {
        interfaces: true,
        color,
        zone: TimeZone::UTC,
        times,
        width: Width::new(width),
    });
    move |event| {
        let mut out = bytes::BytesMut::new();
        sink.event(event, &mut out);
        String::from_utf8(out.to_vec()).expect("text is UTF-8")
    }
}

const V6: (&str, &str) = ("2001:db8:1234:5678:9abc:def0:1234:5678", "fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1");

/// On an interface, between those addresses.
fn at(interface: &str, (client, server): (&str, &str)) -> Common {
    let ip_version = if client.contains(':') { 6 } else { 4 };
    let (client, server) = (fixtures::address(client, 60592), fixtures::address(server, 443));
    Common { interface: interface.into(), ip_version, client, server, ..fixtures::connection().common }
}

fn seconds_ago(seconds: u64) -> Timestamp {
    Timestamp(fixtures::connection().common.ts.0 - seconds * 1_000_000_000)
}

/// All outcomes, and of all else that a line can have an example.
fn catalogue() -> Vec<Event> {
    let closed = fixtures::connection();
    let v4 = closed.common.clone();
    let v6 = at("eth0", V6);
    let times = HandshakeTimes {
        syn_to_established_ns: Some(3_028_820_000),
        syn_retry_ns: Some(3_000_000_000),
        ..fixtures::times()
    };
    let vxlan = Tunnel {
        kind: TunnelKind(TunnelProtocol::Vxlan),
        id: Some(42),
        teid: None,
        client_ip: [192, 0, 2, 1].into(),
        server_ip: [192, 0, 2, 2].into(),
        vlan: Vlans::default(),
    };
    let teid = Some(Teids { to_server: Some(1), to_client: Some(2) });
    let gtpu = Tunnel { kind: TunnelKind(TunnelProtocol::GtpU), id: None, teid, ..vxlan };
    let tagged = Vlans { outer: Some(100), inner: Some(20) };
    let path: Path = ["veth01234567890", "docker0", "eth0"].into_iter().map(Into::into).collect();
    let established = |common: &Common| Established { common: common.clone(), ..fixtures::established() };
    let mut events = vec![
        Event::Established(established(&at("lo", ("10.0.0.1", "10.0.0.2")))),
        Event::Established(established(&v4)),
        Event::Established(established(&v6)),
        Event::Established(Established { times, syn_retransmits: 2, ..established(&v6) }),
        Event::Established(Established {
            path: path.clone(),
            ..established(&at("veth01234567890", ("10.0.0.1", "10.0.0.2")))
        }),
        Event::Established(established(&Common { vlan: tagged, tunnel: vec![vxlan, gtpu], ..v4.clone() })),
    ];
    let connections = endings(&closed).into_iter().chain(failures());
    let connections = connections.flat_map(|(common, connection)| {
        let common = common.unwrap_or_else(|| v4.clone());
        [Connection { common, ..connection }]
    });
    events.extend(connections.map(|connection| Event::Connection(Box::new(connection))));
    events.extend(fixtures::full_and_minimal());
    events
}

/// What became of connections that were open.
fn endings(closed: &Connection) -> Vec<(Option<Common>, Connection)> {
    let doubtful = |sender_ttl| DoubtfulReset {
        ts: Timestamp(closed.start.0 + 10_500_000),
        sender: Role::Client,
        ttl: 61,
        sender_ttl,
    };
    let reset = Connection {
        outcome: Outcome::Reset,
        closed_by: Some(ClosedBy::Server),
        close_wait_ns: None,
        reset_by: Some(Role::Client),
        reset_phase: Some(ResetPhase::Closing),
        teardown_ns: Some(1_401_000_000),
        no_such_connection: true,
        ..closed.clone()
    };
    let open = Connection {
        server_bytes: Some(5_000_000_000),
        bytes_mod_4gib: true,
        client_state: Some(State::Established),
        server_state: Some(State::Established),
        lifetime_ns: Some(725_000_000_000),
        ..fixtures::unopened(Outcome::Open)
    };
    let incomplete = Common { complete: false, ..at("eth0", V6) };
    let twice = OtherView { client_isn: 528_643_112, server_isn: Some(4_130_871_517) };
    vec![
        (None, closed.clone()),
        (Some(at("eth0", V6)), Connection { half_closed: true, ..closed.clone() }),
        (
            Some(incomplete),
            Connection { partial: true, direction_inferred: true, lifetime_ns: None, ..closed.clone() },
        ),
        (
            None,
            Connection { resets_ignored: vec![doubtful(None), doubtful(None)], copies: 3, ..closed.clone() },
        ),
        (None, reset.clone()),
        (None, Connection { reset_by_another: Some(doubtful(Some(64))), ..reset }),
        (
            None,
            Connection { synacks_after_ack: 3, synack_again: Some(SynackAgain::NotAccepted), ..open.clone() },
        ),
        (None, Connection { other_view: Some(twice), copies: 9, ..open.clone() }),
        (None, Connection { outcome: Outcome::Reused, ..open.clone() }),
        (None, Connection { outcome: Outcome::Evicted, server_state: Some(State::CloseWait), ..open }),
    ]
}

/// Handshakes that failed.
fn failures() -> Vec<(Option<Common>, Connection)> {
    let unanswered = Connection {
        lifetime_ns: Some(7_164_000_000),
        start: seconds_ago(82),
        ..fixtures::unopened(Outcome::Unanswered)
    };
    let wrong = WrongAnswers {
        rsts: 5,
        rst_ack: Some(1000),
        synacks: 3,
        synack_ack: Some(778_777),
        synacks_reset: 3,
        expected: 1001,
    };
    let refused = Connection {
        lifetime_ns: Some(120_000),
        reset_by: Some(Role::Server),
        ..fixtures::unopened(Outcome::Refused)
    };
    let icmp = Connection {
        lifetime_ns: Some(120_000),
        syn_retransmits: 1,
        icmp_error: Some(fixtures::icmp_report()),
        ..fixtures::unopened(Outcome::RefusedIcmp)
    };
    let from: Address = fixtures::address(V6.1, 443);
    let report = IcmpReport { from: from.ip, ..fixtures::icmp_report() };
    vec![
        (None, refused.clone()),
        (
            Some(at("eth0", V6)),
            Connection { server_isn: Some(7), server_ttl: Some(58), reset_ttl: Some(28), ..refused },
        ),
        (None, icmp.clone()),
        (Some(at("eth0", V6)), Connection { icmp_error: Some(report), ..icmp }),
        (
            None,
            Connection {
                syn_retransmits: 3,
                syn_intervals_ns: vec![Some(1_020_000_000), Some(2_016_000_000), Some(4_128_000_000)],
                syn_backoff: Some(Backoff::Regular),
                ..unanswered.clone()
            },
        ),
        (None, Connection { wrong_answers: Some(wrong), ..unanswered.clone() }),
        (
            Some(at("eth0", V6)),
            Connection {
                answered_elsewhere: Some(from),
                earlier_closed_ns: Some(31_000_000_000),
                ..unanswered
            },
        ),
        (
            Some(at("veth01234567890", V6)),
            Connection { synack_retransmits: 5, ..fixtures::unopened(Outcome::SynackUnanswered) },
        ),
        (
            None,
            Connection {
                reset_by: Some(Role::Client),
                no_such_connection: true,
                ..fixtures::unopened(Outcome::Aborted)
            },
        ),
    ]
}

/// What shorter forms have that the long ones have not.
const OF_SHORT_FORMS: [&str; 10] =
    ["answer", "answers", "to", "no", "modulo", "roles", "on", "partial", "client", "server"];
/// The ends of words that are signs, and not theirs.
const SIGNS: [char; 6] = [',', ':', ';', '(', ')', ' '];

fn bare(word: &str) -> &str {
    word.trim_matches(SIGNS)
}

/// The numbers that only explain, and may go; and addresses, of which the middle may.
fn may_go(line: &str, word: &str) -> bool {
    let explains = |before: &str, after: &str| {
        let inside = line.split(before).skip(1).filter_map(|rest| rest.split_once(after));
        inside.flat_map(|(inside, _)| inside.split_whitespace()).any(|it| bare(it) == bare(word))
    };
    bare(word) == "ICMPv6"
        || word.starts_with('[') && word.contains("]:")
        || word.starts_with('§')
        || explains("(ICMP", ")")
        || explains("(RFC ", ")")
}

/// The part that is in sight of an address with its port is of that address.
fn is_of(shown: &str, whole: &str) -> bool {
    match shown.split_once('…') {
        None => shown == whole,
        Some((head, tail)) => {
            whole.starts_with(head)
                && whole.ends_with(tail)
                && (head.ends_with([':', '[']) && (tail.starts_with(':')))
                && head.len() + tail.len() < whole.len()
        }
    }
}

fn end(address: Address) -> String {
    let port = address.port;
    if address.ip.is_ipv6() { format!("[{}]:{port}", address.ip) } else { format!("{}:{port}", address.ip) }
}

/// What holds of each event's lines, beside the one line without a width.
fn judge(event: &Event, full: &str, fitted: &str, width: usize) {
    let context = || format!("at {width}:\n{full}\n{fitted}");
    let known: HashSet<_> = full.split_whitespace().map(bare).collect();
    let shown: HashSet<_> = fitted.split_whitespace().map(bare).collect();
    for line in fitted.lines() {
        // Others call interfaces what they like, at any length.
        let is_name = line.split_whitespace().count() == 1 || line.trim_start().starts_with("(on ");
        assert!(line.chars().count() <= width || is_name, "{}", context());
    }
    for word in shown.iter().filter(|word| !word.is_empty() && !word.contains('…')) {
        assert!(known.contains(word) || OF_SHORT_FORMS.contains(word), "{word} is broken {}", context());
    }
    let has_digits = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    for word in full.split_whitespace().filter(|word| has_digits(word)) {
        assert!(shown.contains(bare(word)) || may_go(full, word), "{word} is missing {}", context());
    }
    // A number and what it counts are on one line.
    let lines: Vec<_> = fitted.lines().collect();
    for pair in lines.windows(2) {
        let last = pair[0].split_whitespace().next_back().expect("a word");
        let ends_in_number = last.ends_with(|c: char| c.is_ascii_digit()) && !last.contains([':', '.']);
        let next = pair[1].split_whitespace().next().expect("a word");
        let is_unit = ["ms", "s", "B", "MB", "GB", "TB", "PB", "%", "SYNs", "RSTs"].contains(&bare(next));
        let is_counted = ends_in_number && !next.starts_with(['(', '+', '>']);
        assert!(!is_unit && !is_counted, "{next} is torn off {}", context());
    }
    let Some(common) = event.common() else { return };
    let first = fitted.lines().next().expect("a line").split_whitespace().collect::<Vec<_>>();
    let ends = [end(common.client), end(common.server)];
    let are_there = ends.iter().all(|end| first.iter().any(|word| is_of(word, end)));
    assert!(are_there, "{ends:?} {}", context());
    let label = full
        .split_whitespace()
        .find(|word| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c == '-'));
    if matches!(event, Event::Established(_) | Event::Connection(_)) {
        assert!(label.is_some_and(|label| first.contains(&label)), "{label:?} {}", context());
    }
}

#[test]
fn lines_fit_and_say_all_that_matters() {
    for width in [80, 100, 140] {
        for times in [TimeFormat::OfDay, TimeFormat::None, TimeFormat::Date] {
            let (mut endless, mut narrow) = (sink(None, times, false), sink(Some(width), times, false));
            let mut most = sink(Some(100_000), times, false);
            for event in catalogue() {
                let full = endless(&event);
                judge(&event, &full, &narrow(&event), width);
                assert_eq!(most(&event), full);
            }
        }
    }
}

#[test]
fn whatever_the_events_are() {
    for seed in 0..3000 {
        let width = [80, 100, 140][seed % 3];
        let events = Dice(seed as u64).events();
        // Names of interfaces of their own making would be in the way of telling words.
        let mut endless = sink(None, TimeFormat::OfDay, false);
        let mut narrow = sink(Some(width), TimeFormat::OfDay, false);
        for event in events {
            let (full, fitted) = (endless(&event), narrow(&event));
            assert_eq!(plain(&fitted.replace('\n', " ")), fitted.replace('\n', " "));
            judge(&event, &full, &fitted, width);
        }
    }
}

#[test]
fn colours_have_no_width() {
    let without = |text: String| {
        let pieces = text.split('\u{1b}').enumerate();
        let rest = |(nth, piece): (usize, &str)| {
            let at = if nth == 0 { 0 } else { piece.find('m').expect("an end") + 1 };
            piece[at..].to_owned()
        };
        pieces.map(rest).collect::<String>()
    };
    let (mut plain, mut colored) =
        (sink(Some(80), TimeFormat::OfDay, false), sink(Some(80), TimeFormat::OfDay, true));
    for event in catalogue() {
        assert_eq!(without(colored(&event)), plain(&event));
    }
}

#[test]
fn a_width_holds_from_the_next_line_on() {
    let width = Width::new(None);
    let options = TextOptions {
        interfaces: false,
        color: false,
        zone: TimeZone::UTC,
        times: TimeFormat::OfDay,
        width: width.clone(),
    };
    let mut sink = TextSink::new(options);
    let mut out = bytes::BytesMut::new();
    for columns in [None, Some(100), Some(72), None] {
        width.set(columns);
        sink.event(&Event::Established(fixtures::established()), &mut out);
    }
    assert_snapshot!(String::from_utf8_lossy(&out), @r"
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms
                     = syn 28.789 + ack 0.031
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80
                     28.820 ms  = syn 28.789 + ack 0.031
    06:59:50.293475  ESTABLISHED  192.168.64.128:60592 > 180.101.49.11:80   28.820 ms  = syn 28.789 + ack 0.031
    ");
}

/// For a person to read.
#[test]
fn at_80_100_and_140_columns() {
    for width in [80, 100, 140] {
        let text: String = catalogue().iter().map(sink(Some(width), TimeFormat::OfDay, false)).collect();
        assert_snapshot!(format!("at_{width}_columns"), text);
    }
}

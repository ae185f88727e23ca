//! What the board makes of events.

use super::{BEGIN, CLOSED, MS, OPEN, REFUSED, Traffic, services};
use std::convert::Infallible;
use tcptrace_core::{
    event::{Cgroup, Event, Kind, Outcome, Process, ProcessHow, RunId, Start, State},
    segment::Timestamp,
    top::{Board, By, Group, Key, Limits, Time},
};
use tcptrace_testing::stories;

fn group<'a>(board: &'a Board, by: By, name: &str) -> &'a Group {
    let all: Vec<_> = board.groups(by).collect();
    let found = all.iter().find(|group| group.key.to_string() == name);
    found.unwrap_or_else(|| {
        panic!("no {name} in {:?}", all.iter().map(|it| it.key.to_string()).collect::<Vec<_>>())
    })
}

#[test]
fn services_are_counted_as_they_are() {
    let board = services().board();
    let web = group(&board, By::Service, "10.0.0.80:80");
    assert_eq!((web.begun, web.open, web.established, web.failed.total()), (40, 0, 40, 0));
    assert_eq!(web.times(Time::Handshake).count, 40);
    let p50 = web.times(Time::Handshake).p50.expect("there are some");
    assert!(p50.abs_diff(10_100_000) < 100_000, "{p50}");
    assert_eq!(web.times(Time::Network).count, 40);
    let database = group(&board, By::Service, "10.0.0.81:5432");
    assert_eq!((database.begun, database.established, database.failed.of(Outcome::Refused)), (10, 2, 8));
    assert_eq!(database.failed_percent(), Some(80.0));
    assert_eq!(database.reason(), Some(Outcome::Refused));
    let other = group(&board, By::Service, "[2001:db8::53]:443");
    assert_eq!((other.begun, other.open), (3, 3));
    let reset = group(&board, By::Service, "10.0.0.80:8443");
    assert_eq!((reset.retries, reset.reset, reset.failed.total()), (1, 1, 0));
    let totals = board.totals();
    assert_eq!((totals.open, totals.begun, totals.established, totals.failed), (3, 54, 46, 8));
}

#[test]
fn every_grouping_has_every_connection_once() {
    let board = services().board();
    for by in By::ALL {
        let begun: u64 = board.groups(by).map(|group| group.begun).sum();
        let open: u64 = board.groups(by).map(|group| group.open).sum();
        assert_eq!((begun, open), (54, 3), "{by:?}");
    }
    assert_eq!(group(&board, By::Client, "2001:db8::3").begun, 3);
}

/// The last second of the rate is the one before the present, which is not over.
#[test]
fn rates_are_of_the_last_seconds_and_go_down_to_nothing() {
    let mut board = services().board();
    let rate = |board: &Board| group(board, By::Service, "10.0.0.80:80").recent.sum(board.now(), 10);
    board.advance(Timestamp(BEGIN + 20_000 * MS));
    assert_eq!(rate(&board), 20);
    board.advance(Timestamp(BEGIN + 40_000 * MS));
    assert_eq!(rate(&board), 0);
    // Time does not go back.
    board.advance(Timestamp(BEGIN));
    assert_eq!(board.now(), Timestamp(BEGIN + 40_000 * MS));
}

#[test]
fn an_open_connection_has_both_states_and_since_when() {
    let mut traffic = Traffic::default();
    let id = traffic.add(0, ["10.0.0.1", "10.0.0.2:80"], OPEN);
    let board = traffic.board();
    let open = board.open(id).expect("it is open");
    assert_eq!(open.handshake_ns, Some(12_200_000));
    for entered in open.states {
        let entered = entered.expect("both are known");
        assert_eq!(
            (entered.state, entered.since),
            (State::Established, Timestamp(BEGIN + 12 * MS + 200_000))
        );
    }
    let listed: Vec<_> = board.open_of(By::Service, &Key::Service(open.server)).map(|(id, _)| id).collect();
    assert_eq!(listed, [id]);
}

fn process(comm: &str) -> Process {
    Process {
        pid: Some(7),
        comm: Some(comm.into()),
        exe: None,
        uid: Some(0),
        user: None,
        how: Some(ProcessHow::Connect),
    }
}

/// Who uses a socket is told after the connection was first seen.
#[test]
fn a_connection_goes_to_the_group_that_turns_out_to_be_its_own() {
    let mut traffic = Traffic::default();
    let container = "0123456789abcdef".repeat(4);
    let told = |event: &mut Event| {
        let cgroup = || {
            Some(Cgroup {
                path: "/x".into(),
                unit: None,
                container: Some(container.as_str().into()),
                pod: None,
                pod_name: None,
            })
        };
        match event {
            Event::Established(event) => {
                (event.server_process, event.server_cgroup) = (Some(process("nginx")), cgroup());
            }
            Event::Connection(event) => {
                (event.server_process, event.server_cgroup) = (Some(process("nginx")), cgroup());
                event.first_data.server_name = Some("example.net".into());
            }
            _ => {}
        }
    };
    traffic.change(0, ["10.0.0.1", "10.0.0.2:443"], OPEN, told);
    traffic.change(10, ["10.0.0.1", "10.0.0.2:443"], CLOSED, told);
    traffic.change(20, ["10.0.0.1", "10.0.0.2:443"], REFUSED, |event| {
        if let Event::Connection(event) = event {
            event.client_process = Some(process("curl"));
        }
    });
    let board = traffic.board();
    let seen = |by| {
        let mut all: Vec<_> =
            board.groups(by).map(|group| (group.key.to_string(), group.begun, group.open)).collect();
        all.sort();
        all
    };
    assert_eq!(seen(By::Process), [("curl (client)".into(), 1, 0), ("nginx".into(), 2, 1)]);
    assert_eq!(seen(By::Container), [("(not known)".into(), 1, 0), ("0123456789ab".into(), 2, 1)]);
    assert_eq!(seen(By::Name), [("10.0.0.2:443".into(), 2, 1), ("example.net:443".into(), 1, 0)]);
    let service = group(&board, By::Service, "10.0.0.2:443");
    assert_eq!(service.name.as_deref(), Some("example.net"));
    for by in By::ALL {
        let minute: u64 =
            board.groups(by).map(|group| group.recent.sum(Timestamp(BEGIN + 5000 * MS), 60)).sum();
        assert_eq!(minute, 3, "{by:?}");
    }
}

/// Lines of JSON have the kinds of events that were asked for.
#[test]
fn what_events_do_not_tell_is_counted_from_those_that_do() {
    for kinds in [&[Kind::Connection][..], &[Kind::Connection, Kind::Established]] {
        let mut board = Board::new(Limits::default());
        for event in services().events().iter().filter(|event| kinds.contains(&event.kind())) {
            board.observe(event);
        }
        let web = group(&board, By::Service, "10.0.0.80:80");
        assert_eq!(
            (web.begun, web.open, web.established, web.times(Time::Handshake).count),
            (40, 0, 40, 40),
            "{kinds:?}"
        );
        let database = group(&board, By::Service, "10.0.0.81:5432");
        assert_eq!((database.begun, database.established, database.failed.total()), (10, 2, 8));
    }
}

#[test]
fn another_run_in_the_same_lines_has_other_connections() {
    let mut traffic = Traffic::default();
    let id = traffic.add(0, ["10.0.0.1", "10.0.0.2:80"], OPEN);
    let events = traffic.events();
    let mut board = Board::new(Limits::default());
    for run in [1, 2] {
        board.observe(&Event::Start(Box::new(Start {
            run: RunId::from_random([run; 16]),
            ..Start::default()
        })));
        for event in &events {
            board.observe(event);
        }
    }
    let service = group(&board, By::Service, "10.0.0.2:80");
    assert_eq!((service.begun, service.open), (2, 1));
    assert!(board.open(id).is_some());
}

#[test]
fn groups_are_bounded_and_nothing_is_lost_of_the_sums() {
    let mut board = Board::new(Limits::default());
    let mut traffic = Traffic::default();
    traffic.add(0, ["10.0.0.1", "10.0.0.2:80"], CLOSED);
    traffic.add(0, ["10.0.0.1", "10.0.0.2:80"], OPEN);
    let (mut id, mut opened) = (0, 0);
    for server in 0..3000_u32 {
        // The busy one is met again and again.
        for ip in [0x0a00_0002, 0x0b00_0000 + server] {
            for event in traffic.events() {
                let mut event = event;
                event.retime(|ts| Timestamp(ts.0 + u64::from(server) * MS));
                let common = event.common_mut().expect("of a connection");
                common.id += id;
                common.server.ip = std::net::Ipv4Addr::from(ip).into();
                board.observe(&event);
            }
            id += 2;
            opened += 1;
        }
    }
    let groups: Vec<_> = board.groups(By::Service).collect();
    assert!(groups.len() <= 513, "{}", groups.len());
    assert!(board.folded(By::Service) >= 2488);
    assert_eq!(groups.iter().map(|group| group.begun).sum::<u64>(), id);
    assert_eq!(groups.iter().map(|group| group.open).sum::<u64>(), opened);
    assert_eq!(groups.iter().map(|group| group.times(Time::Handshake).count).sum::<u64>(), id);
    assert_eq!(group(&board, By::Service, "10.0.0.2:80").begun, 6000);
    let others = group(&board, By::Service, "(others)");
    assert_eq!(board.open_of(By::Service, &Key::Other).count() as u64, others.open);
    // What is open among the others ends there.
    let before = others.open;
    let end =
        traffic.events().into_iter().rev().find(|event| event.kind() == Kind::Connection).expect("an end");
    let (first, _) = board.open_of(By::Service, &Key::Other).next().expect("some are open");
    let mut end = end;
    end.common_mut().expect("of a connection").id = first;
    board.observe(&end);
    assert_eq!(group(&board, By::Service, "(others)").open, before - 1);
}

#[test]
fn connections_beyond_the_limit_are_told_and_counted_when_they_end() {
    let mut board = Board::new(Limits { open: 10 });
    let mut traffic = Traffic::default();
    for _ in 0..25 {
        traffic.add(0, ["10.0.0.1", "10.0.0.2:80"], CLOSED);
    }
    let events = traffic.events();
    let half = events.iter().position(|event| event.kind() == Kind::Connection).expect("they end");
    events[..half].iter().for_each(|event| board.observe(event));
    assert_eq!(board.totals().open, 10);
    assert!(
        board.has_lost() && board.lost().contains("connections are not shown while they are open"),
        "{}",
        board.lost()
    );
    events[half..].iter().for_each(|event| board.observe(event));
    let totals = board.totals();
    assert_eq!((totals.open, totals.begun, totals.established), (0, 25, 25));
}

/// All ways that a connection can go: the sums are right whatever comes, and in whatever kinds of events.
#[test]
fn the_sums_hold_in_all_stories() {
    let mut seen = 0;
    for story in stories::all() {
        let Ok(script) = story.script() else { panic!("{}", story.name) };
        let Ok(played) = script.play(|input| Ok::<_, Infallible>(Some(input.clone())));
        let events: Vec<&Event> = played.events().collect();
        let mut board = Board::new(Limits::default());
        for event in &events {
            board.observe(event);
        }
        let ends = || {
            events.iter().filter_map(|event| if let Event::Connection(it) = event { Some(it) } else { None })
        };
        let count = |wanted: &dyn Fn(Outcome) -> bool| ends().filter(|it| wanted(it.outcome)).count();
        let totals = board.totals();
        let expected = (
            count(&|outcome| outcome == Outcome::Open),
            ends().count() as u64,
            ends().filter(|it| it.failed).count() as u64,
        );
        assert_eq!((totals.open, totals.begun, totals.failed), expected, "{}", story.name);
        for by in By::ALL {
            let sum = |of: fn(&Group) -> u64| board.groups(by).map(of).sum::<u64>();
            assert_eq!(
                (sum(|it| it.open), sum(|it| it.begun)),
                (totals.open as u64, totals.begun),
                "{}",
                story.name
            );
            assert_eq!(sum(|it| it.established), totals.established, "{}", story.name);
        }
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

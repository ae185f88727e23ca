//! Scripts of segments, a line each: `MILLISECONDS C|S FLAGS SEQ [ACK [PAYLOAD]]`, and what the tracker makes of them.

use super::super::{Config, Tracker};
use crate::{
    event::{AnomalyReason, Connection, Event, Role},
    segment::{Direction, Flow, Input, RawOptions, Segment, Sender, Timestamp},
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

pub(super) const CLIENT: ([u8; 4], u16) = ([192, 168, 64, 128], 60592);
pub(super) const SERVER: ([u8; 4], u16) = ([180, 101, 49, 11], 80);

pub(super) fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

pub(super) fn flow(from_client: bool) -> Flow {
    let (src, dst) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    Flow {
        src: mapped(src.0),
        dst: mapped(dst.0),
        src_port: src.1,
        dst_port: dst.1,
        interface: 1,
        vlan: [Flow::NO_VLAN; 2],
        ipv6: false,
    }
}

pub(super) fn flags(letters: &str) -> TcpFlags {
    letters.chars().fold(TcpFlags(0), |all, letter| {
        all.union(match letter {
            'F' => TcpFlags::FIN,
            'S' => TcpFlags::SYN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            '.' => TcpFlags::ACK,
            'U' => TcpFlags::URG,
            '-' => TcpFlags(0),
            other => panic!("no such flag: {other}"),
        })
    })
}

/// Milliseconds with up to six decimals, as nanoseconds.
pub(super) fn ns(ms: &str) -> u64 {
    let (whole, part) = ms.split_once('.').unwrap_or((ms, ""));
    format!("{whole}{part:0<6}").parse().expect("milliseconds")
}

pub(super) fn segment(line: &str) -> Segment {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| words.get(i).map_or(0, |w| w.parse::<u32>().expect("a number"));
    let flags = flags(words[2]);
    // MSS 1460.
    let options = RawOptions::new(&[2, 4, 5, 0xb4]);
    Segment {
        ts: Timestamp(1_000_000_000 + ns(words[0])),
        flow: flow(words[1] == "C"),
        flags,
        seq: SeqNum(number(3)),
        ack: SeqNum(number(4)),
        window: 14_600,
        payload_len: number(5),
        ttl: 64,
        options: flags.syn().then_some(options),
        direction: Direction::Unknown,
        sender: Sender::Unknown,
    }
}

pub(super) fn config() -> Config {
    Config::default()
}

pub(super) struct Run {
    pub(super) tracker: Tracker,
    pub(super) events: Vec<Event>,
}

impl Run {
    pub(super) fn new(config: Config) -> Self {
        let mut tracker = Tracker::new(config);
        tracker.name_interface(1, "eth0".into());
        Self { tracker, events: Vec::new() }
    }

    pub(super) fn feed(mut self, script: &str) -> Self {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            self = self.input(Input::Segment(segment(line)));
        }
        self
    }

    pub(super) fn input(mut self, input: Input) -> Self {
        let events = &mut self.events;
        self.tracker.input(&input, &mut |e| events.push(e));
        self
    }

    pub(super) fn tick(self, ms: &str) -> Self {
        self.input(Input::Tick(Timestamp(1_000_000_000 + ns(ms))))
    }

    pub(super) fn finish(mut self, ms: &str) -> Self {
        let events = &mut self.events;
        self.tracker.finish(Timestamp(1_000_000_000 + ns(ms)), &mut |e| events.push(e));
        self
    }

    pub(super) fn connections(&self) -> Vec<&Connection> {
        self.events
            .iter()
            .filter_map(|e| if let Event::Connection(c) = e { Some(&**c) } else { None })
            .collect()
    }

    pub(super) fn only(&self) -> &Connection {
        let all = self.connections();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0]
    }

    pub(super) fn anomalies(&self) -> Vec<(AnomalyReason, Option<u32>)> {
        self.events
            .iter()
            .filter_map(|e| if let Event::Anomaly(a) = e { Some((a.reason, a.expected)) } else { None })
            .collect()
    }

    /// `C SYN-SENT>ESTABLISHED`, with `?` where inferred.
    pub(super) fn transitions(&self) -> Vec<String> {
        self.events
            .iter()
            .filter_map(|e| match e {
                Event::Transition(t) => Some(format!(
                    "{} {}>{}{}",
                    if t.endpoint == Role::Client { "C" } else { "S" },
                    t.from.name(),
                    t.to.name(),
                    if t.inferred { "?" } else { "" }
                )),
                _ => None,
            })
            .collect()
    }

    pub(super) fn established(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, Event::Established(_))).count()
    }
}

pub(super) fn run(script: &str) -> Run {
    Run::new(config()).feed(script)
}

pub(super) const OPEN: &str = "
    0       C S  1000
    10      S S. 5000 1001
    10.1    C .  1001 5001";

pub(super) fn opened(rest: &str) -> Run {
    run(&format!("{OPEN}\n{rest}"))
}

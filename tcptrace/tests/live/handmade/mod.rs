//! Segments that no stack sends, sent by hand to a stack that must cope with them: a packet socket at one end of the
//! cable, whose own kernel keeps quiet, and at the other, traced, the real one. What tcptrace reports must be what the
//! kernel says of its socket, and the anomaly must be told.

mod both;
mod to_client;
mod to_server;

use crate::{
    frames::{ACK, FIN, SYN, Segment, Wire},
    lab::{Family, Host, Lab},
    loss::{Loss, PORTS},
    oracle::{
        all_closed,
        rules::{Step, Verdict, our_name, path},
        tracefs::{Recording, changes_when},
    },
    trace::{Trace, last_stats, of_flow},
    traffic::{Flow, acknowledge_now, read_to_end},
};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};

/// What must be reported of the connection of a case, in each family.
struct Expected {
    /// The kernel's end is the client's.
    local_is_client: bool,
    /// Of the connection, and then of what else was taken for one on its four-tuple.
    outcomes: &'static [&'static str],
    /// The reasons, in order.
    anomalies: &'static [&'static str],
    /// What the kernel says of its socket.
    path: &'static str,
    /// Why we legitimately say something else, if so.
    differs: Option<&'static str>,
}

const CLOSED_BY_CLIENT: &str = "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED";

/// A server that a hand-made client talks to, and that closes after it.
const SERVER: Expected = Expected {
    local_is_client: false,
    outcomes: &["closed"],
    anomalies: &[],
    path: CLOSED_BY_CLIENT,
    differs: None,
};

/// A client that a hand-made server answers, and that closes first.
const CLIENT: Expected = Expected {
    local_is_client: true,
    outcomes: &["closed"],
    anomalies: &[],
    path: "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED",
    differs: None,
};

/// Plays a case in both families and compares.
fn check(expected: &Expected, case: impl Fn(&Stage, &mut Peer<'_>)) {
    let stage = Stage::new();
    let recording = Recording::start(&PORTS, 2);
    let trace = Trace::all_events(&stage.lab.a, &[]);
    let flows = Family::BOTH.map(|family| {
        let (from, to) = if expected.local_is_client {
            (&stage.lab.a, &stage.lab.b)
        } else {
            (&stage.lab.b, &stage.lab.a)
        };
        let flow = Loss::Nothing.flow(from, to, family);
        let (me, other) =
            if expected.local_is_client { (flow.server, flow.client) } else { (flow.client, flow.server) };
        let mut peer = Peer { stage: &stage, me, other, next: 0xffff_fff0, ack: 0 };
        case(&stage, &mut peer);
        flow
    });
    // What the first of them is not, the trace reports when it ends.
    trace.wait_for_connections(flows.len());
    let sockets = flows.map(|flow| expected.local(flow));
    let changes =
        changes_when(&recording, "every local socket is closed", |changes| all_closed(&sockets, changes));
    let events = trace.stop().events();
    assert_eq!(last_stats(&events)["records_lost"], 0);
    for flow in flows {
        let (local, remote) = expected.local(flow);
        let kernel: Vec<_> = changes
            .iter()
            .filter(|change| (change.local, change.remote) == (local, remote))
            .map(|change| Step { from: our_name(&change.from), to: our_name(&change.to) })
            .collect();
        expected.check(flow, &kernel, &events);
    }
}

impl Expected {
    fn local(&self, flow: Flow) -> (SocketAddr, SocketAddr) {
        if self.local_is_client { (flow.client, flow.server) } else { (flow.server, flow.client) }
    }

    fn check(&self, flow: Flow, kernel: &[Step<'_>], events: &[Value]) {
        let mine: Vec<_> = of_flow(events, flow).collect();
        let of_kind = |kind: &'static str| mine.iter().filter(move |event| event["event"] == kind);
        let mut connections: Vec<_> = of_kind("connection").collect();
        connections.sort_by_key(|event| event["id"].as_u64());
        // How long it takes to the trace's end decides what a SYN without an answer is called.
        let outcomes: Vec<_> = connections
            .iter()
            .filter_map(|event| event["outcome"].as_str())
            .map(|outcome| if outcome == "unanswered" { "open" } else { outcome })
            .collect();
        assert_eq!(outcomes, self.outcomes, "{flow}: {mine:#?}");
        assert!(connections.iter().all(|event| event["complete"] == true), "{flow}: {mine:#?}");
        let anomalies: Vec<_> = of_kind("anomaly").filter_map(|event| event["reason"].as_str()).collect();
        assert_eq!(anomalies, self.anomalies, "{flow}: {mine:#?}");
        let endpoint = if self.local_is_client { "client" } else { "server" };
        let ours: Vec<_> = of_kind("transition")
            .filter(|event| event["endpoint"] == endpoint && event["id"] == connections[0]["id"])
            .filter_map(|event| Some(Step { from: event["from"].as_str()?, to: event["to"].as_str()? }))
            .collect();
        assert_eq!(path(kernel), self.path, "{flow}: the kernel's states");
        let agree = Verdict::of("", kernel, &ours).unexplained == 0;
        let why = self.differs.unwrap_or("they should agree");
        assert_eq!(
            agree,
            self.differs.is_none(),
            "{flow}, {why}:\n  kernel {kernel:?}\n  ours   {ours:?}\n{mine:#?}"
        );
    }
}

/// A cable between the traced host and one whose stack does not speak TCP.
struct Stage {
    lab: Lab,
    wire: Wire,
    /// The link-layer address of the traced host.
    mac: [u8; 6],
}

impl Stage {
    fn new() -> Self {
        let lab = Lab::new();
        let (wire, mac) = (Wire::of(&lab.b), Wire::of(&lab.a).mac);
        lab.b.filter(
            "table inet quiet { chain input { type filter hook input priority 0; meta l4proto tcp drop\n}\n}",
        );
        Self { lab, wire, mac }
    }

    /// The host with the real stack.
    fn host(&self) -> &Host {
        &self.lab.a
    }
}

/// The hand-made end of one connection.
struct Peer<'a> {
    stage: &'a Stage,
    me: SocketAddr,
    other: SocketAddr,
    /// The number of what it sends next. It starts close to the end, so that it wraps within each connection.
    next: u32,
    /// What it expects next.
    ack: u32,
}

impl Peer<'_> {
    /// The next segment in order, with so much data.
    fn segment(&self, flags: u8, payload: usize) -> Segment {
        Segment {
            from: self.me,
            to: self.other,
            flags,
            seq: self.next,
            ack: if flags & ACK == 0 { 0 } else { self.ack },
            window: 64_240,
            options: Vec::new(),
            payload: vec![b'x'; payload],
        }
    }

    fn send(&self, segment: &Segment) {
        let wire = &self.stage.wire;
        wire.send(&segment.frame(wire.mac, self.stage.mac));
    }

    /// Sends the next segment in order.
    fn say(&mut self, flags: u8, payload: usize) -> Segment {
        let segment = self.segment(flags, payload);
        self.send(&segment);
        self.next = self.next.wrapping_add(length(&segment));
        segment
    }

    /// Waits for such a segment of the other end.
    fn hear(&self, what: &str, is_such: impl Fn(&Segment) -> bool) -> Segment {
        let (me, other) = (self.me, self.other);
        self.stage.wire.receive(what, |segment| (segment.from, segment.to) == (other, me) && is_such(segment))
    }

    /// Waits for a segment with exactly these flags, but for PSH, and acknowledges it from now on.
    fn take(&mut self, what: &str, flags: u8) -> Segment {
        let segment = self.hear(what, |segment| segment.flags & !crate::frames::PSH == flags);
        self.ack = segment.seq.wrapping_add(length(&segment));
        segment
    }

    /// Waits until the other end acknowledges all that was sent.
    fn wait_until_acknowledged(&self) {
        let next = self.next;
        self.hear("an acknowledgement", |segment| segment.flags & ACK != 0 && segment.ack == next);
    }

    /// The client's part of the handshake.
    fn open(&mut self) {
        self.say(SYN, 0);
        self.take("the SYN-ACK", SYN | ACK);
        self.say(ACK, 0);
    }

    /// The close of a client that the other end's application follows.
    fn close(&mut self, server: TcpStream) {
        self.say(FIN | ACK, 0);
        read_to_end(&server);
        acknowledge_now(&server);
        drop(server);
        self.take("the server's FIN", FIN | ACK);
        self.say(ACK, 0);
    }
}

/// The numbers that a segment takes.
fn length(segment: &Segment) -> u32 {
    let control = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
    u32::try_from(segment.payload.len()).expect("small") + control
}

//! A firewall that loses chosen segments on their way in, so behind any tracer of the same host: by the port of the
//! server, and told apart by sets that remember connections.

use crate::{
    lab::{Host, eventually},
    traffic::{Flow, Kind},
};
use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicU16, Ordering},
};

/// What is lost of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Nothing,
    EverySyn,
    FirstSyn,
    FirstAck,
    /// Until the server has sent a SYN of its own.
    SynsUntilAnswered,
    /// Until the server has sent a FIN of its own.
    FinsUntilAnswered,
}

/// Each kind of loss has so many ports.
const EACH: u16 = 2000;

/// Ports of servers, above those of the clients in a lab.
pub(crate) const PORTS: RangeInclusive<u16> = 20_000..=20_000 + 6 * EACH - 1;

impl Loss {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Unanswered => Self::EverySyn,
            Kind::SynRetry => Self::FirstSyn,
            Kind::SynAckRetry => Self::FirstAck,
            Kind::SimultaneousOpen => Self::SynsUntilAnswered,
            Kind::SimultaneousClose => Self::FinsUntilAnswered,
            _ => Self::Nothing,
        }
    }

    fn ports(self) -> RangeInclusive<u16> {
        let first = PORTS.start() + EACH * self as u16;
        first..=first + EACH - 1
    }

    /// A port that no other connection of this run has for its server (but for very long runs).
    pub(crate) fn port(self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        self.ports().start() + NEXT.fetch_add(1, Ordering::Relaxed) % EACH
    }
}

/// Loads the rules.
pub(crate) fn lose_segments(host: &Host) {
    let to = |loss: Loss| format!("tcp dport {}-{}", loss.ports().start(), loss.ports().end());
    let from = |loss: Loss| format!("tcp sport {}-{}", loss.ports().start(), loss.ports().end());
    // A connection in these sets is what its client's segments have: protocol, source and destination port.
    let incoming = "meta nfproto . tcp sport . tcp dport";
    let outgoing = "meta nfproto . tcp dport . tcp sport";
    let are = |flags: &str| format!("tcp flags & (fin|syn|rst|ack) == {flags}");
    let first = |loss, flags| {
        format!("{} {} {incoming} != @lost add @lost {{ {incoming} }} drop", to(loss), are(flags))
    };
    let until_answered = |loss, flags| {
        format!("{} {} {incoming} != @answered add @lost {{ {incoming} }} drop", to(loss), are(flags))
    };
    let answer = |loss, flags| format!("{} {} add @answered {{ {outgoing} }}", from(loss), are(flags));
    let rules = [
        "table inet losses {".to_owned(),
        "set lost { type nf_proto . inet_service . inet_service; flags dynamic; size 65535; }".to_owned(),
        "set answered { type nf_proto . inet_service . inet_service; flags dynamic; size 65535; }".to_owned(),
        "chain input {".to_owned(),
        "type filter hook input priority 0".to_owned(),
        format!("{} drop", to(Loss::EverySyn)),
        first(Loss::FirstSyn, "syn"),
        first(Loss::FirstAck, "ack"),
        until_answered(Loss::SynsUntilAnswered, "syn"),
        until_answered(Loss::FinsUntilAnswered, "(fin|ack)"),
        "}".to_owned(),
        "chain output {".to_owned(),
        "type filter hook output priority 0".to_owned(),
        answer(Loss::SynsUntilAnswered, "syn"),
        answer(Loss::FinsUntilAnswered, "(fin|ack)"),
        "}".to_owned(),
        "}".to_owned(),
    ];
    host.filter(&rules.join("\n"));
}

/// Waits until a segment of this connection came there and was dropped. Even on a cable between namespaces that takes
/// its time, when the CPU has other packets to take care of.
pub(crate) fn wait_for_loss(host: &Host, flow: Flow) {
    let lost = format!(" . {} . {}", flow.client.port(), flow.server.port());
    eventually(&format!("{flow} loses a segment"), || {
        let seen = host.ns.run("nft", &["list", "set", "inet", "losses", "lost"]);
        if seen.contains(&lost) { Ok(()) } else { Err(seen) }
    });
}

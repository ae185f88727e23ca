//! A firewall that loses chosen segments: by the port of the server, and told apart by sets that remember connections.
//! On their way in they are lost behind any tracer of the same host, which has seen them; on their way out before it.

use crate::lab::{Family, Flow, Host, eventually};
use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering},
};

/// What is lost of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Nothing,
    EverySyn,
    FirstSyn,
    FirstAck,
    /// Until the server has sent a SYN of its own.
    SynsUntilAnswered,
    /// Until the server has sent a FIN of its own.
    FinsUntilAnswered,
    /// The first SYN-ACK.
    FirstSynAck,
    /// The client's first FIN.
    FirstFin,
    /// The acknowledgement of the server's FIN, the first time.
    LastAck,
    /// The same, and before the client's host has sent it.
    LastAckUnsent,
    /// Everything but SYNs that the client would send.
    ClientSilent,
    /// Every SYN, with a RST in answer.
    Rejected,
    /// Everything to and from one end, from when [`vanish`] says.
    UntilVanished,
}

/// Each kind of loss has so many ports.
const EACH: u16 = 1500;

/// Ports of servers, above those of the clients in a lab.
pub const PORTS: RangeInclusive<u16> = 20_000..=20_000 + 13 * EACH - 1;

/// Ports of clients.
pub const CLIENT_PORTS: RangeInclusive<u16> = 1024..=19_999;

impl Loss {
    pub fn ports(self) -> RangeInclusive<u16> {
        let first = PORTS.start() + EACH * self as u16;
        first..=first + EACH - 1
    }

    /// The ends of a connection that no other of this run has: the two ports go round at different lengths, so that
    /// a pair comes again after hundreds of thousands only.
    pub fn flow(self, from: &Host, to: &Host, family: Family) -> Flow {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        const CLIENTS: u32 = 1 + *CLIENT_PORTS.end() as u32 - *CLIENT_PORTS.start() as u32;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = |first: u16, n: u32| first + u16::try_from(n).expect("less than there are ports");
        Flow {
            client: SocketAddr::new(from.ip(family), port(*CLIENT_PORTS.start(), n % CLIENTS)),
            server: SocketAddr::new(to.ip(family), port(*self.ports().start(), n % u32::from(EACH))),
        }
    }
}

/// Loads the rules.
pub fn lose_segments(host: &Host) {
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
    let after_answer = |loss, flags| {
        format!(
            "{} {} {incoming} @answered {incoming} != @lost add @lost {{ {incoming} }} drop",
            to(loss),
            are(flags)
        )
    };
    let answer = |loss, flags| format!("{} {} add @answered {{ {outgoing} }}", from(loss), are(flags));
    let gone = format!(
        "{} {incoming} @gone drop\n{} {outgoing} @gone drop",
        to(Loss::UntilVanished),
        from(Loss::UntilVanished)
    );
    let set = |name, flags| {
        let key = "type nf_proto . inet_service . inet_service";
        format!("set {name} {{ {key}; flags {flags}; size 65535; }}")
    };
    // No connection takes that long, and without an end a long run would fill them.
    let passing = "dynamic, timeout; timeout 3m";
    let rules = [
        "table inet losses {".to_owned(),
        set("lost", passing),
        set("answered", passing),
        set("again", passing),
        set("gone", "dynamic"),
        "chain input {".to_owned(),
        "type filter hook input priority 0".to_owned(),
        "iifname lo accept".to_owned(),
        format!("{} drop", to(Loss::EverySyn)),
        first(Loss::FirstSyn, "syn"),
        first(Loss::FirstAck, "ack"),
        format!("{} {} {incoming} @lost add @again {{ {incoming} }}", to(Loss::FirstAck), are("ack")),
        until_answered(Loss::SynsUntilAnswered, "syn"),
        until_answered(Loss::FinsUntilAnswered, "(fin|ack)"),
        format!(
            "{} {} {outgoing} != @lost add @lost {{ {outgoing} }} drop",
            from(Loss::FirstSynAck),
            are("(syn|ack)")
        ),
        first(Loss::FirstFin, "(fin|ack)"),
        after_answer(Loss::LastAck, "ack"),
        format!("{} {} add @answered {{ {outgoing} }}", from(Loss::LastAckUnsent), are("(fin|ack)")),
        format!("{} reject with tcp reset", to(Loss::Rejected)),
        gone.clone(),
        "}".to_owned(),
        "chain output {".to_owned(),
        "type filter hook output priority 0".to_owned(),
        answer(Loss::SynsUntilAnswered, "syn"),
        answer(Loss::FinsUntilAnswered, "(fin|ack)"),
        answer(Loss::LastAck, "(fin|ack)"),
        after_answer(Loss::LastAckUnsent, "ack"),
        format!("{} tcp flags & (fin|syn|rst|ack) != syn drop", to(Loss::ClientSilent)),
        gone,
        "}".to_owned(),
        "}".to_owned(),
    ];
    host.filter(&rules.join("\n"));
}

/// From now on this host neither hears nor says anything of the connection, as if its power had gone.
pub fn vanish(host: &Host, flow: Flow) {
    let family = if flow.client.is_ipv4() { "ipv4" } else { "ipv6" };
    let element = format!("{{ {family} . {} . {} }}", flow.client.port(), flow.server.port());
    host.ns.run("nft", &["add", "element", "inet", "losses", "gone", &element]);
}

/// Waits until a segment of this connection came there and was dropped. Even on a cable between namespaces that takes
/// its time, when the CPU has other packets to take care of.
pub fn wait_for_loss(host: &Host, flow: Flow) {
    wait_for_set(host, "lost", flow);
}

/// Waits until the third segment, once lost, came again.
pub fn wait_for_second_try(host: &Host, flow: Flow) {
    wait_for_set(host, "again", flow);
}

fn wait_for_set(host: &Host, set: &str, flow: Flow) {
    let member = format!(" . {} . {}", flow.client.port(), flow.server.port());
    eventually(&format!("{flow} is among the {set}"), || {
        let seen = host.ns.run("nft", &["list", "set", "inet", "losses", set]);
        if seen.contains(&member) { Ok(()) } else { Err(seen) }
    });
}

//! A flood while real connections go on: they are reported right or said to be incomplete, every packet is counted, and
//! all of it passes.

use crate::{
    lab::{Family, Lab},
    load::Load,
    shedding::{assert_honest, count},
    trace::{Trace, last_stats, of_kind},
    traffic::{Flow, listener, local_address},
};
use serde_json::Value;
use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use tcptrace_testing::kernel::generator::{Generator, Sources, Target};

/// Packets at a time, and between them: what a tracer that was built for debugging cannot follow, but not so many that
/// nothing else has a processor.
const CHUNK: u32 = 4000;
const PAUSE: Duration = Duration::from_millis(10);
const CONNECTIONS: usize = 2000;
/// As much as the kernel's programs and a table of so many connections may take, and the rest of the process.
const MAX_CONNECTIONS: &str = "20000";
const LIMIT_KIB: u64 = 128 << 10;
const NOBODY: u16 = 9;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 0x10;
const FLAGS_OF_SYN_ACK: u8 = SYN | ACK;

/// Who is aimed at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    Listener,
    Nobody,
}

fn ethernet(lab: &Lab) -> [[u8; 6]; 2] {
    [&lab.b, &lab.a].map(|host| {
        let links: Value =
            serde_json::from_str(&host.ns.ip(&["-j", "link", "show", host.dev])).expect("JSON of ip");
        let address = links[0]["address"].as_str().expect("Ethernet");
        let octets = address.split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hexadecimal"));
        octets.collect::<Vec<_>>().try_into().expect("six octets")
    })
}

fn generator(lab: &Lab, port: u16, flags: u8) -> Generator {
    let IpAddr::V4(address) = lab.b.ip(Family::V4) else { panic!("IPv4") };
    let links: Value =
        serde_json::from_str(&lab.a.ns.ip(&["-j", "link", "show", lab.a.dev])).expect("JSON of ip");
    let device = links[0]["ifindex"].as_u64().and_then(|index| u32::try_from(index).ok()).expect("an index");
    let target = Target {
        device,
        ethernet: ethernet(lab),
        address: address.octets(),
        port,
        flags,
        sources: Sources::All,
    };
    lab.a.ns.enter(|| Generator::new(&target)).expect("root may load it")
}

/// Frames that the sender's device could not hand over.
fn dropped(lab: &Lab) -> u64 {
    let said = lab.a.ns.run("ethtool", &["-S", lab.a.dev]);
    let errors = said.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.ends_with("_xdp_xmit_errors").then(|| value.trim().parse::<u64>().expect("a number"))
    });
    errors.sum()
}

fn peak_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Packets with some control bits, from everywhere. They arrive at host `b`.
struct Flood {
    lab: Lab,
    generator: Generator,
    _listening: TcpListener,
}

impl Flood {
    fn new(flags: u8, aim: Aim) -> Self {
        let lab = Lab::new();
        lab.b.ns.ip(&["route", "add", "11.0.0.0/8", "via", &lab.a.ip(Family::V4).to_string()]);
        // Frames reach a veth without an XDP program only through its NAPI, which GRO switches on.
        lab.b.ns.run("ethtool", &["-K", lab.b.dev, "gro", "on"]);
        let listening = listener(&lab.b, SocketAddr::new(lab.b.ip(Family::V4), 0), 128);
        let port = if aim == Aim::Listener { local_address(&listening).port() } else { NOBODY };
        let generator = generator(&lab, port, flags);
        Self { lab, generator, _listening: listening }
    }

    /// Real connections to another port meanwhile, from when `begun` returns; and how many packets of the flood arrived.
    fn during(&self, begun: impl FnOnce()) -> (Vec<Flow>, u64) {
        let over = AtomicBool::new(false);
        let dropped_before = dropped(&self.lab);
        let load = Load { connections: CONNECTIONS, threads: 2, batch: 20, args: &[] };
        let (flows, sent) = thread::scope(|scope| {
            let flood = scope.spawn(|| {
                self.lab.a.ns.enter(|| {
                    let mut sent = 0;
                    while !over.load(Ordering::Relaxed) {
                        self.generator.send(CHUNK).expect("it is loaded");
                        sent += u64::from(CHUNK);
                        thread::sleep(PAUSE);
                    }
                    sent
                })
            });
            begun();
            let (flows, _) = load.drive(&self.lab);
            over.store(true, Ordering::Relaxed);
            (flows, flood.join().expect("the flood runs"))
        });
        (flows, sent - (dropped(&self.lab) - dropped_before))
    }
}

/// What is real is reported right or said to be incomplete. The tracer is where the packets arrive.
fn withstand(flags: u8, aim: Aim) {
    let flood = Flood::new(flags, aim);
    let events = ["--json", "--events", "connection,stats", "--max-connections", MAX_CONNECTIONS];
    let trace = Trace::start(&flood.lab.b, &[&events[..], &["--ring-size", "256K"]].concat());
    let (flows, arrived) = flood.during(|| trace.wait_for_lines(1, "\"admission_rate\":0."));
    trace.wait_for_notice("keeping up again");
    let peak = peak_kib(trace.id());
    let report = trace.stop();
    let events = report.many_events();
    let stats = last_stats(&events);
    let complete = assert_honest(&flows, &only_real(&events));
    eprintln!(
        "flood of flags {flags:#x}: {arrived} arrived, {complete} of {CONNECTIONS} complete, peak {peak} KiB of \
         {LIMIT_KIB}, lost {}, segments {}",
        stats["records_lost"], stats["segments"]
    );
    assert!(peak < LIMIT_KIB, "{peak} KiB");
    assert_eq!(stats["admission_rate"], 1.0, "{stats:#}");
    // What of each kind the real ones have. It is sent again where the host itself was too busy.
    let (kind, of_each) = match flags {
        SYN => ("syn", 1),
        FLAGS_OF_SYN_ACK => ("synack", 1),
        RST => ("rst", 0),
        _ => ("fin", 2),
    };
    let seen = count(stats, "segments", kind);
    let real = flows.len() as u64 * of_each;
    assert!((arrived + real..=arrived + real + real / 2).contains(&seen), "{seen} of {arrived} and {real}");
    flood.lab.b.assert_nothing_attached();
}

/// Without those that the flood pretends.
fn only_real(events: &[Value]) -> Vec<Value> {
    // Of a FIN nobody can say who is the client.
    let is_flood = |event: &&Value| {
        ["client", "server"]
            .iter()
            .any(|end| event[end]["ip"].as_str().is_some_and(|ip| ip.starts_with("11.")))
    };
    let of_flood: Vec<_> = of_kind(events, "connection").filter(is_flood).collect();
    assert!(of_flood.iter().all(|event| event["outcome"] != "closed"), "nobody closed any of these");
    events.iter().filter(|event| !is_flood(event)).cloned().collect()
}

#[test]
fn syns_to_a_listener() {
    withstand(SYN, Aim::Listener);
}

#[test]
fn syns_to_nobody() {
    withstand(SYN, Aim::Nobody);
}

#[test]
fn fins_on_unknown_flows() {
    withstand(FIN | ACK, Aim::Nobody);
}

#[test]
fn rsts_on_unknown_flows() {
    withstand(RST, Aim::Nobody);
}

/// Each announces an acknowledgement, which takes a place in the table from somebody.
#[test]
fn syn_acks_that_nobody_asked_for() {
    withstand(FLAGS_OF_SYN_ACK, Aim::Nobody);
}

/// Nobody waits for them: they are not even recorded, and what is real is not touched.
#[test]
fn acks_of_unknown_flows() {
    let flood = Flood::new(ACK, Aim::Nobody);
    // No answers: a RST for each would be a flood of its own. The tracer sees a packet before this does.
    flood.lab.b.filter(&format!(
        "table inet quiet {{ chain input {{ type filter hook input priority 0; tcp dport {NOBODY} drop\n}}\n}}"
    ));
    let events = ["--json", "--events", "connection,stats", "--ring-size", "16M"];
    let trace = Trace::start(&flood.lab.b, &events);
    let (flows, arrived) = flood.during(|| ());
    trace.wait_for_connections(flows.len());
    let events = trace.stop().many_events();
    let stats = last_stats(&events);
    eprintln!("flood of acknowledgements: {arrived} arrived, segments {}", stats["segments"]);
    assert_eq!(assert_honest(&flows, &events), flows.len(), "all are complete");
    assert!(stats["tcp_packets"].as_u64() > Some(arrived), "{arrived} arrived: {stats:#}");
    // One of each handshake, and one or two of each end, as FIN and ACK merge or not.
    let acks = count(stats, "segments", "ack");
    let real = flows.len() as u64;
    assert!((2 * real..=4 * real).contains(&acks), "{acks} records of {arrived} and {real}");
    flood.lab.b.assert_nothing_attached();
}

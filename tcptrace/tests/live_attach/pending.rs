//! The table of expected acknowledgements, full of what nobody will acknowledge: it empties again, and what fails in earnest
//! is complete from then on.

use super::{config, open, pair, skips::skip, within};
use crate::netns::{Netns, kernel_is};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};
use tcptrace::{
    event::{Connection, Event},
    segment::Input,
    source::{
        clock::monotonic_now,
        live::{LiveConfig, LiveSource},
    },
    track::{Config, Tracker},
};
use tcptrace_testing::kernel::generator::{Generator, Sources, Target};

const SYN_ACK: u8 = 0x12;
/// 128 words, so that few packets fill them.
const BUCKETS: u32 = 16;
const WORDS: u64 = BUCKETS as u64 * 8;
const PERIOD: Duration = Duration::from_secs(3);

fn ethernet(ns: &Netns, device: &str) -> [u8; 6] {
    let text = ns.enter(|| fs::read_to_string(format!("/sys/class/net/{device}/address")));
    let text = text.unwrap_or_else(|_| address_by_ip(ns, device));
    let octets = text.trim().split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hexadecimal"));
    octets.collect::<Vec<_>>().try_into().expect("six octets")
}

/// Where /sys shows another namespace's devices.
fn address_by_ip(ns: &Netns, device: &str) -> String {
    let shown = ns.ip(&["-o", "link", "show", device]);
    let words: Vec<_> = shown.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").expect("Ethernet");
    words[at + 1].to_owned()
}

fn index(ns: &Netns, device: &str) -> u32 {
    let shown = ns.ip(&["-o", "link", "show", device]);
    shown.split(':').next().and_then(|index| index.parse().ok()).expect("an index")
}

/// SYN-ACKs from everywhere, to `tt0`.
fn flood(here: &Netns, there: &Netns, packets: u32) {
    let target = Target {
        device: index(there, "tt1"),
        ethernet: [ethernet(here, "tt0"), ethernet(there, "tt1")],
        address: [10, 77, 0, 1],
        port: 9,
        flags: SYN_ACK,
        sources: Sources::All,
    };
    there.enter(|| Generator::new(&target).expect("root may load it").send(packets).expect("it is sent"));
}

/// Reads until something holds.
async fn read(source: &mut LiveSource, inputs: &mut Vec<Input>, mut holds: impl FnMut(&LiveSource) -> bool) {
    let start = Instant::now();
    while !holds(source) {
        assert!(start.elapsed() < super::DEADLINE, "{:?}", source.counters());
        let batch = tokio::time::timeout(Duration::from_millis(200), source.next_batch(inputs)).await;
        batch.unwrap_or(Ok(tcptrace::source::live::AfterBatch::More)).expect("input");
    }
}

/// A handshake whose last acknowledgement is dropped within this host: the server's SYN-ACK is answered by nothing that
/// passes here.
fn fail(port: u16) -> TcpStream {
    let address = SocketAddr::from((super::SERVER, port));
    TcpStream::connect_timeout(&address, super::DEADLINE).expect("the server listens")
}

/// What a tracker makes of it: the connections to that port of the server, and not those of the flood that happen to
/// have its number.
pub(super) fn connections(inputs: &[Input], port: u16) -> Vec<Connection> {
    let mut tracker = Tracker::new(Config::default());
    let mut found = Vec::new();
    let mut sink = |event: Event| {
        if let Event::Connection(connection) = event
            && connection.common.server.ip == super::SERVER
            && connection.common.server.port == port
        {
            found.push(*connection);
        }
    };
    for input in inputs {
        tracker.input(input, &mut sink);
    }
    tracker.finish(monotonic_now(), &mut sink);
    found
}

fn complete(inputs: &[Input], port: u16) -> Vec<bool> {
    connections(inputs, port).iter().map(|it| it.common.complete).collect()
}

#[test]
fn a_table_full_of_what_nobody_acknowledges_empties_again() {
    if !kernel_is(5, 18) {
        return skip("a table full of words", "before Linux 5.18 no program sends frames fast enough");
    }
    let (here, there) = pair();
    here.ip(&["route", "add", "11.0.0.0/8", "via", "10.77.0.2"]);
    // Frames reach a veth without an XDP program only through its NAPI, which GRO switches on.
    here.run("ethtool", &["-K", "tt0", "gro", "on"]);
    let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let listeners = there.enter(|| [listen(), listen()]);
    let ports = listeners.each_ref().map(|it| it.local_addr().expect("bound").port());
    for rule in [
        "add table ip tt",
        "add chain ip tt in { type filter hook input priority 0; }",
        "add rule ip tt in ip saddr 11.0.0.0/8 drop",
        "add chain ip tt out { type filter hook output priority 0; }",
        "add rule ip tt out tcp flags == ack drop",
    ] {
        here.run("nft", &[rule]);
    }
    within(&here, async || {
        let mut config = LiveConfig { pending_for: PERIOD, ..config("tt0") };
        config.load.pending_buckets = BUCKETS;
        let (mut source, _) = open(&config);
        let overwrites = |source: &LiveSource| source.counters().expect("counters").pending_overwrites;
        flood(&here, &there, 2000);
        let mut inputs = Vec::new();
        read(&mut source, &mut inputs, |it| overwrites(it) > WORDS).await;
        let client = here.enter(|| fail(ports[0]));
        read(&mut source, &mut inputs, |it| it.counters().expect("counters").segments.syn == 1).await;
        // Two looks at each word, and the second is late by a tick.
        read(&mut source, &mut inputs, |it| it.pending_expired() >= WORDS).await;
        let before = overwrites(&source);
        flood(&here, &there, 20);
        let again = here.enter(|| fail(ports[1]));
        read(&mut source, &mut inputs, |it| it.counters().expect("counters").segments.syn == 2).await;
        source.finish(&mut inputs).expect("it finishes");
        assert_eq!(overwrites(&source), before, "there was room for all");
        drop((client, again));
        assert_eq!(complete(&inputs, ports[0]), [false], "its acknowledgement's place may have been taken");
        assert_eq!(complete(&inputs, ports[1]), [true], "{:#?}", connections(&inputs, ports[1]));
    });
}

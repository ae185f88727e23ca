//! What a socket knows at the end, beside what `ss` said of it a moment before (`getsockopt(TCP_INFO)` says the same).

use crate::Test;
use serde_json::Value;
use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tcptrace_testing::{
    lab::{Family, Flow, Host, Lab, eventually},
    trace::{Trace, flow_of, of_kind},
    traffic::reset,
};

pub(crate) const TESTS: &[Test] = &[
    ("numbers::under_loss_as_the_kernel_says", under_loss_as_the_kernel_says),
    ("numbers::beyond_4_gib", beyond_4_gib),
    ("numbers::with_a_reset", with_a_reset),
];

/// Connections under loss.
const CONNECTIONS: usize = 100;
/// Octets that each end sends.
const OCTETS: usize = 60_000;

/// What `ss` says of the connections of a host, by the names that it uses.
fn ss(host: &Host) -> HashMap<SocketAddr, HashMap<String, String>> {
    let text = host.ns.run("ss", &["-tinHO"]);
    text.lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let local = words[3].parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            let values = words.iter().filter_map(|word| word.split_once(':'));
            (local, values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        })
        .collect()
}

/// Compares what a socket knew at the end with what `ss` said.
fn check(socket: &Value, said: &HashMap<String, String>) {
    let count = |name: &str| said.get(name).map_or(0, |value| value.parse::<u64>().expect("a number"));
    let milliseconds = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let part = format!("{part:0<6}");
        whole.parse::<u64>().expect("a number") * 1_000_000 + part[..6].parse::<u64>().expect("a number")
    };
    let told = |name: &str| socket[name].as_u64().unwrap_or_else(|| panic!("{name}: {socket}"));
    assert_eq!(socket["at"], "fin");
    let rtt = milliseconds(said["rtt"].split('/').next().expect("two values"));
    // `ss` says whole microseconds.
    assert!(told("rtt_ns").abs_diff(rtt) < 1000, "{socket} {said:?}");
    assert_eq!(told("min_rtt_ns"), milliseconds(&said["minrtt"]), "{socket} {said:?}");
    let retransmits = said.get("retrans").and_then(|both| both.split_once('/')).map_or("0", |(_, all)| all);
    assert_eq!(told("retransmits"), retransmits.parse::<u64>().expect("a number"), "{socket} {said:?}");
    assert_eq!(told("bytes_acked"), count("bytes_acked"), "{socket} {said:?}");
    // The FIN came after that.
    assert_eq!(told("segments_out"), count("segs_out") + 1, "{socket} {said:?}");
    assert_eq!(told("cwnd"), count("cwnd"), "{socket} {said:?}");
}

fn under_loss_as_the_kernel_says() {
    let lab = Lab::new();
    for host in [&lab.a, &lab.b] {
        host.filter(
            "table ip l {\n chain i {\n  type filter hook input priority 0;\n  ip length > 500 numgen inc mod 7 0 drop\n }\n}\n",
        );
    }
    let listener = lab.b.ns.enter(|| TcpListener::bind((lab.b.ip(Family::V4), 0)).expect("its own address"));
    let to = listener.local_addr().expect("bound");
    // Without their packets being joined or split, each loss is of one segment.
    let traces = [&lab.a, &lab.b].map(|host| Trace::start(host, &["--json", "--events", "connection"]));
    let clients: Vec<TcpStream> =
        lab.a.ns.enter(|| (0..CONNECTIONS).map(|_| TcpStream::connect(to).expect("it listens")).collect());
    let servers: Vec<TcpStream> =
        clients.iter().map(|_| listener.accept().expect("a connection").0).collect();
    let exchange = |mut stream: &TcpStream| {
        let mut writer = stream.try_clone().expect("a descriptor");
        let writing = thread::spawn(move || writer.write_all(&vec![7; OCTETS]).expect("the peer reads"));
        stream.read_exact(&mut vec![0; OCTETS]).expect("the peer writes");
        writing.join().expect("it writes");
    };
    thread::scope(|scope| {
        for stream in clients.iter().chain(&servers) {
            scope.spawn(move || exchange(stream));
        }
    });
    // Everything is acknowledged, and no acknowledgement is delayed any more.
    let hosts = [&lab.a, &lab.b];
    let mut said = [ss(&lab.a), ss(&lab.b)];
    eventually("the connections are quiet", || {
        thread::sleep(Duration::from_millis(400));
        let now = hosts.map(ss);
        let quiet = now.iter().zip(&said).all(|(now, before)| {
            now.iter().all(|(end, values)| {
                let same = |name: &str| before.get(end).is_some_and(|old| old.get(name) == values.get(name));
                same("segs_out") && same("segs_in") && !values.contains_key("unacked")
            })
        });
        said = now;
        if quiet { Ok(()) } else { Err("not yet".to_owned()) }
    });
    drop((clients, servers));
    let [there, here] = traces.map(|trace| {
        trace.wait_for_connections(CONNECTIONS);
        trace.stop().events()
    });
    for (events, said, end) in [(there, &said[0], "client"), (here, &said[1], "server")] {
        let mut compared = 0;
        for event in of_kind(&events, "connection") {
            let Flow { client, server } = flow_of(event);
            // The server has one address for all; `ss` is asked by the client's port there.
            let local = if end == "client" { client } else { server };
            let other = if end == "client" { "server_socket" } else { "client_socket" };
            assert_eq!(event[other], Value::Null, "{event}");
            assert_eq!(
                (event["client_bytes"].as_u64(), event["server_bytes"].as_u64()),
                (Some(60_000), Some(60_000))
            );
            if end == "client" {
                check(&event["client_socket"], &said[&local]);
            } else {
                assert!(event["server_socket"]["retransmits"].is_u64(), "{event}");
            }
            compared += 1;
        }
        assert_eq!(compared, CONNECTIONS);
    }
}

fn beyond_4_gib() {
    const MORE: u64 = (4 << 30) + 12_345;
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    host.ns.enter(|| {
        let listener = TcpListener::bind((host.ip(Family::V4), 0)).expect("its own address");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut server, _) = listener.accept().expect("a connection");
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            let mut read = 0;
            loop {
                match server.read(&mut buffer).expect("the client writes") {
                    0 => break read,
                    n => read += n as u64,
                }
            }
        });
        let buffer = vec![0; 1 << 20];
        let mut left = MORE;
        while left > 0 {
            let n = left.min(buffer.len() as u64);
            client.write_all(&buffer[..usize::try_from(n).expect("small")]).expect("the server reads");
            left -= n;
        }
        drop(client);
        assert_eq!(reading.join().expect("it reads"), MORE);
    });
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let event = of_kind(&events, "connection").next().expect("one");
    assert_eq!(
        (event["client_bytes"].as_u64(), event["server_bytes"].as_u64()),
        (Some(MORE), Some(0)),
        "{event}"
    );
    assert_eq!(event["bytes_mod_4gib"], false, "{event}");
    // The kernel counts the SYN as an octet here, and the FIN there.
    assert_eq!(event["client_socket"]["bytes_acked"].as_u64().map(|n| n <= MORE + 1), Some(true), "{event}");
    assert_eq!(event["server_socket"]["bytes_received"], MORE + 1, "{event}");
}

fn with_a_reset() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    host.ns.enter(|| {
        let listener = TcpListener::bind((host.ip(Family::V4), 0)).expect("its own address");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (server, _) = listener.accept().expect("a connection");
        reset(client, &server);
        // Nothing listens there any more, and the host refuses.
        let gone = listener.local_addr().expect("bound");
        drop((server, listener));
        TcpStream::connect(gone).expect_err("it is refused");
    });
    trace.wait_for_connections(2);
    let events = trace.stop().events();
    let of = |outcome: &'static str| of_kind(&events, "connection").find(move |it| it["outcome"] == outcome);
    let reset = of("reset").expect("one");
    assert_eq!(
        (&reset["reset_by"], &reset["client_socket"]["at"]),
        (&"client".into(), &"rst".into()),
        "{reset}"
    );
    // The RST that refuses is of a socket of the kernel's own.
    let refused = of("refused").expect("one");
    assert_eq!(
        (&refused["client_socket"], &refused["server_socket"]),
        (&Value::Null, &Value::Null),
        "{refused}"
    );
    assert_eq!(refused["server_process"], Value::Null, "{refused}");
}

//! The first request and the first answer, against what the server itself says of them.

use crate::{
    lab::{Family, Lab},
    trace::{Trace, of_kind},
    traffic::{acknowledge_now, listener},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 200;
const REQUEST: usize = 300;
const ANSWER: usize = 5000;

/// How long the server of these tests thinks before its answer to the connection with this number.
fn thinks(number: usize) -> Duration {
    Duration::from_micros(500 + 100 * (number as u64 % 40))
}

/// Serves connections one after the other, and returns its log: by the client's port the nanoseconds from when the request was
/// there until the answer was sent.
fn serve(listener: &TcpListener) -> HashMap<u16, u64> {
    let one = |number| {
        let (mut stream, client) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("a socket");
        let mut request = [0; REQUEST];
        // A thread that waits for a CPU would have its own time in the log.
        while let Err(error) = stream.read_exact(&mut request) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        let asked = Instant::now();
        thread::sleep(thinks(number));
        let log = asked.elapsed();
        stream.set_nonblocking(false).expect("a socket");
        stream.write_all(&[7; ANSWER]).expect("it takes it");
        (client.port(), u64::try_from(log.as_nanos()).expect("less than centuries"))
    };
    (0..CONNECTIONS).map(one).collect()
}

/// Returns the client's port, and the nanoseconds from before the request until the answer had begun.
fn ask(server: SocketAddr) -> (u16, u64) {
    let mut stream = TcpStream::connect(server).expect("it listens");
    let port = stream.local_addr().expect("a socket").port();
    let asked = Instant::now();
    stream.write_all(&[1; REQUEST]).expect("it takes it");
    stream.read_exact(&mut [0]).expect("it answers");
    let log = asked.elapsed();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it answers");
    assert_eq!(1 + rest.len(), ANSWER);
    (port, u64::try_from(log.as_nanos()).expect("less than centuries"))
}

/// The connections of a trace by the client's port.
fn connections(events: &[Value]) -> HashMap<u16, &Value> {
    let port = |event: &Value| event["client"]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    of_kind(events, "connection").map(|event| (port(event).expect("a port"), event)).collect()
}

fn ns(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("{field} in {event}"))
}

/// What is seen covers the server's log and is covered by the client's: on the server's host it begins as the request comes in
/// and ends as the answer goes out, on the client's host the other way round. Between these and the logs are the ways through
/// the stacks, and whatever else runs on the machine: so there is no bound on how much lies between them.
#[test]
fn what_the_server_takes_is_what_its_log_says() {
    let lab = Lab::new();
    let (client, server) =
        (Trace::all_events(&lab.a, &["--first-byte"]), Trace::all_events(&lab.b, &["--first-byte"]));
    let address = SocketAddr::new(lab.b.ip(Family::V4), 80);
    let listening = listener(&lab.b, address, 16);
    let (log, asked) = thread::scope(|scope| {
        let log = scope.spawn(|| serve(&listening));
        let asked: HashMap<u16, u64> = lab.a.ns.enter(|| (0..CONNECTIONS).map(|_| ask(address)).collect());
        (log.join().expect("the server ends"), asked)
    });
    server.wait_for_connections(CONNECTIONS);
    client.wait_for_connections(CONNECTIONS);
    let (at_client, at_server) = (client.stop().events(), server.stop().events());
    let (at_client, at_server) = (connections(&at_client), connections(&at_server));
    assert_eq!((log.len(), at_client.len(), at_server.len()), (CONNECTIONS, CONNECTIONS, CONNECTIONS));
    let mut beyond_log = Vec::new();
    for (port, logged) in &log {
        let (there, here) = (at_server[port], at_client[port]);
        let seen = ns(there, "first_response_server_ns");
        assert_eq!(seen, ns(there, "first_response_ns"), "on the server's host all of it is the server's");
        assert!(seen >= *logged, "{seen} ns for {logged} ns: {there}");
        beyond_log.push(seen - logged);
        let whole = ns(here, "first_response_ns");
        assert!(whole >= seen, "{whole} ns on the client's host, {seen} ns on the server's");
        assert!(asked[port] >= whole, "{} ns for the client, {whole} ns: {here}", asked[port]);
        assert_eq!(
            ns(here, "first_response_server_ns"),
            whole.saturating_sub(ns(here, "network_rtt_ns")),
            "{here}"
        );
        for event in [there, here] {
            assert_eq!(event["server_spoke_first"], false);
            let (request, answer) = (ns(event, "client_first_data_ns"), ns(event, "server_first_data_ns"));
            assert_eq!(answer - request, ns(event, "first_response_ns"), "{event}");
        }
    }
    beyond_log.sort_unstable();
    let [median, p99] = [CONNECTIONS / 2, CONNECTIONS * 99 / 100].map(|place| beyond_log[place]);
    eprintln!(
        "beyond the server's log: {median} ns in the median, {p99} ns at p99, {:?} at most",
        beyond_log.last()
    );
}

/// The server greets in a single write that segmentation offload makes one packet of, and the client says little and late.
#[test]
fn a_server_that_greets_spoke_first() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["--first-byte"]);
    let address = SocketAddr::new(lab.b.ip(Family::V6), 25);
    let greeting = vec![7; 60_000];
    let listening = listener(&lab.b, address, 16);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listening.accept().expect("a client");
            stream.write_all(&greeting).expect("it takes it");
            let mut said = Vec::new();
            stream.read_to_end(&mut said).expect("it ends");
            assert_eq!(said, b"QUIT");
        });
        lab.a.ns.enter(|| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.read_exact(&mut vec![0; 60_000]).expect("it greets");
            acknowledge_now(&stream);
            stream.write_all(b"QUIT").expect("it takes it");
        });
    });
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let [event] = of_kind(&events, "connection").collect::<Vec<_>>()[..] else { panic!("{events:?}") };
    assert_eq!(event["server_spoke_first"], true, "{event}");
    assert!(ns(event, "client_first_data_ns") > ns(event, "server_first_data_ns"), "{event}");
    assert_eq!(
        (&event["first_response_ns"], &event["first_response_server_ns"]),
        (&Value::Null, &Value::Null)
    );
    let data = of_kind(&events, "segment").filter(|it| it["payload_bytes"].as_u64() > Some(0));
    assert_eq!(data.count(), 2, "one of each end, whichever others there were");
}

/// A `ClientHello` of some 1,800 octets, as one with a post-quantum key has, whose name and protocols come last.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let vector = |len: usize, octets: &[u8]| {
        [&u32::try_from(octets.len()).expect("short").to_be_bytes()[4 - len..], octets].concat()
    };
    let named = vector(2, &[&[0][..], &vector(2, name)].concat());
    let alpn = vector(2, &[vector(1, b"h2"), vector(1, b"http/1.1")].concat());
    let extensions =
        [&[0, 51][..], &vector(2, &[5; 1700]), &[0, 0], &vector(2, &named), &[0, 16], &vector(2, &alpn)]
            .concat();
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &vector(2, &extensions)].concat();
    [&[22, 3, 1][..], &vector(2, &[&[1][..], &vector(3, &body)].concat())].concat()
}

/// The names are those that clients ask for; of other data, and of what servers say, nothing is read.
#[test]
fn the_server_that_is_asked_has_a_name() {
    const TO_CLIENT: &[u8] = b"GET / HTTP/1.1\r\nHost: of-the-server.example\r\n\r\n";
    let lab = Lab::new();
    let (client, server) =
        (Trace::all_events(&lab.a, &["--server-name"]), Trace::all_events(&lab.b, &["--server-name"]));
    let address = SocketAddr::new(lab.b.ip(Family::V6), 443);
    let listening = listener(&lab.b, address, 16);
    let hello = client_hello(b"tls.example");
    let requests: [&[u8]; 4] =
        [&hello, b"GET / HTTP/1.1\r\nHost: http.example:8080\r\n\r\n", b"EHLO mail.example\r\n", &[0; 3000]];
    thread::scope(|scope| {
        scope.spawn(|| {
            for request in requests {
                let (mut stream, _) = listening.accept().expect("a client");
                stream.read_exact(&mut vec![0; request.len()]).expect("it asks");
                stream.write_all(TO_CLIENT).expect("it takes it");
            }
        });
        lab.a.ns.enter(|| {
            for request in requests {
                let mut stream = TcpStream::connect(address).expect("it listens");
                stream.write_all(request).expect("it takes it");
                stream.read_to_end(&mut Vec::new()).expect("it answers");
            }
        });
    });
    for trace in [client, server] {
        trace.wait_for_connections(requests.len());
        let events = trace.stop().events();
        let names: Vec<_> = of_kind(&events, "connection")
            .map(|it| json!([it["server_name"], it["alpn"], it["http_host"], it["server_spoke_first"]]))
            .collect();
        assert_eq!(
            names,
            [
                json!(["tls.example", ["h2", "http/1.1"], null, false]),
                json!([null, null, "http.example:8080", false]),
                json!([null, null, null, false]),
                json!([null, null, null, false]),
            ]
        );
    }
}

/// Without the option no data is recorded.
#[test]
fn nothing_is_told_of_data_that_nobody_asked_for() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &[]);
    let address = SocketAddr::new(lab.b.ip(Family::V4), 80);
    let listening = listener(&lab.b, address, 16);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listening.accept().expect("a client");
            stream.read_exact(&mut [0; REQUEST]).expect("it asks");
            stream.write_all(&[7; ANSWER]).expect("it takes it");
        });
        lab.a.ns.enter(|| ask(address));
    });
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let [event] = of_kind(&events, "connection").collect::<Vec<_>>()[..] else { panic!("{events:?}") };
    for field in ["client_first_data_ns", "server_first_data_ns", "first_response_ns", "server_spoke_first"] {
        assert_eq!(event[field], Value::Null, "{field}");
    }
    let data = of_kind(&events, "segment").filter(|it| it["payload_bytes"].as_u64() > Some(0));
    assert_eq!(data.filter(|it| it["flags"] == "P.").count(), 0);
}

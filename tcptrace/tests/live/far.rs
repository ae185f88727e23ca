//! What real stacks do that only few connections have: gigabytes before the end, and a socket that is connected to itself.

use crate::{lab::Host, trace::Trace};
use rustix::net::{AddressFamily, SocketType, bind, connect, shutdown, socket, sockopt};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// More than half of the numbers, and less than all of them.
const OCTETS: u64 = 3 << 30;

/// Sends as much from one end to the other; these are then as they were before.
fn send_much(client: &mut TcpStream, server: &mut TcpStream) {
    const CHUNK: usize = 1 << 20;
    let mut reader = server.try_clone().expect("a descriptor is free");
    let reading = thread::spawn(move || {
        let mut left = usize::try_from(OCTETS).expect("64 bits");
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            left -= reader.read(&mut buffer).expect("it is open");
        }
    });
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..OCTETS / CHUNK as u64 {
        client.write_all(&chunk).expect("it is open");
    }
    reading.join().expect("all came");
}

fn connected(host: &Host, port: u16) -> (TcpStream, TcpStream) {
    host.ns.enter(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens");
        (client, listener.accept().expect("it came").0)
    })
}

fn the_only(events: &[Value]) -> &Value {
    let mut connections = events.iter().filter(|event| event["event"] == "connection");
    let connection = connections.next().expect("one connection");
    assert_eq!(connections.next(), None);
    assert_eq!(connection["complete"], true, "{connection}");
    connection
}

#[test]
fn three_gigabytes_and_a_close_in_four_segments() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    let (mut client, mut server) = connected(&host, 20_301);
    send_much(&mut client, &mut server);
    shutdown(&client, rustix::net::Shutdown::Write).expect("it is open");
    // The server works on, and answers later than it acknowledges.
    assert_eq!(server.read(&mut [0]).expect("it is open"), 0);
    thread::sleep(Duration::from_millis(300));
    server.write_all(b"done").expect("it is open");
    drop(server);
    assert_eq!(client.read(&mut [0; 9]).expect("it is open"), 4);
    drop(client);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let connection = the_only(&events);
    assert_eq!(connection["outcome"], "closed", "{connection}");
    assert_eq!((&connection["client_bytes"], &connection["server_bytes"]), (&OCTETS.into(), &4.into()));
    assert_eq!((&connection["closed_by"], &connection["half_closed"]), (&"client".into(), &true.into()));
    let ns = |name: &str| connection[name].as_u64().unwrap_or_else(|| panic!("{name}: {connection}"));
    // An acknowledgement can be delayed by 200 ms at most (net/ipv4/tcp_timer.c).
    assert!(ns("close_wait_ns") >= 100_000_000, "{connection}");
    assert!(ns("first_fin_to_ack_ns") + ns("close_wait_ns") >= 300_000_000, "{connection}");
}

#[test]
fn three_gigabytes_and_a_reset() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    let (mut client, mut server) = connected(&host, 20_302);
    send_much(&mut client, &mut server);
    sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("a socket");
    drop(client);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let connection = the_only(&events);
    assert_eq!((&connection["outcome"], &connection["reset_by"]), (&"reset".into(), &"client".into()));
    assert_eq!(connection["client_bytes"], OCTETS, "{connection}");
}

#[test]
fn a_socket_that_is_connected_to_itself() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    host.ns.enter(|| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let own: SocketAddr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_303).into();
        bind(&socket, &own).expect("a free port");
        connect(&socket, &own).expect("RFC 9293 §3.5, figure 7");
        let mut itself = TcpStream::from(socket);
        itself.write_all(b"echo").expect("it is open");
        itself.read_exact(&mut [0; 4]).expect("what it wrote");
    });
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let connection = the_only(&events);
    assert_eq!((&connection["outcome"], &connection["closed_by"]), (&"closed".into(), &"both".into()));
    assert_eq!(
        (&connection["self_connection"], &connection["simultaneous_open"]),
        (&true.into(), &true.into())
    );
    assert_eq!((&connection["client_bytes"], &connection["server_bytes"]), (&4.into(), &4.into()));
    assert_eq!(connection["synack_retransmits"], 0, "{connection}");
}

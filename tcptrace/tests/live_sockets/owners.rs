//! Whose a socket is: its user, and its cgroup with what that stands for.

use crate::{
    Test,
    roles::{Told, client},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    thread,
    time::Duration,
};
use tcptrace_testing::{
    lab::{Family, Host},
    trace::{Trace, of_kind},
};

pub(crate) const TESTS: &[Test] = &[
    ("owners::user", user),
    ("owners::accept_queue_that_is_full", accept_queue_that_is_full),
    ("owners::are_not_asked_for_where_they_are_not_wanted", are_not_asked_for_where_they_are_not_wanted),
];

/// A server that closes at once.
pub(crate) fn serve(host: &Host) -> SocketAddr {
    let listener = host.ns.enter(|| TcpListener::bind((host.ip(Family::V4), 0)).expect("its own address"));
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            write!(stream.expect("a connection"), "1").expect("the client reads");
        }
    });
    address
}

/// What is said of one connection that `connect` makes.
pub(crate) fn connection(host: &Host, arguments: &[&str], connect: impl FnOnce() -> Told + Send) -> Value {
    let trace = Trace::start(host, &[&["--json", "--events", "connection"], arguments].concat());
    host.ns.enter(connect);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    of_kind(&events, "connection").next().cloned().expect("one")
}

fn user() {
    const NOBODY: u32 = 65_534;
    let host = Host::alone();
    let to = serve(&host);
    let event = connection(&host, &[], || {
        let mut client = client(to);
        client.uid(NOBODY);
        Told::by(client)
    });
    let name = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = name
        .lines()
        .find(|line| line.split(':').nth(2) == Some("65534"))
        .and_then(|line| line.split(':').next());
    let process = &event["client_process"];
    assert_eq!((&process["uid"], &process["user"]), (&json!(NOBODY), &json!(name)), "{event}");
    assert_eq!(event["server_process"]["uid"], 0, "{event}");
}

fn accept_queue_that_is_full() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    let (listener, clients) = host.ns.enter(|| {
        let address = SocketAddr::new(host.ip(Family::V4), 0);
        let listener = tcptrace_testing::traffic::listener(&host, address, 1);
        let to = listener.local_addr().expect("bound");
        // Two fit in, and nobody accepts them. The third tries again after a second.
        let clients: Vec<_> =
            (0..3).map(|_| TcpStream::connect_timeout(&to, Duration::from_millis(1500))).collect();
        (listener, clients)
    });
    assert_eq!(clients.iter().filter(|it| it.is_ok()).count(), 2, "{clients:?}");
    // The answer of the kernel comes with the next tick of the trace.
    thread::sleep(Duration::from_millis(1200));
    let events = trace.stop().events();
    drop((listener, clients));
    let unanswered = of_kind(&events, "connection").find(|it| it["outcome"] == "unanswered").expect("one");
    assert_eq!(unanswered["accept_queue"], json!({"waiting": 2, "limit": 1}), "{unanswered}");
    let others = of_kind(&events, "connection").filter(|it| it["outcome"] == "open");
    assert!(others.map(|it| &it["accept_queue"]).eq([&Value::Null, &Value::Null]));
}

fn are_not_asked_for_where_they_are_not_wanted() {
    let host = Host::alone();
    let to = serve(&host);
    let event = connection(&host, &["--no-sockets"], || Told::by(client(to)));
    for key in ["client_process", "server_process", "client_cgroup", "client_socket", "server_socket"] {
        assert_eq!(event[key], Value::Null, "{event}");
    }
}

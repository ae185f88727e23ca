//! Which process opened, accepted and closed a socket.

use crate::{
    Test,
    roles::{CLIENT, Told, WORKER, client, giver, taker, worker},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    process::{self, Command, Stdio},
    thread,
    time::Duration,
};
use tcptrace_testing::{
    lab::{Family, Host, Lab, a_few_at_a_time},
    trace::{Report, Trace, of_kind},
};

pub(crate) const TESTS: &[Test] = &[
    ("processes::of_both_ends", of_both_ends),
    ("processes::from_before_the_trace", from_before_the_trace),
    ("processes::where_the_neighbour_answers_late", where_the_neighbour_answers_late),
    ("processes::are_not_known_unless_asked_for", are_not_known_unless_asked_for),
    ("processes::choose_connections", choose_connections),
    ("processes::that_end_without_running_a_program", that_end_without_running_a_program),
    ("processes::that_pass_a_socket_on", that_pass_a_socket_on),
];

const WORKERS: usize = 4;
const CLIENTS: usize = 100;

fn listen(host: &Host) -> (TcpListener, SocketAddr) {
    let listener = host.ns.enter(|| TcpListener::bind((host.ip(Family::V4), 0)).expect("its own address"));
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Lets clients connect, a few at a time, and returns what they told, by their ports.
fn connect(host: &Host, to: SocketAddr, clients: usize) -> HashMap<u16, Told> {
    let told = a_few_at_a_time(&vec![(); clients], 4, |()| host.ns.enter(|| Told::by(client(to))));
    told.into_iter().flatten().map(|told| (told.port, told)).collect()
}

fn pid(process: &Value) -> Option<u32> {
    process["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}

/// Compares an event's processes with the truth: that of the client, and that of the server, which is one of `servers`.
fn check(event: &Value, told: &Told, (server, comm, how): (u32, &str, &str)) {
    let (client_process, server_process) = (&event["client_process"], &event["server_process"]);
    assert_eq!(pid(client_process), Some(told.pid), "{event}");
    assert_eq!((&client_process["comm"], &client_process["how"]), (&CLIENT.into(), &"connect".into()));
    assert_eq!(pid(server_process), Some(server), "{event}");
    assert_eq!((&server_process["comm"], &server_process["how"]), (&comm.into(), &how.into()), "{event}");
}

fn client_port(event: &Value) -> u16 {
    event["client"]["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port")
}

fn of_both_ends() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--process", "--json", "--events", "established,connection"]);
    let (listener, to) = listen(&host);
    let workers: Vec<_> = (0..WORKERS).map(|_| worker(&listener)).collect();
    let told = connect(&host, to, CLIENTS);
    trace.wait_for_connections(CLIENTS);
    let events = trace.stop().events();
    let established: Vec<_> = of_kind(&events, "established").collect();
    let connections: Vec<_> = of_kind(&events, "connection").collect();
    assert_eq!((established.len(), connections.len()), (CLIENTS, CLIENTS));
    let own = thread_name();
    for event in established {
        // Nobody has accepted it yet: the process that bound the listener is known.
        check(event, &told[&client_port(event)], (process::id(), &own, "listen"));
    }
    for event in connections {
        let told = &told[&client_port(event)];
        assert!(workers.iter().any(|it| it.0.id() == told.worker));
        check(event, told, (told.worker, WORKER, "accept"));
        assert_eq!(
            (&event["client_closed_by_process"], &event["server_closed_by_process"]),
            (&Value::Null, &Value::Null)
        );
    }
}

/// The name that threads made by [`Netns::enter`] have: that of the thread which made them.
fn thread_name() -> String {
    let name =
        thread::spawn(|| std::fs::read_to_string("/proc/thread-self/comm").expect("every thread has one"));
    name.join().expect("it reads").trim_end().to_owned()
}

fn from_before_the_trace() {
    let host = Host::alone();
    let (listener, to) = listen(&host);
    let alone = worker(&listener);
    let pid_of_worker = alone.0.id();
    // Now the worker alone has the listener.
    drop(listener);
    let trace = Trace::start(&host, &["--process", "--json", "--events", "established,connection"]);
    let told = connect(&host, to, 3);
    trace.wait_for_connections(3);
    let events = trace.stop().events();
    for event in of_kind(&events, "established") {
        check(event, &told[&client_port(event)], (pid_of_worker, WORKER, "snapshot"));
    }
    for event in of_kind(&events, "connection") {
        check(event, &told[&client_port(event)], (pid_of_worker, WORKER, "accept"));
    }
    assert_eq!(of_kind(&events, "connection").count(), 3);
}

/// The SYN waits for the neighbour's answer, and leaves from whatever runs when that comes.
fn where_the_neighbour_answers_late() {
    const TRIES: usize = 5;
    let lab = Lab::new();
    let (listener, to) = listen(&lab.b);
    let _worker = worker(&listener);
    let trace = Trace::start(&lab.a, &["--process", "--json", "--events", "established"]);
    for _ in 0..TRIES {
        lab.a.ns.ip(&["neigh", "flush", "dev", lab.a.dev]);
        lab.b.filter(
            "table arp late {\n chain in {\n  type filter hook input priority 0; policy drop;\n }\n}\n",
        );
        let told = thread::scope(|scope| {
            let connecting = scope.spawn(|| lab.a.ns.enter(|| Told::by(client(to))));
            thread::sleep(Duration::from_millis(300));
            lab.b.filter("delete table arp late\n");
            connecting.join().expect("it connects")
        });
        trace.wait_for_lines(1, &format!("\"pid\":{},\"comm\":\"{CLIENT}\"", told.pid));
    }
    let events = trace.stop().events();
    assert_eq!(of_kind(&events, "established").count(), TRIES);
}

fn are_not_known_unless_asked_for() {
    let host = Host::alone();
    let trace = Trace::start(&host, &["--json", "--events", "connection"]);
    let (listener, to) = listen(&host);
    let _worker = worker(&listener);
    connect(&host, to, 1);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let event = of_kind(&events, "connection").next().expect("one");
    for end in ["client_process", "server_process"] {
        assert_eq!((&event[end]["pid"], &event[end]["how"]), (&Value::Null, &Value::Null), "{event}");
        assert_eq!(event[end]["uid"], 0, "{event}");
    }
}

fn choose_connections() {
    let host = Host::alone();
    let (listener, to) = listen(&host);
    let _worker = worker(&listener);
    let count = |report: &Report| report.lines.len();
    let traced = |arguments: &[&str]| {
        let arguments = [&["--json", "--events", "connection"], arguments].concat();
        let trace = Trace::start(&host, &arguments);
        let told = connect(&host, to, 2);
        trace.wait_until_idle();
        let report = trace.stop();
        report.events();
        (told, count(&report))
    };
    // The statistics at the end are an event too, if they are asked for; here they are not.
    assert_eq!(traced(&["--comm", CLIENT]).1, 2);
    assert_eq!(traced(&["--comm", WORKER]).1, 2);
    assert_eq!(traced(&["--comm", "nobody"]).1, 0);
    assert_eq!(traced(&["--comm", WORKER, "--pid", "1"]).1, 0);
}

/// Children of a shell, each of which connects in its own process, without a program of its own, and ends at once.
fn that_end_without_running_a_program() {
    const CHILDREN: usize = 50;
    const SCRIPT: &str = "for ((i = 0; i < $1; i++)); do \
        (exec 3<> /dev/tcp/${0%:*}/${0##*:}; read -r worker port <&3; echo $port $BASHPID $worker ) & \
        done; wait";
    let host = Host::alone();
    let (listener, to) = listen(&host);
    let worker = worker(&listener);
    let trace = Trace::start(&host, &["--process", "--json", "--events", "connection"]);
    let output = host.ns.enter(|| {
        let mut shell = Command::new("bash");
        shell.args(["-c", SCRIPT, &to.to_string(), &CHILDREN.to_string()]).stdin(Stdio::null());
        shell.output().expect("bash runs")
    });
    let told = String::from_utf8(output.stdout).expect("numbers");
    let told: HashMap<u16, Told> = told.lines().map(Told::of).map(|told| (told.port, told)).collect();
    assert_eq!(told.len(), CHILDREN, "{}", String::from_utf8_lossy(&output.stderr));
    trace.wait_for_connections(CHILDREN);
    let events = trace.stop().events();
    for event in of_kind(&events, "connection") {
        let (process, told) = (&event["client_process"], &told[&client_port(event)]);
        assert_eq!((pid(process), &process["comm"]), (Some(told.pid), &"bash".into()), "{event}");
        assert!(process["exe"].as_str().is_some_and(|exe| exe.ends_with("/bash")), "{event}");
        assert_eq!(pid(&event["server_process"]), Some(worker.0.id()), "{event}");
    }
}

/// A client passes its socket to another process (`SCM_RIGHTS`) and ends; that one reads and closes.
fn that_pass_a_socket_on() {
    let host = Host::alone();
    let (listener, to) = listen(&host);
    let _worker = worker(&listener);
    let trace = Trace::start(&host, &["--process", "--json", "--events", "connection"]);
    let (here, there) = UnixStream::pair().expect("a pair");
    let taker = host.ns.enter(|| taker(here).stdout(Stdio::piped()).spawn().expect("this program starts"));
    let gave = host.ns.enter(|| giver(to, there).output().expect("this program starts"));
    let took = Told::of_output(&taker.wait_with_output().expect("it ends"));
    let gave = Told::of_output(&gave);
    assert_eq!(took.port, gave.port);
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let event = of_kind(&events, "connection").next().expect("one");
    assert_eq!(client_port(event), gave.port);
    let (client, closed_by) = (&event["client_process"], &event["client_closed_by_process"]);
    assert_eq!((pid(client), &client["how"]), (Some(gave.pid), &"connect".into()), "{event}");
    assert_eq!((pid(closed_by), &closed_by["how"]), (Some(took.pid), &"close".into()), "{event}");
}

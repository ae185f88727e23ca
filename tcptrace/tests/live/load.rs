//! Many connections, one after the other and all at once: every one is reported exactly once, and nothing is lost.

use crate::{
    lab::{DEADLINE, Family, Host, Lab},
    netns::enter_path,
    trace::{Trace, flow_of, last_stats, of_kind},
    traffic::{Flow, bound, connect, listener, local_address},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Connections of the flood: as many as the environment says, else what a slow machine does in seconds.
const CONNECTIONS: &str = "TCPTRACE_LIVE_CONNECTIONS";
const DEFAULT_CONNECTIONS: usize = 20_000;
/// Connections that one thread opens before it talks on the first of them.
const BATCH: usize = 250;
const THREADS: usize = 4;
/// Each thread's server has its own port from here on: none of those that the kernel's account is kept of elsewhere.
const PORT: u16 = 40_000;

#[test]
fn a_thousand_connections_one_after_the_other() {
    let lab = Lab::new();
    let load = Load { connections: 1000, threads: 1, batch: 1, args: &[] };
    load.run(&lab);
}

#[test]
fn a_flood_of_concurrent_connections() {
    let connections = env::var(CONNECTIONS).map_or(DEFAULT_CONNECTIONS, |n| n.parse().expect("a number"));
    let lab = Lab::new();
    // The load leaves the tracer, built for debugging, little of the CPUs, so the ring holds the whole burst: a connection
    // is seven records of about a hundred octets.
    let ring = (1024 * connections).next_power_of_two().clamp(8 << 20, 1 << 30).to_string();
    let load = Load { connections, threads: THREADS, batch: BATCH, args: &["--ring-size", &ring] };
    load.run(&lab);
}

/// Connections that exchange one octet each way and are closed by the client.
pub(crate) struct Load<'a> {
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) args: &'a [&'a str],
}

impl Load<'_> {
    fn run(&self, lab: &Lab) {
        let args = [&["--json", "--events", "connection,stats"], self.args].concat();
        let trace = Trace::start(&lab.a, &args);
        let (flows, took) = self.drive(lab);
        let counting = Instant::now();
        trace.wait_for_no_more_than(flows.len());
        let lag = counting.elapsed();
        let events = trace.stop().many_events();
        let stats = last_stats(&events);
        self.print(took, lag, stats);
        check(&flows, &events);
        lab.a.assert_nothing_attached();
    }

    /// Makes the connections and says how long it took.
    pub(crate) fn drive(&self, lab: &Lab) -> (Vec<Flow>, Duration) {
        self.drive_from(lab, 0)
    }

    /// The same after another load, whose threads had the numbers up to `first`.
    pub(crate) fn drive_from(&self, lab: &Lab, first: usize) -> (Vec<Flow>, Duration) {
        let each = self.connections / self.threads;
        let workers: Vec<Worker> = (first..first + self.threads).map(|nth| Worker::new(lab, nth)).collect();
        let start = Instant::now();
        let flows: Vec<Flow> = thread::scope(|scope| {
            let threads: Vec<_> = workers
                .iter()
                .enumerate()
                .map(|(nth, worker)| {
                    let n = if nth == 0 { self.connections - each * (self.threads - 1) } else { each };
                    scope.spawn(move || worker.run(&lab.a, n, self.batch))
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("the traffic runs")).collect()
        });
        (flows, start.elapsed())
    }

    fn print(&self, took: Duration, lag: Duration, stats: &Value) {
        let per_second = 1000 * self.connections as u128 / took.as_millis().max(1);
        eprintln!(
            "load: {} connections, {} at once, in {:.2} s ({per_second}/s), reported {:.2} s after the last",
            self.connections,
            self.threads * self.batch,
            took.as_secs_f64(),
            lag.as_secs_f64(),
        );
        eprintln!(
            "load: outcomes {}, records lost {}, events dropped {}, overwrites {}, cost {}",
            stats["connections"],
            stats["records_lost"],
            stats["events_dropped"],
            stats["pending_overwrites"],
            stats["cost"],
        );
    }
}

/// Plays both ends of its connections in one thread: nothing has to be scheduled between the steps.
struct Worker {
    listener: TcpListener,
    server: SocketAddr,
    /// Several, as one address has too few ports for a great flood.
    sources: Vec<IpAddr>,
}

impl Worker {
    const SOURCES: u8 = 4;

    fn new(lab: &Lab, nth: usize) -> Self {
        let nth = u8::try_from(nth).expect("few threads");
        let backlog = i32::try_from(2 * BATCH).expect("a small number");
        let listener =
            listener(&lab.b, SocketAddr::new(lab.b.ip(Family::V4), PORT + u16::from(nth)), backlog);
        let server = local_address(&listener);
        let sources = (0..Self::SOURCES).map(|i| lab.a.add_address(Self::SOURCES * nth + i)).collect();
        Self { listener, server, sources }
    }

    fn run(&self, client_host: &Host, connections: usize, batch: usize) -> Vec<Flow> {
        enter_path(&client_host.ns.path());
        let mut flows = Vec::with_capacity(connections);
        while flows.len() < connections {
            let n = batch.min(connections - flows.len());
            self.batch(n, &mut flows);
        }
        flows
    }

    /// Each port of each address once: no four-tuple comes again, and the kernel need not search for a free one.
    fn source(&self, nth: usize) -> SocketAddr {
        let port = 1024 + nth / self.sources.len();
        SocketAddr::new(
            self.sources[nth % self.sources.len()],
            u16::try_from(port).expect("enough addresses"),
        )
    }

    fn batch(&self, n: usize, flows: &mut Vec<Flow>) {
        let pairs: Vec<_> = (0..n)
            .map(|_| {
                let client = self.source(flows.len());
                flows.push(Flow { client, server: self.server });
                let client = bound(client);
                connect(&client, &self.server).expect("the server listens");
                let (server, _) = self.listener.accept().expect("a connection");
                server.set_read_timeout(Some(DEADLINE)).expect("a socket");
                (TcpStream::from(client), server)
            })
            .collect();
        for (mut client, mut server) in pairs {
            client.write_all(b"?").expect("it is open");
            server.read_exact(&mut [0]).expect("the client writes");
            server.write_all(b"!").expect("it is open");
            client.read_exact(&mut [0]).expect("the server writes");
            client.shutdown(Shutdown::Write).expect("it is open");
            assert_eq!(server.read(&mut [0]).expect("the client closes"), 0);
            drop(server);
            assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
        }
    }
}

/// Every connection is there once, and as it was; nothing else is.
fn check(flows: &[Flow], events: &[Value]) {
    let mut seen: HashMap<Flow, usize> = flows.iter().map(|flow| (*flow, 0)).collect();
    assert_eq!(seen.len(), flows.len(), "no four-tuple was used twice");
    for event in of_kind(events, "connection") {
        let flow = flow_of(event);
        *seen.get_mut(&flow).unwrap_or_else(|| panic!("{flow} was not driven")) += 1;
        for (field, expected) in [
            ("outcome", json!("closed")),
            ("closed_by", json!("client")),
            ("complete", json!(true)),
            ("partial", json!(false)),
            ("client_bytes", json!(1)),
            ("server_bytes", json!(1)),
            ("vantage", json!("client")),
        ] {
            assert_eq!(event[field], expected, "{field} of {event:#}");
        }
    }
    let not_once: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).take(10).collect();
    assert!(not_once.is_empty(), "reported not once but so often: {not_once:?}");
    let stats = last_stats(events);
    assert_eq!(stats["connections"]["closed"], flows.len(), "{stats:#}");
    for field in ["records_lost", "events_dropped", "connections_open"] {
        assert_eq!(stats[field], 0, "{field} in {stats:#}");
    }
}

//! The metrics of a live trace, as a client that asks for them sees them.

mod hostile;
mod prometheus;

use crate::{
    folder::Folder,
    lab::{Family, Host, Lab},
    trace::{Report, Trace, of_kind},
    traffic::{Kind, drive},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Command, Stdio},
    time::Duration,
};

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
const AT: &str = "127.0.0.1:9464";

/// What a client gets.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// Sends a request as it stands and reads the answer.
fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("headers have an end");
    let headers = String::from_utf8(bytes[..end].to_vec()).expect("headers are text").to_ascii_lowercase();
    let status = headers.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    Answer { status, headers, body: bytes.split_off(end + 4) }
}

fn request(method: &str, path: &str, accept: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {AT}\r\nAccept: {accept}\r\n\r\n")
}

fn connect(host: &Host) -> TcpStream {
    let stream = host.ns.enter(|| TcpStream::connect(ADDRESS)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    stream
}

fn get(host: &Host, path: &str, accept: &str) -> Answer {
    exchange(connect(host), &request("GET", path, accept))
}

fn scrape(host: &Host) -> Samples {
    let answer = get(host, "/metrics", "text/plain");
    assert_eq!(answer.status, 200);
    samples(answer.text())
}

/// The samples of a scrape: by name and labels, as they stand, the value.
type Samples = BTreeMap<String, f64>;

fn samples(text: &str) -> Samples {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    };
    text.lines().filter(|it| !it.starts_with('#')).map(line).collect()
}

/// The sum of all series of this name that have these labels.
fn sum(samples: &Samples, name: &str, labels: &[&str]) -> f64 {
    let is_ours = |series: &str| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    };
    samples.iter().filter(|(series, _)| is_ours(series)).map(|(_, value)| value).sum()
}

/// What promtool says of a scrape.
fn lint(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}"));
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Ways to live and die that are over within a second or two, and need nobody to lose a segment.
const KINDS: [Kind; 7] = [
    Kind::ClientCloses,
    Kind::ServerCloses,
    Kind::HalfClose,
    Kind::ResetByClient,
    Kind::ResetByServer,
    Kind::Refused,
    Kind::Bulk,
];

/// Checks a scrape against the events that came before it.
fn assert_as_told(samples: &Samples, events: &[Value]) {
    let port = |event: &Value| format!("server_port=\"{}\"", event["server"]["port"]);
    for (kind, metric) in [
        ("established", "tcptrace_established_connections_total"),
        ("connection", "tcptrace_connections_total"),
    ] {
        let count = of_kind(events, kind).count();
        assert_eq!(sum(samples, metric, &[]), count as f64, "{kind}");
        for event in of_kind(events, kind) {
            let role = format!("role=\"{}\"", event["vantage"].as_str().expect("text"));
            let labels =
                [port(event), role, format!("interface=\"{}\"", event["interface"].as_str().expect("text"))];
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            assert!(sum(samples, metric, &labels) >= 1.0, "{event}");
        }
    }
    for outcome in ["closed", "reset", "refused", "unanswered"] {
        let told = of_kind(events, "connection").filter(|event| event["outcome"] == outcome).count() as f64;
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(sum(samples, "tcptrace_connections_total", &[&label]), told, "{outcome}");
    }
    for by in ["client", "server"] {
        let told = of_kind(events, "connection").filter(|event| event["reset_by"] == by).count() as f64;
        assert_eq!(sum(samples, "tcptrace_resets_total", &[&format!("by=\"{by}\"")]), told, "resets by {by}");
    }
    for (key, metric) in [
        ("syn_to_established_ns", "tcptrace_handshake_duration_seconds"),
        ("network_rtt_ns", "tcptrace_handshake_network_duration_seconds"),
        ("local_stack_ns", "tcptrace_handshake_local_duration_seconds"),
    ] {
        let told: Vec<u64> = of_kind(events, "established").filter_map(|event| event[key].as_u64()).collect();
        assert_times(samples, metric, &told);
    }
    let lifetimes: Vec<u64> =
        of_kind(events, "connection").filter_map(|event| event["lifetime_ns"].as_u64()).collect();
    assert_times(samples, "tcptrace_connection_duration_seconds", &lifetimes);
    let sockets = || {
        of_kind(events, "connection")
            .flat_map(|event| [&event["client_socket"], &event["server_socket"]])
            .filter(|socket| !socket.is_null())
    };
    let rtts: Vec<u64> = sockets().filter_map(|socket| socket["rtt_ns"].as_u64()).collect();
    assert_times(samples, "tcptrace_rtt_duration_seconds", &rtts);
    let sent: u64 = sockets().filter_map(|socket| socket["segments_out"].as_u64()).sum();
    assert_eq!(sum(samples, "tcptrace_sent_segments_total", &[]), sent as f64);
}

fn assert_times(samples: &Samples, metric: &str, told: &[u64]) {
    assert!(!told.is_empty(), "{metric}");
    assert_eq!(sum(samples, &format!("{metric}_count"), &[]), told.len() as f64, "{metric}");
    let seconds = told.iter().sum::<u64>() as f64 / 1e9;
    let scraped = sum(samples, &format!("{metric}_sum"), &[]);
    assert!((scraped - seconds).abs() <= seconds * 1e-9, "{metric}: {scraped} and {seconds}");
}

#[test]
fn a_scrape_has_what_the_events_of_the_same_trace_have() {
    let lab = Lab::new();
    let trace = Trace::all_events(&lab.a, &["--metrics", AT]);
    for family in Family::BOTH {
        for kind in KINDS {
            drive(kind, &lab.a, &lab.b, family);
            drive(kind, &lab.b, &lab.a, family);
        }
    }
    trace.wait_for_connections(4 * KINDS.len());
    let answer = get(&lab.a, "/metrics", "text/plain;version=0.0.4");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{}", answer.headers);
    let report = trace.stop();
    let events = report.events();
    lint(answer.text());
    let samples = samples(answer.text());
    assert_as_told(&samples, &events);
    let stats = of_kind(&events, "stats").last().expect("the last");
    for (metric, key) in
        [("tcptrace_packets_total", "packets"), ("tcptrace_tcp_packets_total", "tcp_packets")]
    {
        let (scraped, last) = (sum(&samples, metric, &[]), stats[key].as_u64().expect("a count") as f64);
        assert!(scraped > 0.0 && scraped <= last, "{metric}: {scraped}, in the end {last}");
    }
    assert_eq!(sum(&samples, "tcptrace_lost_total", &[]), 0.0);
    assert_eq!(sum(&samples, "tcptrace_admission_ratio", &[]), 1.0);
    assert!(sum(&samples, "tcptrace_process_cpu_seconds_total", &[]) > 0.0);
    assert_no_strangers(&samples, &events);
}

/// No label tells of a client.
fn assert_no_strangers(samples: &Samples, events: &[Value]) {
    for series in samples.keys() {
        for event in events.iter().filter(|event| event.get("client").is_some()) {
            let (ip, port) = (event["client"]["ip"].as_str().expect("text"), &event["client"]["port"]);
            assert!(!series.contains(ip), "{series}");
            assert!(!series.contains(&format!("\"{port}\"")), "{series}");
        }
    }
}

#[test]
fn what_is_asked_for_otherwise_is_refused_and_other_formats_are_there() {
    let lab = Lab::new();
    let trace = Trace::start(&lab.a, &["--json", "--metrics", AT]);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    let index = get(&lab.a, "/", "*/*");
    assert_eq!((index.status, index.text()), (200, "tcptrace: metrics are at /metrics\n"));
    assert_eq!(get(&lab.a, "/metrics/", "*/*").status, 404);
    assert_eq!(get(&lab.a, "/favicon.ico", "*/*").status, 404);
    for method in ["POST", "HEAD", "DELETE", "OPTIONS"] {
        let refused = exchange(connect(&lab.a), &request(method, "/metrics", "*/*"));
        assert_eq!(refused.status, 405, "{method}");
        assert!(refused.headers.contains("\r\nallow: get"), "{}", refused.headers);
    }
    assert_eq!(exchange(connect(&lab.a), "nonsense\r\n\r\n").status, 400);
    let open = get(&lab.a, "/metrics", "application/openmetrics-text; version=1.0.0");
    assert!(
        open.headers.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        open.headers
    );
    assert!(open.text().ends_with("# EOF\n"));
    assert_eq!(sum(&samples(open.text()), "tcptrace_connections_total", &["outcome=\"closed\""]), 1.0);
    let of_native =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let protobuf = get(&lab.a, "/metrics", of_native);
    assert!(protobuf.headers.contains("encoding=delimited"), "{}", protobuf.headers);
    assert!(protobuf.body.windows(8).any(|it| it == b"tcptrace"));
    trace.stop().events();
}

#[test]
fn a_socket_is_for_its_owner_and_one_that_was_left_is_replaced() {
    let lab = Lab::new();
    let folder = Folder::new();
    let path = folder.join("metrics.sock");
    let address = format!("unix:{}", path.display());
    let ended = |report: Report, said: &str| {
        assert!(!report.status.success() && report.stderr.contains(said), "{}", report.stderr);
        assert_eq!(report.stderr.lines().count(), 1, "{}", report.stderr);
    };
    for _ in 0..2 {
        let trace = Trace::start(&lab.a, &["--json", "--metrics", &address]);
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stream = UnixStream::connect(&path).expect("it listens");
        let answer = exchange(stream, &request("GET", "/metrics", "text/plain"));
        assert!(answer.text().contains("tcptrace_build_info"));
        let second = command(&lab.a, &address);
        ended(second.end(), "another program listens there");
        trace.stop().events();
    }
    // What is no socket stays.
    let file = folder.join("file");
    fs::write(&file, "precious").expect("our folder");
    ended(command(&lab.a, &format!("unix:{}", file.display())).end(), "give another path");
    assert_eq!(fs::read(&file).expect("it is there"), b"precious");
    // A port in use, and an address of another host.
    let trace = Trace::start(&lab.a, &["--json", "--metrics", AT]);
    ended(command(&lab.a, AT).end(), "cannot serve metrics at 127.0.0.1:9464");
    ended(command(&lab.a, "192.0.2.1:9464").end(), "give an address of this host");
    trace.stop().events();
    lab.a.assert_nothing_attached();
}

/// A trace that may not begin.
fn command(host: &Host, address: &str) -> Trace {
    Trace::spawn(host, &mut crate::trace::command(&["-i", host.dev, "--metrics", address]))
}

#[test]
fn ten_thousand_servers_do_not_grow_it() {
    const PORTS: u16 = 10_000;
    let lab = Lab::new();
    let trace = Trace::start(&lab.a, &["--json", "--metrics", AT, "--metrics-top", "50"]);
    let to = lab.b.ip(Family::V4);
    lab.a.ns.enter(|| {
        for port in 20_000..20_000 + PORTS {
            assert!(TcpStream::connect((to, port)).is_err(), "nobody listens");
        }
    });
    trace.wait_for_connections(PORTS.into());
    let samples = scrape(&lab.a);
    assert_eq!(sum(&samples, "tcptrace_connections_total", &["outcome=\"refused\""]), f64::from(PORTS));
    assert_eq!(
        sum(&samples, "tcptrace_connections_total", &["outcome=\"refused\"", "server_port=\"other\""]),
        f64::from(PORTS) - 50.0
    );
    assert_eq!(sum(&samples, "tcptrace_label_sets", &[]), 50.0);
    // Some forty for each label set, as far as these connections have times.
    assert!(samples.len() < 51 * 42, "{} series", samples.len());
    trace.stop().many_events();
}

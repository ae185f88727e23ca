//! `tcptrace merge` of two traces with a router between them that translates addresses and loses packets. What it loses goes to a
//! device where tcpdump takes it down, so that the truth is not of our making.

use crate::{
    folder::Folder,
    lab::{Family, Host, Routed},
    trace::{Report, Trace, command, of_kind},
};
use bytes::BytesMut;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};
use tcptrace::{
    event::Event,
    sink::{Sink as _, json::JsonSink},
};

const CONNECTIONS: usize = 3000;
const AT_ONCE: usize = 300;
/// Of a hundred packets so many are lost, in each direction.
const LOST: usize = 8;
/// How far the clock of the server's trace is made to be ahead.
const AHEAD_NS: i64 = 3_204_000_000;
/// Connections to this port are torn down by the router when they have data.
const TORN: u16 = 81;
const TORN_CONNECTIONS: usize = 10;

/// The control bits by which a segment is recorded wherever it passes: FIN, SYN and RST.
const ALWAYS: u8 = 0x07;

/// A packet that was lost.
#[derive(Clone, Debug)]
struct Lost {
    by_server: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    len: usize,
    ns: i64,
}

/// Takes down what comes to a device.
struct Dump {
    child: Child,
    file: PathBuf,
}

impl Dump {
    fn start(host: &Host, device: &str, folder: &Path) -> Self {
        let file = folder.join(format!("{device}.pcap"));
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", device, "--immediate-mode", "-B", "8192", "--time-stamp-precision=nano", "-w"])
            .arg(&file);
        let mut child = host
            .ns
            .enter(|| command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("tcpdump runs"));
        let mut said = String::new();
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr);
        while !said.contains("listening on") {
            assert!(lines.read_line(&mut said).expect("text") > 0, "tcpdump ended: {said}");
        }
        child.stderr = Some(lines.into_inner());
        Self { child, file }
    }

    /// The packets, in the order in which they were lost.
    fn stop(mut self, by_server: bool) -> Vec<Lost> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::INT).expect("it is our child");
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        self.child.wait().expect("it ends");
        assert!(said.contains("\n0 packets dropped by kernel"), "{said}");
        let bytes = fs::read(&self.file).expect("tcpdump wrote it");
        packets(&bytes).map(|(ns, packet)| Lost::of(by_server, ns, packet)).collect()
    }
}

/// The packets of a capture with nanoseconds, as IPv4, each with its time.
fn packets(file: &[u8]) -> impl Iterator<Item = (i64, &[u8])> {
    assert_eq!(file[..4], 0xa1b2_3c4d_u32.to_ne_bytes(), "a capture with nanoseconds");
    let mut rest = &file[24..];
    std::iter::from_fn(move || {
        let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four"));
        if rest.is_empty() {
            return None;
        }
        let (ns, len) = (i64::from(word(0)) * 1_000_000_000 + i64::from(word(4)), word(8) as usize);
        let packet = &rest[16 + 14..16 + len];
        rest = &rest[16 + len..];
        Some((ns, packet))
    })
}

impl Lost {
    fn of(by_server: bool, ns: i64, packet: &[u8]) -> Self {
        let ip = usize::from(packet[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let tcp = &packet[ip..];
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("four"));
        let len = total - ip - usize::from(tcp[12] >> 4) * 4;
        Self { by_server, flags: tcp[13], seq: word(4), ack: word(8), len, ns }
    }

    fn key(&self) -> Key {
        let ack = if self.flags & 0x10 == 0 { 0 } else { self.ack };
        (self.by_server, self.flags & 0x17, self.seq, ack, self.len)
    }
}

/// What is the same of a packet and the segment that a trace recorded: sender, control bits, numbers and payload.
type Key = (bool, u8, u32, u32, usize);

fn key(segment: &Value) -> Key {
    let number = |name: &str| segment[name].as_u64().unwrap_or_default();
    let bits = segment["flags"].as_str().expect("letters").chars().fold(0, |bits, letter| {
        bits | match letter {
            'F' => 1,
            'S' => 2,
            'R' => 4,
            '.' => 16,
            _ => 0,
        }
    });
    let word = |name| u32::try_from(number(name)).expect("32 bits");
    (segment["sender"] == "server", bits, word("seq"), word("ack"), word("payload_bytes") as usize)
}

/// Lets the router translate the client's address, tear down what goes to one port, and lose packets, each onto a device.
fn set_up(lab: &Routed) {
    for device in ["lost1", "lost2"] {
        let end = format!("{device}-end");
        lab.router.ns.ip(&["link", "add", device, "type", "veth", "peer", "name", &end]);
        for device in [device, &end] {
            lab.router.ns.ip(&["link", "set", device, "up"]);
        }
    }
    let lose = |from: &str, to: &str| {
        format!(
            "chain {to} {{\n type filter hook ingress device \"{from}\" priority 0;\n \
             tcp sport != {TORN} tcp dport != {TORN} numgen random mod 100 < {LOST} fwd to \"{to}\"\n}}"
        )
    };
    let rules = [
        "table ip translation {".to_owned(),
        "chain out {\n type nat hook postrouting priority 100;\n oifname \"tt2\" masquerade random\n}"
            .to_owned(),
        "chain pass {\n type filter hook forward priority 0;".to_owned(),
        format!("tcp dport {TORN} tcp flags & psh == psh reject with tcp reset\n}}\n}}"),
        "table netdev losses {".to_owned(),
        lose("tt1", "lost1"),
        lose("tt2", "lost2"),
        "}".to_owned(),
    ];
    lab.router.filter(&rules.join("\n"));
}

/// Answers requests until the listener is closed.
fn serve(server: &Host, port: u16) {
    let listener = server
        .ns
        .enter(|| TcpListener::bind(SocketAddr::new(server.ip(Family::V4), port)).expect("the port is free"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; 100];
    // A connection that was torn down ends the same way.
    if stream.read_exact(&mut request).is_ok() && stream.write_all(&[b'a'; 1000]).is_ok() {
        let _ = stream.read(&mut request);
    }
}

/// Asks once, and closes first.
fn ask(server: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(&[b'q'; 100])?;
    let mut answer = [0; 1000];
    stream.read_exact(&mut answer)?;
    stream.shutdown(Shutdown::Write)?;
    stream.read(&mut answer).map(drop)
}

/// All connections, many at once.
fn drive(lab: &Routed) {
    let server = SocketAddr::new(lab.server.ip(Family::V4), 80);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                lab.client.ns.enter(|| {
                    for _ in 0..CONNECTIONS / AT_ONCE {
                        ask(server).expect("what is lost comes again");
                    }
                });
            });
        }
    });
    (0..TORN_CONNECTIONS).for_each(|_| tear(lab));
}

/// A connection that the router tears down.
fn tear(lab: &Routed) {
    let server = SocketAddr::new(lab.server.ip(Family::V4), TORN);
    let error = lab.client.ns.enter(|| ask(server)).expect_err("it is torn down");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
}

/// Writes the lines of a trace as those of a host whose clock is ahead.
fn write_ahead(report: &Report, path: &Path, ahead_ns: i64) {
    let (mut sink, mut out) = (JsonSink::default(), BytesMut::new());
    for line in &report.lines {
        let mut event: Event = serde_json::from_str(line).expect("an event");
        event.shift(ahead_ns);
        sink.event(&event, &mut out);
    }
    fs::write(path, &out).expect("a folder of our own");
}

/// What a merge of the two files tells, as JSON.
fn merge(client: &Path, server: &Path) -> Vec<Value> {
    let mut command = command(&["merge", "--json"]);
    command.arg(named("client", client)).arg(named("server", server));
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn named(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// When the sender's trace saw a segment, by the clock that all share.
fn sent_at(segment: &Value) -> Option<i64> {
    let (near, ahead) = if segment["sender"] == "client" { ("client", 0) } else { ("server", AHEAD_NS) };
    let seen = segment["seen"].as_array().expect("a list").iter().find(|seen| seen["vantage"] == near)?;
    Some(nanoseconds(&seen["ts"]) - ahead)
}

fn nanoseconds(ts: &Value) -> i64 {
    let at: jiff::Timestamp = ts.as_str().expect("text").parse().expect("a time");
    i64::try_from(at.as_nanosecond()).expect("64 bits")
}

#[test]
fn each_lost_segment_is_named_behind_a_translation_and_with_other_clocks() {
    let (lab, folder) = (Routed::new(), Folder::new());
    set_up(&lab);
    for port in [80, TORN] {
        serve(&lab.server, port);
    }
    // Who is behind which address is found out before: what waits for that can be lost too.
    tear(&lab);
    let dumps = ["lost1", "lost2"].map(|device| Dump::start(&lab.router, device, &folder));
    let events = ["--json", "--events", "start,segment,connection,stats"];
    let traces = [&lab.client, &lab.server].map(|host| Trace::start(host, &events));
    drive(&lab);
    for trace in &traces {
        trace.wait_for_lines(CONNECTIONS, r#""outcome":"closed""#);
    }
    let [client, server] = traces.map(Trace::stop);
    let [first, second] = dumps;
    let lost = [first.stop(false), second.stop(true)].concat();
    let [client_file, server_file] = ["client.jsonl", "server.jsonl"].map(|name| folder.join(name));
    write_ahead(&client, &client_file, 0);
    write_ahead(&server, &server_file, AHEAD_NS);
    let told = merge(&client_file, &server_file);
    check_losses(&told, &Losses::new([&client, &server], lost));
    check_resets(&told);
    check_clocks(told.last().expect("a summary"));
}

/// How many losses were told rightly.
#[derive(Debug, Default)]
struct Tally {
    /// SYNs, FINs and RSTs that were lost and are named.
    named: usize,
    /// Of these it is told how many of several alike were lost, and not which.
    one_of_several: usize,
    /// Acknowledgements that were lost and are named.
    acks: usize,
    /// Acknowledgements that may not have been recorded, which are so called.
    perhaps: usize,
}

/// What the senders' traces recorded that was lost, by what it is and when it was sent.
struct Losses {
    sent: HashSet<(Key, i64)>,
    /// Those that a trace takes for a copy of one before: two SYN-ACKs within a millisecond have the same identification, 0, and
    /// the same time stamp.
    taken_for_copies: usize,
}

impl Losses {
    /// Finds of each packet that was lost which recorded segment it is: the last of its kind that was sent before.
    fn new(reports: [&Report; 2], lost: Vec<Lost>) -> Self {
        let mut recorded: HashMap<Key, Vec<(i64, bool)>> = HashMap::new();
        for (report, sender) in reports.iter().zip(["client", "server"]) {
            let events = report.many_events();
            for segment in of_kind(&events, "segment").filter(|segment| segment["sender"] == sender) {
                let sent = (nanoseconds(&segment["ts"]), segment["copy"] == true);
                recorded.entry(key(segment)).or_default().push(sent);
            }
        }
        let mut losses = Self { sent: HashSet::new(), taken_for_copies: 0 };
        for packet in lost {
            let sent = recorded.get(&packet.key()).into_iter().flatten();
            match sent.filter(|(ns, _)| *ns <= packet.ns).max() {
                Some((_, true)) => {
                    losses.taken_for_copies += 1;
                }
                Some((ns, false)) => {
                    assert!(losses.sent.insert((packet.key(), *ns)), "two are one: {packet:?}");
                }
                // Data is not recorded.
                None => {
                    assert_eq!(packet.flags & ALWAYS, 0, "it was not recorded: {packet:?}");
                }
            }
        }
        losses
    }
}

/// Compares each segment that is told of with what was lost.
fn check_losses(told: &[Value], losses: &Losses) {
    let mut alike: HashMap<Key, Vec<&Value>> = HashMap::new();
    let mut incomplete = HashSet::new();
    for connection in told.iter().filter(|it| it["merge"] == "connection") {
        let seen = connection["seen"].as_array().expect("a list");
        // Where a trace says that a record may be missing, nothing is said to be lost.
        let is_complete = seen.iter().all(|it| it["complete"] == true);
        for segment in connection["segments"].as_array().expect("a list") {
            if is_complete {
                alike.entry(key(segment)).or_default().push(segment);
            } else {
                incomplete.insert(key(segment));
            }
        }
    }
    assert!(incomplete.len() < alike.len() / 20, "nearly all are complete: {}", incomplete.len());
    let told: HashSet<(Key, i64)> = alike
        .iter()
        .flat_map(|(key, segments)| segments.iter().filter_map(|segment| Some((*key, sent_at(segment)?))))
        .collect();
    let is_always = |(key, _): &&(Key, i64)| key.1 & ALWAYS != 0 && !incomplete.contains(key);
    let untold: Vec<_> = losses.sent.iter().filter(is_always).filter(|lost| !told.contains(*lost)).collect();
    assert!(untold.is_empty(), "nothing is said of these: {untold:?}");
    let mut tally = Tally::default();
    for (key, segments) in alike {
        check_alike(key, &segments, losses, &mut tally);
    }
    let always = losses.sent.iter().filter(is_always).count();
    eprintln!(
        "{tally:?} of {always} SYNs, FINs and RSTs that were lost; {} taken for copies",
        losses.taken_for_copies
    );
    assert_eq!(tally.named, always, "each that was lost is named");
    assert!(always >= 1000, "too few were lost to tell: {always}");
    assert!(tally.one_of_several < always / 20, "nearly always it is known which was lost: {tally:?}");
    assert!(losses.taken_for_copies < always / 20, "nearly all are told apart: {}", losses.taken_for_copies);
    assert!(tally.acks >= 100, "too few acknowledgements were lost to tell: {tally:?}");
}

/// Compares segments with equal numbers with those that were lost.
fn check_alike(key: Key, segments: &[&Value], losses: &Losses, tally: &mut Tally) {
    let is_always = key.1 & ALWAYS != 0;
    let was_lost = |segment: &Value| sent_at(segment).is_some_and(|ns| losses.sent.contains(&(key, ns)));
    let count = |fate: &str| segments.iter().filter(|segment| segment["fate"] == fate).count();
    for segment in segments.iter().filter(|segment| segment["which_is_known"] == true) {
        match segment["fate"].as_str().expect("a name") {
            "lost" => {
                assert_eq!(segment["after"], segment["sender"], "{segment:#}");
                assert!(was_lost(segment), "it was not lost: {segment:#}");
            }
            "lost_or_unrecorded" => assert!(!is_always, "{segment:#}"),
            "unknown" => panic!("it is known: {segment:#}"),
            _ => assert!(!was_lost(segment) || !is_always, "it was lost: {segment:#}"),
        }
    }
    let lost = count("lost");
    if is_always {
        let truly = segments.iter().filter(|segment| was_lost(segment)).count();
        assert_eq!(lost, truly, "as many are lost: {segments:#?}");
        let are_known = segments.iter().all(|segment| segment["which_is_known"] == true);
        tally.named += lost;
        tally.one_of_several += if are_known { 0 } else { lost };
    } else {
        tally.acks += lost;
        tally.perhaps += count("lost_or_unrecorded");
    }
}

/// The router's RSTs are known not to be the server's. A client that was torn down may send one of its own: where its data overtook
/// its acknowledgement, the server sends its SYN-ACK once more.
fn check_resets(told: &[Value]) {
    let torn = told.iter().filter(|it| it["seen"][0]["server"]["port"] == TORN);
    let (of_client, of_server): (Vec<&Value>, Vec<&Value>) = torn
        .flat_map(|it| it["segments"].as_array().into_iter().flatten())
        .filter(|segment| !segment["reset_from"].is_null())
        .partition(|reset| reset["sender"] == "client");
    assert_eq!(of_server.len(), TORN_CONNECTIONS, "{of_server:#?}");
    for reset in of_server {
        let told = ["reset_from", "after", "before"].map(|name| &reset[name]);
        assert_eq!(told, ["between", "server", "client"], "{reset:#}");
    }
    for reset in of_client {
        assert_eq!(reset["reset_from"], "host", "{reset:#}");
    }
}

/// All were joined through the translation, and the clock's difference is within its bound.
fn check_clocks(summary: &Value) {
    assert_eq!(summary["joined"]["isns"], CONNECTIONS + TORN_CONNECTIONS, "{summary:#}");
    let between = &summary["between"][0];
    let number = |name: &str| between[name].as_i64().unwrap_or_else(|| panic!("{name}: {summary:#}"));
    let (offset, bound) = (number("offset_ns"), number("offset_bound_ns"));
    eprintln!("the clock is found {offset} ns ahead, ± {bound}");
    assert!(offset.abs_diff(AHEAD_NS) <= bound.unsigned_abs(), "{summary:#}");
    assert!(bound < 1_000_000, "two hops between namespaces take less than 2 ms: {summary:#}");
}

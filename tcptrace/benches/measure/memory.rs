//! What a connection takes in memory while it is open, whether a full table is a slow one, and what a trace takes when
//! nothing happens.

use crate::{
    alloc,
    live::tools::OURS,
    packets::Rng,
    process::{Ready, Running, Stdout},
    report::{self, Samples, Table},
    user::cpu_ns,
    world::World,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    error::Error,
    hint::black_box,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tcptrace::{
    event::{Kind, Kinds},
    segment::{Direction, Flow, Input, Segment, Sender, Timestamp},
    track::{Config, Tracker},
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
/// Connections that are closed and replaced in one round.
const TURNS: u32 = 50_000;
const SYN: TcpFlags = TcpFlags(0x02);
const SYN_ACK: TcpFlags = TcpFlags(0x12);
const ACK: TcpFlags = TcpFlags(0x10);
const FIN_ACK: TcpFlags = TcpFlags(0x11);

const FOOTNOTE: &str = "\
bytes a connection: what the allocator gave out and was not given back, for connections that were opened one after the
other and are established; peak: the most on the way there, while tables grow. ns a record: a random one of the open
connections closes and a new one opens, six records, events made and dropped, by the thread's CPU time; medians
(least..most) of rounds in turns. At rest: /proc/PID/status of `tcptrace -i lo` after two seconds without a packet, and
what the kernel counts for its maps. Start: from exec to the line that says what is traced.";

/// Memory, and speed when there is much in it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; an odd number
    #[arg(long, default_value_t = 9)]
    repeats: u32,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut full: Vec<Full> = SIZES.into_iter().map(Full::new).collect();
    for _ in 0..args.repeats {
        full.iter_mut().for_each(Full::churn);
    }
    let mut table =
        Table::new(&["open connections", "bytes each", "peak, bytes each", "ns a record", "ratio"]);
    let base = full[0].times.median();
    for full in &full {
        full.check()?;
        let time = &full.times;
        table.row([
            full.size.to_string(),
            format!("{:.0}", full.bytes),
            format!("{:.0}", full.peak),
            time.show(0),
            format!("{:.2}", time.median() / base),
        ]);
    }
    println!("\n{table}");
    let rest = at_rest()?;
    let starts = (0..args.repeats).map(|_| start_up()).collect::<Result<Samples, _>>()?;
    let mut table = Table::new(&["at rest", "MiB"]);
    for (name, mib) in &rest {
        table.row([name.clone(), format!("{mib:.2}")]);
    }
    println!("{table}\nstart-up: {} ms\n\n{FOOTNOTE}", starts.show(0));
    let Some(file) = &args.json else { return Ok(()) };
    let figures = json!({
        "tables": full.iter().map(|full| full.json(base)).collect::<Vec<_>>(),
        "at_rest_mib": rest.into_iter().map(|(name, mib)| (name, mib.into())).collect::<serde_json::Map<String, Value>>(),
        "start_up_ms": starts.json(),
        "note": FOOTNOTE,
    });
    report::write(file, "memory", &[], &figures)
}

/// A tracker with so many open connections.
struct Full {
    size: u32,
    bytes: f64,
    peak: f64,
    tracker: Tracker,
    /// The numbers of those that are open.
    open: Vec<u32>,
    next: u32,
    now: u64,
    rng: Rng,
    /// Nanoseconds a record.
    times: Samples,
    closed: u64,
}

impl Full {
    fn new(size: u32) -> Self {
        let wants = Kinds::ALL.without(Kind::Segment).without(Kind::Transition);
        // A second of TIME-WAIT is some hundred connections here: what is measured is the open ones.
        let config =
            Config { wants, max_connections: 2_000_000, time_wait_ns: 1_000_000_000, ..Config::default() };
        let mut now = 1_000_000_000;
        let fill = || {
            let mut tracker = Tracker::new(config);
            for number in 0..size {
                for input in opening(number, now) {
                    tracker.input(&input, &mut |event| drop(black_box(event)));
                }
                now += 10_000;
            }
            tracker
        };
        let (tracker, allocated) = alloc::count(fill);
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
        let each = |bytes: isize| bytes as f64 / f64::from(size);
        Self {
            size,
            bytes: each(allocated.bytes),
            peak: each(allocated.peak),
            tracker,
            open: (0..size).collect(),
            next: size,
            now: now + 1_000_000_000,
            rng: Rng(u64::from(size)),
            times: Samples::default(),
            closed: 0,
        }
    }

    fn churn(&mut self) {
        let mut inputs = Vec::new();
        for _ in 0..TURNS {
            let place = self.rng.below(self.open.len());
            let number = std::mem::replace(&mut self.open[place], self.next);
            inputs.extend(closing(number, self.now));
            inputs.extend(opening(self.next, self.now + 5_000_000));
            self.next += 1;
            self.now += 10_000_000;
        }
        let before = cpu_ns();
        self.tracker.inputs(&inputs, &mut |event| drop(black_box(event)));
        self.times.push((cpu_ns() - before) / f64::from(6 * TURNS));
        self.closed += u64::from(TURNS);
    }

    fn check(&self) -> Result<(), String> {
        let (open, closed) = (self.tracker.open(), self.tracker.counts().closed);
        if open == self.open.len() && closed == self.closed {
            return Ok(());
        }
        Err(format!("of {} connections {open} are open, and of {} {closed} closed", self.size, self.closed))
    }

    fn json(&self, base: f64) -> Value {
        json!({
            "open_connections": self.size,
            "bytes_each": self.bytes,
            "peak_bytes_each": self.peak,
            "ns_per_record": self.times.json(),
            "ratio": self.times.median() / base,
        })
    }
}

/// The client's side of connection `number`.
fn client(number: u32, ts: u64, flags: TcpFlags, seq: u32, ack: u32) -> Input {
    let mut src = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0];
    src[12..].copy_from_slice(&(0x0a00_0000 + number / 50_000).to_be_bytes());
    let mut dst = src;
    dst[12..].copy_from_slice(&[192, 0, 2, 1]);
    let src_port = u16::try_from(10_000 + number % 50_000).unwrap_or(u16::MAX);
    Input::Segment(Segment {
        ts: Timestamp(ts),
        flow: Flow {
            src,
            dst,
            src_port,
            dst_port: 443,
            interface: 1,
            vlan: [tcptrace_common::abi::NO_VLAN; 2],
            ipv6: false,
            tunnel: 0,
        },
        flags,
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        window: 500,
        payload_len: 0,
        fragmented: false,
        ttl: 64,
        id: 0,
        options: None,
        direction: Direction::Ingress,
        sender: Sender::There,
        lot: 0,
        encapsulation: None,
        socket: None,
        request: None,
    })
}

/// Likewise the server's.
fn server(number: u32, ts: u64, flags: TcpFlags, seq: u32, ack: u32) -> Input {
    let mut input = client(number, ts, flags, seq, ack);
    if let Input::Segment(segment) = &mut input {
        let Flow { src, dst, src_port, dst_port, .. } = segment.flow;
        segment.flow = Flow { src: dst, dst: src, src_port: dst_port, dst_port: src_port, ..segment.flow };
        segment.direction = Direction::Egress;
        segment.sender = Sender::Here;
    }
    input
}

fn opening(number: u32, ts: u64) -> [Input; 3] {
    [
        client(number, ts, SYN, 99, 0),
        server(number, ts + 1000, SYN_ACK, 499, 100),
        client(number, ts + 2000, ACK, 100, 500),
    ]
}

fn closing(number: u32, ts: u64) -> [Input; 3] {
    [
        client(number, ts, FIN_ACK, 200, 900),
        server(number, ts + 1000, FIN_ACK, 900, 201),
        client(number, ts + 2000, ACK, 201, 901),
    ]
}

/// MiB, by what they are for.
fn at_rest() -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    const MIB: f64 = 1024.0 * 1024.0;
    let world = World::new(0)?;
    let words = [OURS, "-i", "lo"].map(str::to_owned);
    let running = Running::start(&world.client, &words, Stdout::Null, Ready::Says("; Ctrl-C ends"))?;
    thread::sleep(Duration::from_secs(2));
    let mut rows: Vec<(String, f64)> = [
        ("resident, all", "VmRSS:"),
        ("resident, its own", "RssAnon:"),
        ("resident, of files and maps", "RssFile:"),
        ("resident, shared", "RssShmem:"),
        ("most ever resident", "VmHWM:"),
    ]
    .map(|(name, field)| (name.to_owned(), running.memory(field)))
    .into();
    let (mut pending, mut ring, mut other) = (0.0, 0.0, 0.0);
    for map in running.bpf_objects("map_id") {
        let field = |name: &str| map.get(name).map_or("", String::as_str);
        let mib = field("memlock").parse::<f64>()? / MIB;
        // BPF_MAP_TYPE_RINGBUF and BPF_MAP_TYPE_ARRAY (include/uapi/linux/bpf.h), whose values are a cache line each.
        match (field("map_type"), field("value_size")) {
            ("27", _) => ring += mib,
            ("2", "64") => pending += mib,
            _ => other += mib,
        }
    }
    if pending == 0.0 || ring == 0.0 {
        return Err("the kernel does not say how large the maps of tcptrace are".into());
    }
    let kernel = [
        ("kernel: the table of expected acknowledgements", pending),
        ("kernel: the ring", ring),
        ("kernel: other maps", other),
    ];
    rows.extend(kernel.map(|(name, mib)| (name.to_owned(), mib)));
    let kernel = pending + ring + other;
    // The ring is in the kernel's account already, and resident twice over besides (kernel/bpf/ringbuf.c,
    // bpf_ringbuf_area_alloc: its pages are mapped one after the other and once more, so that no record is torn).
    let mapped = running.resident("anon_inode:bpf-map");
    rows.push(("of that the kernel's maps, seen from here".to_owned(), mapped));
    let own = rows[0].1 - mapped;
    rows.push(("in all, the maps counted once".to_owned(), own + kernel));
    let file = rows[2].1 - mapped;
    rows.push(("in all but the pages of programs' files".to_owned(), own - file + kernel));
    running.stop()?;
    Ok(rows)
}

/// Milliseconds from the start to the first line.
fn start_up() -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut child = Command::new(OURS)
        .args(["-i", "lo"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stderr = child.stderr.take().ok_or("no standard error")?;
    let mut stderr = BufReader::new(stderr);
    stderr.read_line(&mut line)?;
    let took = start.elapsed();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no such process")?;
    kill_process(pid, Signal::INT)?;
    std::io::copy(&mut stderr, &mut std::io::sink())?;
    child.wait()?;
    if !line.contains("; Ctrl-C ends") {
        return Err(format!("tcptrace did not begin: {}", line.trim()).into());
    }
    Ok(took.as_secs_f64() * 1e3)
}

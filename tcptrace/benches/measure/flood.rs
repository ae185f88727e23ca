//! A flood of SYNs from random sources while real connections go on: what is seen, counted, kept and lost. The tracer
//! is on the server's side. And one that ends right behind our look: see `flood/alone.rs`.

mod alone;

use crate::{
    live::tools::OURS,
    load::{self, Load, Made, Placement},
    process::{Ready, Running, Stdout},
    report::{self, Table},
    world::{CLIENT_DEVICE, SERVER, SERVER_DEVICE, World},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead as _, BufReader, Read},
    net::TcpListener,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use tcptrace_testing::kernel::generator::{Generator, Sources, Target};

/// Real connections a second.
const RATE: f64 = 1000.0;
/// The servers' ports before, during and after the flood; their tens are the processors.
const PORTS: [u16; 3] = [8100, 8200, 8300];
const LISTENER: u16 = 7000;
const NOBODY: u16 = 7001;
/// Packets of one system call, at whose end the kernel waits for some 20 ms until its page pool is gone
/// (`net/bpf/test_run.c`, `xdp_test_run_teardown`): many, or that is what is measured.
const CHUNK: u32 = 500_000;

const FOOTNOTE: &str = "\
sent: SYNs given to the veth by the generator (BPF_F_TEST_XDP_LIVE_FRAMES), a second, before the tracer began and with
it (a processor makes them and takes them into the stack on the other side, by turns); dropped: by the veth, whose queue was full,
before anything of ours; seen: SYNs in our counters less those of the real connections; unexplained: what is left (SYNs
that real clients sent again count against it). right: of the real connections before, during and after the flood, those
reported closed and complete. MiB: the most of tcptrace that was resident.";

/// A SYN flood, with real connections among it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of the flood
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Of the floods that end behind our look, in turns
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only those
    #[arg(long)]
    alone: bool,
    /// Given to tcptrace too, such as `--max-connections 100000`
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    with: String,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

struct Case {
    about: &'static str,
    hook: &'static str,
    port: u16,
    /// The frames are for this host, and not for another one that is only heard.
    ours: bool,
}

const CASES: [Case; 6] = [
    Case { about: "XDP, another host's", hook: "xdp", port: NOBODY, ours: false },
    Case { about: "XDP, nobody listens", hook: "xdp", port: NOBODY, ours: true },
    Case { about: "XDP, a listener", hook: "xdp", port: LISTENER, ours: true },
    Case { about: "TC, another host's", hook: "tc", port: NOBODY, ours: false },
    Case { about: "TC, nobody listens", hook: "tc", port: NOBODY, ours: true },
    Case { about: "TC, a listener", hook: "tc", port: LISTENER, ours: true },
];

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new(&[
        "flood",
        "million/s without",
        "sent",
        "dropped",
        "seen",
        "unexplained",
        "records lost",
        "right: before",
        "during",
        "after",
        "MiB",
    ]);
    let mut figures = Vec::new();
    for case in CASES.iter().filter(|_| !args.alone) {
        let found = flood(case, args).map_err(|error| format!("{}: {error}", case.about))?;
        println!("{}: the last statistics: {}", case.about, found.stats);
        table.row(found.cells(case));
        figures.push(found.json(case));
    }
    if !args.alone {
        println!("\n{table}\n{FOOTNOTE}");
    }
    let (alone, text) = alone::run(args.rounds, args.seconds)?;
    println!("\n{text}");
    let figures = json!({ "floods": figures, "note": FOOTNOTE, "alone": alone });
    args.json.as_ref().map_or(Ok(()), |file| report::write(file, "flood", &[], &figures))
}

/// What came of one flood.
struct Found {
    /// A second, before the tracer began.
    without: f64,
    sent: u64,
    seconds: f64,
    dropped: u64,
    /// Real connections, before, during and after.
    made: [Made; 3],
    right: [u64; 3],
    peak_mib: f64,
    stats: Value,
}

impl Found {
    fn number(&self, path: &str) -> u64 {
        self.stats.pointer(path).and_then(Value::as_u64).unwrap_or(0)
    }

    fn seen(&self) -> u64 {
        let real: u64 = self.made.iter().map(|made| made.connections + made.failed).sum();
        self.number("/segments/syn").saturating_sub(real)
    }

    fn unexplained(&self) -> i64 {
        (self.sent - self.dropped).cast_signed() - self.seen().cast_signed()
    }

    fn right(&self) -> [String; 3] {
        std::array::from_fn(|phase| format!("{}/{}", self.right[phase], self.made[phase].connections))
    }

    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    fn cells(&self, case: &Case) -> Vec<String> {
        let counts = [self.dropped, self.seen()].map(|number| number.to_string());
        let millions = [self.without, self.rate()].map(|rate| format!("{:.2}", rate / 1e6));
        let tail = [self.unexplained().to_string(), self.number("/records_lost").to_string()];
        let cells = [case.about.to_owned()].into_iter().chain(millions).chain(counts).chain(tail);
        cells.chain(self.right()).chain([format!("{:.0}", self.peak_mib)]).collect()
    }

    fn json(&self, case: &Case) -> Value {
        json!({
            "flood": case.about,
            "sent_per_second_without": self.without,
            "sent": self.sent,
            "sent_per_second": self.rate(),
            "dropped_by_veth": self.dropped,
            "seen": self.seen(),
            "unexplained": self.unexplained(),
            "real_made": self.made.each_ref().map(|made| made.connections),
            "real_right": self.right,
            "peak_mib": self.peak_mib,
            "stats": self.stats,
        })
    }
}

fn flood(case: &Case, args: &Args) -> Result<Found, Box<dyn Error>> {
    let world = World::new(load::pairs())?;
    world.server.ip(&["route", "add", "11.0.0.0/8", "via", "10.77.0.1"]);
    // Frames reach a veth without an XDP program only through its NAPI, which GRO switches on.
    world.server.run("ethtool", &["-K", SERVER_DEVICE, "gro", "on"]);
    let _listener = world.server.enter(|| TcpListener::bind((std::net::Ipv4Addr::from(SERVER), LISTENER)))?;
    let generator = generator(&world, case, SYN)?;
    let without = world.client.enter(|| send(&generator, CHUNK, args.seconds / 2.0))?;
    let words = [OURS, "-i", SERVER_DEVICE, "--ingress", case.hook, "--json", "--stats-interval", "1s"];
    let words: Vec<String> =
        words.into_iter().chain(args.with.split_whitespace()).map(str::to_owned).collect();
    let mut running = Running::start(&world.server, &words, Stdout::Pipe, Ready::Says("; Ctrl-C ends"))?;
    let output = running.output().ok_or("tcptrace has no output")?;
    let reader = thread::spawn(move || read(output));

    let real = |phase: usize, seconds: f64| {
        let time = Duration::from_secs_f64(seconds);
        load::run(&world, Load { time, rate: Some(RATE), port: PORTS[phase], placement: Placement::Free })
    };
    let before = real(0, 1.0)?;
    let dropped_before = dropped(&world)?;
    let (during, sent) = thread::scope(|scope| {
        let sender = scope.spawn(|| world.client.enter(|| send(&generator, CHUNK, args.seconds)));
        (real(1, args.seconds), sender.join())
    });
    let (sent, seconds, _) =
        sent.map_err(|_| "the generator panicked")?.map_err(|error| format!("the generator: {error}"))?;
    let dropped = dropped(&world)? - dropped_before;
    let after = real(2, 3.0)?;
    running.settle(Duration::ZERO);
    let peak_mib = running.peak_mib();
    let ended = running.stop()?;
    let Told { by_port, stats, .. } = reader.join().map_err(|_| "the reader panicked")??;
    let stats = stats.ok_or_else(|| format!("no statistics: {}", ended.said()))?;
    let right = PORTS.map(|port| by_port.get(&(port / 100)).copied().unwrap_or(0));
    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    let without = without.0 as f64 / without.1;
    let found =
        Found { without, sent, seconds, dropped, made: [before, during?, after], right, peak_mib, stats };
    if found.seen() == 0 || found.right[0] == 0 {
        return Err(format!(
            "nothing was seen of {sent} packets or of the real connections: {}",
            found.stats
        )
        .into());
    }
    Ok(found)
}

/// What is sent: control bits, and from whom.
type Kind = (u8, Sources);

const SYN: Kind = (0x02, Sources::All);

fn generator(world: &World, case: &Case, (flags, sources): Kind) -> Result<Generator, Box<dyn Error>> {
    let mac = |text: &str| -> Result<[u8; 6], Box<dyn Error>> {
        let links: Value = serde_json::from_str(text)?;
        let address = links[0]["address"].as_str().ok_or("no address")?;
        let octets =
            address.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<Vec<_>, _>>()?;
        octets.try_into().map_err(|_| "an address that is not Ethernet's".into())
    };
    let link = world.client.ip(&["-j", "link", "show", CLIENT_DEVICE]);
    let links: Value = serde_json::from_str(&link)?;
    let device = links[0]["ifindex"].as_u64().ok_or("no interface index")?;
    let server = mac(&world.server.ip(&["-j", "link", "show", SERVER_DEVICE]))?;
    // Not multicast, and nobody's.
    let destination = if case.ours { server } else { [2, 0, 0, 0, 0, 9] };
    let target = Target {
        device: u32::try_from(device)?,
        ethernet: [destination, mac(&link)?],
        address: SERVER,
        port: case.port,
        flags,
        sources,
    };
    Ok(world.client.enter(|| Generator::new(&target))?)
}

/// How many, in how many seconds, and in how many of them on a processor: what the kernel does with the packets on behalf
/// of this thread is in that, and what others do meanwhile is not, nor the wait at each end.
fn send(generator: &Generator, chunk: u32, seconds: f64) -> std::io::Result<(u64, f64, f64)> {
    let start = Instant::now();
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    let mut sent = 0;
    while start.elapsed().as_secs_f64() < seconds {
        generator.send(chunk)?;
        sent += u64::from(chunk);
    }
    let now = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let cpu = (now.tv_sec - cpu.tv_sec) as f64 + (now.tv_nsec - cpu.tv_nsec) as f64 / 1e9;
    Ok((sent, start.elapsed().as_secs_f64(), cpu))
}

/// What the client's device could not hand to the server's, of frames that a program sent.
fn dropped(world: &World) -> Result<u64, Box<dyn Error>> {
    let said = world.client.run("ethtool", &["-S", CLIENT_DEVICE]);
    let mut found = None;
    for line in said.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.trim().starts_with("tx_queue_")
            && name.ends_with("_xdp_xmit_errors")
        {
            *found.get_or_insert(0) += value.trim().parse::<u64>()?;
        }
    }
    found.ok_or_else(|| "ethtool -S does not tell what a veth drops".into())
}

/// What tcptrace told.
struct Told {
    /// Of the real connections, those reported right, by the hundreds of the server's port.
    by_port: BTreeMap<u16, u64>,
    /// The last statistics.
    stats: Option<Value>,
    /// The least share that was ever admitted.
    least_admission: f64,
}

fn read(output: impl Read) -> std::io::Result<Told> {
    let mut reader = BufReader::with_capacity(1 << 20, output);
    let mut told = Told { by_port: BTreeMap::new(), stats: None, least_admission: 1.0 };
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(b"{\"event\":\"connection\"") {
            if let Some(port) = server_port(&line).filter(|&port| port >= PORTS[0])
                && let Ok(event) = serde_json::from_slice::<Value>(&line)
                && event["outcome"] == "closed"
                && event["complete"] == true
            {
                *told.by_port.entry(port / 100).or_default() += 1;
            }
        } else if line.starts_with(b"{\"event\":\"stats\"") {
            told.stats = serde_json::from_slice(&line).ok();
            let rate = told.stats.as_ref().and_then(|stats| stats["admission_rate"].as_f64());
            told.least_admission = told.least_admission.min(rate.unwrap_or(1.0));
        }
        line.clear();
    }
    Ok(told)
}

/// Without parsing the rest: most lines are the flood's.
fn server_port(line: &[u8]) -> Option<u16> {
    const BEFORE: &[u8] = b"\"server\":{\"ip\":\"10.77.0.2\",\"port\":";
    let at = line.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let digits = line[at..].split(|octet| !octet.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

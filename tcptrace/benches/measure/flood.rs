//! A flood of SYNs from random sources while real connections go on: what is seen, counted, kept and lost. The tracer
//! is on the server's side.

use crate::{
    live::tools::OURS,
    load::{self, Load, Made, Placement},
    process::{Ready, Running, Stdout},
    report::{self, Table},
    world::{CLIENT_DEVICE, SERVER, SERVER_DEVICE, World},
};
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
use tcptrace::kernel::generator::{Generator, Target};

/// Real connections a second.
const RATE: f64 = 1000.0;
/// The servers' ports before, during and after the flood; their tens are the processors.
const PORTS: [u16; 3] = [8100, 8200, 8300];
const LISTENER: u16 = 7000;
const NOBODY: u16 = 7001;
/// Packets of one system call.
const CHUNK: u32 = 20_000;

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
    for case in &CASES {
        let found = flood(case, args).map_err(|error| format!("{}: {error}", case.about))?;
        println!("{}: the last statistics: {}", case.about, found.stats);
        table.row(found.cells(case));
        figures.push(found.json(case));
    }
    println!("\n{table}\n{FOOTNOTE}");
    match &args.json {
        Some(file) => report::write(file, "flood", &[], &json!({ "floods": figures, "note": FOOTNOTE })),
        None => Ok(()),
    }
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
    let generator = generator(&world, case)?;
    let without = world.client.enter(|| send(&generator, args.seconds / 2.0))?;
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
        let sender = scope.spawn(|| world.client.enter(|| send(&generator, args.seconds)));
        (real(1, args.seconds), sender.join())
    });
    let (sent, seconds) =
        sent.map_err(|_| "the generator panicked")?.map_err(|error| format!("the generator: {error}"))?;
    let dropped = dropped(&world)? - dropped_before;
    let after = real(2, 3.0)?;
    running.settle(Duration::ZERO);
    let peak_mib = running.peak_mib();
    let ended = running.stop()?;
    let (by_port, stats) = reader.join().map_err(|_| "the reader panicked")??;
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

fn generator(world: &World, case: &Case) -> Result<Generator, Box<dyn Error>> {
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
    };
    Ok(world.client.enter(|| Generator::new(&target))?)
}

/// How many, in how many seconds.
fn send(generator: &Generator, seconds: f64) -> std::io::Result<(u64, f64)> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed().as_secs_f64() < seconds {
        generator.send(CHUNK)?;
        sent += u64::from(CHUNK);
    }
    Ok((sent, start.elapsed().as_secs_f64()))
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

/// Of the real connections, those reported right, by the hundreds of the server's port; and the last statistics.
type Told = (BTreeMap<u16, u64>, Option<Value>);

fn read(output: impl Read) -> std::io::Result<Told> {
    let mut reader = BufReader::with_capacity(1 << 20, output);
    let (mut by_port, mut stats, mut line) = (BTreeMap::new(), None, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(b"{\"event\":\"connection\"") {
            if let Some(port) = server_port(&line).filter(|&port| port >= PORTS[0])
                && let Ok(event) = serde_json::from_slice::<Value>(&line)
                && event["outcome"] == "closed"
                && event["complete"] == true
            {
                *by_port.entry(port / 100).or_default() += 1;
            }
        } else if line.starts_with(b"{\"event\":\"stats\"") {
            stats = serde_json::from_slice(&line).ok();
        }
        line.clear();
    }
    Ok((by_port, stats))
}

/// Without parsing the rest: most lines are the flood's.
fn server_port(line: &[u8]) -> Option<u16> {
    const BEFORE: &[u8] = b"\"server\":{\"ip\":\"10.77.0.2\",\"port\":";
    let at = line.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let digits = line[at..].split(|octet| !octet.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

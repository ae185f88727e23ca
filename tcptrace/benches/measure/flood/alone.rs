//! What our own look makes of a flood: all packets are dropped right behind it, by a program that differs from ours in that
//! alone, so that neither the stack nor anything else limits how many come.

use super::{Case, Kind, NOBODY, dropped, generator, read, send};
use crate::{
    live::tools::OURS,
    process::{Ready, Running, Stdout},
    report::{Samples, Table},
    world::{SERVER_DEVICE, World},
};
use serde_json::{Value, json};
use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use tcptrace_common::{abi::SEED_WORDS, admission::Admission};
use tcptrace_testing::kernel::{
    drain::{self, Drain},
    generator::{Generator, Sources},
    test_run::Harness,
};

/// Packets of one system call, see [`super::CHUNK`].
const CHUNK: u32 = 5_000_000;
const RING: u32 = 8 << 20;
/// What `tcptrace` never goes below.
const LEAST: Admission = Admission::one_in(1 << 16);

const FOOTNOTE: &str = "\
million/s: packets that native XDP on a veth dropped in a second of the processor that makes them and takes them there, at
once, or after our look; by the clock: the same in a second of the day, in which others had the processor too. The program that looks and then
drops is ours but for its verdict; tcptrace passes everything on, never loads this one, and the stack then takes several
times as long for a packet as all of this. ns more: a packet, over the same kind dropped at once in the same round. arrived,
seen: packets sent less those that the veth had no room for, and our counter of them, which must be the same. records: made,
and of them lost as the ring was full; overwrites: of expected acknowledgements. Where nothing else is said the sources are
random (11.0.0.0/8 and all ports) and a reader throws records away. 'as tcptrace admits': it runs with --json and
--max-connections 100000, and decides by itself; its CPU seconds for a million packets, and the most that was resident, MiB.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Records of all are made and thrown away.
    All,
    /// All but the least are shed.
    Least,
    /// A tcptrace that runs decides.
    Tcptrace,
}

struct Row {
    about: &'static str,
    kind: Kind,
    kept: Kept,
}

const fn row(about: &'static str, flags: u8, sources: Sources, kept: Kept) -> Row {
    Row { about, kind: (flags, sources), kept }
}

const ACK: u8 = 0x10;

const ROWS: [Row; 16] = [
    row("SYN, all admitted", 0x02, Sources::All, Kept::All),
    row("SYN, 1 in 65,536 admitted", 0x02, Sources::All, Kept::Least),
    row("SYN, as tcptrace admits", 0x02, Sources::All, Kept::Tcptrace),
    row("SYN-ACK, all admitted", 0x12, Sources::All, Kept::All),
    row("SYN-ACK, 1 in 65,536 admitted", 0x12, Sources::All, Kept::Least),
    row("SYN-ACK, as tcptrace admits", 0x12, Sources::All, Kept::Tcptrace),
    row("FIN, all admitted", ACK | 0x01, Sources::All, Kept::All),
    row("FIN, as tcptrace admits", ACK | 0x01, Sources::All, Kept::Tcptrace),
    row("RST, all admitted", 0x04, Sources::All, Kept::All),
    row("RST, as tcptrace admits", 0x04, Sources::All, Kept::Tcptrace),
    row("ACK, of 1 flow", ACK, Sources::Bits(0), Kept::All),
    row("ACK, of 131,072 flows", ACK, Sources::Bits(17), Kept::All),
    row("ACK, of random flows", ACK, Sources::All, Kept::All),
    row("SYN-ACK again, of 131,072 flows", 0x12, Sources::Bits(17), Kept::All),
    row("no control bit, all admitted", 0, Sources::All, Kept::All),
    row("ACK, as tcptrace admits", ACK, Sources::All, Kept::Tcptrace),
];

/// What came of one round.
#[derive(Default)]
struct Round {
    /// Dropped at once.
    none: Flood,
    /// After our look.
    ours: Flood,
    seen: u64,
    made: u64,
    lost: u64,
    shed: u64,
    overwrites: u64,
    admission: f64,
    /// CPU seconds and MiB of tcptrace.
    own: Option<(f64, f64)>,
}

/// So many rounds of each in turns, of so many seconds. The figures, and what is to be read of them.
pub(super) fn run(rounds: u32, seconds: f64) -> Result<(Value, String), Box<dyn Error>> {
    let mut found: Vec<Vec<Round>> = ROWS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (row, found) in ROWS.iter().zip(&mut found) {
            let round = round(row, seconds).map_err(|error| format!("{}: {error}", row.about))?;
            if round.seen != round.ours.packets {
                let arrived = round.ours.packets;
                return Err(format!("{}: {arrived} arrived, {} were seen", row.about, round.seen).into());
            }
            found.push(round);
        }
    }
    let mut table = Table::new(&[
        "",
        "million/s at once",
        "after our look",
        "ns more",
        "by the clock",
        "packets",
        "records",
        "lost",
        "overwrites",
        "admitted at least",
        "CPU s",
        "MiB",
    ]);
    let mut figures = Vec::new();
    for (row, rounds) in ROWS.iter().zip(&found) {
        let samples = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Samples>();
        let sum = |field: fn(&Round) -> u64| rounds.iter().map(field).sum::<u64>();
        let (at_once, ours) = (samples(|r| 1e3 / r.none.ns), samples(|r| 1e3 / r.ours.ns));
        let more = samples(|r| r.ours.ns - r.none.ns);
        let by_clock = samples(|r| r.ours.per_second / 1e6);
        let counts = [sum(|r| r.ours.packets), sum(|r| r.made), sum(|r| r.lost), sum(|r| r.overwrites)];
        let least = rounds.iter().map(|round| round.admission).fold(1.0, f64::min);
        #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
        let cpu: Samples =
            rounds.iter().filter_map(|r| Some(r.own?.0 * 1e6 / r.ours.packets as f64)).collect();
        let mib: Samples = rounds.iter().filter_map(|r| Some(r.own?.1)).collect();
        let cells = [row.about.to_owned(), at_once.show(2), ours.show(2), more.show(1), by_clock.show(2)];
        let cells = cells.into_iter().chain(counts.map(|count| count.to_string()));
        let tail = [format!("{least:.6}"), cpu.show(3), mib.show(0)];
        table.row(cells.chain(tail));
        figures.push(json!({
            "flood": row.about, "million_per_second_dropped_at_once": at_once.json(),
            "million_per_second": ours.json(), "ns_more": more.json(), "million_per_second_by_clock": by_clock.json(), "packets": counts[0], "records": counts[1],
            "records_lost": counts[2], "pending_overwrites": counts[3], "admission_at_least": least,
            "cpu_seconds_per_million": cpu.json(), "peak_mib": mib.json(),
        }));
    }
    let text = format!("{table}\n{FOOTNOTE}");
    Ok((json!({ "rows": figures, "note": FOOTNOTE }), text))
}

fn round(row: &Row, seconds: f64) -> Result<Round, Box<dyn Error>> {
    let world = World::new(1)?;
    let link: Value = serde_json::from_str(&world.server.ip(&["-j", "link", "show", SERVER_DEVICE]))?;
    let device = u32::try_from(link[0]["ifindex"].as_u64().ok_or("no interface index")?)?;
    let case = Case { about: "", hook: "xdp", port: NOBODY, ours: true };
    let generator = generator(&world, &case, row.kind)?;
    let flood = || flood(&world, &generator, seconds);
    let drain = world.server.enter(|| Drain::attach(device))?;
    let none = flood()?;
    drop(drain);
    let found = match row.kept {
        Kept::All | Kept::Least => {
            let admission = if row.kept == Kept::All { Admission::ALL } else { LEAST };
            let seeds = seeds()?;
            let mut ours = world.server.enter(|| drain::attach(device, &seeds, RING))?;
            ours.set_admission(admission)?;
            let flood = read_meanwhile(&mut ours, flood)?;
            Round { ours: flood, admission: admission.rate(), ..counted(&ours)? }
        }
        Kept::Tcptrace => with_tcptrace(&world, device, flood)?,
    };
    Ok(Round { none, ..found })
}

/// With a tcptrace that decides what is admitted, and whose maps our look has.
fn with_tcptrace(
    world: &World,
    device: u32,
    flood: impl FnOnce() -> Result<Flood, Box<dyn Error>>,
) -> Result<Round, Box<dyn Error>> {
    let words =
        [OURS, "-i", SERVER_DEVICE, "--json", "--stats-interval", "1s", "--max-connections", "100000"];
    let words = words.map(str::to_owned);
    let mut running = Running::start(&world.server, &words, Stdout::Pipe, Ready::Says("; Ctrl-C ends"))?;
    let output = running.output().ok_or("tcptrace has no output")?;
    let reader = thread::spawn(move || read(output));
    let maps = running.bpf_objects("map_id");
    let maps: Vec<u32> = maps.iter().filter_map(|map| map.get("map_id")?.parse().ok()).collect();
    let seeds = seeds()?;
    let ours = world.server.enter(|| drain::attach_for(device, &seeds, &maps))?;
    let flood = flood()?;
    running.settle(Duration::ZERO);
    let counted = counted(&ours)?;
    drop(ours);
    let own = Some((running.cpu(), running.peak_mib()));
    let ended = running.stop()?;
    let told = reader.join().map_err(|_| "the reader panicked")??;
    let last = told.stats.ok_or_else(|| format!("no statistics: {}", ended.said()))?;
    let segments = last["segments"].as_object().into_iter().flatten();
    let by_kind: u64 = segments.filter_map(|(_, count)| count.as_u64()).sum();
    if by_kind != counted.made + counted.lost + counted.shed {
        return Err(format!("what was counted is not what was told: {last}").into());
    }
    let lost = last["records_lost"].as_u64().unwrap_or(u64::MAX);
    Ok(Round { ours: flood, lost, admission: told.least_admission, own, ..counted })
}

/// From the counters.
fn counted(ours: &Harness) -> Result<Round, Box<dyn Error>> {
    let counters = ours.counters()?;
    Ok(Round {
        seen: counters.tcp_packets,
        made: counters.emitted.iter().sum(),
        lost: counters.ring_full.iter().sum(),
        shed: counters.shed.iter().sum(),
        overwrites: counters.pending_overwrites,
        ..Round::default()
    })
}

/// What arrived at the other end.
#[derive(Clone, Copy, Default)]
struct Flood {
    packets: u64,
    /// Nanoseconds a packet, of the processor that makes them and takes them through XDP on the other side.
    ns: f64,
    /// Of them a second, by the clock on the wall: less, where others have the processor too.
    per_second: f64,
}

fn flood(world: &World, generator: &Generator, seconds: f64) -> Result<Flood, Box<dyn Error>> {
    let before = dropped(world)?;
    let (sent, took, cpu) = world.client.enter(|| send(generator, CHUNK, seconds))?;
    let packets = sent - (dropped(world)? - before);
    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    let number = packets as f64;
    Ok(Flood { packets, ns: cpu * 1e9 / number, per_second: number / took })
}

/// Does something while the ring is read as fast as can be.
fn read_meanwhile<T: Send>(
    ours: &mut Harness,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<(), String> {
            while !over.load(Ordering::Relaxed) {
                if ours.discard().map_err(|error| error.to_string())? == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader of the ring panicked")??;
        done
    })
}

/// New ones.
fn seeds() -> Result<[u64; SEED_WORDS], Box<dyn Error>> {
    let mut bytes = [0; SEED_WORDS * 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(std::array::from_fn(|at| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at * 8 + byte]))))
}

//! What user space makes of the ring's records, layer by layer, on one processor: by its own time, and in instructions,
//! which nothing else on the machine disturbs.

mod known;
mod layers;
pub(crate) mod stream;

use crate::{
    alloc,
    report::{self, Samples, Table},
};
use layers::{LAYERS, Layer};
use serde_json::{Value, json};
use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use stream::{RECORDS, Stream};

/// Of one run under callgrind, which takes fifty times as long.
const FEW: u32 = 4000;

const FOOTNOTE: &str = "\
Connections of six records each, 40,000 a second, some 4,000 open at a time, those that ended remembered for a minute as
in a trace. By the thread's own CPU time, medians (least..most) of passes in turns; the pass before them fills the
tables. Output goes to memory in batches and is thrown away. ratio: time of the row over that of the first.
instructions: by callgrind, a record, the difference of two runs (it knows no SHA instructions, so a Community ID counts
more than it takes). allocations: calls for memory for 1,000 connections, when all is warm.";

/// Decoding, tracking and each sink, from prepared records
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections in a pass
    #[arg(long, default_value_t = 200_000)]
    connections: u32,
    /// Passes; an odd number
    #[arg(long, default_value_t = 5)]
    repeats: u32,
    /// Only this layer, for a profiler
    #[arg(long)]
    layer: Option<String>,
    /// Do not count instructions, which needs valgrind
    #[arg(long)]
    no_instructions: bool,
    /// Count instructions alone, and fail if a layer takes over 5 % more than is checked in
    #[arg(long, conflicts_with_all = ["layer", "no_instructions"])]
    check: bool,
    /// Count instructions alone, and write them down to be checked in
    #[arg(long, conflicts_with_all = ["layer", "no_instructions", "check"])]
    accept: bool,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(name) = &args.layer {
        let names = LAYERS.map(|layer| layer.name).join(", ");
        let found = LAYERS.iter().find(|layer| layer.name == *name);
        let layer = found.ok_or_else(|| format!("there is no layer '{name}'; there is: {names}"))?;
        return alone(layer, args);
    }
    if args.check || args.accept {
        return count_alone(args.accept);
    }
    let mut stream = Stream::new(args.connections);
    let mut states = LAYERS.each_ref().map(|layer| (layer.start)());
    let mut times = LAYERS.each_ref().map(|_| Samples::default());
    for pass in 0..=args.repeats {
        for (state, times) in states.iter_mut().zip(&mut times) {
            let before = cpu_ns();
            state.pass(&stream);
            if pass > 0 {
                times.push(cpu_ns() - before);
            }
        }
        stream.go_on();
    }
    let mut rows = Vec::new();
    for ((layer, mut state), times) in LAYERS.iter().zip(states).zip(times) {
        let ((), allocated) = alloc::count(|| state.pass(&stream));
        state.check(args.connections)?;
        let instructions = if args.no_instructions { None } else { Some(instructions(layer)?) };
        rows.push(Row { layer, times, allocations: allocated.calls, instructions });
    }
    print(&rows, args.connections);
    match &args.json {
        Some(file) => {
            let layers = rows.iter().map(|row| row.json(args.connections)).collect::<Vec<_>>();
            let figures = json!({ "connections": args.connections, "layers": layers, "note": FOOTNOTE });
            report::write(file, "user", &["valgrind"], &figures)
        }
        None => Ok(()),
    }
}

/// The instructions of each layer, which nothing else on the machine changes.
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn count_alone(accept: bool) -> Result<(), Box<dyn Error>> {
    let counts = LAYERS.iter().map(|layer| Ok((layer.name.to_owned(), instructions(layer)?)));
    let counts = counts.collect::<Result<_, Box<dyn Error>>>()?;
    if accept {
        known::accept(&counts)?;
    }
    known::check(&counts)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// One layer and nothing else.
fn alone(layer: &Layer, args: &Args) -> Result<(), Box<dyn Error>> {
    let mut stream = Stream::new(args.connections);
    let mut state = (layer.start)();
    for _ in 0..args.repeats {
        state.pass(&stream);
        stream.go_on();
    }
    state.check(args.connections)
}

struct Row {
    layer: &'static Layer,
    /// Nanoseconds of a pass.
    times: Samples,
    allocations: u64,
    instructions: Option<f64>,
}

impl Row {
    /// A figure that falls as the time rises, so its least belongs to the most of these.
    fn per_pass(&self, amount: f64) -> Samples {
        [self.times.min(), self.times.median(), self.times.max()]
            .into_iter()
            .map(|time| amount / time)
            .collect()
    }

    fn records_per_second(&self, connections: u32) -> Samples {
        self.per_pass(f64::from(connections) * count(RECORDS) * 1e9)
    }

    fn seconds_per_100k(&self, connections: u32) -> f64 {
        self.times.median() / 1e9 * 1e5 / f64::from(connections)
    }

    fn json(&self, connections: u32) -> Value {
        json!({
            "layer": self.layer.name,
            "about": self.layer.about,
            "records_per_second": self.records_per_second(connections).json(),
            "cpu_seconds_per_100k_connections": self.seconds_per_100k(connections),
            "instructions_per_record": self.instructions,
            "allocations_per_1000_connections": self.allocations * 1000 / u64::from(connections),
        })
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(rows: &[Row], connections: u32) {
    let mut table = Table::new(&[
        "",
        "million records/s",
        "CPU s/100,000 conn.",
        "ratio",
        "instructions/record",
        "allocations/1,000 conn.",
        "name",
    ]);
    for row in rows {
        let millions = row.per_pass(f64::from(connections) * count(RECORDS) * 1e3);
        table.row([
            row.layer.about.to_owned(),
            millions.show(2),
            format!("{:.3}", row.seconds_per_100k(connections)),
            format!("{:.1}", row.times.median() / rows[0].times.median()),
            row.instructions.map_or_else(String::new, |number| format!("{number:.0}")),
            (row.allocations * 1000 / u64::from(connections)).to_string(),
            row.layer.name.to_owned(),
        ]);
    }
    println!("\n{table}\n{FOOTNOTE}");
}

/// Of a record, beyond what making the stream and starting takes: two runs that differ in two passes.
fn instructions(layer: &Layer) -> Result<f64, Box<dyn Error>> {
    let (one, three) = (under_callgrind(layer, 1)?, under_callgrind(layer, 3)?);
    // A pass is also moved on, which every row has alike and the first layer's test knows.
    Ok((three - one) / (2.0 * f64::from(FEW) * count(RECORDS)))
}

fn under_callgrind(layer: &Layer, passes: u32) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["user", "--layer", layer.name, "--repeats", &passes.to_string()])
        .args(["--connections", &FEW.to_string()])
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}; --no-instructions does without"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.ok_or_else(|| {
        format!("valgrind counted nothing: {}", said.lines().last().unwrap_or("it said nothing")).into()
    })
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Of this thread, nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are a hundred days")]
pub(crate) fn cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

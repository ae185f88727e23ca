//! How fast capture files are read, beside the programs that people read them with now: `cargo xtask bench offline`,
//! which installs those. `--json FILE` writes the figures to a file too.
//!
//! With files as arguments, what each layer of ours costs over these: `cargo bench --bench offline -- FILE ...`.
#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

mod generate;
mod layers;
#[expect(dead_code, reason = "shared with the other measurements")]
#[path = "../measure/report.rs"]
mod report;
mod tools;

use generate::{Contents, Written};
use serde_json::{Value, json};
use std::{
    env,
    error::Error,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tools::{Cost, TOOLS, Tool};

/// A question, and the files that answer it.
struct Case {
    name: &'static str,
    about: &'static str,
    contents: Contents,
    /// For tools that would take minutes.
    short: Contents,
}

const CASES: [Case; 2] = [
    Case {
        name: "data",
        about: "20,000 connections, all open at once, mostly data",
        contents: Contents { connections: 20_000, data: 2_400_000, step: 1 },
        short: Contents { connections: 2_000, data: 240_000, step: 1 },
    },
    Case {
        name: "handshakes",
        about: "600,000 connections of three segments to open and three to close, 2,800 a second",
        contents: Contents { connections: 600_000, data: 0, step: 60 },
        short: Contents { connections: 40_000, data: 0, step: 60 },
    },
];

const FOOTNOTE: &str = "\
One run after the other on one core, files in the page cache, standard output to /dev/null. Rates are by processor time
(user and system, of all threads and with the start of the program), so that what else runs on the machine counts for
less; in the row of all cores they are by the wall clock. Median of 5 runs of ours, of 3 of tcpdump's filter, and single
runs of the rest. The ratio is that of packets/s of ours, summary only, to the row's. Memory is ru_maxrss: all resident
pages, with those of shared libraries. (short) is a smaller file by the same generator.";

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let mut json_file = None;
    let mut files = Vec::new();
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json_file = Some(arguments.next().ok_or("--json needs a file")?),
            option if option.starts_with('-') => {
                return Err(format!("'{option}' is no option; there is --json FILE").into());
            }
            _ => files.push(argument),
        }
    }
    if !files.is_empty() {
        return Ok(files.iter().try_for_each(|file| layers::measure(Path::new(file)))?);
    }
    let cases = CASES.iter().map(compare).collect::<Result<Vec<_>, _>>()?;
    println!("\n{FOOTNOTE}");
    if let Some(file) = json_file {
        let figures = json!({ "cases": cases, "note": FOOTNOTE });
        report::write(Path::new(&file), "offline", &["tshark", "tcpdump"], &figures)?;
    }
    Ok(())
}

/// Runs every tool over the files of one case and prints its table.
fn compare(case: &Case) -> Result<Value, Box<dyn Error>> {
    let (whole, written) = file(case.name, case.contents)?;
    let (short, written_short) = file(&format!("{}-short", case.name), case.short)?;
    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    let megabytes = written.bytes as f64 / 1e6;
    println!("\n{}: {} packets, {megabytes:.0} MB: {}", case.name, written.packets, case.about);
    println!(
        "{:<28} {:>10} {:>8} {:>8} {:>9} {:>7} {:>7}  asked",
        "", "packets/s", "wall s", "cpu s", "conn/s", "ratio", "MiB"
    );
    let mut rows = Vec::new();
    let mut first = None;
    for tool in &TOOLS {
        let is_short = tool.gets_the_short_file();
        let (path, written, contents) =
            if is_short { (&short, written_short, case.short) } else { (&whole, written, case.contents) };
        warm(path)?;
        let row = Row::new(tool, tools::median(tool, path)?, written, contents);
        let ratio = *first.get_or_insert(row.packets) / row.packets;
        print(tool, &row, ratio, is_short);
        rows.push(row.json(tool, ratio, written));
    }
    Ok(json!({ "case": case.name, "packets": written.packets, "bytes": written.bytes, "rows": rows }))
}

/// Writes a file under the target directory.
fn file(name: &str, contents: Contents) -> io::Result<(PathBuf, Written)> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join(name).with_extension("pcap");
    let written = generate::write(&path, contents)?;
    Ok((path, written))
}

/// Reads a file to its end, so that it lies in the page cache.
fn warm(path: &Path) -> io::Result<u64> {
    io::copy(&mut File::open(path)?, &mut io::sink())
}

/// The figures of one tool.
struct Row {
    cost: Cost,
    /// A second.
    packets: f64,
    /// A second.
    connections: f64,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 packets")]
    fn new(tool: &Tool, cost: Cost, written: Written, contents: Contents) -> Self {
        // GNU time counts hundredths.
        let seconds = tool.time(&cost).max(0.01);
        Self {
            cost,
            packets: written.packets as f64 / seconds,
            connections: f64::from(contents.connections) / seconds,
        }
    }

    fn json(&self, tool: &Tool, ratio: f64, written: Written) -> Value {
        let program = if tool.is_ours() { "tcptrace (ours)" } else { tool.program };
        json!({
            "tool": tool.name,
            "command": format!("{program} {}", tool.arguments),
            "runs": tool.runs,
            "packets": written.packets,
            "wall_seconds": self.cost.wall,
            "cpu_seconds": self.cost.processor,
            "packets_per_second": self.packets,
            "connections_per_second": self.connections,
            "ratio": ratio,
            "max_rss_kib": self.cost.kib,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a person to read")]
fn print(tool: &Tool, row: &Row, ratio: f64, short: bool) {
    let name = if short { format!("{} (short)", tool.name) } else { tool.name.to_owned() };
    println!(
        "{name:<28} {:>8.3} M {:>8.2} {:>8.2} {:>7.0} k {ratio:>6.1}x {:>7.1}  {}",
        row.packets / 1e6,
        row.cost.wall,
        row.cost.processor,
        row.connections / 1e3,
        row.cost.kib as f64 / 1024.0,
        tool.arguments
    );
}

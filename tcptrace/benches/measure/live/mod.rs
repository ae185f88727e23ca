//! What watching costs those who are watched: connections made one after the other, with and without each program
//! that watches, in turns.

pub(crate) mod count;
mod rows;
pub(crate) mod tools;

use crate::{
    load::{self, Load, Made, Placement},
    process::Running,
    report,
    world::World,
};
use count::Count;
use rows::Row;
use serde_json::json;
use std::{error::Error, fs, iter, path::PathBuf, thread, time::Duration};
use tools::{Program, TOOLS, Tool};

/// The servers listen from here on.
pub(crate) const PORT: u16 = 8000;
/// Connections of a round at the least: fewer say nothing about the CPU time of one.
const FEWEST: f64 = 500.0;
/// A second of the kernel's program statistics at the beginning is part of a trace; it is let pass.
const OUR_SAMPLE: Duration = Duration::from_millis(1100);
/// How long libpcap leaves packets in a block that is not full (tcpdump.c, `pcap_set_timeout`: 1000 ms).
const PACKET_TIMEOUT: Duration = Duration::from_millis(1200);

/// Churn, with and without each tool
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds with each tool and mode; an odd number
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Of one round
    #[arg(long, default_value_t = 0.8)]
    seconds: f64,
    /// Only these, by the names of the last column
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// Connections a second in the modes after the first; 0 leaves these out. At the lower ones caches are cold, and a round
    /// takes as long as it needs for 500 connections
    #[arg(long, value_delimiter = ',', default_value = "5000,1000,100")]
    rates: Vec<f64>,
    /// Which processors clients and servers are on
    #[arg(long, value_enum, default_value_t = Placement::Apart)]
    placement: Placement,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let names = TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>();
    if let Some(unknown) = args.tools.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no tool '{unknown}'; there is: {}", names.join(", ")).into());
    }
    let chosen = |tool: &&Tool| args.tools.is_empty() || args.tools.iter().any(|name| name == tool.name);
    let tools: Vec<&'static Tool> = TOOLS.iter().filter(chosen).collect();
    let world = World::new(load::pairs())?;
    let time = Duration::from_secs_f64(args.seconds);
    // The first connections of a namespace are slower than all others.
    load::run(
        &world,
        Load { time: Duration::from_secs(1), rate: None, port: PORT, placement: args.placement },
    )?;
    let rates = args.rates.iter().copied().filter(|&rate| rate > 0.0).map(Some);
    let mut modes = Vec::new();
    for rate in iter::once(None).chain(rates) {
        let least = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(FEWEST / rate));
        let load = Load { time: time.max(least), rate, port: PORT, placement: args.placement };
        modes.push(mode(&world, &tools, args.repeats, load)?);
    }
    let programs: Vec<&str> = tools.iter().filter_map(|tool| tool.binary()).collect();
    println!("{}", rows::FOOTNOTE);
    match &args.json {
        Some(file) => {
            report::write(file, "live", &programs, &json!({ "modes": modes, "note": rows::FOOTNOTE }))
        }
        None => Ok(()),
    }
}

/// One table.
fn mode(
    world: &World,
    tools: &[&'static Tool],
    repeats: u32,
    load: Load,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let mut rows: Vec<Row> = tools.iter().map(|tool| Row::new(tool)).collect();
    let mut untraced = vec![load::run(world, load)?.checked()?];
    for _ in 0..repeats {
        for row in rows.iter_mut().filter(|row| row.refused.is_none()) {
            match round(world, row.tool, load) {
                Ok(round) => {
                    // The rounds without anything are before and behind each round with a tool.
                    let before = untraced.len() - 1;
                    untraced.push(load::run(world, load)?.checked()?);
                    row.add(&round, [&untraced[before], &untraced[before + 1]]);
                }
                // Ours has no reason that counts.
                Err(reason) if row.tool.is_ours() => {
                    return Err(format!("{}: {reason}", row.tool.name).into());
                }
                Err(reason) => row.refused = Some(reason.to_string()),
            }
        }
    }
    for row in rows.iter_mut().filter(|row| row.tool.bpf && row.refused.is_none()) {
        row.kernel_ns = Some(kernel_time(world, row.tool, load)?);
    }
    let title = match load.rate {
        None => "connections as fast as can be".to_owned(),
        Some(rate) => format!("{rate:.0} connections/s"),
    };
    rows::print(&title, &untraced, &rows);
    Ok(rows::json(&title, &untraced, &rows))
}

/// What came of one round with a tool.
pub(crate) struct Round {
    pub(crate) made: Made,
    /// CPU seconds of the tool, what it did after the load was over included.
    pub(crate) tool_cpu: f64,
    /// Of these, those while the load ran.
    pub(crate) tool_cpu_meanwhile: f64,
    pub(crate) peak_mib: f64,
    pub(crate) lost: f64,
}

fn round(world: &World, tool: &Tool, load: Load) -> Result<Round, Box<dyn Error>> {
    let _tracking = match tool.program {
        Program::Conntrack(_) => Some(Tracking::start(world)),
        _ => None,
    };
    let running = Running::start(&world.client, &tool.words()?, tool.stdout, tool.ready)?;
    let warm = warm(world, tool)?;
    let start = running.cpu();
    let made = load::run(world, load)?.checked()?;
    let meanwhile = running.cpu() - start;
    running.settle(if tool.takes_packets() { PACKET_TIMEOUT } else { Duration::ZERO });
    let (tool_cpu, peak_mib) = (running.cpu() - start, running.peak_mib());
    let ended = running.stop()?;
    let count: Count = (tool.count)(&ended).map_err(|error| format!("{error}: {}", last(&ended.said())))?;
    fs::remove_file(&ended.stdout)?;
    if count.is_nothing() {
        return Err(format!("it ran and recorded nothing: {}", last(&ended.said())).into());
    }
    let lost = count.lost(made.connections + warm.connections);
    Ok(Round { made, tool_cpu, tool_cpu_meanwhile: meanwhile, peak_mib, lost })
}

fn last(said: &str) -> &str {
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing")
}

/// A few connections first: they count as made, and not for the times.
fn warm(world: &World, tool: &Tool) -> Result<Made, Box<dyn Error>> {
    let load =
        Load { time: Duration::from_millis(20), rate: Some(2000.0), port: PORT, placement: Placement::Free };
    let made = load::run(world, load)?.checked()?;
    thread::sleep(if tool.is_ours() { OUR_SAMPLE } else { Duration::from_millis(100) });
    Ok(made)
}

/// Nanoseconds in a tool's kernel programs for each connection, in a round of its own, as counting costs.
fn kernel_time(world: &World, tool: &Tool, load: Load) -> Result<f64, Box<dyn Error>> {
    let running = Running::start(&world.client, &tool.words()?, tool.stdout, tool.ready)?;
    let statistics = Statistics::on()?;
    let run_time = || -> u64 {
        let programs = running.bpf_objects("prog_id");
        programs.iter().filter_map(|program| program.get("run_time_ns")?.parse::<u64>().ok()).sum()
    };
    let before = run_time();
    let made = load::run(world, load)?.checked()?;
    let time = run_time() - before;
    drop(statistics);
    running.stop()?;
    if time == 0 {
        return Err(format!("{}: its programs in the kernel never ran", tool.name).into());
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
    Ok(time as f64 / made.connections as f64)
}

/// `kernel.bpf_stats_enabled`, as it was when dropped.
struct Statistics(String);

impl Statistics {
    const FILE: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn on() -> Result<Self, Box<dyn Error>> {
        let before = fs::read_to_string(Self::FILE)?;
        fs::write(Self::FILE, "1")?;
        Ok(Self(before))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        // It could be written before.
        let _ = fs::write(Self::FILE, &self.0);
    }
}

/// The connection tracker of the client's namespace, which works there as soon as a rule asks for it.
struct Tracking<'a>(&'a World);

impl<'a> Tracking<'a> {
    fn start(world: &'a World) -> Self {
        let rules = "add table ip track; add chain ip track follow { type filter hook output priority 0; }; \
                     add rule ip track follow ct state new counter";
        world.client.run("nft", &[rules]);
        // Those that ended make room at once, and the table is large enough for those that did not.
        let settings = [
            "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1",
            "net.netfilter.nf_conntrack_tcp_timeout_close=1",
            "net.netfilter.nf_conntrack_tcp_timeout_last_ack=1",
        ];
        world.client.run("sysctl", &[&["-q", "-w"][..], &settings[..]].concat());
        Self(world)
    }
}

impl Drop for Tracking<'_> {
    fn drop(&mut self) {
        self.0.client.run("nft", &["delete table ip track"]);
    }
}

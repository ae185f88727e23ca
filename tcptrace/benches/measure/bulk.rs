//! What watching costs a stream of data: iperf3 over veth, with and without, in turns.

use crate::{
    live::tools::{HANDSHAKE, OURS},
    load::machine_cpu,
    process::{Ready, Running, Stdout},
    report::{self, Samples, Table},
    world::{CLIENT_DEVICE, World},
};
use serde_json::{Value, json};
use std::{error::Error, path::PathBuf, time::Duration};

const FOOTNOTE: &str = "\
share: received bits/s of one stream with the tool over the mean of the rounds without anything before and after it. CPU:
seconds of the whole machine (/proc/stat) for each GiB beyond those without it, the tool's own included.
large: writes of 128 KiB; 64 octets: writes of 64 with TCP_NODELAY, so each is a packet while the window is open. MTU:
TSO, GSO and GRO off, so each packet is one on the wire. With native XDP the kernel itself gives these up. Medians
(least..most).";

/// iperf3 over veth, with and without each tool
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds with each tool and setting; an odd number
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Of one round; whole seconds, as iperf3 wants them
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// Where the figures go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

struct Setting {
    about: &'static str,
    /// iperf3's.
    options: &'static [&'static str],
    offload: bool,
}

const SETTINGS: [Setting; 4] = [
    Setting { about: "large", options: &[], offload: true },
    Setting { about: "large, MTU", options: &[], offload: false },
    Setting { about: "64 octets", options: &["-l", "64", "-N"], offload: true },
    Setting { about: "64 octets, MTU", options: &["-l", "64", "-N"], offload: false },
];

struct Tool {
    about: &'static str,
    words: &'static [&'static str],
    ready: &'static str,
    /// iperf3 opens a connection for control and one for data: what the tool says when it saw both close.
    saw: fn(&str) -> bool,
}

const TOOLS: [Tool; 3] = [
    Tool {
        about: "ours, TC",
        words: &[OURS, "-i", CLIENT_DEVICE, "--json"],
        ready: "; Ctrl-C ends",
        saw: |said| said.contains("2 connections: "),
    },
    Tool {
        about: "ours, native XDP",
        words: &[OURS, "-i", CLIENT_DEVICE, "--ingress", "xdp", "--json"],
        ready: "; Ctrl-C ends",
        saw: |said| said.contains("2 connections: ") && said.contains("(XDP"),
    },
    Tool {
        about: "tcpdump, SYN/FIN/RST",
        words: &["tcpdump", "-i", CLIENT_DEVICE, "-nn", "-w", "/dev/null", HANDSHAKE],
        ready: "listening on",
        // How the connection with the data closes depends on who is faster.
        saw: |said| {
            said.contains("packets captured") && !said.lines().any(|line| line == "0 packets captured")
        },
    },
];

#[expect(clippy::print_stdout, reason = "the tables are what this program is for")]
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let world = World::new(0)?;
    let words = ["iperf3", "-s", "--forceflush"].map(str::to_owned);
    let server = Running::start(&world.server, &words, Stdout::File, Ready::Prints("listening"))?;
    let mut table = Table::new(&[
        "",
        "Gbit/s without",
        "share: ours, TC",
        "ours, native XDP",
        "tcpdump",
        "CPU s/GiB without",
        "more: ours, TC",
        "ours, native XDP",
        "tcpdump",
    ]);
    let mut figures = Vec::new();
    for setting in &SETTINGS {
        for feature in ["tso", "gso", "gro"] {
            world.offload(feature, setting.offload);
        }
        let (without, watched) = measure(&world, setting, args)?;
        let gigabits: Samples = without.iter().map(|stream| stream.bits / 1e9).collect();
        let cpu: Samples = without.iter().map(|stream| stream.cpu).collect();
        table.row(
            [setting.about.to_owned(), gigabits.show(2)]
                .into_iter()
                .chain(watched.iter().map(|watched| watched.share.show(3)))
                .chain([cpu.show(3)])
                .chain(watched.iter().map(|watched| watched.cpu.show(3))),
        );
        let by_tool = |figure: fn(&Watched) -> &Samples| {
            let figures = TOOLS.iter().zip(&watched);
            figures
                .map(|(tool, watched)| (tool.about.to_owned(), figure(watched).json()))
                .collect::<serde_json::Map<_, Value>>()
        };
        figures.push(json!({
            "setting": setting.about,
            "gigabits_without": gigabits.json(),
            "cpu_seconds_per_gib_without": cpu.json(),
            "shares": by_tool(|watched| &watched.share),
            "cpu_seconds_per_gib_more": by_tool(|watched| &watched.cpu),
        }));
    }
    server.stop()?;
    println!("\n{table}\n{FOOTNOTE}");
    match &args.json {
        Some(file) => report::write(
            file,
            "bulk",
            &["iperf3", "tcpdump"],
            &json!({ "settings": figures, "note": FOOTNOTE }),
        ),
        None => Ok(()),
    }
}

/// One stream.
struct Stream {
    /// A second, that arrived.
    bits: f64,
    /// CPU seconds of the whole machine for each GiB that arrived.
    cpu: f64,
}

/// What a tool makes of streams.
#[derive(Clone, Default)]
struct Watched {
    /// Of the throughput.
    share: Samples,
    /// CPU seconds of the whole machine more for each GiB.
    cpu: Samples,
}

/// All rounds without anything, and what each tool makes of them.
fn measure(
    world: &World,
    setting: &Setting,
    args: &Args,
) -> Result<(Vec<Stream>, Vec<Watched>), Box<dyn Error>> {
    let mut without = vec![stream(world, setting, args.seconds)?];
    let mut all = vec![Watched::default(); TOOLS.len()];
    for _ in 0..args.repeats {
        for (tool, made) in TOOLS.iter().zip(&mut all) {
            let with = watched(world, tool, || stream(world, setting, args.seconds))
                .map_err(|error| format!("{}: {error}", tool.about))?;
            without.push(stream(world, setting, args.seconds)?);
            let [.., before, after] = &without[..] else { continue };
            made.share.push(with.bits / f64::midpoint(before.bits, after.bits));
            made.cpu.push(with.cpu - f64::midpoint(before.cpu, after.cpu));
        }
    }
    Ok((without, all))
}

fn watched(
    world: &World,
    tool: &Tool,
    run: impl FnOnce() -> Result<Stream, Box<dyn Error>>,
) -> Result<Stream, Box<dyn Error>> {
    let words: Vec<String> = tool.words.iter().map(|&word| word.to_owned()).collect();
    let running = Running::start_as(&world.client, "watcher", &words, Stdout::Null, Ready::Says(tool.ready))?;
    let stream = run()?;
    // tcpdump takes packets from its ring a little later.
    std::thread::sleep(Duration::from_millis(300));
    let said = running.stop()?.said();
    if !(tool.saw)(&said) {
        return Err(format!("it did not see the two connections of iperf3: {said}").into());
    }
    Ok(stream)
}

fn stream(world: &World, setting: &Setting, seconds: u32) -> Result<Stream, Box<dyn Error>> {
    const GIB: f64 = 1_073_741_824.0;
    let seconds = seconds.to_string();
    let words = [&["-c", "10.77.0.2", "-J", "-t", &seconds][..], setting.options].concat();
    let before = machine_cpu()?;
    let said = world.client.run("iperf3", &words);
    let cpu = machine_cpu()? - before;
    let report: Value = serde_json::from_str(&said)?;
    let sum = &report["end"]["sum_received"];
    let number = |name: &str| sum[name].as_f64().filter(|&number| number > 0.0);
    match (number("bits_per_second"), number("bytes")) {
        (Some(bits), Some(bytes)) => Ok(Stream { bits, cpu: cpu * GIB / bytes }),
        _ => Err(format!("iperf3 moved nothing: {}", report["error"]).into()),
    }
}

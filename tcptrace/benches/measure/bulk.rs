//! What watching costs a stream of data: iperf3 over veth, with and without, in turns.

use crate::{
    live::tools::{HANDSHAKE, OURS},
    process::{Ready, Running, Stdout},
    report::{self, Samples, Table},
    world::{CLIENT_DEVICE, World},
};
use serde_json::{Value, json};
use std::{error::Error, path::PathBuf, time::Duration};

const FOOTNOTE: &str = "\
share: received bits/s of one stream with the tool over the mean of the rounds without anything before and after it.
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
    let mut table = Table::new(&["", "Gbit/s without", "share: ours, TC", "ours, native XDP", "tcpdump"]);
    let mut figures = Vec::new();
    for setting in &SETTINGS {
        for feature in ["tso", "gso", "gro"] {
            world.offload(feature, setting.offload);
        }
        let (without, shares) = measure(&world, setting, args)?;
        let gigabits: Samples = without.iter().map(|bits| bits / 1e9).collect();
        table.row(
            [setting.about.to_owned(), gigabits.show(2)]
                .into_iter()
                .chain(shares.iter().map(|share| share.show(3))),
        );
        figures.push(json!({
            "setting": setting.about,
            "gigabits_without": gigabits.json(),
            "shares": TOOLS.iter().zip(&shares).map(|(tool, share)| (tool.about.to_owned(), share.json())).collect::<serde_json::Map<_, Value>>(),
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

/// All rounds without anything, and each tool's share.
fn measure(
    world: &World,
    setting: &Setting,
    args: &Args,
) -> Result<(Vec<f64>, Vec<Samples>), Box<dyn Error>> {
    let mut without = vec![stream(world, setting, args.seconds)?];
    let mut shares = vec![Samples::default(); TOOLS.len()];
    for _ in 0..args.repeats {
        for (tool, shares) in TOOLS.iter().zip(&mut shares) {
            let with = watched(world, tool, || stream(world, setting, args.seconds))
                .map_err(|error| format!("{}: {error}", tool.about))?;
            let before = without[without.len() - 1];
            let after = stream(world, setting, args.seconds)?;
            without.push(after);
            shares.push(with / f64::midpoint(before, after));
        }
    }
    Ok((without, shares))
}

fn watched(
    world: &World,
    tool: &Tool,
    run: impl FnOnce() -> Result<f64, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let words: Vec<String> = tool.words.iter().map(|&word| word.to_owned()).collect();
    let running = Running::start_as(&world.client, "watcher", &words, Stdout::Null, Ready::Says(tool.ready))?;
    let bits = run()?;
    // tcpdump takes packets from its ring a little later.
    std::thread::sleep(Duration::from_millis(300));
    let said = running.stop()?.said();
    if !(tool.saw)(&said) {
        return Err(format!("it did not see the two connections of iperf3: {said}").into());
    }
    Ok(bits)
}

/// Bits a second that arrived.
fn stream(world: &World, setting: &Setting, seconds: u32) -> Result<f64, Box<dyn Error>> {
    let seconds = seconds.to_string();
    let words = [&["-c", "10.77.0.2", "-J", "-t", &seconds][..], setting.options].concat();
    let said = world.client.run("iperf3", &words);
    let report: Value = serde_json::from_str(&said)?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64().filter(|&bits| bits > 0.0);
    bits.ok_or_else(|| format!("iperf3 moved nothing: {}", report["error"]).into())
}

//! What a packet costs in the kernel programs, by `BPF_PROG_TEST_RUN`, against an empty program of the same type.
//! Needs root. `cargo bench --bench kernel -- --json FILE` writes the figures to
//! a file too.
//!
//! Many short rounds, in each of which every program runs over every packet: what else runs on the machine then falls
//! on all alike, and shows in the spread instead of in the differences.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod cold;
mod producers;
#[path = "../measure/report.rs"]
mod report;

use packets::{Frame, Rng, tunnel::Wrap};
use serde_json::{Value, json};
use std::{env, error::Error, path::Path};
use tcptrace::{filter::Filter, names::SystemNames};
use tcptrace_common::{
    abi::{BUCKET_WORDS, SEED_WORDS},
    filter::{MAX_STEPS, Program as FilterProgram},
    wire::tunnel::Decap,
};
use tcptrace_testing::kernel::test_run::{Empty, Harness, Outcome, Program, empty};
use tcptrace_testing::packets;

const ROUNDS: usize = 101;
/// Repetitions of packets that make no record.
const REPEAT: u32 = 50_000;
/// Repetitions of packets that do: the ring must hold them all.
const RECORDS: u32 = 10_000;
/// Bytes of the ring: room for the records of one run, 120 bytes and a header each.
const RING: u32 = 1 << 21;

const FOOTNOTE: &str = "\
One flow, everything in cache, as BPF_PROG_TEST_RUN repeats one packet. The kernel reports whole nanoseconds. An
acknowledgement is awaited once only: that row is single runs, each after a FIN, with caches and branch prediction as the
system call leaves them, and compares with those below only.";

/// What is run.
struct Case {
    name: &'static str,
    packet: Vec<u8>,
    repeat: u32,
    /// The packet's bucket holds other flows' words.
    crowded: bool,
    /// Tunnels are looked into.
    decap: bool,
    /// Runs before each run of the packet.
    before: Option<Vec<u8>>,
    filter: Filtering,
}

/// The filter in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filtering {
    Nothing,
    /// One that takes the packet, as people write them.
    Usual,
    /// As long as they may be, and leaves the packet out.
    Longest,
}

impl Filtering {
    fn program(self) -> Result<Box<FilterProgram>, Box<dyn Error>> {
        let text = match self {
            Self::Nothing => String::new(),
            Self::Usual => "host 10.0.0.1 and port 80 and not net 192.168.0.0/16".to_owned(),
            Self::Longest => {
                let ports: Vec<String> = (0..MAX_STEPS / 2).map(|port| (5000 + port).to_string()).collect();
                format!("port in {{{}}}", ports.join(" "))
            }
        };
        Ok(Filter::compile(&text, &SystemNames)?.program()?)
    }
}

fn cases() -> Vec<Case> {
    let data = Frame { flags: 0x18, payload: 500, options: vec![1; 12], ..Frame::default() };
    let tagged = Frame { vlans: vec![5], ..data.clone() };
    let v6 = |frame: &Frame| Frame { ipv6: true, ..frame.clone() }.bytes();
    let bare = |flags| Frame { flags, ..Frame::default() };
    let with_options = |flags| Frame { options: vec![1; 20], ..bare(flags) }.bytes();
    let quiet = |name, packet| Case {
        name,
        packet,
        repeat: REPEAT,
        crowded: false,
        decap: false,
        before: None,
        filter: Filtering::Nothing,
    };
    let record = |name, packet| Case { repeat: RECORDS, ..quiet(name, packet) };
    let crowded = |name, packet| Case { crowded: true, ..quiet(name, packet) };
    let deep = |name, packet| Case { decap: true, ..quiet(name, packet) };
    let within = |wrap: Wrap| wrap.around(&Frame::default(), &data).bytes();
    let udp = Frame { body: Some((17, vec![9; 200])), ..Frame::default() }.bytes();
    let fin = Frame { seq: 1999, ..bare(0x11) }.reversed().bytes();
    let awaited = quiet("awaited acknowledgement, cold", bare(0x10).bytes());
    vec![
        quiet("data, IPv4", data.bytes()),
        quiet("data, IPv6", v6(&data)),
        quiet("data, IPv4, VLAN", tagged.bytes()),
        quiet("data, IPv6, VLAN", v6(&tagged)),
        crowded("data, IPv4, full bucket", data.bytes()),
        crowded("data, IPv6, full bucket", v6(&data)),
        record("SYN", with_options(0x02)),
        Case { filter: Filtering::Usual, ..record("SYN, a usual filter that takes it", with_options(0x02)) },
        Case { filter: Filtering::Longest, ..quiet("SYN, 128 steps that do not", with_options(0x02)) },
        record("SYN-ACK", with_options(0x12)),
        record("FIN", bare(0x11).bytes()),
        Case { before: Some(fin), repeat: 1, ..awaited },
        quiet("UDP", udp.clone()),
        deep("with --decap: data, IPv4", data.bytes()),
        deep("with --decap: data, IPv6", v6(&data)),
        deep("with --decap: UDP", udp),
        deep("with --decap: data in VXLAN", within(Wrap::Vxlan(4789, 42))),
        deep("with --decap: data in GRE", within(Wrap::Gre(false, Some(1), false))),
    ]
}

/// The programs three times: with a table as large as by default, with one of two buckets, both full, and looking into
/// tunnels.
struct Bench {
    roomy: Harness,
    crowded: Harness,
    deep: Harness,
}

impl Bench {
    fn load() -> Result<Self, Box<dyn Error>> {
        let mut rng = Rng(1);
        let seeds: [u64; SEED_WORDS] = std::array::from_fn(|_| rng.next());
        let mut crowded = Harness::load(&seeds, 2, RING)?;
        for port in 0..u16::try_from(BUCKET_WORDS * 16)? {
            let frame = Frame { flags: 0x12, dst_port: 9000 + port, ..Frame::default() };
            crowded.run(Program::TcIngress, &frame.bytes(), None, 1)?;
        }
        crowded.drain()?;
        let roomy = Harness::load(&seeds, 1 << 16, RING)?;
        let deep = Harness::load_with_decap(&seeds, 1 << 16, RING, &Decap::all())?;
        Ok(Self { roomy, crowded, deep })
    }

    fn run(&mut self, program: Program, case: &Case) -> Result<Outcome, Box<dyn Error>> {
        let harness = match (case.crowded, case.decap) {
            (true, _) => &mut self.crowded,
            (false, true) => &mut self.deep,
            (false, false) => &mut self.roomy,
        };
        if let Some(before) = &case.before {
            harness.run(program, before, None, 1)?;
        }
        // Between runs: changing it is no part of what is measured.
        harness.set_filter(&*case.filter.program()?)?;
        let outcome = harness.run(program, &case.packet, None, case.repeat)?;
        harness.drain()?;
        Ok(outcome)
    }
}

fn run_empty(nothing: &Empty, case: &Case) -> Result<Outcome, Box<dyn Error>> {
    if let Some(before) = &case.before {
        nothing.run(before, 1)?;
    }
    Ok(nothing.run(&case.packet, case.repeat)?)
}

/// The rounds of one program over one packet.
struct Times(Vec<u64>);

impl Times {
    fn new(mut rounds: Vec<u64>) -> Self {
        rounds.sort_unstable();
        Self(rounds)
    }

    fn median(&self) -> u64 {
        self.0[self.0.len() / 2]
    }

    fn range(&self) -> (u64, u64) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    fn json(&self) -> Value {
        let (min, max) = self.range();
        json!({ "median": self.median(), "min": min, "max": max })
    }
}

/// Measures one program and prints its rows.
fn measure(bench: &mut Bench, hook: &str, program: Program) -> Result<Value, Box<dyn Error>> {
    let nothing = empty(program)?;
    let cases = cases();
    let mut ours = vec![Vec::new(); cases.len()];
    let mut base = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((case, ours), base) in cases.iter().zip(&mut ours).zip(&mut base) {
            base.push(run_empty(&nothing, case)?.nanoseconds);
            ours.push(bench.run(program, case)?.nanoseconds);
        }
    }
    let mut rows = Vec::new();
    for ((case, ours), base) in cases.iter().zip(ours).zip(base) {
        let (ours, base) = (Times::new(ours), Times::new(base));
        let over = ours.median().saturating_sub(base.median());
        let (min, max) = ours.range();
        let (base_min, base_max) = base.range();
        println!(
            "{hook:<4} {:<34} {:>5} {:>11} {:>5} {:>11} {over:>5}",
            case.name,
            ours.median(),
            format!("{min}..{max}"),
            base.median(),
            format!("{base_min}..{base_max}"),
        );
        rows.push(
            json!({ "packet": case.name, "ns": ours.json(), "empty_ns": base.json(), "over_ns": over }),
        );
    }
    let verified = bench.roomy.verified_instructions(program)?;
    let deep = bench.deep.verified_instructions(program)?;
    println!(
        "{hook:<4} the verifier walked {} instructions, {} with --decap",
        verified.unwrap_or_default(),
        deep.unwrap_or_default()
    );
    Ok(json!({
        "hook": hook,
        "verified_instructions": verified,
        "verified_instructions_decap": deep,
        "rows": rows
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let mut json_file = None;
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json_file = Some(arguments.next().ok_or("--json needs a file")?),
            other => return Err(format!("'{other}' is no option; there is --json FILE").into()),
        }
    }
    let mut bench = Bench::load()?;
    println!(
        "hook packet                             ours    min..max empty    min..max  over   (ns, medians)"
    );
    let hooks = [measure(&mut bench, "tc", Program::TcIngress)?, measure(&mut bench, "xdp", Program::Xdp)?];
    println!("{FOOTNOTE}\n");
    let cold = cold::measure(&mut bench.roomy)?;
    println!("{}\n", cold::FOOTNOTE);
    let producers = producers::measure()?;
    println!("{}", producers::FOOTNOTE);
    if let Some(file) = json_file {
        let figures = json!({ "rounds": ROUNDS, "hooks": hooks, "note": FOOTNOTE, "cold": cold, "producers": producers });
        report::write(Path::new(&file), "kernel", &[], &figures)?;
    }
    Ok(())
}

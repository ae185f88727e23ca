//! What a packet costs when the one before was of another flow: single runs, each a system call of its own, over one flow
//! and over so many that their buckets do not fit the nearer caches.

use crate::{
    packets::Frame,
    report::{Samples, Table},
};
use serde_json::{Value, json};
use std::error::Error;
use tcptrace_testing::kernel::test_run::{Empty, Harness, Program, empty};

const FLOWS: u32 = 100_000;
/// Single runs of a round; those of a few rounds together pass all flows.
const RUNS: u32 = 10_000;
const ROUNDS: u32 = 21;

pub(crate) const FOOTNOTE: &str = "\
Single runs through TC, means of 10,000, medians (least..most) of 21 rounds. Each is a system call, which leaves caches and
branch prediction as it pleases: that is in `over` for one flow already. What 100,000 flows cost beyond that is the line of
the pending table (4 MiB) that each packet looks at, and for records two, as both directions' hashes are worked out and the
other one's bucket is written.";

struct Case {
    name: &'static str,
    frame: Frame,
    records: bool,
}

fn cases() -> [Case; 6] {
    let data = Frame { flags: 0x18, payload: 500, options: vec![1; 12], ..Frame::default() };
    let bare = |flags| Frame { flags, ..Frame::default() };
    let with_options = |flags| Frame { options: vec![1; 20], ..bare(flags) };
    [
        Case { name: "data, IPv4", frame: data.clone(), records: false },
        Case { name: "data, IPv4, VLAN", frame: Frame { vlans: vec![5], ..data.clone() }, records: false },
        Case { name: "data, IPv6", frame: Frame { ipv6: true, ..data }, records: false },
        Case { name: "SYN", frame: with_options(0x02), records: true },
        Case { name: "SYN-ACK", frame: with_options(0x12), records: true },
        Case { name: "FIN", frame: bare(0x11), records: true },
    ]
}

/// The packet of the flow of this number: flows differ in both ports.
fn packet(frame: &Frame, flow: u32) -> Vec<u8> {
    let port = |n: u32| u16::try_from(1024 + n).unwrap_or(u16::MAX);
    Frame { src_port: port(flow % 50_000), dst_port: port(flow / 50_000), ..frame.clone() }.bytes()
}

/// The mean of a round, in nanoseconds: of `packets`, one after the other, through ours and through nothing.
fn round(harness: &mut Harness, nothing: &Empty, packets: &[Vec<u8>]) -> Result<[f64; 2], Box<dyn Error>> {
    let mut sums = [0, 0];
    for packet in packets {
        sums[0] += harness.run(Program::TcIngress, packet, None, 1)?.nanoseconds;
        sums[1] += nothing.run(packet, 1)?.nanoseconds;
    }
    harness.discard()?;
    let runs = f64::from(u32::try_from(packets.len())?);
    Ok(sums.map(|sum| f64::from(u32::try_from(sum).unwrap_or(u32::MAX)) / runs))
}

pub(crate) fn measure(harness: &mut Harness) -> Result<Value, Box<dyn Error>> {
    let nothing = empty(Program::TcIngress)?;
    let mut table =
        Table::new(&["one at a time", "ours", "empty", "over", "ours, 100,000 flows", "empty", "over"]);
    let mut rows = Vec::new();
    for Case { name, frame, records } in cases() {
        let one = vec![packet(&frame, 0); RUNS as usize];
        let (mut warm, mut cold) = (Both::default(), Both::default());
        harness.clear()?;
        for n in 0..ROUNDS {
            warm.push(round(harness, &nothing, &one)?);
            let first = n * RUNS % FLOWS;
            let many: Vec<_> = (first..first + RUNS).map(|flow| packet(&frame, flow)).collect();
            cold.push(round(harness, &nothing, &many)?);
        }
        let seen = harness.counters()?;
        let made: u64 = seen.emitted.iter().sum();
        if made != if records { seen.packets } else { 0 } {
            return Err(format!("{name}: {made} records of {} packets", seen.packets).into());
        }
        table.row([name.to_owned()].into_iter().chain(warm.cells()).chain(cold.cells()));
        rows.push(json!({ "packet": name, "one_flow": warm.json(), "many_flows": cold.json() }));
    }
    print!("{table}");
    Ok(json!({ "flows": FLOWS, "rows": rows, "note": FOOTNOTE }))
}

/// Rounds of ours and of the empty program.
#[derive(Default)]
struct Both {
    ours: Samples,
    empty: Samples,
}

impl Both {
    fn push(&mut self, [ours, empty]: [f64; 2]) {
        self.ours.push(ours);
        self.empty.push(empty);
    }

    fn over(&self) -> f64 {
        self.ours.median() - self.empty.median()
    }

    fn cells(&self) -> [String; 3] {
        [self.ours.show(0), self.empty.show(0), format!("{:.0}", self.over())]
    }

    fn json(&self) -> Value {
        json!({ "ns": self.ours.json(), "empty_ns": self.empty.json(), "over_ns": self.over() })
    }
}

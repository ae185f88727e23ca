//! The tables of `live`.

use super::{Round, tools::Tool};
use crate::{
    load::Made,
    report::{Samples, Table},
};
use serde_json::{Value, json};

pub(crate) const FOOTNOTE: &str = "\
share: connections/s with the tool over the mean of the rounds without anything before and after it. own: CPU seconds of
the tool and its children for 100,000 connections, until it has worked off all of them. rest: CPU seconds of the whole
machine (/proc/stat) for 100,000 connections beyond those without it and beyond its own. load: the same of the clients
and servers alone, whom the tool's part in the kernel and its bursts make slower; other work on the machine shows in
rest and not here. connect: connect(2) as the clients measured it, medians of the rounds. lost: connections made that
the tool's own output does not have (of all TCP: packets by its own count). kernel: nanoseconds a connection in the
tool's BPF programs, by the kernel's run statistics, one round of their own. At a rate connections come one at a time, and
own has what a tool does by the clock too. Medians (least..most).";

/// What is known of one tool.
pub(crate) struct Row {
    pub(crate) tool: &'static Tool,
    pub(crate) refused: Option<String>,
    pub(crate) kernel_ns: Option<f64>,
    share: Samples,
    own: Samples,
    rest: Samples,
    load: Samples,
    p50: Samples,
    p99: Samples,
    lost: Samples,
    peak_mib: Samples,
    /// Connections that failed meanwhile.
    failed: u64,
}

impl Row {
    pub(crate) fn new(tool: &'static Tool) -> Self {
        let empty = Samples::default;
        Self {
            tool,
            refused: None,
            kernel_ns: None,
            share: empty(),
            own: empty(),
            rest: empty(),
            load: empty(),
            p50: empty(),
            p99: empty(),
            lost: empty(),
            peak_mib: empty(),
            failed: 0,
        }
    }

    pub(crate) fn add(&mut self, round: &Round, without: [&Made; 2]) {
        let mean = |figure: fn(&Made) -> f64| without.into_iter().map(figure).sum::<f64>() / 2.0;
        let Round { made, .. } = round;
        self.share.push(made.rate() / mean(Made::rate));
        self.own.push(made.per_100k(round.tool_cpu));
        let machine = made.per_100k(made.machine_cpu - round.tool_cpu_meanwhile);
        self.rest.push(machine - mean(|made| made.per_100k(made.machine_cpu)));
        self.load.push(made.per_100k(made.own_cpu) - mean(|made| made.per_100k(made.own_cpu)));
        self.p50.push(microseconds(made, 0.5));
        self.p99.push(microseconds(made, 0.99));
        self.lost.push(round.lost);
        self.peak_mib.push(round.peak_mib);
        self.failed += made.failed;
    }

    fn cells(&self) -> Vec<String> {
        if let Some(reason) = &self.refused {
            return vec![self.tool.about.to_owned(), format!("cannot run: {reason}")];
        }
        vec![
            self.tool.about.to_owned(),
            self.share.show(2),
            self.own.show(2),
            self.rest.show(2),
            self.load.show(2),
            format!("{:.0}/{:.0}", self.p50.median(), self.p99.median()),
            percent(&self.lost),
            self.kernel_ns.map_or_else(String::new, |ns| format!("{ns:.0}")),
            format!("{:.0}", self.peak_mib.max()),
            self.tool.name.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "tool": self.tool.name,
            "about": self.tool.about,
            "command": self.tool.words().map(|words| words.join(" ")).ok(),
            "cannot_run": self.refused,
            "share": self.share.json(),
            "own_cpu_seconds_per_100k": self.own.json(),
            "rest_cpu_seconds_per_100k": self.rest.json(),
            "load_cpu_seconds_per_100k": self.load.json(),
            "connect_p50_us": self.p50.json(),
            "connect_p99_us": self.p99.json(),
            "lost": self.lost.json(),
            "failed": self.failed,
            "kernel_ns_per_connection": self.kernel_ns,
            "peak_mib": self.peak_mib.json(),
        })
    }
}

/// The median, and the worst if that is more.
fn percent(lost: &Samples) -> String {
    let show = |part: f64| if part == 0.0 { "0".to_owned() } else { format!("{:.2} %", 100.0 * part) };
    let (median, most) = (show(lost.median()), show(lost.max()));
    if median == most { median } else { format!("{median}, once {most}") }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for a person to read")]
fn microseconds(made: &Made, quantile: f64) -> f64 {
    made.connect.value_at_quantile(quantile) as f64 / 1e3
}

struct Untraced {
    rate: Samples,
    machine: Samples,
    load: Samples,
    p50: Samples,
    p99: Samples,
}

impl Untraced {
    fn new(rounds: &[Made]) -> Self {
        let samples = |figure: fn(&Made) -> f64| rounds.iter().map(figure).collect::<Samples>();
        Self {
            rate: samples(Made::rate),
            machine: samples(|made| made.per_100k(made.machine_cpu)),
            load: samples(|made| made.per_100k(made.own_cpu)),
            p50: samples(|made| microseconds(made, 0.5)),
            p99: samples(|made| microseconds(made, 0.99)),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) fn print(title: &str, rounds: &[Made], rows: &[Row]) {
    let untraced = Untraced::new(rounds);
    println!(
        "\n{title}; without any tool {} a second; CPU s for 100,000: machine {}, clients and servers {}",
        untraced.rate.show(0),
        untraced.machine.show(2),
        untraced.load.show(2),
    );
    let failed: u64 = rounds.iter().map(|made| made.failed).sum();
    if failed > 0 {
        println!("({failed} connections failed, and count as not made)");
    }
    let mut table = Table::new(&[
        "",
        "share",
        "own s",
        "rest s",
        "load s",
        "connect us p50/p99",
        "lost",
        "kernel ns",
        "MiB",
        "name",
    ]);
    let connect = format!("{:.0}/{:.0}", untraced.p50.median(), untraced.p99.median());
    table.row(["without", "1", "0", "0", "0", &connect, "", "", "", ""].map(str::to_owned));
    for row in rows {
        table.row(row.cells());
    }
    println!("{table}");
}

pub(crate) fn json(title: &str, rounds: &[Made], rows: &[Row]) -> Value {
    let untraced = Untraced::new(rounds);
    json!({
        "mode": title,
        "without": {
            "connections_per_second": untraced.rate.json(),
            "machine_cpu_seconds_per_100k": untraced.machine.json(),
            "load_cpu_seconds_per_100k": untraced.load.json(),
            "connect_p50_us": untraced.p50.json(),
            "connect_p99_us": untraced.p99.json(),
        },
        "tools": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

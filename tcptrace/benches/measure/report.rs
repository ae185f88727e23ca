//! What all parts print and write alike: medians with their spread, and a file that says where they are from.

use serde_json::{Value, json};
use std::{
    error::Error,
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::Command,
};

/// One figure, measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        let place = self.0.partition_point(|known| *known <= value);
        self.0.insert(place, value);
    }

    /// NaN if nothing was measured.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.min(), "max": self.max(), "runs": self.0.len() })
    }

    /// `median (min..max)`, with so many places after the point.
    pub(crate) fn show(&self, places: usize) -> String {
        if self.0.is_empty() {
            return "-".to_owned();
        }
        format!("{:.places$} ({:.places$}..{:.places$})", self.median(), self.min(), self.max())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut samples = Self::default();
        values.into_iter().for_each(|value| samples.push(value));
        samples
    }
}

/// Rows under headings, each column as wide as it has to be; the first one is left-aligned.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self(vec![headings.iter().map(|&heading| heading.to_owned()).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A row that is shorter than the headings ends in a remark, which widens no column.
        let columns = self.0[0].len();
        let full = |row: &&Vec<String>| row.len() == columns;
        let width = |column: usize| {
            self.0.iter().filter(|row| full(row) || column == 0).map(|row| row[column].chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for row in &self.0 {
            write!(f, "{:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                if full(&row) { write!(f, "  {cell:>width$}")? } else { write!(f, "  {cell}")? }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Writes what a part found, with the machine, the time and the tools that it was found with.
pub(crate) fn write(
    file: &Path,
    part: &str,
    programs: &[&str],
    figures: &Value,
) -> Result<(), Box<dyn Error>> {
    let report = json!({
        "part": part,
        "date": jiff::Timestamp::now().to_string(),
        "tcptrace": env!("CARGO_PKG_VERSION"),
        "machine": machine(),
        "tools": programs.iter().map(|program| ((*program).to_owned(), version(program).into())).collect::<serde_json::Map<_, _>>(),
        "figures": figures,
    });
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(())
}

fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let field = |path: &str, name: &str| {
        let lines = BufReader::new(File::open(path).ok()?).lines().map_while(Result::ok);
        let mut found = lines.filter_map(|line| {
            line.strip_prefix(name).map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        });
        found.next()
    };
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "architecture": std::env::consts::ARCH,
        "processor": field("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memory": field("/proc/meminfo", "MemTotal"),
        "load": read("/proc/loadavg"),
    })
}

/// The first line of what a program says of its version.
fn version(program: &str) -> Option<String> {
    // Not every program has the long option.
    ["--version", "-V"].into_iter().find_map(|option| {
        let output = Command::new(program).arg(option).output().ok()?;
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let line = String::from_utf8_lossy(&said).lines().next().map(|line| line.trim().to_owned());
        line.filter(|line| output.status.success() && !line.is_empty())
    })
}

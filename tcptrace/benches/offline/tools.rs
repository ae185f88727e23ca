//! The programs that read the files, and running them: pinned to one core but for one row, with GNU time around them for
//! what the kernel counted (`ru_maxrss`: every resident page, those of mapped files and shared libraries too).

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// The core that everything runs on, our writing thread too.
const CORE: &str = "0";

/// One program with one thing to do.
pub(crate) struct Tool {
    /// The name of its row.
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    /// `FILE` stands for the file.
    pub(crate) arguments: &'static str,
    pub(crate) runs: usize,
    /// Not pinned to [`CORE`].
    pub(crate) all_cores: bool,
}

const OURS: &str = env!("CARGO_BIN_EXE_tcptrace");

/// Ours comes first: the others are compared with that row.
pub(crate) const TOOLS: [Tool; 8] = [
    Tool {
        name: "ours, summary only",
        program: OURS,
        arguments: "-r FILE --events stats",
        runs: 5,
        all_cores: false,
    },
    Tool { name: "ours, JSON", program: OURS, arguments: "-r FILE --json", runs: 5, all_cores: false },
    Tool {
        name: "ours, JSON, all cores",
        program: OURS,
        arguments: "-r FILE --json",
        runs: 5,
        all_cores: true,
    },
    Tool { name: "ours, text", program: OURS, arguments: "-r FILE", runs: 5, all_cores: false },
    Tool {
        name: "tcpdump, lifecycle filter",
        program: "/usr/bin/tcpdump",
        arguments: "-nn -r FILE -w /dev/null tcp[tcpflags]&(tcp-syn|tcp-fin|tcp-rst)!=0",
        runs: 3,
        all_cores: false,
    },
    Tool {
        name: "tcpdump, text",
        program: "/usr/bin/tcpdump",
        arguments: "-nn -r FILE",
        runs: 1,
        all_cores: false,
    },
    Tool {
        name: "classic tcptrace",
        program: "/usr/bin/tcptrace",
        arguments: "-n -l FILE",
        runs: 1,
        all_cores: false,
    },
    Tool {
        name: "tshark",
        program: "/usr/bin/tshark",
        arguments: "-n -r FILE -q -z conv,tcp",
        runs: 1,
        all_cores: false,
    },
];

impl Tool {
    pub(crate) fn is_ours(&self) -> bool {
        self.program == OURS
    }

    /// The time that its row is about, in seconds: processor time on one core, the wall clock on all.
    pub(crate) fn time(&self, cost: &Cost) -> f64 {
        if self.all_cores { cost.wall } else { cost.processor }
    }

    /// Too slow for a whole file.
    pub(crate) fn gets_the_short_file(&self) -> bool {
        !self.is_ours() && self.name != "tcpdump, lifecycle filter"
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Wall clock, seconds.
    pub(crate) wall: f64,
    /// User and system, seconds: what the wall clock would show if nobody else had the core.
    pub(crate) processor: f64,
    /// `ru_maxrss`.
    pub(crate) kib: u64,
}

/// The median run, by [`Tool::time`]; memory is the most of all runs.
pub(crate) fn median(tool: &Tool, file: &Path) -> Result<Cost, Box<dyn Error>> {
    let mut costs = (0..tool.runs).map(|_| once(tool, file)).collect::<Result<Vec<_>, _>>()?;
    costs.sort_by(|one, other| tool.time(one).total_cmp(&tool.time(other)));
    let kib = costs.iter().map(|cost| cost.kib).max().unwrap_or_default();
    Ok(Cost { kib, ..costs[costs.len() / 2] })
}

fn once(tool: &Tool, file: &Path) -> Result<Cost, Box<dyn Error>> {
    let report = file.with_extension("time");
    let path = file.to_str().ok_or("the target directory's path is no text")?;
    let pinned: &[&str] = if tool.all_cores { &[] } else { &["/usr/bin/taskset", "-c", CORE] };
    let words = [pinned, &["/usr/bin/time", "--quiet", "-f", "%U %S %M", "-o"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(&report);
    command.arg(tool.program);
    command.args(tool.arguments.split(' ').map(|word| if word == "FILE" { path } else { word }));
    // What is printed costs what printing costs, and goes nowhere.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{} {} failed: {status}", tool.program, tool.arguments).into());
    }
    let said = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    let mut numbers = said.split_whitespace();
    let mut number = || numbers.next().ok_or("time did not say what the run took");
    let processor = number()?.parse::<f64>()? + number()?.parse::<f64>()?;
    Ok(Cost { wall, processor, kib: number()?.parse()? })
}

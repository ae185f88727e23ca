//! Project tasks: `cargo xtask setup | run | test | soak | chaos | lifecycle | bench | fuzz | fleet | schema | man |
//! dist`.
//!
//! Standard output is for the programs that a task runs (and for the totals of `test`). Messages of the tasks
//! themselves go to standard error, one line each.

mod bench;
mod cargo;
#[cfg(test)]
mod circles;
mod deny;
mod dist;
mod endure;
mod fleet;
mod fuzz;
mod kernels;
mod lifecycle;
mod man;
mod packages;
#[cfg(test)]
mod pages;
mod run;
mod schema;
mod setup;
mod shell;
mod subcommands;
mod tally;
mod test;
mod toolchain;

use clap::{Parser, Subcommand};
use kernels::Choice;
use std::{ffi::OsString, path::PathBuf, process::ExitCode};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Project tasks of tcptrace", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the kernel programs need to build; does nothing when all is there
    Setup,
    /// Build tcptrace and run it as root
    #[command(disable_help_flag = true)]
    Run {
        /// Build with optimisations, as for use
        #[arg(long)]
        release: bool,
        /// What tcptrace itself is given, with or without `--` before it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Format, lint, document and run every test; with a name, run only the tests that contain it
    Test {
        /// Only the tests that meet the kernel, in each of several kernels of Debian's, or in these (`--kernels=5.10,6.1`); names that follow choose test binaries
        #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
        kernels: Option<Vec<String>>,
        /// Only the few tests in the oldest kernel that are part of every run
        #[arg(long, conflicts_with = "kernels")]
        oldest_kernel: bool,
        /// Passed to the test binaries
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Trace mixed traffic at a steady rate for long: each connection told once and right, nothing lost, memory flat
    Soak {
        /// For how long
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// Connections a second
        #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
    },
    /// Kill and stop tracers, fill their disk, take their interface away, all at random, and check that they never lie
    Chaos {
        /// For how long
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// What went wrong in an earlier run goes wrong again [default: by chance]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Tell what the tracker makes of scripts of segments, such as those in tcptrace-testing/stories
    Lifecycle {
        /// Write into the files what comes, in the place of what they expect
        #[arg(long)]
        write: bool,
        /// The scripts
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Measure one part; without a part, tell what there is
    Bench {
        /// Which part
        part: Option<String>,
        /// Passed to the part, such as `--json FILE`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Fuzz what reads strangers' bytes; without a target, each in turn
    Fuzz {
        /// Which target
        target: Option<String>,
        /// For how long each
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Try the tables and questions of packaging/fleet with a library of 180 MB, which it gets
    Fleet {
        /// Also send lines by syslog-ng while it and the store are killed, which takes a minute
        #[arg(long)]
        outage: bool,
    },
    /// Write the schemas in tcptrace/schema anew from the types
    Schema,
    /// Write the man pages and the completions for bash, zsh and fish
    Man {
        /// Where the folders `man` and `completions` are to be [default: target]
        folder: Option<PathBuf>,
    },
    /// Make what a release has, into target/dist: a static program, packages, an image, checksums
    Dist {
        /// Make it again from a copy of the sources elsewhere, and compare every file
        #[arg(long)]
        twice: bool,
        /// Install, upgrade, run and remove the package in a system of its own, and run the image
        #[arg(long)]
        r#try: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup => setup::ensure().map(|_| ExitCode::SUCCESS),
        Task::Run { release, args } => run::run(release, &args).map(|never| match never {}),
        Task::Test { oldest_kernel: true, .. } => test::kernels(&Choice::Short),
        Task::Test { kernels: Some(kernels), args, .. } => test::kernels(&Choice::full(kernels, &args)),
        Task::Test { kernels: None, args, .. } => test::run(&args),
        Task::Soak { minutes, rate } => endure::soak(minutes, rate),
        Task::Chaos { minutes, seed } => endure::chaos(minutes, seed),
        Task::Lifecycle { write, files } => lifecycle::run(write, &files),
        Task::Bench { part, args } => bench::run(part.as_deref(), &args),
        Task::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
        Task::Fleet { outage } => fleet::run(outage),
        Task::Schema => schema::run().map(|()| ExitCode::SUCCESS),
        Task::Man { folder } => man::run(folder.as_deref()),
        Task::Dist { twice, r#try } => dist::run(twice, r#try).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        shell::say(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::{Cli, Task};
    use clap::Parser;
    use std::ffi::OsString;

    fn run_args(line: &[&str]) -> (bool, Vec<OsString>) {
        let words = ["xtask", "run"].iter().chain(line);
        match Cli::try_parse_from(words).map(|cli| cli.task) {
            Ok(Task::Run { release, args }) => (release, args),
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    #[test]
    fn bench_hands_everything_after_the_part_to_it() {
        for (line, part, args) in [
            (&[][..], None, &[][..]),
            (&["kernel"], Some("kernel"), &[]),
            (&["kernel", "--json", "FILE"], Some("kernel"), &["--json", "FILE"]),
            (&["offline", "FILE", "--", "--json"], Some("offline"), &["FILE", "--", "--json"]),
        ] {
            let words = ["xtask", "bench"].iter().chain(line);
            match Cli::try_parse_from(words).map(|cli| cli.task) {
                Ok(Task::Bench { part: found, args: rest }) => {
                    assert_eq!(found.as_deref(), part, "{line:?}");
                    assert_eq!(rest, args.iter().map(OsString::from).collect::<Vec<_>>(), "{line:?}");
                }
                other => panic!("{line:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn lifecycle_takes_files_and_at_least_one() {
        let files = |line: &[&str]| {
            let words = ["xtask", "lifecycle"].iter().chain(line);
            match Cli::try_parse_from(words).map(|cli| cli.task) {
                Ok(Task::Lifecycle { write, files }) => Some((write, files.len())),
                _ => None,
            }
        };
        assert_eq!(files(&["a.tcp", "b.tcp"]), Some((false, 2)));
        assert_eq!(files(&["--write", "a.tcp"]), Some((true, 1)));
        assert_eq!(files(&["--write"]), None);
    }

    #[test]
    fn man_takes_a_folder_or_none() {
        for (line, folder) in [(&["man"][..], "None"), (&["man", "out"], "Some(\"out\")")] {
            let words = ["xtask"].iter().chain(line);
            let task = Cli::try_parse_from(words).ok().map(|cli| format!("{:?}", cli.task));
            assert_eq!(task, Some(format!("Man {{ folder: {folder} }}")));
        }
        assert!(Cli::try_parse_from(["xtask", "man", "a", "b"]).is_err());
    }

    #[test]
    fn dist_makes_and_does_more_only_when_asked() {
        for (line, task) in [
            (&["dist"][..], "Dist { twice: false, try: false }"),
            (&["dist", "--twice", "--try"], "Dist { twice: true, try: true }"),
        ] {
            let words = ["xtask"].iter().chain(line);
            let found = Cli::try_parse_from(words).ok().map(|cli| format!("{:?}", cli.task));
            assert_eq!(found.as_deref(), Some(task));
        }
    }

    #[test]
    fn test_takes_names_of_kernels_or_of_tests() {
        let parsed = |line: &[&str]| {
            let words = ["xtask", "test"].iter().chain(line);
            match Cli::try_parse_from(words).map(|cli| cli.task) {
                Ok(Task::Test { kernels, oldest_kernel: false, args }) => Some((kernels, args.len())),
                _ => None,
            }
        };
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(parsed(&[]), Some((None, 0)));
        assert_eq!(parsed(&["--", "NAME"]), Some((None, 1)));
        assert_eq!(parsed(&["NAME", "--nocapture"]), Some((None, 2)));
        assert_eq!(parsed(&["--kernels"]), Some((names(&[]), 0)));
        assert_eq!(parsed(&["--kernels=5.10,6.1"]), Some((names(&["5.10", "6.1"]), 0)));
        assert_eq!(parsed(&["--kernels", "NAME"]), Some((names(&[]), 1)));
    }

    #[test]
    fn soak_and_chaos_last_as_long_as_is_asked() {
        let parsed = |line: &[&str]| {
            let words = ["xtask"].iter().chain(line);
            Cli::try_parse_from(words).ok().map(|cli| format!("{:?}", cli.task))
        };
        for (line, task) in [
            (&["soak"][..], "Soak { minutes: 60.0, rate: 150 }"),
            (&["soak", "--minutes", "0.5", "--rate", "300"], "Soak { minutes: 0.5, rate: 300 }"),
            (&["chaos"], "Chaos { minutes: 10.0, seed: None }"),
            (&["chaos", "--seed", "7"], "Chaos { minutes: 10.0, seed: Some(7) }"),
        ] {
            assert_eq!(parsed(line).as_deref(), Some(task), "{line:?}");
        }
        assert_eq!(parsed(&["soak", "--rate", "0"]), None);
    }

    #[test]
    fn run_hands_everything_after_its_own_flag_to_tcptrace() {
        for (line, release, args) in [
            (&["-i", "lo"][..], false, &["-i", "lo"][..]),
            (&["--", "-i", "lo"], false, &["-i", "lo"]),
            (&["--release", "-i", "lo"], true, &["-i", "lo"]),
            (&["--release", "--", "-i", "lo", "--json"], true, &["-i", "lo", "--json"]),
            (&["--json", "-i", "lo", "port 443"], false, &["--json", "-i", "lo", "port 443"]),
            (&["-i", "lo", "--release"], false, &["-i", "lo", "--release"]),
            (&["--help"], false, &["--help"]),
            (&["top", "-i", "lo"], false, &["top", "-i", "lo"]),
            (&[], false, &[]),
        ] {
            let args = args.iter().map(OsString::from).collect::<Vec<_>>();
            assert_eq!(run_args(line), (release, args), "{line:?}");
        }
    }
}

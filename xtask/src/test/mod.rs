//! `cargo xtask test`: everything that is checked before a change goes in, in one run.

mod failures;
mod interrupt;
mod lints;
mod plan;
mod work;

use crate::{
    cargo::BuildEnv,
    kernels::{self, Choice},
    packages, setup,
    shell::{capture, root, say, which},
    tally::{self, Tally},
    toolchain::Origin,
};
use anyhow::{Context as _, Result};
use lints::Lint;
use plan::Plan;
use std::{
    env,
    ffi::OsString,
    fmt::Display,
    fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};
use work::{Board, Counts, Job};

/// Commands that tests call, and the packages they come in.
const COMMANDS: [(&str, &str); 14] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("bpftool", "bpftool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("ethtool", "ethtool"),
    ("setcap", "libcap2-bin"),
    ("systemd-analyze", "systemd"),
    ("xdp-filter", "xdp-tools"),
    ("mandoc", "mandoc"),
    ("prometheus", "prometheus"),
    ("tmux", "tmux"),
    ("chromium", "chromium"),
    ("npm", "npm"),
];

/// Names the file to which a test that finds it cannot run here appends a line with its name and the reason. The
/// harness knows only of tests that were left out at compile time; this way the others are counted too.
const SKIPS: &str = "TCPTRACE_TEST_SKIPS";

/// Runs every step, or with arguments only the tests that they select.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let env = setup::ensure()?;
    install_commands(&env)?;
    interrupt::watch()?;
    let skips = Skips::new()?;
    let (mut failed, mut tally, mut reasons) = match args {
        [] => all(&env, &skips)?,
        args => named(&env, args, &skips)?,
    };
    let at_run_time = skips.take();
    tally.skip(at_run_time.len() as u64);
    reasons.extend(at_run_time);
    for reason in reasons {
        say(format_args!("skipped: {reason}"));
    }
    // Where nobody watches, a test that did not run would be taken for one that passed.
    if tally.skipped > 0 && env::var_os("CI").is_some_and(|ci| ci == "true") {
        failed.push("no skipped tests (CI is set)".to_owned());
    }
    conclude(&failed, tally)
}

/// What failed, the counts, and the tests that were left out.
type Outcome = (Vec<String>, Tally, Vec<String>);

/// Every step, side by side where they do not disturb each other, and then how long each took.
fn all(env: &BuildEnv, skips: &Skips) -> Result<Outcome> {
    let begun = Instant::now();
    let board = Board::new(work::print);
    board.watched(|| -> Result<()> {
        let build = Job {
            name: "building the tests".to_owned(),
            // If it fails, no test could pass: that is at least one that did not.
            counts: Counts::Binaries,
            command: Box::new(|| Ok(env.build_tests())),
        };
        board.run(check(env, lints::FORMAT));
        let is_built = board.run(build);

        let lints = lints::LINTS.into_iter().map(|lint| check(env, lint)).collect();
        // What did not build has been said.
        let plan = is_built.then(|| Plan::new(env, env.tests(Stdio::null())?, skips)).transpose()?;
        match plan {
            None => board.side_by_side([lints, Vec::new()]),
            Some(Plan { busy, waiting, alone }) => {
                let busy = lints.into_iter().chain([older_kernel()]).chain(busy).collect();
                board.side_by_side([busy, waiting]);
                for job in alone {
                    board.run(job);
                }
            }
        }
        Ok(())
    })?;
    let (table, failed, tally, ignored) = board.conclude();
    say(format_args!("How long each took, of {:.0} s in all:", begun.elapsed().as_secs_f64()));
    say(table.trim_end());
    Ok((failed, tally, ignored))
}

fn check(env: &BuildEnv, (name, command): Lint) -> Job<'_> {
    Job { name: name.to_owned(), counts: Counts::Nothing, command: Box::new(move || command(env)) }
}

/// A few tests in an older kernel, as a process of their own: what they say is then one piece like that of the others.
fn older_kernel() -> Job<'static> {
    let command = || {
        let mut command = Command::new("/proc/self/exe");
        command.args(["test", "--oldest-kernel"]);
        Ok(command)
    };
    Job { name: "an older kernel".to_owned(), counts: Counts::Sum, command: Box::new(command) }
}

/// The tests in other kernels: in the oldest a few, or in these kernels all of these binaries.
pub(crate) fn kernels(choice: &Choice) -> Result<ExitCode> {
    let env = setup::ensure()?;
    install_commands(&env)?;
    let mut tally = Tally::default();
    let success = kernels::run(&env, choice, &mut tally)?;
    conclude(if success { &[] } else { &["tests in other kernels"][..] }, tally)
}

fn conclude(failed: &[impl Display], tally: Tally) -> Result<ExitCode> {
    for step in failed {
        say(format_args!("failed: {step}"));
    }
    writeln!(io::stdout(), "{}", tally.line())?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gets the commands that the steps and tests need, where they are missing.
pub(crate) fn install_commands(env: &BuildEnv) -> Result<()> {
    let mut wanted: Vec<&str> = COMMANDS
        .iter()
        .filter(|(command, _)| which(command).is_none())
        .map(|(_, package)| *package)
        .collect();
    if env.compiler.origin == Origin::Debian {
        wanted.push("rust-web-clippy");
    }
    if which("cargo-fmt").is_none() {
        wanted.push("rustfmt-web");
    }
    packages::ensure_any(&wanted, "tests and lints use them")?;
    get_axe()
}

/// Gets the script that says whether everybody can use a page, where it is missing. It is in no package of Debian's.
fn get_axe() -> Result<()> {
    const AXE: &str = "axe-core@4.14.1";
    let folder = root().join("target/axe");
    if folder.join("package/axe.min.js").is_file() {
        return Ok(());
    }
    say(format_args!("getting {AXE} from npm: it looks at the page of `tcptrace report`"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let packed = capture(Command::new("npm").args(["pack", "--silent", AXE]).current_dir(&folder))?;
    capture(Command::new("tar").args(["-xzf", packed.trim()]).current_dir(&folder))?;
    Ok(())
}

/// The file to which tests that could not run append their names and the reasons.
struct Skips(PathBuf);

impl Skips {
    fn new() -> Result<Self> {
        let path = Self::path();
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where this process has it.
    fn path() -> PathBuf {
        env::temp_dir().join(format!("tcptrace-skips-{}", std::process::id()))
    }

    /// What they wrote.
    fn take(self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Skips {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

/// Only the tests that the arguments select: by `cargo test`, whose output is shown as it comes.
fn named(env: &BuildEnv, args: &[OsString], skips: &Skips) -> Result<Outcome> {
    let words = "test --workspace --exclude tcptrace-ebpf --no-fail-fast --";
    let mut command = env.cargo_as_root(words.split(' '))?;
    command.args(args).env(SKIPS, &skips.0);

    let mut tally = Tally::default();
    let (success, ignored) = stream(command, &mut tally)?;
    tally.finish(success);
    let mut failed = Vec::new();
    if tally.failed > 0 {
        failed.push("tests".to_owned());
    }
    if tally == Tally::default() {
        failed.push("no test has such a name".to_owned());
    }
    Ok((failed, tally, ignored))
}

/// Passes the output through line by line; both streams share a pipe, so that their order stays. Returns whether
/// the command succeeded, and the tests that were left out.
fn stream(mut command: Command, tally: &mut Tally) -> Result<(bool, Vec<String>)> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = work::spawn(&mut command)?;
    // It holds the write ends, and the pipe ends only when all of them are closed.
    drop(command);

    let mut ignored = Vec::new();
    let mut stdout = io::stdout().lock();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(stdout, "{line}")?;
        tally.read(&line);
        ignored.extend(tally::ignored(&line));
    }
    Ok((child.wait()?.success(), ignored))
}

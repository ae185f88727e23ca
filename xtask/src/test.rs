//! `cargo xtask test`: everything that is checked before a change goes in, in one run.

use crate::{
    cargo::BuildEnv,
    deny, fuzz,
    kernels::{self, Choice},
    packages, setup,
    shell::{capture, root, say, which},
    tally::{self, Tally},
    toolchain::Origin,
};
use anyhow::{Context as _, Result};
use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

/// Commands that tests call, and the packages they come in.
const COMMANDS: [(&str, &str); 9] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("bpftool", "bpftool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("ethtool", "ethtool"),
    ("setcap", "libcap2-bin"),
    ("xdp-filter", "xdp-tools"),
    ("mandoc", "mandoc"),
];

/// Names the file to which a test that finds it cannot run here appends a line with its name and the reason. The
/// harness knows only of tests that were left out at compile time; this way the others are counted too.
const SKIPS: &str = "TCPTRACE_TEST_SKIPS";

/// A step that is more than running the tests. Its command is made late, so that one that cannot be is only one
/// failed step.
type Step = (&'static str, fn(&BuildEnv) -> Result<Command>);

const STEPS: [Step; 6] = [
    ("format", |env| Ok(env.cargo(["fmt", "--all", "--check"]))),
    ("clippy", |env| {
        let words = "clippy --workspace --exclude tcptrace-ebpf --all-targets -- -D warnings";
        Ok(env.cargo(words.split(' ')))
    }),
    ("clippy for the kernel programs", |env| clippy_bpf(env)),
    ("documentation", |env| {
        let words = "doc --workspace --exclude tcptrace-ebpf --no-deps --document-private-items";
        let mut command = env.cargo(words.split(' '));
        command.env("RUSTDOCFLAGS", "-D warnings");
        Ok(command)
    }),
    ("fuzz targets", |env| Ok(fuzz::check(env))),
    ("dependencies", deny::command),
];

/// Runs every step, or with arguments only the tests that they select.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let env = setup::ensure()?;
    install_commands(&env)?;

    let mut failed = Vec::new();
    if args.is_empty() {
        for (name, command) in STEPS {
            let done = timed(name, || {
                let status = command(&env)?.stdin(Stdio::null()).status().context("cannot run cargo")?;
                Ok(status.success())
            });
            if !done {
                failed.push(name);
            }
        }
    }
    let mut tally = Tally::default();
    if !timed("tests", || run_tests(&env, args, &mut tally)) {
        failed.push("tests");
    }
    if args.is_empty() && !timed("an older kernel", || kernels::run(&env, &Choice::Short, &mut tally)) {
        failed.push("an older kernel");
    }
    if !args.is_empty() && tally == Tally::default() {
        failed.push("no test has such a name");
    }
    // Where nobody watches, a test that did not run would be taken for one that passed.
    if tally.skipped > 0 && env::var_os("CI").is_some_and(|ci| ci == "true") {
        failed.push("no skipped tests (CI is set)");
    }
    conclude(&failed, tally)
}

/// Only the tests in other kernels: in these, or in all; of these binaries, or of all.
pub(crate) fn kernels(kernels: Vec<String>, binaries: &[OsString]) -> Result<ExitCode> {
    let binaries = binaries.iter().map(|it| it.to_string_lossy().into_owned()).collect();
    let choice = Choice::Full { kernels, binaries };
    let env = setup::ensure()?;
    install_commands(&env)?;
    let mut tally = Tally::default();
    let success = kernels::run(&env, &choice, &mut tally)?;
    conclude(if success { &[] } else { &["tests in other kernels"] }, tally)
}

fn conclude(failed: &[&str], tally: Tally) -> Result<ExitCode> {
    for step in failed {
        say(format_args!("failed: {step}"));
    }
    writeln!(io::stdout(), "{}", tally.line())?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A heading, the step, and how long it took. An error is said and is a failure: the other steps go on.
fn timed(name: &str, step: impl FnOnce() -> Result<bool>) -> bool {
    say(format_args!("==> {name}"));
    let start = Instant::now();
    let success = step().unwrap_or_else(|error| {
        say(format_args!("error: {error:#}"));
        false
    });
    let verdict = if success { "ok" } else { "FAILED" };
    say(format_args!("    {name}: {verdict}, {:.1} s", start.elapsed().as_secs_f64()));
    success
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
    packages::ensure_any(&wanted, "tests and lints use them")
}

/// Clippy for the kernel programs must come with the compiler that has `core` for BPF: metadata of another version
/// cannot be read. Debian packages its clippy apart, a nightly builds `core` itself.
fn clippy_bpf(env: &BuildEnv) -> Result<Command> {
    let mut command = match (env.compiler.origin, env.compiler.rustup_name()) {
        (Origin::Debian, _) => Command::new("/usr/bin/cargo-clippy"),
        (Origin::Nightly, _) => Command::new("cargo-clippy"),
    };
    command.arg("clippy").env("PATH", &env.path).env_remove("CARGO").current_dir(root());
    match env.compiler.rustup_name() {
        Some(name) => command.env("RUSTUP_TOOLCHAIN", name),
        None => &mut command,
    };
    command.args(["--package", "tcptrace-ebpf", "--target", "bpfel-unknown-none"]);
    if env.compiler.origin == Origin::Nightly {
        command.args(["-Z", "build-std=core"]);
    }
    // Apart from target/debug, because another compiler fills it.
    command.args(["--target-dir", "target/clippy-bpf", "--", "-D", "warnings"]);
    let machine = capture(Command::new("uname").arg("-m"))?;
    command
        .env("RUSTC_BOOTSTRAP", "aya_ebpf")
        .env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", machine.trim()));
    Ok(command)
}

/// Runs `cargo test`, shows its output as it comes, and counts.
fn run_tests(env: &BuildEnv, args: &[OsString], tally: &mut Tally) -> Result<bool> {
    let skips = env::temp_dir().join(format!("tcptrace-skips-{}", std::process::id()));
    fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
    let words = "test --workspace --exclude tcptrace-ebpf --no-fail-fast --";
    let mut command = env.cargo_as_root(words.split(' '))?;
    command.args(args).env(SKIPS, &skips);

    let (success, mut reasons) = stream(command, tally)?;
    tally.finish(success);
    let run_time = fs::read_to_string(&skips).unwrap_or_default();
    _ = fs::remove_file(&skips);
    tally.skip(run_time.lines().count() as u64);
    reasons.extend(run_time.lines().map(str::to_owned));
    for reason in reasons {
        say(format_args!("skipped: {reason}"));
    }
    Ok(success && tally.failed == 0)
}

/// Passes the output through line by line; both streams share a pipe, so that their order stays. Returns whether
/// the command succeeded, and the tests that were left out.
fn stream(mut command: Command, tally: &mut Tally) -> Result<(bool, Vec<String>)> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().context("cannot run cargo")?;
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

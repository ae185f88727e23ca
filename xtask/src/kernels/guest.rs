//! Starts a kernel in an emulated machine, and reads what init says on another serial line than the kernel's.

use super::{
    arch::Arch,
    archive::Unpacked,
    plan::Suite,
    transcript::{Event, Transcript, Verdict},
};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// A kernel has to start its first suite within this time, and to turn off after its last.
const BOOT: Duration = Duration::from_mins(5);
/// The guest ends a suite that takes too long itself; a kernel that does not even do that hangs.
const GRACE: Duration = Duration::from_mins(1);
/// Words of a kernel that found something wrong with itself.
const COMPLAINTS: [&str; 7] = [
    "Kernel panic",
    "BUG:",
    "Oops",
    "WARNING:",
    "general protection fault",
    "soft lockup",
    "blocked for more than",
];

/// Ends when this is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// What came of one start of a kernel.
pub(super) struct Report {
    /// One for each suite, in their order, and one more for the kernel if it has something to complain about.
    pub(super) verdicts: Vec<Verdict>,
    /// What the tests found out about the kernel.
    pub(super) features: Vec<(String, String)>,
}

/// Starts it, and tells `each` about every verdict as it comes. Everything that is said is in `log` and `console`
/// under `place`.
pub(super) fn run(
    kernel: &Unpacked,
    initramfs: &Path,
    suites: &[&Suite],
    place: &Path,
    mut each: impl FnMut(&Verdict),
) -> Result<Report> {
    let (log_path, console) = (place.join("log"), place.join("console"));
    let mut log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut machine = start(kernel, initramfs, &console)?;
    let lines = lines(&mut machine.0)?;
    let names: Vec<&str> = suites.iter().map(|suite| suite.binary).collect();
    let mut transcript = Transcript::new(&names);
    let mut limit = BOOT;
    let mut since = Instant::now();
    let hang = loop {
        match lines.recv_timeout(limit.saturating_sub(since.elapsed())) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                match transcript.read(&line) {
                    Some(Event::Began(at)) => {
                        limit = GRACE + Duration::from_secs(suites[at].seconds.into());
                        since = Instant::now();
                    }
                    Some(Event::Ended(verdict)) => {
                        each(verdict);
                        limit = BOOT;
                        since = Instant::now();
                    }
                    None => {}
                }
            }
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    drop(machine);
    let console = fs::read_to_string(console).unwrap_or_default();
    let why = if hang { "the kernel hangs" } else { "the kernel ended before" };
    let told = transcript.ended();
    let (mut verdicts, features) = transcript.finish(why);
    verdicts.extend(complaint(&console));
    for verdict in &verdicts[told..] {
        each(verdict);
    }
    Ok(Report { verdicts, features })
}

fn start(kernel: &Unpacked, initramfs: &Path, console: &Path) -> Result<Machine> {
    // Its Drop does not run when this task is killed.
    let Arch { emulator, processor, machine, console: line, results, .. } = kernel.arch;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", emulator])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        // The same everywhere, and it needs no rights. Two processors, for what is kept per processor.
        .args(["-accel", "tcg", "-smp", "2", "-m", "2048"])
        .arg("-append")
        // What the kernel does not know is in init's environment.
        .arg(format!(
            "console={line} panic=-1 oops=panic mitigations=off random.trust_cpu=on loglevel=5 results={results}"
        ))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-chardev", "stdio,id=results"])
        .args(["-cpu", processor(&kernel.release)])
        .args(*machine)
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(Machine(command.spawn().with_context(|| format!("cannot run {emulator}"))?))
}

/// The lines of the machine's output, as they come.
fn lines(machine: &mut Child) -> Result<mpsc::Receiver<String>> {
    let output = machine.stdout.take().context("the machine has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

/// What the kernel itself says to be wrong.
fn complaint(console: &str) -> Option<Verdict> {
    let line = console.lines().find(|line| COMPLAINTS.iter().any(|it| line.contains(it)))?;
    Some(Verdict::failed("kernel", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn a_kernel_that_complains_has_failed() {
        assert!(complaint("[    0.0] Linux version 5.10\n[    1.0] Run /init\n").is_none());
        let said = complaint("[ 1.0] fine\n[    2.0] WARNING: CPU: 0 at x.c\n").expect("it complains");
        assert_eq!(said.outcome.expect_err("failed"), "[    2.0] WARNING: CPU: 0 at x.c");
    }
}

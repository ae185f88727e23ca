//! Running commands side by side. The output of each comes in one piece when it has ended, so that no two are mixed.

use super::{failures, interrupt};
use crate::{
    shell::say,
    tally::{self, Tally},
};
use anyhow::{Context as _, Result};
use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Nothing longer than this goes by without a line that says what is running.
const SILENCE: Duration = Duration::from_secs(30);

/// What the output of a command counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// It runs no tests.
    Nothing,
    /// It is one test binary, which has to print one result; with names of tests, of which some must be.
    Binary { named: bool },
    /// It is a cargo that runs several test binaries, and says so before each.
    Binaries,
    /// It is a task of ours, which ends with the sum.
    Sum,
}

/// A command that is to run.
pub(super) struct Job<'a> {
    pub(super) name: String,
    pub(super) counts: Counts,
    /// Makes it, as late as can be: what fails then is one step among others.
    pub(super) command: Box<dyn FnOnce() -> Result<Command> + Send + 'a>,
}

/// What became of one.
#[derive(Debug)]
struct Done {
    name: String,
    took: Duration,
    success: bool,
    /// The tests of it that failed, each with what it said.
    failures: Vec<String>,
}

/// All that ran and runs.
#[derive(Default)]
struct State {
    running: Vec<(String, Instant)>,
    done: Vec<Done>,
    tally: Tally,
    ignored: Vec<String>,
    /// When something was printed last.
    printed: Option<Instant>,
    over: bool,
}

/// Where the jobs of one run of the tests are kept account of.
pub(super) struct Board {
    state: Mutex<State>,
    /// Told when the run is over.
    over: Condvar,
    /// Prints a line about a job, and what of its output is to be seen.
    print: fn(&str, &str),
}

impl Board {
    pub(super) fn new(print: fn(&str, &str)) -> Self {
        Self { state: Mutex::default(), over: Condvar::new(), print }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `body`, and tells all the while what is running.
    pub(super) fn watched<R>(&self, body: impl FnOnce() -> R) -> R {
        thread::scope(|scope| {
            scope.spawn(|| self.watch());
            let result = body();
            self.state().over = true;
            self.over.notify_all();
            result
        })
    }

    fn watch(&self) {
        let mut state = self.state();
        state.printed = Some(Instant::now());
        while !state.over {
            let quiet = state.printed.map_or(SILENCE, |printed| printed.elapsed());
            if quiet >= SILENCE {
                if !state.running.is_empty() {
                    (self.print)(&format!("    running: {}", list(&state.running)), "");
                }
                state.printed = Some(Instant::now());
            }
            let left = state.printed.map_or(SILENCE, |printed| SILENCE.saturating_sub(printed.elapsed()));
            state = self.over.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Runs one job to its end, tells how it went, and keeps account of it.
    pub(super) fn run(&self, job: Job<'_>) -> bool {
        let Job { name, counts, command } = job;
        let begun = Instant::now();
        self.state().running.push((name.clone(), begun));
        let (mut success, output) = match command().and_then(|mut command| output(&mut command)) {
            Ok(ended) => ended,
            Err(error) => (false, format!("error: {error:#}")),
        };
        // What ends then has not failed.
        interrupt::hold_if_interrupted();
        let counted = count(counts, &output, success);
        // The counts decide too: a binary may end well without having said how its tests went.
        success &= counted.failed == 0;
        let took = begun.elapsed();

        let mut state = self.state();
        state.running.retain(|(running, since)| (running, since) != (&name, &begun));
        state.printed = Some(Instant::now());
        state.tally.add(counted);
        state.ignored.extend(output.lines().filter_map(tally::ignored));
        let verdict = if success { "ok" } else { "FAILED" };
        let shown = match (success, counts) {
            (true, Counts::Nothing) => String::new(),
            (true, Counts::Binary { .. } | Counts::Binaries) => results(&output),
            (false, _) | (_, Counts::Sum) => without_sum(&output),
        };
        (self.print)(&format!("==> {name}: {verdict}, {:.1} s", took.as_secs_f64()), &shown);
        let failures = if success { Vec::new() } else { failures::of(&output) };
        state.done.push(Done { name, took, success, failures });
        success
    }

    /// Runs the jobs of two lists, one of each at a time. Whoever is through with its own list helps with the other.
    pub(super) fn side_by_side(&self, lists: [Vec<Job<'_>>; 2]) {
        let lists = Mutex::new(lists.map(VecDeque::from));
        let next = |own: usize| {
            let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists[own].pop_front().or_else(|| lists[1 - own].pop_front())
        };
        thread::scope(|scope| {
            for own in [0, 1] {
                let next = &next;
                scope.spawn(move || {
                    while let Some(job) = next(own) {
                        self.run(job);
                    }
                });
            }
        });
    }

    /// How long each took, longest first; what failed, with its tests; the counts; and which tests were left out, with
    /// the reason.
    pub(super) fn conclude(self) -> (String, Vec<String>, Tally, Vec<String>) {
        let State { mut done, tally, ignored, .. } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed = done.iter().filter(|it| !it.success).flat_map(|it| {
            let tests = it.failures.iter().map(|failure| format!("{}: {failure}", it.name));
            let alone = it.failures.is_empty().then(|| it.name.clone());
            tests.chain(alone).collect::<Vec<_>>()
        });
        let failed = failed.collect();
        done.sort_by_key(|it| std::cmp::Reverse(it.took));
        let lines = done.iter().map(|it| {
            let verdict = if it.success { "" } else { "  FAILED" };
            format!("{:>8.1} s  {}{verdict}\n", it.took.as_secs_f64(), it.name)
        });
        (lines.collect(), failed, tally, ignored)
    }
}

/// `live 62 s, corpus 3 s`.
fn list(running: &[(String, Instant)]) -> String {
    let each = running.iter().map(|(name, since)| format!("{name} {} s", since.elapsed().as_secs()));
    each.collect::<Vec<_>>().join(", ")
}

/// Runs it; whether it ended well, and what it said. Both streams share a pipe, so that their order stays.
fn output(command: &mut Command) -> Result<(bool, String)> {
    let (mut reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = spawn(command)?;
    // The command holds write ends, and the pipe ends only when all of them are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).context("cannot read what it says")?;
    Ok((child.wait()?.success(), String::from_utf8_lossy(&bytes).into_owned()))
}

/// Starts it in a process group of its own: what Ctrl-C then reaches is this task alone, which ends all that it has
/// started, with what those have started.
pub(super) fn spawn(command: &mut Command) -> Result<std::process::Child> {
    interrupt::hold_if_interrupted();
    let program = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).spawn().with_context(|| format!("cannot run {program}"))
}

/// The counts of one job's output.
fn count(counts: Counts, output: &str, success: bool) -> Tally {
    let mut tally = Tally::default();
    match counts {
        Counts::Nothing => return tally,
        Counts::Sum => {
            if let Some(sum) = output.lines().next_back().and_then(Tally::parse) {
                return sum;
            }
            tally.began();
        }
        Counts::Binary { .. } => tally.began(),
        Counts::Binaries => {}
    }
    if counts != Counts::Sum {
        output.lines().for_each(|line| tally.read(line));
    }
    let is_empty = |tally: &Tally| tally.passed + tally.failed + tally.skipped == 0;
    if counts == (Counts::Binary { named: true }) && is_empty(&tally) {
        // Tests were renamed, and what was to run alone no longer does.
        tally.failed += 1;
    }
    tally.finish(success);
    tally
}

/// The lines with a result, and what follows the last of them.
fn results(output: &str) -> String {
    let is_result = |line: &str| tally::result(line).is_some();
    let last = output.lines().filter(|line| is_result(line)).count();
    if last == 0 {
        return String::new();
    }
    let mut seen = 0;
    let kept = output.lines().filter(|line| {
        let result = is_result(line);
        seen += usize::from(result);
        result || seen == last
    });
    let kept = kept.fold(String::new(), |all, line| all + line + "\n");
    kept.trim_end().to_owned()
}

/// All but the line that is like the one at the end of the whole run, which only one may be.
fn without_sum(output: &str) -> String {
    output.lines().filter(|line| Tally::parse(line).is_none()).collect::<Vec<_>>().join("\n")
}

/// Says the line, and prints the output where that of tests belongs. A closed stdout is no reason to leave other steps out.
pub(super) fn print(line: &str, output: &str) {
    say(line);
    let output = output.trim_end();
    if !output.is_empty() {
        _ = writeln!(io::stdout().lock(), "{output}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, Counts, Job, count, results, without_sum};
    use crate::tally::Tally;
    use anyhow::bail;
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    const PASSED: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    const NONE: &str =
        "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s";

    fn job(name: &str, counts: Counts, script: &str) -> Job<'static> {
        let script = script.to_owned();
        let command = move || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            Ok(command)
        };
        Job { name: name.to_owned(), counts, command: Box::new(command) }
    }

    #[test]
    fn each_kind_of_output_is_counted_as_what_it_is() {
        let all = Counts::Binary { named: false };
        let some = Counts::Binary { named: true };
        for (counts, output, success, expected) in [
            (Counts::Nothing, PASSED, true, "0 passed, 0 failed"),
            (Counts::Nothing, "error", false, "0 passed, 0 failed"),
            (all, PASSED, true, "3 passed, 0 failed, 1 skipped"),
            (all, "test a ... ok\nSegmentation fault", false, "0 passed, 1 failed"),
            (all, "it ends well and has no result", true, "0 passed, 1 failed"),
            (all, NONE, true, "0 passed, 0 failed"),
            (some, PASSED, true, "3 passed, 0 failed, 1 skipped"),
            (some, NONE, true, "0 passed, 1 failed"),
            (
                Counts::Binaries,
                &format!("   Doc-tests a\n{PASSED}\n   Doc-tests b"),
                false,
                "3 passed, 1 failed, 1 skipped",
            ),
            (Counts::Binaries, "error: could not compile", false, "0 passed, 1 failed"),
            (Counts::Sum, "5.10: 6 passed\n6 passed, 0 failed", true, "6 passed, 0 failed"),
            (Counts::Sum, "5 passed, 1 failed", false, "5 passed, 1 failed"),
            (Counts::Sum, "error: no such kernel", false, "0 passed, 1 failed"),
        ] {
            assert_eq!(count(counts, output, success).line(), expected, "{counts:?}: {output}");
        }
    }

    #[test]
    fn of_what_went_well_only_results_are_shown_and_what_follows_them() {
        let output = format!(
            "running 3 tests\ntest a ... ok\n\n{PASSED}\n\ntest b ... ok\n{NONE}\n\nonly at tracker: x\n"
        );
        assert_eq!(results(&output), format!("{PASSED}\n{NONE}\n\nonly at tracker: x"));
        assert_eq!(results("nothing of the kind\n"), "");
        assert_eq!(without_sum("5.10: 6 passed\n6 passed, 0 failed\n"), "5.10: 6 passed");
    }

    #[test]
    fn jobs_of_two_lists_run_side_by_side_and_each_is_accounted_for() {
        let board = Board::new(|_, _| ());
        let passed = format!("echo '{PASSED}'");
        // Each of the first two waits for the other.
        let (one, two) =
            std::env::temp_dir().join(format!("xtask-{}", std::process::id())).to_str().map_or_else(
                || panic!("the folder for temporary files has a name that is no text"),
                |path| (format!("{path}-1"), format!("{path}-2")),
            );
        let meet = |mine: &str, other: &str| {
            format!(
                "touch {mine}; for i in $(seq 200); do test -e {other} && exit 0; sleep 0.1; done; exit 1"
            )
        };
        let broken = Job {
            name: "broken".to_owned(),
            counts: Counts::Nothing,
            command: Box::new(|| bail!("it cannot be made")),
        };
        board.watched(|| {
            let first = vec![job("left", Counts::Nothing, &meet(&one, &two)), broken];
            let second = vec![
                job("right", Counts::Nothing, &meet(&two, &one)),
                job("tests", Counts::Binary { named: false }, &passed),
                job("bad", Counts::Nothing, "echo 'failures:'; echo '    a::b'; exit 3"),
            ];
            board.side_by_side([first, second]);
        });
        for path in [one, two] {
            std::fs::remove_file(path).expect("it was made");
        }
        let (table, mut failed, tally, _) = board.conclude();
        failed.sort_unstable();
        assert_eq!(failed, ["bad: a::b", "broken"]);
        assert_eq!(tally, Tally::parse("3 passed, 0 failed, 1 skipped").expect("it is such a line"));
        assert_eq!(table.lines().count(), 5, "{table}");
        assert_eq!(table.lines().filter(|line| line.ends_with("  FAILED")).count(), 2, "{table}");
    }

    #[test]
    fn one_list_helps_with_the_other() {
        let board = Board::new(|_, _| ());
        let begun = Instant::now();
        let naps = (0..4).map(|nth| job(&nth.to_string(), Counts::Nothing, "sleep 1")).collect();
        board.side_by_side([naps, Vec::new()]);
        assert!(begun.elapsed() < Duration::from_millis(3900), "{:?}", begun.elapsed());
    }
}

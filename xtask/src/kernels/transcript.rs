//! What a kernel under test said, line by line, made into one verdict for each suite.

use crate::tally;
use std::time::{Duration, Instant};

/// Of one suite.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) suite: String,
    /// The error says what is wrong, in a line.
    pub(super) outcome: Result<(), String>,
    /// Tests that passed and that failed; at least one has where the outcome is an error.
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) took: Duration,
    /// All it printed.
    pub(super) output: Vec<String>,
}

impl Verdict {
    pub(super) fn failed(suite: &str, why: &str) -> Self {
        Self {
            suite: suite.to_owned(),
            outcome: Err(why.to_owned()),
            passed: 0,
            failed: 1,
            took: Duration::ZERO,
            output: Vec::new(),
        }
    }
}

/// What a line meant.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The suite of this number.
    Began(usize),
    Ended(&'a Verdict),
}

/// A suite that runs.
struct Running {
    since: Instant,
    /// Passed, failed, ignored: of every line that gives a result.
    results: Vec<(u64, u64, u64)>,
    skips: Vec<String>,
    output: Vec<String>,
}

/// Reads the lines of one start of a kernel.
pub(super) struct Transcript {
    names: Vec<String>,
    verdicts: Vec<Verdict>,
    running: Option<Running>,
    features: Vec<(String, String)>,
}

impl Transcript {
    /// That of these suites, in their order.
    pub(super) fn new(names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { names, verdicts: Vec::new(), running: None, features: Vec::new() }
    }

    /// How many suites have their verdict.
    pub(super) const fn ended(&self) -> usize {
        self.verdicts.len()
    }

    /// Takes note of a line.
    pub(super) fn read(&mut self, line: &str) -> Option<Event<'_>> {
        let expected = self.names.get(self.verdicts.len())?;
        let Some(running) = &mut self.running else {
            if line.strip_prefix("@@@ begin ")? != expected {
                return None;
            }
            let since = Instant::now();
            self.running =
                Some(Running { since, results: Vec::new(), skips: Vec::new(), output: Vec::new() });
            return Some(Event::Began(self.verdicts.len()));
        };
        if let Some(skip) = line.strip_prefix("@@@ skip ") {
            running.skips.push(skip.to_owned());
        } else if let Some((name, status)) = end(line) {
            let verdict = self.running.take()?.verdict(expected, name, status);
            self.verdicts.push(verdict);
            return self.verdicts.last().map(Event::Ended);
        } else {
            running.results.extend(tally::result(&tally::without_colour(line)));
            running.output.push(line.to_owned());
            let feature = line.strip_prefix("feature ").and_then(|rest| rest.split_once(": "));
            self.features.extend(feature.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        None
    }

    /// The verdicts and what the tests found out; a suite without one has failed, by `why`.
    pub(super) fn finish(mut self, why: &str) -> (Vec<Verdict>, Vec<(String, String)>) {
        let output = self.running.take().map(|it| it.output).unwrap_or_default();
        let mut missing: Vec<_> = self.names[self.verdicts.len()..]
            .iter()
            .map(|name| Verdict::failed(name, &format!("no verdict: {why}")))
            .collect();
        // The first of them is the one that ran.
        if let Some(first) = missing.first_mut() {
            first.output = output;
        }
        self.verdicts.append(&mut missing);
        (self.verdicts, self.features)
    }
}

/// `@@@ end NAME STATUS`
fn end(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("@@@ end ")?.split_once(' ')
}

impl Running {
    fn verdict(self, expected: &str, name: &str, status: &str) -> Verdict {
        let outcome = self.outcome(expected, name, status);
        let (mut passed, mut failed) = (0, 0);
        for (more_passed, more_failed, _) in &self.results {
            passed += more_passed;
            failed += more_failed;
        }
        // One that skipped itself ended well for its harness.
        passed = passed.saturating_sub(self.skips.len() as u64);
        failed += self.skips.len() as u64;
        if outcome.is_err() {
            failed = failed.max(1);
        }
        let took = self.since.elapsed();
        Verdict { suite: expected.to_owned(), outcome, passed, failed, took, output: self.output }
    }

    /// Good is only one result, of tests that all ran.
    fn outcome(&self, expected: &str, name: &str, status: &str) -> Result<(), String> {
        const KILLED: &str = "137";
        if name != expected {
            return Err(format!("its end is that of {name}"));
        }
        if !self.skips.is_empty() {
            return Err(format!("skipped: {}", self.skips.join("; ")));
        }
        match (&self.results[..], status) {
            (_, KILLED) => Err("killed: it took too long".to_owned()),
            ([], _) => Err(format!("no result, status {status}")),
            ([(0, 0, 0)], _) => Err("no test ran".to_owned()),
            ([(_, 0, 0)], "0") => Ok(()),
            ([(_, 0, ignored)], "0") => Err(format!("{ignored} ignored")),
            ([(_, failed, _)], _) => Err(format!("{failed} failed, status {status}")),
            (results, _) => Err(format!("{} results instead of one", results.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Transcript, Verdict};

    fn read(suites: &[&str], text: &str) -> Vec<Verdict> {
        let mut transcript = Transcript::new(suites);
        for line in text.lines() {
            transcript.read(line);
        }
        transcript.finish("it hangs").0
    }

    /// The error of the only suite.
    fn error(text: &str) -> String {
        let verdicts = read(&["a"], text);
        assert_eq!(verdicts.len(), 1, "{text}");
        assert!(verdicts[0].failed > 0, "{text}");
        verdicts[0].outcome.clone().expect_err(text)
    }

    const FIVE: &str =
        "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.1s\n";

    #[test]
    fn a_verdict_is_one_result_and_one_good_end() {
        let verdicts =
            read(&["a"], &format!("booting\n@@@ begin a\ntest x ... ok\n{FIVE}@@@ end a 0\n@@@ done"));
        assert_eq!((verdicts.len(), verdicts[0].passed, verdicts[0].failed), (1, 5, 0));
        assert_eq!(verdicts[0].outcome, Ok(()));
    }

    #[test]
    fn everything_else_is_a_failure() {
        assert_eq!(error("@@@ begin a\ntest x ... ok\n"), "no verdict: it hangs");
        assert_eq!(error(""), "no verdict: it hangs");
        assert_eq!(error("@@@ begin a\n@@@ end a 101\n"), "no result, status 101");
        assert_eq!(error(&format!("@@@ begin a\n{FIVE}@@@ end a 137\n")), "killed: it took too long");
        assert_eq!(error(&format!("@@@ begin a\n{FIVE}@@@ end a 1\n")), "0 failed, status 1");
        assert_eq!(error(&format!("@@@ begin a\n{FIVE}{FIVE}@@@ end a 0\n")), "2 results instead of one");
        assert_eq!(error(&format!("@@@ begin a\n{FIVE}@@@ end b 0\n")), "its end is that of b");
        assert_eq!(error(&format!("@@@ begin a\n{FIVE}@@@ skip x: no\n@@@ end a 0\n")), "skipped: x: no");
        let none = FIVE.replace('5', "0");
        assert_eq!(error(&format!("@@@ begin a\n{none}@@@ end a 0\n")), "no test ran");
        let ignored = FIVE.replace("0 ignored", "1 ignored");
        assert_eq!(error(&format!("@@@ begin a\n{ignored}@@@ end a 0\n")), "1 ignored");
    }

    #[test]
    fn a_kernel_that_dies_leaves_the_rest_without_a_verdict() {
        let verdicts =
            read(&["a", "b", "c"], &format!("@@@ begin a\n{FIVE}@@@ end a 0\n@@@ begin b\ntest x ... \n"));
        let outcomes: Vec<_> = verdicts.iter().map(|it| it.outcome.is_ok()).collect();
        assert_eq!(outcomes, [true, false, false]);
        assert_eq!(verdicts[1].output, ["test x ... "]);
    }

    #[test]
    fn features_are_taken_from_the_output() {
        let mut transcript = Transcript::new(&["a"]);
        for line in ["feature early: no", "@@@ begin a", "feature TC: TCX links", "@@@ end a 0"] {
            transcript.read(line);
        }
        assert_eq!(transcript.finish("").1, [("TC".to_owned(), "TCX links".to_owned())]);
    }
}

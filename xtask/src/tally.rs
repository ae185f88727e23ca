//! Counts tests by what `cargo test` prints.

/// How many tests of all binaries passed, failed or were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Test binaries that cargo started and that have not yet printed their result.
    unfinished: u64,
}

impl Tally {
    /// Counts what one line of the merged standard output and error says.
    pub(crate) fn read(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim();
        if (line.starts_with("Running ") && line.ends_with(')')) || line.starts_with("Doc-tests ") {
            self.began();
        } else if let Some((passed, failed, ignored)) = result(line) {
            self.passed += passed;
            self.failed += failed;
            self.skipped += ignored;
            self.unfinished = self.unfinished.saturating_sub(1);
        }
    }

    /// A test binary was started that is to print one result.
    pub(crate) fn began(&mut self) {
        self.unfinished += 1;
    }

    /// Adds what other binaries counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unfinished += other.unfinished;
    }

    /// Ends the count. A binary that died without a result counts as one failed test, and so does a build that failed
    /// before any test could run: "0 failed" beside a failure would be a lie.
    pub(crate) fn finish(&mut self, success: bool) {
        self.failed += self.unfinished;
        self.unfinished = 0;
        if !success && self.failed == 0 {
            self.failed = 1;
        }
    }

    /// Counts tests as skipped that ended well only because they found that they could not run here.
    pub(crate) fn skip(&mut self, tests: u64) {
        self.passed = self.passed.saturating_sub(tests);
        self.skipped += tests;
    }

    /// The line that ends the output.
    pub(crate) fn line(&self) -> String {
        let Self { passed, failed, skipped, .. } = self;
        match skipped {
            0 => format!("{passed} passed, {failed} failed"),
            _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
        }
    }

    /// Reads such a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut sum = Self::default();
        for (place, item) in line.split(", ").enumerate() {
            let (count, what) = item.split_once(' ')?;
            let count = count.parse().ok()?;
            match (place, what) {
                (0, "passed") => sum.passed = count,
                (1, "failed") => sum.failed = count,
                (2, "skipped") => sum.skipped = count,
                _ => return None,
            }
        }
        (sum.line() == line).then_some(sum)
    }
}

/// The name and the reason of a test that the harness was told to leave out.
pub(crate) fn ignored(line: &str) -> Option<String> {
    let line = without_colour(line);
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let reason = verdict.trim().strip_prefix("ignored")?;
    Some(format!("{name}: {}", reason.strip_prefix(", ").unwrap_or("no reason given")))
}

/// How many tests of a binary passed, failed and were ignored, by a line such as
/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
pub(crate) fn result(line: &str) -> Option<(u64, u64, u64)> {
    let (_verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count =
        |name: &str| counts.split("; ").find_map(|item| item.strip_suffix(name)?.trim().parse::<u64>().ok());
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

/// The line without escape sequences (ESC [ ... letter).
pub(crate) fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, tail)| tail);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::{Tally, ignored};

    fn tally(lines: &[&str], success: bool) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally.finish(success);
        tally
    }

    const RUNNING: &str = "     Running unittests src/lib.rs (target/debug/deps/x-1)";

    #[test]
    fn results_of_several_binaries_are_summed() {
        let sum = tally(
            &[
                RUNNING,
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                "\u{1b}[1m\u{1b}[92m     Running\u{1b}[0m tests/a.rs (target/debug/deps/a-1)",
                "test a ... ok",
                "test result: \u{1b}[31mFAILED\u{1b}[0m. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; \
                 finished in 1.20s",
                "   Doc-tests tcptrace",
                "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            ],
            false,
        );
        assert_eq!(sum.line(), "12 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_binary_that_died_is_a_failed_test() {
        let ok =
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(tally(&[RUNNING, RUNNING, ok], false).line(), "3 passed, 1 failed");
        assert_eq!(tally(&[], false).line(), "0 passed, 1 failed", "nothing was built");
        assert_eq!(tally(&[RUNNING, ok], true).line(), "3 passed, 0 failed");
    }

    #[test]
    fn other_lines_do_not_count() {
        let lines = ["test result: what?", "Running the server", "test result: ok. many passed; 0 failed"];
        assert_eq!(tally(&lines, true), Tally::default());
    }

    #[test]
    fn a_test_that_could_not_run_has_not_passed() {
        let mut sum = Tally { passed: 4, ..Tally::default() };
        sum.skip(1);
        assert_eq!(sum.line(), "3 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn the_closing_line_is_read_back() {
        for (passed, failed, skipped) in [(0, 1, 0), (7, 0, 2)] {
            let sum = Tally { passed, failed, skipped, unfinished: 0 };
            assert_eq!(Tally::parse(&sum.line()), Some(sum));
        }
        for other in ["", "7 passed", "1 failed, 7 passed", "5.10: 7 passed, 0 failed, 30 s"] {
            assert_eq!(Tally::parse(other), None, "{other}");
        }
    }

    #[test]
    fn ignored_tests_are_named_with_their_reason() {
        let named = |line| ignored(line).unwrap_or_default();
        assert_eq!(named("test live::xdp ... ignored, needs a NIC"), "live::xdp: needs a NIC");
        assert_eq!(named("test slow ... ignored"), "slow: no reason given");
        assert_eq!(ignored("test fast ... ok"), None);
    }
}

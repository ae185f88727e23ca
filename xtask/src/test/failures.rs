//! Which tests failed and why, by what a test binary prints. The output of a whole run is long, and what is read of it first is
//! its end.

use crate::tally::without_colour;

/// As many lines of what a test says of its failure as are repeated.
const LINES: usize = 12;
/// As much of each of them.
const COLUMNS: usize = 400;

/// Each test that failed in this output, with the beginning of what it said last.
pub(super) fn of(output: &str) -> Vec<String> {
    let plain = without_colour(output);
    let lines: Vec<&str> = plain.lines().collect();
    let failures = names(&lines).into_iter().map(|name| {
        let mut failure = name.to_owned();
        for line in said(&lines, name) {
            failure.push_str("\n    ");
            failure.extend(line.chars().take(COLUMNS));
        }
        failure
    });
    failures.chain(unfinished(&lines).map(|name| format!("{name}: it did not end"))).collect()
}

/// The tests that ran for long and have no verdict, as their binary was ended.
fn unfinished<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let long =
        |line: &'a str| line.strip_prefix("test ")?.split_once(" has been running for over ").map(|it| it.0);
    let has_verdict = move |name: &str| {
        let verdict = format!("test {name} ... ");
        lines.iter().any(|line| line.starts_with(&verdict))
    };
    lines.iter().filter_map(move |line| long(line)).filter(move |name| !has_verdict(name))
}

/// The names in the lists at the end of each binary's output. The line that says `FAILED` beside a name may be torn by what a program
/// that the test started wrote in between.
fn names<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut is_list = false;
    let names = lines.iter().filter_map(|line| {
        let name = line.strip_prefix("    ").filter(|_| is_list);
        is_list = *line == "failures:" || name.is_some();
        name
    });
    names.collect()
}

/// What the harness shows of the test's own output, from its last panic on and without the stack.
fn said<'a>(lines: &[&'a str], name: &str) -> Vec<&'a str> {
    let head = format!("---- {name} stdout ----");
    let Some(begin) = lines.iter().position(|line| *line == head) else { return Vec::new() };
    let section =
        lines[begin + 1..].iter().take_while(|line| !line.starts_with("---- ") && **line != "failures:");
    let section: Vec<&str> = section.copied().collect();
    let last = section.iter().rposition(|line| line.contains(" panicked at ")).unwrap_or(0);
    let ends = |line: &str| line == "stack backtrace:" || line.starts_with("note: run with ");
    let said = section[last..].iter().copied().take_while(|line| !ends(line));
    said.filter(|line| !line.trim().is_empty()).take(LINES).collect()
}

#[cfg(test)]
mod tests {
    use super::of;

    const OUTPUT: &str = "
running 3 tests
test good ... ok
test \u{1b}[31mbad::one\u{1b}[0m ... \u{1b}[31mFAILED\u{1b}[0m
test silent ... warning: of a program
FAILED

failures:

---- bad::one stdout ----
lines of its own

thread 'helper' (7) panicked at a.rs:1:1:
the first of two
stack backtrace:
   0: std

thread 'bad::one' (8) panicked at b.rs:2:3:
assertion failed
  left: 1

note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    bad::one
    silent

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn each_is_named_with_what_it_said_last() {
        let said =
            "bad::one\n    thread 'bad::one' (8) panicked at b.rs:2:3:\n    assertion failed\n      left: 1";
        assert_eq!(of(OUTPUT), [said, "silent"]);
        assert_eq!(of("test good ... ok\n"), [""; 0]);
    }

    #[test]
    fn a_test_that_hangs_is_named_when_its_binary_is_ended() {
        let output = "test slow has been running for over 60 seconds\ntest stuck has been running for over 60 seconds\n\
                      test slow ... ok\n";
        assert_eq!(of(output), ["stuck: it did not end"]);
    }

    #[test]
    fn no_more_is_repeated_than_is_read() {
        let line = "x".repeat(1000);
        let long = format!("---- a stdout ----\n{}\nfailures:\n    a\n\n", format!("{line}\n").repeat(50));
        let [failure] = &of(&long)[..] else { panic!("one failed") };
        assert_eq!(failure.lines().count(), 1 + super::LINES);
        assert!(failure.lines().skip(1).all(|line| line.len() == 4 + super::COLUMNS));
    }
}

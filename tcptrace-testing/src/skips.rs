//! Tests that cannot run here are counted as skipped (CONTRIBUTING.md).

use std::{env, fs::File, io::Write as _};

/// Counts one.
pub fn skip(name: &str, reason: &str) {
    let line = format!("{name}: {reason}");
    eprintln!("not run: {line}");
    let path =
        env::var("TCPTRACE_TEST_SKIPS").unwrap_or_else(|_| panic!("TCPTRACE_TEST_SKIPS is not set: {line}"));
    let mut file = File::options().append(true).create(true).open(&path).expect("it can be written");
    writeln!(file, "{line}").expect("it can be written");
}

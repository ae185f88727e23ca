//! The bodies of the fuzz targets that need this crate; `tcptrace-testing` has those that need only the core. The
//! targets in `fuzz/` call these functions with arbitrary bytes, and so do property tests of every test run. A finding
//! is a panic.

#[cfg(test)]
mod tests;

use clap::Parser as _;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, time::Duration};
use tcptrace::cli::{Args, Command, Config, Input, Interfaces};

/// Parses bytes as a command line, its words separated by zeros: it is refused as wrong usage, or every number in it is
/// within its bounds.
pub fn arguments(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let parsed =
        Args::try_parse_from([OsStr::new("tcptrace")].into_iter().chain(words)).and_then(Args::command);
    match parsed {
        // 0 is for --help and --version.
        Err(error) => assert!(matches!(error.exit_code(), 0 | 2) && !error.render().to_string().is_empty()),
        Ok(Command::Trace(config)) => assert_within_bounds(&config),
        Ok(Command::Check(config)) => assert_names_fit(&config.interfaces),
        // The other commands have no numbers.
        Ok(_) => {}
    }
}

fn assert_within_bounds(config: &Config) {
    assert!(config.ring_bytes.is_power_of_two() && (1 << 16..=1 << 30).contains(&config.ring_bytes));
    assert!((1..=1 << 24).contains(&config.limits.max_connections));
    assert!(config.latency <= Duration::from_secs(10));
    let hour = Duration::from_hours(1);
    for time in [config.limits.syn_timeout, config.limits.time_wait] {
        assert!((Duration::from_secs(1)..=hour).contains(&time));
    }
    assert!(config.stats_interval.is_none_or(|it| (Duration::from_millis(100)..=24 * hour).contains(&it)));
    assert!(config.count != Some(0));
    if let Input::Live(interfaces) = &config.input {
        assert_names_fit(interfaces);
    }
}

fn assert_names_fit(interfaces: &Interfaces) {
    if let Interfaces::Named(names) = interfaces {
        assert!(!names.is_empty() && names.iter().all(|name| (1..=127).contains(&name.len())));
    }
}

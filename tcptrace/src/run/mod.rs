//! From packets to output: a source, the tracker, the consumers, and the loop around them.

mod consumers;
mod create;
mod error;
mod events;
mod extcap;
mod file;
mod filter;
mod interfaces;
mod live;
mod merge;
mod pipeline;
mod progress;
mod reading;
mod report;
mod screen;
mod show;
mod signals;
mod start;
mod top;

pub use error::RunError;
pub use extcap::extcap;
pub use interfaces::list as interfaces;
pub use merge::merge;
pub use report::report;
pub use show::show;

use crate::{
    cli::{Config, Input},
    track,
};
use std::{
    io::{self, Write as _},
    time::Duration,
};

/// How long the end of a trace waits for a reader of its output that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Traces until the source ends, a signal comes, `--count` is reached or the reader of the output goes away.
pub fn trace(config: &Config) -> Result<(), RunError> {
    signals::catch_file_size_limit()?;
    let filter = filter::compile(&config.filter)?;
    match &config.input {
        Input::Live(interfaces) => live::trace(config, interfaces, filter),
        Input::Files(paths) => file::trace(config, paths, filter),
    }
}

/// Shows connections on a screen, until the user has seen enough or a signal comes.
pub fn top(config: &Config) -> Result<(), RunError> {
    // Nothing is attached for a screen that cannot be.
    top::Terminal::open()?;
    match &config.input {
        Input::Live(_) => trace(config),
        Input::Files(paths) => top::of_files(config, paths, filter::compile(&config.filter)?),
    }
}

/// Writes to the standard output at once. Returns false if nobody reads it any more, in which nothing is wrong.
fn print(bytes: &[u8]) -> Result<bool, RunError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).map_err(RunError::system("write to stdout")),
    }
}

/// How connections are followed, with all events about them.
fn tracking(config: &Config) -> track::Config {
    let limits = &config.limits;
    track::Config {
        give_up_ns: nanoseconds(limits.syn_timeout),
        time_wait_ns: nanoseconds(limits.time_wait),
        max_connections: limits.max_connections,
        first_byte: config.first_byte,
        ..track::Config::default()
    }
}

/// A duration in nanoseconds, as events and the tracker have it.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! Signals: those that end a trace, one that asks how it goes, and one that would end it without a word.

use super::RunError;
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ},
    flag,
    low_level::pipe,
};
use std::{
    fs,
    io::{self, PipeReader, PipeWriter, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The one that asks for the summary so far.
pub(super) const THAT_ASKS: i32 = SIGUSR1;

/// The one that Ctrl-C sends.
pub(super) const OF_CTRL_C: i32 = SIGINT;

/// Those that end a trace as Ctrl-C does: all that end a program, and let it have a last word. A hangup that is ignored
/// already stays so: that is what nohup(1) is for.
pub(super) fn that_end() -> impl Iterator<Item = i32> {
    let hangs_up = !is_ignored(SIGHUP);
    [SIGINT, SIGTERM, SIGALRM, SIGUSR2].into_iter().chain(hangs_up.then_some(SIGHUP))
}

/// As `proc_pid_status(5)` has it; where that cannot be read, none is.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// A file that becomes larger than `ulimit -f` allows is then an error to write to, and is told like a full disk.
pub(super) fn outlive_a_limit_of_files() -> Result<(), RunError> {
    flag::register(SIGXFSZ, Arc::default()).map(drop).map_err(RunError::system("listen for signals"))
}

/// Whether to end: asked between batches, and a pipe for whoever waits for more.
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    reader: PipeReader,
    writer: PipeWriter,
}

impl Stop {
    /// Set by the signals that end a trace.
    pub(super) fn new() -> Result<Self, RunError> {
        let failed = RunError::system("listen for signals");
        let (reader, writer) = io::pipe().map_err(&failed)?;
        let flag = Arc::new(AtomicBool::new(false));
        for signal in that_end() {
            // In this order: whoever is woken finds the flag set.
            flag::register(signal, Arc::clone(&flag)).map_err(&failed)?;
            pipe::register(signal, writer.try_clone().map_err(&failed)?).map_err(&failed)?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        flag::register(THAT_ASKS, Arc::clone(&asked)).map_err(&failed)?;
        Ok(Self { flag, asked, reader, writer })
    }

    /// The summary so far is asked for, since this was last called.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Can be read from once it is set.
    pub(super) fn pipe(&self) -> Result<PipeReader, RunError> {
        self.reader.try_clone().map_err(RunError::system("listen for signals"))
    }

    /// Sets it.
    pub(super) fn setter(&self) -> Result<impl Fn() + Clone + Send + use<>, RunError> {
        let writer = self.writer.try_clone().map_err(RunError::system("listen for signals"))?;
        let (flag, writer) = (Arc::clone(&self.flag), Arc::new(writer));
        Ok(move || {
            flag.store(true, Ordering::Relaxed);
            // It holds thousands, and one is enough.
            let _ = (&*writer).write(&[0]);
        })
    }
}

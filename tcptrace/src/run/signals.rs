//! Signals: those that end a trace, one that asks for the summary so far, and one that would kill the process without a
//! word.

use super::RunError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ},
    flag,
    low_level::pipe,
};
use std::{
    fs,
    io::{self, IsTerminal as _, PipeReader, PipeWriter, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The signal that asks for the summary so far.
pub(super) const THAT_ASKS: i32 = SIGUSR1;

/// The signal that has files opened again, where they are made to be left running.
pub(super) const THAT_REOPENS: i32 = SIGHUP;

/// The signal that Ctrl-C sends.
pub(super) const OF_CTRL_C: i32 = SIGINT;

/// The signals that end a trace as Ctrl-C does: those that are sent to end a program and that it can catch. SIGHUP
/// stays ignored if it is ignored already, as under nohup(1), and with `reopens` it has files opened again.
pub(super) fn that_end(reopens: bool) -> impl Iterator<Item = i32> {
    let hangs_up = !reopens && !is_ignored(SIGHUP);
    [SIGINT, SIGTERM, SIGALRM, SIGUSR2].into_iter().chain(hangs_up.then_some(SIGHUP))
}

/// Whether this process ignores a signal, by `proc_pid_status(5)`. If that cannot be read, no signal counts as ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The terminals that a trace was started from. SIGHUP comes from them too, when they go away.
pub(super) struct Terminals {
    fds: Vec<OwnedFd>,
    /// Whether SIGHUP was ignored when the trace began, which is then to outlive its terminal.
    outlived: bool,
}

impl Terminals {
    pub(super) fn new() -> io::Result<Self> {
        let mut fds = Vec::new();
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            if fd.is_terminal() {
                fds.push(fd.try_clone_to_owned()?);
            }
        }
        Ok(Self { fds, outlived: is_ignored(SIGHUP) })
    }

    /// Whether SIGHUP is to end the trace, because a terminal has gone away.
    pub(super) fn have_gone(&self) -> bool {
        let has_gone = |fd: &OwnedFd| {
            let mut fds = [PollFd::new(fd, PollFlags::empty())];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut fds, Some(&at_once)).is_ok_and(|_| fds[0].revents().contains(PollFlags::HUP))
        };
        !self.outlived && self.fds.iter().any(has_gone)
    }
}

/// Catches SIGXFSZ, which would kill the process when a file grows beyond `ulimit -f`. The write then fails instead,
/// and is reported as a full disk is.
pub(super) fn catch_file_size_limit() -> Result<(), RunError> {
    flag::register(SIGXFSZ, Arc::default()).map(drop).map_err(RunError::system("listen for signals"))
}

/// The signals of a trace of files. It is asked between batches, and has a pipe for a reader that waits for input.
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
    terminals: Terminals,
    reader: PipeReader,
    writer: PipeWriter,
}

impl Stop {
    /// Begins to catch the signals that end a trace, the one that asks for the summary so far, and with `reopens` the
    /// one that has files opened again.
    pub(super) fn new(reopens: bool) -> Result<Self, RunError> {
        let failed = RunError::system("listen for signals");
        let (reader, writer) = io::pipe().map_err(&failed)?;
        let flag = Arc::new(AtomicBool::new(false));
        for signal in that_end(reopens) {
            // The flag comes first: whoever is woken by the pipe finds it set.
            flag::register(signal, Arc::clone(&flag)).map_err(&failed)?;
            pipe::register(signal, writer.try_clone().map_err(&failed)?).map_err(&failed)?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        flag::register(THAT_ASKS, Arc::clone(&asked)).map_err(&failed)?;
        let reopen = Arc::new(AtomicBool::new(false));
        if reopens {
            flag::register(THAT_REOPENS, Arc::clone(&reopen)).map_err(&failed)?;
        }
        let terminals = Terminals::new().map_err(&failed)?;
        Ok(Self { flag, asked, reopen, terminals, reader, writer })
    }

    /// Whether files are to be opened again since the last call. If the terminal has gone away, the trace is to end
    /// instead.
    pub(super) fn reopens(&self) -> bool {
        let hung_up = self.reopen.swap(false, Ordering::Relaxed);
        let ends = hung_up && self.terminals.have_gone();
        if ends {
            self.flag.store(true, Ordering::Relaxed);
        }
        hung_up && !ends
    }

    /// Whether the summary so far was asked for since the last call.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    /// Whether the trace is to end.
    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// A pipe that can be read from once the trace is to end.
    pub(super) fn pipe(&self) -> Result<PipeReader, RunError> {
        self.reader.try_clone().map_err(RunError::system("listen for signals"))
    }

    /// A function that ends the trace as a signal does, for other threads.
    pub(super) fn setter(&self) -> Result<impl Fn() + Clone + Send + use<>, RunError> {
        let writer = self.writer.try_clone().map_err(RunError::system("listen for signals"))?;
        let (flag, writer) = (Arc::clone(&self.flag), Arc::new(writer));
        Ok(move || {
            flag.store(true, Ordering::Relaxed);
            // If the pipe is full, it has bytes enough in it to wake whoever waits.
            let _ = (&*writer).write(&[0]);
        })
    }
}

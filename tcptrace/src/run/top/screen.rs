//! The thread that draws the screen and reads keys.

use super::{
    feed::Feed,
    painter::Painter,
    terminal::{self, Terminal},
};
use crate::{
    run::{PATIENCE, RunError},
    segment::Timestamp,
    top::{Marks, view::Look},
};
use jiff::tz::TimeZone;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, write},
};
use std::{
    env,
    io::{self, PipeReader},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The least time between two pictures, unless a key was pressed.
const PAUSE: Duration = Duration::from_millis(250);
/// How soon a picture follows a key. Keys that are held down come faster than a slow line takes pictures.
const ANSWER: Duration = Duration::from_millis(30);
/// How long the rest of a key is waited for that begins as Escape does.
const REST_OF_KEY: Duration = Duration::from_millis(50);
/// How often a live trace is asked for its counters.
const ASK: Duration = Duration::from_secs(1);

/// What a live trace is asked for and told by the screen.
pub(in crate::run) struct Hooks {
    /// Ends the trace.
    pub(in crate::run) end: Box<dyn Fn() + Send>,
    /// Asks for the counters of the trace; not done where there are none before its end.
    pub(in crate::run) ask: Option<Box<dyn Fn() + Send>>,
}

/// A screen that is shown.
pub(in crate::run) struct Screen {
    /// Says that the screen is to go away.
    wake: Arc<OwnedFd>,
    /// Is set when the thread ends.
    gone: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

/// How everything looks. Time zones are files, which can be read before the process confines itself.
pub(in crate::run) fn look() -> Look {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
    Look {
        color: set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
        marks: Marks { unicode: locale.contains("utf-8") || locale.contains("utf8") },
        zone: TimeZone::system(),
    }
}

impl Screen {
    /// Takes the terminal, and begins to draw. `until` can be read from once the screen is to go away for another reason than
    /// [`Self::end`].
    pub(in crate::run) fn begin(
        terminal: Terminal,
        look: Look,
        feed: &Feed,
        hooks: Hooks,
        until: Option<PipeReader>,
    ) -> Result<Self, RunError> {
        let failed = RunError::system("start the thread of the screen");
        // A pipe could not be made any more, as the process is confined.
        let wake = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let (wake, gone) = (Arc::new(wake), Arc::new(AtomicBool::new(false)));
        Terminal::take()?;
        let painter = Painter::new(feed.shared(), look);
        let drawing =
            Drawing { terminal, painter, woken: Arc::clone(&wake), until, hooks, gone: Arc::clone(&gone) };
        let thread = thread::Builder::new().name("screen".to_owned()).spawn(move || drawing.run());
        Ok(Self { wake, gone, thread: thread.map_err(&failed)? })
    }

    /// Takes the screen away, unless that is so already. A terminal that takes nothing any more is not waited for.
    pub(in crate::run) fn end(self) -> Result<(), RunError> {
        // If the thread is gone nobody reads.
        let _ = write(&self.wake, &1_u64.to_ne_bytes());
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        terminal::give_back();
        if self.thread.is_finished() { self.wait() } else { Ok(()) }
    }

    /// Waits until the screen is gone.
    pub(super) fn wait(self) -> Result<(), RunError> {
        let ended = self.thread.join();
        terminal::give_back();
        match ended {
            // A terminal that is gone has nobody before it, which is an end as others are.
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => Err(RunError::system("draw the screen")(io::Error::other("see above"))),
        }
    }

    /// Whether the screen is gone.
    pub(in crate::run) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// What the thread has.
struct Drawing {
    terminal: Terminal,
    painter: Painter,
    woken: Arc<OwnedFd>,
    until: Option<PipeReader>,
    hooks: Hooks,
    gone: Arc<AtomicBool>,
}

impl Drop for Drawing {
    /// The trace ends with its screen, whatever has ended that.
    fn drop(&mut self) {
        terminal::give_back();
        self.gone.store(true, Ordering::SeqCst);
        (self.hooks.end)();
    }
}

impl Drawing {
    fn run(mut self) -> io::Result<()> {
        let is_live = self.hooks.ask.is_some();
        let (mut painted, mut asked) = (None::<Instant>, None::<Instant>);
        loop {
            let pause = if self.painter.is_pressed() { ANSWER } else { PAUSE };
            if painted.is_none_or(|at| at.elapsed() >= pause) {
                let now = is_live.then(wall_clock);
                let bytes = self.painter.paint(Terminal::size(), now);
                if !bytes.is_empty() {
                    terminal::write(&bytes)?;
                }
                painted = Some(Instant::now());
            }
            if let Some(ask) = &self.hooks.ask
                && asked.is_none_or(|at| at.elapsed() >= ASK)
            {
                ask();
                asked = Some(Instant::now());
            }
            let rest = pause.saturating_sub(painted.map_or(Duration::ZERO, |at| at.elapsed()));
            let is_in_a_key = self.painter.is_in_a_key();
            if !self.wait(if is_in_a_key { REST_OF_KEY } else { rest }, is_in_a_key)? {
                return Ok(());
            }
        }
    }

    /// Waits for keys, for so long at most. Returns false if the screen is to go away.
    fn wait(&mut self, longest: Duration, is_in_a_key: bool) -> io::Result<bool> {
        let [typed, is_over] = {
            let until = self.until.as_ref().map_or(self.woken.as_fd(), AsFd::as_fd);
            let mut fds = [
                PollFd::from_borrowed_fd(self.terminal.keys(), PollFlags::IN),
                PollFd::new(&self.woken, PollFlags::IN),
                PollFd::from_borrowed_fd(until, PollFlags::IN),
            ];
            let longest = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
            match poll(&mut fds, Some(&longest)) {
                // A signal tells by a pipe what it wants.
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has = |nth: usize| !fds[nth].revents().is_empty();
            [has(0), has(1) || has(2)]
        };
        if is_over {
            return Ok(false);
        }
        if !typed {
            return Ok(!is_in_a_key || self.painter.settle());
        }
        let mut bytes = [0; 256];
        // Nothing comes of a terminal that is gone.
        match self.terminal.read(&mut bytes) {
            0 => Ok(false),
            len => Ok(self.painter.typed(&bytes[..len])),
        }
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or_default())
}

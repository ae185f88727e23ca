//! The terminal: taken for a screen, and given back as it was, however that ends.

use crate::{
    run::{PATIENCE, RunError},
    stderr,
    top::frame,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    panic,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Whether the terminal is taken, so that it has to be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The terminal's modes before it was taken, and the terminal.
static BEFORE: Mutex<Option<(Termios, OwnedFd)>> = Mutex::new(None);
/// Is held by whoever writes to the terminal.
static WRITING: Mutex<()> = Mutex::new(());

/// A terminal that shows the standard output and sends keys. It is open, and not taken yet.
pub(in crate::run) struct Terminal {
    /// What keys are read from.
    keys: File,
}

impl Terminal {
    /// Finds the terminal. The standard input may be a capture: keys come from the terminal itself then.
    pub(in crate::run) fn open() -> Result<Self, RunError> {
        if !io::stdout().is_terminal() {
            return Err(RunError::NoTerminal);
        }
        let stdin = io::stdin();
        let keys = if stdin.is_terminal() {
            stdin.as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::open("/dev/tty")
        };
        keys.map(|keys| Self { keys }).map_err(|_| RunError::NoTerminal)
    }

    /// Remembers the modes that the terminal has to get back, and returns the descriptor by which they are changed. This is done
    /// before the process confines itself.
    pub(in crate::run) fn remember(&self) -> Result<RawFd, RunError> {
        let failed = RunError::system("ask the terminal for its modes");
        let before = tcgetattr(&self.keys).map_err(|error| failed(error.into()))?;
        let fd = self.keys.as_fd().try_clone_to_owned().map_err(failed)?;
        let number = fd.as_raw_fd();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some((before, fd));
        Ok(number)
    }

    /// Takes the terminal for a screen. Messages to stderr are held back from now on.
    pub(in crate::run) fn take() -> Result<(), RunError> {
        give_back_on_panic();
        let failed = RunError::system("change the modes of the terminal");
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((modes, fd)) = &*before else { return Ok(()) };
        let mut raw = modes.clone();
        raw.make_raw();
        stderr::hold();
        TAKEN.store(true, Ordering::SeqCst);
        let taken = tcsetattr(fd, OptionalActions::Now, &raw);
        drop(before);
        let taken = taken.map_err(|error| failed(error.into()));
        taken
            .and_then(|()| write(frame::TAKE).map_err(RunError::system("write to the terminal")))
            .inspect_err(|_| give_back())
    }

    /// How many columns and rows the terminal has; the usual ones where it does not tell.
    pub(super) fn size() -> (u16, u16) {
        tcgetwinsize(io::stdout())
            .ok()
            .map(|size| (size.ws_col, size.ws_row))
            .filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or((80, 24))
    }

    /// What keys are waited for at.
    pub(super) fn keys(&self) -> BorrowedFd<'_> {
        self.keys.as_fd()
    }

    /// Reads what was typed; nothing where the terminal is gone.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> usize {
        self.keys.read(bytes).unwrap_or(0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Writes to the terminal, as long as it is taken.
pub(super) fn write(text: &str) -> io::Result<()> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    if !TAKEN.load(Ordering::SeqCst) {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Gives the terminal back as it was, and writes what was held back. Nothing is done if it is not taken.
pub(in crate::run) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // A write that is under way ends first, unless the terminal takes nothing any more.
    let mut waited = Duration::ZERO;
    while WRITING.try_lock().is_err() && waited < PATIENCE {
        thread::sleep(Duration::from_millis(10));
        waited += Duration::from_millis(10);
    }
    let is_ready = takes_bytes(io::stdout());
    if is_ready {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(frame::GIVE_BACK.as_bytes()).and_then(|()| stdout.flush());
    }
    if let Some((before, fd)) = &*BEFORE.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = tcsetattr(fd, OptionalActions::Now, before);
    }
    stderr::release();
}

/// Whether a terminal takes bytes now.
fn takes_bytes(terminal: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&terminal, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    retry_on_intr(|| poll(&mut fds, Some(&at_once))).is_ok_and(|ready| ready > 0)
}

/// Has a panic give the terminal back before it says what happened.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::{Terminal, write};
    use nix::pty::{OpenptyResult, openpty};
    use rustix::termios::tcgetattr;
    use std::{
        env,
        fs::File,
        io::Read as _,
        process::{Command, Stdio},
    };

    /// Makes this test take its terminal, and panic then.
    const CHILD: &str = "TCPTRACE_TEST_PANICS";

    /// The test starts itself once more, on a terminal of its own.
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_says_what_happened() {
        if env::var_os(CHILD).is_some() {
            let terminal = Terminal::open().expect("there is one");
            terminal.remember().expect("it has modes");
            Terminal::take().expect("it can be taken");
            crate::stderr::say("a notice");
            write("drawn").expect("it is taken");
            panic!("on purpose");
        }
        let OpenptyResult { master, slave } = openpty(None, None).expect("a pseudo-terminal");
        let modes = || {
            let modes = tcgetattr(&slave).expect("a terminal");
            (modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes)
        };
        let before = modes();
        let end = || slave.try_clone().expect("a descriptor");
        let name = "run::top::terminal::tests::a_panic_gives_the_terminal_back_before_it_says_what_happened";
        let status = Command::new(env::current_exe().expect("a test has a path"))
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::from(end()))
            .stdout(Stdio::from(end()))
            .stderr(Stdio::from(end()))
            .status()
            .expect("it starts");
        assert!(!status.success());
        assert_eq!(modes(), before);
        drop(slave);
        let mut text = Vec::new();
        // A terminal whose other end is gone gives an error behind what was written.
        let _ = File::from(master).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let places: Vec<_> = ["\x1b[?1049h", "drawn", "\x1b[?1049l", "tcptrace: a notice\r\n", "on purpose"]
            .map(|it| text.find(it))
            .into();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} of {text:?}");
    }
}

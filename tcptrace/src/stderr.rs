//! Messages to a person, on stderr.
//!
//! Stderr is often the same terminal or file as stdout, to which another thread writes lines meanwhile. So a message is
//! put together first and is one write(2), and no line on stdout comes in the middle of it. The standard library's
//! stderr has no buffer: it would write a formatted message piece by piece.
//!
//! While a screen is drawn on the terminal, messages are held back ([`hold`]) and written once it is gone ([`release`]).

use std::{
    collections::VecDeque,
    fmt::Display,
    io::{self, Write},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tcptrace_core::sink::units::{Count, plain};

/// The most messages that are held back; of more the first are left out.
const MOST_HELD: usize = 100;

/// The messages that are held back; `None` while they are written at once.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

#[derive(Default)]
struct Held {
    messages: VecDeque<String>,
    left_out: u64,
}

/// Writes a line with the command's name before it. What would move a terminal's cursor is escaped, as the line may
/// have names in it that others chose.
pub fn say(line: impl Display) {
    write(&format!("tcptrace: {}\n", plain(&line.to_string())));
}

/// Writes text as it stands.
pub fn write(text: &str) {
    match &mut *held() {
        Some(held) => held.push(text),
        // If stderr is gone there is nobody to tell.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Holds messages back from now on.
pub fn hold() {
    held().get_or_insert_default();
}

/// The last message that is held back, and how many there were.
#[must_use]
pub fn last_held() -> Option<(String, usize)> {
    let guard = held();
    let held = guard.as_ref()?;
    let count = held.messages.len() + usize::try_from(held.left_out).unwrap_or(usize::MAX);
    Some((held.messages.back()?.clone(), count))
}

/// Writes what was held back, and all that comes from now on.
pub fn release() {
    let Some(Held { messages, left_out }) = mem::take(&mut *held()) else { return };
    if left_out > 0 {
        say(Count(left_out, "message before these is left out", "messages before these are left out"));
    }
    for message in &messages {
        write(message);
    }
}

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn push(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        if self.messages.len() == MOST_HELD {
            self.messages.pop_front();
            self.left_out += 1;
        }
        self.messages.push_back(text.to_owned());
    }
}

/// A writer to stderr whose messages are held back as others are.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

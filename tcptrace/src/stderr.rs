//! Messages to a person, on stderr.
//!
//! Stderr is often the same terminal or file as stdout, to which another thread writes lines meanwhile. So a message is
//! put together first and is one write(2), and no line on stdout comes in the middle of it. The standard library's
//! stderr has no buffer: it would write a formatted message piece by piece.

use std::{
    fmt::Display,
    io::{self, Write as _},
};
use tcptrace_core::sink::units::plain;

/// Writes a line with the command's name before it. What would move a terminal's cursor is escaped, as the line may
/// have names in it that others chose.
pub fn say(line: impl Display) {
    write(&format!("tcptrace: {}\n", plain(&line.to_string())));
}

/// Writes text as it stands.
pub fn write(text: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

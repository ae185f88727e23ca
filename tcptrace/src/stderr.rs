//! What is said to a person, on stderr. That is often the same file as stdout, whose lines another thread writes meanwhile.
//! So a message is put together first and is one write(2), which no line of the other comes in the middle of: the standard
//! library's stderr has no buffer, and what is formatted into it is written piece by piece.

use crate::sink::units::plain;
use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// A line with the command's name before it. Names in it may be others' choice.
pub fn say(line: impl Display) {
    write(&format!("tcptrace: {}\n", plain(&line.to_string())));
}

/// Text as it stands.
pub fn write(text: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

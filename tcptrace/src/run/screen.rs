//! How wide text may be: as wide as `--width` asks for, or as the terminal is. Text that goes to no terminal has no
//! limit.

use crate::{cli::LineWidth, sink::text::Width, sink::wrap::wrap, stderr};
use rustix::termios::tcgetwinsize;
use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

/// The width of the lines on stdout, which may be a terminal.
pub(super) struct Screen {
    asked: LineWidth,
    /// The width that the writer of the lines shares.
    width: Width,
    /// Whether the width is that of a terminal, which can be resized.
    follows: bool,
}

impl Screen {
    pub(super) fn new(asked: LineWidth) -> Self {
        let stdout = io::stdout();
        let follows = asked == LineWidth::Terminal && stdout.is_terminal();
        Self { asked, width: Width::new(columns(asked, stdout)), follows }
    }

    pub(super) fn width(&self) -> Width {
        self.width.clone()
    }

    /// How many columns there are for what needs a width; 80 where nothing tells.
    pub(super) fn columns(&self) -> usize {
        const USUAL: usize = 80;
        self.width.columns().unwrap_or(USUAL)
    }

    /// Asks how wide the terminal is now, where the width is a terminal's.
    pub(super) fn follow(&self) {
        if self.follows {
            self.width.set(columns(self.asked, io::stdout()));
        }
    }
}

/// Writes text to stderr, as wide as that is: it may be a terminal where stdout is none.
pub(super) fn say(asked: LineWidth, text: &str) {
    match columns(asked, io::stderr()) {
        Some(width) => stderr::write(&wrap(text, width)),
        None => stderr::write(text),
    }
}

/// How many columns a line may have; `None` for no limit. A file or pipe has no width, and some terminals say that
/// theirs is 0.
fn columns(asked: LineWidth, at: impl AsFd) -> Option<usize> {
    match asked {
        LineWidth::Terminal => {
            tcgetwinsize(at).ok().map(|size| size.ws_col.into()).filter(|&width| width > 0)
        }
        LineWidth::Columns(width) => Some(width.into()),
        LineWidth::Endless => None,
    }
}

//! How wide text may be: as it was asked for, or as the terminal is. What goes anywhere else is as long as it is.

use crate::{cli::LineWidth, sink::text::Width, sink::wrap::wrap, stderr};
use rustix::termios::tcgetwinsize;
use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd,
};

/// The terminal that lines go to, if they do.
pub(super) struct Screen {
    asked: LineWidth,
    /// What the lines' writer goes by.
    width: Width,
    /// A terminal may become another size.
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

    /// Asks how wide the terminal is now.
    pub(super) fn follow(&self) {
        if self.follows {
            self.width.set(columns(self.asked, io::stdout()));
        }
    }
}

/// Text on stderr, which may be another place than where lines go.
pub(super) fn say(asked: LineWidth, text: &str) {
    match columns(asked, io::stderr()) {
        Some(width) => stderr::write(&wrap(text, width)),
        None => stderr::write(text),
    }
}

/// What of it is no terminal has no width, and some terminals say that theirs is 0.
fn columns(asked: LineWidth, at: impl AsFd) -> Option<usize> {
    match asked {
        LineWidth::Terminal => {
            tcgetwinsize(at).ok().map(|size| size.ws_col.into()).filter(|&width| width > 0)
        }
        LineWidth::Columns(width) => Some(width.into()),
        LineWidth::Endless => None,
    }
}

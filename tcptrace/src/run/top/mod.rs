//! `tcptrace top`: connections on a screen, live or of files.
//!
//! Whoever has events feeds them to a board, which a thread of its own draws. That thread alone writes to the terminal, and
//! holds the board only while it makes a picture of it, so that no packet waits for a terminal. A feed that finds the board held
//! keeps its events for the next time.

mod feed;
mod files;
mod painter;
mod screen;
mod terminal;

pub(super) use feed::Feed;
pub(super) use files::top as of_files;
pub(super) use screen::{Hooks, Screen, look};
pub(super) use terminal::Terminal;

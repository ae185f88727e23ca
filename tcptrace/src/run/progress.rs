//! How far files that take long are read, for a person at a terminal.

use crate::{source::pcap::Position, stderr};
use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

/// How often a terminal shows how far the files are read; nothing is shown about files that take less time than that.
const PROGRESS: Duration = Duration::from_secs(1);

/// Shows on a terminal how far files that take long are read.
pub(super) struct Progress {
    start: Instant,
    /// When the line is next written; `None` if stderr is no terminal or nobody wants to see it.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let start = Instant::now();
        let watched = !quiet && io::stderr().is_terminal();
        Self { start, next: watched.then(|| start + PROGRESS), shown: false }
    }

    pub(super) fn step(&mut self, position: impl FnOnce() -> Position) {
        let now = Instant::now();
        if self.next.is_some_and(|next| next <= now) {
            self.next = Some(now + PROGRESS);
            self.shown = true;
            let line = line(&position(), now - self.start);
            // The line is written over the one before it, and the rest of that is blanked. A line of the output, which may go
            // to the same terminal, is written over it too, and is longer.
            stderr::write(&format!("{line}\x1b[K\r"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            stderr::write("\x1b[K");
        }
    }
}

/// How far it is, how long it will take yet, and how many packets or lines a second there were.
#[expect(clippy::cast_precision_loss, reason = "for a person to read")]
fn line(position: &Position, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = position.packets as f64 / seconds / 1e6;
    match position.total.filter(|&total| total > 0) {
        Some(total) => {
            let part = (position.bytes as f64 / total as f64).clamp(0.001, 1.0);
            let left = seconds / part - seconds;
            format!("{:.0} % of {:.0} MB, {left:.0} s left, {rate:.1} M/s", 100.0 * part, total as f64 / 1e6)
        }
        None => format!("{:.0} MB, {rate:.1} M/s", position.bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::source::pcap::Position;
    use std::time::Duration;

    #[test]
    fn the_line_says_how_far_and_how_long_yet() {
        let ten = Duration::from_secs(10);
        let position = Position { bytes: 200_000_000, total: Some(800_000_000), packets: 12_000_000 };
        assert_eq!(line(&position, ten), "25 % of 800 MB, 30 s left, 1.2 M/s");
        assert_eq!(line(&Position { total: None, ..position }, ten), "200 MB, 1.2 M/s");
        let nothing = Position { bytes: 0, total: Some(800_000_000), packets: 0 };
        assert_eq!(line(&nothing, ten), "0 % of 800 MB, 9990 s left, 0.0 M/s");
        // A file that grows while it is read.
        let more = Position { bytes: 900_000_000, ..position };
        assert_eq!(line(&more, ten), "100 % of 800 MB, 0 s left, 1.2 M/s");
    }
}

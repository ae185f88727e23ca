//! The screen over files: captures, or the lines of JSON that a trace has written. Their own clock is the time.

use super::{Feed, Screen, Terminal, screen};
use crate::{
    cli::Config,
    confine::{self, Purpose},
    filter::Filter,
    run::{
        RunError,
        events::{EventFiles, Selection},
        signals::Stop,
        tracking,
    },
};
use std::{path::PathBuf, sync::Arc};

/// Reads files to their end, and shows them until the user has seen enough, or a signal comes. Where a file is damaged, what comes
/// before the damage is shown, and then the damage is the error.
pub(in crate::run) fn top(config: &Config, paths: &[PathBuf], filter: Filter) -> Result<(), RunError> {
    let stop = Stop::new(false)?;
    let files = EventFiles::open(paths)?.interrupted_by(&Arc::new(stop.pipe()?));
    let terminal = Terminal::open()?;
    let fd = terminal.remember()?;
    let look = screen::look();
    let mut feed = Feed::new(config)?;
    confine::confine_at_terminal(Purpose::File, &[], Some(fd))?;
    {
        let mut shown = feed.shown();
        shown.what = paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(" ");
        shown.state = "reading";
    }
    let end = stop.setter()?;
    let hooks = screen::Hooks { end: Box::new(end), ask: None };
    let screen = Screen::begin(terminal, look, &feed, hooks, Some(stop.pipe()?))?;
    let read = files.read(&selection(config, filter), &mut |event| {
        if config.who.takes(event) {
            feed.event_in_time(event);
        }
        Ok(!stop.is_set() && !screen.is_gone())
    });
    // A read that the end of the screen broke off is no error.
    let read = if stop.is_set() { Ok(()) } else { read };
    feed.shown().state = if read.is_ok() { "" } else { "DAMAGED" };
    if let Err(error) = &read {
        feed.shown().notice = Some(error.to_string());
    }
    screen.wait().and(read)
}

/// What is read of the files.
fn selection(config: &Config, filter: Filter) -> Selection {
    Selection {
        filter,
        decap: config.decap,
        server_name: config.server_name,
        tracker: tracking(config),
        // The line about it would be in the midst of the screen.
        quiet: true,
    }
}

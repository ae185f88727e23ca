//! Shows connections on a screen.

use super::{Beginning, Consumer, Moment, Opened, Opening};
use crate::{
    event::{Event, Kinds, Stats},
    run::{
        RunError,
        top::{Feed, Hooks, Screen, Terminal, look},
    },
    top::view::Look,
};
use std::{os::fd::RawFd, sync::Arc};

pub(super) fn open(opening: &Opening<'_>) -> Opened {
    let config = opening.config;
    config.screen.then(|| {
        let terminal = Terminal::open()?;
        let (fd, feed) = (terminal.remember()?, Feed::new(config)?);
        Ok(Box::new(Top { feed, fd, prepared: Some((terminal, look())), screen: None }) as _)
    })
}

/// The consumer that feeds a screen.
struct Top {
    feed: Feed,
    /// The terminal whose modes are changed.
    fd: RawFd,
    /// What the screen is made of, until the trace begins.
    prepared: Option<(Terminal, Look)>,
    /// The screen, from the begin of the trace to its end.
    screen: Option<Screen>,
}

impl Consumer for Top {
    fn wants(&self) -> Kinds {
        Kinds::ALL
    }

    fn terminal(&self) -> Option<RawFd> {
        Some(self.fd)
    }

    fn begin(&mut self, beginning: &Beginning) -> Result<(), RunError> {
        let Some((terminal, look)) = self.prepared.take() else { return Ok(()) };
        let (end, ask) = (Arc::clone(&beginning.end), Arc::clone(&beginning.ask));
        let hooks = Hooks { end: Box::new(move || end()), ask: Some(Box::new(move || ask.notify_one())) };
        self.screen = Some(Screen::begin(terminal, look, &self.feed, hooks, None)?);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), RunError> {
        self.feed.event(event);
        Ok(())
    }

    fn end_of_batch(&mut self) -> Result<(), RunError> {
        self.feed.flush();
        Ok(())
    }

    fn counters(&mut self, stats: &Stats) {
        self.feed.counters(stats);
    }

    fn complete(&self, stats: &mut Stats) {
        stats.events_dropped += self.feed.dropped();
    }

    fn is_over(&self) -> bool {
        self.screen.as_ref().is_some_and(Screen::is_gone)
    }

    fn end(&mut self) -> Result<u64, RunError> {
        self.feed.finish();
        self.screen.take().map_or(Ok(()), Screen::end)?;
        Ok(self.feed.dropped())
    }

    fn report(&mut self, moment: Moment<'_>) -> Option<String> {
        let Moment::End { .. } = moment else { return None };
        self.feed.lost().map(|lost| format!("lost: {lost}\n"))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // A trace that an error ends has not ended its consumers. What ended it is said, and not what this may say.
        let _ = self.end();
    }
}

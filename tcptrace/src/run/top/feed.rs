//! The way of events to the board.

use crate::{
    cli::Config,
    event::{Event, Stats},
    resolver::Resolver,
    run::RunError,
    top::{Board, Limits},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

/// The most events that are kept while the board is held by whoever draws it.
const MOST_WAITING: usize = 1 << 16;

/// What is shown, and whether more comes.
pub(in crate::run) struct Shown {
    pub(super) board: Board,
    /// What is traced.
    pub(super) what: String,
    /// How far the reading of files has come.
    pub(super) state: &'static str,
    /// Why not all of the files was read.
    pub(super) notice: Option<String>,
}

/// What both the feed and the screen have.
pub(in crate::run) type Shared = Arc<Mutex<Shown>>;

/// Feeds events to a board.
pub(in crate::run) struct Feed {
    shared: Shared,
    /// Events that came while the board was held.
    waiting: Vec<Event>,
    /// Events for which there was no room among those.
    dropped: u64,
}

impl Feed {
    /// A feed of an empty board. What asks for names, where they are wanted, starts here, before the process is confined.
    pub(in crate::run) fn new(config: &Config) -> Result<Self, RunError> {
        let mut board = Board::new(Limits { open: config.limits.max_connections });
        if config.output.names {
            board = board.named_by(Resolver::start(Duration::ZERO)?);
        }
        let shown = Shown { board, what: String::new(), state: "", notice: None };
        Ok(Self { shared: Arc::new(Mutex::new(shown)), waiting: Vec::new(), dropped: 0 })
    }

    pub(super) fn shared(&self) -> Shared {
        Arc::clone(&self.shared)
    }

    /// Waits for the board.
    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an event to the board, or keeps it where the board is held at this moment.
    pub(in crate::run) fn event(&mut self, event: &Event) {
        let Self { shared, waiting, dropped } = self;
        match try_lock(shared) {
            Some(mut shown) => {
                hand_over(&mut shown, waiting);
                shown.take(event);
            }
            None if waiting.len() < MOST_WAITING => waiting.push(event.clone()),
            None => *dropped += 1,
        }
    }

    /// Gives an event to the board, and waits for that.
    pub(super) fn event_in_time(&mut self, event: &Event) {
        self.shown().take(event);
    }

    /// Gives what was kept to the board, if nobody holds that.
    pub(in crate::run) fn flush(&mut self) {
        if !self.waiting.is_empty()
            && let Some(mut shown) = try_lock(&self.shared)
        {
            hand_over(&mut shown, &mut self.waiting);
        }
    }

    /// Gives all that was kept to the board, and waits for that.
    pub(in crate::run) fn finish(&mut self) {
        let Self { shared, waiting, .. } = self;
        hand_over(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), waiting);
    }

    /// Gives the counters of the trace to the board.
    pub(in crate::run) fn counters(&self, stats: &Stats) {
        // Where the board is held the next counters, a second later, have all that these have.
        if let Some(mut shown) = try_lock(&self.shared) {
            shown.board.counters(stats);
        }
    }

    /// How many events the board has not been given, and never will be.
    pub(in crate::run) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What was lost, in words, if anything was.
    pub(in crate::run) fn lost(&self) -> Option<String> {
        let shown = self.shown();
        shown.board.has_lost().then(|| shown.board.lost())
    }
}

impl Shown {
    fn take(&mut self, event: &Event) {
        if let Event::Start(start) = event
            && self.what.is_empty()
        {
            let names = start.interfaces.iter().map(|it| &*it.name);
            let names: Vec<_> =
                if start.live { names.collect() } else { start.files.iter().map(|it| &**it).collect() };
            self.what = names.join(" ");
            if let Some(filter) = &start.filter {
                self.what = format!("{}  '{filter}'", self.what);
            }
        }
        self.board.observe(event);
    }
}

/// Gives events that were kept to the board.
fn hand_over(shown: &mut Shown, waiting: &mut Vec<Event>) {
    for event in waiting.drain(..) {
        shown.take(&event);
    }
}

fn try_lock(shared: &Shared) -> Option<MutexGuard<'_, Shown>> {
    match shared.try_lock() {
        Ok(shown) => Some(shown),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

//! What the thread of the screen does with keys, the board and the time, without a terminal: bytes in, bytes out.

use super::feed::Shared;
use crate::{
    segment::Timestamp,
    stderr,
    top::{
        Board, Effect, Ui,
        action::{Action, action},
        frame,
        keys::Keys,
        view::{self, Look, Surroundings},
    },
};
use ratatui_core::{buffer::Buffer, layout::Rect};
use std::sync::{MutexGuard, PoisonError};

/// What has to be drawn again if any of it is another.
#[derive(Clone, PartialEq, Eq)]
struct Drawn {
    changes: u64,
    now: Timestamp,
    state: &'static str,
    notices: usize,
    size: (u16, u16),
}

/// Draws what is shared, and reacts to keys.
pub(super) struct Painter {
    shared: Shared,
    look: Look,
    ui: Ui,
    keys: Keys,
    /// What is on the screen.
    shown: Buffer,
    drawn: Option<Drawn>,
    /// The board as it was when it was to be held.
    held: Option<Box<Board>>,
    /// Whether a key has changed what is to be drawn.
    pressed: bool,
}

impl Painter {
    pub(super) fn new(shared: Shared, look: Look) -> Self {
        let shown = Buffer::empty(Rect::ZERO);
        Self {
            shared,
            look,
            ui: Ui::default(),
            keys: Keys::default(),
            shown,
            drawn: None,
            held: None,
            pressed: false,
        }
    }

    /// Takes what was typed. Returns false if the screen is to go away.
    pub(super) fn typed(&mut self, bytes: &[u8]) -> bool {
        let keys = self.keys.push(bytes);
        keys.into_iter().all(|key| action(key, self.ui.types()).is_none_or(|action| self.act(action)))
    }

    /// Whether the beginning of a key has come.
    pub(super) fn is_in_a_key(&self) -> bool {
        self.keys.is_waiting()
    }

    /// Takes no more for the beginning of a key.
    pub(super) fn settle(&mut self) -> bool {
        let key = self.keys.settle();
        key.and_then(|key| action(key, self.ui.types())).is_none_or(|action| self.act(action))
    }

    /// Whether a key has changed what is to be drawn.
    pub(super) const fn is_pressed(&self) -> bool {
        self.pressed
    }

    fn act(&mut self, action: Action) -> bool {
        self.pressed = true;
        let room = view::room(self.shown.area.height);
        let shared = lock(&self.shared);
        let board = self.held.as_deref().unwrap_or(&shared.board);
        match self.ui.act(action, board, room) {
            Effect::None => {}
            Effect::Quit => return false,
            Effect::Redraw => self.shown = Buffer::empty(Rect::ZERO),
            Effect::Pause => {
                self.held = if self.held.is_some() { None } else { Some(Box::new(shared.board.clone())) };
            }
        }
        true
    }

    /// The bytes that make the screen of this size show what is to be shown; empty where that is shown already. `now` is the time
    /// where the board has none of its own.
    pub(super) fn paint(&mut self, size: (u16, u16), now: Option<Timestamp>) -> String {
        let mut shared = lock(&self.shared);
        let notice = shared.notice.clone().map(|text| (text, 1)).or_else(stderr::last_held);
        if let Some(now) = now {
            shared.board.advance(now);
        }
        let drawn = Drawn {
            changes: shared.board.changes(),
            // Times are shown in tenths of a second, and nothing is that is older than a minute.
            now: Timestamp(shared.board.now().0 / 1_000_000_000),
            state: shared.state,
            notices: notice.as_ref().map_or(0, |(_, count)| *count),
            size,
        };
        if self.drawn.as_ref() == Some(&drawn) && !self.pressed {
            return String::new();
        }
        self.pressed = false;
        let mut next = Buffer::empty(Rect::new(0, 0, size.0, size.1));
        let around = Surroundings {
            what: shared.what.clone(),
            state: shared.state.to_owned(),
            notice: notice.map(|(text, count)| (text.trim_end().to_owned(), count)),
        };
        let board = self.held.as_deref().unwrap_or(&shared.board);
        view::draw(board, &mut self.ui, &around, &self.look, &mut next);
        drop(shared);
        let mut bytes = String::new();
        if self.shown.area != next.area {
            bytes.push_str(frame::CLEAR);
            self.shown = Buffer::empty(next.area);
        }
        bytes.push_str(&frame::change(&self.shown, &next));
        self.shown = next;
        self.drawn = Some(drawn);
        bytes
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, super::feed::Shown> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

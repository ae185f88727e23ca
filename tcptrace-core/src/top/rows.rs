//! The connections of a group, as rows.

use super::{
    board::{Board, Entered, Open},
    by::{By, Key},
    ended::Ended,
};
use crate::{event::Address, segment::Timestamp};
use std::cmp::Reverse;

/// The most open connections of a group that are listed.
pub(super) const MOST_ROWS: usize = 1000;

/// A connection of a group: one that is open, or one of those that ended last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) id: u64,
    pub(super) life: Life<'a>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Life<'a> {
    Open(&'a Open),
    Ended(&'a Ended),
}

/// What connections are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// By their begin.
    #[default]
    Begin,
    /// By how long the end that changed last is in its state; those that are over come last.
    InState,
    /// By the time that the handshake took.
    Handshake,
}

impl Order {
    pub(super) const ALL: [Self; 3] = [Self::Begin, Self::InState, Self::Handshake];
}

impl Row<'_> {
    pub(super) fn ends(&self) -> [Address; 2] {
        match self.life {
            Life::Open(open) => [open.client, open.server],
            Life::Ended(ended) => [ended.client, ended.server],
        }
    }

    pub(super) fn handshake_ns(&self) -> Option<u64> {
        match self.life {
            Life::Open(open) => open.handshake_ns,
            Life::Ended(ended) => ended.handshake_ns,
        }
    }

    pub(super) fn started(&self) -> Timestamp {
        match self.life {
            Life::Open(open) => open.started,
            Life::Ended(ended) => ended.started,
        }
    }

    /// How long the end that changed last is in its state.
    fn in_state_ns(&self, now: Timestamp) -> Option<u64> {
        let Life::Open(open) = self.life else { return None };
        open.states.iter().flatten().filter_map(|entered| held(entered, now)).min()
    }
}

/// How long an end has been in a state; none where that is not known.
pub(super) fn held(entered: &Entered, now: Timestamp) -> Option<u64> {
    (entered.since != Timestamp::UNKNOWN).then(|| now.since(entered.since))
}

/// The connections of a group, sorted, and how many open ones are not among them.
pub(super) fn rows<'a>(
    board: &'a Board,
    by: By,
    key: &Key,
    order: Order,
    falls: bool,
) -> (Vec<Row<'a>>, usize) {
    let mut rows: Vec<Row<'_>> =
        board.open_of(by, key).map(|(id, open)| Row { id, life: Life::Open(open) }).collect();
    let now = board.now();
    let value = |row: &Row<'_>| match order {
        Order::Begin if row.started() == Timestamp::UNKNOWN => 0,
        Order::Begin => row.started().0,
        Order::InState => row.in_state_ns(now).map_or(0, |ns| ns.saturating_add(1)),
        Order::Handshake => row.handshake_ns().map_or(0, |ns| ns + 1),
    };
    // Of the two, one counts, and the other is the same of all.
    let rank = |row: &Row<'_>| {
        let value = (value(row), row.id);
        if falls { (Reverse(Some(value)), None) } else { (Reverse(None), Some(value)) }
    };
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    if left_out > 0 {
        rows.select_nth_unstable_by_key(MOST_ROWS, rank);
        rows.truncate(MOST_ROWS);
    }
    rows.extend(board.ended_of(by, key).map(|ended| Row { id: ended.id, life: Life::Ended(ended) }));
    rows.sort_unstable_by_key(|row| {
        (order == Order::InState && matches!(row.life, Life::Ended(_)), rank(row))
    });
    (rows, left_out)
}

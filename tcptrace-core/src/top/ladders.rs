//! The segments of the latest connections, for their ladders. Their number is bounded.

use crate::{
    event::{Common, Connection, Event},
    sink::ladder::Rungs,
};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// The most connections whose segments are kept.
const MOST_LADDERS: usize = 4096;
/// The most rungs that are kept of all of them.
const MOST_RUNGS: usize = 1 << 16;

/// What is kept of a connection to draw its ladder.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    pub(super) common: Common,
    pub(super) rungs: Rungs,
    /// The connection's end, once it is over.
    pub(super) end: Option<Box<Connection>>,
}

/// The ladders of the latest connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Ladders {
    known: HashMap<u64, Ladder>,
    /// The numbers of the connections, the earliest first.
    order: VecDeque<u64>,
    /// How many rungs there are.
    rungs: usize,
}

impl Ladders {
    /// Adds what an event shows of its connection.
    pub(super) fn add(&mut self, event: &Event) {
        let Some(common) = event.common() else { return };
        let ladder = self.known.entry(common.id).or_insert_with(|| {
            self.order.push_back(common.id);
            Ladder { common: common.clone(), rungs: Rungs::default(), end: None }
        });
        let before = ladder.rungs.len();
        ladder.rungs.add(event);
        self.rungs += ladder.rungs.len() - before;
        if let Event::Connection(connection) = event {
            ladder.end = Some(connection.clone());
        }
        while self.order.len() > MOST_LADDERS || self.rungs > MOST_RUNGS {
            let Some(id) = self.order.pop_front() else { break };
            if let Some(ladder) = self.known.remove(&id) {
                self.rungs -= ladder.rungs.len();
            }
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Ladder> {
        self.known.get(&id)
    }

    /// Forgets all of them: another run gives the same numbers to other connections.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

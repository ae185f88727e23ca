//! The segments of the latest connections, for their ladders. Their number is bounded.

use super::Rungs;
use crate::event::{Common, Connection, Event};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// The most connections whose segments are kept.
const MOST_LADDERS: usize = 4096;
/// The most rungs that are kept of all of them.
const MOST_RUNGS: usize = 1 << 16;

/// What is kept of a connection to draw its ladder.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "top"),
    expect(dead_code, reason = "a report has the end and all that it tells itself")
)]
pub(crate) struct Ladder {
    pub(crate) common: Common,
    pub(crate) rungs: Rungs,
    /// The connection's end, once it is over.
    pub(crate) end: Option<Box<Connection>>,
}

/// The ladders of the latest connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ladders {
    known: HashMap<u64, Ladder>,
    /// The numbers of the connections, the earliest first.
    order: VecDeque<u64>,
    /// How many rungs there are.
    rungs: usize,
}

impl Ladders {
    /// Adds what an event shows of its connection.
    pub(crate) fn add(&mut self, event: &Event) {
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
        while self.known.len() > MOST_LADDERS || self.rungs > MOST_RUNGS {
            let Some(id) = self.order.pop_front() else { break };
            self.forget(id);
        }
        // Numbers of those that were taken stay in the order until they are too many.
        if self.order.len() > 2 * MOST_LADDERS {
            self.order.retain(|id| self.known.contains_key(id));
        }
    }

    /// Takes the rungs of a connection out.
    #[cfg(feature = "report")]
    pub(crate) fn take(&mut self, id: u64) -> Option<Rungs> {
        self.forget(id).map(|ladder| ladder.rungs)
    }

    fn forget(&mut self, id: u64) -> Option<Ladder> {
        let ladder = self.known.remove(&id)?;
        self.rungs -= ladder.rungs.len();
        Some(ladder)
    }

    #[cfg(feature = "top")]
    pub(crate) fn get(&self, id: u64) -> Option<&Ladder> {
        self.known.get(&id)
    }

    /// Forgets all of them: another run gives the same numbers to other connections.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

//! Which connection leaves the table to make room for another one.

use super::{Tracker, conn::List};
use crate::{
    event::{Event, Outcome},
    segment::Timestamp,
};

impl Tracker {
    /// Evicts connections until one more fits.
    pub(super) fn make_room(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        while self.table.len() + self.challengers.len() >= self.config.max_connections.max(1) {
            self.evict(ts, sink);
        }
    }

    /// Makes room for one connection. A connection that is over is forgotten first. Else one is evicted: the oldest of
    /// those that only wait beside an older one, then the oldest half-open one, as a flood of SYNs must not push out
    /// real connections, and then the one that was quiet for longest.
    fn evict(&mut self, ts: Timestamp, sink: &mut dyn FnMut(Event)) {
        if self.table.first(List::Ended).is_none() {
            self.believe_all(sink);
        }
        if let Some(slot) = self.table.first(List::Ended) {
            self.forget(slot, ts, sink);
            return;
        }
        let half_open = self.table.first(List::Handshake).or(self.table.first(List::Rejected));
        let conn = match (self.challengers.first(List::Handshake), half_open.or(self.table.first(List::Open)))
        {
            (Some(slot), _) => self.challengers.remove(slot),
            (None, Some(slot)) => self.table.remove(slot),
            (None, None) => return,
        };
        // The segments that were deferred with it are lost for the older connection on its four-tuple.
        if !conn.deferred().is_empty()
            && let Some(other) = self.table.find(&conn.key)
        {
            self.table[other].flags.missed = true;
        }
        self.report(&conn, ts.max(conn.last), Outcome::Evicted, sink);
        self.context.losses.set_dropped();
    }
}

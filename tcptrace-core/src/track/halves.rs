//! Connections whose two directions have different VLAN tags, or a tag in one direction only: some hosts, switches and
//! hypervisors send with a tag what they get without one. Tags are part of a connection's key, as networks in VLANs of
//! their own use the same addresses, so such a connection is met as two halves, one for each direction. Two halves are
//! one connection where each has one direction only, and the second acknowledges numbers of the first.

use super::{
    Tracker,
    conn::{Conn, index, peer},
    key::Key,
    numbers, state,
};
use crate::{
    event::Role,
    segment::{Flow, Segment},
};
use hashbrown::HashMap;

/// The tags that segments had, and the connections whose directions have different ones.
#[derive(Debug)]
pub(super) struct Halves {
    /// The tags of segments with which connections began.
    tags: Vec<[u16; 2]>,
    /// The key of each second half that was found, and the key that its connection has in the table.
    found: HashMap<Key, Key>,
    /// The size of `found` at which the keys of connections that are gone are removed from it.
    limit: usize,
}

impl Default for Halves {
    fn default() -> Self {
        Self { tags: Vec::new(), found: HashMap::new(), limit: Self::FEW }
    }
}

impl Halves {
    /// The most tags that are kept. Where there are more, as on a trunk, either both directions have tags, or the
    /// direction without them is among the first.
    const MOST_TAGS: usize = 32;
    const FEW: usize = 4096;

    /// Remembers the tags of `flow`, with which a connection begins.
    pub(super) fn record_tags(&mut self, flow: &Flow) {
        if self.tags.last() != Some(&flow.vlan)
            && self.tags.len() < Self::MOST_TAGS
            && !self.tags.contains(&flow.vlan)
        {
            self.tags.push(flow.vlan);
        }
    }
}

impl Tracker {
    /// Whether the key of a segment may depend on more than its flow.
    pub(super) fn has_halves(&self) -> bool {
        !self.halves.found.is_empty()
    }

    /// The key of the connection that a segment of `flow` belongs to, and whether its source is the `low` end.
    pub(super) fn key_of(&self, flow: &Flow) -> (Key, bool) {
        let (key, src_is_low) = Key::of(flow);
        if !self.has_halves() {
            return (key, src_is_low);
        }
        let whole = self.halves.found.get(&key).filter(|whole| self.table.find(whole).is_some());
        match whole {
            Some(&whole) if self.table.find(&key).is_none() => (whole, src_is_low),
            _ => (key, src_is_low),
        }
    }

    /// Finds the connection of which `seg`, whose key no connection has, is the other half, and remembers that it is.
    pub(super) fn other_half(&mut self, key: &Key, src_is_low: bool, seg: &Segment) -> Option<u32> {
        if self.halves.tags.iter().all(|tags| *tags == seg.flow.vlan) {
            return None;
        }
        let other = self.halves.tags.iter().find_map(|&vlan| {
            let (whole, _) = Key::of(&Flow { vlan, ..seg.flow });
            let slot = self.table.find(&whole)?;
            let conn = &self.table[slot];
            is_other_half(conn, conn.role_of(src_is_low), seg).then_some(slot)
        });
        let slot = other?;
        if self.halves.found.len() >= self.halves.limit {
            let table = &self.table;
            self.halves.found.retain(|_, whole| table.find(whole).is_some());
            self.halves.limit = Halves::FEW.max(2 * self.halves.found.len());
        }
        self.halves.found.insert(*key, self.table[slot].key);
        Some(slot)
    }
}

impl Conn {
    /// Records the tags of a segment of `role` with this flow, if they are not those of the key.
    pub(super) fn record_tags(&mut self, role: Role, flow: &Flow) {
        if self.key.vlan() != flow.vlan && self.extra().other_tags.is_none() {
            self.extra_mut().other_tags = Some((role, flow.vlan));
        }
    }

    /// The VLAN tags that the client sends with, and those of the server.
    pub(crate) fn tags(&self) -> [[u16; 2]; 2] {
        let mut tags = [self.key.vlan(); 2];
        if let Some((role, other)) = self.extra().other_tags {
            tags[index(role)] = other;
        }
        tags
    }
}

/// Whether `seg` is from the side `role` of `conn`, of which nothing was seen: it acknowledges numbers that the peer
/// sent, or is the SYN that the peer's SYN-ACK answers.
fn is_other_half(conn: &Conn, role: Role, seg: &Segment) -> bool {
    if conn.flags.ended || conn.is_held() || conn.side(role).is_seen() || conn.key.is_of_one_end() {
        return false;
    }
    let late_syn = seg.flags.syn() && !seg.flags.ack() && conn.is_answered_by_now(role, seg);
    let other = conn.side(peer(role));
    // In the middle of a connection both numbers have to fit: it must acknowledge exactly the peer's FIN.
    let fits = state::is_synchronized(other.state)
        && seg.flags.ack()
        && conn.fin_end(peer(role)) == Some(seg.ack)
        && other.acked().is_some_and(|acked| seg.seq.at_or_soon_after(acked));
    late_syn || numbers::acknowledges_syn(conn, role, seg) || fits
}

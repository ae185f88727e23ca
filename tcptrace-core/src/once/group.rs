//! The sightings of one connection: which belong together, which of them is reported, and the path that they make.

use super::HOLD_NS;
use crate::{
    event::{Address, Common, Event, Kind, Origin, Outcome, Path, Vantage, Vlans},
    segment::Timestamp,
};
use std::sync::Arc;

/// The most sightings of one connection: as many as a Linux bridge can have ports (`BR_MAX_PORTS`), as it sends a SYN
/// to all of them while it does not know the way.
const MAX_SIGHTINGS: usize = 1024;

/// The four-tuple without a direction, as two sightings of the middle of a connection can differ in who is client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FourTuple {
    low: Address,
    high: Address,
}

impl FourTuple {
    pub(super) fn of(common: &Common) -> Self {
        let (client, server) = (common.client, common.server);
        let (low, high) = if client_is_low(common) { (client, server) } else { (server, client) };
        Self { low, high }
    }
}

fn client_is_low(common: &Common) -> bool {
    let key = |address: Address| (address.ip, address.port);
    key(common.client) <= key(common.server)
}

/// The initial sequence numbers of the low end and of the high end, where they are known.
type Isns = [Option<u32>; 2];

fn isns(common: &Common) -> Isns {
    let Origin { client_isn, server_isn, .. } = common.origin;
    if client_is_low(common) { [client_isn, server_isn] } else { [server_isn, client_isn] }
}

/// One connection of the tracker: what one interface showed of a connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact")]
struct Sighting {
    id: u64,
    interface: u32,
    tunnel: u32,
    vlan: Vlans,
    start: Timestamp,
    name: Arc<str>,
    vantage: Vantage,
    /// The tracker's `established` event of it has come.
    established: bool,
    /// The tracker's `connection` event of it is held, or was reported.
    reported: bool,
    ended: bool,
    /// Its end said little ([`says_little`]), so a later sighting at the same place can be of the same connection.
    vague: bool,
    /// It follows a sighting at the same place, which the path has already.
    again: bool,
}

impl Sighting {
    fn new(common: &Common) -> Self {
        Self {
            id: common.id,
            interface: common.origin.interface,
            tunnel: common.origin.tunnel,
            vlan: common.vlan,
            start: common.origin.start,
            name: Arc::clone(&common.interface),
            vantage: common.vantage,
            established: false,
            reported: false,
            ended: false,
            vague: false,
            again: false,
        }
    }

    /// Whether it is at the place of the event with `common`. The tracker has only one open connection of a four-tuple
    /// at one place.
    fn is_where(&self, common: &Common) -> bool {
        self.interface == common.origin.interface
            && self.tunnel == common.origin.tunnel
            && self.vlan == common.vlan
    }
}

/// The sightings of one connection, and what was reported of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact")]
pub(super) struct Group {
    pub(super) four_tuple: FourTuple,
    isns: Isns,
    client_is_low: bool,
    /// The sightings, in the order in which the connection's opening passed them.
    sightings: Vec<Sighting>,
    /// How many of the sightings are not over.
    pub(super) open: usize,
    /// How many events of the group are held.
    pub(super) held: usize,
    /// When the last of those sightings ended that are over.
    pub(super) end: Timestamp,
    /// It is in the queue of the groups that will be forgotten.
    pub(super) leaving: bool,
    /// The sighting that is reported, by the tracker's number of it.
    chosen: Option<u64>,
    /// The connection's number in reports: that of the sighting that was reported first.
    number: Option<u64>,
    path: Path,
    /// The `established` event was reported.
    established: bool,
    /// The `connection` event was reported.
    connection: bool,
}

impl Group {
    pub(super) fn new(first: &Common) -> Self {
        Self {
            four_tuple: FourTuple::of(first),
            isns: [None; 2],
            client_is_low: client_is_low(first),
            sightings: Vec::new(),
            open: 0,
            held: 0,
            end: Timestamp::default(),
            leaving: false,
            chosen: None,
            number: None,
            path: Path::default(),
            established: false,
            connection: false,
        }
    }

    /// How well a sighting with `other` fits this connection: the less the better; `None` if it cannot be of it. A
    /// sighting with a known ISN of this connection fits best, then one that starts at nearly the same time.
    pub(super) fn fit(&self, other: &Common) -> Option<(bool, u64)> {
        let start = other.origin.start;
        // Soon after the end, copies of the last packets can still be on their way to the next interface.
        let in_time = self.open > 0 || start <= self.end.plus(HOLD_NS);
        // Where only one direction passes, the tracker gives up a connection that is alive, and meets it again at its
        // end.
        let midstream = other.origin.client_isn.is_none() && other.origin.server_isn.is_none();
        let mut there = self.sightings.iter().filter(|sighting| sighting.is_where(other));
        let taken = there.any(|sighting| !midstream || !sighting.vague);
        let same = self.has_isns_of(other);
        if !in_time || taken || same == Some(false) || self.sightings.len() >= MAX_SIGHTINGS {
            return None;
        }
        Some((same.is_none(), self.start().0.abs_diff(start.0)))
    }

    /// Whether the connection has the ISN of the sighting with `other`; `None` if that is not known. The client's ISN
    /// decides, or the server's where one of the two has not seen the client's.
    fn has_isns_of(&self, other: &Common) -> Option<bool> {
        let theirs = isns(other);
        let client = usize::from(!self.client_is_low);
        [client, 1 - client].into_iter().find_map(|end| Some(self.isns[end]? == theirs[end]?))
    }

    fn start(&self) -> Timestamp {
        self.sightings.first().map_or(Timestamp::default(), |sighting| sighting.start)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.sightings.iter().map(|sighting| sighting.id)
    }

    /// Adds a new sighting, which is not over.
    pub(super) fn join(&mut self, common: &Common) {
        let again = self.sightings.iter().any(|sighting| sighting.is_where(common));
        self.sightings.push(Sighting { again, ..Sighting::new(common) });
        self.open += 1;
        self.path = Path::default();
        self.sort();
    }

    fn sort(&mut self) {
        self.sightings.sort_by_key(|sighting| (sighting.start, sighting.id));
    }

    /// Updates the sighting of an event by what the event says.
    pub(super) fn update(&mut self, event: &Event, common: &Common) {
        for (known, now) in self.isns.iter_mut().zip(isns(common)) {
            *known = known.or(now);
        }
        let Some(sighting) = self.sightings.iter_mut().find(|sighting| sighting.id == common.id) else {
            return;
        };
        sighting.vantage = common.vantage;
        sighting.established |= event.kind() == Kind::Established;
        let over = common.origin.ended || event.kind() == Kind::Connection;
        if over && !sighting.ended {
            sighting.ended = true;
            sighting.vague = says_little(event);
            self.open -= 1;
            self.end = self.end.max(common.ts);
        }
        // An interface can be renamed, and a SYN can come after the answer that overtook it, which moves the start.
        let moved = sighting.start != common.origin.start;
        if moved || sighting.name != common.interface {
            sighting.start = common.origin.start;
            sighting.name = Arc::clone(&common.interface);
            self.path = Path::default();
        }
        if moved {
            self.sort();
        }
    }

    /// Whether an event may be reported, so that it has to be held. It is counted as held if so.
    pub(super) fn hold(&mut self, event: &Event) -> bool {
        let id = event.common().map(|common| common.id);
        let kind = event.kind();
        let wanted = match kind {
            Kind::Established => !self.established,
            Kind::Connection => !self.connection,
            _ => self.chosen.is_none() || self.chosen == id,
        };
        if wanted {
            self.held += 1;
            let own = self.sightings.iter_mut().find(|sighting| Some(sighting.id) == id);
            if let Some(sighting) = own.filter(|_| kind == Kind::Connection) {
                sighting.reported = true;
            }
        }
        wanted
    }

    pub(super) const fn is_undecided(&self) -> bool {
        self.chosen.is_none()
    }

    /// Whether the connection is open, as far as was reported.
    pub(super) const fn is_open(&self) -> bool {
        self.open > 0 && !self.connection
    }

    /// Whether an event that was held is reported. If so it gets the path and the connection's number.
    pub(super) fn pass(&mut self, event: &mut Event) -> bool {
        self.held -= 1;
        let Some(id) = event.common().map(|common| common.id) else { return false };
        if !self.may_pass(event, id) {
            let own = self.sightings.iter_mut().find(|sighting| sighting.id == id);
            if let Some(sighting) = own.filter(|_| event.kind() == Kind::Connection) {
                sighting.reported = false;
            }
            return false;
        }
        match event {
            Event::Established(established) => {
                self.established = true;
                established.path = self.path();
            }
            Event::Connection(connection) => {
                self.connection = true;
                connection.path = self.path();
            }
            _ => {}
        }
        if let Some(common) = event.common_mut() {
            common.id = *self.number.get_or_insert(id);
        }
        true
    }

    /// Whether an event of the sighting `id` is reported. One establishment and one end are reported of a connection.
    /// If the chosen sighting has none by now and another has, that one is chosen from here on: records of the first
    /// may be lost, or the answers take another way.
    fn may_pass(&mut self, event: &Event, id: u64) -> bool {
        let chosen = self.sightings.iter().find(|sighting| Some(sighting.id) == self.chosen);
        let lacks = match event.kind() {
            Kind::Established if self.established => return false,
            Kind::Connection if self.connection => return false,
            Kind::Established => chosen.is_none_or(|sighting| !sighting.established),
            // An end that says little waits while there can be one that says more.
            Kind::Connection if says_little(event) && self.open > 0 => false,
            Kind::Connection => chosen.is_none_or(|sighting| !sighting.reported),
            _ => chosen.is_none(),
        };
        if lacks {
            self.chosen = self.nearest(event);
        }
        self.chosen == Some(id)
    }

    /// The sighting nearest to an endpoint, of those that have what `event` reports: one on the client's own host,
    /// where the opening begins; else one on the server's, where it ends; else the one nearest to the client.
    fn nearest(&self, event: &Event) -> Option<u64> {
        let little = says_little(event);
        let has = |sighting: &&Sighting| match event.kind() {
            Kind::Established => sighting.established,
            Kind::Connection => sighting.reported && (little || !sighting.vague),
            _ => true,
        };
        let at = |vantage| move |sighting: &&Sighting| sighting.vantage == vantage;
        let having = || self.sightings.iter().filter(has);
        let client = having().find(at(Vantage::Client));
        let server = || having().rev().find(at(Vantage::Server));
        client.or_else(server).or_else(|| having().next()).map(|sighting| sighting.id)
    }

    fn path(&mut self) -> Path {
        if self.path.is_empty() {
            let places = self.sightings.iter().filter(|sighting| !sighting.again);
            self.path = places.map(|sighting| Arc::clone(&sighting.name)).collect();
        }
        self.path.clone()
    }
}

/// Whether `event` is the end of a connection that no segment shows, or one that only says what was not seen: another
/// interface may have seen more.
fn says_little(event: &Event) -> bool {
    let Event::Connection(connection) = event else { return false };
    !matches!(connection.outcome, Outcome::Closed | Outcome::Reset | Outcome::Refused | Outcome::RefusedIcmp)
}

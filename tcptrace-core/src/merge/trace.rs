//! What one trace saw: its connections, their segments, which time it covers, and whether it lost anything.

use crate::{
    event::{Address, Common, Connection, Event, Outcome, Role, SegmentEvent, Vantage},
    segment::Timestamp,
};
use hashbrown::HashMap;
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
};
use tcptrace_common::{seq::SeqNum, tcp::TcpFlags};

/// A segment, in 32 octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seg {
    pub(super) ts: Timestamp,
    /// The connection, by its place in [`Trace::conns`].
    conn: u32,
    pub(super) seq: u32,
    /// 0 without ACK.
    pub(super) ack: u32,
    pub(super) len: u32,
    pub(super) window: u16,
    flags: u16,
    /// TTL or hop limit.
    pub(super) ttl: u8,
    by_server: bool,
    /// The trace takes it for a copy of one before. Where a stack gives no identification, it may have been sent again.
    pub(super) is_copy: bool,
}

impl Seg {
    fn of(event: &SegmentEvent, conn: u32) -> Self {
        Self {
            ts: event.common.ts,
            conn,
            seq: event.seq,
            ack: event.ack.unwrap_or_default(),
            len: event.payload_bytes,
            window: event.window,
            flags: event.flags.0,
            ttl: event.ttl,
            by_server: event.sender == Role::Server,
            is_copy: event.copy,
        }
    }

    pub(super) const fn flags(&self) -> TcpFlags {
        TcpFlags(self.flags)
    }

    /// Who sent it, as its own trace sees the two ends.
    pub(super) const fn sender(&self) -> Role {
        if self.by_server { Role::Server } else { Role::Client }
    }

    /// The number after its last: what an acknowledgement of all of it says.
    pub(super) const fn end(&self) -> SeqNum {
        let flags = self.flags();
        SeqNum(self.seq).plus(self.len).plus(flags.syn() as u32).plus(flags.fin() as u32)
    }

    /// Whether a trace records each such segment. Of others it records those alone that somebody waits for.
    pub(super) const fn is_always_recorded(&self) -> bool {
        self.flags().intersects(TcpFlags::SYN.union(TcpFlags::FIN).union(TcpFlags::RST))
    }
}

/// A connection as a trace saw it.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    /// Its number in its trace.
    pub(super) id: u64,
    pub(super) client: Address,
    pub(super) server: Address,
    /// The initial sequence numbers of client and server.
    pub(super) isns: [Option<u32>; 2],
    /// Its server answered with several numbers, so that another trace may hold another of them for true.
    pub(super) isn_varies: bool,
    /// The interface and the tags and tunnels that it was seen with, as a hash: the same can be seen at several.
    place: u64,
    /// Its segments count as those of an earlier connection, which it is the rest of.
    pub(super) is_rest: bool,
    /// The first of it that was seen.
    pub(super) start: Timestamp,
    /// The last of it that was seen.
    last: Timestamp,
    /// How it ended; `None` where the trace does not say.
    pub(super) outcome: Option<Outcome>,
    /// Whether none of its records may have been lost.
    pub(super) complete: bool,
    /// Where the capture point stands.
    pub(super) vantage: Vantage,
    /// Its segments, by their places in [`Trace::segs`] once that is sorted.
    segs: (u32, u32),
}

impl Conn {
    fn of(common: &Common) -> Self {
        Self {
            id: common.id,
            client: common.client,
            server: common.server,
            isns: [None; 2],
            isn_varies: false,
            place: place(common),
            is_rest: false,
            start: common.ts,
            last: common.ts,
            outcome: None,
            complete: true,
            vantage: common.vantage,
            segs: (0, 0),
        }
    }

    fn learn(&mut self, isns: [Option<u32>; 2]) {
        for (known, isn) in self.isns.iter_mut().zip(isns) {
            *known = known.or(isn);
        }
    }

    /// Takes the numbers that its trace came to hold for true: a server that remembers no SYN, as with SYN cookies, answers each
    /// with another number of its own, of which the client acknowledges one.
    fn believe(&mut self, isns: [Option<u32>; 2]) {
        for (known, isn) in self.isns.iter_mut().zip(isns) {
            *known = isn.or(*known);
        }
    }

    fn learn_from_segment(&mut self, event: &SegmentEvent) {
        let isn = event.relative_seq.map(|relative| event.seq.wrapping_sub(relative));
        let peer = event.relative_ack.zip(event.ack).map(|(relative, ack)| ack.wrapping_sub(relative));
        let isns = match event.sender {
            Role::Client => [isn, peer],
            Role::Server => [peer, isn],
        };
        // A SYN says what its sender begins with, whoever that may be. Another segment is told by the numbers that are believed.
        if event.flags.syn() {
            self.isn_varies |= self.isns[1].zip(isns[1]).is_some_and(|(known, isn)| known != isn);
            self.learn(isns);
        } else {
            self.believe(isns);
        }
    }

    /// Both ends, in an order that is the same for both directions.
    fn ends(&self) -> [(IpAddr, u16); 2] {
        let ends = [self.client, self.server].map(|end| (end.ip, end.port));
        if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] }
    }

    /// Whether a later one of the same ends is the rest of this one: the tracker took a segment that came late, or was sent once
    /// more after it had given up, for a new connection.
    fn goes_on_as(&self, later: &Self) -> bool {
        match (later.isns, self.isns) {
            ([Some(client), server], [Some(own), own_server]) => {
                let servers = server.zip(own_server);
                self.client == later.client
                    && client == own
                    && (self.isn_varies || servers.is_none_or(|(one, other)| one == other))
            }
            ([None, _], [Some(_), _]) => later.start.since(self.last) < LATE_NS,
            (_, [None, _]) => false,
        }
    }

    fn end(&mut self, event: &Connection) {
        self.believe([event.client_isn, event.server_isn]);
        self.start = self.start.min(event.start);
        self.outcome = Some(event.outcome);
    }
}

/// What is under way for longer than this belongs to no connection any more: two maximum segment lifetimes (RFC 9293 §3.4.2).
const LATE_NS: u64 = 240_000_000_000;

/// A hash of where a connection was seen at its vantage.
fn place(common: &Common) -> u64 {
    // It is compared within one run only.
    let mut hasher = DefaultHasher::new();
    common.interface.hash(&mut hasher);
    [common.vlan.outer, common.vlan.inner].hash(&mut hasher);
    for tunnel in &common.tunnel {
        format!("{tunnel:?}").hash(&mut hasher);
    }
    hasher.finish()
}

/// What one trace saw.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) conns: Vec<Conn>,
    segs: Vec<Seg>,
    /// The connections of the run that is being read, by their numbers.
    by_id: HashMap<u64, u32>,
    /// When it began and ended, as far as is known.
    covers: Option<(Timestamp, Timestamp)>,
    /// What the runs before this one lost, and what this one has lost so far.
    lost: (u64, u64),
}

impl Trace {
    /// Takes an event of the trace.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Start(start) => {
                self.by_id.clear();
                self.lost = (self.lost.0 + self.lost.1, 0);
                // A reading of a file begins long after what the file has.
                if start.live {
                    self.covers_also(start.ts);
                }
                return;
            }
            Event::Stats(stats) => {
                let capture = stats.capture.map_or(0, |capture| capture.dropped());
                self.lost.1 = stats.records_lost
                    + stats.ring_full.total()
                    + stats.shed.total()
                    + stats.events_dropped
                    + capture;
                // That of a file has the time of its last packet.
                self.covers_also(stats.ts);
                return;
            }
            _ => {}
        }
        let Some(common) = event.common() else { return };
        let Some(at) = self.conn(common) else { return };
        self.covers_also(common.ts);
        let conn = &mut self.conns[at as usize];
        conn.complete &= common.complete;
        if common.ts != Timestamp::UNKNOWN {
            conn.last = conn.last.max(common.ts);
        }
        if conn.vantage == Vantage::Middle {
            conn.vantage = common.vantage;
        }
        match event {
            Event::Segment(segment) => {
                conn.start = conn.start.min(common.ts);
                conn.learn_from_segment(segment);
                self.segs.push(Seg::of(segment, at));
            }
            Event::Established(event) => conn.believe([event.client_isn, event.server_isn]),
            Event::Connection(event) => conn.end(event),
            _ => {}
        }
    }

    /// The connection of an event. There is none beyond four thousand millions.
    fn conn(&mut self, common: &Common) -> Option<u32> {
        if let Some(&at) = self.by_id.get(&common.id) {
            return Some(at);
        }
        let at = u32::try_from(self.conns.len()).ok()?;
        self.conns.push(Conn::of(common));
        self.by_id.insert(common.id, at);
        Some(at)
    }

    /// Takes note of a moment at which it was looking.
    fn covers_also(&mut self, ts: Timestamp) {
        if ts == Timestamp::UNKNOWN {
            return;
        }
        let (from, to) = self.covers.unwrap_or((ts, ts));
        self.covers = Some((from.min(ts), to.max(ts)));
    }

    /// Brings the segments of each connection together, in the order in which they passed. No event may come after that.
    pub(super) fn sort(&mut self) {
        self.by_id = HashMap::new();
        self.unite();
        self.segs.sort_by_key(|seg| (seg.conn, seg.ts));
        let mut from = 0;
        for run in self.segs.chunk_by(|a, b| a.conn == b.conn) {
            let to = from + u32::try_from(run.len()).unwrap_or(u32::MAX);
            if let Some(conn) = run.first().and_then(|seg| self.conns.get_mut(seg.conn as usize)) {
                conn.segs = (from, to);
            }
            from = to;
        }
    }

    /// Gives the segments of each connection that is the rest of another to that one.
    fn unite(&mut self) {
        let mut order: Vec<u32> = (0..self.conns.len()).filter_map(|at| u32::try_from(at).ok()).collect();
        let key = |conn: &Conn| (conn.ends(), conn.place);
        order.sort_by_key(|&at| {
            let conn = &self.conns[at as usize];
            (key(conn), conn.start)
        });
        // Where the segments of a connection go, and whether its two ends are the other way round there.
        let mut rests: HashMap<u32, (u32, bool)> = HashMap::new();
        let mut whole: Option<u32> = None;
        for at in order {
            let conn = self.conns[at as usize].clone();
            let base = whole.map(|whole| (whole, &mut self.conns[whole as usize]));
            match base.filter(|(_, base)| key(base) == key(&conn) && base.goes_on_as(&conn)) {
                Some((whole, base)) => {
                    let is_reversed = base.client != conn.client;
                    if !is_reversed {
                        base.learn(conn.isns);
                    }
                    base.last = base.last.max(conn.last);
                    base.complete &= conn.complete;
                    base.isn_varies |= conn.isn_varies;
                    rests.insert(at, (whole, is_reversed));
                    self.conns[at as usize].is_rest = true;
                }
                None => whole = Some(at),
            }
        }
        for seg in &mut self.segs {
            if let Some(&(whole, is_reversed)) = rests.get(&seg.conn) {
                seg.conn = whole;
                seg.by_server ^= is_reversed;
            }
        }
    }

    /// The connections that are not the rest of others, with their places.
    pub(super) fn wholes(&self) -> impl Iterator<Item = (u32, &Conn)> {
        (0_u32..).zip(&self.conns).filter(|(_, conn)| !conn.is_rest)
    }

    /// The segments of a connection, once they are sorted.
    pub(super) fn segs(&self, conn: &Conn) -> &[Seg] {
        self.segs.get(conn.segs.0 as usize..conn.segs.1 as usize).unwrap_or_default()
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.segs.iter().filter(|seg| !seg.is_copy).count()
    }

    /// How many records, segments or packets it is known to have lost or left out.
    pub(super) fn lost(&self) -> u64 {
        self.lost.0 + self.lost.1
    }

    /// Whether it looked at the moment `ns` of its own clock.
    pub(super) fn covers(&self, ns: i64) -> bool {
        self.covers.is_some_and(|(from, to)| nanoseconds(from) <= ns && ns <= nanoseconds(to))
    }
}

/// A time as a number that can be subtracted; the year 2262 is its end.
pub(super) fn nanoseconds(ts: Timestamp) -> i64 {
    i64::try_from(ts.0).unwrap_or(i64::MAX)
}

/// How much later the second is by its clock than the first by its own; `None` where one of them is not known.
pub(super) fn later_by(first: Timestamp, second: Timestamp) -> Option<i64> {
    let are_known = ![first, second].contains(&Timestamp::UNKNOWN);
    are_known.then(|| nanoseconds(second).saturating_sub(nanoseconds(first)))
}

//! A world of its own: clients and servers that retransmit, a network between two vantages that loses, delays and translates, and
//! something in it that tears connections down. A third vantage is at the servers. The world knows what became of each packet.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
};
use tcptrace_testing::packets::Rng;

const MS: u64 = 1_000_000;
pub(crate) const SYN: u8 = 2;
pub(crate) const FIN: u8 = 1;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// What a world is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) connections: u32,
    /// Of a thousand packets so many are lost: before the vantage `a`, between the two, and behind `b`, which is between it and
    /// the servers.
    pub(crate) losses: [usize; 3],
    /// The least delay between the vantages, there and back.
    pub(crate) delays_ms: [u64; 2],
    /// How much longer it can be.
    pub(crate) jitter_us: u64,
    /// Packets overtake each other.
    pub(crate) overtakes: bool,
    /// How far the clock of `b` is ahead.
    pub(crate) offset_ns: i64,
    /// Addresses and ports of clients are translated between the vantages.
    pub(crate) nat: bool,
    /// Of a hundred connections so many are torn down between the vantages.
    pub(crate) torn: usize,
    /// Of a hundred servers so many answer each SYN anew with another number, and remember none, as with SYN cookies (RFC 4987 §3.6).
    pub(crate) forgetful: usize,
}

/// A packet that passed a vantage.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) connection: u32,
    pub(crate) by_server: bool,
    pub(crate) flags: u8,
    seq: u32,
    ack: u32,
    len: u16,
    window: u16,
    id: u16,
    pub(crate) forged: bool,
}

/// What became of a packet between the vantages.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    pub(crate) packet: Packet,
    /// When it passed each vantage, by the clock there.
    pub(crate) at: [Option<u64>; 3],
}

/// The vantage at the servers.
pub(crate) const AT_SERVERS: usize = 2;

/// The world when everything is over.
pub(crate) struct World {
    pub(crate) passages: Vec<Passage>,
    plan: Plan,
}

/// Where a packet is on its way from the client to the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    /// It reaches the vantage with this number.
    Vantage(usize, usize),
    /// It reaches its receiver.
    Receiver(usize),
    /// An end looks whether its last was acknowledged: connection, whether it is the server, and how often it has been sent.
    Timer(u32, bool, u32, u32),
    /// A client begins.
    Open(u32),
}

/// What an end has to send, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Syn,
    Data(u16),
    Fin,
}

#[derive(Clone, Debug)]
struct End {
    items: Vec<Item>,
    /// Which of them is under way, and how many of them may be sent.
    now: u32,
    may: u32,
    seq: u32,
    expects: Option<u32>,
    tries: u32,
    sent: bool,
    over: bool,
    window: u16,
}

struct Running {
    plan: Plan,
    rng: Rng,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    now: u64,
    ends: Vec<[End; 2]>,
    passages: Vec<Passage>,
    torn: Vec<bool>,
    forgetful: Vec<bool>,
    times: HashSet<(usize, u64)>,
    /// When the last packet arrived, from the client's side and from the server's.
    latest: [u64; 2],
}

/// 2026-11-27T00:00:00Z.
const BEGIN: u64 = 1_795_737_600_000_000_000;

impl World {
    pub(crate) fn run(plan: &Plan) -> Self {
        let mut rng = Rng(plan.seed);
        let end = |rng: &mut Rng, items: &[Item]| End {
            items: items.to_vec(),
            now: 0,
            may: 0,
            seq: rng.next() as u32,
            expects: None,
            tries: 0,
            sent: false,
            over: false,
            window: 60_000,
        };
        let ends = (0..plan.connections)
            .map(|_| {
                let all = [Item::Syn, Item::Data(100), Item::Fin];
                [end(&mut rng, &all), end(&mut rng, &[Item::Syn, Item::Data(1000), Item::Fin])]
            })
            .collect();
        let torn = (0..plan.connections).map(|_| rng.below(100) < plan.torn).collect();
        let forgetful = (0..plan.connections).map(|_| rng.below(100) < plan.forgetful).collect();
        let mut running = Running {
            plan: plan.clone(),
            rng,
            queue: BinaryHeap::new(),
            order: 0,
            now: BEGIN,
            ends,
            passages: Vec::new(),
            torn,
            forgetful,
            times: HashSet::new(),
            latest: [0; 2],
        };
        for connection in 0..plan.connections {
            // Something passes long before and after, so that what the traces cover is no question.
            let at = BEGIN + u64::from(connection) * 40 * MS;
            running.push(at, Event::Open(connection));
        }
        while let Some(Reverse((at, _, event))) = running.queue.pop() {
            running.now = at;
            running.event(event);
        }
        Self { passages: running.passages, plan: plan.clone() }
    }

    /// What a vantage captured, as a file of IP packets with nanoseconds.
    pub(crate) fn capture(&self, vantage: usize) -> Vec<u8> {
        let mut packets: Vec<(u64, &Packet)> =
            self.passages.iter().filter_map(|it| Some((it.at[vantage]?, &it.packet))).collect();
        packets.sort_by_key(|(at, _)| *at);
        let mut file =
            vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 101, 0, 0, 0];
        for (at, packet) in packets {
            let bytes = self.bytes(vantage, packet);
            let len = bytes.len() as u32;
            for word in [(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend(bytes);
        }
        file
    }

    fn bytes(&self, vantage: usize, packet: &Packet) -> Vec<u8> {
        let n = packet.connection;
        let [high, low] = (n as u16 + 20_000).to_be_bytes();
        let client = match (vantage, self.plan.nat) {
            (1 | AT_SERVERS, true) => ([203, 0, 113, 9], [low ^ 0x40, high]),
            _ => ([10, 0, 0, 1 + (n % 3) as u8], [high, low]),
        };
        let server = ([198, 51, 100, 80], [0, 80]);
        // A router between the vantages lowers what they see of each other's side.
        let ttl = 64 - u8::from(packet.by_server == (vantage == 0));
        let (from, to) = if packet.by_server { (server, client) } else { (client, server) };
        let len = 40 + packet.len;
        let mut bytes = vec![0x45, 0];
        bytes.extend(len.to_be_bytes());
        bytes.extend(packet.id.to_be_bytes());
        bytes.extend([0x40, 0, ttl, 6, 0, 0]);
        bytes.extend(from.0);
        bytes.extend(to.0);
        bytes.extend(from.1);
        bytes.extend(to.1);
        bytes.extend(packet.seq.to_be_bytes());
        bytes.extend(packet.ack.to_be_bytes());
        bytes.extend([0x50, packet.flags]);
        bytes.extend(packet.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.resize(usize::from(len), 0x61);
        bytes
    }

    /// What became of the packets that passed a vantage, by when they did.
    pub(crate) fn by_time(&self, vantage: usize) -> BTreeMap<u64, &Passage> {
        self.passages.iter().filter_map(|it| Some((it.at[vantage]?, it))).collect()
    }
}

impl Running {
    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, event)));
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Open(connection) => {
                self.end(connection, false).may = 1;
                self.send_next(connection, false);
            }
            Event::Timer(connection, by_server, item, tries) => {
                let end = self.end(connection, by_server);
                if end.over || !end.sent || (end.now, end.tries) != (item, tries) {
                    return;
                }
                if end.tries >= 7 {
                    end.over = true;
                } else {
                    self.send_item(connection, by_server);
                }
            }
            Event::Vantage(packet, vantage) => self.at_vantage(packet, vantage),
            Event::Receiver(packet) => self.received(packet),
        }
    }

    fn end(&mut self, connection: u32, is_server: bool) -> &mut End {
        &mut self.ends[connection as usize][usize::from(is_server)]
    }

    fn send(&mut self, packet: Packet) {
        let by_server = packet.by_server;
        let at = self.passages.len();
        self.passages.push(Passage { packet, at: [None; 3] });
        if by_server {
            self.pass(at, AT_SERVERS);
        }
        if self.rng.below(1000) >= self.plan.losses[if by_server { 2 } else { 0 }] {
            self.push(self.now + 10_000, Event::Vantage(at, usize::from(by_server)));
        }
    }

    /// Keeps when a packet passes a vantage, and returns the time of the world.
    fn pass(&mut self, at: usize, vantage: usize) -> u64 {
        // No two packets have one time, so that a time names a packet.
        let mut time = self.now;
        while !self.times.insert((vantage, time)) {
            time += 1;
        }
        let by_clock = if vantage == 1 { time.strict_add_signed(self.plan.offset_ns) } else { time };
        self.passages[at].at[vantage] = Some(by_clock);
        time
    }

    fn at_vantage(&mut self, at: usize, vantage: usize) {
        let time = self.pass(at, vantage);
        let by_server = self.passages[at].packet.by_server;
        if vantage == usize::from(!by_server) {
            if self.rng.below(1000) >= self.plan.losses[if by_server { 0 } else { 2 }] {
                self.push(time + 10_000, Event::Receiver(at));
            }
            return;
        }
        let packet = self.passages[at].packet.clone();
        if self.torn[packet.connection as usize] && packet.len > 0 && packet.by_server {
            self.tear(&packet);
        }
        if self.rng.below(1000) >= self.plan.losses[1] {
            let jitter = self.rng.below(self.plan.jitter_us as usize + 1) as u64 * 1000;
            let delay = self.plan.delays_ms[usize::from(by_server)] * MS + jitter;
            let mut arrival = time + delay;
            if !self.plan.overtakes {
                arrival = arrival.max(self.latest[usize::from(by_server)] + 1);
                self.latest[usize::from(by_server)] = arrival;
            }
            self.push(arrival, Event::Vantage(at, usize::from(!by_server)));
        }
    }

    /// Sends a RST to both ends, each in the name of the other, from between the vantages.
    fn tear(&mut self, data: &Packet) {
        self.torn[data.connection as usize] = false;
        for by_server in [false, true] {
            let (seq, ack) = if by_server { (data.seq, data.ack) } else { (data.ack, data.seq) };
            let packet = Packet {
                by_server,
                flags: RST | ACK,
                seq,
                ack,
                len: 0,
                id: self.rng.next() as u16,
                forged: true,
                ..data.clone()
            };
            let at = self.passages.len();
            self.passages.push(Passage { packet, at: [None; 3] });
            self.push(self.now + 1000 * MS / 500, Event::Vantage(at, usize::from(!by_server)));
        }
    }

    fn segment(&mut self, connection: u32, by_server: bool, flags: u8, len: u16) -> Packet {
        let id = self.rng.next() as u16;
        let end = self.end(connection, by_server);
        let ack = end.expects;
        Packet {
            connection,
            by_server,
            flags: flags | if ack.is_some() { ACK } else { 0 },
            seq: end.seq,
            ack: ack.unwrap_or_default(),
            len,
            window: end.window,
            id,
            forged: false,
        }
    }

    /// Sends what comes next, if it may be and nothing is under way.
    fn send_next(&mut self, connection: u32, by_server: bool) {
        let end = self.end(connection, by_server);
        if !end.sent && !end.over && end.now < end.may && (end.now as usize) < end.items.len() {
            end.sent = true;
            end.tries = 0;
            self.send_item(connection, by_server);
        }
    }

    fn send_item(&mut self, connection: u32, by_server: bool) {
        let end = self.end(connection, by_server);
        end.tries += 1;
        let (now, tries) = (end.now, end.tries);
        let item = end.items[now as usize];
        let (flags, len, first) = match item {
            Item::Syn => (SYN, 0, 1000),
            Item::Data(len) => (0, len, 200),
            Item::Fin => (FIN, 0, 200),
        };
        let packet = self.segment(connection, by_server, flags, len);
        self.send(packet);
        // Who remembers nothing sends nothing again.
        if by_server && item == Item::Syn && self.forgetful[connection as usize] {
            return;
        }
        let wait = (first * MS) << (tries - 1);
        self.push(self.now + wait, Event::Timer(connection, by_server, now, tries));
    }

    fn acknowledge(&mut self, connection: u32, by_server: bool) {
        let packet = self.segment(connection, by_server, 0, 0);
        self.send(packet);
    }

    fn received(&mut self, at: usize) {
        if !self.passages[at].packet.by_server {
            self.pass(at, AT_SERVERS);
        }
        let Packet { connection, by_server, flags, seq, ack, len, .. } = self.passages[at].packet;
        let is_server = !by_server;
        let end = self.end(connection, is_server);
        if flags & RST != 0 {
            end.over = true;
            return;
        }
        if end.over {
            return;
        }
        if flags & ACK != 0 && end.sent {
            let size = match end.items[end.now as usize] {
                Item::Data(len) => u32::from(len),
                Item::Syn | Item::Fin => 1,
            };
            if ack == end.seq.wrapping_add(size) {
                end.seq = ack;
                end.now += 1;
                end.sent = false;
            }
        }
        let size = u32::from(len) + u32::from(flags & (SYN | FIN) != 0);
        let is_new = size > 0 && end.expects.is_none_or(|expects| expects == seq);
        if is_new {
            end.expects = Some(seq.wrapping_add(size));
            self.reads(connection, is_server, flags, len);
        }
        if self.end(connection, is_server).over {
            return;
        }
        let is_answered = is_server && !is_new && flags & SYN != 0;
        if is_answered && self.forgetful[connection as usize] && self.end(connection, true).now == 0 {
            let isn = self.rng.next() as u32;
            self.end(connection, true).seq = isn;
            self.send_item(connection, true);
            return;
        }
        // A SYN is acknowledged by the server's own.
        if size > 0 && (flags & SYN == 0 || !is_server) {
            self.acknowledge(connection, is_server);
            // Now and then the window opens a little later.
            if self.rng.below(5) == 0 {
                let end = self.end(connection, is_server);
                end.window += 1;
                self.acknowledge(connection, is_server);
            }
        }
        let end = self.end(connection, is_server);
        if !is_server && end.now >= 1 {
            end.may = end.may.max(3);
        }
        self.send_next(connection, is_server);
    }

    /// What an application makes of what came.
    fn reads(&mut self, connection: u32, is_server: bool, flags: u8, len: u16) {
        let aborts = self.rng.below(10) == 0;
        let end = self.end(connection, is_server);
        if is_server {
            if flags & SYN != 0 {
                end.may = 1;
            } else if len > 0 {
                end.may = 2;
            } else if flags & FIN != 0 {
                end.may = 3;
            }
        } else if len > 0 && aborts {
            end.over = true;
            let packet = self.segment(connection, is_server, RST, 0);
            self.send(packet);
        }
    }
}

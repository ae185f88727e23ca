//! Finds lifecycle segments in packets in memory, for capture files and for tests. The header parser and the lifecycle
//! test are those of the kernel programs.

mod unanswered;

pub(crate) use unanswered::UnansweredSyns;

use crate::{
    decode::{self, Trailer},
    filter::Filter,
    request::{self, Request},
};
use tcptrace_common::{
    abi::{
        BIT_CUT, BIT_TUNNEL, Bucket, Counters, IcmpRecord, MAX_OPTIONS, REQUEST_OCTETS, Record, RecordKind,
        SEED_WORDS, Tunnel,
    },
    filter::{NUMBERS, Steps},
    flow::{self, Addresses, FlowHash},
    lifecycle::{self, Buckets, Table},
    record::{self, Sighting, fill, fill_icmp, fill_outer, fill_tunnel},
    request::begins_a_request,
    tcp::TcpFlags,
    wire::{
        self, Bytes, Icmp, Link, Outer, Packet, Parsed, Unparsable,
        icmp::{self, Quoted},
        options,
        tunnel::{self, Decap, Deep, End},
    },
};

/// The lifecycle test of parsed packets, with the state that it works on.
pub(crate) struct LifecycleTest<'a, T: ?Sized> {
    pub(crate) table: &'a mut T,
    pub(crate) seeds: &'a [u64; SEED_WORDS],
    pub(crate) filter: Steps<'a>,
    pub(crate) counters: &'a mut Counters,
    pub(crate) tunnels: &'a Tunnels,
    /// SYNs whose answer has not passed, for a search that the kernel programs do not make.
    pub(crate) unanswered: Option<&'a mut UnansweredSyns>,
    /// Whether data is read for the name of the server that is asked.
    pub(crate) server_name: bool,
}

/// Which tunnels are looked into, and how many within each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnels {
    /// The kinds of tunnels that are looked into.
    pub decap: Decap,
    /// How many tunnels within each other are looked into, at most [`Tunnels::MOST`].
    pub levels: usize,
}

impl Tunnels {
    /// The most tunnels within each other that are looked into.
    pub const MOST: usize = 3;
    /// No tunnel is looked into.
    pub const NONE: Self = Self { decap: Decap::NONE, levels: 0 };
}

/// The tunnels that a packet was found in.
#[derive(Clone, Copy)]
struct EnclosingTunnels {
    tunnels: [Tunnel; Tunnels::MOST],
    len: usize,
    hash: FlowHash,
}

/// A packet that has a record.
pub(crate) struct Found {
    pub(crate) record: decode::Record,
    /// Where the TCP header or the ICMP message of the packet ends, which may be beyond what was captured.
    pub(crate) end: usize,
}

impl<T: Table + ?Sized> LifecycleTest<'_, T> {
    /// Counts a packet, and makes its record if it belongs to a lifecycle. `bytes` is what `parsed` was made from, and
    /// `seen` is called only if a record may be made.
    #[inline]
    pub(crate) fn packet(
        &mut self,
        parsed: &Parsed,
        bytes: Bytes<'_>,
        ts: u64,
        seen: impl FnOnce() -> Sighting,
    ) -> Option<Found> {
        match parsed {
            Parsed::V4(tcp) => self.segment(tcp, bytes.captured, ts, seen(), None),
            Parsed::V6(tcp) => self.segment(tcp, bytes.captured, ts, seen(), None),
            Parsed::Icmp(icmp) => self.icmp(icmp, bytes.captured, ts, seen, None),
            Parsed::Tunnel(outer) => self.tunnel(outer, bytes, ts, seen),
            Parsed::Other | Parsed::Rare => None,
            Parsed::Fragment => {
                self.counters.fragments += 1;
                None
            }
            Parsed::Unparsable(reason) => {
                self.counters.unparsable[*reason as usize] += 1;
                None
            }
        }
    }

    /// Parses what is in a tunnel, and in the tunnels within it.
    #[cold]
    fn tunnel(
        &mut self,
        outer: &Outer,
        bytes: Bytes<'_>,
        ts: u64,
        seen: impl FnOnce() -> Sighting,
    ) -> Option<Found> {
        let packet = Deep { packet: bytes, decap: &self.tunnels.decap };
        let hash = FlowHash { bucket: 0, tag: 0, vlans: 0 };
        let mut within = EnclosingTunnels { tunnels: [Tunnel::EMPTY; Tunnels::MOST], len: 0, hash };
        let mut outer = *outer;
        while within.len < self.tunnels.levels.min(Tunnels::MOST) {
            let step = tunnel::enter(&packet, outer.ipv6, outer.protocol, outer.at);
            if step.end != End::Inside {
                step.unparsable().inspect(|&reason| self.counters.unparsable[reason as usize] += 1);
                return None;
            }
            let tunnel = &mut within.tunnels[within.len];
            fill_outer(tunnel, &outer);
            fill_tunnel(tunnel, &step);
            within.hash = flow::of_tunnel(tunnel, step.kind, self.seeds).inside(within.hash);
            within.len += 1;
            self.counters.tunnels[step.kind.index()] += 1;
            let captured = bytes.captured;
            match tunnel::inside(&packet, step.ethertype, step.at, outer.fragmented) {
                Parsed::Tunnel(next) => {
                    outer = Outer { fragmented: outer.fragmented || next.fragmented, ..next };
                }
                Parsed::V4(tcp) => return self.segment(&tcp, captured, ts, seen(), Some(&within)),
                Parsed::V6(tcp) => return self.segment(&tcp, captured, ts, seen(), Some(&within)),
                Parsed::Icmp(icmp) => return self.icmp(&icmp, captured, ts, seen, Some(&within)),
                rest => return self.packet(&rest, bytes, ts, seen),
            }
        }
        self.counters.unparsable[Unparsable::TunnelDepth as usize] += 1;
        None
    }

    #[inline]
    fn segment<A: Addresses>(
        &mut self,
        tcp: &Packet<A>,
        captured: &[u8],
        ts: u64,
        seen: Sighting,
        within: Option<&EnclosingTunnels>,
    ) -> Option<Found> {
        self.counters.tcp_packets += 1;
        let inspected = match within {
            None => lifecycle::inspect(tcp, seen, self.filter, self.table, self.seeds),
            Some(within) => {
                lifecycle::inspect_within(tcp, within.hash, seen, self.filter, self.table, self.seeds)
            }
        };
        let (mut record, overwritten) = match inspected {
            Some(found) => {
                self.observe_unanswered(&found.0, within);
                found
            }
            None => (self.record_if_answered(tcp, seen, within)?, false),
        };
        self.counters.pending_overwrites += u64::from(overwritten);
        let kind = record::kind_of(tcp.flags);
        let mut raw = [0; MAX_OPTIONS];
        let trailer = if kind.has_options() {
            let packet = Bytes::whole(captured);
            record.options_len = options::copy(&packet, tcp.options_at, tcp.options_len, &mut raw);
            if usize::from(record.options_len) < tcp.options_len {
                record.bits |= BIT_CUT;
            }
            Trailer::Options(&raw)
        } else {
            Trailer::Nothing
        };
        let end = tcp.options_at + tcp.options_len;
        let mut found = self.record(record, trailer, kind, ts, end, within)?;
        if self.server_name && kind == RecordKind::Ack && within.is_none() {
            found.record.what.segment_mut().request = read_request(captured, end, tcp.payload_len);
        }
        Some(found)
    }

    /// Tells the table of unanswered SYNs of a segment that has a record.
    #[inline]
    fn observe_unanswered(&mut self, record: &Record, within: Option<&EnclosingTunnels>) {
        if let Some(unanswered) =
            self.unanswered.as_deref_mut().filter(|_| lifecycle::announces(TcpFlags(record.flags)))
        {
            let (own, peer) = flow::hashes(record, self.seeds);
            let hashes = within.map_or((own, peer), |it| (own.within(it.hash), peer.within(it.hash)));
            unanswered.observe(record, hashes);
        }
    }

    /// The record of a segment that nobody waited for, if it shows that its sender's SYN was answered where no SYN-ACK
    /// passed.
    #[inline]
    fn record_if_answered<A: Addresses>(
        &mut self,
        tcp: &Packet<A>,
        seen: Sighting,
        within: Option<&EnclosingTunnels>,
    ) -> Option<Record> {
        let unanswered = self.unanswered.as_deref_mut().filter(|unanswered| !unanswered.is_empty())?;
        if lifecycle::announces(tcp.flags) {
            return None;
        }
        let own = tcp.key(seen.ifindex).hash(self.seeds);
        if !unanswered.remove_if_answered(within.map_or(own, |it| own.within(it.hash)), tcp.seq) {
            return None;
        }
        let mut record = Record::EMPTY;
        fill(&mut record, tcp, seen);
        Some(record)
    }

    #[cold]
    fn icmp(
        &mut self,
        icmp: &Icmp,
        captured: &[u8],
        ts: u64,
        seen: impl FnOnce() -> Sighting,
        within: Option<&EnclosingTunnels>,
    ) -> Option<Found> {
        let end = icmp.at + icmp.len;
        let mut entry = IcmpRecord::EMPTY;
        match icmp::quoted(&Bytes::whole(captured), icmp) {
            Quoted::V4(quote) => fill_icmp(&mut entry, &quote, seen()),
            Quoted::V6(quote) => fill_icmp(&mut entry, &quote, seen()),
            Quoted::Nothing => return None,
            Quoted::Short => {
                // A message may end anywhere, but a capture that ends before the message does has lost something.
                let lost = captured.len() < end;
                self.counters.unparsable[Unparsable::Truncated as usize] += u64::from(lost);
                return None;
            }
        }
        if !self.filter.admits(&entry.record, &mut [0; NUMBERS]) {
            return None;
        }
        icmp.write_from(&mut entry.from);
        self.record(entry.record, Trailer::icmp(&entry), RecordKind::Icmp, ts, end, within)
    }

    #[inline(always)]
    fn record(
        &mut self,
        mut record: Record,
        trailer: Trailer<'_>,
        kind: RecordKind,
        ts: u64,
        end: usize,
        within: Option<&EnclosingTunnels>,
    ) -> Option<Found> {
        self.counters.number += 1;
        self.counters.emitted[kind.index()] += 1;
        record.ts = ts;
        record.number = u32::try_from(self.counters.number & 0xffff_ffff).unwrap_or_default();
        let tunnels = within.map_or(&[][..], |within| &within.tunnels[..within.len]);
        if !tunnels.is_empty() {
            record.bits |= BIT_TUNNEL;
        }
        // The record was made here, so that it is always valid.
        let mut found = Found { record: decode::assemble(&record, kind, trailer), end };
        if !tunnels.is_empty() {
            decode::enclose(&mut found.record, tunnels)?;
        }
        Some(found)
    }
}

/// What the data of a packet, which begins at `at`, says of the server that is asked. As much is read as the kernel programs
/// record.
fn read_request(captured: &[u8], at: usize, len: u32) -> Option<Box<Request>> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(REQUEST_OCTETS);
    let data = captured.get(at..)?;
    let data = &data[..data.len().min(len)];
    let begins = data.first_chunk().is_some_and(|octets| begins_a_request(*octets));
    if begins { request::read(data).map(Box::new) } else { None }
}

/// The header parser and the lifecycle test with a pending-ACK table in memory, as the kernel programs run them.
pub struct Parser {
    table: Box<[Bucket]>,
    seeds: [u64; SEED_WORDS],
    filter: Filter,
    counters: Counters,
    tunnels: Tunnels,
    first_byte: bool,
    server_name: bool,
}

impl Parser {
    /// A parser with an empty table of `buckets`, rounded up to a power of two, whose hash has the keys `seeds`.
    #[must_use]
    pub fn new(buckets: usize, seeds: [u64; SEED_WORDS]) -> Self {
        let table = vec![Bucket::default(); buckets.next_power_of_two()].into_boxed_slice();
        Self {
            table,
            seeds,
            filter: Filter::default(),
            counters: Counters::default(),
            tunnels: Tunnels::NONE,
            first_byte: false,
            server_name: false,
        }
    }

    /// Sets the filter that a segment must pass to have a record.
    pub fn set_filter(&mut self, filter: &Filter) {
        self.filter = filter.clone();
    }

    /// Sets the tunnels that are looked into.
    pub fn set_tunnels(&mut self, tunnels: Tunnels) {
        self.tunnels = tunnels;
    }

    /// Has the segments with the first data of each direction recorded too, or not.
    pub const fn set_first_byte(&mut self, first_byte: bool) {
        self.first_byte = first_byte;
    }

    /// Has data read for the name of the server that is asked, or not.
    pub const fn set_server_name(&mut self, server_name: bool) {
        self.server_name = server_name;
    }

    /// The counters of the kernel programs, with what was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The number of expected acknowledgements in the table.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.table.iter().flat_map(|bucket| bucket.words).filter(|&word| word != 0).count()
    }

    /// The buckets of the table.
    #[must_use]
    pub fn table(&self) -> &[Bucket] {
        &self.table
    }

    /// Parses one packet that passed at `ts` nanoseconds, and returns its record if it belongs to a lifecycle.
    /// `offloaded` is the VLAN tag as in [`tcptrace_common::wire::parse`].
    pub fn packet(
        &mut self,
        link: Link,
        bytes: Bytes<'_>,
        offloaded: Option<u16>,
        ts: u64,
        seen: Sighting,
    ) -> Option<decode::Record> {
        self.counters.packets += 1;
        let parsed = wire::parse(&Deep { packet: bytes, decap: &self.tunnels.decap }, link, offloaded);
        let Self { table, seeds, filter, counters, tunnels, first_byte, server_name } = self;
        let mut table = Buckets { buckets: table, awaits_data: *first_byte };
        let mut test = LifecycleTest {
            table: &mut table,
            seeds,
            filter: filter.steps(),
            counters,
            tunnels,
            unanswered: None,
            server_name: *server_name,
        };
        test.packet(&parsed, bytes, ts, || seen).map(|found| found.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ICMP message of a router, which quotes an IP header and eight octets of the TCP header of a SYN, and ends
    /// there.
    fn error(kind: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
        packet.extend([kind, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x45, 0, 0, 60, 0, 0, 0, 0, 1, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0x9c, 0x40, 1, 0xbb, 0, 0, 0, 7]);
        packet
    }

    #[test]
    fn what_a_capture_cut_off_an_icmp_error_is_counted() {
        let ended_early = {
            let mut packet = error(3);
            packet[3] -= 1;
            packet
        };
        for (name, packet, captured, records, truncated) in [
            ("all there is", error(3), 56, 1, 0),
            ("one octet less was captured", error(3), 55, 0, 1),
            ("only its header was", error(3), 28, 0, 1),
            ("not even that", error(3), 27, 0, 1),
            ("one octet less was sent", ended_early, 56, 0, 0),
            ("an echo request is not looked into", error(8), 30, 0, 0),
        ] {
            let mut parser = Parser::new(1, [1; SEED_WORDS]);
            let bytes = Bytes { captured: &packet[..captured], wire_len: packet.len() };
            let seen = Sighting { ifindex: 1, egress: false, forwarded: false };
            let found = parser.packet(Link::Ip, bytes, None, 5, seen);
            let counters = parser.counters();
            assert_eq!(u64::from(found.is_some()), records, "{name}");
            assert_eq!(counters.emitted[RecordKind::Icmp.index()], records, "{name}");
            assert_eq!(counters.unparsable[Unparsable::Truncated as usize], truncated, "{name}");
            assert_eq!((counters.packets, counters.tcp_packets, counters.number), (1, 0, records), "{name}");
        }
    }

    /// An IPv4 packet of TCP between ports 40000 and 80, of a host whose address ends in `from`.
    fn segment(from: u8, flags: u8, [seq, ack]: [u32; 2], data: &[u8]) -> Vec<u8> {
        let (to, ports) = (3 - from, if from == 1 { [40_000_u16, 80] } else { [80, 40_000] });
        let len = u8::try_from(40 + data.len()).expect("short data");
        let mut packet = vec![0x45, 0, 0, len, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
        packet.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        packet.extend([seq, ack].into_iter().flat_map(u32::to_be_bytes));
        packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(data);
        packet
    }

    #[test]
    fn the_first_data_is_read_for_the_host_if_that_is_asked_for() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n";
        for (asked, captured, data, host) in [
            (true, 200, REQUEST, Some("a.example")),
            (false, 200, REQUEST, None),
            (true, 60, REQUEST, None),
            (true, 40, REQUEST, None),
            (true, 200, b"220 Host: a.example\r\n", None),
        ] {
            let mut parser = Parser::new(1, [1; SEED_WORDS]);
            parser.set_first_byte(true);
            parser.set_server_name(asked);
            let mut see = |packet: &[u8]| {
                let bytes = Bytes { captured: &packet[..captured.min(packet.len())], wire_len: packet.len() };
                let seen = Sighting { ifindex: 1, egress: false, forwarded: false };
                let found = parser.packet(Link::Ip, bytes, None, 5, seen)?;
                Some(found.what.segment().request.as_deref().cloned())
            };
            assert_eq!(see(&segment(2, 0x12, [500, 101], &[])), Some(None));
            assert_eq!(see(&segment(1, 0x10, [101, 501], &[])), Some(None));
            let request = see(&segment(1, 0x18, [101, 501], data)).expect("it has the first octet");
            assert_eq!(request.and_then(|it| it.http_host).as_deref(), host, "{asked}, {captured} captured");
            assert_eq!(see(&segment(1, 0x18, [201, 501], data)), None);
        }
    }
}

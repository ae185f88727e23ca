//! A capture file as input of the tracker: each packet passes the header parser and the lifecycle test of the kernel
//! programs.

use super::{
    FileError, Files, LinkType, Packet, Position, Ready,
    files::NextFile,
    interfaces::Dropped,
    link::{self, Device, Dissected, Unseen},
    pending::Pending,
    timeline::{Placed, Stamp, TimeFaults, TimeLine},
};
use crate::{
    event::{CaptureStats, PassedOver, TracedInterface, TunnelCounts},
    filter::Filter,
    parse::{Found, LifecycleTest, Tunnels, UnansweredSyns},
    segment::{Direction, Input, LossReport, Observation, Timestamp},
    sweep::{PERIOD, PacketClock, Sweep},
};
use hashbrown::HashMap;
use std::sync::Arc;
use tcptrace_common::{
    abi::{Counters, SEED_WORDS},
    flow::known_seeds,
    record::Sighting,
    tcp::TcpFlags,
    wire::{
        Bytes, Unparsable,
        tunnel::{Decap, TunnelProtocol},
    },
};

/// How many packets one batch has at most, unless the options say otherwise.
const BATCH: usize = 4096;
/// The first number of the devices that are named in the headers of packets. It is above all numbers of interfaces that
/// a file describes.
const FIRST_DEVICE: u32 = 1 << 16;
/// The most devices that are numbered. No machine has more; the limit bounds the memory that a file can take.
const MAX_DEVICES: usize = 1 << 16;

/// How a capture file is searched for lifecycle segments.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The number of buckets of the pending-ACK table, rounded up to a power of two. Each bucket holds eight expected
    /// acknowledgements.
    pub buckets: usize,
    /// The keys of the hash that chooses a bucket.
    pub seeds: [u64; SEED_WORDS],
    /// The filter that a segment must pass to be reported, in the way that the kernel programs apply it.
    pub filter: Filter,
    /// The kinds of tunnels that are looked into, up to [`Tunnels::MOST`] within each other.
    pub decap: Decap,
    /// Whether the segments with the first data of each direction are found too.
    pub first_byte: bool,
    /// Whether the first data is read for the name of the server that is asked.
    pub server_name: bool,
    /// The most packets of one batch.
    pub batch: usize,
}

impl Default for CaptureOptions {
    /// Options with a table for half a million expected acknowledgements, of 4 MiB. The keys are always the
    /// same, because the same packets must give the same output, and it depends on the keys which acknowledgement is
    /// overwritten in a full bucket. A file made to fill one bucket makes its own connections incomplete, and costs no
    /// more time.
    fn default() -> Self {
        Self {
            buckets: 1 << 16,
            seeds: known_seeds(0),
            filter: Filter::default(),
            decap: Decap::NONE,
            first_byte: false,
            server_name: false,
            batch: BATCH,
        }
    }
}

/// The packet that a segment or an ICMP error was found in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// When the packet was captured, by the clock of the file.
    pub ts: Timestamp,
    /// The kind of header that `headers` begins with.
    pub link: LinkType,
    /// The bytes of the packet up to the end of its TCP header or its ICMP message, as far as they were captured.
    pub headers: &'a [u8],
    /// The length of the packet on the wire, in bytes.
    pub original_len: u32,
}

/// Two files that overlap in time: the second one begins before the one that was read before it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlap {
    /// The name of the file that was read before.
    pub before: String,
    /// The name of the file that begins too early.
    pub name: String,
    /// How long before the end of the earlier file it begins, in nanoseconds.
    pub ns: u64,
}

/// Reads capture files as a stream of segments and of ICMP errors that quote segments.
///
/// Both come in the order of the file. The times of a file may go backwards (it was merged from several, or a clock was
/// set), or be missing. The times of the segments go on all the same, and [`Input::Clock`] says where the clock of the
/// file is ahead of them by another amount than before.
pub struct PcapSource {
    files: Files,
    finder: SegmentFinder,
    batch: usize,
    /// The number of the reader's interfaces whose names were already queued in `finder.devices.names`.
    named: usize,
    /// The first overlap of two files until it is taken, and how many overlaps there are.
    overlap: Option<Overlap>,
    overlaps: u64,
    /// The error that ended the file. It is returned after the segments that came before it.
    error: Option<FileError>,
    ended: bool,
}

impl PcapSource {
    /// A source over one reader, or over several files one after the other.
    #[must_use]
    pub fn new(files: impl Into<Files>, options: &CaptureOptions) -> Self {
        Self {
            files: files.into(),
            finder: SegmentFinder::new(options),
            batch: options.batch,
            named: 0,
            overlap: None,
            overlaps: 0,
            error: None,
            ended: false,
        }
    }

    /// Appends what the next packets say of connections to `out`, and returns false at the end. From a pipe it reads
    /// the packets that have arrived, and waits for one if there is none. An error is returned when everything before
    /// it was delivered.
    pub fn next_batch(&mut self, out: &mut Vec<Input>) -> Result<bool, FileError> {
        self.next_batch_with(out, |_, _| {})
    }

    /// Reads a batch like [`Self::next_batch`], and calls `tap` with each segment or ICMP error and the packet that it
    /// was found in. The time of the observation is then still that of the file.
    pub fn next_batch_with(
        &mut self,
        out: &mut Vec<Input>,
        mut tap: impl FnMut(&Observation, Captured<'_>),
    ) -> Result<bool, FileError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let before = out.len();
        for number in 0..self.batch {
            if self.ended {
                break;
            }
            if let Some(packet) = self.files.reader().at_hand() {
                self.finder.packet(&packet, out, &mut tap);
                continue;
            }
            // Only the first packet of a batch is waited for.
            let error = match self.files.reader().get(number == 0) {
                Ok(Ready::Packet(packet)) => {
                    self.finder.packet(&packet, out, &mut tap);
                    continue;
                }
                Ok(Ready::Later) => break,
                Ok(Ready::End) => match self.open_next(out) {
                    Ok(true) => continue,
                    Ok(false) => None,
                    Err(error) => Some(error),
                },
                Err(error) => Some(error),
            };
            self.ended = true;
            self.finder.release(None, out);
            match error {
                Some(error) if out.len() == before => return Err(error),
                error => self.error = error,
            }
            break;
        }
        self.name_interfaces();
        Ok(!self.ended || self.error.is_some())
    }

    /// Opens the next file, and returns false if there is none.
    fn open_next(&mut self, out: &mut Vec<Input>) -> Result<bool, FileError> {
        self.finder.release(None, out);
        self.name_interfaces();
        let Some(NextFile { before, name, first }) = self.files.open_next()? else { return Ok(false) };
        if let Some(ns) = first.and_then(|first| self.finder.times.begin_file(first)) {
            self.overlaps += 1;
            if self.overlaps == 1 {
                self.overlap = Some(Overlap { before, name, ns });
            }
        }
        Ok(true)
    }

    /// The first overlap of two files, for the first call after it was found.
    pub const fn take_overlap(&mut self) -> Option<Overlap> {
        self.overlap.take()
    }

    /// How many files begin before the file that was read before them ends.
    #[must_use]
    pub const fn overlaps(&self) -> u64 {
        self.overlaps
    }

    /// The number of files that have not been begun.
    #[must_use]
    pub fn files_waiting(&self) -> usize {
        self.files.waiting()
    }

    /// How far the files were read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.files.position()
    }

    /// The time of the latest packet so far, whatever the packet was.
    #[must_use]
    pub const fn last_packet(&self) -> Timestamp {
        self.finder.times.latest()
    }

    /// The counters of the kernel programs, with what was counted so far. The ring is never full here.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.finder.counters
    }

    /// The number of expected acknowledgements that were given up, because none came for minutes of the time of the
    /// packets.
    #[must_use]
    pub const fn pending_expired(&self) -> u64 {
        self.finder.sweep.freed()
    }

    /// The link types that are not known, each with the number of its packets. These packets are counted in
    /// [`Self::counters`], and are not parsed.
    #[must_use]
    pub fn unknown_links(&self) -> &[(LinkType, u64)] {
        &self.finder.unknown_links
    }

    /// What the file lacks and what of it could not be used, as far as it was read.
    #[must_use]
    pub fn capture(&self) -> CaptureStats {
        let SegmentFinder { times, oddities, .. } = &self.finder;
        let TimeFaults { back, back_most_ns, missing, .. } = times.faults();
        let Dropped { by_interface, by_system } = self.files.dropped();
        CaptureStats {
            dropped_by_interface: by_interface,
            dropped_by_system: by_system,
            dropped_between_packets: oddities.dropped,
            cut_too_short: oddities.cut,
            time_went_back: back,
            time_went_back_most_ns: back_most_ns,
            without_time: missing,
            tunnels_passed_over: TunnelCounts::of(oddities.tunnels),
            passed_over: oddities.passed_over,
        }
    }

    /// Whether the packets may be of several interfaces: the file describes several before its first packet, or each
    /// packet names its own.
    pub fn has_many_interfaces(&mut self) -> bool {
        self.files.have_many_interfaces()
    }

    /// The interfaces that the file has named so far.
    #[must_use]
    pub fn named(&self) -> Vec<TracedInterface> {
        let names = self.files.named().filter_map(|interface| interface.name.as_deref());
        names.map(|name| TracedInterface { name: name.to_owned(), index: None, netns: None }).collect()
    }

    /// The names of interfaces that became known since the last call, each with the number that segments have. A file
    /// need not name any.
    pub fn new_names(&mut self) -> impl Iterator<Item = (u32, Arc<str>)> + '_ {
        self.finder.devices.names.drain(..)
    }

    fn name_interfaces(&mut self) {
        let all = self.files.interfaces();
        for (number, interface) in (0..).zip(all).skip(self.named) {
            if let Some(name) = &interface.name {
                self.finder.devices.names.push((number, Arc::clone(name)));
            }
        }
        self.named = all.len();
    }
}

/// The state that the search for lifecycle segments keeps from packet to packet.
struct SegmentFinder {
    table: Pending,
    sweep: Sweep,
    packet_clock: PacketClock,
    seeds: [u64; SEED_WORDS],
    filter: Filter,
    counters: Counters,
    tunnels: Tunnels,
    server_name: bool,
    unanswered: UnansweredSyns,
    unknown_links: Vec<(LinkType, u64)>,
    devices: Devices,
    times: TimeLine,
    oddities: Oddities,
    /// The sum of the lengths on the wire of all packets so far, in octets.
    passed: u64,
    /// The inputs that came of a packet whose time is decided with the next packet.
    held: Vec<Input>,
}

impl SegmentFinder {
    fn new(options: &CaptureOptions) -> Self {
        let table = Pending::new(options.buckets, options.first_byte);
        Self {
            sweep: Sweep::new(table.words(), PERIOD, Timestamp::default()),
            packet_clock: PacketClock::default(),
            table,
            seeds: options.seeds,
            filter: options.filter.clone(),
            counters: Counters::default(),
            tunnels: Tunnels { decap: options.decap, levels: Tunnels::MOST },
            server_name: options.server_name,
            unanswered: UnansweredSyns::new(),
            unknown_links: Vec::new(),
            devices: Devices::default(),
            times: TimeLine::new(),
            oddities: Oddities::default(),
            passed: 0,
            held: Vec::new(),
        }
    }

    /// Appends what a packet says of a connection to `out`, and shows it to `tap`.
    #[inline]
    fn packet(
        &mut self,
        packet: &Packet<'_>,
        out: &mut Vec<Input>,
        tap: &mut impl FnMut(&Observation, Captured<'_>),
    ) {
        self.counters.packets += 1;
        let placed = self.place_in_time(packet, out);
        let mut dissected = Dissected::NOTHING;
        if link::dissect(packet, &self.tunnels.decap, &mut dissected).is_err() {
            count_unknown_link(&mut self.unknown_links, packet.link);
            return;
        }
        if let Some(unseen) = dissected.unseen {
            self.oddities.count_unseen(unseen);
        }
        let overwrites = self.counters.pending_overwrites;
        if let Some(mut found) = self.lifecycle_test(packet, &dissected) {
            let overwritten = self.counters.pending_overwrites != overwrites;
            found.record.what.segment_mut().direction = dissected.direction;
            let headers = &packet.data[..(dissected.at + found.end).min(packet.data.len())];
            let Packet { ts, link, original_len, .. } = *packet;
            tap(&found.record.what, Captured { ts, link, headers, original_len });
            self.push_observation(found, placed, overwritten, out);
        }
    }

    /// Finds out when a packet was captured, and reports what its arrival alone shows: expired acknowledgements and
    /// lost packets.
    #[inline(always)]
    fn place_in_time(&mut self, packet: &Packet<'_>, out: &mut Vec<Input>) -> Placed {
        if self.times.is_holding() {
            self.release(Some(packet.ts), out);
        }
        let before = self.times.latest();
        let placed = self.times.place(packet.interface, packet.ts);
        if let Some(ns) = self.sweep.step(self.packet_clock.at(self.times.latest()), &mut self.table) {
            out.push(Input::Overwritten(self.times.latest().before(ns)));
        }
        self.passed = self.passed.saturating_add(packet.original_len.into());
        if packet.dropped > 0 {
            self.oddities.dropped += packet.dropped;
            // Where the time of the packet is not known yet, the loss still needs an end after its beginning.
            let until = self.times.latest().max(before.plus(1));
            out.push(Input::Lost(LossReport { records: packet.dropped, after: before, until }));
        }
        placed
    }

    /// Runs the lifecycle test over a parsed packet, and counts a packet that the capture cut too short.
    #[inline]
    fn lifecycle_test(&mut self, packet: &Packet<'_>, dissected: &Dissected) -> Option<Found> {
        let truncated = self.counters.unparsable[Unparsable::Truncated as usize];
        let mut test = LifecycleTest {
            table: &mut self.table,
            seeds: &self.seeds,
            filter: self.filter.steps(),
            counters: &mut self.counters,
            tunnels: &self.tunnels,
            unanswered: Some(&mut self.unanswered),
            server_name: self.server_name,
        };
        let from = Bytes {
            captured: packet.data.get(dissected.at..).unwrap_or_default(),
            wire_len: dissected.wire_len,
        };
        let devices = &mut self.devices;
        let found = test.packet(&dissected.parsed, from, packet.ts.0, || devices.sighting(packet, dissected));
        let cut = packet.data.len() < packet.original_len as usize;
        if cut && self.counters.unparsable[Unparsable::Truncated as usize] > truncated {
            self.oddities.cut += 1;
        }
        found
    }

    /// Appends an observation to `out`, or holds it until its time is known. `overwritten` says that its record took
    /// the place of an expected acknowledgement in the table.
    #[inline(always)]
    fn push_observation(
        &mut self,
        mut found: Found,
        placed: Placed,
        overwritten: bool,
        out: &mut Vec<Input>,
    ) {
        let (to, ts) = match placed {
            Placed::At(stamp) => {
                let ts = report_time(&mut self.times, stamp, out);
                (out, ts)
            }
            Placed::Held => (&mut self.held, found.record.what.segment().ts),
        };
        found.record.what.segment_mut().ts = ts;
        // The tracker needs the count of octets up to the segments that end a connection.
        let closes = found.record.what.segment().flags.intersects(TcpFlags::FIN.union(TcpFlags::RST));
        to.extend(overwritten.then_some(Input::Overwritten(ts)));
        to.extend(closes.then_some(Input::Passed(self.passed)));
        to.push(found.record.what.into());
    }

    /// Appends what came of the packet that was held, now that the next packet, or the end of the file, decides on its
    /// time.
    #[cold]
    fn release(&mut self, next: Option<Timestamp>, out: &mut Vec<Input>) {
        let Some(stamp) = self.times.decide(next) else { return };
        if self.held.is_empty() {
            return;
        }
        let ts = report_time(&mut self.times, stamp, out);
        out.extend(self.held.drain(..).map(|mut input| {
            match &mut input {
                Input::Segment(segment) => segment.ts = ts,
                Input::Icmp(error) => error.quoted.ts = ts,
                Input::Overwritten(until) => *until = ts,
                Input::Lost(_)
                | Input::Admission(_)
                | Input::Clock(_)
                | Input::Accepted(_)
                | Input::AcceptQueue(..)
                | Input::Passed(_)
                | Input::Tick(_) => {}
            }
            input
        }));
    }
}

/// Returns the time for an observation with this stamp, after it has appended the change of the clock before it, if
/// any.
#[inline]
fn report_time(times: &mut TimeLine, stamp: Stamp, out: &mut Vec<Input>) -> Timestamp {
    let (ts, change) = times.report(stamp);
    out.extend(change.map(Input::Clock));
    ts
}

/// What is counted of a file besides its segments.
#[derive(Default)]
struct Oddities {
    dropped: u64,
    cut: u64,
    tunnels: [u64; TunnelProtocol::COUNT],
    passed_over: PassedOver,
}

impl Oddities {
    #[cold]
    fn count_unseen(&mut self, unseen: Unseen) {
        let all = &mut self.passed_over;
        *match unseen {
            Unseen::Tunnel(kind) => &mut self.tunnels[kind.index()],
            Unseen::Pbb => &mut all.pbb,
            Unseen::WirelessInGre => &mut all.gre_ieee802_11,
            Unseen::Teredo => &mut all.teredo,
            Unseen::Ayiya => &mut all.ayiya,
            Unseen::WirelessInTzsp => &mut all.tzsp_ieee802_11,
        } += 1;
    }
}

/// The numbers of the devices that packets name in their own headers.
#[derive(Default)]
struct Devices {
    numbers: HashMap<(u32, u32), u32>,
    by_name: HashMap<Box<str>, u32>,
    /// Names that [`PcapSource::new_names`] has not returned yet, also of interfaces that the file describes.
    names: Vec<(u32, Arc<str>)>,
}

impl Devices {
    #[inline]
    fn sighting(&mut self, packet: &Packet<'_>, dissected: &Dissected) -> Sighting {
        let ifindex = match dissected.device {
            None => packet.interface,
            Some(Device::Index(device)) => self.number(packet.interface, device),
            Some(Device::Named { at, len }) => {
                let name = packet.data.get(at..at + len).unwrap_or_default();
                self.number_by_name(packet.interface, name.split(|&octet| octet == 0).next().unwrap_or(name))
            }
        };
        Sighting { ifindex, egress: dissected.direction == Direction::Egress, forwarded: false }
    }

    /// The number of a device that the header of a packet names by its index. The same packet on two devices is two
    /// sightings, as it is to the kernel programs.
    fn number(&mut self, interface: u32, device: u32) -> u32 {
        if let Some(&number) = self.numbers.get(&(interface, device)) {
            return number;
        }
        let Some(number) = self.next_number() else { return interface };
        self.numbers.insert((interface, device), number);
        self.names.push((number, format!("if{device}").into()));
        number
    }

    /// The number of a device that the header of a packet names by its name.
    fn number_by_name(&mut self, interface: u32, name: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(name);
        if let Some(&number) = self.by_name.get(&*name) {
            return number;
        }
        let Some(number) = self.next_number() else { return interface };
        self.by_name.insert((&*name).into(), number);
        self.names.push((number, (&*name).into()));
        number
    }

    /// A number that no device has yet; `None` where [`MAX_DEVICES`] are numbered.
    fn next_number(&self) -> Option<u32> {
        let known = self.numbers.len() + self.by_name.len();
        (known < MAX_DEVICES).then(|| FIRST_DEVICE + u32::try_from(known).unwrap_or_default())
    }
}

#[cold]
fn count_unknown_link(links: &mut Vec<(LinkType, u64)>, link: LinkType) {
    match links.iter_mut().find(|(known, _)| *known == link) {
        Some((_, packets)) => *packets += 1,
        None => links.push((link, 1)),
    }
}

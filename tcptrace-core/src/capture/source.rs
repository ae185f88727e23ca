//! A capture file as the tracker's input: the parser and the lifecycle test of the kernel programs over each packet.

use super::{
    FileError, Files, LinkType, Packet, Position, Ready,
    files::Next,
    interfaces::Dropped,
    link::{self, Device, Look, Unseen},
    pending::Pending,
    timeline::{Placed, Stamp, TimeLine, Times},
};
use crate::{
    event::{CaptureStats, PassedOver, TracedInterface, TunnelCounts},
    filter::Filter,
    parse::{Found, Test, Tunnels, Unheard},
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
        tunnel::{Decap, Kind},
    },
};

/// Packets looked at in one batch.
const BATCH: usize = 4096;
/// Devices named in packets' own headers get numbers from here on, above all those that the file describes.
const FIRST_DEVICE: u32 = 1 << 16;
/// More devices than any machine has; it bounds what a file can make us remember.
const MAX_DEVICES: usize = 1 << 16;

/// How to look for lifecycle segments.
#[derive(Clone, Debug)]
pub struct Options {
    /// Buckets of the pending-ACK table, rounded up to a power of two. Each holds eight expected acknowledgements.
    pub buckets: usize,
    /// Keys of its hash.
    pub seeds: [u64; SEED_WORDS],
    /// Which segments are wanted, as the kernel programs ask.
    pub filter: Filter,
    /// Which tunnels are looked into; of those within each other three.
    pub decap: Decap,
    /// Packets of a batch, at most.
    pub batch: usize,
}

impl Default for Options {
    /// Half a million expected acknowledgements in 4 MiB. The keys are always the same, as the same packets are to give
    /// the same output: which acknowledgement gives way in a full bucket depends on them. A file made to fill a bucket
    /// makes its own connections incomplete, and no more work.
    fn default() -> Self {
        Self {
            buckets: 1 << 16,
            seeds: known_seeds(0),
            filter: Filter::default(),
            decap: Decap::NONE,
            batch: BATCH,
        }
    }
}

/// The packet behind a segment or an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// When, by the file.
    pub ts: Timestamp,
    /// What its first header is.
    pub link: LinkType,
    /// Up to the end of its TCP header or its ICMP message, as far as that was captured.
    pub headers: &'a [u8],
    /// How long it was on the wire.
    pub original_len: u32,
}

/// A file that begins before the one read before it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlap {
    /// The one before.
    pub before: String,
    /// The one that begins then.
    pub name: String,
    /// By so much.
    pub ns: u64,
}

/// Reads a capture file as segments, and as ICMP errors that quote them.
///
/// They come in the file's order. The file's times may go backwards (a file put together from several, a clock that was
/// set), or be none: [`Input::Clock`] says where, and the times that segments have here go on.
pub struct PcapSource {
    files: Files,
    finder: Finder,
    batch: usize,
    /// Interfaces of the reader whose names are told, or about to be.
    named: usize,
    /// The first file that begins before the one read before it ends, until it is told; and how many there are.
    overlap: Option<Overlap>,
    overlaps: u64,
    /// What ended the file, to be told after what came before it.
    error: Option<FileError>,
    ended: bool,
}

impl PcapSource {
    /// Reads what a reader has, or several one after the other.
    #[must_use]
    pub fn new(files: impl Into<Files>, options: &Options) -> Self {
        Self {
            files: files.into(),
            finder: Finder::new(options),
            batch: options.batch,
            named: 0,
            overlap: None,
            overlaps: 0,
            error: None,
            ended: false,
        }
    }

    /// Appends what the next packets say of connections to `out`; false when there are no more. From a pipe these are
    /// the packets that have arrived, and at least one.
    pub fn next_batch(&mut self, out: &mut Vec<Input>) -> Result<bool, FileError> {
        self.next_batch_with(out, |_, _| {})
    }

    /// The same, with a look at the packet behind each of these, whose time is there the file's own.
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
            // The first one is waited for.
            let reader = self.files.reader();
            let ready = if number == 0 { reader.next().map(Ready::from) } else { reader.next_ready() };
            let error = match ready {
                Ok(Ready::Packet(packet)) => {
                    self.finder.packet(&packet, out, &mut tap);
                    continue;
                }
                Ok(Ready::Later) => break,
                Ok(Ready::End) => match self.go_on(out) {
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

    /// Goes on to the next file, if there is one.
    fn go_on(&mut self, out: &mut Vec<Input>) -> Result<bool, FileError> {
        self.finder.release(None, out);
        self.name_interfaces();
        let Some(Next { before, name, first }) = self.files.go_on()? else { return Ok(false) };
        if let Some(ns) = first.and_then(|first| self.finder.times.begin_file(first)) {
            self.overlaps += 1;
            if self.overlaps == 1 {
                self.overlap = Some(Overlap { before, name, ns });
            }
        }
        Ok(true)
    }

    /// The first file that begins before the one read before it ends, once.
    pub const fn take_overlap(&mut self) -> Option<Overlap> {
        self.overlap.take()
    }

    /// How many files begin before the one read before them ends.
    #[must_use]
    pub const fn overlaps(&self) -> u64 {
        self.overlaps
    }

    /// Files whose turn has not come.
    #[must_use]
    pub fn files_waiting(&self) -> usize {
        self.files.waiting()
    }

    /// How far the file was read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.files.position()
    }

    /// The time of the last packet so far, whatever it was.
    #[must_use]
    pub const fn last_packet(&self) -> Timestamp {
        self.finder.times.latest()
    }

    /// What was counted so far, as the kernel programs count it. No ring is ever full here.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.finder.counters
    }

    /// Expected acknowledgements that were given up, as none came for minutes of the packets' own time.
    #[must_use]
    pub const fn pending_expired(&self) -> u64 {
        self.finder.sweep.freed()
    }

    /// Packets whose link type is not known, by link type. They count as packets and are not looked into.
    #[must_use]
    pub fn unknown_links(&self) -> &[(LinkType, u64)] {
        &self.finder.unknown_links
    }

    /// What the file lacks, and what of it was not understood, as far as it was read.
    #[must_use]
    pub fn capture(&self) -> CaptureStats {
        let Finder { times, odd, .. } = &self.finder;
        let Times { back, back_most_ns, missing, .. } = times.times();
        let Dropped { by_interface, by_system } = self.files.dropped();
        CaptureStats {
            dropped_by_interface: by_interface,
            dropped_by_system: by_system,
            dropped_between_packets: odd.dropped,
            cut_too_short: odd.cut,
            time_went_back: back,
            time_went_back_most_ns: back_most_ns,
            without_time: missing,
            tunnels_passed_over: TunnelCounts::of(odd.tunnels),
            passed_over: odd.passed_over,
        }
    }

    /// Its packets are of several interfaces, by what it says before the first of them, or name theirs each.
    pub fn has_many_interfaces(&mut self) -> bool {
        self.files.have_many_interfaces()
    }

    /// The interfaces that it has named so far, as it names them.
    #[must_use]
    pub fn named(&self) -> Vec<TracedInterface> {
        let names = self.files.named().filter_map(|interface| interface.name.as_deref());
        names.map(|name| TracedInterface { name: name.to_owned(), index: None, netns: None }).collect()
    }

    /// Names of interfaces that were not known when this was last asked, by the number that segments have. A file
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

/// What packets are looked at with, and what is known of those so far.
struct Finder {
    table: Pending,
    sweep: Sweep,
    packet_clock: PacketClock,
    seeds: [u64; SEED_WORDS],
    filter: Filter,
    counters: Counters,
    tunnels: Tunnels,
    unheard: Unheard,
    unknown_links: Vec<(LinkType, u64)>,
    devices: Devices,
    times: TimeLine,
    odd: Odd,
    /// Octets of all packets on the wire.
    passed: u64,
    /// What came of a packet whose time the next one decides on.
    held: Vec<Input>,
}

impl Finder {
    fn new(options: &Options) -> Self {
        let table = Pending::new(options.buckets);
        Self {
            sweep: Sweep::new(table.words(), PERIOD, Timestamp::default()),
            packet_clock: PacketClock::default(),
            table,
            seeds: options.seeds,
            filter: options.filter.clone(),
            counters: Counters::default(),
            tunnels: Tunnels { decap: options.decap, levels: Tunnels::MOST },
            unheard: Unheard::new(),
            unknown_links: Vec::new(),
            devices: Devices::default(),
            times: TimeLine::new(),
            odd: Odd::default(),
            passed: 0,
            held: Vec::new(),
        }
    }

    /// Appends what a packet says to `out`, and shows it to `tap` if it says anything of a connection.
    #[inline]
    fn packet(
        &mut self,
        packet: &Packet<'_>,
        out: &mut Vec<Input>,
        tap: &mut impl FnMut(&Observation, Captured<'_>),
    ) {
        self.counters.packets += 1;
        let placed = self.place(packet, out);
        let Ok(look) = link::look(packet, &self.tunnels.decap) else {
            count(&mut self.unknown_links, packet.link);
            return;
        };
        if let Some(unseen) = look.unseen {
            self.odd.note(unseen);
        }
        let overwrites = self.counters.pending_overwrites;
        if let Some(Found { record, end }) = self.test(packet, &look) {
            let overwritten = self.counters.pending_overwrites != overwrites;
            let mut what = record.what;
            what.segment_mut().direction = look.direction;
            let headers = &packet.data[..(look.at + end).min(packet.data.len())];
            let Packet { ts, link, original_len, .. } = *packet;
            tap(&what, Captured { ts, link, headers, original_len });
            self.tell(what, placed, overwritten, out);
        }
    }

    /// When a packet was captured, and what its coming shows, whatever is in it.
    #[inline(always)]
    fn place(&mut self, packet: &Packet<'_>, out: &mut Vec<Input>) -> Placed {
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
            self.odd.dropped += packet.dropped;
            // Of one whose time is not believed yet: until some later moment than before.
            let until = self.times.latest().max(before.plus(1));
            out.push(Input::Lost(LossReport { records: packet.dropped, after: before, until }));
        }
        placed
    }

    /// The lifecycle test.
    #[inline]
    fn test(&mut self, packet: &Packet<'_>, look: &Look) -> Option<Found> {
        let truncated = self.counters.unparsable[Unparsable::Truncated as usize];
        let mut test = Test {
            table: &mut self.table,
            seeds: &self.seeds,
            filter: self.filter.steps(),
            counters: &mut self.counters,
            tunnels: &self.tunnels,
            unheard: Some(&mut self.unheard),
        };
        let from =
            Bytes { captured: packet.data.get(look.at..).unwrap_or_default(), wire_len: look.wire_len };
        let devices = &mut self.devices;
        let found = test.packet(&look.parsed, from, packet.ts.0, || devices.sighting(packet, look));
        let cut = packet.data.len() < packet.original_len as usize;
        if cut && self.counters.unparsable[Unparsable::Truncated as usize] > truncated {
            self.odd.cut += 1;
        }
        found
    }

    /// Tells what a packet says, or keeps that until its time is known; `overwritten` if it took the place of an expected
    /// acknowledgement.
    #[inline]
    fn tell(&mut self, mut what: Observation, placed: Placed, overwritten: bool, out: &mut Vec<Input>) {
        let (to, ts) = match placed {
            Placed::At(stamp) => {
                let ts = tell(&mut self.times, stamp, out);
                (out, ts)
            }
            Placed::Held => (&mut self.held, what.segment().ts),
        };
        what.segment_mut().ts = ts;
        // Bytes are counted to there.
        let closes = what.segment().flags.intersects(TcpFlags::FIN.union(TcpFlags::RST));
        to.extend(overwritten.then_some(Input::Overwritten(ts)));
        to.extend(closes.then_some(Input::Passed(self.passed)));
        to.push(what.into());
    }

    /// Lets go of what came of a packet that was held, now that the next one is there, or none will be.
    #[cold]
    fn release(&mut self, next: Option<Timestamp>, out: &mut Vec<Input>) {
        let Some(stamp) = self.times.decide(next) else { return };
        if self.held.is_empty() {
            return;
        }
        let ts = tell(&mut self.times, stamp, out);
        out.extend(self.held.drain(..).map(|mut input| {
            match &mut input {
                Input::Segment(segment) => segment.ts = ts,
                Input::Icmp(error) => error.quoted.ts = ts,
                Input::Overwritten(until) => *until = ts,
                Input::Lost(_)
                | Input::Admission(_)
                | Input::Clock(_)
                | Input::Passed(_)
                | Input::Tick(_) => {}
            }
            input
        }));
    }
}

/// The time of what is told now, after what changed about the clock before it.
#[inline]
fn tell(times: &mut TimeLine, stamp: Stamp, out: &mut Vec<Input>) -> Timestamp {
    let (ts, change) = times.tell(stamp);
    out.extend(change.map(Input::Clock));
    ts
}

/// What there is to tell of a file besides its segments.
#[derive(Default)]
struct Odd {
    dropped: u64,
    cut: u64,
    tunnels: [u64; Kind::COUNT],
    passed_over: PassedOver,
}

impl Odd {
    #[cold]
    fn note(&mut self, unseen: Unseen) {
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

/// The numbers of devices that packets' own headers name.
#[derive(Default)]
struct Devices {
    numbers: HashMap<(u32, u32), u32>,
    by_name: HashMap<Box<str>, u32>,
    /// Names to be told, of interfaces that the file describes too.
    names: Vec<(u32, Arc<str>)>,
}

impl Devices {
    #[inline]
    fn sighting(&mut self, packet: &Packet<'_>, look: &Look) -> Sighting {
        let ifindex = match look.device {
            None => packet.interface,
            Some(Device::Index(device)) => self.number(packet.interface, device),
            Some(Device::Named { at, len }) => {
                let name = packet.data.get(at..at + len).unwrap_or_default();
                self.number_by_name(packet.interface, name.split(|&octet| octet == 0).next().unwrap_or(name))
            }
        };
        Sighting { ifindex, egress: look.direction == Direction::Egress, forwarded: false }
    }

    /// The number of a device that a packet's own header names: the same packet on two devices is two sightings, as
    /// it is to the kernel programs.
    fn number(&mut self, interface: u32, device: u32) -> u32 {
        if let Some(&number) = self.numbers.get(&(interface, device)) {
            return number;
        }
        let Some(number) = self.next() else { return interface };
        self.numbers.insert((interface, device), number);
        self.names.push((number, format!("if{device}").into()));
        number
    }

    /// The same of one that it calls by its name.
    fn number_by_name(&mut self, interface: u32, name: &[u8]) -> u32 {
        let name = String::from_utf8_lossy(name);
        if let Some(&number) = self.by_name.get(&*name) {
            return number;
        }
        let Some(number) = self.next() else { return interface };
        self.by_name.insert((&*name).into(), number);
        self.names.push((number, (&*name).into()));
        number
    }

    /// A number that none has yet; `None` if there are too many.
    fn next(&self) -> Option<u32> {
        let known = self.numbers.len() + self.by_name.len();
        (known < MAX_DEVICES).then(|| FIRST_DEVICE + u32::try_from(known).unwrap_or_default())
    }
}

#[cold]
fn count(links: &mut Vec<(LinkType, u64)>, link: LinkType) {
    match links.iter_mut().find(|(known, _)| *known == link) {
        Some((_, packets)) => *packets += 1,
        None => links.push((link, 1)),
    }
}

impl<'a> From<Option<Packet<'a>>> for Ready<'a> {
    fn from(packet: Option<Packet<'a>>) -> Self {
        packet.map_or(Ready::End, Ready::Packet)
    }
}

//! The packets of a file, one after the other.

use super::{
    Damage, FileError, Foreign, Interface, LinkType, Packet, Place,
    classic::{self, Classic},
    interfaces::{Dropped, Interfaces},
    ng::{self, Kind, Layout, Order},
    open::{self, Opened, Unread},
    time::Clock,
    window::{Fill, Window},
};
use crate::segment::{Direction, Timestamp};
use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes that are looked at to name a format that is not ours.
const LOOK: usize = 4096;

/// How far a file was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Bytes of the file itself, compressed ones if it is.
    pub bytes: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
    /// Packets.
    pub packets: u64,
}

/// A packet, if there is one without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready<'a> {
    /// There is.
    Packet(Packet<'a>),
    /// The next one has not arrived whole.
    Later,
    /// There will be none.
    End,
}

/// Reads a capture file.
pub struct Reader {
    window: Window,
    name: String,
    /// Bytes read from the file, where the window's offset is not that.
    read: Option<Arc<AtomicU64>>,
    total: Option<u64>,
    compressed: bool,
    format: Format,
    interfaces: Interfaces,
    packets: u64,
    /// Bytes of the packet that was given out last.
    given: usize,
    /// Where the last block began that was passed over.
    passed: u64,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Format {
    Classic(Classic),
    Ng(Order),
}

/// A packet as places from where the window stands.
#[derive(Clone, Copy)]
struct Head {
    ts: Timestamp,
    link: LinkType,
    interface: u32,
    direction: Direction,
    original_len: u32,
    dropped: u64,
    at: usize,
    captured: usize,
    /// From where the window stands to the next packet or block.
    len: usize,
}

enum Step {
    Packet(Head),
    /// A block without a packet.
    Passed,
    Later,
    End,
}

impl Reader {
    /// Opens a file; `-` is the standard input. Waits for the first bytes.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::read(Self::find(path)?)
    }

    /// Opens a file, or the standard input for `-`, and reads nothing.
    pub fn find(path: &Path) -> Result<Unread, FileError> {
        open::find(path)
    }

    /// Reads what was opened. Waits for the first bytes.
    pub fn read(unread: Unread) -> Result<Self, FileError> {
        Self::begin(open::begin(unread)?)
    }

    /// Reads from anything; `name` is what errors call it.
    pub fn from_read(name: &str, read: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::begin(open::stream(name.to_owned(), Box::new(read))?)
    }

    fn begin(opened: Opened) -> Result<Self, FileError> {
        let Opened { window, name, read, total, compressed } = opened;
        let mut reader = Self {
            window,
            name,
            read,
            total,
            compressed,
            // Until the first bytes say what it is.
            format: Format::Ng(Order::LITTLE),
            interfaces: Interfaces::default(),
            packets: 0,
            given: 0,
            passed: 0,
            ended: false,
        };
        reader.recognize()?;
        Ok(reader)
    }

    /// The interfaces that packets so far can name, by number. A file may describe more as it goes on.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.all()
    }

    /// What errors call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When its first packet was captured, if it says so; nothing is taken of it. Waits for the packet.
    pub(super) fn first_time(&mut self) -> Option<Timestamp> {
        loop {
            let step = match self.format {
                Format::Classic(classic) => self.classic(&classic, true),
                Format::Ng(_) => self.one_block(true),
            };
            match step {
                Ok(Step::Passed) => {}
                Ok(Step::Packet(head)) => return Some(head.ts).filter(|&ts| ts != Timestamp::UNKNOWN),
                // An error will come again when it is read on.
                Ok(Step::Later | Step::End) | Err(_) => return None,
            }
        }
    }

    /// The interfaces that the present section described so far.
    pub(super) fn described(&self) -> Interfaces {
        self.interfaces.clone()
    }

    /// Goes on from another file as if that and this one were sections of one.
    pub(super) fn follow(&mut self, before: Self) -> Result<(), FileError> {
        let own = std::mem::take(&mut self.interfaces);
        self.interfaces = own.after(before.interfaces).map_err(|damage| self.damaged(damage))?;
        if let Format::Classic(classic) = &mut self.format {
            classic.interface = self.interfaces.get(0).map_or(0, |described| described.number);
        }
        Ok(())
    }

    /// How far the file was read.
    #[must_use]
    pub fn position(&self) -> Position {
        let bytes = match &self.read {
            Some(read) => read.load(Ordering::Relaxed),
            None => self.window.offset() + self.given as u64,
        };
        Position { bytes, total: self.total, packets: self.packets }
    }

    /// The next packet; waits for it if need be. After the end, and after an error, there is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "the packet borrows from the reader; an iterator's cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, FileError> {
        Ok(match self.get(true)? {
            Ready::Packet(packet) => Some(packet),
            Ready::Later | Ready::End => None,
        })
    }

    /// The next packet, if it needs no waiting for.
    pub fn next_ready(&mut self) -> Result<Ready<'_>, FileError> {
        self.get(false)
    }

    #[inline]
    fn get(&mut self, wait: bool) -> Result<Ready<'_>, FileError> {
        if self.ended {
            return Ok(Ready::End);
        }
        self.window.step(self.given);
        self.given = 0;
        let step = match self.format {
            Format::Classic(classic) => self.classic(&classic, wait),
            Format::Ng(_) => self.block(wait),
        };
        match step {
            Ok(Step::Packet(head)) => {
                self.packets += 1;
                self.given = head.len;
                Ok(Ready::Packet(Packet {
                    ts: head.ts,
                    link: head.link,
                    interface: head.interface,
                    direction: head.direction,
                    data: &self.window.bytes()[head.at..head.at + head.captured],
                    original_len: head.original_len,
                    dropped: head.dropped,
                }))
            }
            Ok(Step::Later | Step::Passed) => Ok(Ready::Later),
            Ok(Step::End) => {
                self.ended = true;
                Ok(Ready::End)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// The next packet of a pcap file.
    #[inline]
    fn classic(&mut self, classic: &Classic, wait: bool) -> Result<Step, FileError> {
        if let Some(head) = self.classic_here(classic)? {
            return Ok(Step::Packet(head));
        }
        match self.want(classic.header, "a packet's header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(Step::Later),
            Fill::End => return Ok(Step::End),
        }
        let header = self.window.bytes().first_chunk().copied().unwrap_or_default();
        let head = classic.head(&header).map_err(|damage| self.damaged(damage))?;
        match self.want(classic.header + head.captured as usize, "a packet", wait)? {
            Fill::Ready => Ok(self.classic_here(classic)?.map_or(Step::End, Step::Packet)),
            Fill::Later => Ok(Step::Later),
            Fill::End => Ok(Step::End),
        }
    }

    /// The same, if it is in reach: nearly always, and with one look at where the window stands.
    #[inline]
    fn classic_here(&self, classic: &Classic) -> Result<Option<Head>, FileError> {
        let bytes = self.window.bytes();
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        let head = classic.head(header).map_err(|damage| self.damaged(damage))?;
        let captured = head.captured as usize;
        let len = classic.header + captured;
        if bytes.len() < len {
            return Ok(None);
        }
        Ok(Some(Head {
            ts: classic.time(head),
            link: classic.link,
            interface: classic.interface,
            direction: Direction::Unknown,
            original_len: head.original,
            dropped: 0,
            at: classic.header,
            captured,
            len,
        }))
    }

    /// The next packet of a pcapng file.
    fn block(&mut self, wait: bool) -> Result<Step, FileError> {
        loop {
            match self.one_block(wait)? {
                Step::Passed => {}
                step => return Ok(step),
            }
        }
    }

    #[inline]
    fn one_block(&mut self, wait: bool) -> Result<Step, FileError> {
        match self.want(8, "a block's header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(Step::Later),
            Fill::End => return Ok(Step::End),
        }
        let Some(bytes) = self.window.bytes().first_chunk::<8>().copied() else {
            return Ok(Step::End);
        };
        if bytes[..4] == ng::SECTION.to_le_bytes() {
            return self.section(wait);
        }
        let Format::Ng(order) = self.format else {
            return Ok(Step::End);
        };
        let start = order.start(bytes).map_err(|damage| self.damaged(damage))?;
        match start.kind {
            Kind::Packet(layout) => self.packet_block(order, layout, start.len, wait),
            Kind::Interface => self.interface_block(order, start.len, wait),
            Kind::Statistics => self.statistics_block(order, start.len, wait),
            Kind::Section | Kind::Other => {
                // Passed over unread, so that its length need not be believed. What follows shows if it was wrong.
                self.pass(start.len);
                Ok(Step::Passed)
            }
        }
    }

    #[inline]
    fn packet_block(
        &mut self,
        order: Order,
        layout: Layout,
        len: u32,
        wait: bool,
    ) -> Result<Step, FileError> {
        match self.want(len as usize, "a packet block", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(Step::Later),
            Fill::End => return Ok(Step::End),
        }
        let block = &self.window.bytes()[..len as usize];
        let found = order
            .check_end(block, len)
            .and_then(|()| order.packet(layout, block, &self.interfaces))
            .map_err(|damage| self.damaged(damage))?;
        Ok(Step::Packet(Head {
            ts: found.ts.unwrap_or(Timestamp::UNKNOWN),
            link: found.link,
            interface: found.interface,
            direction: found.direction,
            original_len: found.original,
            dropped: found.dropped,
            at: found.at,
            captured: found.captured,
            len: len as usize,
        }))
    }

    /// What an interface dropped. Nothing depends on the block, so that one that makes no sense is passed over as others are.
    #[cold]
    fn statistics_block(&mut self, order: Order, len: u32, wait: bool) -> Result<Step, FileError> {
        if len as usize <= ng::MAX_BLOCK {
            let ready = self.window.want(len as usize, wait).map_err(|error| self.unreadable(error))?;
            match ready {
                Fill::Ready => order.statistics(&self.window.bytes()[..len as usize], &mut self.interfaces),
                Fill::Later => return Ok(Step::Later),
                Fill::End => {}
            }
        }
        self.pass(len);
        Ok(Step::Passed)
    }

    /// Reads what describes interfaces before the first packet, as far as that needs no waiting for.
    pub fn describe(&mut self) {
        // An error will come again when it is read on.
        while matches!(self.format, Format::Ng(_))
            && self.given == 0
            && matches!(self.one_block(false), Ok(Step::Passed))
        {}
    }

    /// Packets that were dropped while the file was taken, by what it says of its interfaces so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.interfaces.dropped()
    }

    fn interface_block(&mut self, order: Order, len: u32, wait: bool) -> Result<Step, FileError> {
        match self.want(len as usize, "an interface description", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(Step::Later),
            Fill::End => return Ok(Step::End),
        }
        let block = &self.window.bytes()[..len as usize];
        order
            .check_end(block, len)
            .and_then(|()| order.interface(block, &mut self.interfaces))
            .map_err(|damage| self.damaged(damage))?;
        self.window.advance(u64::from(len));
        Ok(Step::Passed)
    }

    /// A section header, which may change the byte order.
    fn section(&mut self, wait: bool) -> Result<Step, FileError> {
        match self.want(ng::SECTION_HEADER, "a section header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(Step::Later),
            Fill::End => return Ok(Step::End),
        }
        let Some(header) = self.window.bytes().first_chunk::<{ ng::SECTION_HEADER }>().copied() else {
            return Ok(Step::End);
        };
        let (start, _) = header.split_first_chunk::<{ ng::SECTION_START }>().unwrap_or((&[0; 12], &[]));
        let order = Order::of(start).map_err(|damage| self.damaged(damage))?;
        let (major, minor) = order.version(&header);
        // 1.2 was written by some, and is 1.0 (the draft, section header block).
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(FileError::Version {
                name: self.name.clone(),
                format: "a pcapng section",
                major,
                minor,
                place: self.place(),
            });
        }
        let first = header.first_chunk().copied().unwrap_or_default();
        let block = order.start(first).map_err(|damage| self.damaged(damage))?;
        self.format = Format::Ng(order);
        self.interfaces.begin_section();
        self.pass(block.len);
        Ok(Step::Passed)
    }

    fn pass(&mut self, len: u32) {
        self.passed = self.window.offset();
        self.window.advance(u64::from(len));
    }

    /// Finds out what the file is.
    fn recognize(&mut self) -> Result<(), FileError> {
        let ready = self.window.want(4, true).map_err(|error| self.unreadable(error))? == Fill::Ready;
        let start = self.window.bytes();
        if start.is_empty() {
            return Err(FileError::Empty { name: self.name.clone() });
        }
        if ready && start[..4] == ng::SECTION.to_le_bytes() {
            return Ok(());
        }
        if !Classic::is_magic(start) {
            // All of it, so that the answer does not depend on how the bytes arrive.
            self.window.want(LOOK, true).map_err(|error| self.unreadable(error))?;
            let start = self.window.bytes();
            let format = Foreign::recognize(&start[..start.len().min(LOOK)]);
            return Err(FileError::Foreign { name: self.name.clone(), format });
        }
        self.want(classic::FILE_HEADER, "the file header", true)?;
        let header = self.window.bytes().first_chunk().copied().unwrap_or([0; classic::FILE_HEADER]);
        let Some(classic) = Classic::new(&header) else {
            return Err(FileError::Foreign { name: self.name.clone(), format: Foreign::Unknown });
        };
        let (major, minor) = classic.version;
        if major != 2 {
            let (name, place) = (self.name.clone(), self.place());
            return Err(FileError::Version { name, format: "pcap", major, minor, place });
        }
        // A file of one section with one interface, in pcapng's words.
        self.interfaces
            .describe(classic.link, 0, Clock::MICROSECONDS, None)
            .map_err(|damage| self.damaged(damage))?;
        self.window.advance(classic::FILE_HEADER as u64);
        self.format = Format::Classic(classic);
        Ok(())
    }

    /// [`Window::want`], where the end of the file is one only at the end of a packet or block.
    #[inline]
    fn want(&mut self, len: usize, part: &'static str, wait: bool) -> Result<Fill, FileError> {
        match self.window.want(len, wait) {
            Ok(Fill::End) => self.end_within(part),
            Ok(fill) => Ok(fill),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    #[cold]
    fn end_within(&self, part: &'static str) -> Result<Fill, FileError> {
        if self.window.is_at_end() {
            return Ok(Fill::End);
        }
        Err(FileError::Truncated { name: self.name.clone(), part, place: self.place() })
    }

    #[cold]
    fn unreadable(&self, error: io::Error) -> FileError {
        let (name, place) = (self.name.clone(), self.place());
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.compressed => {
                FileError::Truncated { name, part: "the compressed data", place }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if self.compressed => {
                FileError::Damaged { name, place, damage: Damage::Compression(error.to_string()) }
            }
            _ => FileError::Read { name, place, source: error },
        }
    }

    #[cold]
    fn damaged(&self, damage: Damage) -> FileError {
        FileError::Damaged { name: self.name.clone(), place: self.place(), damage }
    }

    fn place(&self) -> Place {
        let offset = if self.window.is_passing() { self.passed } else { self.window.offset() };
        Place { offset, compressed: self.compressed, packets: self.packets }
    }
}

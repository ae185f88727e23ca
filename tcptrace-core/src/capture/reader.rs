//! Reads the packets of a capture file one after the other.

use super::{
    Damage, ErrorPlace, FileError, Foreign, Interface, LinkType, Packet,
    classic::{self, Classic},
    interfaces::{Dropped, Interfaces},
    ng::{self, BlockKind, ByteOrder, PacketLayout},
    open::{self, Opened, Unread},
    time::TickClock,
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

/// How many bytes at the beginning of a file are used to recognize a format that is not read here.
const RECOGNIZED_BYTES: usize = 4096;

/// How far a file was read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Position {
    /// The bytes read from the file, before decompression.
    pub bytes: u64,
    /// The length of the file in bytes, where it is known.
    pub total: Option<u64>,
    /// The number of packets read.
    pub packets: u64,
}

/// The next packet, as far as it is there without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready<'a> {
    /// The next packet has arrived.
    Packet(Packet<'a>),
    /// The next packet has not arrived, or not all of it.
    Later,
    /// The file has ended.
    End,
}

/// Reads the packets of a capture file.
pub struct Reader {
    window: Window,
    name: String,
    /// The count of bytes read from the file, where the offset of the window is not that.
    read: Option<Arc<AtomicU64>>,
    total: Option<u64>,
    compressed: bool,
    format: Format,
    interfaces: Interfaces,
    packets: u64,
    /// The length of the packet that was returned last, with its header. It is consumed when the next one is asked for.
    given: usize,
    /// The offset of the last block that was skipped, for errors within it.
    skipped_from: u64,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Format {
    Classic(Classic),
    Ng(ByteOrder),
}

/// A packet whose bytes are in the window; places count from the beginning of the window.
#[derive(Clone, Copy)]
struct PacketInWindow {
    ts: Timestamp,
    link: LinkType,
    interface: u32,
    direction: Direction,
    original_len: u32,
    dropped: u64,
    at: usize,
    captured: usize,
    /// The distance to the next packet or block.
    len: usize,
}

enum ReadStep {
    Packet(PacketInWindow),
    /// The block had no packet.
    Skipped,
    Later,
    End,
}

impl Reader {
    /// Opens a file, or the standard input for `-`, and waits for its first bytes.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::from_unread(Self::open_unread(path)?)
    }

    /// Opens a file, or the standard input for `-`, and reads nothing.
    pub fn open_unread(path: &Path) -> Result<Unread, FileError> {
        open::open_unread(path)
    }

    /// Reads a file that is open, and waits for its first bytes.
    pub fn from_unread(unread: Unread) -> Result<Self, FileError> {
        Self::begin(open::start_reading(unread)?)
    }

    /// Reads a capture from any source of bytes; `name` is its name in errors.
    pub fn from_read(name: &str, read: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::begin(open::stream(name.to_owned(), Box::new(read))?)
    }

    /// Reads a file of which nothing was consumed.
    pub(super) fn begin(opened: Opened) -> Result<Self, FileError> {
        let Opened { window, name, read, total, compressed } = opened;
        let mut reader = Self {
            window,
            name,
            read,
            total,
            compressed,
            // This is a guess until the first bytes tell the format.
            format: Format::Ng(ByteOrder::LITTLE),
            interfaces: Interfaces::default(),
            packets: 0,
            given: 0,
            skipped_from: 0,
            ended: false,
        };
        reader.recognize()?;
        Ok(reader)
    }

    /// The interfaces that packets so far can refer to, by number. A file may describe more as it goes on.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.all()
    }

    /// The name of the file in errors.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The time of the first packet, if it has one. Waits for the packet, and does not consume it.
    pub(super) fn first_time(&mut self) -> Option<Timestamp> {
        loop {
            let step = match self.format {
                Format::Classic(classic) => self.next_record(&classic, true),
                Format::Ng(_) => self.read_block(true),
            };
            match step {
                Ok(ReadStep::Skipped) => {}
                Ok(ReadStep::Packet(head)) => return Some(head.ts).filter(|&ts| ts != Timestamp::UNKNOWN),
                // The same error comes again when the file is read.
                Ok(ReadStep::Later | ReadStep::End) | Err(_) => return None,
            }
        }
    }

    /// The interfaces that the current section has described so far.
    pub(super) fn section_interfaces(&self) -> Interfaces {
        self.interfaces.clone()
    }

    /// Continues the numbering of interfaces of the file `before`, as if both files were sections of one.
    pub(super) fn continue_from(&mut self, before: Self) -> Result<(), FileError> {
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

    /// The next packet, which is waited for; `None` at the end of the file and after an error.
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

    /// The next packet of a pcap file if all of it is in the window, which is nearly always so. It is inlined, as what a function
    /// returns goes through memory, and waiting for that takes as long as all else here.
    #[inline(always)]
    pub(super) fn at_hand(&mut self) -> Option<Packet<'_>> {
        let Format::Classic(classic) = &self.format else { return None };
        if self.ended {
            return None;
        }
        self.window.consume(self.given);
        self.given = 0;
        let head = Self::record_in(self.window.bytes(), classic).ok()??;
        Some(self.packet(head))
    }

    /// The packet whose bytes are in the window.
    #[inline(always)]
    fn packet(&mut self, head: PacketInWindow) -> Packet<'_> {
        self.packets += 1;
        self.given = head.len;
        Packet {
            ts: head.ts,
            link: head.link,
            interface: head.interface,
            direction: head.direction,
            data: &self.window.bytes()[head.at..head.at + head.captured],
            original_len: head.original_len,
            dropped: head.dropped,
        }
    }

    /// The next packet, which is waited for or not.
    #[inline(never)]
    pub(super) fn get(&mut self, wait: bool) -> Result<Ready<'_>, FileError> {
        if self.ended {
            return Ok(Ready::End);
        }
        self.window.consume(self.given);
        self.given = 0;
        let step = match self.format {
            Format::Classic(classic) => self.next_record(&classic, wait),
            Format::Ng(_) => self.next_block_packet(wait),
        };
        match step {
            Ok(ReadStep::Packet(head)) => Ok(Ready::Packet(self.packet(head))),
            Ok(ReadStep::Later | ReadStep::Skipped) => Ok(Ready::Later),
            Ok(ReadStep::End) => {
                self.ended = true;
                Ok(Ready::End)
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// Reads the next packet of a pcap file.
    fn next_record(&mut self, classic: &Classic, wait: bool) -> Result<ReadStep, FileError> {
        match self.want(classic.header_len, "a packet's header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(ReadStep::Later),
            Fill::End => return Ok(ReadStep::End),
        }
        let header = self.window.bytes().first_chunk().copied().unwrap_or_default();
        let head = classic.record_header(&header).map_err(|damage| self.damaged(damage))?;
        match self.want(classic.header_len + head.captured as usize, "a packet", wait)? {
            Fill::Ready => {
                let head = Self::record_in(self.window.bytes(), classic);
                Ok(head.map_err(|damage| self.damaged(damage))?.map_or(ReadStep::End, ReadStep::Packet))
            }
            Fill::Later => Ok(ReadStep::Later),
            Fill::End => Ok(ReadStep::End),
        }
    }

    /// The next packet of a pcap file if all of it is in the window, which has these bytes. This is nearly always so, and takes
    /// one look.
    #[inline(always)]
    fn record_in(bytes: &[u8], classic: &Classic) -> Result<Option<PacketInWindow>, Damage> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        let head = classic.record_header(header)?;
        let captured = head.captured as usize;
        let len = classic.header_len + captured;
        if bytes.len() < len {
            return Ok(None);
        }
        Ok(Some(PacketInWindow {
            ts: classic.time(head),
            link: classic.link,
            interface: classic.interface,
            direction: Direction::Unknown,
            original_len: head.original,
            dropped: 0,
            at: classic.header_len,
            captured,
            len,
        }))
    }

    /// Reads blocks of a pcapng file up to the next one with a packet.
    fn next_block_packet(&mut self, wait: bool) -> Result<ReadStep, FileError> {
        loop {
            match self.read_block(wait)? {
                ReadStep::Skipped => {}
                step => return Ok(step),
            }
        }
    }

    #[inline]
    fn read_block(&mut self, wait: bool) -> Result<ReadStep, FileError> {
        match self.want(8, "a block's header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(ReadStep::Later),
            Fill::End => return Ok(ReadStep::End),
        }
        let Some(bytes) = self.window.bytes().first_chunk::<8>().copied() else {
            return Ok(ReadStep::End);
        };
        if bytes[..4] == ng::SECTION.to_le_bytes() {
            return self.section(wait);
        }
        let Format::Ng(order) = self.format else {
            return Ok(ReadStep::End);
        };
        let start = order.start(bytes).map_err(|damage| self.damaged(damage))?;
        match start.kind {
            BlockKind::Packet(layout) => self.packet_block(order, layout, start.len, wait),
            BlockKind::Interface => self.interface_block(order, start.len, wait),
            BlockKind::Statistics => self.statistics_block(order, start.len, wait),
            BlockKind::Section | BlockKind::Other => {
                // The block is skipped unread, so that its length need not be right: whatever follows shows it if not.
                self.skip_block(start.len);
                Ok(ReadStep::Skipped)
            }
        }
    }

    #[inline]
    fn packet_block(
        &mut self,
        order: ByteOrder,
        layout: PacketLayout,
        len: u32,
        wait: bool,
    ) -> Result<ReadStep, FileError> {
        match self.want(len as usize, "a packet block", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(ReadStep::Later),
            Fill::End => return Ok(ReadStep::End),
        }
        let block = &self.window.bytes()[..len as usize];
        let found = order
            .check_end(block, len)
            .and_then(|()| order.packet(layout, block, &self.interfaces))
            .map_err(|damage| self.damaged(damage))?;
        Ok(ReadStep::Packet(PacketInWindow {
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

    /// Reads an interface statistics block. No packet depends on it, so that one that makes no sense is skipped like an
    /// unknown block.
    #[cold]
    fn statistics_block(&mut self, order: ByteOrder, len: u32, wait: bool) -> Result<ReadStep, FileError> {
        if len as usize <= ng::MAX_BLOCK {
            let ready = self.window.want(len as usize, wait).map_err(|error| self.unreadable(error))?;
            match ready {
                Fill::Ready => order.statistics(&self.window.bytes()[..len as usize], &mut self.interfaces),
                Fill::Later => return Ok(ReadStep::Later),
                Fill::End => {}
            }
        }
        self.skip_block(len);
        Ok(ReadStep::Skipped)
    }

    /// Reads the blocks that describe interfaces before the first packet, as far as they are there without waiting.
    pub fn read_descriptions(&mut self) {
        // The same error comes again when the file is read.
        while matches!(self.format, Format::Ng(_))
            && self.given == 0
            && matches!(self.read_block(false), Ok(ReadStep::Skipped))
        {}
    }

    /// The packets that were dropped while the file was captured, as its interface statistics say so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.interfaces.dropped()
    }

    fn interface_block(&mut self, order: ByteOrder, len: u32, wait: bool) -> Result<ReadStep, FileError> {
        match self.want(len as usize, "an interface description", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(ReadStep::Later),
            Fill::End => return Ok(ReadStep::End),
        }
        let block = &self.window.bytes()[..len as usize];
        order
            .check_end(block, len)
            .and_then(|()| order.interface(block, &mut self.interfaces))
            .map_err(|damage| self.damaged(damage))?;
        self.window.skip(u64::from(len));
        Ok(ReadStep::Skipped)
    }

    /// Reads a section header, which may change the byte order.
    fn section(&mut self, wait: bool) -> Result<ReadStep, FileError> {
        match self.want(ng::SECTION_HEADER, "a section header", wait)? {
            Fill::Ready => {}
            Fill::Later => return Ok(ReadStep::Later),
            Fill::End => return Ok(ReadStep::End),
        }
        let Some(header) = self.window.bytes().first_chunk::<{ ng::SECTION_HEADER }>().copied() else {
            return Ok(ReadStep::End);
        };
        let (start, _) = header.split_first_chunk::<{ ng::SECTION_START }>().unwrap_or((&[0; 12], &[]));
        let order = ByteOrder::of(start).map_err(|damage| self.damaged(damage))?;
        let (major, minor) = order.version(&header);
        // Some writers write version 1.2, which is to be read as 1.0 (draft-ietf-opsawg-pcapng, section header block).
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(FileError::Version {
                name: self.name.clone(),
                format: "a pcapng section",
                major,
                minor,
                place: self.error_place(),
            });
        }
        let first = header.first_chunk().copied().unwrap_or_default();
        let block = order.start(first).map_err(|damage| self.damaged(damage))?;
        self.format = Format::Ng(order);
        self.interfaces.begin_section();
        self.skip_block(block.len);
        Ok(ReadStep::Skipped)
    }

    fn skip_block(&mut self, len: u32) {
        self.skipped_from = self.window.offset();
        self.window.skip(u64::from(len));
    }

    /// Finds out the format of the file from its first bytes.
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
            // All of these bytes are waited for, so that the answer does not depend on how they arrive.
            self.window.want(RECOGNIZED_BYTES, true).map_err(|error| self.unreadable(error))?;
            let start = self.window.bytes();
            let format = Foreign::recognize(&start[..start.len().min(RECOGNIZED_BYTES)]);
            return Err(FileError::Foreign { name: self.name.clone(), format });
        }
        self.want(classic::FILE_HEADER, "the file header", true)?;
        let header = self.window.bytes().first_chunk().copied().unwrap_or([0; classic::FILE_HEADER]);
        let Some(classic) = Classic::new(&header) else {
            return Err(FileError::Foreign { name: self.name.clone(), format: Foreign::Unknown });
        };
        let (major, minor) = classic.version;
        if major != 2 {
            let (name, place) = (self.name.clone(), self.error_place());
            return Err(FileError::Version { name, format: "pcap", major, minor, place });
        }
        // A pcap file is treated as one section of a pcapng file with one interface.
        self.interfaces
            .describe(classic.link, 0, TickClock::MICROSECONDS, None)
            .map_err(|damage| self.damaged(damage))?;
        self.window.skip(classic::FILE_HEADER as u64);
        self.format = Format::Classic(classic);
        Ok(())
    }

    /// Gets `len` bytes into the window as [`Window::want`] does. The end of the file is an error here, unless it lies
    /// between two packets or blocks.
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
        Err(FileError::Truncated { name: self.name.clone(), part, place: self.error_place() })
    }

    #[cold]
    fn unreadable(&self, error: io::Error) -> FileError {
        let (name, place) = (self.name.clone(), self.error_place());
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
        FileError::Damaged { name: self.name.clone(), place: self.error_place(), damage }
    }

    fn error_place(&self) -> ErrorPlace {
        let offset = if self.window.is_skipping() { self.skipped_from } else { self.window.offset() };
        ErrorPlace { offset, compressed: self.compressed, packets: self.packets }
    }
}

//! Several capture files read one after the other as one trace, such as those that a rotating capture wrote.

use super::{
    FileError, Interface, LinkType, Position, Reader,
    interfaces::{Dropped, Interfaces},
    open::Unread,
};
use crate::segment::Timestamp;
use std::{collections::VecDeque, io};

/// Capture files in the order of their first packets.
///
/// Their interfaces are numbered like those of the sections of one pcapng file: interfaces with the same index, name
/// and link type in two files are one, so that connections go on in the next file.
pub struct Files {
    reader: Reader,
    later: VecDeque<LaterFile>,
    /// The interfaces that all files describe before their first packets, where there are several files.
    described: Vec<Interface>,
    /// Counts of the files that were read to their end.
    bytes: u64,
    packets: u64,
    dropped: Dropped,
    /// The sum of the lengths of all files in bytes, where each has one.
    total: Option<u64>,
}

/// A file that has not been begun.
struct LaterFile {
    source: LaterSource,
    /// The time of its first packet; `None` where it has no packet, or none with a time.
    first: Option<Timestamp>,
}

enum LaterSource {
    /// A regular file, which is read from its beginning then, so that only one of many files is held in memory.
    File(Unread),
    /// A stream, which cannot be read a second time, with what was already read of it.
    Stream(Box<Reader>),
}

/// The file that [`Files::open_next`] has opened.
pub(super) struct NextFile {
    /// The name of the file before it.
    pub(super) before: String,
    /// The name of the file.
    pub(super) name: String,
    /// The time of its first packet, where it is known.
    pub(super) first: Option<Timestamp>,
}

impl Files {
    /// Puts files into the order of their first packets, which are waited for if there are several files. Files without
    /// a packet, or without a time in the first one, come last, in the given order.
    pub fn open(mut all: Vec<Unread>) -> Result<Self, FileError> {
        let lens: Option<Vec<u64>> = all.iter().map(Unread::len).collect();
        let total = lens.map(|lens| lens.iter().sum());
        let (mut later, mut described) = (Vec::new(), Interfaces::default());
        if let [_] = all[..]
            && let Some(one) = all.pop()
        {
            return Ok(Self { total, ..Self::from(Reader::from_unread(one)?) });
        }
        for unread in all {
            let (it, interfaces) = inspect(unread)?;
            described = interfaces.after(described).unwrap_or_default();
            later.push(it);
        }
        later.sort_by_key(|later| (later.first.is_none(), later.first));
        let mut later = VecDeque::from(later);
        let Some(first) = later.pop_front() else {
            let (name, source) = ("a capture".to_owned(), io::Error::other("none is named"));
            return Err(FileError::Open { name, source });
        };
        let reader = first.source.begin()?;
        Ok(Self { later, described: described.all().to_vec(), total, ..Self::from(reader) })
    }

    /// The reader of the current file.
    pub(super) const fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The interfaces that packets so far can refer to, by number.
    pub(super) fn interfaces(&self) -> &[Interface] {
        self.reader.interfaces()
    }

    /// The interfaces that all files describe before their first packets.
    pub(super) fn named(&self) -> impl Iterator<Item = &Interface> {
        let all = if self.described.is_empty() { self.reader.interfaces() } else { &self.described };
        all.iter()
    }

    /// Opens the next file; `None` if there is none.
    pub(super) fn open_next(&mut self) -> Result<Option<NextFile>, FileError> {
        let Some(LaterFile { source, first }) = self.later.pop_front() else { return Ok(None) };
        let before = std::mem::replace(&mut self.reader, source.begin()?);
        let Position { bytes, packets, .. } = before.position();
        self.bytes += bytes;
        self.packets += packets;
        self.dropped = self.dropped.and(before.dropped());
        let name = before.name().to_owned();
        self.reader.continue_from(before)?;
        Ok(Some(NextFile { before: name, name: self.reader.name().to_owned(), first }))
    }

    /// The number of files that have not been begun.
    pub(super) fn waiting(&self) -> usize {
        self.later.len()
    }

    /// How far the files were read, together.
    pub(super) fn position(&self) -> Position {
        let Position { bytes, packets, .. } = self.reader.position();
        Position { bytes: self.bytes + bytes, packets: self.packets + packets, total: self.total }
    }

    /// The packets that were dropped while the files were captured, as they say so far.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped.and(self.reader.dropped())
    }

    /// Whether the packets may be of several interfaces: the files describe several before their first packets, or each
    /// packet names its own.
    pub(super) fn have_many_interfaces(&mut self) -> bool {
        self.reader.read_descriptions();
        let names_each =
            |link: LinkType| matches!(link, LinkType::LINUX_SLL2 | LinkType::PKTAP | LinkType::USER2);
        let are_many =
            |all: &[Interface]| all.len() > 1 || all.iter().any(|interface| names_each(interface.link));
        are_many(&self.described) || are_many(self.reader.interfaces())
    }
}

impl From<Reader> for Files {
    /// Wraps a single reader.
    fn from(reader: Reader) -> Self {
        let total = reader.position().total;
        let (later, described) = (VecDeque::new(), Vec::new());
        Self { reader, later, described, bytes: 0, packets: 0, dropped: Dropped::default(), total }
    }
}

impl LaterSource {
    fn begin(self) -> Result<Reader, FileError> {
        match self {
            Self::File(unread) => Reader::from_unread(unread),
            Self::Stream(reader) => Ok(*reader),
        }
    }
}

/// Reads a file up to its first packet: when it begins, and which interfaces it describes before. Damage found here is
/// reported when the file is read.
fn inspect(unread: Unread) -> Result<(LaterFile, Interfaces), FileError> {
    let reopen = unread.reopen()?;
    let mut reader = Reader::from_unread(unread)?;
    let first = reader.first_time();
    let described = reader.section_interfaces();
    let source = match reopen {
        Some(reopen) => LaterSource::File(reopen.rewind()?),
        None => LaterSource::Stream(Box::new(reader)),
    };
    Ok((LaterFile { source, first }, described))
}

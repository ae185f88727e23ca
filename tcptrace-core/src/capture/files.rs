//! Several capture files, read one after the other as one trace: those that a capture was rotated through, say.

use super::{
    FileError, Interface, LinkType, Position, Reader,
    interfaces::{Dropped, Interfaces},
    open::Unread,
};
use crate::segment::Timestamp;
use std::{collections::VecDeque, io};

/// Capture files in the order of their first packets.
///
/// Their interfaces are numbered as those of the sections of one file are: what is at the same place, of the same name and
/// link type is one interface, so that connections go on in the next file.
pub struct Files {
    reader: Reader,
    later: VecDeque<Later>,
    /// What all have before their first packets, where there are several.
    described: Vec<Interface>,
    /// Of those that were read to their end.
    bytes: u64,
    packets: u64,
    dropped: Dropped,
    /// Bytes of all.
    total: Option<u64>,
}

/// A file whose turn comes later.
struct Later {
    source: Source,
    /// When its first packet was captured; `None` where that cannot be said.
    first: Option<Timestamp>,
}

enum Source {
    /// It begins anew then, so that of many files only one is held in memory.
    File(Unread),
    /// What was read of it cannot be read again.
    Stream(Box<Reader>),
}

/// The next of several files.
pub(super) struct Next {
    /// What the one before it is called.
    pub(super) before: String,
    /// What it is called.
    pub(super) name: String,
    /// When its first packet was captured.
    pub(super) first: Option<Timestamp>,
}

impl Files {
    /// Puts files into their order. Of several each one's first packet is waited for; the order of those that have none, or
    /// none with a time, is as given, after the others.
    pub fn open(mut all: Vec<Unread>) -> Result<Self, FileError> {
        let lens: Option<Vec<u64>> = all.iter().map(Unread::len).collect();
        let total = lens.map(|lens| lens.iter().sum());
        let (mut later, mut described) = (Vec::new(), Interfaces::default());
        if let [_] = all[..]
            && let Some(one) = all.pop()
        {
            return Ok(Self { total, ..Self::from(Reader::read(one)?) });
        }
        for unread in all {
            let (it, interfaces) = look_into(unread)?;
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

    /// The file that is read.
    pub(super) const fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The interfaces that packets so far can name, by number.
    pub(super) fn interfaces(&self) -> &[Interface] {
        self.reader.interfaces()
    }

    /// The interfaces that all of them have before their first packets.
    pub(super) fn named(&self) -> impl Iterator<Item = &Interface> {
        let all = if self.described.is_empty() { self.reader.interfaces() } else { &self.described };
        all.iter()
    }

    /// Goes on to the next file, if there is one.
    pub(super) fn go_on(&mut self) -> Result<Option<Next>, FileError> {
        let Some(Later { source, first }) = self.later.pop_front() else { return Ok(None) };
        let before = std::mem::replace(&mut self.reader, source.begin()?);
        let Position { bytes, packets, .. } = before.position();
        self.bytes += bytes;
        self.packets += packets;
        self.dropped = self.dropped.and(before.dropped());
        let name = before.name().to_owned();
        self.reader.follow(before)?;
        Ok(Some(Next { before: name, name: self.reader.name().to_owned(), first }))
    }

    /// Files whose turn has not come.
    pub(super) fn waiting(&self) -> usize {
        self.later.len()
    }

    /// How far they were read.
    pub(super) fn position(&self) -> Position {
        let Position { bytes, packets, .. } = self.reader.position();
        Position { bytes: self.bytes + bytes, packets: self.packets + packets, total: self.total }
    }

    /// What was dropped while they were taken, as far as they say so by now.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped.and(self.reader.dropped())
    }

    /// Their packets are of several interfaces, by what they say before their first packets, or name theirs each.
    pub(super) fn have_many_interfaces(&mut self) -> bool {
        self.reader.describe();
        let names_each =
            |link: LinkType| matches!(link, LinkType::LINUX_SLL2 | LinkType::PKTAP | LinkType::USER2);
        let are_many =
            |all: &[Interface]| all.len() > 1 || all.iter().any(|interface| names_each(interface.link));
        are_many(&self.described) || are_many(self.reader.interfaces())
    }
}

impl From<Reader> for Files {
    /// One alone.
    fn from(reader: Reader) -> Self {
        let total = reader.position().total;
        let (later, described) = (VecDeque::new(), Vec::new());
        Self { reader, later, described, bytes: 0, packets: 0, dropped: Dropped::default(), total }
    }
}

impl Source {
    fn begin(self) -> Result<Reader, FileError> {
        match self {
            Self::File(unread) => Reader::read(unread),
            Self::Stream(reader) => Ok(*reader),
        }
    }
}

/// When a file begins, and what it has before its first packet. Damage there is told when its turn comes.
fn look_into(unread: Unread) -> Result<(Later, Interfaces), FileError> {
    let again = unread.again()?;
    let mut reader = Reader::read(unread)?;
    let first = reader.first_time();
    let described = reader.described();
    let source = match again {
        Some(again) => Source::File(again.begin_anew()?),
        None => Source::Stream(Box::new(reader)),
    };
    Ok((Later { source, first }, described))
}

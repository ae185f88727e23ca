//! The interfaces of a file, numbered over all of its sections.

use super::{Damage, LinkType, time::TickClock};
use hashbrown::HashMap;
use std::sync::Arc;

/// The most interfaces that are numbered. No machine has more; the limit bounds the memory that a file can take.
const MAX_INTERFACES: usize = 1 << 16;
/// The longest name that is kept, in bytes. Linux allows 15, and the GUID paths of Windows take about 50.
const MAX_NAME: usize = 256;

/// One interface of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The name of the interface, if the file says.
    pub name: Option<Arc<str>>,
    /// The link type of its packets.
    pub link: LinkType,
}

/// An interface as a section describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionInterface {
    pub(super) link: LinkType,
    /// The length in bytes that packets were cut to; 0 for no limit.
    pub(super) snap_len: u32,
    pub(super) clock: TickClock,
    /// The number of the interface over all sections.
    pub(super) number: u32,
}

/// The numbers of packets that were dropped while a file was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Packets that the interface dropped for want of room.
    pub by_interface: u64,
    /// Packets that the operating system dropped.
    pub by_system: u64,
}

impl Dropped {
    /// The sums of both counts.
    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            by_interface: self.by_interface.saturating_add(other.by_interface),
            by_system: self.by_system.saturating_add(other.by_system),
        }
    }
}

/// The interfaces of all sections of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Interfaces {
    all: Vec<Interface>,
    section: Vec<SectionInterface>,
    /// The number of each interface, by its index within a section, link type and name. With the index, two interfaces
    /// of one name in one section are two.
    numbers: HashMap<(usize, LinkType, Option<Arc<str>>), u32>,
    /// The packets dropped, by the number of the interface.
    dropped: HashMap<u32, Dropped>,
}

impl Interfaces {
    /// All interfaces, by number.
    pub(super) fn all(&self) -> &[Interface] {
        &self.all
    }

    /// The interface with this index in the current section.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Result<&SectionInterface, Damage> {
        self.section.get(id as usize).ok_or(Damage::NoInterface { interface: id, known: self.section.len() })
    }

    /// Records that an interface of the current section had dropped so many packets since the capture began. A count
    /// that is lower than one before is ignored.
    pub(super) fn record_dropped(&mut self, id: u32, dropped: Dropped) {
        let Ok(&SectionInterface { number, .. }) = self.get(id) else { return };
        let known = self.dropped.entry(number).or_default();
        known.by_interface = known.by_interface.max(dropped.by_interface);
        known.by_system = known.by_system.max(dropped.by_system);
    }

    /// The sum over all interfaces.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped.values().fold(Dropped::default(), |sum, one| sum.and(*one))
    }

    /// Adds the interfaces of the current section to those of the file `before`, as if both were sections of one file.
    /// The drops of that file are forgotten, and the caller has to keep them.
    pub(super) fn after(self, mut before: Self) -> Result<Self, Damage> {
        before.begin_section();
        before.dropped.clear();
        for (id, described) in (0..).zip(&self.section) {
            let SectionInterface { link, snap_len, clock, number } = *described;
            let name = self.all.get(number as usize).and_then(|interface| interface.name.as_deref());
            before.describe(link, snap_len, clock, name)?;
            if let Some(&dropped) = self.dropped.get(&number) {
                before.record_dropped(id, dropped);
            }
        }
        Ok(before)
    }

    /// Begins a section, which describes its interfaces anew.
    pub(super) fn begin_section(&mut self) {
        self.section.clear();
    }

    /// Adds the next interface of the current section. It is the same as one of an earlier section with the same index,
    /// name and link type, so that connections go on where the files of a ring were put together again.
    pub(super) fn describe(
        &mut self,
        link: LinkType,
        snap_len: u32,
        clock: TickClock,
        name: Option<&str>,
    ) -> Result<(), Damage> {
        let id = self.section.len();
        if id == MAX_INTERFACES {
            return Err(Damage::TooManyInterfaces(MAX_INTERFACES));
        }
        let name: Option<Arc<str>> = name.map(|name| Arc::from(cut(name)));
        let number = match self.numbers.get(&(id, link, name.clone())) {
            Some(&number) => number,
            None => self.add(id, link, name)?,
        };
        self.section.push(SectionInterface { link, snap_len, clock, number });
        Ok(())
    }

    fn add(&mut self, id: usize, link: LinkType, name: Option<Arc<str>>) -> Result<u32, Damage> {
        let number = u32::try_from(self.all.len())
            .ok()
            .filter(|&number| (number as usize) < MAX_INTERFACES)
            .ok_or(Damage::TooManyInterfaces(MAX_INTERFACES))?;
        self.all.push(Interface { name: name.clone(), link });
        self.numbers.insert((id, link, name), number);
        Ok(number)
    }
}

fn cut(name: &str) -> &str {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

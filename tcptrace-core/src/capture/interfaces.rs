//! The interfaces of a file, numbered over all of its sections.

use super::{Damage, LinkType, time::Clock};
use hashbrown::HashMap;
use std::sync::Arc;

/// More than any machine has; it bounds what a file can make us remember.
const MAX_INTERFACES: usize = 1 << 16;
/// The longest name worth keeping; Linux allows 15 bytes, Windows' GUID paths take about 50.
const MAX_NAME: usize = 256;

/// One interface of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// What it was called, if the file says.
    pub name: Option<Arc<str>>,
    /// The first header of its packets.
    pub link: LinkType,
}

/// What a section says of one of its interfaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub(super) link: LinkType,
    /// Packets are cut to this; 0 for no limit.
    pub(super) snap_len: u32,
    pub(super) clock: Clock,
    /// Its number over all sections.
    pub(super) number: u32,
}

/// Packets that were dropped while a file was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// By the interface, for want of room.
    pub by_interface: u64,
    /// By the operating system.
    pub by_system: u64,
}

impl Dropped {
    /// Both together.
    #[must_use]
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            by_interface: self.by_interface.saturating_add(other.by_interface),
            by_system: self.by_system.saturating_add(other.by_system),
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Interfaces {
    all: Vec<Interface>,
    section: Vec<Described>,
    /// By place within a section, too: two of one name in one section are two.
    numbers: HashMap<(usize, LinkType, Option<Arc<str>>), u32>,
    /// By number.
    dropped: HashMap<u32, Dropped>,
}

impl Interfaces {
    /// By number.
    pub(super) fn all(&self) -> &[Interface] {
        &self.all
    }

    /// The one at a place within the current section.
    #[inline]
    pub(super) fn get(&self, place: u32) -> Result<&Described, Damage> {
        self.section
            .get(place as usize)
            .ok_or(Damage::NoInterface { interface: place, known: self.section.len() })
    }

    /// The interface at a place dropped so many since the capture began. A count does not go down.
    pub(super) fn note_dropped(&mut self, place: u32, dropped: Dropped) {
        let Ok(&Described { number, .. }) = self.get(place) else { return };
        let known = self.dropped.entry(number).or_default();
        known.by_interface = known.by_interface.max(dropped.by_interface);
        known.by_system = known.by_system.max(dropped.by_system);
    }

    /// All together.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped.values().fold(Dropped::default(), |sum, one| sum.and(*one))
    }

    /// These of the present section after those of another file, as if both were sections of one. What that one's dropped is
    /// for the caller to remember: these count anew.
    pub(super) fn after(self, mut before: Self) -> Result<Self, Damage> {
        before.begin_section();
        before.dropped.clear();
        for (place, described) in (0..).zip(&self.section) {
            let Described { link, snap_len, clock, number } = *described;
            let name = self.all.get(number as usize).and_then(|interface| interface.name.as_deref());
            before.describe(link, snap_len, clock, name)?;
            if let Some(&dropped) = self.dropped.get(&number) {
                before.note_dropped(place, dropped);
            }
        }
        Ok(before)
    }

    /// A section begins: its interfaces are described anew.
    pub(super) fn begin_section(&mut self) {
        self.section.clear();
    }

    /// The next interface of the current section. One that an earlier section had at the same place, by the same
    /// name and with the same link type, is the same one: a ring of capture files, put together again, goes on
    /// with the connections of the file before.
    pub(super) fn describe(
        &mut self,
        link: LinkType,
        snap_len: u32,
        clock: Clock,
        name: Option<&str>,
    ) -> Result<(), Damage> {
        let place = self.section.len();
        if place == MAX_INTERFACES {
            return Err(Damage::TooManyInterfaces(MAX_INTERFACES));
        }
        let name: Option<Arc<str>> = name.map(|name| Arc::from(cut(name)));
        let number = match self.numbers.get(&(place, link, name.clone())) {
            Some(&number) => number,
            None => self.add(place, link, name)?,
        };
        self.section.push(Described { link, snap_len, clock, number });
        Ok(())
    }

    fn add(&mut self, place: usize, link: LinkType, name: Option<Arc<str>>) -> Result<u32, Damage> {
        let number = u32::try_from(self.all.len())
            .ok()
            .filter(|&number| (number as usize) < MAX_INTERFACES)
            .ok_or(Damage::TooManyInterfaces(MAX_INTERFACES))?;
        self.all.push(Interface { name: name.clone(), link });
        self.numbers.insert((place, link, name), number);
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

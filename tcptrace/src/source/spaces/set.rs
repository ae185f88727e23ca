//! The namespaces that are traced, one or many, and what is heard of them.

use super::{common::Common, news::News, space::Space};
use crate::{
    kernel::{attach::Notice, load::Programs, namespaces::nsid::Heard},
    source::error::LiveError,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a namespace that is gone is remembered. No record stays in the ring for so long, so that nothing asks for
/// the namespace after that.
const REMEMBER: Duration = Duration::from_mins(1);

/// The namespaces that are traced.
pub(super) struct Set {
    pub(super) news: News,
    pub(super) common: Common,
    /// The namespaces by their numbers. Those that are gone stay for some time.
    pub(super) spaces: BTreeMap<u16, Space>,
}

impl Set {
    pub(super) const fn new(news: News, common: Common) -> Self {
        Self { news, common, spaces: BTreeMap::new() }
    }

    /// The namespaces that are not gone.
    pub(super) fn live(&self) -> impl Iterator<Item = &Space> {
        self.spaces.values().filter(|space| space.gone.is_none())
    }

    /// Adds a namespace and begins to listen to it. Nothing in it is attached to yet.
    pub(super) fn introduce(&mut self, mut space: Space) -> Result<&mut Space, LiveError> {
        let listed = self.news.list(&space.netns, space.number)?;
        space.introduce(listed, &mut self.common);
        // The number is free, so that nothing is replaced.
        Ok(self.spaces.entry(space.number).insert_entry(space).into_mut())
    }

    /// Attaches to the chosen interfaces of the namespace of this number.
    pub(super) fn begin(
        &mut self,
        number: u16,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let space = self.spaces.get_mut(&number);
        space.map_or(Ok(()), |space| space.begin(&mut self.common, own, notices))
    }

    /// Attaches to the chosen interfaces of all namespaces.
    pub(super) fn begin_all(
        &mut self,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        self.spaces.values_mut().try_for_each(|space| space.begin(&mut self.common, own, notices))
    }

    /// Applies all notifications that wait. Returns whether one of them is a sign of a new namespace.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<bool, LiveError> {
        let mut is_new = false;
        while let Some(heard) = self.news.hear()? {
            match heard {
                Heard::Of(number, messages) => {
                    if let Some(space) = self.spaces.get_mut(&number).filter(|it| it.gone.is_none()) {
                        // If an interface came, the other end of a veth pair may be in a namespace that is new.
                        is_new |= space.apply(&messages, &mut self.common, own, notices)?;
                    }
                }
                Heard::Gone(numbers) => {
                    for (_, space) in self.spaces.iter_mut().filter(|(number, _)| numbers.contains(number)) {
                        space.end(now, &mut self.common);
                    }
                }
                Heard::Overflow => {
                    self.list_again(now, own, notices)?;
                    is_new = true;
                }
            }
        }
        Ok(is_new)
    }

    /// Finds out which namespaces are still there and what is in them, after notifications were lost.
    fn list_again(
        &mut self,
        now: Instant,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let Self { news, common, spaces } = self;
        for space in spaces.values_mut().filter(|it| it.gone.is_none()) {
            match news.list_again(space)? {
                Some(listed) => space.list(listed, common, own, notices)?,
                None => space.end(now, common),
            }
        }
        Ok(())
    }

    /// Lets go of those of the interfaces in `lacking`, by namespace, that still lack programs, and returns their
    /// names.
    pub(super) fn give_up(&mut self, lacking: Vec<(u16, BTreeSet<u32>)>) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for (number, lacking) in lacking {
            if let Some(space) = self.spaces.get_mut(&number) {
                names.extend(space.give_up(&lacking));
            }
        }
        names
    }

    /// The interfaces that some of the programs are no longer on, by namespace.
    pub(super) fn lacking(&self) -> Vec<(u16, BTreeSet<u32>)> {
        let lacking = self.live().map(|space| (space.number, space.lacking()));
        lacking.filter(|(_, lacking)| !lacking.is_empty()).collect()
    }

    /// Forgets namespaces that have been gone for long.
    pub(super) fn forget(&mut self, now: Instant) {
        self.spaces.retain(|_, space| space.gone.is_none_or(|gone| now < gone + REMEMBER));
    }
}

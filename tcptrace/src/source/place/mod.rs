//! Where a live trace looks: at interfaces of one network namespace, or of all that there are.

mod all;
mod one;
mod space;

use super::live::{LiveConfig, LiveError};
use crate::{
    event::TracedInterface,
    kernel::{
        attach::{Attached, Notice},
        interfaces::watch::{InterfaceNames, OwnAddresses},
        load::{LoadOptions, Programs, Role},
        namespaces::Namespaces,
    },
};
use all::All;
use one::One;
use std::{sync::Arc, time::Instant};

/// The interfaces that are traced, kept current.
pub(super) enum Place {
    One(Box<One>),
    All(Box<All>),
}

/// What is known of the interface that a record is from.
pub(super) struct Spot<'a> {
    /// A number that no other interface of this trace has.
    pub(super) interface: u32,
    pub(super) loopback: bool,
    /// Of the namespace that it is in.
    pub(super) addresses: &'a OwnAddresses,
}

impl Place {
    /// Finds out what there is. Nothing is loaded or attached yet.
    pub(super) fn choose(config: &LiveConfig) -> Result<Self, LiveError> {
        match &config.namespaces {
            Namespaces::Own => One::choose(None, config).map(|it| Self::One(Box::new(it))),
            Namespaces::Named(name) => One::choose(Some(name), config).map(|it| Self::One(Box::new(it))),
            Namespaces::All => All::choose(config).map(|it| Self::All(Box::new(it))),
        }
    }

    /// Which namespaces the programs are for that are loaded first.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::One(_) => Role::Only(0),
            Self::All(all) => all.role(),
        }
    }

    /// The programs are loaded, and none of their maps was taken.
    pub(super) fn loaded(&mut self, programs: &Programs, options: &LoadOptions) -> Result<(), LiveError> {
        match self {
            Self::One(_) => Ok(()),
            Self::All(all) => all.share(programs, options),
        }
    }

    /// Attaches to what is there.
    pub(super) fn begin(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        match self {
            Self::One(one) => one.begin(programs, notices),
            Self::All(all) => all.begin(programs, notices),
        }
    }

    /// Waits until [`Self::follow`] has something to do. Cancel-safe.
    pub(super) async fn ready(&mut self) -> Result<(), LiveError> {
        match self {
            Self::One(one) => one.ready().await,
            Self::All(all) => all.ready().await,
        }
    }

    /// When [`Self::follow`] has something to do in any case.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::One(_) => None,
            Self::All(all) => all.due(),
        }
    }

    /// Takes up what came and lets go of what went; of much, some.
    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        match self {
            Self::One(one) => one.follow(programs, notices),
            Self::All(all) => all.follow(programs, notices),
        }
    }

    /// Looks whether the programs are where they were put, and lets go of the interfaces that somebody has taken some off; what
    /// these are called.
    pub(super) fn look(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Arc<str>>, LiveError> {
        match self {
            Self::One(one) => one.look(programs, notices),
            Self::All(all) => all.look(programs, notices),
        }
    }

    /// Each of the interfaces was asked for by its name, so that none may be missing.
    pub(super) fn needs_each(&self) -> bool {
        match self {
            Self::One(one) => one.needs_each(),
            Self::All(_) => false,
        }
    }

    /// All that was to be traced is gone for good.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::One(one) => one.is_over(),
            Self::All(_) => false,
        }
    }

    /// Nothing will be attached any more, and closing descriptors takes all programs off.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::One(one) => one.is_settled(),
            Self::All(_) => false,
        }
    }

    /// The interface of this index in the namespace of this number; None of a namespace that was never heard of.
    #[inline]
    pub(super) fn spot(&self, netns: u16, index: u32) -> Option<Spot<'_>> {
        match self {
            Self::One(one) => Some(one.spot(index)),
            Self::All(all) => all.spot(netns, index),
        }
    }

    /// By the number of [`Spot::interface`].
    pub(super) fn names(&self) -> InterfaceNames {
        match self {
            Self::One(one) => one.names(),
            Self::All(all) => all.names(),
        }
    }

    /// Where the programs are, for a person.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::One(one) => one.describe(),
            Self::All(all) => all.describe(),
        }
    }

    /// Where the programs are.
    pub(super) fn traced(&self) -> Vec<TracedInterface> {
        match self {
            Self::One(one) => one.traced(),
            Self::All(all) => all.traced(),
        }
    }

    /// Takes the programs off everywhere.
    pub(super) fn detach_all(&mut self) {
        match self {
            Self::One(one) => one.detach_all(),
            Self::All(all) => all.detach_all(),
        }
    }

    /// All copies of the programs, `first` included.
    pub(super) fn programs<'a>(&'a self, first: &'a Programs) -> Vec<&'a Programs> {
        match self {
            Self::One(_) => vec![first],
            Self::All(all) => std::iter::once(first).chain(all.copies()).collect(),
        }
    }
}

/// What programs are on, in the network namespace of this name.
fn traced<'a>(attached: &'a Attached, netns: Option<&'a str>) -> impl Iterator<Item = TracedInterface> + 'a {
    attached.interfaces().map(move |(index, name)| TracedInterface {
        name: name.to_owned(),
        index: Some(index),
        netns: netns.map(str::to_owned),
    })
}

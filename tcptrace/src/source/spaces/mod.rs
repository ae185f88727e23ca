//! The interfaces that are traced, in one network namespace or in all, kept current as interfaces and namespaces come
//! and go. One namespace is a set with one member.

mod common;
mod news;
mod scope;
mod search;
mod set;
mod space;

use super::{
    config::{LiveConfig, Selection},
    error::LiveError,
};
use crate::{
    event::TracedInterface,
    kernel::{
        attach::Notice,
        interfaces::{self, Interface, InterfaceError, watch::InterfaceNames},
        load::{LoadOptions, Programs, Role},
        namespaces::{Namespaces, Netns},
    },
};
use common::Common;
use news::News;
use scope::Scope;
use search::Search;
use set::Set;
use space::{OWN, Space, Spot};
use std::{future, sync::Arc, time::Instant};

/// How many interfaces of several namespaces are listed by name; more are only counted.
const LISTED: usize = 8;

/// The interfaces that are traced, by namespace.
pub(super) struct Spaces {
    set: Set,
    /// What looks for other namespaces, if all are traced.
    search: Option<Box<Search>>,
}

impl Spaces {
    /// Finds the namespaces and interfaces that are to be traced. Nothing is loaded or attached yet.
    pub(super) fn choose(config: &LiveConfig) -> Result<Self, LiveError> {
        match &config.namespaces {
            Namespaces::Own => Self::one(&Netns::default(), config),
            Namespaces::Named(name) => Self::one(&Netns::open(Some(name))?, config),
            Namespaces::All => Self::all(config),
        }
    }

    fn one(netns: &Netns, config: &LiveConfig) -> Result<Self, LiveError> {
        let set = || {
            let scope = if config.interfaces == Selection::Any { Scope::Any } else { Scope::Chosen };
            let mut set = Set::new(News::of_one(netns)?, Common::new(config, scope));
            let space = Space::new(OWN, None, netns.clone(), None, &set.common);
            set.introduce(space)?.choose(|all| choose(&config.interfaces, all))?;
            Ok(set)
        };
        let set = set().map_err(|error: LiveError| error.within(netns))?;
        Ok(Self { set, search: None })
    }

    fn all(config: &LiveConfig) -> Result<Self, LiveError> {
        let mut search = Search::new()?;
        let news = News::of_all(search.home())?;
        search.watch_mounts();
        let names = match &config.interfaces {
            Selection::Named(names) => Some(names.clone()),
            Selection::Any | Selection::DefaultRoute => None,
        };
        let set = Set::new(news, Common::new(config, Scope::Everywhere(names)));
        Ok(Self { set, search: Some(Box::new(search)) })
    }

    /// Which namespaces the first copy of the programs is for.
    pub(super) fn role(&self) -> Role {
        let Common { ingress, mode, .. } = self.set.common;
        if self.search.is_some() { Role::of_first(ingress, mode) } else { Role::Only(OWN) }
    }

    /// Takes note that the first copy of the programs is loaded. None of its maps may be taken yet.
    pub(super) fn loaded(&mut self, programs: &Programs, options: &LoadOptions) -> Result<(), LiveError> {
        if self.search.is_some() {
            self.set.common.share(programs, options)?;
        }
        Ok(())
    }

    /// Attaches the programs to the interfaces that are there.
    pub(super) fn begin(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        if let Some(search) = &mut self.search {
            search.begin(&mut self.set, notices)?;
        }
        self.set.begin_all(programs, notices)
    }

    /// Runs `f` in each namespace, and returns what it made with the namespace's number. One that cannot be entered any more is
    /// left out.
    pub(super) fn in_each<R>(&self, f: impl Fn() -> R) -> Vec<(u16, R)> {
        self.set.live().filter_map(|space| Some((space.number, space.netns.within(&f).ok()?))).collect()
    }

    /// Runs `f` in the namespace of this number; `None` if that cannot be entered any more.
    pub(super) fn within<R>(&self, number: u16, f: impl FnOnce() -> R) -> Option<R> {
        self.set.live().find(|space| space.number == number)?.netns.within(f).ok()
    }

    /// Waits until [`Self::follow`] has something to do. Cancel-safe.
    pub(super) async fn ready(&mut self) -> Result<(), LiveError> {
        tokio::select! {
            ready = self.set.news.ready() => ready,
            () = searched(self.search.as_deref_mut()) => Ok(()),
        }
    }

    /// When [`Self::follow`] has something to do even if [`Self::ready`] does not return.
    pub(super) fn due(&self) -> Option<Instant> {
        self.search.as_ref().and_then(|search| search.due())
    }

    /// Takes up interfaces and namespaces that came, and lets go of those that went. If many namespaces came, only some
    /// are taken up in one call.
    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let now = Instant::now();
        self.hear(now, programs, notices)?;
        if let Some(search) = &mut self.search {
            search.follow(now, &mut self.set, programs, notices)?;
        }
        self.set.forget(now);
        Ok(())
    }

    /// Lets go of the interfaces that somebody has taken programs off, and returns their names.
    pub(super) fn give_up_taken_off(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Arc<str>>, LiveError> {
        let lacking = self.set.lacking();
        if lacking.is_empty() {
            return Ok(Vec::new());
        }
        // A link also ends with its interface. The kernel announces that the interface is gone before the link can be
        // asked (net/core/dev.c, unregister_netdevice_many: all under one lock), so the announcements are heard first.
        self.hear(Instant::now(), programs, notices)?;
        Ok(self.set.give_up(lacking))
    }

    /// Applies all announcements that wait, and looks for namespaces soon if one may be new.
    fn hear(
        &mut self,
        now: Instant,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let is_new = self.set.hear(now, programs, notices)?;
        if is_new && let Some(search) = &mut self.search {
            search.survey_soon();
        }
        Ok(())
    }

    /// Whether the interfaces were chosen at the beginning, so that none may be missing.
    pub(super) const fn needs_each(&self) -> bool {
        self.set.common.scope.needs_each()
    }

    /// Whether every interface that was to be traced is gone for good.
    pub(super) fn is_over(&self) -> bool {
        self.needs_each() && self.set.live().all(|space| space.attached().is_empty())
    }

    /// Whether nothing will be attached any more, and closing descriptors takes all programs off.
    pub(super) fn is_settled(&self) -> bool {
        self.needs_each() && self.set.live().all(|space| space.attached().by_links())
    }

    /// What is known of the interface of this index in the namespace of this number; None if the namespace was never
    /// heard of.
    #[inline]
    pub(super) fn spot(&self, netns: u16, index: u32) -> Option<Spot<'_>> {
        self.set.spaces.get(&netns)?.spot(index)
    }

    /// The number of the namespace that an interface is in, by [`Spot::interface`], and what is known of the interface.
    pub(super) fn home_of(&self, interface: u32) -> Option<(u16, Spot<'_>)> {
        self.set.live().find_map(|space| Some((space.number, space.spot_of(interface)?)))
    }

    /// The names of interfaces, by the number that [`Spot::interface`] is.
    pub(super) fn names(&self) -> InterfaceNames {
        self.set.common.names.clone()
    }

    /// The interfaces that the programs are on, for a person: their names, or how many there are if they are many.
    pub(super) fn describe(&self) -> String {
        let attached: Vec<_> = self.set.live().map(Space::attached).filter(|it| !it.is_empty()).collect();
        match attached.iter().map(|it| it.len()).sum() {
            0 => "no interface yet".to_owned(),
            interfaces if interfaces > LISTED && self.search.is_some() => {
                format!("{interfaces} interfaces in {} network namespaces", attached.len())
            }
            _ => attached.iter().map(|it| it.describe()).collect::<Vec<_>>().join(", "),
        }
    }

    /// The interfaces that the programs are on.
    pub(super) fn traced(&self) -> Vec<TracedInterface> {
        self.set.live().flat_map(Space::traced).collect()
    }

    /// Takes the programs off everywhere.
    pub(super) fn detach_all(&mut self) {
        self.set.spaces.values_mut().for_each(Space::detach_all);
    }

    /// All copies of the programs, `first` included.
    pub(super) fn programs<'a>(&'a self, first: &'a Programs) -> Vec<&'a Programs> {
        let others = self.set.spaces.values().filter_map(Space::programs).chain(self.set.common.for_others());
        std::iter::once(first).chain(others).collect()
    }
}

/// Waits until the search has something to do, or for ever without a search.
async fn searched(search: Option<&mut Search>) {
    match search {
        Some(search) => search.ready().await,
        None => future::pending().await,
    }
}

/// The interfaces of one namespace that were asked for. The thread has to be in the namespace.
fn choose(selection: &Selection, all: &[Interface]) -> Result<Vec<Interface>, InterfaceError> {
    match selection {
        Selection::Any => {
            let up: Vec<_> = all.iter().filter(|i| i.traceable()).cloned().collect();
            if up.is_empty() { Err(InterfaceError::NoneUp) } else { Ok(up) }
        }
        Selection::Named(names) => names.iter().map(|name| interfaces::find(all, name).cloned()).collect(),
        Selection::DefaultRoute => {
            let index = interfaces::default_route()?;
            let found = all.iter().find(|i| i.index == index).ok_or(InterfaceError::NoDefaultRoute)?;
            Ok(vec![interfaces::find(all, &found.name)?.clone()])
        }
    }
}

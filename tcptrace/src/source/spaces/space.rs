//! One network namespace that is traced: its name, its interfaces, and the programs on them.

use super::{common::Common, scope::Refused};
use crate::{
    event::TracedInterface,
    kernel::{
        attach::{Attached, Notice},
        interfaces::{
            Interface, InterfaceError,
            watch::{InterfaceChange, InterfaceList, Links, OwnAddresses},
        },
        load::{Programs, Role},
        namespaces::{Netns, nsid::Message},
    },
    source::error::LiveError,
};
use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::Instant,
};

/// The number of the only namespace, or among all namespaces of the tracer's own. The first copy of the programs is for
/// it.
pub(super) const OWN: u16 = 0;

/// What is known of the interface that a record is from.
pub(in crate::source) struct Spot<'a> {
    /// The interface's number, which no other interface of this trace has.
    pub(in crate::source) interface: u32,
    pub(in crate::source) loopback: bool,
    /// The addresses of the namespace that the interface is in.
    pub(in crate::source) addresses: &'a OwnAddresses,
}

/// A network namespace that is traced.
pub(super) struct Space {
    /// The namespace's number, which is in the records that are made in it.
    pub(super) number: u16,
    /// The namespace's inode number; None if no others are looked for.
    pub(super) inode: Option<u64>,
    pub(super) netns: Netns,
    /// What is put before the names of the namespace's interfaces; None if they go by their own names alone.
    pub(super) name: Option<String>,
    /// Whether the namespace has a name of its own, instead of that of a container or process in it.
    pub(super) is_named: bool,
    /// Since when the namespace is gone. It is kept for the records that are still to be read.
    pub(super) gone: Option<Instant>,
    links: Links,
    attached: Attached,
    /// The namespace's own copy of the programs, if a copy cannot be for several.
    programs: Option<Programs>,
    /// The interfaces that [`Self::begin`] attaches to.
    chosen: Vec<Interface>,
    /// The indexes of interfaces that could not be attached to, of which the user was told.
    left_out: BTreeSet<u32>,
    /// The number of each interface ([`Spot::interface`]) by its index. None in a trace of one namespace, where the
    /// index is the number.
    numbers: Option<HashMap<u32, u32>>,
}

impl Space {
    pub(super) fn new(
        number: u16,
        inode: Option<u64>,
        netns: Netns,
        name: Option<String>,
        common: &Common,
    ) -> Self {
        Self {
            number,
            inode,
            attached: Attached::new(netns.clone(), common.ingress, common.mode).numbered(number),
            netns,
            name,
            is_named: true,
            gone: None,
            links: Links::default(),
            programs: None,
            chosen: Vec::new(),
            left_out: BTreeSet::new(),
            numbers: common.scope.is_everywhere().then(HashMap::new),
        }
    }

    /// Takes over the first list of interfaces and addresses. [`Self::begin`] attaches to those that are wanted.
    pub(super) fn introduce(&mut self, listed: InterfaceList, common: &mut Common) {
        for change in self.links.replace(listed) {
            let InterfaceChange::Interface(interface) = change else { continue };
            let wanted = interface.traceable() && common.scope.wants(&interface.name);
            let shown = self.shown(interface);
            self.number_and_name(&shown, common);
            self.chosen.extend(wanted.then_some(shown));
        }
    }

    /// Takes over a later list of interfaces and addresses, and attaches to interfaces that came and are wanted.
    pub(super) fn list(
        &mut self,
        listed: InterfaceList,
        common: &mut Common,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        for change in self.links.replace(listed) {
            self.follow(change, common, own, notices)?;
        }
        Ok(())
    }

    /// Has [`Self::begin`] attach to the interfaces that `choose` picks of those that are there. It runs in the
    /// namespace.
    pub(super) fn choose(
        &mut self,
        choose: impl FnOnce(&[Interface]) -> Result<Vec<Interface>, InterfaceError>,
    ) -> Result<(), InterfaceError> {
        let all: Vec<_> = self.links.interfaces().cloned().collect();
        self.chosen = self.netns.within(|| choose(&all))??;
        Ok(())
    }

    /// Attaches to the chosen interfaces.
    pub(super) fn begin(
        &mut self,
        common: &mut Common,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let chosen = mem::take(&mut self.chosen);
        let begun = chosen.iter().try_for_each(|shown| self.attach(shown, common, own, notices));
        // A name that has the namespace in it says where the interface is.
        begun.map_err(|error| if self.name.is_none() { error.within(&self.netns) } else { error })
    }

    /// Takes over what notifications say. Returns whether interfaces came, changed or went.
    pub(super) fn apply(
        &mut self,
        messages: &[Message],
        common: &mut Common,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<bool, LiveError> {
        let mut changed = false;
        for message in messages {
            if let Some(change) = self.links.apply(message) {
                changed = true;
                self.follow(change, common, own, notices)?;
            }
        }
        Ok(changed)
    }

    fn follow(
        &mut self,
        change: InterfaceChange,
        common: &mut Common,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        match change {
            InterfaceChange::Interface(interface) => {
                let wanted = interface.traceable() && common.scope.wants(&interface.name);
                let shown = self.shown(interface);
                self.number_and_name(&shown, common);
                if let Some(before) = self.attached.rename(&shown) {
                    notices.push(Notice::Renamed { interface: before, name: Arc::clone(&shown.name) });
                }
                if wanted { self.attach(&shown, common, own, notices) } else { Ok(()) }
            }
            InterfaceChange::Gone(interface) => {
                if let Some(number) = self.number_of(interface.index) {
                    common.names.retire(number, Instant::now());
                }
                self.left_out.remove(&interface.index);
                let traced = self.attached.detach(interface.index);
                let vanished = traced.filter(|_| common.scope.needs_each());
                notices.extend(vanished.map(|interface| Notice::Vanished { interface }));
                Ok(())
            }
        }
    }

    /// The interface by the name that it has in the output and in messages.
    fn shown(&self, interface: Interface) -> Interface {
        match &self.name {
            Some(name) => interface.within(name),
            None => interface,
        }
    }

    /// Gives an interface a number, if it has none yet, and keeps its name by that.
    fn number_and_name(&mut self, shown: &Interface, common: &mut Common) {
        let number = match &mut self.numbers {
            Some(numbers) => *numbers.entry(shown.index).or_insert_with(|| common.next_interface()),
            None => shown.index,
        };
        common.names.set(number, &shown.name);
    }

    #[inline]
    fn number_of(&self, index: u32) -> Option<u32> {
        self.numbers.as_ref().map_or(Some(index), |numbers| numbers.get(&index).copied())
    }

    fn attach(
        &mut self,
        shown: &Interface,
        common: &mut Common,
        own: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        let programs = match &mut self.programs {
            _ if self.number == OWN || own.role() == Role::Shared => Ok(own),
            Some(programs) => Ok(programs),
            none => match Role::of_other(common.ingress, self.number) {
                Role::Shared => common.one_for_all(),
                role @ Role::Only(_) => common.load(role).map(|programs| none.insert(programs)),
            },
        };
        let attached = match programs {
            Ok(programs) => self.attached.attach(programs, shown, notices),
            Err(error) => Err(error.into()),
        };
        let Err(error) = attached else {
            common.has_attached = true;
            return Ok(());
        };
        match common.scope.refused(&error, common.has_attached) {
            Refused::Ends => return Err(error.into()),
            Refused::Forgets => {}
            Refused::LeavesOut => {
                if self.left_out.insert(shown.index) {
                    let interface = Arc::clone(&shown.name);
                    notices.push(Notice::LeftOut { interface, reason: error.to_string() });
                }
            }
        }
        Ok(())
    }

    /// The interfaces that some of the programs are no longer on; see [`Attached::lacking`].
    pub(super) fn lacking(&self) -> BTreeSet<u32> {
        self.attached.lacking()
    }

    /// Lets go of those of `suspects` that still lack programs; see [`Attached::give_up`].
    pub(super) fn give_up(&mut self, suspects: &BTreeSet<u32>) -> Vec<Arc<str>> {
        self.attached.give_up(suspects)
    }

    /// Takes over a better name of the namespace, and names its interfaces anew.
    pub(super) fn rename(&mut self, name: String, common: &mut Common) {
        self.name = Some(name);
        let all: Vec<_> = self.links.interfaces().cloned().collect();
        for interface in all {
            let shown = self.shown(interface);
            self.number_and_name(&shown, common);
            self.attached.rename(&shown);
        }
    }

    /// Lets go of a namespace that is gone, and all that was attached in it with it.
    pub(super) fn end(&mut self, now: Instant, common: &mut Common) {
        // The names of interfaces that went before their namespace are retired already.
        for index in self.links.interfaces().map(|it| it.index) {
            if let Some(number) = self.number_of(index) {
                common.names.retire(number, now);
            }
        }
        self.gone = Some(now);
        self.attached.abandon();
        self.programs = None;
        common.forget(self.number);
    }

    /// What is known of the interface of this index.
    #[inline]
    pub(super) fn spot(&self, index: u32) -> Option<Spot<'_>> {
        Some(Spot {
            interface: self.number_of(index)?,
            loopback: self.links.get(index).is_some_and(|it| it.loopback),
            addresses: self.links.addresses(),
        })
    }

    /// What is known of the interface of this number ([`Spot::interface`]).
    pub(super) fn spot_of(&self, interface: u32) -> Option<Spot<'_>> {
        let index = match &self.numbers {
            None => interface,
            Some(numbers) => {
                numbers.iter().find(|(_, number)| **number == interface).map(|(index, _)| *index)?
            }
        };
        self.spot(index)
    }

    /// The interfaces that the programs are on.
    pub(super) fn traced(&self) -> impl Iterator<Item = TracedInterface> {
        let netns = self.name.as_deref().or_else(|| self.netns.name());
        self.attached.interfaces().map(move |(index, name)| TracedInterface {
            name: name.to_owned(),
            index: Some(index),
            netns: netns.map(str::to_owned),
        })
    }

    pub(super) const fn attached(&self) -> &Attached {
        &self.attached
    }

    pub(super) fn detach_all(&mut self) {
        self.attached.detach_all();
    }

    pub(super) const fn programs(&self) -> Option<&Programs> {
        self.programs.as_ref()
    }
}

//! Interfaces of one network namespace.

use super::{Spot, traced};
use crate::{
    event::TracedInterface,
    kernel::{
        attach::{AttachError, Attached, Notice},
        interfaces::{
            self, Interface, InterfaceError,
            watch::{Change, InterfaceNames, Watch},
        },
        load::Programs,
        namespaces::Netns,
    },
    source::live::{LiveConfig, LiveError, Selection},
};
use std::{collections::BTreeSet, sync::Arc};

pub(crate) struct One {
    netns: Netns,
    watch: Watch,
    attached: Attached,
    chosen: Vec<Interface>,
    any: bool,
    /// With `-i any`: could not be attached to, and said so once.
    left_out: BTreeSet<u32>,
}

impl One {
    pub(super) fn choose(netns: Option<&str>, config: &LiveConfig) -> Result<Self, LiveError> {
        let netns = Netns::open(netns)?;
        Self::choose_in(&netns, config).map_err(|error| error.within(&netns))
    }

    fn choose_in(netns: &Netns, config: &LiveConfig) -> Result<Self, LiveError> {
        let watch = Watch::open(netns)?;
        let chosen = netns.within(|| choose(&config.interfaces, &watch.interfaces()))??;
        Ok(Self {
            netns: netns.clone(),
            watch,
            attached: Attached::new(netns.clone(), config.ingress, config.attach),
            chosen,
            any: config.interfaces == Selection::Any,
            left_out: BTreeSet::new(),
        })
    }

    pub(super) fn begin(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        for interface in std::mem::take(&mut self.chosen) {
            self.attach(programs, &interface, notices).map_err(|error| error.within(&self.netns))?;
        }
        Ok(())
    }

    pub(super) async fn ready(&self) -> Result<(), LiveError> {
        self.watch.ready().await.map_err(LiveError::io("wait for interface changes"))
    }

    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        for change in self.watch.changes()? {
            match change {
                Change::Interface(interface) => {
                    if let Some(before) = self.attached.rename(&interface) {
                        let name = Arc::clone(&interface.name);
                        notices.push(Notice::Renamed { interface: before, name });
                    }
                    if self.any && interface.traceable() {
                        self.attach(programs, &interface, notices)?;
                    }
                }
                Change::Gone(interface) => {
                    self.left_out.remove(&interface.index);
                    let traced = self.attached.detach(interface.index);
                    if let (Some(interface), false) = (traced, self.any) {
                        notices.push(Notice::Vanished { interface });
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn look(
        &mut self,
        programs: &mut Programs,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Arc<str>>, LiveError> {
        let lacking = self.attached.lacking();
        if lacking.is_empty() {
            return Ok(Vec::new());
        }
        // Links end with their interface, and that it is gone is told before they can be asked (net/core/dev.c,
        // unregister_netdevice_many: all under one lock).
        self.follow(programs, notices)?;
        Ok(self.attached.give_up(&lacking))
    }

    pub(super) const fn needs_each(&self) -> bool {
        !self.any
    }

    /// With `-i any` a single interface that cannot be attached to is left out and said so, once.
    fn attach(
        &mut self,
        programs: &mut Programs,
        interface: &Interface,
        notices: &mut Vec<Notice>,
    ) -> Result<(), LiveError> {
        match self.attached.attach(programs, interface, notices) {
            Ok(()) => Ok(()),
            Err(AttachError::Gone { .. }) if self.any => Ok(()),
            Err(error @ (AttachError::Load(_) | AttachError::Netns(_))) => Err(error.into()),
            Err(error) if !self.any => Err(error.into()),
            Err(error) => {
                if self.left_out.insert(interface.index) {
                    let name = Arc::clone(&interface.name);
                    notices.push(Notice::LeftOut { interface: name, reason: error.to_string() });
                }
                Ok(())
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.attached.is_empty() && !self.any
    }

    /// Nothing will be attached any more, and closing descriptors takes all programs off.
    pub(super) fn is_settled(&self) -> bool {
        !self.any && self.attached.by_links()
    }

    #[inline]
    pub(super) fn spot(&self, index: u32) -> Spot<'_> {
        Spot { interface: index, loopback: self.watch.is_loopback(index), addresses: self.watch.addresses() }
    }

    pub(super) fn names(&self) -> InterfaceNames {
        self.watch.names()
    }

    pub(super) fn describe(&self) -> String {
        self.attached.describe()
    }

    /// Where the programs are.
    pub(super) fn traced(&self) -> Vec<TracedInterface> {
        traced(&self.attached, self.netns.name()).collect()
    }

    pub(super) fn detach_all(&mut self) {
        self.attached.detach_all();
    }
}

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

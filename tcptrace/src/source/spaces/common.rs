//! What all traced network namespaces have in common. The programs are loaded once for the tracer's own namespace and
//! once for all others, once for all of them, or once for each (`kernel/attach/share.rs`).

use super::scope::Scope;
use crate::{
    kernel::{
        attach::{AttachMode, IngressHook, share::SharedMaps},
        interfaces::watch::InterfaceNames,
        load::{LoadError, LoadOptions, Programs, Role},
    },
    source::config::LiveConfig,
};

/// What all traced network namespaces have in common.
pub(super) struct Common {
    pub(super) ingress: IngressHook,
    pub(super) mode: AttachMode,
    pub(super) scope: Scope,
    pub(super) names: InterfaceNames,
    /// Whether the programs were attached to any interface yet.
    pub(super) has_attached: bool,
    maps: Option<SharedMaps>,
    /// The copy of the programs that all namespaces but the tracer's own share, once it is loaded.
    for_others: Option<Programs>,
    /// The number that the last interface got.
    interfaces: u32,
}

impl Common {
    pub(super) fn new(config: &LiveConfig, scope: Scope) -> Self {
        Self {
            ingress: config.ingress,
            mode: config.attach,
            scope,
            names: InterfaceNames::default(),
            has_attached: false,
            maps: None,
            for_others: None,
            interfaces: 0,
        }
    }

    /// Has copies of the programs that are loaded later share the maps of `programs`, which were just loaded.
    pub(super) fn share(&mut self, programs: &Programs, options: &LoadOptions) -> Result<(), LoadError> {
        self.maps = Some(SharedMaps::of(programs, options)?);
        Ok(())
    }

    /// A number for one more interface, which no other interface of the trace has.
    pub(super) const fn next_interface(&mut self) -> u32 {
        self.interfaces = self.interfaces.wrapping_add(1);
        self.interfaces
    }

    /// Loads a copy of the programs, which shares the maps of the first.
    pub(super) fn load(&self, role: Role) -> Result<Programs, LoadError> {
        self.maps.as_ref().ok_or(LoadError::Object("shared maps"))?.load(role)
    }

    /// The copy of the programs that all namespaces but the tracer's own share. The first call loads it.
    pub(super) fn one_for_all(&mut self) -> Result<&mut Programs, LoadError> {
        let programs = match self.for_others.take() {
            Some(programs) => programs,
            None => self.load(Role::Shared)?,
        };
        Ok(self.for_others.insert(programs))
    }

    /// The copy of the programs that all namespaces but the tracer's own share, if it is loaded.
    pub(super) const fn for_others(&self) -> Option<&Programs> {
        self.for_others.as_ref()
    }

    /// Lets go of what belongs to the namespace of this number, which is gone.
    pub(super) fn forget(&mut self, number: u16) {
        if let Some(programs) = &mut self.for_others {
            programs.forget_netns(number);
        }
    }
}

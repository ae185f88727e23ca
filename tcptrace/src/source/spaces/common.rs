//! What all namespaces have in common. The programs are loaded once for the tracer's own and once for all others, or once for
//! all (`kernel/attach/share.rs`).

use super::scope::Scope;
use crate::{
    kernel::{
        attach::{AttachMode, IngressHook, share::SharedMaps},
        interfaces::watch::InterfaceNames,
        load::{LoadError, LoadOptions, Programs, Role},
    },
    source::config::LiveConfig,
};

/// What all namespaces have in common.
pub(super) struct Common {
    pub(super) ingress: IngressHook,
    pub(super) mode: AttachMode,
    pub(super) scope: Scope,
    pub(super) names: InterfaceNames,
    /// Something was attached to.
    pub(super) has_attached: bool,
    maps: Option<SharedMaps>,
    /// For all namespaces but the tracer's own.
    for_others: Option<Programs>,
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

    /// Lets other copies of the programs have their maps in common with these, which were just loaded.
    pub(super) fn share(&mut self, programs: &Programs, options: &LoadOptions) -> Result<(), LoadError> {
        self.maps = Some(SharedMaps::of(programs, options)?);
        Ok(())
    }

    /// A number for one more interface.
    pub(super) const fn next_interface(&mut self) -> u32 {
        self.interfaces = self.interfaces.wrapping_add(1);
        self.interfaces
    }

    /// A copy of the programs.
    pub(super) fn load(&self, role: Role) -> Result<Programs, LoadError> {
        self.maps.as_ref().ok_or(LoadError::Object("shared maps"))?.load(role)
    }

    /// The copy that all namespaces but the tracer's own have in common.
    pub(super) fn one_for_all(&mut self) -> Result<&mut Programs, LoadError> {
        let programs = match self.for_others.take() {
            Some(programs) => programs,
            None => self.load(Role::Shared)?,
        };
        Ok(self.for_others.insert(programs))
    }

    /// The copy of the programs that the tracer's own namespace does without.
    pub(super) const fn for_others(&self) -> Option<&Programs> {
        self.for_others.as_ref()
    }

    /// The namespace of this number is gone.
    pub(super) fn forget(&mut self, number: u16) {
        if let Some(programs) = &mut self.for_others {
            programs.forget_netns(number);
        }
    }
}

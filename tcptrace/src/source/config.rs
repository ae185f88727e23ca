//! What a live trace is asked for.

use super::sweep;
use crate::kernel::{
    attach::{AttachMode, IngressHook},
    load::LoadOptions,
    namespaces::Namespaces,
};
use std::time::Duration;
use tcptrace_common::{admission::Admission, filter::Program};

/// Which interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Selection {
    /// The one that the default route leaves by.
    #[default]
    DefaultRoute,
    /// All that are up, and those that come up later.
    Any,
    /// These.
    Named(Vec<String>),
}

/// What to trace and how.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Which interfaces.
    pub interfaces: Selection,
    /// The network namespaces that they are in.
    pub namespaces: Namespaces,
    /// The hook for what comes in.
    pub ingress: IngressHook,
    /// How TC programs are attached.
    pub attach: AttachMode,
    /// Which segments the programs make records of.
    pub filter: Box<Program>,
    /// Sizes, and whether the programs log.
    pub load: LoadOptions,
    /// The most that is admitted.
    pub sample: Admission,
    /// Nothing is told of later than this after it happened, as long as there is CPU time.
    pub latency: Duration,
    /// An acknowledgement that did not come for this long, or up to twice as long, is no longer expected.
    pub pending_for: Duration,
}

impl LiveConfig {
    /// Late enough that a busy host is woken ten times a second, early enough for a person.
    pub const DEFAULT_LATENCY: Duration = Duration::from_millis(100);
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            interfaces: Selection::default(),
            namespaces: Namespaces::default(),
            ingress: IngressHook::default(),
            attach: AttachMode::default(),
            filter: Box::default(),
            load: LoadOptions::default(),
            sample: Admission::ALL,
            latency: Self::DEFAULT_LATENCY,
            pending_for: sweep::PERIOD,
        }
    }
}

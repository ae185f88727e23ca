//! What a live source is asked to trace.

use super::sweep;
use crate::kernel::{
    attach::{AttachMode, IngressHook},
    load::LoadOptions,
    namespaces::Namespaces,
};
use std::{path::PathBuf, time::Duration};
use tcptrace_common::{admission::Admission, filter::Program};

/// Which interfaces are traced.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Selection {
    /// The interface that the default route leaves by.
    #[default]
    DefaultRoute,
    /// All interfaces that are up, and those that come up later.
    Any,
    /// The interfaces of these names.
    Named(Vec<String>),
}

/// What to trace and how.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// The interfaces that are traced.
    pub interfaces: Selection,
    /// The network namespaces that they are in.
    pub namespaces: Namespaces,
    /// The hook for packets that come in.
    pub ingress: IngressHook,
    /// How TC programs are attached.
    pub attach: AttachMode,
    /// The filter: the programs make records of the segments that it admits.
    pub filter: Box<Program>,
    /// What the programs are loaded with: sizes, tunnels, and whether they log.
    pub load: LoadOptions,
    /// The kubelet's folder of logs, if it is to tell the names of pods.
    pub pod_names: Option<PathBuf>,
    /// The largest part of connections that is followed.
    pub sample: Admission,
    /// How long after it happened something may be reported, as long as there is CPU time.
    pub latency: Duration,
    /// How long an acknowledgement is expected at least; at most it is twice as long.
    pub pending_for: Duration,
}

impl LiveConfig {
    /// The default of `latency`: a busy host is woken only ten times a second, and a person sees no delay.
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
            pod_names: None,
            sample: Admission::ALL,
            latency: Self::DEFAULT_LATENCY,
            pending_for: sweep::PERIOD,
        }
    }
}

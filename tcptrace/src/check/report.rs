//! What `tcptrace check` found, as it is in JSON.

use serde::Serialize;
use std::collections::BTreeMap;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// A trace could begin.
    pub ok: bool,
    /// Not each of the interfaces was asked for by its name: one that cannot be attached to is left out and fails nothing.
    #[serde(skip)]
    pub(super) any: bool,
    pub(super) kernel: KernelReport,
    pub(super) netns: Option<String>,
    /// With all network namespaces.
    pub(super) all_netns: Option<AllNetns>,
    /// Those of ours that the kernel's verifier took, and how many instructions it walked.
    pub(super) programs: BTreeMap<&'static str, Option<u32>>,
    pub(super) interfaces: Vec<InterfaceReport>,
    /// What is wrong with no interface in particular.
    pub(super) problems: Vec<String>,
}

/// What a trace of all network namespaces would take. It takes up later ones, too.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AllNetns {
    /// So many.
    pub(super) traced: usize,
    /// Processes that may not be looked at: what only they are in is not found.
    pub(super) hidden_processes: u64,
    pub(super) left_out: Vec<LeftOut>,
}

/// A network namespace that would not be traced.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LeftOut {
    pub(super) netns: String,
    pub(super) reason: String,
}

/// What the kernel has; None where it does not let us ask.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KernelReport {
    pub(super) release: String,
    pub(super) ring_buffer: Option<bool>,
    pub(super) tcx_links: Option<bool>,
    pub(super) xdp_links: bool,
    pub(super) btf: Option<bool>,
    /// None also where no program was taken.
    pub(super) jit: Option<bool>,
}

/// An interface.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InterfaceReport {
    #[serde(rename = "interface")]
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) link: String,
    pub(super) driver: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) queues: Option<Queues>,
    pub(super) offloads: BTreeMap<&'static str, bool>,
    pub(super) qdiscs: Vec<String>,
    /// Programs of others, in the order of their hooks.
    pub(super) programs: Vec<Hook>,
    pub(super) would_attach: Vec<Ours>,
    /// What XDP in the driver would meet and disturb.
    pub(super) native_xdp: Vec<String>,
    /// Why a trace of it would fail, or one of all interfaces leave it out.
    pub(super) problems: Vec<String>,
    /// What could not be found out, and why.
    pub(super) unknown: BTreeMap<&'static str, String>,
}

/// How many for what comes in and for what goes out.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Queues {
    pub(super) rx: u32,
    pub(super) tx: u32,
}

/// A program on a hook.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Hook {
    #[serde(rename = "hook")]
    pub(super) place: String,
    pub(super) program: String,
    /// The kernel's number for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u32>,
    /// Of a filter on clsact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u16>,
}

/// A program of ours, where it would be.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ours {
    #[serde(rename = "hook")]
    pub(super) place: String,
    pub(super) program: &'static str,
    /// It is certain that it would be before all others.
    #[serde(skip)]
    pub(super) first: bool,
    /// A filter of this kind has the first priority and is before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behind: Option<String>,
}

impl Report {
    /// One line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

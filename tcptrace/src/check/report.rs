//! What `tcptrace check` finds, in the form that its JSON has.

use serde::Serialize;
use std::collections::BTreeMap;

/// All that `tcptrace check` finds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether a trace could begin.
    pub ok: bool,
    /// Whether an interface that cannot be attached to is left out, instead of making the trace fail
    /// ([`CheckConfig::may_leave_out`](crate::cli::CheckConfig::may_leave_out)).
    #[serde(skip)]
    pub(super) any: bool,
    pub(super) kernel: KernelReport,
    pub(super) netns: Option<String>,
    /// What is found about namespaces, if all of them would be traced.
    pub(super) all_netns: Option<AllNetns>,
    /// The programs of ours that the kernel's verifier accepted, and how many instructions it walked, where it tells.
    pub(super) programs: BTreeMap<&'static str, Option<u32>>,
    pub(super) interfaces: Vec<InterfaceReport>,
    /// What would see the processes, if they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) processes: Option<ProcessReport>,
    /// Problems that are of no interface in particular.
    pub(super) problems: Vec<String>,
}

/// Which of the network namespaces a trace of all would trace now. It takes up those that come later, too.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AllNetns {
    /// How many namespaces would be traced.
    pub(super) traced: usize,
    /// How many processes may not be looked at. A namespace that no other process is in is not found.
    pub(super) hidden_processes: u64,
    pub(super) left_out: Vec<LeftOut>,
}

/// A network namespace that would not be traced.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LeftOut {
    pub(super) netns: String,
    pub(super) reason: String,
}

/// What the running kernel has. A field is None where the kernel does not let us ask.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KernelReport {
    pub(super) release: String,
    pub(super) ring_buffer: Option<bool>,
    pub(super) tcx_links: Option<bool>,
    pub(super) xdp_links: bool,
    pub(super) btf: Option<bool>,
    /// Whether programs are compiled to machine code; None also where no program was accepted.
    pub(super) jit: Option<bool>,
}

/// What a trace would attach to see which processes use sockets.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ProcessReport {
    /// The cgroup: the root of the hierarchy, where that is mounted.
    pub(super) cgroup: Option<String>,
    pub(super) would_attach: Vec<&'static str>,
    /// Why processes would not be known. The trace would begin without them.
    pub(super) problem: Option<String>,
}

/// What is on one interface, and what a trace would attach to it.
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
    /// The programs of others, in the order of their hooks.
    pub(super) programs: Vec<HookedProgram>,
    pub(super) would_attach: Vec<PlannedProgram>,
    /// What XDP in the driver would meet, and what it would disturb.
    pub(super) native_xdp: Vec<String>,
    /// Why a trace of this interface would fail, or why a trace of all interfaces would leave it out.
    pub(super) problems: Vec<String>,
    /// What could not be found out, and why.
    pub(super) unknown: BTreeMap<&'static str, String>,
}

/// How many queues an interface has for packets that come in, and for those that go out.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Queues {
    pub(super) rx: u32,
    pub(super) tx: u32,
}

/// A program of somebody else's on a hook.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HookedProgram {
    pub(super) hook: String,
    pub(super) program: String,
    /// The kernel's number for the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u32>,
    /// The priority, if it is a filter on clsact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<u16>,
}

/// A program of ours on the hook that a trace would attach it to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PlannedProgram {
    pub(super) hook: String,
    pub(super) program: &'static str,
    /// Whether it is certain that the program would be before all others.
    #[serde(skip)]
    pub(super) first: bool,
    /// The kind of a filter that has the first priority, so that our program would be behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) behind: Option<String>,
}

impl Report {
    /// The report as one line of JSON, with its line feed.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|line| line + "\n")
    }
}

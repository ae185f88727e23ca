//! `tcptrace check`: what is on the interfaces before a trace, which programs the trace would attach where, and what
//! stands in its way. It loads the programs to see that the kernel accepts them, and attaches nothing.

mod report;
mod surveys;
mod text;

pub use report::Report;

use crate::{
    cli::CheckConfig,
    kernel::{
        attach::{
            self, AttachError, AttachMode,
            plan::{Plan, why_no_xdp},
            share::SharedMaps,
            survey::{
                FILTERS, FoundProgram, InterfaceSurvey, Kernel, QDISCS, Verified, XDP_FEATURES, verify,
            },
        },
        interfaces,
        load::{CGROUP_PROGRAMS, LoadError, LoadOptions, Programs, Role, not_permitted},
        namespaces::{self, Namespaces},
    },
    source::{hierarchy, live::LiveError},
};
use report::{HookedProgram, InterfaceReport, KernelReport, PlannedProgram, ProcessReport, Queues};
use std::{collections::BTreeMap, sync::Arc};
use surveys::Surveys;

/// The number of a namespace for which a copy of the programs is verified. Any number but 0, the first copy's, would
/// do.
const COPY: u16 = 1;
/// The name of libxdp's dispatcher: the program that lets several XDP programs share an interface by calling them in
/// turn.
const DISPATCHER: &str = "xdp_dispatcher";
/// The largest MTU at which a packet fits a page, as native XDP demands, in octets: before it is headroom, behind it is
/// the kernel's own data (`include/linux/skbuff.h`, `SKB_WITH_OVERHEAD`). Drivers differ by some octets.
const LARGEST_MTU: u32 = 3498;
/// Large receive offload, which drivers do not combine with XDP. The names of offloads are the kernel's
/// (`net/ethtool/common.c`).
const LRO: &str = "rx-lro";
/// Generic receive offload in hardware, which drivers do not combine with XDP.
const GRO_HW: &str = "rx-gro-hw";
/// The offloads that matter to a trace or to XDP.
const OFFLOADS: [&str; 7] = [
    "rx-vlan-hw-parse",
    "tx-vlan-hw-insert",
    LRO,
    "rx-gro",
    GRO_HW,
    "tx-tcp-segmentation",
    "tx-generic-segmentation",
];

/// Makes the report. What would make a trace fail is in the report; an error means that there is nothing to report, as
/// when the process lacks a capability.
pub fn check(config: &CheckConfig) -> Result<Report, LiveError> {
    if config.netns == Namespaces::All {
        namespaces::may_trace_all()?;
    }
    if let Some(error) = not_permitted() {
        return Err(error.into());
    }
    let surveys = Surveys::make(config)?;
    let kernel = Kernel::ask();
    let options = LoadOptions {
        decap: config.decap,
        ring_bytes: config.ring_bytes,
        sockets: config.sockets,
        processes: config.processes,
        first_byte: config.first_byte,
        server_name: config.server_name,
        ..LoadOptions::default()
    };
    let (programs, refusal) = load(config.ingress.into(), &options, &surveys);
    let processes = config.processes.then(|| processes(&options));
    let Surveys { interfaces, all_netns, mut problems, .. } = surveys;
    problems.extend(refusal.map(|error| error.to_string()));
    let tcx = interfaces.iter().find_map(|it| it.tcx);
    let any = config.may_leave_out();
    let interfaces: Vec<_> = interfaces.iter().map(|survey| describe(survey, any)).collect();
    Ok(Report {
        // A trace of all interfaces leaves out one that it cannot attach to (`source/spaces/scope.rs`).
        ok: problems.is_empty() && (any || interfaces.iter().all(|it| it.problems.is_empty())),
        any,
        kernel: KernelReport {
            release: kernel.release,
            ring_buffer: kernel.ring_buffer,
            tcx_links: tcx,
            xdp_links: kernel.xdp_links,
            btf: kernel.btf,
            jit: programs.values().map(|it| it.is_compiled).reduce(|a, b| a && b),
        },
        netns: match &config.netns {
            Namespaces::Named(name) => Some(name.clone()),
            Namespaces::Own | Namespaces::All => None,
        },
        all_netns,
        programs: programs.into_iter().map(|(name, it)| (name, it.instructions)).collect(),
        interfaces,
        processes,
        problems,
    })
}

/// What a trace would attach to see processes. Whether others allow a program beside theirs shows only when it is attached.
fn processes(options: &LoadOptions) -> ProcessReport {
    let root = hierarchy::root();
    let verified = || Programs::load(options).and_then(|mut programs| programs.verify_watch());
    let problem = if root.is_none() {
        Some(hierarchy::NOT_MOUNTED.to_owned())
    } else {
        verified().err().map(|error| error.to_string())
    };
    ProcessReport {
        would_attach: if problem.is_none() { CGROUP_PROGRAMS.to_vec() } else { Vec::new() },
        cgroup: root.map(|root| root.display().to_string()),
        problem,
    }
}

/// Has the kernel verify the programs as a trace would load them, up to the first that it refuses.
fn load(
    ingress: attach::IngressHook,
    options: &LoadOptions,
    surveys: &Surveys,
) -> (BTreeMap<&'static str, Verified>, Option<LoadError>) {
    let mut verified = BTreeMap::new();
    let mut load = || {
        if surveys.all_netns.is_none() {
            verified = verify(&mut Programs::load(options)?, plans(&surveys.interfaces))?;
            return Ok(());
        }
        let role = Role::of_first(ingress, AttachMode::Auto);
        let mut first = Programs::load_as(options, role)?;
        let maps = SharedMaps::of(&first, options)?;
        let is_for_all = role == Role::Shared;
        let (of_first, of_others) =
            surveys.interfaces.split_at(if is_for_all { surveys.interfaces.len() } else { surveys.of_first });
        verified = verify(&mut first, plans(of_first))?;
        // Where each namespace has a copy of the programs, the copies differ only in a number: verifying one is enough.
        if plans(of_others).next().is_some() {
            verified.extend(verify(&mut maps.load(Role::of_other(ingress, COPY))?, plans(of_others))?);
        }
        Ok(())
    };
    let refusal: Result<(), LoadError> = load();
    (verified, refusal.err())
}

fn plans(surveys: &[InterfaceSurvey]) -> impl Iterator<Item = &Plan> {
    surveys.iter().filter_map(|it| it.plan.as_ref())
}

fn describe(survey: &InterfaceSurvey, any: bool) -> InterfaceReport {
    let InterfaceSurvey { interface, plan, .. } = survey;
    let problems = problems(survey);
    let plan = plan.as_ref().filter(|_| !any || problems.is_empty());
    let theirs = |it: &FoundProgram| HookedProgram {
        hook: it.hook.clone(),
        id: it.id,
        program: it.name.clone(),
        priority: it.priority,
    };
    InterfaceReport {
        name: interface.name.to_string(),
        index: interface.index,
        up: interface.up,
        link: interface.link.to_string(),
        driver: survey.driver.clone(),
        mtu: survey.mtu,
        queues: survey.queues.map(|(rx, tx)| Queues { rx, tx }),
        offloads: OFFLOADS.into_iter().filter_map(|name| Some((name, *survey.offloads.get(name)?))).collect(),
        qdiscs: survey.qdiscs.clone(),
        programs: survey.programs.iter().map(theirs).collect(),
        would_attach: plan.iter().flat_map(|plan| ours(survey, plan)).collect(),
        native_xdp: native_xdp(survey),
        problems,
        unknown: survey.unknown.0.clone(),
    }
}

/// The programs that a trace would attach to an interface.
fn ours(survey: &InterfaceSurvey, plan: &Plan) -> Vec<PlannedProgram> {
    let xdp = match survey.native_xdp {
        Some(native) if native.has => "XDP native",
        Some(_) => "XDP generic",
        None => "XDP",
    };
    let xdp = plan.xdp().map(|program| PlannedProgram {
        hook: xdp.to_owned(),
        program,
        first: false,
        behind: None,
    });
    let knows_filters = !survey.unknown.0.keys().any(|it| matches!(*it, QDISCS | FILTERS));
    let (hook, is_first) = match survey.tcx {
        Some(true) => ("TCX", true),
        Some(false) => ("clsact", knows_filters),
        None => ("TC", false),
    };
    let tc = plan.tc().map(|(side, program)| {
        let behind = survey.behind.get(&side).cloned();
        PlannedProgram {
            hook: format!("{hook} {side}"),
            program,
            first: is_first && behind.is_none(),
            behind,
        }
    });
    xdp.into_iter().chain(tc).collect()
}

/// Why a trace of this interface would fail, or why a trace of all interfaces would leave it out.
fn problems(survey: &InterfaceSurvey) -> Vec<String> {
    let InterfaceSurvey { interface, .. } = survey;
    let name = || Arc::clone(&interface.name);
    let mut problems = Vec::new();
    // These are the words that a trace has for it.
    if let Err(error) = interfaces::find(std::slice::from_ref(interface), &interface.name) {
        problems.push(error.to_string());
    }
    let Some(plan) = &survey.plan else { return problems };
    if plan.has_xdp() && survey.xdp().next().is_some() {
        problems.push(AttachError::XdpThere { interface: name() }.to_string());
    }
    for (side, _) in plan.tc().filter(|(side, _)| survey.is_full(*side)) {
        problems.push(AttachError::Full { interface: name(), side: side.to_string() }.to_string());
    }
    if survey.tcx == Some(false) && survey.qdiscs.iter().any(|kind| kind == "ingress") {
        problems.push(AttachError::IngressQdisc { interface: name() }.to_string());
    }
    problems
}

/// What XDP in the driver would meet on an interface, and what it would disturb.
fn native_xdp(survey: &InterfaceSurvey) -> Vec<String> {
    if let Some(why) = why_no_xdp(&survey.interface) {
        return vec![format!("is not used here ({why}): TC is, whatever --ingress says")];
    }
    if let Some(there) = survey.xdp().next() {
        let whose = if there.name == DISPATCHER { "libxdp's dispatcher" } else { "a program" };
        let id = there.id.unwrap_or_default();
        return vec![format!(
            "is refused: {whose} is there ({}, {} {id}); --ingress tc runs beside it and sees what it lets pass",
            there.hook, there.name
        )];
    }
    let on = |offload: &str| survey.offloads.get(offload).copied().unwrap_or(false);
    let aggregates: Vec<_> = [(LRO, "LRO"), (GRO_HW, "GRO_HW")]
        .into_iter()
        .filter(|(key, _)| on(key))
        .map(|(_, name)| name)
        .collect();
    let aggregates = aggregates.join(" and ");
    let mut said = effects_of_xdp(survey, &aggregates);
    said.push(
        "VLAN tags are not told of and tell no connections apart: the device may take them off before XDP sees the packet"
            .to_owned(),
    );
    said
}

/// What XDP would disturb, in the driver or, if the driver has none, in the kernel. `aggregates` names the receive
/// offloads that are on.
fn effects_of_xdp(survey: &InterfaceSurvey, aggregates: &str) -> Vec<String> {
    match survey.native_xdp {
        Some(native) if !native.has => {
            let mut said =
                vec!["the driver has none: generic XDP is used, which is slower than TC".to_owned()];
            if !aggregates.is_empty() {
                // net/core/dev.c, generic_xdp_install.
                said.push(format!("the kernel switches {aggregates} off for generic XDP, and not on again"));
            }
            said
        }
        native => {
            let mut said = Vec::new();
            if let Some(why) = survey.unknown.0.get(XDP_FEATURES) {
                said.push(format!("whether the driver has it is unknown ({why})"));
            } else if native.is_none() {
                said.push(
                    "this kernel does not tell whether the driver has it (6.3 and newer do)".to_owned(),
                );
            }
            said.extend(effects_in_driver(survey, aggregates));
            said
        }
    }
}

/// What XDP in the driver would disturb.
fn effects_in_driver(survey: &InterfaceSurvey, aggregates: &str) -> Vec<String> {
    let mut said = Vec::new();
    said.push(if survey.driver.as_deref() == Some("veth") {
        // drivers/net/veth.c, veth_xdp_set.
        "the peer is without segmentation offload while it is there, which halves bulk throughput".to_owned()
    } else {
        "the driver may reset its queues when it comes and goes, and packets be lost meanwhile".to_owned()
    });
    if !aggregates.is_empty() {
        said.push(format!("{aggregates} on: drivers refuse it then, or switch that off while it is there"));
    }
    if let Some(mtu) = survey.mtu.filter(|mtu| *mtu > LARGEST_MTU) {
        said.push(format!(
            "MTU {mtu}: drivers refuse it where a packet does not fit a page, above about 3,500"
        ));
    }
    said
}

//! `tcptrace check`: what is there before a trace, what the trace would put where, and what stands in its way. Loads the
//! programs to see that the kernel takes them, and attaches nothing.

mod places;
mod report;
mod text;

pub use report::Report;

use crate::{
    cli::CheckConfig,
    kernel::{
        attach::{
            self, AttachError, AttachMode,
            plan::{Plan, why_no_xdp},
            share::SharedMaps,
            survey::{Attached, FILTERS, Kernel, QDISCS, Survey, Verified, XDP_FEATURES, verify},
        },
        interfaces,
        load::{LoadError, LoadOptions, Programs, Role, not_permitted},
        namespaces::{self, Namespaces},
    },
    source::live::LiveError,
};
use places::Places;
use report::{Hook, InterfaceReport, KernelReport, Ours, Queues};
use std::{collections::BTreeMap, sync::Arc};

/// The number of a namespace that has a copy of the programs; any but the first's would do.
const COPY: u16 = 1;
/// What libxdp calls the program that calls others, of which it lets several share an interface.
const DISPATCHER: &str = "xdp_dispatcher";
/// A packet has to fit a page, with headroom before it and the kernel's own words behind (`include/linux/skbuff.h`,
/// `SKB_WITH_OVERHEAD`); drivers differ by some octets.
const LARGEST_MTU: u32 = 3498;
/// Offloads that matter to a trace or to XDP, by the kernel's names (`net/ethtool/common.c`).
const LRO: &str = "rx-lro";
const GRO_HW: &str = "rx-gro-hw";
const OFFLOADS: [&str; 7] = [
    "rx-vlan-hw-parse",
    "tx-vlan-hw-insert",
    LRO,
    "rx-gro",
    GRO_HW,
    "tx-tcp-segmentation",
    "tx-generic-segmentation",
];

/// Looks. What would make a trace fail is in the report; an error is what makes looking pointless.
pub fn check(config: &CheckConfig) -> Result<Report, LiveError> {
    if config.netns == Namespaces::All {
        namespaces::may_trace_all()?;
    }
    if let Some(error) = not_permitted() {
        return Err(error.into());
    }
    let places = Places::look(config)?;
    let kernel = Kernel::ask();
    let options =
        LoadOptions { decap: config.decap, ring_bytes: config.ring_bytes, ..LoadOptions::default() };
    let (programs, refusal) = load(config.ingress.into(), &options, &places);
    let Places { surveys, all_netns, mut problems, .. } = places;
    problems.extend(refusal.map(|error| error.to_string()));
    let tcx = surveys.iter().find_map(|it| it.tcx);
    let any = config.may_leave_out();
    let interfaces: Vec<_> = surveys.iter().map(|survey| describe(survey, any)).collect();
    Ok(Report {
        // Of all interfaces one that cannot be attached to is left out (`source/spaces/scope.rs`).
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
        problems,
    })
}

/// Has the kernel take the programs as a trace would load them, until it refuses something.
fn load(
    ingress: attach::IngressHook,
    options: &LoadOptions,
    places: &Places,
) -> (BTreeMap<&'static str, Verified>, Option<LoadError>) {
    let mut verified = BTreeMap::new();
    let mut load = || {
        if places.all_netns.is_none() {
            verified = verify(&mut Programs::load(options)?, plans(&places.surveys))?;
            return Ok(());
        }
        let role = Role::of_first(ingress, AttachMode::Auto);
        let mut first = Programs::load_as(options, role)?;
        let maps = SharedMaps::of(&first, options)?;
        let is_for_all = role == Role::Shared;
        let (of_first, of_others) =
            places.surveys.split_at(if is_for_all { places.surveys.len() } else { places.of_first });
        verified = verify(&mut first, plans(of_first))?;
        // Where each namespace has a copy, all are alike but for their numbers.
        if plans(of_others).next().is_some() {
            verified.extend(verify(&mut maps.load(Role::of_other(ingress, COPY))?, plans(of_others))?);
        }
        Ok(())
    };
    let refusal: Result<(), LoadError> = load();
    (verified, refusal.err())
}

fn plans(surveys: &[Survey]) -> impl Iterator<Item = &Plan> {
    surveys.iter().filter_map(|it| it.plan.as_ref())
}

fn describe(survey: &Survey, any: bool) -> InterfaceReport {
    let Survey { interface, plan, .. } = survey;
    let problems = problems(survey);
    let plan = plan.as_ref().filter(|_| !any || problems.is_empty());
    let theirs = |it: &Attached| Hook {
        place: it.hook.clone(),
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

fn ours(survey: &Survey, plan: &Plan) -> Vec<Ours> {
    let xdp = match survey.native_xdp {
        Some(native) if native.has => "XDP native",
        Some(_) => "XDP generic",
        None => "XDP",
    };
    let xdp = plan.xdp().map(|program| Ours { place: xdp.to_owned(), program, first: false, behind: None });
    let knows_filters = !survey.unknown.0.keys().any(|it| matches!(*it, QDISCS | FILTERS));
    let (hook, is_first) = match survey.tcx {
        Some(true) => ("TCX", true),
        Some(false) => ("clsact", knows_filters),
        None => ("TC", false),
    };
    let tc = plan.tc().map(|(side, program)| {
        let behind = survey.behind.get(&side).cloned();
        Ours { place: format!("{hook} {side}"), program, first: is_first && behind.is_none(), behind }
    });
    xdp.into_iter().chain(tc).collect()
}

/// Why a trace of this interface would fail, or one of all leave it out.
fn problems(survey: &Survey) -> Vec<String> {
    let Survey { interface, .. } = survey;
    let name = || Arc::clone(&interface.name);
    let mut problems = Vec::new();
    // As a trace says it, of the one or of several.
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

/// What XDP in the driver would meet and disturb.
fn native_xdp(survey: &Survey) -> Vec<String> {
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
    let mut said = how(survey, &aggregates);
    said.push(
        "VLAN tags are not told of and tell no connections apart: the device may take them off before XDP sees the packet"
            .to_owned(),
    );
    said
}

fn how(survey: &Survey, aggregates: &str) -> Vec<String> {
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
            said.extend(in_the_driver(survey, aggregates));
            said
        }
    }
}

fn in_the_driver(survey: &Survey, aggregates: &str) -> Vec<String> {
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

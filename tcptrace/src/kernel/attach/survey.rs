//! What is on an interface before a trace: programs of others on every hook, qdiscs, MTU; and what the kernel has. Asks,
//! and changes nothing.

use super::{
    clsact::{self, Filter, Present},
    hooks::{IngressHook, Side},
    plan::{Plan, plan},
    tcx,
};
use crate::kernel::{
    calls::{
        errors::program_errno,
        netlink::{self, Message, nested, text, u32_at},
    },
    interfaces::{
        IFLA_IFNAME, IFLA_LINKINFO, Interface, InterfaceError, LINK_FIXED, dump,
        ethtool::{self, Ethtool, NativeXdp},
    },
    load::{Entry, LoadError, Programs, kernel_before, kernel_release},
};
use aya::{maps::MapType, programs::loaded_programs, sys::is_map_supported};
use rustix::io::Errno;
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

/// Attributes of a link (`linux/if_link.h`).
const IFLA_MTU: u16 = 4;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// By mode (`XDP_ATTACHED_*`), where there are several; else the mode tells which the one is.
const IFLA_XDP_ATTACHED: u16 = 2;
const XDP_MODES: [(u16, u8, &str); 3] =
    [(5, 1, "XDP native"), (6, 2, "XDP generic"), (7, 3, "XDP offloaded")];

/// Instead of a name.
const HIDDEN: &str = "(its name is told to CAP_SYS_ADMIN alone)";

/// What the kernel has of what a trace can use; None where it does not let us ask.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) ring_buffer: Option<bool>,
    pub(crate) xdp_links: bool,
    pub(crate) btf: Option<bool>,
}

impl Kernel {
    pub(crate) fn ask() -> Self {
        Self {
            release: kernel_release(),
            ring_buffer: is_map_supported(MapType::RingBuf).ok(),
            // Cannot be asked without attaching (kernel/bpf/syscall.c, link_create).
            xdp_links: !kernel_before(5, 9),
            btf: has_btf(),
        }
    }
}

/// Nobody can tell where sysfs is not mounted.
fn has_btf() -> Option<bool> {
    let exists = |path| Path::new(path).try_exists().ok();
    let is_there = exists("/sys/kernel/btf/vmlinux")?;
    (is_there || exists("/sys/kernel")?).then_some(is_there)
}

/// A program of somebody's on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Such as `TCX ingress`.
    pub(crate) hook: String,
    /// The kernel's number for it; filters of other kinds have none.
    pub(crate) id: Option<u32>,
    /// As its maker called it; what kind of filter it is otherwise.
    pub(crate) name: String,
    /// Of a filter.
    pub(crate) priority: Option<u16>,
}

/// One interface.
pub(crate) struct Survey {
    pub(crate) interface: Interface,
    /// Of the driver, or the kind of device.
    pub(crate) driver: Option<String>,
    pub(crate) mtu: Option<u32>,
    /// For what comes in and what goes out.
    pub(crate) queues: Option<(u32, u32)>,
    pub(crate) offloads: BTreeMap<String, bool>,
    pub(crate) qdiscs: Vec<String>,
    pub(crate) programs: Vec<Attached>,
    /// The kernel has TCX links; None where it does not let us ask.
    pub(crate) tcx: Option<bool>,
    /// Where it has not: by side, the kind of a filter that ours would be behind all the same.
    pub(crate) behind: BTreeMap<Side, String>,
    /// None where the kernel does not tell.
    pub(crate) native_xdp: Option<NativeXdp>,
    /// None of a kind that is not traced.
    pub(crate) plan: Option<Plan>,
    /// What could not be found out, and why.
    pub(crate) unknown: Unknown,
}

/// What could not be found out, by what it is, and why. What stands in its place says nothing then.
#[derive(Default)]
pub(crate) struct Unknown(pub(crate) BTreeMap<&'static str, String>);

impl Unknown {
    fn without<T: Default>(&mut self, what: &'static str, asked: io::Result<T>) -> T {
        asked.unwrap_or_else(|why| {
            self.0.insert(what, why.to_string());
            T::default()
        })
    }
}

/// What may be unknown.
pub(crate) const DRIVER: &str = "driver";
pub(crate) const QUEUES: &str = "queues";
pub(crate) const OFFLOADS: &str = "offloads";
pub(crate) const QDISCS: &str = "qdiscs";
pub(crate) const FILTERS: &str = "filters";
pub(crate) const TCX: &str = "TCX programs";
pub(crate) const XDP_FEATURES: &str = "XDP features";

impl Survey {
    /// In the network namespace that the interface is in; None if it has gone from there.
    pub(crate) fn of(interface: &Interface, ingress: IngressHook) -> Result<Option<Self>, InterfaceError> {
        let Some(link) = link(interface.index)? else { return Ok(None) };
        let ethtool = Ethtool::open().map_err(|source| InterfaceError::Property {
            name: Arc::clone(&interface.name),
            what: DRIVER,
            source,
        })?;
        let mut unknown = Unknown::default();
        let octets = link.attribute(LINK_FIXED, IFLA_IFNAME).unwrap_or_default();
        let octets = octets.strip_suffix(b"\0").unwrap_or(octets);
        let number = |kind| link.attribute(LINK_FIXED, kind).and_then(|value| u32_at(value, 0));
        let kind = link.attribute(LINK_FIXED, IFLA_LINKINFO).and_then(|info| nested(info, IFLA_INFO_KIND));
        // Of a driver that does not say, as many as were made for it.
        let made = || Some((number(IFLA_NUM_RX_QUEUES)?, number(IFLA_NUM_TX_QUEUES)?));
        let queues = unknown.without(QUEUES, ethtool.queues(octets).map(|it| it.or_else(made)));
        let mut programs = xdp(&link);
        let tcx = unknown.without(TCX, tcx(interface.index, &mut programs).map(Some));
        name(&mut programs);
        let qdiscs = unknown.without(QDISCS, clsact::qdiscs(interface.index));
        let mut behind = BTreeMap::new();
        for side in Side::BOTH {
            let filters = match Present::among(&qdiscs) {
                Present::Nothing => Vec::new(),
                _ => unknown.without(FILTERS, clsact::filters(interface.index, side)),
            };
            if let Some(first) = clsact::in_front(&filters).filter(|_| tcx == Some(false)) {
                behind.insert(side, first.kind);
            }
            programs.extend(filters.into_iter().filter_map(|it| attached(it, side)));
        }
        Ok(Some(Self {
            interface: interface.clone(),
            driver: unknown.without(DRIVER, ethtool.driver(octets)).or_else(|| kind.map(text)),
            mtu: number(IFLA_MTU),
            queues,
            offloads: unknown.without(OFFLOADS, ethtool.features(octets)),
            qdiscs,
            programs,
            tcx,
            behind,
            native_xdp: unknown.without(XDP_FEATURES, ethtool::native_xdp(interface.index)),
            plan: plan(interface, ingress),
            unknown,
        }))
    }

    /// No program can be added to the TCX hook of this side.
    pub(crate) fn is_full(&self, side: Side) -> bool {
        let hook = tcx_hook(side);
        self.programs.iter().filter(|it| it.hook == hook).count() >= tcx::MOST
    }

    /// XDP programs that are there, in any mode.
    pub(crate) fn xdp(&self) -> impl Iterator<Item = &Attached> {
        self.programs.iter().filter(|it| it.hook.starts_with("XDP"))
    }
}

/// A program of ours that the kernel has taken.
pub(crate) struct Verified {
    /// How many instructions the verifier walked, where the kernel tells.
    pub(crate) instructions: Option<u32>,
    /// It runs as the machine's own code.
    pub(crate) is_compiled: bool,
}

/// Has the kernel verify the programs of these plans, by their names; attaches nothing.
pub(crate) fn verify<'a>(
    programs: &mut Programs,
    plans: impl Iterator<Item = &'a Plan>,
) -> Result<BTreeMap<&'static str, Verified>, LoadError> {
    let mut verified = BTreeMap::new();
    for plan in plans {
        let tc = plan.tc.iter().map(|(entry, _)| *entry);
        for entry in tc.chain(plan.xdp) {
            let info = match entry {
                Entry::Xdp => programs.xdp()?.info(),
                _ => programs.classifier(entry)?.info(),
            };
            let Ok(info) = info else { continue };
            let is_compiled = info.size_jitted() > 0;
            let instructions = info.verified_instruction_count();
            verified.insert(entry.name(), Verified { instructions, is_compiled });
        }
    }
    Ok(verified)
}

/// None of one that is gone.
fn link(index: u32) -> Result<Option<Message>, InterfaceError> {
    let links = dump("interfaces", netlink::RTM_GETLINK, &[0; LINK_FIXED])?;
    Ok(links.into_iter().find(|message| {
        message.kind == netlink::RTM_NEWLINK
            && message.fixed(LINK_FIXED).and_then(|fixed| u32_at(fixed, 4)) == Some(index)
    }))
}

fn xdp(link: &Message) -> Vec<Attached> {
    let Some(xdp) = link.attribute(LINK_FIXED, IFLA_XDP) else { return Vec::new() };
    let id = |kind| nested(xdp, kind).and_then(|value| u32_at(value, 0));
    let mode = nested(xdp, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    let found = XDP_MODES.into_iter().filter_map(|(kind, number, hook)| {
        let id = id(kind).or_else(|| id(IFLA_XDP_PROG_ID).filter(|_| mode == Some(number)))?;
        Some(Attached { hook: hook.to_owned(), id: Some(id), name: String::new(), priority: None })
    });
    found.collect()
}

fn tcx_hook(side: Side) -> String {
    format!("TCX {side}")
}

/// False where the kernel has no TCX.
fn tcx(index: u32, programs: &mut Vec<Attached>) -> io::Result<bool> {
    for side in Side::BOTH {
        let Some(numbers) = tcx::programs(index, side)? else { return Ok(false) };
        programs.extend(numbers.into_iter().map(|id| Attached {
            hook: tcx_hook(side),
            id: Some(id),
            name: String::new(),
            priority: None,
        }));
    }
    Ok(true)
}

/// Heads are no filters, which have the handle 0, and neither are u32's tables, whose handles end in 20 bits of 0
/// (`net/sched/cls_u32.c`).
fn attached(filter: Filter, side: Side) -> Option<Attached> {
    let is_table = filter.kind == "u32" && filter.handle.trailing_zeros() >= 20;
    (filter.handle != 0 && !is_table).then(|| Attached {
        hook: format!("clsact {side}"),
        id: filter.program,
        name: filter.name.unwrap_or(filter.kind),
        priority: Some(filter.priority),
    })
}

/// Fills in what programs that have numbers are called.
fn name(programs: &mut [Attached]) {
    if programs.is_empty() {
        return;
    }
    let (mut names, mut may_ask) = (BTreeMap::new(), true);
    for program in loaded_programs() {
        match program {
            Ok(program) => {
                names.insert(program.id(), program.name_as_str().unwrap_or_default().to_owned());
            }
            // Another one goes meanwhile.
            Err(error) => may_ask &= program_errno(&error) != Some(Errno::PERM),
        }
    }
    for it in programs {
        it.name = match it.id.and_then(|id| names.get(&id)) {
            Some(name) if name.is_empty() => "(without a name)".to_owned(),
            Some(name) => name.clone(),
            None if may_ask => "(gone meanwhile)".to_owned(),
            None => HIDDEN.to_owned(),
        };
    }
}

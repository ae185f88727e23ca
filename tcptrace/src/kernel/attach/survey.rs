//! Finds out what is on an interface before a trace, such as programs of others, qdiscs and the MTU, and what the
//! kernel has. It changes nothing.

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
/// How a program is attached: one of `XDP_ATTACHED_*`.
const IFLA_XDP_ATTACHED: u16 = 2;
/// For each mode of XDP, the attribute with its program's number where there are programs in several modes, the value
/// of `IFLA_XDP_ATTACHED` where there is one program, and what the hook is called.
const XDP_MODES: [(u16, u8, &str); 3] =
    [(5, 1, "XDP native"), (6, 2, "XDP generic"), (7, 3, "XDP offloaded")];

/// What stands in the place of a program's name if the kernel does not tell it.
const HIDDEN: &str = "(its name is told to CAP_SYS_ADMIN alone)";

/// What the kernel has that a trace can use. A field is None where the kernel does not let us ask.
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
            // The kernel could only be asked by attaching one (kernel/bpf/syscall.c, link_create).
            xdp_links: !kernel_before(5, 9),
            btf: has_btf(),
        }
    }
}

/// Whether the kernel has BTF; None if sysfs is not mounted, where that would show.
fn has_btf() -> Option<bool> {
    let exists = |path| Path::new(path).try_exists().ok();
    let is_there = exists("/sys/kernel/btf/vmlinux")?;
    (is_there || exists("/sys/kernel")?).then_some(is_there)
}

/// A program on a hook, whoever put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundProgram {
    /// The hook, such as `TCX ingress`.
    pub(crate) hook: String,
    /// The kernel's number for the program; a filter of another kind than bpf has none.
    pub(crate) id: Option<u32>,
    /// The name that its maker gave it, or the kind of a filter without a name.
    pub(crate) name: String,
    /// The priority, if it is a filter.
    pub(crate) priority: Option<u16>,
}

/// What is on one interface.
pub(crate) struct InterfaceSurvey {
    pub(crate) interface: Interface,
    /// The name of the driver, or the kind of a device that has none.
    pub(crate) driver: Option<String>,
    pub(crate) mtu: Option<u32>,
    /// How many queues there are for packets that come in, and for those that go out.
    pub(crate) queues: Option<(u32, u32)>,
    pub(crate) offloads: BTreeMap<String, bool>,
    pub(crate) qdiscs: Vec<String>,
    pub(crate) programs: Vec<FoundProgram>,
    /// Whether the kernel has TCX links; None where it does not let us ask.
    pub(crate) tcx: Option<bool>,
    /// The kind of the filter that packets would meet before ours, by side. It is known only where the kernel has no
    /// TCX links.
    pub(crate) behind: BTreeMap<Side, String>,
    /// What XDP the driver says that it has; None where the kernel does not tell.
    pub(crate) native_xdp: Option<NativeXdp>,
    /// The programs that a trace would attach; None if the interface is of a kind that is not traced.
    pub(crate) plan: Option<Plan>,
    /// What could not be found out, and why.
    pub(crate) unknown: Unknown,
}

/// What could not be found out, and why. The value in the survey means nothing then.
#[derive(Default)]
pub(crate) struct Unknown(pub(crate) BTreeMap<&'static str, String>);

impl Unknown {
    /// The answer to a question, or a value without meaning, with a note that it is unknown.
    fn without<T: Default>(&mut self, what: &'static str, asked: io::Result<T>) -> T {
        asked.unwrap_or_else(|why| {
            self.0.insert(what, why.to_string());
            T::default()
        })
    }
}

/// The names of what may be unknown.
pub(crate) const DRIVER: &str = "driver";
pub(crate) const QUEUES: &str = "queues";
pub(crate) const OFFLOADS: &str = "offloads";
pub(crate) const QDISCS: &str = "qdiscs";
pub(crate) const FILTERS: &str = "filters";
pub(crate) const TCX: &str = "TCX programs";
pub(crate) const XDP_FEATURES: &str = "XDP features";

impl InterfaceSurvey {
    /// Surveys an interface; None if it is gone. The thread has to be in the interface's namespace.
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
        // If the driver does not say how many queues it uses, those that were made for it count.
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

    /// Whether no program can be added to the TCX hook of this side.
    pub(crate) fn is_full(&self, side: Side) -> bool {
        let hook = tcx_hook(side);
        self.programs.iter().filter(|it| it.hook == hook).count() >= tcx::MOST
    }

    /// The XDP programs on the interface, in any mode.
    pub(crate) fn xdp(&self) -> impl Iterator<Item = &FoundProgram> {
        self.programs.iter().filter(|it| it.hook.starts_with("XDP"))
    }
}

/// What the kernel says of a program of ours that it has verified.
pub(crate) struct Verified {
    /// How many instructions the verifier walked, if the kernel tells.
    pub(crate) instructions: Option<u32>,
    /// Whether the program was compiled to machine code.
    pub(crate) is_compiled: bool,
}

/// Has the kernel verify the programs of these plans, and returns what it says of each, by name. Nothing is attached.
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

/// The kernel's message about the interface of this index; None if it is gone.
fn link(index: u32) -> Result<Option<Message>, InterfaceError> {
    let links = dump("interfaces", netlink::RTM_GETLINK, &[0; LINK_FIXED])?;
    Ok(links.into_iter().find(|message| {
        message.kind == netlink::RTM_NEWLINK
            && message.fixed(LINK_FIXED).and_then(|fixed| u32_at(fixed, 4)) == Some(index)
    }))
}

/// The XDP programs that a message about an interface names.
fn xdp(link: &Message) -> Vec<FoundProgram> {
    let Some(xdp) = link.attribute(LINK_FIXED, IFLA_XDP) else { return Vec::new() };
    let id = |kind| nested(xdp, kind).and_then(|value| u32_at(value, 0));
    let mode = nested(xdp, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    let found = XDP_MODES.into_iter().filter_map(|(kind, number, hook)| {
        let id = id(kind).or_else(|| id(IFLA_XDP_PROG_ID).filter(|_| mode == Some(number)))?;
        Some(FoundProgram { hook: hook.to_owned(), id: Some(id), name: String::new(), priority: None })
    });
    found.collect()
}

fn tcx_hook(side: Side) -> String {
    format!("TCX {side}")
}

/// Adds the programs on an interface's TCX hooks. Returns whether the kernel has TCX.
fn tcx(index: u32, programs: &mut Vec<FoundProgram>) -> io::Result<bool> {
    for side in Side::BOTH {
        let Some(numbers) = tcx::programs(index, side)? else { return Ok(false) };
        programs.extend(numbers.into_iter().map(|id| FoundProgram {
            hook: tcx_hook(side),
            id: Some(id),
            name: String::new(),
            priority: None,
        }));
    }
    Ok(true)
}

/// A filter as a program on a hook; None if it is none. A head, which has the handle 0, is no filter, and neither is a
/// table of u32, whose handle ends in 20 bits of 0 (`net/sched/cls_u32.c`).
fn attached(filter: Filter, side: Side) -> Option<FoundProgram> {
    let is_table = filter.kind == "u32" && filter.handle.trailing_zeros() >= 20;
    (filter.handle != 0 && !is_table).then(|| FoundProgram {
        hook: format!("clsact {side}"),
        id: filter.program,
        name: filter.name.unwrap_or(filter.kind),
        priority: Some(filter.priority),
    })
}

/// Fills in the names of programs by their numbers.
fn name(programs: &mut [FoundProgram]) {
    if programs.is_empty() {
        return;
    }
    let (mut names, mut may_ask) = (BTreeMap::new(), true);
    for program in loaded_programs() {
        match program {
            Ok(program) => {
                names.insert(program.id(), program.name_as_str().unwrap_or_default().to_owned());
            }
            // Other errors are of programs that were unloaded meanwhile.
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

//! What is on an interface before a trace: programs of others on every hook, qdiscs, MTU; and what the kernel has. Asks,
//! and changes nothing.

use super::{
    attach::IngressHook,
    clsact::{self, Side},
    ethtool::{self, Ethtool, NativeXdp},
    interface::{Interface, InterfaceError, dump},
    load::{LoadError, Programs, kernel_before, kernel_release, with_sources},
    netlink::{self, Message, nested, text, u32_at},
    plan::{Plan, plan},
};
use aya::{
    maps::MapType,
    programs::{ProgramError, SchedClassifier, loaded_programs},
    sys::is_map_supported,
};
use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

/// `ifinfomsg` and its attributes (`linux/if_link.h`).
const LINK_FIXED: usize = 16;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// By mode (`XDP_ATTACHED_*`), where there are several; else the mode tells which the one is.
const IFLA_XDP_ATTACHED: u16 = 2;
const XDP_MODES: [(u16, u8, &str); 3] =
    [(5, 1, "XDP native"), (6, 2, "XDP generic"), (7, 3, "XDP offloaded")];

/// What the kernel has of what a trace can use.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature that is there or not")]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) ring_buffer: bool,
    pub(crate) xdp_links: bool,
    pub(crate) btf: bool,
    pub(crate) jit: bool,
}

impl Kernel {
    pub(crate) fn ask() -> Self {
        let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
        Self {
            release: kernel_release(),
            ring_buffer: is_map_supported(MapType::RingBuf).unwrap_or(false),
            // Cannot be asked without attaching (kernel/bpf/syscall.c, link_create).
            xdp_links: !kernel_before(5, 9),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            // Where the file is not readable, as to others than root, nothing is known and the default is on.
            jit: jit.is_ok_and(|value| value.trim() != "0"),
        }
    }
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
    /// The kernel has TCX links.
    pub(crate) tcx: bool,
    /// None where the kernel does not tell.
    pub(crate) native_xdp: Option<NativeXdp>,
    /// None of a kind that is not traced.
    pub(crate) plan: Option<Plan>,
}

impl Survey {
    /// In the network namespace that the interface is in.
    pub(crate) fn of(interface: &Interface, ingress: IngressHook) -> Result<Self, InterfaceError> {
        let failed =
            |what| move |source| InterfaceError::Property { name: Arc::clone(&interface.name), what, source };
        let link = link(interface.index)?;
        let ethtool = Ethtool::open().map_err(failed("driver"))?;
        let name = &*interface.name;
        let number = |kind| link.attribute(LINK_FIXED, kind).and_then(|value| u32_at(value, 0));
        let kind = link.attribute(LINK_FIXED, IFLA_LINKINFO).and_then(|info| nested(info, IFLA_INFO_KIND));
        let queues = ethtool.queues(name).map_err(failed("queues"))?;
        let mut programs = xdp(&link);
        let tcx = tcx(name, &mut programs).map_err(failed("TCX programs"))?;
        for side in Side::BOTH {
            programs.extend(filters(interface.index, side).map_err(failed("filters"))?);
        }
        Ok(Self {
            interface: interface.clone(),
            driver: ethtool.driver(name).map_err(failed("driver"))?.or_else(|| kind.map(text)),
            mtu: number(IFLA_MTU),
            queues: queues.or_else(|| Some((number(IFLA_NUM_RX_QUEUES)?, number(IFLA_NUM_TX_QUEUES)?))),
            offloads: ethtool.features(name).map_err(failed("offloads"))?,
            qdiscs: clsact::qdiscs(interface.index).map_err(failed("qdiscs"))?,
            programs,
            tcx,
            native_xdp: ethtool::native_xdp(interface.index).map_err(failed("XDP features"))?,
            plan: plan(interface, ingress),
        })
    }

    /// XDP programs that are there, in any mode.
    pub(crate) fn xdp(&self) -> impl Iterator<Item = &Attached> {
        self.programs.iter().filter(|it| it.hook.starts_with("XDP"))
    }
}

/// Has the kernel verify the programs of these plans, and attaches nothing; their names and how many instructions the
/// verifier walked, where the kernel tells.
pub(crate) fn verify<'a>(
    programs: &mut Programs,
    plans: impl Iterator<Item = &'a Plan>,
) -> Result<BTreeMap<&'static str, Option<u32>>, LoadError> {
    let mut verified = BTreeMap::new();
    for plan in plans {
        for &(entry, _) in &plan.tc {
            let info = programs.classifier(entry)?.info();
            verified.insert(entry.name(), info.ok().and_then(|it| it.verified_instruction_count()));
        }
        if let Some(entry) = plan.xdp {
            let info = programs.xdp()?.info();
            verified.insert(entry.name(), info.ok().and_then(|it| it.verified_instruction_count()));
        }
    }
    Ok(verified)
}

fn link(index: u32) -> Result<Message, InterfaceError> {
    let links = dump("interfaces", netlink::RTM_GETLINK, &[0; LINK_FIXED])?;
    let found = links.into_iter().find(|message| {
        message.kind == netlink::RTM_NEWLINK
            && message.fixed(LINK_FIXED).and_then(|fixed| u32_at(fixed, 4)) == Some(index)
    });
    let gone = || io::Error::from(rustix::io::Errno::NODEV);
    found.ok_or_else(|| InterfaceError::Netlink { what: "interfaces", source: gone() })
}

fn xdp(link: &Message) -> Vec<Attached> {
    let Some(xdp) = link.attribute(LINK_FIXED, IFLA_XDP) else { return Vec::new() };
    let id = |kind| nested(xdp, kind).and_then(|value| u32_at(value, 0));
    let mode = nested(xdp, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    let found = XDP_MODES.into_iter().filter_map(|(kind, number, hook)| {
        let id = id(kind).or_else(|| id(IFLA_XDP_PROG_ID).filter(|_| mode == Some(number)))?;
        Some(Attached { hook: hook.to_owned(), id: Some(id), name: name_of(id), priority: None })
    });
    found.collect()
}

/// False where the kernel has no TCX.
fn tcx(interface: &str, programs: &mut Vec<Attached>) -> io::Result<bool> {
    for side in Side::BOTH {
        match SchedClassifier::query_tcx(interface, side.into()) {
            Ok((_, found)) => programs.extend(found.iter().map(|program| Attached {
                hook: format!("TCX {side}"),
                id: Some(program.id()),
                name: program.name_as_str().unwrap_or_default().to_owned(),
                priority: None,
            })),
            // Before 6.6 the kernel knows no such question.
            Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EINVAL) => {
                return Ok(false);
            }
            Err(error) => return Err(io::Error::other(with_sources(&error))),
        }
    }
    Ok(true)
}

fn filters(index: u32, side: Side) -> io::Result<Vec<Attached>> {
    if clsact::present(index)? == clsact::Present::Nothing {
        return Ok(Vec::new());
    }
    // A head has the handle 0 and is no filter.
    let found = clsact::filters(index, side)?.into_iter().filter(|it| it.handle != 0);
    let attached = found.map(|it| Attached {
        hook: format!("clsact {side}"),
        id: it.program,
        name: it.name.unwrap_or(it.kind),
        priority: Some(it.priority),
    });
    Ok(attached.collect())
}

fn name_of(id: u32) -> String {
    let found = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    found.and_then(|program| program.name_as_str().map(str::to_owned)).unwrap_or_default()
}

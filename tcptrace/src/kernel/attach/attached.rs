//! The programs that this process has attached to the interfaces of one network namespace.

use super::{
    error::AttachError,
    filters::Filters,
    hooks::{AttachMode, IngressHook, Side},
    links::{Link, XdpMode},
    notice::Notice,
    plan::plan,
};
use crate::kernel::{
    calls::errors::{errno, with_sources},
    interfaces::Interface,
    load::{Entry, LoadError, Programs},
    namespaces::Netns,
};
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    os::fd::AsFd as _,
    sync::Arc,
};

/// The programs that are attached to one interface.
struct Attachment {
    name: Arc<str>,
    tc: Tc,
    xdp: Option<Link>,
}

/// How TC programs are attached to an interface.
enum Tc {
    /// By links, which are descriptors: closing them takes the programs off, from any namespace.
    Links(Vec<Link>),
    /// By filters, which are removed by the interface's index, and so only inside its namespace.
    Filters(Filters),
}

impl Attachment {
    /// Whether some of the programs are no longer on the interface. Of filters that can be asked only inside the
    /// namespace.
    fn lacks_some(&self, is_inside: bool) -> bool {
        // A link that cannot be asked counts as attached.
        let is_off = |link: &Link| matches!(link.is_attached(), Ok(false));
        let tc = match &self.tc {
            Tc::Links(links) => links.iter().any(is_off),
            Tc::Filters(filters) => is_inside && filters.lack_some(),
        };
        tc || self.xdp.as_ref().is_some_and(is_off)
    }

    /// Lets go of programs on an interface that is gone. The kernel has removed the filters with it, so nothing is
    /// removed; links are closed.
    fn abandon(self) {
        if let Tc::Filters(filters) = self.tc {
            mem::forget(filters);
        }
    }
}

/// The interfaces that the programs are on, all of one network namespace.
pub struct Attached {
    netns: Netns,
    /// The namespace's number, which is in the records that are made in it.
    number: u16,
    ingress: IngressHook,
    mode: AttachMode,
    /// What is attached to each interface, by its index.
    on: BTreeMap<u32, Attachment>,
    /// The interfaces that somebody has taken programs off. There was a reason for that, so they are not attached to
    /// again.
    taken_off: BTreeSet<u32>,
}

impl Attached {
    /// Begins with the programs on no interface.
    #[must_use]
    pub const fn new(netns: Netns, ingress: IngressHook, mode: AttachMode) -> Self {
        Self { netns, number: 0, ingress, mode, on: BTreeMap::new(), taken_off: BTreeSet::new() }
    }

    /// Gives the namespace a number, which is in the records that are made in it.
    #[must_use]
    pub fn numbered(mut self, number: u16) -> Self {
        self.number = number;
        self
    }

    /// The interfaces and hooks that the programs are on, for a person: `eth0 (TC), eth1 (XDP and TC)`.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.on.is_empty() {
            return "no interface yet".to_owned();
        }
        let one = |it: &Attachment| {
            let hooks = if it.xdp.is_some() { "XDP and TC" } else { "TC" };
            format!("{} ({hooks})", it.name)
        };
        self.on.values().map(one).collect::<Vec<_>>().join(", ")
    }

    /// The interfaces that the programs are on, each with its index and name.
    pub fn interfaces(&self) -> impl Iterator<Item = (u32, &str)> {
        self.on.iter().map(|(index, it)| (*index, &*it.name))
    }

    /// Whether the programs are on no interface.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.on.is_empty()
    }

    /// How many interfaces the programs are on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.on.len()
    }

    /// Whether the programs are on the interface of this index.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.on.contains_key(&index)
    }

    /// Whether links hold the TC programs on all interfaces, so that taking them off takes no capability.
    #[must_use]
    pub fn by_links(&self) -> bool {
        self.on.values().all(|it| matches!(it.tc, Tc::Links(_)))
    }

    /// Takes the programs off an interface. Returns its name if they were on it.
    pub fn detach(&mut self, index: u32) -> Option<Arc<str>> {
        self.taken_off.remove(&index);
        let attachment = self.on.remove(&index)?;
        let name = Arc::clone(&attachment.name);
        self.let_go([attachment]);
        Some(name)
    }

    /// The interfaces that some of the programs are no longer on: those that somebody has taken programs off, and those
    /// that went away and were not detached yet.
    #[must_use]
    pub fn lacking(&self) -> BTreeSet<u32> {
        let find = |is_inside| {
            let lacking = self.on.iter().filter(|(_, it)| it.lacks_some(is_inside));
            lacking.map(|(index, _)| *index).collect()
        };
        // In a namespace that can no longer be entered, no interface counts as lacking.
        if self.by_links() { find(false) } else { self.netns.within(|| find(true)).unwrap_or_default() }
    }

    /// Takes what is left off those of `suspects` that still lack programs, and never attaches to them again. Returns
    /// their names. Announcements of interfaces that went away have to be heard before, so that none of these is among
    /// them.
    pub fn give_up(&mut self, suspects: &BTreeSet<u32>) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for index in self.lacking().intersection(suspects) {
            let Some(attachment) = self.on.remove(index) else { continue };
            self.taken_off.insert(*index);
            names.push(Arc::clone(&attachment.name));
            match &attachment.tc {
                Tc::Filters(filters) if self.netns.within(|| filters.are_removed()).unwrap_or(true) => {
                    attachment.abandon();
                }
                _ => self.let_go([attachment]),
            }
        }
        names
    }

    /// Lets go of all interfaces without entering the namespace, which is gone.
    pub fn abandon(&mut self) {
        mem::take(&mut self.on).into_values().for_each(Attachment::abandon);
    }

    /// Takes the programs off all interfaces.
    pub fn detach_all(&mut self) {
        let on = mem::take(&mut self.on);
        self.let_go(on.into_values());
    }

    /// Drops attachments, which takes the programs off. Filters are dropped inside the namespace: elsewhere the removal
    /// would go to another interface, which has the same index there.
    fn let_go(&self, attachments: impl IntoIterator<Item = Attachment>) {
        let (mut inside, anywhere): (Vec<_>, Vec<_>) =
            attachments.into_iter().partition(|it| matches!(it.tc, Tc::Filters(_)));
        drop(anywhere);
        if !inside.is_empty() && self.netns.within(|| inside.clear()).is_err() {
            // The namespace can no longer be entered.
            inside.into_iter().for_each(Attachment::abandon);
        }
    }

    /// Takes note of an interface's name. Returns the name that it had, if the programs are on it and the name has
    /// changed.
    pub fn rename(&mut self, interface: &Interface) -> Option<Arc<str>> {
        let attachment = self.on.get_mut(&interface.index)?;
        let before = mem::replace(&mut attachment.name, Arc::clone(&interface.name));
        (before != interface.name).then_some(before)
    }

    /// Attaches the programs to an interface, for both directions, or for one on loopback. It does nothing if they are
    /// attached already, or if somebody has taken them off since.
    pub fn attach(
        &mut self,
        programs: &mut Programs,
        interface: &Interface,
        notices: &mut Vec<Notice>,
    ) -> Result<(), AttachError> {
        if self.contains(interface.index) || self.taken_off.contains(&interface.index) {
            return Ok(());
        }
        let attachment = self.netns.within(|| self.attach_here(programs, interface, notices))??;
        self.on.insert(interface.index, attachment);
        Ok(())
    }

    fn attach_here(
        &self,
        programs: &mut Programs,
        interface: &Interface,
        notices: &mut Vec<Notice>,
    ) -> Result<Attachment, AttachError> {
        let Some(plan) = plan(interface, self.ingress) else {
            return Err(AttachError::Unsupported {
                interface: Arc::clone(&interface.name),
                link: interface.link,
            });
        };
        if let Some(why) = plan.not_xdp {
            notices.push(Notice::XdpNotThere { interface: Arc::clone(&interface.name), why });
        }
        // All programs are loaded before any is attached: verifying one takes up to a tenth of a second, in which one
        // direction would be seen without the other.
        for (entry, _) in &plan.tc {
            programs.classifier(*entry)?;
        }
        let xdp = if plan.has_xdp() { Some(attach_xdp(programs, interface, notices)?) } else { None };
        let tc = self.attach_tc(programs, interface, &plan.tc, notices)?;
        Ok(Attachment { name: Arc::clone(&interface.name), tc, xdp })
    }

    fn attach_tc(
        &self,
        programs: &mut Programs,
        interface: &Interface,
        hooks: &[(Entry, Side)],
        notices: &mut Vec<Notice>,
    ) -> Result<Tc, AttachError> {
        if self.mode != AttachMode::Clsact {
            let links: Result<Vec<_>, _> =
                hooks.iter().map(|hook| attach_link(programs, self.number, interface, *hook)).collect();
            match links {
                Ok(links) => return Ok(Tc::Links(links)),
                Err(Failure::NoTcx) if self.mode == AttachMode::Auto => {}
                Err(failure) => return Err(failure.explain("a TCX program", interface)),
            }
        }
        Filters::attach(programs, self.number, interface, hooks, notices).map(Tc::Filters)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach_all();
    }
}

/// Why a single program could not be attached.
enum Failure {
    Load(LoadError),
    NoTcx,
    Gone,
    Full(Side),
    Other(String),
}

impl Failure {
    fn explain(self, what: &'static str, interface: &Interface) -> AttachError {
        let name = Arc::clone(&interface.name);
        match self {
            Self::Load(error) => AttachError::Load(error),
            Self::Gone => AttachError::Gone { interface: name },
            Self::Full(side) => AttachError::Full { interface: name, side: side.to_string() },
            Self::NoTcx => AttachError::Refused {
                what,
                interface: name,
                reason: "this kernel has no TCX links (6.6 and newer have)".to_owned(),
            },
            Self::Other(reason) => AttachError::Refused { what, interface: name, reason },
        }
    }
}

fn attach_link(
    programs: &mut Programs,
    netns: u16,
    interface: &Interface,
    (entry, side): (Entry, Side),
) -> Result<Link, Failure> {
    let program = programs.for_link(entry, netns).map_err(Failure::Load)?;
    Link::tc(program, interface.index, side).map_err(|error| match errno(&error) {
        Some(Errno::NODEV | Errno::NXIO) => Failure::Gone,
        // A kernel that does not know this type of link says EINVAL.
        Some(Errno::INVAL | Errno::OPNOTSUPP) => Failure::NoTcx,
        // kernel/bpf/mprog.c, bpf_mprog_attach.
        Some(Errno::RANGE) => Failure::Full(side),
        _ => Failure::Other(with_sources(&error)),
    })
}

/// Attaches the XDP program in the driver, or, if that refuses, generically and with a notice.
fn attach_xdp(
    programs: &mut Programs,
    interface: &Interface,
    notices: &mut Vec<Notice>,
) -> Result<Link, AttachError> {
    let native = match xdp_link(programs, interface, XdpMode::Native)? {
        Ok(link) => return Ok(link),
        Err(error) => error,
    };
    match xdp_link(programs, interface, XdpMode::Generic)? {
        Ok(link) => {
            let interface = Arc::clone(&interface.name);
            notices.push(Notice::XdpGeneric { interface, reason: native.to_string() });
            Ok(link)
        }
        Err(error) => Err(AttachError::Refused {
            what: "an XDP program",
            interface: Arc::clone(&interface.name),
            reason: error.to_string(),
        }),
    }
}

/// Attaches the XDP program in one mode. The inner error is a refusal of this mode, and the outer one of XDP
/// altogether.
fn xdp_link(
    programs: &mut Programs,
    interface: &Interface,
    mode: XdpMode,
) -> Result<io::Result<Link>, AttachError> {
    let program = programs.xdp()?.fd().map_err(|error| AttachError::Refused {
        what: "an XDP program",
        interface: Arc::clone(&interface.name),
        reason: with_sources(&error),
    })?;
    match Link::xdp(program.as_fd(), interface.index, mode) {
        Ok(link) => Ok(Ok(link)),
        Err(error) => match errno(&error) {
            Some(Errno::BUSY | Errno::EXIST) => {
                Err(AttachError::XdpThere { interface: Arc::clone(&interface.name) })
            }
            Some(Errno::NODEV) => Err(AttachError::Gone { interface: Arc::clone(&interface.name) }),
            _ => Ok(Err(error)),
        },
    }
}

//! TC programs as filters on clsact, where the kernel has no TCX links: the qdisc and the filters of one interface, what
//! others have there, and what killed tracers left.

use super::{
    attach::{AttachError, Notice},
    clsact::{self, Label, OwnFilter, Present, Side},
    interface::Interface,
    load::{ALIVE, Entry, LoadError, Programs, errno},
};
use aya::programs::loaded_programs;
use rustix::io::Errno;
use std::{io, os::fd::BorrowedFd, sync::Arc};

/// What we have on clsact. Fields drop in order: programs first, then the qdisc under them.
pub(super) struct Filters {
    _programs: Vec<OwnFilter>,
    _clsact: Option<OwnClsact>,
}

/// A clsact qdisc that a tracer made, removed when it is dropped unless somebody uses it by then.
struct OwnClsact(u32);

impl Drop for OwnClsact {
    fn drop(&mut self) {
        // The interface may be gone, and the qdisc with it; there is nobody left to tell.
        let _ = clsact::remove_if_unused(self.0);
    }
}

impl Filters {
    /// Puts programs before all filters of their sides.
    pub(super) fn attach(
        programs: &mut Programs,
        interface: &Interface,
        hooks: &[(Entry, Side)],
        notices: &mut Vec<Notice>,
    ) -> Result<Self, AttachError> {
        /// A tracer that ends takes its qdisc along, perhaps just now.
        const TRIES: usize = 3;
        // First of all, for it takes long: whoever is killed meanwhile leaves nothing.
        let ours = load(programs, hooks)?;
        let mut tries = 1;
        loop {
            let clsact = prepare(interface, notices)?;
            match attach_all(&ours, interface, clsact.is_some()) {
                Ok((filters, behind)) => {
                    notices.extend(behind);
                    return Ok(Self { _programs: filters, _clsact: clsact });
                }
                Err(error) => {
                    let is_gone = clsact::present(interface.index).is_ok_and(|it| it == Present::Nothing);
                    if !is_gone || tries == TRIES {
                        return Err(explain("a clsact filter", interface, &error));
                    }
                    tries += 1;
                }
            }
        }
    }
}

/// A program of ours, loaded.
struct Loaded<'a> {
    fd: BorrowedFd<'a>,
    id: u32,
    entry: Entry,
    side: Side,
    alive: u32,
}

/// The programs of the hooks are loaded already, all before any is attached (`attach.rs`).
fn load<'a>(programs: &'a mut Programs, hooks: &[(Entry, Side)]) -> Result<Vec<Loaded<'a>>, LoadError> {
    let alive = programs.alive()?;
    let programs = &*programs;
    let loaded = hooks.iter().map(|&(entry, side)| {
        let (fd, id) = programs.loaded(entry)?;
        Ok(Loaded { fd, id, entry, side, alive })
    });
    loaded.collect()
}

fn attach_all(
    programs: &[Loaded<'_>],
    interface: &Interface,
    owns_qdisc: bool,
) -> io::Result<(Vec<OwnFilter>, Option<Notice>)> {
    let mut filters = Vec::new();
    let mut notice = None;
    for &Loaded { fd, id, entry, side, alive } in programs {
        let label = Label::new(entry.name(), alive, owns_qdisc);
        let (filter, behind) = clsact::attach(interface.index, side, (fd, id), &label)?;
        filters.push(filter);
        if let Some(behind) = behind {
            let interface = Arc::clone(&interface.name);
            notice.get_or_insert(Notice::BehindFilter { interface, kind: behind.kind });
        }
    }
    Ok((filters, notice))
}

fn explain(what: &'static str, interface: &Interface, error: &io::Error) -> AttachError {
    let interface = Arc::clone(&interface.name);
    match errno(error) {
        Some(Errno::NODEV) => AttachError::Gone { interface },
        // net/sched/sch_api.c, qdisc_create, and cls_api.c, tcf_proto_lookup_ops.
        Some(Errno::NOENT) => {
            let reason =
                "the kernel lacks it: modprobe sch_ingress cls_bpf, or a kernel with both".to_owned();
            AttachError::Refused { what, interface, reason }
        }
        _ => AttachError::Refused { what, interface, reason: error.to_string() },
    }
}

/// Sees to it that clsact is there and nothing of dead tracers on it; returns it if it is to go with the last tracer.
fn prepare(interface: &Interface, notices: &mut Vec<Notice>) -> Result<Option<OwnClsact>, AttachError> {
    let failed = |error: io::Error| explain("a clsact qdisc", interface, &error);
    match clsact::present(interface.index).map_err(failed)? {
        Present::Clsact => return clear(interface, notices).map_err(failed),
        Present::Ingress => {
            return Err(AttachError::IngressQdisc { interface: Arc::clone(&interface.name) });
        }
        Present::Nothing => {}
    }
    match clsact::add(interface.index) {
        Ok(()) => Ok(Some(OwnClsact(interface.index))),
        // Somebody was quicker: it is theirs.
        Err(error) if errno(&error) == Some(Errno::EXIST) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Removes what killed tracers left; returns the qdisc if a tracer made it.
fn clear(interface: &Interface, notices: &mut Vec<Notice>) -> io::Result<Option<OwnClsact>> {
    let mut owned = false;
    let mut count = 0;
    for side in Side::BOTH {
        let mut labels: Vec<_> =
            clsact::filters(interface.index, side)?.iter().filter_map(clsact::Filter::label).collect();
        owned |= labels.iter().any(|label| label.owns_qdisc);
        if labels.is_empty() {
            continue;
        }
        // Where that cannot be found out all count as alive.
        let Some(alive) = alive() else { continue };
        // Those that were there before it was asked who is: what comes meanwhile is a running tracer's.
        labels.retain(|label| !alive.contains(&label.alive));
        if !labels.is_empty() {
            let such = |it: &clsact::Filter| it.label().is_some_and(|label| labels.contains(&label));
            count += clsact::remove(interface.index, side, such)?.len();
        }
    }
    if count > 0 {
        notices.push(Notice::Leftovers { interface: Arc::clone(&interface.name), count });
    }
    // Made only if it is: what is made is dropped, and removes.
    Ok(owned.then(|| OwnClsact(interface.index)))
}

/// The numbers of the programs that tell of a running tracer; None where the kernel does not list programs, which it does
/// for `CAP_SYS_ADMIN` alone.
fn alive() -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for program in loaded_programs() {
        match program {
            Ok(program) if program.name_as_str() == Some(ALIVE) => numbers.push(program.id()),
            Ok(_) => {}
            // It went meanwhile.
            Err(error) if super::attach::program_errno(&error) == Some(Errno::NOENT) => {}
            Err(_) => return None,
        }
    }
    Some(numbers)
}

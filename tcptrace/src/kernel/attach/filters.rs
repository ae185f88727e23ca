//! TC programs as filters on clsact, where the kernel has no TCX links: the qdisc and the filters of one interface, what
//! others have there, and what killed tracers left.

use super::{
    clsact::{self, Label, OwnFilter, Present},
    error::AttachError,
    hooks::Side,
    notice::Notice,
};
use crate::kernel::{
    calls::errors::{errno, program_errno, with_sources},
    interfaces::Interface,
    load::{ALIVE, Entry, LoadError, Programs, Role},
};
use aya::programs::loaded_programs;
use rustix::io::Errno;
use std::{io, sync::Arc};

/// What we have on clsact. Fields drop in order: programs first, then the qdisc under them.
#[derive(Default)]
pub(super) struct Filters {
    programs: Vec<OwnFilter>,
    clsact: Option<OwnClsact>,
}

/// A clsact qdisc that a tracer made, removed when it is dropped unless somebody uses it by then.
struct OwnClsact(u32);

impl Drop for OwnClsact {
    fn drop(&mut self) {
        // The interface may be gone, and the qdisc with it; there is nobody left to tell.
        let _ = clsact::remove_if_all(self.0, |_| false);
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        if let Some(OwnClsact(index)) = self.clsact {
            // All in one step, as it was made. Where others use it, or it is gone, each part sees to itself.
            let _ = clsact::remove_if_all(index, |it| self.programs.iter().any(|own| own.is(it)));
        }
    }
}

/// What our filters are put on.
#[derive(Clone, Copy)]
enum Ground {
    /// There is no qdisc.
    Bare,
    /// One that a tracer made, or somebody else.
    Clsact { owned: bool },
}

impl Filters {
    /// Puts programs before all filters of their sides.
    pub(super) fn attach(
        programs: &mut Programs,
        netns: u16,
        interface: &Interface,
        hooks: &[(Entry, Side)],
        notices: &mut Vec<Notice>,
    ) -> Result<Self, AttachError> {
        /// A tracer that ends takes its qdisc along, perhaps just now, and one that begins makes it.
        const TRIES: usize = 3;
        let failed = |error: io::Error| explain(interface, &error);
        // First of all, for it takes long: whoever is killed meanwhile leaves nothing.
        let ours = load(programs, netns, hooks)?;
        let mut tries = 1;
        loop {
            let ground = ground(interface)?;
            match attach_all(&ours, interface, ground) {
                Ok((filters, behind)) => {
                    notices.extend(behind);
                    // Not before: a qdisc that a tracer made has the filter of one on it at any time.
                    clear(interface, &ours, notices).map_err(failed)?;
                    return Ok(filters);
                }
                Err(error) => {
                    let is_bare = |ground: &Ground| matches!(ground, Ground::Bare);
                    let changed = self::ground(interface).is_ok_and(|now| is_bare(&now) != is_bare(&ground));
                    if !changed || tries == TRIES {
                        return Err(failed(error));
                    }
                    tries += 1;
                }
            }
        }
    }
}

impl Filters {
    /// Somebody has removed some.
    pub(super) fn lack_some(&self) -> bool {
        self.programs.iter().any(OwnFilter::is_removed)
    }

    /// Somebody has removed all: with them went what tells whose the qdisc is that may be there.
    pub(super) fn are_removed(&self) -> bool {
        self.programs.iter().all(OwnFilter::is_removed)
    }
}

/// A program of ours, loaded.
struct Loaded<'a> {
    program: clsact::Loaded<'a>,
    entry: Entry,
    side: Side,
    alive: u32,
}

/// The programs of the hooks are loaded already, all before any is attached (`attached.rs`).
fn load<'a>(
    programs: &'a mut Programs,
    netns: u16,
    hooks: &[(Entry, Side)],
) -> Result<Vec<Loaded<'a>>, LoadError> {
    let alive = programs.alive()?;
    let programs = &*programs;
    let classid = if programs.role() == Role::Shared { netns } else { 0 };
    let loaded = hooks.iter().map(|&(entry, side)| {
        let (program, id) = programs.loaded(entry)?;
        Ok(Loaded { program: clsact::Loaded { program, id, classid }, entry, side, alive })
    });
    loaded.collect()
}

fn attach_all(
    programs: &[Loaded<'_>],
    interface: &Interface,
    ground: Ground,
) -> io::Result<(Filters, Option<Notice>)> {
    let index = interface.index;
    let owned = !matches!(ground, Ground::Clsact { owned: false });
    let mut filters = Filters::default();
    let mut notice = None;
    for &Loaded { program, entry, side, alive } in programs {
        let label = Label::new(entry.name(), alive, owned);
        let is_bare = matches!(ground, Ground::Bare) && filters.programs.is_empty();
        let (filter, behind) = if is_bare {
            (clsact::attach_with_qdisc(index, side, program, &label)?, None)
        } else {
            clsact::attach(index, side, program, &label)?
        };
        filters.programs.push(filter);
        if owned && filters.clsact.is_none() {
            filters.clsact = Some(OwnClsact(index));
        }
        if let Some(behind) = behind {
            let interface = Arc::clone(&interface.name);
            notice.get_or_insert(Notice::BehindFilter { interface, kind: behind.kind });
        }
    }
    Ok((filters, notice))
}

fn explain(interface: &Interface, error: &io::Error) -> AttachError {
    let what = "a clsact filter";
    let interface = Arc::clone(&interface.name);
    match errno(error) {
        Some(Errno::NODEV) => AttachError::Gone { interface },
        // net/sched/sch_api.c, qdisc_create, and cls_api.c, tcf_proto_lookup_ops.
        Some(Errno::NOENT) => {
            let reason =
                "the kernel lacks it: modprobe sch_ingress cls_bpf, or a kernel with both".to_owned();
            AttachError::Refused { what, interface, reason }
        }
        _ => AttachError::Refused { what, interface, reason: with_sources(error) },
    }
}

fn ground(interface: &Interface) -> Result<Ground, AttachError> {
    let failed = |error: io::Error| explain(interface, &error);
    match clsact::present(interface.index).map_err(failed)? {
        Present::Nothing => Ok(Ground::Bare),
        Present::Ingress => Err(AttachError::IngressQdisc { interface: Arc::clone(&interface.name) }),
        Present::Clsact => {
            let labels = Side::BOTH.into_iter().map(|side| labels(interface, side));
            let labels = labels.collect::<io::Result<Vec<_>>>().map_err(failed)?;
            Ok(Ground::Clsact { owned: labels.iter().flatten().any(|label| label.owns_qdisc) })
        }
    }
}

/// Of the filters of tracers on one side.
fn labels(interface: &Interface, side: Side) -> io::Result<Vec<Label>> {
    Ok(clsact::filters(interface.index, side)?.iter().filter_map(clsact::Filter::label).collect())
}

/// Removes what killed tracers left.
fn clear(interface: &Interface, ours: &[Loaded<'_>], notices: &mut Vec<Notice>) -> io::Result<()> {
    let mut theirs = Vec::new();
    for side in Side::BOTH {
        theirs.extend(labels(interface, side)?);
    }
    theirs.retain(|label| ours.iter().all(|own| own.alive != label.alive));
    if theirs.is_empty() {
        return Ok(());
    }
    // Where it cannot be found out who is alive, all count as that.
    let Some(alive) = alive() else { return Ok(()) };
    // Those that were there before it was asked who is: what comes meanwhile is a running tracer's.
    theirs.retain(|label| !alive.contains(&label.alive));
    let such = |it: &clsact::Filter| it.label().is_some_and(|label| theirs.contains(&label));
    let mut count = 0;
    if !theirs.is_empty() {
        for side in Side::BOTH {
            count += clsact::remove(interface.index, side, such)?.len();
        }
    }
    if count > 0 {
        notices.push(Notice::Leftovers { interface: Arc::clone(&interface.name), count });
    }
    Ok(())
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
            Err(error) if program_errno(&error) == Some(Errno::NOENT) => {}
            Err(_) => return None,
        }
    }
    Some(numbers)
}

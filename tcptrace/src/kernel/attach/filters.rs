//! Attaches TC programs as filters on clsact, where the kernel has no TCX links. It makes the qdisc if there is none,
//! leaves the filters of others alone, and removes those that killed tracers left.

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

/// The filters of ours on one interface. The fields are dropped in order: first the filters, then the qdisc under them.
#[derive(Default)]
pub(super) struct Filters {
    programs: Vec<OwnFilter>,
    clsact: Option<OwnClsact>,
}

/// A clsact qdisc that a tracer made on the interface of this index. When this is dropped, the qdisc is removed unless
/// there are filters on it.
struct OwnClsact(u32);

impl Drop for OwnClsact {
    fn drop(&mut self) {
        // This fails if the interface is gone, and the qdisc with it. There is nobody to report an error to.
        let _ = clsact::remove_if_all(self.0, |_| false);
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        if let Some(OwnClsact(index)) = self.clsact {
            // The qdisc is removed with our filters in one step. If it has filters of others too, or is gone, the
            // fields' own drops do what is left.
            let _ = clsact::remove_if_all(index, |it| self.programs.iter().any(|own| own.is(it)));
        }
    }
}

/// The qdisc that our filters are put on.
#[derive(Clone, Copy)]
enum Ground {
    /// There is no qdisc yet.
    Bare,
    /// There is a clsact qdisc; `owned` says whether a tracer made it.
    Clsact { owned: bool },
}

impl Filters {
    /// Puts the programs of the hooks before all filters of their sides.
    pub(super) fn attach(
        programs: &mut Programs,
        netns: u16,
        interface: &Interface,
        hooks: &[(Entry, Side)],
        notices: &mut Vec<Notice>,
    ) -> Result<Self, AttachError> {
        /// How many times it is tried while other tracers begin and end, which make and remove the qdisc.
        const TRIES: usize = 3;
        let failed = |error: io::Error| explain(interface, &error);
        // Loading takes long, so it comes first: a tracer that is killed meanwhile leaves nothing behind.
        let ours = load(programs, netns, hooks)?;
        let mut tries = 1;
        loop {
            let ground = ground(interface)?;
            match attach_all(&ours, interface, ground) {
                Ok((filters, behind)) => {
                    notices.extend(behind);
                    // Leftovers are removed only now: a qdisc that a tracer made must have a tracer's filter on it at
                    // any time.
                    remove_leftovers(interface, &ours, notices).map_err(failed)?;
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
    /// Whether somebody has removed some of the filters.
    pub(super) fn lack_some(&self) -> bool {
        self.programs.iter().any(OwnFilter::is_removed)
    }

    /// Whether somebody has removed all of the filters. Nothing tells then whose the qdisc is that may be there.
    pub(super) fn are_removed(&self) -> bool {
        self.programs.iter().all(OwnFilter::is_removed)
    }
}

/// A loaded program of ours, and the hook that it is for.
struct Loaded<'a> {
    program: clsact::Loaded<'a>,
    entry: Entry,
    side: Side,
    alive: u32,
}

/// The loaded programs of the hooks. `attached.rs` has had them all loaded before any is attached; only the program
/// that tells that the tracer runs may still be loaded here.
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

/// Puts a filter for each of the programs on the qdisc, and makes the qdisc if there is none. The notice is about a
/// filter that is before ours all the same.
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
        // The kernel has no such module (net/sched/sch_api.c, qdisc_create, and cls_api.c, tcf_proto_lookup_ops).
        Some(Errno::NOENT) => {
            let reason =
                "the kernel lacks it: modprobe sch_ingress cls_bpf, or a kernel with both".to_owned();
            AttachError::Refused { what, interface, reason }
        }
        _ => AttachError::Refused { what, interface, reason: with_sources(error) },
    }
}

/// Finds out whether the interface has a clsact qdisc, and whether a tracer made it.
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

/// The labels of the tracers' filters on one side.
fn labels(interface: &Interface, side: Side) -> io::Result<Vec<Label>> {
    Ok(clsact::filters(interface.index, side)?.iter().filter_map(clsact::Filter::label).collect())
}

/// Removes the filters that killed tracers left, and says so.
fn remove_leftovers(interface: &Interface, ours: &[Loaded<'_>], notices: &mut Vec<Notice>) -> io::Result<()> {
    let mut theirs = Vec::new();
    for side in Side::BOTH {
        theirs.extend(labels(interface, side)?);
    }
    theirs.retain(|label| ours.iter().all(|own| own.alive != label.alive));
    if theirs.is_empty() {
        return Ok(());
    }
    // If it cannot be found out which tracers are running, all count as running.
    let Some(alive) = alive() else { return Ok(()) };
    // The labels were read before the programs: a filter that came after that is not among them, and is a running
    // tracer's.
    theirs.retain(|label| !alive.contains(&label.alive));
    let is_left = |it: &clsact::Filter| it.label().is_some_and(|label| theirs.contains(&label));
    let mut count = 0;
    if !theirs.is_empty() {
        for side in Side::BOTH {
            count += clsact::remove(interface.index, side, is_left)?.len();
        }
    }
    if count > 0 {
        notices.push(Notice::Leftovers { interface: Arc::clone(&interface.name), count });
    }
    Ok(())
}

/// The kernel's numbers for the programs that tell that a tracer runs. None if the kernel does not list programs, which
/// it does for `CAP_SYS_ADMIN` alone.
fn alive() -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for program in loaded_programs() {
        match program {
            Ok(program) if program.name_as_str() == Some(ALIVE) => numbers.push(program.id()),
            Ok(_) => {}
            // The program was unloaded meanwhile.
            Err(error) if program_errno(&error) == Some(Errno::NOENT) => {}
            Err(_) => return None,
        }
    }
    Some(numbers)
}

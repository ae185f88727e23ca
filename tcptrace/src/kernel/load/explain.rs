//! Explains why the kernel refused to load something: what an error number of bpf(2) means, what the verifier said
//! last, and which settings of the system may forbid it.

use super::{
    error::LoadError,
    options::LoadOptions,
    privileges,
    version::{kernel_before, kernel_release},
};
use crate::kernel::calls::errors::{errno, program_errno, with_sources};
use aya::{BtfError, EbpfError, maps::MapError, programs::ProgramError};
use rustix::io::Errno;
use std::{fs, io};
use tcptrace_common::abi::Bucket;

pub(super) fn explain_load(error: EbpfError, options: &LoadOptions) -> LoadError {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            let what = match name.as_str() {
                "EVENTS" => format!("the ring of {} KiB", options.ring_bytes / 1024),
                "PENDING" => {
                    format!(
                        "the pending table of {} buckets of {} bytes",
                        options.pending_buckets,
                        size_of::<Bucket>()
                    )
                }
                other => format!("the map {other}"),
            };
            explain_refusal(what, name == "EVENTS", &io_error)
        }
        EbpfError::MapError(error) => explain_map(error, "the maps"),
        // The first thing that is loaded describes the types of a map.
        EbpfError::BtfError(BtfError::LoadError { io_error, .. }) => {
            explain_refusal("the description of the maps".into(), false, &io_error)
        }
        other => LoadError::Other { what: "the kernel object".into(), reason: with_sources(&other) },
    }
}

pub(super) fn explain_map(error: MapError, what: &'static str) -> LoadError {
    match error {
        MapError::SyscallError(e) => explain_refusal(what.into(), false, &e.io_error),
        MapError::IoError(e) => explain_refusal(what.into(), false, &e),
        other => LoadError::Other { what: what.into(), reason: with_sources(&other) },
    }
}

pub(super) fn explain_program(error: ProgramError, program: &'static str) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if !is_rejection(&io_error) {
                return explain_refusal(program.into(), false, &io_error);
            }
            // The verifier is stricter without some capabilities, and does not say that this is why.
            if let Some(error) = not_permitted() {
                log::debug!("{program}: {}", last_lines(&log));
                return error;
            }
            LoadError::Rejected { program, last_lines: last_lines(&log), log, source: io_error }
        }
        ProgramError::SyscallError(e) => explain_refusal(program.into(), false, &e.io_error),
        other => LoadError::Other { what: program.into(), reason: with_sources(&other) },
    }
}

/// The error of attaching a program at a cgroup, where the kernel refuses a second program unless all of them agreed to others
/// (kernel/bpf/cgroup.c, `__cgroup_bpf_attach`).
pub(super) fn explain_hook(error: ProgramError, program: &'static str) -> LoadError {
    match program_errno(&error) {
        Some(Errno::PERM) => not_permitted().unwrap_or(LoadError::HookTaken { program }),
        _ => explain_program(error, program),
    }
}

/// Whether an error of loading a program is the verifier's. If only a descriptor lacks (EMFILE), the verifier has
/// accepted the program.
fn is_rejection(error: &io::Error) -> bool {
    !matches!(errno(error), Some(Errno::PERM | Errno::NOSYS | Errno::NOMEM | Errno::MFILE))
}

/// The error that a refusal of bpf(2) means. Only the ring can be of a type that a kernel does not know.
fn explain_refusal(what: String, ring: bool, error: &io::Error) -> LoadError {
    match errno(error) {
        Some(Errno::NOSYS) => LoadError::NoBpf,
        Some(Errno::PERM) => {
            if let Some(error) = not_permitted() {
                error
            } else if kernel_before(5, 11) {
                LoadError::MemoryLimit { what }
            } else {
                LoadError::LockedDown { clues: lockdown_clues() }
            }
        }
        Some(Errno::NOMEM) => LoadError::NoMemory { what },
        // A map type that the kernel does not know is EINVAL.
        Some(Errno::INVAL) if ring && kernel_before(5, 8) => LoadError::TooOld { version: kernel_release() },
        _ => LoadError::Other { what, reason: with_sources(error) },
    }
}

/// The error that a capability is missing; None if none is.
pub(crate) fn not_permitted() -> Option<LoadError> {
    let missing = privileges::missing()?;
    Some(LoadError::NotPermitted { missing, advice: privileges::advice() })
}

fn lockdown_clues() -> String {
    let read = |path| fs::read_to_string(path).map(|s| s.trim().to_owned()).ok();
    let clues: Vec<_> = [
        ("lockdown", read("/sys/kernel/security/lockdown")),
        ("kernel.unprivileged_bpf_disabled", read("/proc/sys/kernel/unprivileged_bpf_disabled")),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| format!("{name}: {value}")))
    .collect();
    if clues.is_empty() { "no further clue".to_owned() } else { clues.join(", ") }
}

/// The last lines of a verifier's log, without its statistics, joined to one line.
fn last_lines(log: &str) -> String {
    const LINES: usize = 3;
    let said: Vec<_> =
        log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistics(line)).collect();
    if said.is_empty() { "no log".to_owned() } else { said[said.len().saturating_sub(LINES)..].join(" / ") }
}

fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time", "stack depth"].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_last_words_come_without_its_statistics() {
        let log = "0: R1=ctx()\n5: (61) r2 = *(u32 *)(r1 +0)\nR2 invalid mem access 'scalar'\n\
                   verification time 21 usec\nstack depth 0\nprocessed 6 insns (limit 1000000)\n";
        assert_eq!(
            last_lines(log),
            "0: R1=ctx() / 5: (61) r2 = *(u32 *)(r1 +0) / R2 invalid mem access 'scalar'"
        );
        assert_eq!(last_lines(""), "no log");
    }

    #[test]
    fn an_error_number_is_explained() {
        let explain = |errno: Errno| explain_refusal("it".into(), true, &errno.into());
        assert!(matches!(explain(Errno::NOSYS), LoadError::NoBpf));
        assert!(matches!(explain(Errno::NOMEM), LoadError::NoMemory { .. }));
        assert!(matches!(explain(Errno::IO), LoadError::Other { .. }));
        let said =
            "cannot load it: Too many open files (os error 24): raise the limit first (ulimit -n 1024)";
        assert_eq!(explain(Errno::MFILE).to_string(), said);
        assert!(is_rejection(&Errno::INVAL.into()) && is_rejection(&Errno::ACCESS.into()));
        assert!(!is_rejection(&Errno::MFILE.into()) && !is_rejection(&Errno::NOMEM.into()));
        for error in [explain(Errno::PERM), explain(Errno::IO), explain(Errno::NOSYS)] {
            assert!(!error.to_string().contains('\n'));
        }
    }
}

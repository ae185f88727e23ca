//! The capabilities that the kernel asks for before it accepts the programs, and advice for users who lack some.

use rustix::thread::{CapabilitySet, capabilities};
use std::{env, path::PathBuf};

/// The capabilities that tracing needs: their names, what they are for, and the set any of which is enough. In bpf(2)
/// `CAP_SYS_ADMIN` stands for each (kernel/bpf/token.c, `bpf_ns_capable`). For clsact, which is asked for by netlink,
/// it does not.
const NEEDED: [(&str, &str, CapabilitySet); 3] = [
    ("CAP_BPF", "to make maps and load programs", CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN)),
    (
        "CAP_NET_ADMIN",
        "to load programs that see packets, and attach them",
        CapabilitySet::NET_ADMIN.union(CapabilitySet::SYS_ADMIN),
    ),
    // Without this one the verifier also walks ways that a processor takes only by speculation, and forbids to compare
    // or store pointers (kernel/bpf/verifier.c, bpf_check: allow_ptr_leaks, bypass_spec_v1, bypass_spec_v4).
    (
        "CAP_PERFMON",
        "for the verifier to take programs that compute with pointers",
        CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN),
    ),
];

/// The capabilities that other network namespaces need, as setcap(8) calls them.
const ELSEWHERE: [(&str, CapabilitySet); 3] = [
    ("cap_sys_admin", CapabilitySet::SYS_ADMIN),
    ("cap_sys_ptrace", CapabilitySet::SYS_PTRACE),
    ("cap_net_broadcast", CapabilitySet::NET_BROADCAST),
];

/// The needed capabilities that this thread lacks, each with what it is for; None if it lacks none.
pub(super) fn missing() -> Option<String> {
    let effective = capabilities(None).ok()?.effective;
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(_, _, any_of)| !effective.intersects(*any_of))
        .map(|(name, purpose, _)| format!("{name} ({purpose})"))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// How to run this very program with the capabilities.
pub(super) fn advice() -> String {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    // setcap replaces all capabilities of the file, so those for other namespaces that it has already are named too.
    let kept = ELSEWHERE.into_iter().filter(|(_, it)| effective.contains(*it)).map(|(name, _)| name);
    let wanted: Vec<_> = ["cap_bpf", "cap_net_admin", "cap_perfmon"].into_iter().chain(kept).collect();
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("tcptrace"));
    format!("run it with sudo, or once: sudo setcap {}+ep {}", wanted.join(","), program.display())
}

//! What the kernel asks for before it takes the programs, and what to tell somebody who does not have it.

use rustix::thread::{CapabilitySet, capabilities};
use std::{env, path::PathBuf};

/// The capabilities that tracing needs, what for, and those that do for it: in bpf(2) `CAP_SYS_ADMIN` stands for each
/// (kernel/bpf/token.c, `bpf_ns_capable`). For clsact, which is asked for by netlink, it does not.
const NEEDED: [(&str, &str, CapabilitySet); 3] = [
    ("CAP_BPF", "to make maps and load programs", CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN)),
    (
        "CAP_NET_ADMIN",
        "to load programs that see packets, and attach them",
        CapabilitySet::NET_ADMIN.union(CapabilitySet::SYS_ADMIN),
    ),
    // Without it the verifier also walks what a processor may only speculate on, and lets no pointer be compared or kept
    // (kernel/bpf/verifier.c, bpf_check: allow_ptr_leaks, bypass_spec_v1, bypass_spec_v4).
    (
        "CAP_PERFMON",
        "for the verifier to take programs that compute with pointers",
        CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN),
    ),
];

/// Those that are needed in other network namespaces, as setcap(8) calls them.
const ELSEWHERE: [(&str, CapabilitySet); 3] = [
    ("cap_sys_admin", CapabilitySet::SYS_ADMIN),
    ("cap_sys_ptrace", CapabilitySet::SYS_PTRACE),
    ("cap_net_broadcast", CapabilitySet::NET_BROADCAST),
];

/// Which of the needed capabilities this thread does not have, each with what it is for; None where nothing is
/// missing.
pub(super) fn missing() -> Option<String> {
    let effective = capabilities(None).ok()?.effective;
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(_, _, any_of)| !effective.intersects(*any_of))
        .map(|(name, purpose, _)| format!("{name} ({purpose})"))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// What to do about it, for this very program.
pub(super) fn advice() -> String {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    // What is there already was given for a reason.
    let kept = ELSEWHERE.into_iter().filter(|(_, it)| effective.contains(*it)).map(|(name, _)| name);
    let wanted: Vec<_> = ["cap_bpf", "cap_net_admin", "cap_perfmon"].into_iter().chain(kept).collect();
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("tcptrace"));
    format!("run it with sudo, or once: sudo setcap {}+ep {}", wanted.join(","), program.display())
}

//! The programs on an interface's TC hooks, in the way that the kernel has: by TCX links from 6.6 on, else as filters on
//! clsact.

use crate::netns::{Netns, has_tcx};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

/// The programs on one side, in their order, by their numbers.
pub fn ids(ns: &Netns, device: &str, side: TcAttachType) -> Vec<u32> {
    if has_tcx() {
        let (_, programs) =
            ns.enter(|| SchedClassifier::query_tcx(device, side)).expect("from 6.6 on the kernel has TCX");
        return programs.iter().map(ProgramInfo::id).collect();
    }
    let side = if matches!(side, TcAttachType::Ingress) { "ingress" } else { "egress" };
    // `filter protocol all pref 49152 bpf chain 0 handle 0x1 NAME direct-action not_in_hw id 17 tag 0123`
    let shown = ns.tc(&["filter", "show", "dev", device, side]);
    let id = |line: &str| line.split(" id ").nth(1)?.split(' ').next()?.parse().ok();
    shown.lines().filter_map(id).collect()
}

/// Their names, as the kernel cuts them (15 letters).
pub fn names(ns: &Netns, device: &str, side: TcAttachType) -> Vec<String> {
    let name = |id: &u32| {
        // One that goes meanwhile has no name.
        let found = loaded_programs().filter_map(Result::ok).find(|program| program.id() == *id)?;
        Some(found.name_as_str()?.to_owned())
    };
    ids(ns, device, side).iter().filter_map(name).collect()
}

/// These programs and no others are on the two sides.
pub fn are(ns: &Netns, device: &str, ingress: &[&str], egress: &[&str]) -> bool {
    names(ns, device, TcAttachType::Ingress) == ingress && names(ns, device, TcAttachType::Egress) == egress
}

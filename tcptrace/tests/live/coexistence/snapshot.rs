//! What is on both ends of the cable, by every tool that tells.

use super::settled;
use crate::lab::{Host, Lab};
use std::collections::BTreeMap;

/// By a title, what was said.
pub(super) struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    pub(super) fn of(lab: &Lab) -> Self {
        let mut said = BTreeMap::new();
        for host in [&lab.a, &lab.b] {
            for (title, text) in of_host(host) {
                said.insert(format!("{} of {}", title, host.dev), text);
            }
        }
        Self(said)
    }

    /// What is different now.
    pub(super) fn compare(&self, now: &Self) -> Result<(), String> {
        let different = |(title, before): (&String, &String)| {
            let now = &now.0[title];
            (before != now).then(|| format!("{title}\nbefore: {before}\nnow:    {now}"))
        };
        let different: Vec<_> = self.0.iter().filter_map(different).collect();
        if different.is_empty() { Ok(()) } else { Err(different.join("\n")) }
    }

    pub(super) fn assert_same(&self, lab: &Lab, there: &str, what: &str) {
        settled(lab, self, &format!("{what}, where there was: {there}"));
    }
}

fn of_host(host: &Host) -> Vec<(&'static str, String)> {
    let (ns, dev) = (&host.ns, host.dev);
    let tc = |what: &str, more: &[&str]| ns.tc(&[&[what, "show", "dev", dev], more].concat());
    vec![
        ("link", ns.ip(&["-d", "link", "show", "dev", dev])),
        // A new link-local address is not sure to be the only one for its first second.
        ("addresses", ns.ip(&["addr", "show", "dev", dev]).replace(" tentative", "")),
        ("qdiscs", tc("qdisc", &[])),
        ("classes", tc("class", &[])),
        ("filters at the root", tc("filter", &[])),
        ("filters in", tc("filter", &["ingress"])),
        ("filters out", tc("filter", &["egress"])),
        ("programs", ns.run("bpftool", &["-j", "net", "show", "dev", dev])),
        // With TCX, which not every bpftool knows, and by number.
        ("hooks", host.programs().join("\n")),
        ("features", ns.run("ethtool", &["-k", dev])),
    ]
}

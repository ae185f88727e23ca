//! What `tcptrace check` found, for people.

use super::report::{Hook, InterfaceReport, Ours, Report};
use std::fmt;

/// Short names of offloads; the others are called what the kernel calls them.
const SHORT: [(&str, &str); 7] = [
    ("rx-vlan-hw-parse", "VLAN in"),
    ("tx-vlan-hw-insert", "VLAN out"),
    ("rx-lro", "LRO"),
    ("rx-gro", "GRO"),
    ("rx-gro-hw", "GRO_HW"),
    ("tx-tcp-segmentation", "TSO"),
    ("tx-generic-segmentation", "GSO"),
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = &self.kernel;
        let features = [
            (kernel.ring_buffer, "ring buffer"),
            (kernel.tcx_links, "TCX links"),
            (kernel.xdp_links, "XDP links"),
            (kernel.btf, "BTF"),
            (kernel.jit != Some(false), "JIT"),
        ];
        let of = |there: bool| {
            let those = features.iter().filter(|(has, _)| *has == there).map(|(_, name)| *name);
            those.collect::<Vec<_>>().join(", ")
        };
        let lacks = of(false);
        let without = if lacks.is_empty() { String::new() } else { format!("; without {lacks}") };
        writeln!(f, "kernel {}: {}{without}", kernel.release, of(true))?;
        if !self.programs.is_empty() {
            let programs = self.programs.iter().map(|(name, walked)| match walked {
                Some(instructions) => format!("{name} ({instructions} instructions verified)"),
                None => (*name).to_owned(),
            });
            writeln!(f, "programs: the kernel takes {}", programs.collect::<Vec<_>>().join(", "))?;
        }
        for interface in &self.interfaces {
            write!(f, "\n{interface}")?;
        }
        writeln!(f)?;
        let of_all = self.interfaces.iter().flat_map(|it| &it.problems).chain(&self.problems);
        for problem in of_all {
            writeln!(f, "problem: {problem}")?;
        }
        if self.ok { writeln!(f, "ok: a trace can begin") } else { writeln!(f, "not ok: a trace would fail") }
    }
}

impl fmt::Display for InterfaceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.up { "up" } else { "down" };
        write!(f, "{}: {}, {state}", self.name, self.link)?;
        write!(f, ", driver {}", self.driver.as_deref().unwrap_or("none"))?;
        if let Some(mtu) = self.mtu {
            write!(f, ", MTU {mtu}")?;
        }
        if let Some(queues) = self.queues {
            write!(f, ", queues {} in and {} out", queues.rx, queues.tx)?;
        }
        writeln!(f)?;
        row(f, "offloads", [self.offloads()])?;
        row(f, "qdiscs", [self.qdiscs.join(", ")])?;
        row(f, "is there", self.programs.iter().map(Hook::to_string))?;
        row(f, "a trace adds", self.would_attach.iter().map(ToString::to_string))?;
        row(f, "native XDP", self.native_xdp.iter().cloned())
    }
}

impl InterfaceReport {
    fn offloads(&self) -> String {
        let state = |(key, name): (&str, &str)| {
            let on = if *self.offloads.get(key)? { "on" } else { "off" };
            Some(format!("{name} {on}"))
        };
        SHORT.into_iter().filter_map(state).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.program)?;
        if let Some(id) = self.id {
            write!(f, " (program {id})")?;
        }
        if let Some(priority) = self.priority {
            write!(f, ", priority {priority}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.program)?;
        match &self.behind {
            Some(kind) => write!(f, ", behind a filter ({kind}) that has the first priority"),
            None if self.place.starts_with("XDP") => Ok(()),
            None => f.write_str(", before all others"),
        }
    }
}

/// A line for each, the first one with the title; without any, `nothing`.
fn row(f: &mut fmt::Formatter<'_>, title: &str, lines: impl IntoIterator<Item = String>) -> fmt::Result {
    let mut title = title;
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        writeln!(f, "  {title:<14}{line}")?;
        title = "";
    }
    if title.is_empty() { Ok(()) } else { writeln!(f, "  {title:<14}nothing") }
}

//! What `tcptrace check` finds, as text for people.

use super::report::{
    AllNetns, HookedProgram, InterfaceReport, KernelReport, LeftOut, PlannedProgram, ProcessReport, Report,
};
use crate::{
    kernel::attach::{
        Notice,
        survey::{DRIVER, FILTERS, OFFLOADS, QDISCS, QUEUES, TCX},
    },
    sink::units::plain,
};
use std::fmt;

/// The offloads that are shown, by the kernel's names, each with the name that it is shown by.
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
        line(f, &self.kernel.to_string())?;
        if !self.programs.is_empty() {
            let programs = self.programs.iter().map(|(name, walked)| match walked {
                Some(instructions) => format!("{name} ({instructions} instructions verified)"),
                None => (*name).to_owned(),
            });
            line(f, &format!("programs: the kernel takes {}", programs.collect::<Vec<_>>().join(", ")))?;
        }
        if let Some(ProcessReport { cgroup, would_attach, problem }) = &self.processes {
            let cgroup = cgroup.as_deref().unwrap_or("no cgroup");
            match problem {
                None => {
                    line(f, &format!("processes: a trace attaches {} to {cgroup}", would_attach.join(", ")))?;
                }
                Some(problem) => {
                    line(f, &format!("processes: a trace would not know them: {problem}"))?;
                }
            }
        }
        if let Some(AllNetns { traced, .. }) = self.all_netns {
            line(f, &format!("network namespaces: a trace takes {traced}, and those that come later"))?;
        }
        for interface in &self.interfaces {
            write!(f, "\n{interface}")?;
        }
        writeln!(f)?;
        if let Some(all) = &self.all_netns {
            all.notices().try_for_each(|notice| line(f, &notice.to_string()))?;
        }
        for interface in &self.interfaces {
            for problem in &interface.problems {
                line(f, &self.of_interface(interface, problem))?;
            }
        }
        for problem in &self.problems {
            line(f, &format!("problem: {problem}"))?;
        }
        let is_left_out = |it: &InterfaceReport| !it.problems.is_empty();
        f.write_str(match self.ok {
            false => "not ok: a trace would fail\n",
            // A trace begins without an interface and waits for one that it can attach to.
            true if self.interfaces.iter().all(is_left_out) => "ok: a trace can begin, on no interface yet\n",
            true => "ok: a trace can begin\n",
        })
    }
}

impl fmt::Display for KernelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = [
            (self.ring_buffer, "ring buffer"),
            (self.tcx_links, "TCX links"),
            (Some(self.xdp_links), "XDP links"),
            (self.btf, "BTF"),
            (self.jit, "JIT"),
        ];
        let of = |state: Option<bool>| {
            let those = features.iter().filter(|(it, _)| *it == state).map(|(_, name)| *name);
            those.collect::<Vec<_>>().join(", ")
        };
        write!(f, "kernel {}: {}", self.release, of(Some(true)))?;
        for (state, title) in [(Some(false), "without"), (None, "unknown:")] {
            let those = of(state);
            if !those.is_empty() {
                write!(f, "; {title} {those}")?;
            }
        }
        Ok(())
    }
}

impl AllNetns {
    /// The notices that a trace would give about namespaces.
    fn notices(&self) -> impl Iterator<Item = Notice> {
        let left_out = self.left_out.iter().cloned();
        let left_out = left_out.map(|LeftOut { netns, reason }| Notice::NamespaceLeftOut { netns, reason });
        let count = self.hidden_processes;
        (count > 0).then_some(Notice::HiddenProcesses { count }).into_iter().chain(left_out)
    }
}

impl Report {
    /// A line about an interface's problem: a trace's notice that the interface is left out, or the problem itself.
    fn of_interface(&self, interface: &InterfaceReport, problem: &str) -> String {
        if self.any {
            let (interface, reason) = (interface.name.as_str().into(), problem.to_owned());
            Notice::LeftOut { interface, reason }.to_string()
        } else {
            format!("problem: {problem}")
        }
    }
}

impl fmt::Display for InterfaceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, &self.headline())?;
        row(f, OFFLOADS, [self.unknown(OFFLOADS).unwrap_or_else(|| self.offloads())])?;
        row(f, QDISCS, [self.unknown(QDISCS).unwrap_or_else(|| self.qdiscs.join(", "))])?;
        let unknown =
            [TCX, FILTERS].into_iter().filter_map(|it| Some(format!("{it}: {}", self.unknown(it)?)));
        row(f, "is there", self.programs.iter().map(HookedProgram::to_string).chain(unknown))?;
        row(f, "a trace adds", self.would_attach.iter().map(ToString::to_string))?;
        row(f, "native XDP", self.native_xdp.iter().cloned())
    }
}

impl InterfaceReport {
    /// What is shown in the place of something that could not be found out; None if it could be.
    fn unknown(&self, what: &str) -> Option<String> {
        self.unknown.get(what).map(|why| format!("unknown ({why})"))
    }

    fn headline(&self) -> String {
        let state = if self.up { "up" } else { "down" };
        let without = if self.unknown.contains_key(DRIVER) { "unknown" } else { "none" };
        let driver = self.driver.as_deref().unwrap_or(without);
        let mtu = self.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        let queues = match self.queues {
            Some(queues) => format!(", queues {} in and {} out", queues.rx, queues.tx),
            None if self.unknown.contains_key(QUEUES) => ", queues unknown".to_owned(),
            None => String::new(),
        };
        format!("{}: {}, {state}, driver {driver}{mtu}{queues}", self.name, self.link)
    }

    fn offloads(&self) -> String {
        let state = |(key, name): (&str, &str)| {
            let on = if *self.offloads.get(key)? { "on" } else { "off" };
            Some(format!("{name} {on}"))
        };
        SHORT.into_iter().filter_map(state).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for HookedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hook, self.program)?;
        if let Some(id) = self.id {
            write!(f, " (program {id})")?;
        }
        if let Some(priority) = self.priority {
            write!(f, ", priority {priority}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.hook, self.program)?;
        match &self.behind {
            Some(kind) => write!(f, ", behind a filter ({kind}) that has the first priority"),
            None if self.first => f.write_str(", before all others"),
            None => Ok(()),
        }
    }
}

/// Writes a line for each of `lines` that is not empty, the first with the title before it. Without any, it writes
/// `nothing`.
fn row(f: &mut fmt::Formatter<'_>, title: &str, lines: impl IntoIterator<Item = String>) -> fmt::Result {
    let mut title = title;
    for text in lines.into_iter().filter(|text| !text.is_empty()) {
        line(f, &format!("  {title:<14}{text}"))?;
        title = "";
    }
    if title.is_empty() { Ok(()) } else { line(f, &format!("  {title:<14}nothing")) }
}

/// Writes one line. What would break the line or move a terminal's cursor is escaped, as others choose the names of
/// interfaces and filters.
fn line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "{}", plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const ACTS: &str = "a\u{1b}[2J\n\u{202e}b";
    const PLAIN: &str = r"a\u{1b}[2J\u{a}\u{202e}b";

    /// A report of one interface, in which everything that others name has this name.
    fn report(name: &str) -> Report {
        let hook = HookedProgram {
            hook: "clsact egress".into(),
            program: name.into(),
            id: Some(7),
            priority: Some(1),
        };
        let ours = PlannedProgram {
            hook: "clsact egress".into(),
            program: "tcptrace_tc_egress",
            first: false,
            behind: Some(name.into()),
        };
        Report {
            ok: false,
            any: false,
            kernel: KernelReport {
                release: name.into(),
                ring_buffer: Some(true),
                tcx_links: Some(true),
                xdp_links: true,
                btf: Some(true),
                jit: Some(true),
            },
            netns: None,
            all_netns: None,
            programs: BTreeMap::new(),
            interfaces: vec![InterfaceReport {
                name: name.into(),
                index: 2,
                up: true,
                link: "Ethernet".into(),
                driver: Some(name.into()),
                mtu: None,
                queues: None,
                offloads: BTreeMap::new(),
                qdiscs: vec![name.into()],
                programs: vec![hook],
                would_attach: vec![ours],
                native_xdp: vec![name.into()],
                problems: vec![name.into()],
                unknown: BTreeMap::new(),
            }],
            processes: Some(ProcessReport {
                cgroup: Some(name.into()),
                would_attach: Vec::new(),
                problem: Some(name.into()),
            }),
            problems: vec![name.into()],
        }
    }

    #[test]
    fn what_the_kernel_has_and_lacks_is_told_as_far_as_it_is_known() {
        let mut kernel = report("6.18").kernel;
        assert_eq!(kernel.to_string(), "kernel 6.18: ring buffer, TCX links, XDP links, BTF, JIT");
        kernel.btf = Some(false);
        assert_eq!(kernel.to_string(), "kernel 6.18: ring buffer, TCX links, XDP links, JIT; without BTF");
        (kernel.ring_buffer, kernel.jit) = (None, None);
        let said = "kernel 6.18: TCX links, XDP links; without BTF; unknown: ring buffer, JIT";
        assert_eq!(kernel.to_string(), said);
    }

    #[test]
    fn what_could_not_be_found_out_is_called_unknown() {
        let mut report = report("NAME");
        let interface = &mut report.interfaces[0];
        interface.driver = None;
        interface.unknown =
            [DRIVER, QUEUES, OFFLOADS, QDISCS, TCX].into_iter().map(|it| (it, "broken".to_owned())).collect();
        let said = interface.to_string();
        let expected = [
            "NAME: Ethernet, up, driver unknown, queues unknown",
            "  offloads      unknown (broken)",
            "  qdiscs        unknown (broken)",
            "  is there      clsact egress: NAME (program 7), priority 1",
            "                TCX programs: unknown (broken)",
        ];
        assert_eq!(said.lines().take(5).collect::<Vec<_>>(), expected);
        let interface = &report.interfaces[0];
        let back = serde_json::to_value(interface).expect("it is written");
        assert_eq!(back["unknown"]["qdiscs"], "broken");
    }

    #[test]
    fn names_of_others_move_no_cursor_and_break_no_line() {
        assert_eq!(report(ACTS).to_string(), report("NAME").to_string().replace("NAME", PLAIN));
        // JSON has an escape of its own.
        let back: serde_json::Value =
            serde_json::from_str(&report(ACTS).to_json().expect("it is written")).expect("JSON");
        assert_eq!(back["interfaces"][0]["programs"][0]["program"], ACTS);
    }
}

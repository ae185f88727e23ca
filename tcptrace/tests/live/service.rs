//! The service as its unit describes it, where no systemd runs: its user, its capabilities, its system calls and its
//! settings are enough for a trace, and for `process`.

use crate::{
    lab::{Family, Host},
    privileges::{Installed, assert_saw, status},
    trace::{Trace, command_of},
    traffic::{Kind, drive},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    process::Command,
    thread,
};

const UNIT: &str = include_str!("../../../packaging/systemd/tcptrace.service");
/// What is added to the unit for `process`.
const PROCESS: &str = include_str!("../../../packaging/systemd/process.conf");
const SETTINGS: &str = include_str!("../../../packaging/service.toml");
/// The script that runs a unit's command as systemd would.
const RUN_UNIT: &str = include_str!("../../../packaging/systemd/run-unit");
/// The user whom the script takes.
const USER: &str = "61184";

/// All values that a unit gives a setting, in their order.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let of_line = |line: &'a str| line.strip_prefix(name)?.strip_prefix('=');
    unit.lines().filter_map(of_line).flat_map(str::split_whitespace).collect()
}

/// The numbers of this processor's system calls, from the kernel's header.
fn numbers() -> HashMap<String, i64> {
    let headers = [
        format!("/usr/include/{}-linux-gnu/asm/unistd_64.h", env::consts::ARCH),
        "/usr/include/asm-generic/unistd.h".to_owned(),
    ];
    let header =
        headers.iter().find_map(|path| fs::read_to_string(path).ok()).expect("linux-libc-dev is installed");
    let of_line = |line: &str| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once([' ', '\t'])?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    header.lines().filter_map(of_line).collect()
}

/// The system calls that systemd has in a set such as `@system-service`, which has further sets in it.
fn calls_of(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output()
        .expect("systemd-analyze runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("text");
    let members = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && *line != name);
    members.flat_map(calls_of).collect()
}

/// The filter that systemd makes of `SystemCallFilter=` and `RestrictAddressFamilies=`.
fn filter() -> BpfProgram {
    let numbers = numbers();
    let names = values(UNIT, "SystemCallFilter").into_iter().flat_map(calls_of);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        names.filter_map(|name| Some((*numbers.get(&name)?, Vec::new()))).collect();
    assert!(rules.len() > 200, "the sets are expanded: {}", rules.len());
    let families = values(UNIT, "RestrictAddressFamilies");
    let is_family = |family: &&str| {
        let number = match *family {
            "AF_INET" => libc::AF_INET,
            "AF_INET6" => libc::AF_INET6,
            "AF_UNIX" => libc::AF_UNIX,
            "AF_NETLINK" => libc::AF_NETLINK,
            other => panic!("{other} has a number to be written here"),
        };
        let is = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::from(number.unsigned_abs()),
        );
        SeccompRule::new(vec![is.expect("a condition")]).expect("a rule")
    };
    rules.insert(libc::SYS_socket, families.iter().map(is_family).collect());
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(env::consts::ARCH).expect("a known processor");
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).expect("a filter");
    filter.try_into().expect("a program")
}

/// Starts the service in a host's namespace, with what is added to its unit and to its settings.
fn start(installed: &Installed, host: &Host, added: &str, settings: &str) -> Trace {
    let file = |name: &str, text: &str| {
        let path = installed.folder().join(name);
        fs::write(&path, text).expect("it can be written");
        path.to_str().expect("text").to_owned()
    };
    let settings = file("tcptrace.toml", &format!("{SETTINGS}{settings}"));
    let unit = format!("{UNIT}\n{added}");
    for named in ["/usr/bin/tcptrace ", "/etc/tcptrace/tcptrace.toml"] {
        assert!(unit.contains(named), "the unit has {named}");
    }
    let unit = unit.replace("/etc/tcptrace/tcptrace.toml", &settings);
    let unit = unit.replace("/usr/bin/tcptrace ", &format!("{} ", installed.path()));
    let (script, unit) = (file("run-unit", RUN_UNIT), file("tcptrace.service", &unit));
    // The filter is a thread's, and those that it starts have it too.
    thread::scope(|scope| {
        let service = scope.spawn(|| {
            apply_filter(&filter()).expect("seccomp works here");
            Trace::spawn(host, &mut command_of("sh", &[&script, &unit]))
        });
        service.join().expect("it starts")
    })
}

/// The capabilities of that line of a process' status, as a number.
fn capabilities(trace: &Trace, field: &str) -> u64 {
    u64::from_str_radix(&status(trace, field), 16).expect("a number")
}

#[test]
fn the_unit_s_rights_are_enough_for_a_trace() {
    const NET_ADMIN_PERFMON_BPF: u64 = 1 << 12 | 1 << 38 | 1 << 39;
    let (installed, host) = (Installed::new(), Host::alone());
    let mut trace = start(&installed, &host, "", "metrics = \"127.0.0.1:9464\"\n");
    trace.wait_until_attached();
    assert_eq!(status(&trace, "Uid:"), [USER; 4].join("\t"));
    assert_eq!(capabilities(&trace, "CapBnd:"), NET_ADMIN_PERFMON_BPF);
    assert_eq!(status(&trace, "NoNewPrivs:"), "1");
    let flow = drive(Kind::ClientCloses, &host, &host, Family::V4);
    let events = assert_saw(trace, flow);
    assert!(events.iter().any(|event| event["event"] == "start"), "{events:#?}");
    host.assert_nothing_attached();
}

#[test]
fn with_one_capability_more_the_service_knows_processes() {
    let (installed, host) = (Installed::new(), Host::alone());
    let mut trace = start(&installed, &host, PROCESS, "process = true\n");
    trace.wait_until_attached();
    assert_eq!(capabilities(&trace, "CapBnd:") & 1 << 19, 1 << 19, "CAP_SYS_PTRACE");
    let flow = drive(Kind::ClientCloses, &host, &host, Family::V4);
    let events = assert_saw(trace, flow);
    let connection = events.iter().find(|event| event["event"] == "connection").expect("it was seen");
    assert_eq!(connection["client_process"]["pid"], Value::from(std::process::id()), "{connection:#}");
    host.assert_nothing_attached();
}

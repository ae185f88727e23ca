//! Tries the service under systemd: what it tells, with which rights, and what becomes of it where something goes wrong.

use super::{CONNECT, in_words, system::System};
use crate::shell::say;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::fs;

/// Where its settings are.
const SETTINGS: &str = "/etc/tcptrace/tcptrace.toml";
/// What is added to the unit for `process`, and where an administrator puts it.
const PROCESS: [&str; 2] =
    ["/usr/share/doc/tcptrace-ebpf/process.conf", "/etc/systemd/system/tcptrace.service.d/process.conf"];
/// Starts it, for the first time.
pub(super) fn start(system: &System) -> Result<()> {
    system.run(&["systemctl", "enable", "--now", "tcptrace"])?;
    traces(system)
}

/// All that it is tried with while it runs.
pub(super) fn all(system: &System) -> Result<()> {
    let rating = system.run(&["systemd-analyze", "security", "tcptrace"])?;
    say(format_args!("    {}", rating.lines().next_back().unwrap_or_default().trim()));
    tells(system)?;
    rights(system)?;
    sums_up(system)?;
    survives_a_kill(system)?;
    refuses_wrong_settings(system)?;
    writes_files(system)?;
    names_processes(system)
}

/// Waits until the service traces since it was last started.
pub(super) fn traces(system: &System) -> Result<()> {
    system.until("has no service that traces", |system| {
        Ok(journal(system)?.lines().any(|line| line.contains("tracing")).then_some(()))
    })
}

/// It tells of one connection, with the unit that had it open.
pub(super) fn tells(system: &System) -> Result<()> {
    let connection = told(system)?;
    let unit = &connection["client_cgroup"]["unit"];
    ensure!(unit == "visitor.service", "the connection is of another unit: {connection}");
    say(format_args!("    {}", in_words(&connection)));
    Ok(())
}

/// Has a connection opened and closed, and returns what the journal has of it.
fn told(system: &System) -> Result<Value> {
    connect(system)?;
    system.until("has no service that tells of a connection", |system| connection_in(&journal(system)?))
}

/// The process that is the service, by its number in the system.
pub(super) fn main_process(system: &System) -> Result<String> {
    property(system, "MainPID")
}

/// Opens and closes one connection, in a unit of its own.
fn connect(system: &System) -> Result<()> {
    fs::write(system.path("/var/tmp/connect"), CONNECT)?;
    let run = ["systemd-run", "--unit=visitor", "--wait", "--collect", "--quiet", "perl", "/var/tmp/connect"];
    system.run(&run).map(drop)
}

/// What the service has written since it was last started.
fn journal(system: &System) -> Result<String> {
    let id = property(system, "InvocationID")?;
    system.ask(&["journalctl", "--output=cat", &format!("_SYSTEMD_INVOCATION_ID={id}")])
}

fn property(system: &System, name: &str) -> Result<String> {
    let value = system.ask(&["systemctl", "show", "--value", "--property", name, "tcptrace"])?;
    Ok(value.trim().to_owned())
}

/// The first connection of lines of JSON among other lines. It has to be complete, and the one that was made.
fn connection_in(lines: &str) -> Result<Option<Value>> {
    let mut events = lines.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str::<Value>);
    let Some(connection) =
        events.find(|event| !event.as_ref().is_ok_and(|event| event["event"] != "connection"))
    else {
        return Ok(None);
    };
    let connection = connection?;
    ensure!(connection["server"]["port"] == 8080 && connection["complete"] == true, "{connection}");
    Ok(Some(connection))
}

/// It has a user of its own, three capabilities, and no way to others.
fn rights(system: &System) -> Result<()> {
    // CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h).
    let capabilities: u64 = 1 << 12 | 1 << 38 | 1 << 39;
    let status = system.ask(&["cat", &format!("/proc/{}/status", main_process(system)?)])?;
    let value = |name: &str| {
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|it| it.trim().to_owned());
        status.lines().find_map(of_line).with_context(|| format!("the process has no {name}"))
    };
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(u64::from_str_radix(&value(set)?, 16)? == capabilities, "{set} is {}", value(set)?);
    }
    ensure!(!value("Uid")?.split_whitespace().any(|uid| uid == "0"), "the service runs as root");
    ensure!(value("NoNewPrivs")? == "1", "the service may get other rights");
    for name in ["Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "VmHWM", "VmRSS"] {
        say(format_args!("    {name}: {}", value(name)?));
    }
    Ok(())
}

/// It sums up when it is asked to.
fn sums_up(system: &System) -> Result<()> {
    system.run(&["systemctl", "kill", "--signal=USR1", "tcptrace"])?;
    let line = system.until("has no service that sums up", |system| {
        let journal = journal(system)?;
        Ok(journal.lines().find(|line| line.contains("1 connection")).map(str::to_owned))
    })?;
    say(format_args!("    {}", line.trim()));
    Ok(())
}

/// systemd starts it anew when it has been killed.
fn survives_a_kill(system: &System) -> Result<()> {
    let before = main_process(system)?;
    system.run(&["systemctl", "kill", "--signal=KILL", "tcptrace"])?;
    system.until("has no service any more after a SIGKILL", |system| {
        let now = main_process(system)?;
        Ok((now != "0" && now != before).then_some(()))
    })?;
    traces(system)?;
    tells(system)
}

/// Settings that make no sense end it, and systemd does not try again; the journal says what is wrong.
fn refuses_wrong_settings(system: &System) -> Result<()> {
    let settings = system.path(SETTINGS);
    let right = fs::read_to_string(&settings)?;
    fs::write(&settings, format!("{right}lattency = \"50ms\"\n"))?;
    system.run(&["systemctl", "restart", "tcptrace"])?;
    system.until("has no service that failed", |system| {
        Ok((property(system, "ActiveState")? == "failed").then_some(()))
    })?;
    let (status, journal) = (property(system, "ExecMainStatus")?, journal(system)?);
    ensure!(status == "2", "wrong settings end the service with {status}");
    let line = journal.lines().find(|line| line.contains("lattency"));
    say(format_args!("    {}", line.context("the journal does not say what is wrong")?));
    fs::write(&settings, right)?;
    system.run(&["systemctl", "restart", "tcptrace"])?;
    traces(system)
}

/// It writes files into the folder that the unit gives it, which nobody else may read.
fn writes_files(system: &System) -> Result<()> {
    const FILE: &str = "/var/log/tcptrace/events.jsonl";
    let right = set(system, &format!("output = {FILE:?}"))?;
    connect(system)?;
    system.until("has no service that writes files", |system| {
        let written = system.output(&["cat", FILE])?;
        connection_in(&String::from_utf8_lossy(&written.stdout))
    })?;
    let mode = system.run(&["stat", "--format=%A", FILE])?;
    ensure!(mode.trim() == "-rw-------", "the file is {mode}");
    Ok(fs::write(system.path(SETTINGS), right)?)
}

/// With what the documents say of `process`, it names processes.
fn names_processes(system: &System) -> Result<()> {
    system.run(&["install", "-D", "--mode=644", PROCESS[0], PROCESS[1]])?;
    system.run(&["systemctl", "daemon-reload"])?;
    let right = set(system, "process = true")?;
    let connection = told(system)?;
    for end in ["client_process", "server_process"] {
        let name = &connection[end]["comm"];
        ensure!(name == "perl", "{end} is {name}: {connection}");
    }
    system.run(&["rm", "--recursive", "/etc/systemd/system/tcptrace.service.d"])?;
    system.run(&["systemctl", "daemon-reload"])?;
    Ok(fs::write(system.path(SETTINGS), right)?)
}

/// Adds a line to its settings, and starts it anew. Returns the settings without the line.
fn set(system: &System, line: &str) -> Result<String> {
    let settings = system.path(SETTINGS);
    let before = fs::read_to_string(&settings)?;
    fs::write(&settings, format!("{before}{line}\n"))?;
    say(format_args!("  # echo '{line}' >> {SETTINGS}"));
    system.run(&["systemctl", "restart", "tcptrace"])?;
    traces(system)?;
    Ok(before)
}

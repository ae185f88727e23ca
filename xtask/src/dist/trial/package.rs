//! Tries the packages, each in a system that runs: from installation to purge.

use super::{service, system::System};
use crate::{
    dist::{
        pack,
        place::{Place, empty},
    },
    setup,
    shell::say,
    subcommands::Subcommands,
};
use anyhow::{Context as _, Result, ensure};
use std::{collections::BTreeSet, fs, process::Command};

const UNIT: &str = "/usr/lib/systemd/system/tcptrace.service";
/// What enables the service.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/tcptrace.service";

/// Debian's package: beside another of that name, installed, run, upgraded, removed and purged.
pub(super) fn debian(place: &Place, tools: &Subcommands) -> Result<()> {
    let system = System::start(place)?;
    let older = place.root.join("target/trial/older.deb");
    pack::deb(place, tools, &format!("{}~before-1", place.version), &older)?;
    system.put(&older, "/var/tmp/older.deb")?;
    system.put(&pack::deb_path(place), "/var/tmp/newer.deb")?;
    let before = system.files()?;

    say("beside Debian's package tcptrace:");
    beside_the_other(place, &system)?;

    say("Debian's package, from installation to purge:");
    system.run(&["apt-get", "--quiet=2", "install", "/var/tmp/older.deb"])?;
    installed(&system, &before)?;
    service::start(&system)?;
    let settings = system.path("/etc/tcptrace/tcptrace.toml");
    let changed = fs::read_to_string(&settings)? + "latency = \"50ms\"\n";
    fs::write(&settings, &changed)?;
    let older = service::main_process(&system)?;

    system.run(&["apt-get", "--quiet=2", "install", "/var/tmp/newer.deb"])?;
    let version =
        system.run(&["dpkg-query", "--show", "--showformat=${Version} ${Status}", "tcptrace-ebpf"])?;
    ensure!(version == format!("{}-1 install ok installed", place.version), "after the upgrade: {version}");
    ensure!(fs::read_to_string(&settings)? == changed, "the upgrade changed the settings");
    upgraded(&system, &older)?;

    let said = system.run(&["tcptrace", "-V"])?;
    ensure!(said.contains(&place.version), "tcptrace -V says {said}");
    // There is no man(1), which would look for the pages that the unit names.
    system.run(&["systemd-analyze", "verify", "--man=no", UNIT])?;
    service::all(&system)?;

    let last = service::main_process(&system)?;
    system.run(&["apt-get", "--quiet=2", "remove", "tcptrace-ebpf"])?;
    removed(&system, &last)?;
    ensure!(settings.exists(), "removal took the settings, which a purge should");
    system.run(&["apt-get", "--quiet=2", "purge", "tcptrace-ebpf"])?;
    nothing_left(&system, &before)?;
    system.end()
}

/// The package for RPM's systems, by Debian's rpm: its files and scripts are tried, and not what a Fedora has beside them.
pub(super) fn rpm(place: &Place) -> Result<()> {
    let system = System::start(place)?;
    system.put(&pack::rpm_path(place), "/var/tmp/tcptrace.rpm")?;
    // A Fedora has these of others.
    system.ask(&[
        "mkdir",
        "-p",
        "/usr/share/fish/vendor_completions.d",
        "/usr/share/zsh/site-functions",
        "/usr/share/licenses",
    ])?;
    let before = system.files()?;
    say("RPM's package, by Debian's rpm, from installation to erasure:");
    system.run(&["rpm", "--install", "--nodeps", "/var/tmp/tcptrace.rpm"])?;
    installed(&system, &before)?;
    service::start(&system)?;
    service::tells(&system)?;
    let older = service::main_process(&system)?;
    system.run(&["rpm", "--upgrade", "--nodeps", "--force", "/var/tmp/tcptrace.rpm"])?;
    upgraded(&system, &older)?;
    service::tells(&system)?;
    let last = service::main_process(&system)?;
    system.run(&["rpm", "--erase", "tcptrace-ebpf"])?;
    removed(&system, &last)?;
    nothing_left(&system, &before)?;
    system.end()
}

/// An installation puts the unit there, and enables and starts nothing.
fn installed(system: &System, before: &BTreeSet<String>) -> Result<()> {
    let installed = system.files()?;
    say(format_args!("  {} files and folders more", installed.difference(before).count()));
    ensure!(installed.contains(UNIT), "the unit is not installed");
    ensure!(!installed.contains(ENABLED), "an installation enables the service");
    ensure!(service::main_process(system)? == "0", "an installation starts the service");
    Ok(())
}

/// An upgrade keeps the service enabled, and has it traced by the new program.
fn upgraded(system: &System, older: &str) -> Result<()> {
    ensure!(system.files()?.contains(ENABLED), "the upgrade disabled the service");
    let newer = service::main_process(system)?;
    ensure!(newer != older && newer != "0", "the upgrade left the older program running");
    service::traces(system)
}

/// The program is gone, and the process that was the service has ended.
fn removed(system: &System, last: &str) -> Result<()> {
    ensure!(!system.path("/usr/bin/tcptrace").exists(), "the program is still there after removal");
    let processes = system.ask(&["ls", "/proc"])?;
    ensure!(!processes.lines().any(|it| it == last), "the service still runs after removal");
    Ok(())
}

/// The files are those from before, also of what the service wrote.
fn nothing_left(system: &System, before: &BTreeSet<String>) -> Result<()> {
    let after = system.files()?;
    let left: Vec<_> = after.symmetric_difference(before).collect();
    ensure!(left.is_empty(), "these are left, or gone: {left:?}");
    for folder in ["/var/log/private/tcptrace", "/var/log/tcptrace"] {
        ensure!(!system.path(folder).exists(), "what the service wrote is left in {folder}");
    }
    say("  nothing is left");
    Ok(())
}

/// The two packages exclude each other: dpkg refuses the second, and apt takes the first away and says so.
fn beside_the_other(place: &Place, system: &System) -> Result<()> {
    let folder = place.root.join("target/trial/other");
    empty(&folder)?;
    setup::run(Command::new("apt-get").args(["--quiet=2", "download", "tcptrace"]).current_dir(&folder))?;
    let other = fs::read_dir(&folder)?.next().context("apt downloaded nothing")??.path();
    system.put(&other, "/var/tmp/other.deb")?;
    // Its library is not there, and it need not run.
    system.run(&["dpkg", "--install", "--force-depends", "/var/tmp/other.deb"])?;
    let output = system.output(&["dpkg", "--install", "/var/tmp/newer.deb"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("conflict")).map(str::trim);
    ensure!(!output.status.success(), "dpkg installed both packages");
    say(format_args!("  # dpkg --install /var/tmp/newer.deb\n  {}", line.context("dpkg names no conflict")?));
    system.run(&["dpkg", "--purge", "tcptrace"])?;
    Ok(())
}

//! `cargo xtask bench`: one part per question, each with its own set-up.

use crate::{cargo::BuildEnv, packages, setup, shell::say};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

/// Something that can be measured.
struct Part {
    name: &'static str,
    /// The question it answers, as the heading.
    about: &'static str,
    /// What it needs besides the build.
    packages: &'static [&'static str],
    command: fn(&BuildEnv) -> Result<Command>,
}

const PARTS: [Part; 2] = [
    Part {
        name: "kernel",
        about: "nanoseconds a packet in the kernel programs (BPF_PROG_TEST_RUN)",
        packages: &[],
        command: |env| env.cargo_as_root(["bench", "--package", "tcptrace", "--bench", "kernel"]),
    },
    Part {
        name: "offline",
        about: "packets a second from capture files, beside tshark, tcpdump and the classic tcptrace",
        // taskset is in util-linux; the package `tcptrace` is the classic, whose binary has our name.
        packages: &["tshark", "tcpdump", "tcptrace", "time", "util-linux"],
        command: |env| Ok(env.cargo(["bench", "--package", "tcptrace", "--bench", "offline"])),
    },
];

/// Measures one part with what it is given, or all of them.
pub(crate) fn run(wanted: Option<&str>, args: &[OsString]) -> Result<ExitCode> {
    let parts = select(wanted)?;
    let env = setup::ensure()?;
    let mut good = true;
    for part in parts {
        say(format_args!("==> {}: {}", part.name, part.about));
        packages::ensure_any(part.packages, "it measures these too")?;
        let mut command = (part.command)(&env)?;
        command.arg("--").args(args);
        good &= command.status().context("cannot run cargo")?.success();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn select(wanted: Option<&str>) -> Result<Vec<&'static Part>> {
    let Some(name) = wanted else { return Ok(PARTS.iter().collect()) };
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        let names = PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
        bail!("there is no part '{name}' to measure; there is: {names}");
    };
    Ok(vec![part])
}

#[cfg(test)]
mod tests {
    use super::{PARTS, select};

    #[test]
    fn an_unknown_part_is_answered_with_those_that_exist() {
        assert_eq!(select(None).map(|parts| parts.len()).ok(), Some(PARTS.len()));
        assert_eq!(select(Some("kernel")).map(|parts| parts[0].name).ok(), Some("kernel"));
        let error = select(Some("colour")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("'colour'") && error.contains("kernel"), "{error}");
    }
}

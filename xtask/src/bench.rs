//! `cargo xtask bench`: measures one part at a time, each with a set-up of its own.

use crate::{
    cargo::{self, BuildEnv},
    packages, setup,
    shell::{network_hint, root, say, which},
    toolchain,
};
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

/// Something that can be measured.
struct Part {
    name: &'static str,
    /// What the part measures, as the heading.
    about: &'static str,
    /// The Debian packages that the part needs.
    packages: &'static [&'static str],
    /// The Debian packages of programs that the part measures too if they can be installed.
    wishes: &'static [&'static str],
    bench: &'static str,
    needs_root: bool,
}

const MEASURE: Part =
    Part { name: "", about: "", packages: &[], wishes: &[], bench: "measure", needs_root: true };

const PARTS: [Part; 7] = [
    Part {
        name: "kernel",
        about: "nanoseconds a packet in the kernel programs (BPF_PROG_TEST_RUN)",
        bench: "kernel",
        ..MEASURE
    },
    Part {
        name: "live",
        about: "connections over veth with and without each program that watches them (5 minutes)",
        packages: &["iproute2", "procps", "nftables"],
        wishes: &["tcpdump", "tshark", "conntrack", "libbpf-tools", "bpftrace"],
        ..MEASURE
    },
    Part {
        name: "bulk",
        about: "iperf3 over veth with and without watching (2 minutes)",
        packages: &["iproute2", "ethtool", "iperf3", "tcpdump"],
        ..MEASURE
    },
    Part {
        name: "offline",
        about: "packets a second from capture files, beside tshark, tcpdump and the classic tcptrace (minutes)",
        // taskset is in util-linux; the package `tcptrace` is the classic, whose binary has our name.
        packages: &["tshark", "tcpdump", "tcptrace", "time", "util-linux"],
        bench: "offline",
        needs_root: false,
        ..MEASURE
    },
    Part {
        name: "user",
        about: "records a second from the ring's bytes to each output, and instructions a record",
        packages: &["valgrind"],
        needs_root: false,
        ..MEASURE
    },
    Part {
        name: "flood",
        about: "a flood of SYNs by XDP while real connections go on",
        packages: &["iproute2", "ethtool"],
        ..MEASURE
    },
    Part {
        name: "memory",
        about: "bytes a connection, speed of the table when it is full, memory at rest, start-up time",
        packages: &["iproute2"],
        ..MEASURE
    },
];

/// Measures one part, which is given `args`. Without a part it lists the parts.
pub(crate) fn run(wanted: Option<&str>, args: &[OsString]) -> Result<ExitCode> {
    let Some(name) = wanted else {
        for part in &PARTS {
            say(format_args!("cargo xtask bench {:<8} {}", part.name, part.about));
        }
        say(
            "Each writes its figures to target/bench/PART.json too; `cargo xtask bench PART --help` tells the options.",
        );
        return Ok(ExitCode::SUCCESS);
    };
    let part = select(name)?;
    let env = setup::ensure()?;
    say(format_args!("==> {}: {}", part.name, part.about));
    packages::ensure_any(part.packages, "the measurement needs them")?;
    for wish in part.wishes {
        if let Err(error) = packages::ensure(&[wish], "it measures these too") {
            say(format_args!("without {wish}: {error:#}"));
        }
    }
    let tools = if part.name == "live" { rustnet() } else { None };
    let good = command(part, &env, tools, args)?.status().context("cannot run cargo")?.success();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn select(name: &str) -> Result<&'static Part> {
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        let names = PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
        bail!("there is no part '{name}' to measure; there is: {names}");
    };
    Ok(part)
}

fn command(part: &Part, env: &BuildEnv, tools: Option<PathBuf>, args: &[OsString]) -> Result<Command> {
    let words = ["bench", "--package", "tcptrace", "--bench", part.bench];
    let mut command = if part.needs_root { env.cargo_as_root(words)? } else { env.cargo(words) };
    if let Some(tools) = tools {
        let path = std::env::split_paths(&env.path).chain([tools]);
        command.env("PATH", std::env::join_paths(path)?);
    }
    command.arg("--");
    if part.bench == MEASURE.bench {
        command.arg(part.name);
    }
    command.args(args);
    let is_given = |option: &str| args.iter().any(|arg| arg == option);
    // `offline` with files of one's own has no figures to write.
    if !is_given("--json") && (part.bench == MEASURE.bench || args.is_empty()) && !is_given("--help") {
        let directory = root().join("target/bench");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        command.arg("--json").arg(directory.join(part.name).with_extension("json"));
    }
    Ok(command)
}

/// Builds rustnet, which has no Debian package, and returns the folder that it is in. If that fails, the other programs
/// are still measured.
fn rustnet() -> Option<PathBuf> {
    const VERSION: &str = "1.7.0";
    let directory = toolchain::own_tools();
    let bin = directory.join("bin");
    if which("rustnet").is_some() || bin.join("rustnet").is_file() {
        return Some(bin);
    }
    if let Err(error) = packages::ensure(&["libpcap-dev"], "rustnet is built with it") {
        say(format_args!("without rustnet: {error:#}"));
        return None;
    }
    say(format_args!("building rustnet {VERSION} into {} (some minutes)", bin.display()));
    let built = cargo::install("rustnet-monitor", VERSION, &directory)
        .arg("--no-default-features")
        .stdin(Stdio::null())
        .output();
    match built {
        Ok(output) if output.status.success() => Some(bin),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it did not build");
            say(format_args!("without rustnet: {last}{}", network_hint(&said)));
            None
        }
        Err(error) => {
            say(format_args!("without rustnet: cannot run cargo: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PARTS, select};

    #[test]
    fn an_unknown_part_is_answered_with_those_that_exist() {
        assert_eq!(select("kernel").map(|part| part.name).ok(), Some("kernel"));
        let error = select("colour").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("'colour'"), "{error}");
        assert!(PARTS.iter().all(|part| error.contains(part.name)), "{error}");
    }
}

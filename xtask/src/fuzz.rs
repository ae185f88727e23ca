//! `cargo xtask fuzz`: runs the fuzz targets, which do for long and guided by coverage what the property tests do in
//! short. cargo-fuzz, which nothing else in the project needs, is installed for it.

use crate::{
    cargo::BuildEnv,
    packages, setup,
    shell::{root, say},
    subcommands,
};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, ExitCode},
};

/// The targets, as in `fuzz/fuzz_targets`.
const TARGETS: [&str; 12] = [
    "arguments",
    "capture",
    "file",
    "filter",
    "headers",
    "lines",
    "netlink",
    "options",
    "record",
    "request",
    "tables",
    "tracker",
];
/// What runs them.
const CARGO_FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.2");
/// A seed larger than this only slows the fuzzer down.
const SEED_BYTES: u64 = 200_000;

/// Runs one target, or each in turn, for `seconds` of its own. The file reader starts from the captures of the corpus.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<ExitCode> {
    let targets = match target {
        None => TARGETS.to_vec(),
        Some(name) if TARGETS.contains(&name) => vec![name],
        Some(name) => bail!("there is no fuzz target '{name}'; there is: {}", TARGETS.join(", ")),
    };
    packages::ensure(&["g++"], "libFuzzer is built with it")?;
    let program = subcommands::ensure(&[CARGO_FUZZ])?.path(CARGO_FUZZ.0);
    let env = setup::ensure()?;
    let mut good = true;
    for target in targets {
        let mut command = env.as_cargo(&program);
        // The sanitizer's runtime comes with every compiler, and the options that ask for it with a nightly, or with this.
        command.env("RUSTC_BOOTSTRAP", "1").args(["run", target]);
        let own = root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
        // New findings go to the first folder, so the seeds are copied there.
        if target == "file" {
            copy_seeds(&own)?;
        }
        command.arg(own).args(["--", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        command.arg(format!("-max_total_time={seconds}"));
        say(format_args!("==> {target}: {seconds} s"));
        good &= command.status().context("cannot run cargo")?.success();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A command that checks the targets with a compiler that cannot fuzz, so that changes that break them are seen.
pub(crate) fn check(env: &BuildEnv) -> Command {
    let words = "clippy --locked --manifest-path fuzz/Cargo.toml --target-dir target -- -D warnings";
    let mut command = env.cargo(words.split(' '));
    // No file is there, and none is needed, as nothing is linked. Without the variable libFuzzer itself is built.
    command.env("CUSTOM_LIBFUZZER_PATH", "/libfuzzer.a");
    command
}

/// Captures small enough to be seeds, from where the corpus tests look for them.
fn copy_seeds(to: &Path) -> Result<()> {
    let corpus = env::var_os("TCPTRACE_CORPUS").unwrap_or_else(|| OsString::from("../shared/corpus"));
    let corpus = root().join(corpus);
    for folder in ["pcaps", "negative"] {
        // Without the corpus the fuzzer starts from nothing, which takes longer and finds the same.
        let Ok(entries) = fs::read_dir(corpus.join(folder)) else { continue };
        for entry in entries.flatten() {
            let small = entry.metadata().is_ok_and(|it| it.is_file() && it.len() <= SEED_BYTES);
            if small {
                fs::copy(entry.path(), to.join(entry.file_name())).context("cannot copy a seed")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use crate::shell::root;
    use std::fs;

    #[test]
    fn every_target_is_known_here_and_to_cargo() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("it is there");
        let mut files: Vec<_> = fs::read_dir(root().join("fuzz/fuzz_targets"))
            .expect("it is there")
            .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
            .collect();
        files.sort_unstable();
        assert_eq!(files, TARGETS);
        for target in TARGETS {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        }
    }
}

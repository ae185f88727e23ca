//! `cargo xtask test --kernels`: the tests that meet the kernel, in kernels other than the one that runs.
//!
//! Each is one of Debian's, started in an emulated machine from an initramfs that holds the test binaries.

mod apt;
mod arch;
mod archive;
mod cpio;
mod cross;
mod guest;
mod initramfs;
mod plan;
mod programs;
mod transcript;

use crate::{
    cargo::BuildEnv,
    packages,
    shell::{capture, root, say},
    tally::Tally,
};
use anyhow::{Context as _, Result, anyhow, bail};
use arch::Arch;
use guest::Report;
use initramfs::Contents;
use plan::{FULL, KERNELS, Kernel, SHORT, Suite};
use std::{ffi::OsString, fmt::Write as _, fs, path::Path, process::Command, time::Instant};
use transcript::Verdict;

/// What it takes beside what the tests here take, and the emulator.
const PACKAGES: [&str; 3] = ["busybox-static", "kmod", "xz-utils"];

/// Which kernels, and how much in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The oldest, a few tests: part of every `cargo xtask test`.
    Short,
    /// These by their names, and of the test binaries these; none is all.
    Full { kernels: Vec<String>, binaries: Vec<String> },
}

impl Choice {
    /// From the names on the command line.
    pub(crate) fn full(kernels: Vec<String>, binaries: &[OsString]) -> Self {
        let binaries = binaries.iter().map(|it| it.to_string_lossy().into_owned()).collect();
        Self::Full { kernels, binaries }
    }

    fn kernels(&self) -> Result<Vec<&'static Kernel>> {
        match self {
            Self::Short => Ok(KERNELS.iter().take(1).collect()),
            Self::Full { kernels, .. } => chosen(&KERNELS, |it| it.name, kernels, "kernel"),
        }
    }

    fn suites(&self) -> Result<Vec<&'static Suite>> {
        match self {
            Self::Short => Ok(SHORT.iter().collect()),
            Self::Full { binaries, .. } => chosen(FULL, |it| it.binary, binaries, "test binary"),
        }
    }
}

/// Those of these names, or all where there are no names.
fn chosen<T>(
    all: &'static [T],
    name: impl Fn(&T) -> &'static str,
    names: &[String],
    what: &str,
) -> Result<Vec<&'static T>> {
    if names.is_empty() {
        return Ok(all.iter().collect());
    }
    let find = |wanted: &String| {
        all.iter().find(|it| name(it) == wanted).with_context(|| {
            let known: Vec<_> = all.iter().map(&name).collect();
            format!("no {what} {wanted}: there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// Runs them and counts. A kernel that cannot be had, or does not start, is a failure and the next ones go on.
pub(crate) fn run(env: &BuildEnv, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let (kernels, suites) = (choice.kernels()?, choice.suites()?);
    let machine = capture(Command::new("uname").arg("-m"))?;
    if machine.trim() != "x86_64" {
        bail!("other kernels are tested from x86-64 only, and this is {}", machine.trim());
    }
    let home = root().join("target/kernels");
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    for suite in &suites {
        for (name, why) in suite.without {
            say(format_args!("left out: {} {name}: {why}", suite.binary));
        }
    }
    let (mut table, mut success) = (String::new(), true);
    for kernels in kernels.chunk_by(|a, b| a.arch.debian == b.arch.debian) {
        let contents = contents(env, kernels[0].arch, &suites, &home);
        for kernel in kernels {
            let contents = contents.as_ref().map_err(|error| anyhow!("{error:#}"));
            match contents.and_then(|it| one(kernel, it, &suites, &home, &mut table)) {
                Ok(verdicts) => {
                    success &= verdicts.iter().all(|verdict| verdict.outcome.is_ok());
                    tally.passed += verdicts.iter().map(|verdict| verdict.passed).sum::<u64>();
                    tally.failed += verdicts.iter().map(|verdict| verdict.failed).sum::<u64>();
                }
                Err(error) => {
                    say(format_args!("error: kernel {}: {error:#}", kernel.name));
                    _ = writeln!(table, "{}: {error:#}", kernel.name);
                    success = false;
                    tally.failed += 1;
                }
            }
        }
    }
    say(table.trim_end());
    Ok(success)
}

/// What kernels for a kind of processor start with, and what emulates it.
fn contents(env: &BuildEnv, arch: &Arch, suites: &[&Suite], home: &Path) -> Result<Contents> {
    packages::ensure(&[&[arch.package], &PACKAGES[..]].concat(), "other kernels run with them")?;
    Contents::gather(env, arch, suites, home)
}

fn one(
    kernel: &Kernel,
    contents: &Contents,
    suites: &[&Suite],
    home: &Path,
    table: &mut String,
) -> Result<Vec<Verdict>> {
    let unpacked = archive::get(kernel, home)?;
    let place = home.join(kernel.place());
    let image = place.join("initramfs");
    contents.write(&image, &unpacked, suites)?;
    let start = Instant::now();
    say(format_args!("--- {}, all it says is in {}/log and console", unpacked.release, place.display()));
    let report = guest::run(&unpacked, &image, suites, &place, |verdict| show(&unpacked.release, verdict));
    fs::remove_file(image)?;
    let Report { verdicts, features } = report?;
    let (passed, failed) = verdicts.iter().fold((0, 0), |sum, it| (sum.0 + it.passed, sum.1 + it.failed));
    let seconds = start.elapsed().as_secs();
    _ = writeln!(table, "{}: {passed} passed, {failed} failed, {seconds} s", unpacked.release);
    for (name, value) in features {
        _ = writeln!(table, "    {name}: {value}");
    }
    Ok(verdicts)
}

/// A line for a verdict; after a failure the end of what the suite printed. The verifier can fill thousands of lines.
fn show(release: &str, verdict: &Verdict) {
    let Verdict { suite, outcome, passed, failed, took, output } = verdict;
    if outcome.is_err() {
        const LINES: usize = 100;
        const LETTERS: usize = 500;
        for line in &output[output.len().saturating_sub(LINES)..] {
            say(line.chars().take(LETTERS).collect::<String>());
        }
    }
    let word = match outcome {
        Ok(()) => "ok",
        Err(why) => why,
    };
    say(format_args!(
        "{release}  {suite:<12} {passed} passed, {failed} failed, {} s: {word}",
        took.as_secs()
    ));
}

#[cfg(test)]
mod tests {
    use super::Choice;

    #[test]
    fn kernels_are_chosen_by_name() {
        let choice = |kernels: &[&str], binaries: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            Choice::Full { kernels: owned(kernels), binaries: owned(binaries) }
        };
        let names =
            |choice: &Choice| choice.kernels().map(|all| all.iter().map(|it| it.name).collect::<Vec<_>>());
        assert_eq!(names(&Choice::Short).expect("one"), ["5.10"]);
        assert_eq!(names(&choice(&[], &[])).expect("all").first(), Some(&"5.10"));
        assert_eq!(names(&choice(&["6.12", "6.1"], &[])).expect("two"), ["6.12", "6.1"]);
        let error = names(&choice(&["6.2"], &[])).expect_err("no such");
        assert!(error.to_string().starts_with("no kernel 6.2: there are 5.10, "), "{error}");
        assert_eq!(choice(&[], &["live"]).suites().expect("one").len(), 1);
        assert!(choice(&[], &["dead"]).suites().is_err());
    }
}

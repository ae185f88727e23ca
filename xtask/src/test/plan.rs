//! Which test binaries run beside which.
//!
//! `cargo test` runs one binary after the other. Most of the time goes into two kinds: those that keep the processors busy,
//! and those that wait for the kernel's timers and for tracers to start. One of each kind at a time keeps two processors
//! busy without tests being later than they allow for. A runner that gives each test a process of its own, as cargo-nextest
//! does, does not serve here: many tests share programs that were loaded once in their process. The stories in the kernel
//! programs, 590 tests, take 3.5 s of processor time in one process; one of them in a process of its own takes 1.1 s.

use super::{
    SKIPS, Skips,
    work::{Counts, Job},
};
use crate::cargo::{BuildEnv, Executable};
use anyhow::Result;

/// Binaries that mostly wait, the longest first.
const WAITING: [&str; 6] = ["live", "live_attach", "live_sockets", "live_icmp", "live_paged", "live_netns"];
/// Binaries that keep the processors busy for long, the longest first. What is in neither list comes after these.
const BUSY: [&str; 4] = ["test_run", "corpus", "tcptrace_core", "sinks"];
/// Tests that measure times, or load the machine until something gives way: nothing else may run beside them. No name of
/// tests is all of the binary.
const ALONE: [(&str, &[&str]); 2] = [
    (
        "live",
        &["first_byte::", "flood::", "latency::", "load::", "merge::", "metrics::hostile::", "oracle::"],
    ),
    ("endure", &[]),
];

/// The tests, by what they can run beside.
pub(super) struct Plan<'a> {
    pub(super) busy: Vec<Job<'a>>,
    pub(super) waiting: Vec<Job<'a>>,
    pub(super) alone: Vec<Job<'a>>,
}

impl<'a> Plan<'a> {
    /// Of all that cargo built for the tests.
    pub(super) fn new(env: &'a BuildEnv, built: Vec<Executable>, skips: &'a Skips) -> Result<Self> {
        let mut plan = Self { busy: vec![doc_tests(env, skips)], waiting: Vec::new(), alone: Vec::new() };
        let mut tests: Vec<Executable> = built.into_iter().filter(|it| it.is_test).collect();
        anyhow::ensure!(!tests.is_empty(), "cargo did not say where the tests are");
        tests.sort_by_key(rank);
        for test in tests {
            let apart = alone(&test);
            if let Some(names) = apart {
                plan.alone.push(job(env, &test, &Part::Only(names), skips));
                if names.is_empty() {
                    continue;
                }
            }
            let part = apart.map_or(Part::All, Part::Without);
            let waits = test.kind == "test" && WAITING.contains(&test.name.as_str());
            let list = if waits { &mut plan.waiting } else { &mut plan.busy };
            list.push(job(env, &test, &part, skips));
        }
        Ok(plan)
    }
}

/// Which tests of a binary, by parts of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// None is all.
    Only(&'static [&'static str]),
    Without(&'static [&'static str]),
}

/// The tests of a binary that run alone, if it has any.
fn alone(test: &Executable) -> Option<&'static [&'static str]> {
    let found = ALONE.iter().find(|(name, _)| test.kind == "test" && test.name == *name);
    found.map(|(_, names)| *names)
}

/// Earlier is longer.
fn rank(test: &Executable) -> usize {
    let place = |list: &[&str]| list.iter().position(|name| test.name == *name);
    place(&WAITING).or_else(|| place(&BUSY)).unwrap_or(usize::MAX)
}

fn job<'a>(env: &'a BuildEnv, test: &Executable, part: &Part, skips: &'a Skips) -> Job<'a> {
    let (args, suffix) = match part {
        Part::All | Part::Only([]) => (Vec::new(), ""),
        Part::Only(names) => (names.to_vec(), ", what needs the machine alone"),
        Part::Without(names) => (names.iter().flat_map(|&name| ["--skip", name]).collect(), ""),
    };
    let Executable { package, path, .. } = test.clone();
    let command = move || {
        let mut command = env.as_root(&path)?;
        // As cargo does it.
        command.args(args).current_dir(&package).env("CARGO_MANIFEST_DIR", &package).env(SKIPS, &skips.0);
        Ok(command)
    };
    Job {
        name: title(test) + suffix,
        counts: Counts::Binary { named: matches!(part, Part::Only([_, ..])) },
        command: Box::new(command),
    }
}

/// `tcptrace live`, `tcptrace-core unit tests`.
fn title(test: &Executable) -> String {
    let package = test.package.file_name().unwrap_or_default().to_string_lossy();
    match test.kind.as_str() {
        "test" => format!("{package} {}", test.name),
        "lib" => format!("{package} unit tests"),
        kind => format!("{package} unit tests of {kind} {}", test.name),
    }
}

/// Examples in the documentation, which only cargo knows how to build.
fn doc_tests<'a>(env: &'a BuildEnv, skips: &'a Skips) -> Job<'a> {
    let command = move || {
        let mut command =
            env.cargo_as_root("test --workspace --exclude tcptrace-ebpf --no-fail-fast --doc".split(' '))?;
        command.env(SKIPS, &skips.0);
        Ok(command)
    };
    Job {
        name: "examples in the documentation".to_owned(),
        counts: Counts::Binaries,
        command: Box::new(command),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALONE, BUSY, Plan, WAITING};
    use crate::{
        cargo::{BuildEnv, Executable},
        shell::root,
        test::{Skips, work::Job},
        toolchain::{Compiler, Origin},
    };
    use std::path::Path;

    fn test(package: &str, name: &str, kind: &str) -> Executable {
        let path = Path::new("/t").join(format!("{name}-1"));
        Executable {
            name: name.to_owned(),
            kind: kind.to_owned(),
            is_test: true,
            package: Path::new("/w").join(package),
            path,
        }
    }

    fn names(jobs: &[Job<'_>]) -> Vec<String> {
        jobs.iter().map(|job| job.name.clone()).collect()
    }

    #[test]
    fn every_binary_runs_once_and_what_disturbs_others_runs_alone() {
        let compiler = Compiler { origin: Origin::Debian, llvm: 22 };
        let env = BuildEnv::new(compiler, Path::new("/usr/bin/bpf-linker"));
        let skips = Skips::new().expect("it can be written");
        let mut program = test("tcptrace", "tcptrace", "bin");
        program.is_test = false;
        let built = vec![
            program,
            test("tcptrace-core", "tcptrace_core", "lib"),
            test("tcptrace-core", "live", "lib"),
            test("tcptrace", "live_attach", "test"),
            test("tcptrace", "live", "test"),
            test("tcptrace", "endure", "test"),
            test("tcptrace", "man", "example"),
            test("tcptrace", "test_run", "test"),
        ];
        let plan = Plan::new(&env, built, &skips).expect("there are tests");
        assert_eq!(names(&plan.waiting), ["tcptrace live", "tcptrace live_attach"]);
        assert_eq!(
            names(&plan.busy),
            [
                "examples in the documentation",
                "tcptrace-core unit tests",
                "tcptrace test_run",
                "tcptrace-core unit tests",
                "tcptrace unit tests of example man"
            ]
        );
        assert_eq!(names(&plan.alone), ["tcptrace live, what needs the machine alone", "tcptrace endure"]);
        assert!(Plan::new(&env, Vec::new(), &skips).is_err(), "nothing was built");
    }

    #[test]
    fn a_part_and_the_rest_are_the_whole() {
        let compiler = Compiler { origin: Origin::Debian, llvm: 22 };
        let env = BuildEnv::new(compiler, Path::new("/usr/bin/bpf-linker"));
        let skips = Skips::new().expect("it can be written");
        let plan = Plan::new(&env, vec![test("tcptrace", "live", "test")], &skips).expect("there are tests");
        let args = |jobs: Vec<Job<'_>>| -> Vec<String> {
            let job = jobs.into_iter().next().expect("one");
            let command = (job.command)().expect("root rights, or sudo");
            command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
        };
        let (alone, rest) = (args(plan.alone), args(plan.waiting));
        assert!(!alone.is_empty());
        assert_eq!(
            rest,
            alone.iter().flat_map(|name| ["--skip".to_owned(), name.clone()]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn binaries_and_modules_that_are_named_exist() {
        let tests = root().join("tcptrace/tests");
        let exists = |folder: &Path, name: &str| {
            folder.join(name).join("mod.rs").exists()
                || folder.join(name).join("main.rs").exists()
                || folder.join(format!("{name}.rs")).exists()
        };
        let binaries = WAITING.iter().chain(&BUSY).chain(ALONE.iter().map(|(name, _)| name));
        for name in binaries {
            let is_crate = root().join(name.replace('_', "-")).join("src/lib.rs").exists();
            assert!(is_crate || exists(&tests, name), "{name}");
        }
        for (binary, names) in ALONE {
            for name in names {
                let module =
                    name.strip_suffix("::").expect("a whole module, so that no other name has it in it");
                assert!(exists(&tests.join(binary), &module.replace("::", "/")), "{binary} {name}");
            }
        }
    }
}

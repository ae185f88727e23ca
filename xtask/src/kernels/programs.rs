//! The programs of a guest: the tests as cargo builds them, commands of Debian's, and the libraries of both.

use super::{
    arch::Arch,
    cross::Tools,
    plan::{LIB, Suite},
};
use crate::{
    cargo::BuildEnv,
    shell::{capture, typed, which},
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What cargo calls the program that the tests start.
pub(super) const PROGRAM: &str = "tcptrace";

/// Where they come from.
pub(super) enum Programs {
    /// They are this machine's.
    Own,
    /// They are for another processor.
    Foreign(Tools),
}

impl Programs {
    /// For a kind of processor; if it is another, with the commands of these packages.
    pub(super) fn get(arch: &Arch, packages: &BTreeSet<&str>, home: &Path) -> Result<Self> {
        arch.cross.map_or(Ok(Self::Own), |cross| Tools::get(arch, cross, packages, home).map(Self::Foreign))
    }

    /// Builds the tests. The binaries by their names: the tests, and the program that they start.
    pub(super) fn build(&self, env: &BuildEnv, suites: &[&Suite]) -> Result<BTreeMap<String, PathBuf>> {
        let mut command = env.cargo(["test", "--no-run", "--message-format=json-render-diagnostics"]);
        match self {
            // All that `cargo test` builds, so that neither makes the other build again.
            Self::Own => _ = command.args(["--workspace", "--exclude", "tcptrace-ebpf"]),
            Self::Foreign(tools) => {
                command.args(["--package", PROGRAM]);
                // With the tests comes the program.
                for suite in suites {
                    match suite.binary {
                        LIB => command.arg("--lib"),
                        name => command.args(["--test", name]),
                    };
                }
                tools.prepare(&mut command);
            }
        }
        let output =
            command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("`{}` failed", typed(&command));
        }
        Ok(executables(&String::from_utf8_lossy(&output.stdout)))
    }

    /// A binary without what only a debugger reads, which is most of it.
    pub(super) fn stripped(&self, path: &Path) -> Result<Vec<u8>> {
        let strip = match self {
            Self::Own => "strip".to_owned(),
            Self::Foreign(tools) => tools.tool("strip"),
        };
        let short = std::env::temp_dir().join(format!("tcptrace-stripped-{}", std::process::id()));
        let done = capture(Command::new(strip).args(["--strip-debug", "-o"]).arg(&short).arg(path));
        let content = done.and_then(|_| read(&short));
        _ = fs::remove_file(short);
        content
    }

    /// What stands for `/` where they come from.
    pub(super) fn root(&self) -> &Path {
        match self {
            Self::Own => Path::new("/"),
            Self::Foreign(tools) => tools.root(),
        }
    }

    /// Where a command is.
    pub(super) fn command(&self, name: &str) -> Result<PathBuf> {
        match self {
            Self::Own => which(name),
            Self::Foreign(tools) => tools.command(name),
        }
        .with_context(|| format!("no command {name}"))
    }

    /// Adds the shared libraries of a program, and what loads them, by their paths in the guest.
    pub(super) fn add_libraries(&self, program: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        for (inside, here) in self.libraries(program)? {
            if let Entry::Vacant(place) = files.entry(inside) {
                place.insert(read(&here)?);
            }
        }
        Ok(())
    }

    /// By their paths in the guest, where they are here.
    fn libraries(&self, program: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
        Ok(match self {
            Self::Own => {
                let paths = libraries(&capture(Command::new("ldd").arg(program))?);
                paths.into_iter().map(|path| (path.clone(), path)).collect()
            }
            // One directory serves for all: they are looked for there too, and the one that loads them is there.
            Self::Foreign(tools) => {
                let found = tools.libraries(program)?;
                found.into_iter().map(|(name, path)| (Path::new("/lib").join(name), path)).collect()
            }
        })
    }
}

/// Of cargo's messages the binaries that are tests of ours or the program.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let of_line = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        let target = message.get("target")?;
        let kind = target.get("kind")?.get(0)?.as_str()?;
        let is_test = message.get("profile")?.get("test")?.as_bool()?;
        let name = target.get("name")?.as_str()?;
        // The unit tests of the program have its name too.
        let name = match (kind, is_test, name) {
            ("test", ..) | ("bin", false, PROGRAM) => name,
            ("lib", true, PROGRAM) => LIB,
            _ => return None,
        };
        Some((name.to_owned(), path))
    };
    messages.lines().filter_map(of_line).collect()
}

/// `libc.so.6 => /lib/libc.so.6 (0x1)`, and `/lib64/ld.so (0x2)` without an arrow.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            let path = line.rsplit("=> ").next()?.split_whitespace().next()?;
            path.starts_with('/').then(|| path.into())
        })
        .collect()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{executables, libraries};
    use std::path::PathBuf;

    #[test]
    fn libraries_are_paths() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f1)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let expected = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(ldd), expected);
        assert!(libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn tests_and_the_program_are_found_in_the_messages_of_cargo() {
        let line = |name: &str, kind: &str, test: bool, path: &str| {
            format!(
                "{{\"target\":{{\"name\":\"{name}\",\"kind\":[\"{kind}\"]}},\"profile\":{{\"test\":{test}}},\
                 \"executable\":{path}}}\n"
            )
        };
        let messages = line("live", "test", true, "\"/t/live-1\"")
            + &line("tcptrace", "bin", true, "\"/t/unit-2\"")
            + &line("tcptrace", "bin", false, "\"/t/tcptrace\"")
            + &line("tcptrace", "lib", true, "\"/t/lib-3\"")
            + &line("tcptrace_common", "lib", true, "\"/t/lib-4\"")
            + &line("aya", "lib", false, "null");
        let found: Vec<_> = executables(&messages).into_iter().collect();
        let expected = [("lib", "/t/lib-3"), ("live", "/t/live-1"), ("tcptrace", "/t/tcptrace")];
        assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.into())));
    }
}

//! The programs of a guest: the tests as cargo builds them, commands of Debian's, and the libraries of both.

use super::{
    arch::Arch,
    cross::Tools,
    plan::{LIB, Suite},
};
use crate::{
    cargo::{self, BuildEnv, Executable},
    shell::{capture, which},
};
use anyhow::{Context as _, Result};
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
        let built = match self {
            // All that `cargo test` builds, so that neither makes the other build again.
            Self::Own => env.tests(Stdio::inherit())?,
            Self::Foreign(tools) => {
                let mut command = env.cargo(["test", "--no-run", "--package", PROGRAM]);
                // With the tests comes the program.
                for suite in suites {
                    match suite.binary {
                        LIB => command.arg("--lib"),
                        name => command.args(["--test", name]),
                    };
                }
                tools.prepare(&mut command);
                cargo::built(&mut command, Stdio::inherit())?
            }
        };
        Ok(by_name(built))
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

/// Of what cargo built, the tests of the program's package and the program.
fn by_name(built: Vec<Executable>) -> BTreeMap<String, PathBuf> {
    let name = |it: &Executable| {
        // Of another package there may be tests of the same name.
        if !it.package.ends_with(PROGRAM) {
            return None;
        }
        // The unit tests of the program have its name too.
        match (it.kind.as_str(), it.is_test, it.name.as_str()) {
            ("test", ..) | ("bin", false, PROGRAM) => Some(it.name.clone()),
            ("lib", true, PROGRAM) => Some(LIB.to_owned()),
            _ => None,
        }
    };
    built.into_iter().filter_map(|it| Some((name(&it)?, it.path))).collect()
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
    use super::{by_name, libraries};
    use crate::cargo::Executable;
    use std::path::{Path, PathBuf};

    #[test]
    fn libraries_are_paths() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f1)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let expected = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(ldd), expected);
        assert!(libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn of_what_was_built_the_programs_tests_and_itself_are_taken() {
        let built = |package: &str, name: &str, kind: &str, is_test: bool, path: &str| Executable {
            name: name.to_owned(),
            kind: kind.to_owned(),
            is_test,
            package: Path::new("/w").join(package),
            path: path.into(),
        };
        let all = vec![
            built("tcptrace", "live", "test", true, "/t/live-1"),
            built("tcptrace", "tcptrace", "bin", true, "/t/unit-2"),
            built("tcptrace", "tcptrace", "bin", false, "/t/tcptrace"),
            built("tcptrace", "tcptrace", "lib", true, "/t/lib-3"),
            built("tcptrace-common", "tcptrace_common", "lib", true, "/t/lib-4"),
            built("tcptrace-core", "live", "test", true, "/t/live-5"),
        ];
        let found: Vec<_> = by_name(all).into_iter().collect();
        let expected = [("lib", "/t/lib-3"), ("live", "/t/live-1"), ("tcptrace", "/t/tcptrace")];
        assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.into())));
    }
}

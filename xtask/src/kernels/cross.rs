//! What programs for another processor than this machine's are made with and run with: Debian's compiler, with `std` for that
//! processor and a linker, and Debian's commands and libraries for it.
//!
//! Packages of the other processor are not installed, so the system need not know of it: they are extracted.

use super::{
    apt::{Apt, Release},
    arch::{Arch, Cross},
};
use crate::{
    cargo::target_variable,
    setup,
    shell::{capture, say},
    toolchain::DEBIAN_RUSTC,
};
use anyhow::{Context as _, Result};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The package of Debian's compiler, and that of the libraries it compiles with.
const COMPILER: &str = "rustc-web";
const STD: &str = "libstd-rust-web-dev";

/// All of it, on disk.
pub(super) struct Tools {
    cross: Cross,
    /// Where rustc finds `std`.
    sysroot: PathBuf,
    /// Debian's packages for the other processor, extracted.
    root: PathBuf,
}

impl Tools {
    /// From earlier, or downloaded now; `guest` are the packages whose commands are wanted there.
    pub(super) fn get(arch: &Arch, cross: Cross, guest: &BTreeSet<&str>, home: &Path) -> Result<Self> {
        let (gcc, libc) = (format!("gcc-{}", cross.tuple), format!("libc6-dev-{}-cross", arch.debian));
        let purpose = format!("tests for {} are built with them", arch.debian);
        setup::debian_rustc(&[COMPILER, &gcc, &libc], &purpose)?;
        let show = ["--show", "--showformat=${Version}", COMPILER];
        let version = capture(Command::new("dpkg-query").args(show))?;
        let place = home.join(arch.debian);
        let sysroot = extracted(arch, &place.join("std"), &[format!("{STD}={version}")], Apt::extract)
            .with_context(|| {
                format!(
                    "no std for {} of {COMPILER} {version}; if apt finds no such version, upgrade {COMPILER}",
                    arch.debian
                )
            })?;
        let guest: Vec<String> = guest.iter().map(|&it| it.to_owned()).collect();
        let root = extracted(arch, &place.join("guest"), &guest, Apt::extract_all)
            .with_context(|| format!("no commands of Debian's for {}", arch.debian))?;
        Ok(Self { cross, sysroot: sysroot.join("usr"), root })
    }

    /// Has cargo build for the other processor.
    pub(super) fn prepare(&self, cargo: &mut Command) {
        cargo
            .args(["--target", self.cross.target])
            .env("RUSTC", DEBIAN_RUSTC)
            .env(target_variable(self.cross.target, "LINKER"), self.tool("gcc"))
            // In this form a path may have spaces, and nothing that is set for other builds comes along. Programs that run
            // here, such as build scripts, are built without it.
            .env("CARGO_ENCODED_RUSTFLAGS", format!("--sysroot\u{1f}{}", self.sysroot.display()));
    }

    /// One of the GNU tools.
    pub(super) fn tool(&self, name: &str) -> String {
        format!("{}-{name}", self.cross.tuple)
    }

    /// What the packages were extracted to.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A command of the packages.
    pub(super) fn command(&self, name: &str) -> Option<PathBuf> {
        let directories = ["bin", "sbin", "usr/bin", "usr/sbin"];
        directories.iter().map(|it| self.root.join(it).join(name)).find(|path| path.is_file())
    }

    /// The libraries that a program is linked with and those that these are, by their names, and what loads them.
    pub(super) fn libraries(&self, program: &Path) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        let mut unread = vec![program.to_owned()];
        while let Some(file) = unread.pop() {
            for name in needed(&capture(Command::new(self.tool("readelf")).arg("--dynamic").arg(&file))?) {
                if let Entry::Vacant(place) = found.entry(name.to_owned()) {
                    let path = self.library(name).with_context(|| {
                        format!("{} needs {name}, which no package brought", file.display())
                    })?;
                    unread.push(place.insert(path).clone());
                }
            }
        }
        Ok(found)
    }

    fn library(&self, name: &str) -> Option<PathBuf> {
        let directories = ["lib", "usr/lib"].map(|it| self.root.join(it));
        let own = directories.iter().map(|it| it.join(self.cross.tuple));
        own.chain(directories.clone()).map(|it| it.join(name)).find(|path| path.is_file())
    }
}

/// Packages of a processor, under a directory that is theirs until others are wanted. Returns what stands for `/`.
fn extracted(
    arch: &Arch,
    place: &Path,
    wanted: &[String],
    extract: fn(&Apt, &[String], &Path) -> Result<()>,
) -> Result<PathBuf> {
    let root = place.join("root");
    // Written last: with it everything is there.
    let marker = place.join("packages");
    let list = wanted.join(" ");
    if fs::read_to_string(&marker).is_ok_and(|there| there == list) {
        return Ok(root);
    }
    _ = fs::remove_dir_all(place);
    let apt = Apt::new(Release::Own, arch, place)?;
    say(format_args!("downloading {list} for {} from {}", arch.debian, apt.mirrors));
    extract(&apt, wanted, &root)?;
    apt.finish()?;
    fs::write(&marker, list).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(root)
}

/// `0x1 (NEEDED)  Shared library: [libc.so.6]` is `libc.so.6`.
fn needed(dynamic: &str) -> impl Iterator<Item = &str> {
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    needed.filter_map(|line| line.split_once('[')?.1.split_once(']').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::{Tools, needed};
    use crate::kernels::arch::ARM64;
    use std::{ffi::OsStr, process::Command};

    #[test]
    fn needed_libraries_are_names() {
        let dynamic = "Dynamic section at offset 0x1 contains 3 entries:\n\
                       \x20 Tag        Type           Name/Value\n\
                       \x200x0000000000000001 (NEEDED)  Shared library: [libmnl.so.0]\n\
                       \x200x0000000000000001 (NEEDED)  Shared library: [ld-linux-aarch64.so.1]\n\
                       \x200x000000000000000e (SONAME)  Library soname: [libx.so.1]\n";
        assert_eq!(needed(dynamic).collect::<Vec<_>>(), ["libmnl.so.0", "ld-linux-aarch64.so.1"]);
        assert_eq!(needed("There is no dynamic section in this file.\n").next(), None);
    }

    #[test]
    fn cargo_is_told_the_target_its_std_and_its_linker() {
        let cross = ARM64.cross.expect("it is not this machine's");
        let tools = Tools { cross, sysroot: "/a b/usr".into(), root: "/g".into() };
        let mut cargo = Command::new("cargo");
        tools.prepare(&mut cargo);
        assert!(cargo.get_args().eq(["--target", "aarch64-unknown-linux-gnu"]));
        let value = |name: &str| {
            cargo
                .get_envs()
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value)
                .and_then(OsStr::to_str)
        };
        assert_eq!(value("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"), Some("aarch64-linux-gnu-gcc"));
        assert_eq!(value("CARGO_ENCODED_RUSTFLAGS"), Some("--sysroot\u{1f}/a b/usr"));
    }
}

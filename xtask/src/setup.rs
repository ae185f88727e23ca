//! Makes a machine able to build the kernel programs: finds what is there, and installs what is missing.

use crate::{
    cargo::BuildEnv,
    packages,
    shell::{network_hint, say, typed, which},
    toolchain::{self as tools, Compiler, LINKED, LINKER_LLVMS, LINKER_VERSION, Origin, RustcVersion},
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The oldest minor version of Rust 1 that the workspace can be built with (`rust-version` in Cargo.toml).
const OLDEST_MINOR: u32 = 95;

/// Finds or installs everything that the kernel programs are built with.
pub(crate) fn ensure() -> Result<BuildEnv> {
    if let Some(found) = present() {
        return Ok(found);
    }
    // A nightly that could build is somebody's choice: only its linker is missing then.
    let compiler = match tools::nightly() {
        Some(nightly) => nightly,
        None => ensure_debian_compiler()?,
    };
    let linker = match tools::linker_for(compiler.llvm) {
        Some(linker) => linker,
        None => install_linker(compiler.llvm)?,
    };
    Ok(BuildEnv::new(compiler, &linker))
}

/// What the kernel programs can be built with, if it is all there already. The nightly comes before Debian's packages.
fn present() -> Option<BuildEnv> {
    let debian = || {
        let version = tools::debian_rustc().filter(|version| version.minor >= OLDEST_MINOR)?;
        (tools::debian_has_core() && tools::is_linked())
            .then_some(Compiler { origin: Origin::Debian, llvm: version.llvm })
    };
    let with_linker =
        |compiler: Compiler| tools::linker_for(compiler.llvm).map(|linker| BuildEnv::new(compiler, &linker));
    tools::nightly().and_then(with_linker).or_else(|| debian().and_then(with_linker))
}

fn ensure_debian_compiler() -> Result<Compiler> {
    let wanted = ["rustc-web", "libstd-rust-web-dev-bpf"];
    let version = debian_rustc(&wanted, "the compiler of the kernel programs")?;
    if !tools::is_linked() {
        say(format_args!("linking Debian's compiler into rustup as '{LINKED}'"));
        run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
    }
    Ok(Compiler { origin: Origin::Debian, llvm: version.llvm })
}

/// Debian's compiler, new enough, with these packages; it is one of them.
pub(crate) fn debian_rustc(packages: &[&str], purpose: &str) -> Result<RustcVersion> {
    packages::ensure(packages, purpose)?;
    let version = tools::debian_rustc()
        .with_context(|| format!("{} does not tell its version and LLVM", tools::DEBIAN_RUSTC))?;
    if version.minor < OLDEST_MINOR {
        bail!(
            "Debian's rustc-web here is 1.{}, older than 1.{OLDEST_MINOR}: switch the release's security updates on \
             in apt's sources, or use a rustup nightly with rust-src",
            version.minor
        );
    }
    Ok(version)
}

fn install_linker(llvm: u32) -> Result<PathBuf> {
    if !LINKER_LLVMS.contains(&llvm) {
        bail!(
            "the compiler writes bitcode of LLVM {llvm}, bpf-linker {LINKER_VERSION} reads LLVM {} to {}",
            LINKER_LLVMS.start(),
            LINKER_LLVMS.end()
        );
    }
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let mut wanted = vec![format!("llvm-{llvm}-dev")];
    // The linker is linked with libstdc++, which comes with the C++ compiler; another compiler may bring its own.
    if which("c++").is_none() {
        wanted.push("g++".to_owned());
    }
    let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>();
    packages::ensure(&wanted, "bpf-linker is built with them")?;

    let root = install_root();
    say(format_args!(
        "building bpf-linker {LINKER_VERSION} with LLVM {llvm} into {} (a minute or two)",
        root.join("bin").display()
    ));
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let mut command = crate::cargo::install("bpf-linker", LINKER_VERSION, &root);
    command
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
        .env("PATH", tools::path_with(&prefix.join("bin")));
    run(&mut command)?;
    tools::linker_for(llvm).context("bpf-linker was built, and still none is found that reads this bitcode")
}

/// The directory that the linker is installed into: cargo's own, or ours if cargo's has a linker that was built for
/// another LLVM, which is not ours to replace.
fn install_root() -> PathBuf {
    let theirs = tools::cargo_home();
    let taken = |root: &Path| tools::linker_llvm(&root.join("bin/bpf-linker")).is_some();
    if taken(&theirs) { tools::own_tools() } else { theirs }
}

/// Runs a command that must succeed, and shows what it said only if it did not.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", typed(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        say(&said);
        bail!("`{}` failed{}", typed(command), network_hint(&said));
    }
    Ok(())
}

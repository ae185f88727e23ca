//! Builds the program that is packed: static, stripped, and the same wherever it is built.

use super::place::Place;
use crate::{
    cargo::{self, BuildEnv},
    setup,
    shell::{capture, say},
    toolchain::{cargo_home, rustup_home},
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds it from the sources of that place.
pub(super) fn binary(env: &BuildEnv, place: &Place) -> Result<PathBuf> {
    let host = cargo::host()?;
    say(format_args!("building the program in {} (some minutes)", place.root.display()));
    let mut command =
        env.cargo(["build", "--locked", "--profile", "dist", "--package", "tcptrace", "--bin", "tcptrace"]);
    command
        // With a target, flags are for the program alone: macros and build scripts cannot be static.
        .args(["--target", &host, "--target-dir"])
        .arg(place.build())
        .current_dir(&place.root)
        .env(cargo::target_variable(&host, "RUSTFLAGS"), "-C target-feature=+crt-static")
        .env("RUSTC_WRAPPER", wrapper(place)?)
        .env("SOURCE_DATE_EPOCH", &place.epoch);
    setup::run(command.arg("--quiet"))?;
    let binary = place.build().join(host).join("dist/tcptrace");
    check(&binary, place)?;
    Ok(binary)
}

/// Paths of this machine, and what stands for them in the program.
fn paths(place: &Place) -> [(PathBuf, &'static str); 3] {
    [(cargo_home(), "/cargo"), (rustup_home(), "/rustup"), (place.root.clone(), "/tcptrace")]
}

/// A compiler that puts other paths in the place of this machine's. It is a wrapper and not a flag, as aya-build has the
/// kernel programs built without the flags of the outer build.
fn wrapper(place: &Place) -> Result<PathBuf> {
    let path = place.build().join("rustc");
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"));
    let flags =
        paths(place).map(|(from, to)| format!("--remap-path-prefix={}={to}", quoted(&from))).join(" ");
    fs::create_dir_all(place.build()).with_context(|| format!("cannot make {}", place.build().display()))?;
    let failed = || format!("cannot write {}", path.display());
    fs::write(&path, format!("#!/bin/sh\nexec \"$@\" {flags}\n")).with_context(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_context(failed)?;
    Ok(path)
}

/// It asks for no library, and names no path of this machine.
fn check(binary: &Path, place: &Place) -> Result<()> {
    let headers = capture(Command::new("readelf").args(["--program-headers", "--wide"]).arg(binary))?;
    if headers.contains("INTERP") {
        bail!("{} is not static: it asks for a loader", binary.display());
    }
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    for (path, _) in paths(place) {
        if contains(&bytes, path.to_string_lossy().as_bytes()) {
            bail!("{} has {} in it, a path of this machine", binary.display(), path.display());
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::contains;
    use crate::cargo::target_variable;

    #[test]
    fn flags_are_for_the_target_alone() {
        assert_eq!(
            target_variable("x86_64-unknown-linux-gnu", "RUSTFLAGS"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS"
        );
    }

    #[test]
    fn a_path_is_found_in_the_middle_of_bytes() {
        assert!(contains(b"\0\xff/home/u/.cargo/registry\0", b"/home/u/.cargo"));
        assert!(!contains(b"/home/u", b"/home/u/.cargo"));
    }
}

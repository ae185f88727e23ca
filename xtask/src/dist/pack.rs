//! Makes packages, the archive and the checksums of what is staged.

use super::{image, place::Place, stage};
use crate::{cargo, setup, shell::capture, subcommands::Subcommands};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file with the checksums of all others, as `sha256sum --check` reads it.
pub(super) const SUMS: &str = "SHA256SUMS";

/// Documents at the top of the repository that go into the archive.
const TOP: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Makes all of them.
pub(super) fn all(place: &Place, tools: &Subcommands) -> Result<()> {
    fs::create_dir_all(place.out())?;
    deb(place, tools, &format!("{}-1", place.version), &deb_path(place))?;
    setup::run(
        place
            .command(tools.path("cargo-generate-rpm"))
            .args(["generate-rpm", "--package", "tcptrace", "--target", &cargo::host()?, "--output"])
            .args([&rpm_path(place)])
            .args(["--source-date", &place.epoch]),
    )?;
    for name in stage::BILLS {
        let name = format!("{name}.cdx.json");
        fs::copy(place.stage().join(&name), place.result(&name))?;
    }
    archive(place)?;
    image::make(place)?;
    sums(place)
}

/// Debian's package, of that version.
pub(super) fn deb(place: &Place, tools: &Subcommands, version: &str, to: &Path) -> Result<()> {
    setup::run(
        place
            .command(tools.path("cargo-deb"))
            .args(["--package", "tcptrace", "--no-build", "--no-strip", "--quiet"])
            .args(["--target", &cargo::host()?, "--deb-version", version, "--output"])
            .arg(to),
    )
}

/// Where Debian's package is.
pub(super) fn deb_path(place: &Place) -> PathBuf {
    place.result(&format!("tcptrace-ebpf_{}-1_amd64.deb", place.version))
}

/// Where the package for RPM's systems is.
pub(super) fn rpm_path(place: &Place) -> PathBuf {
    place.result(&format!("tcptrace-ebpf-{}-1.x86_64.rpm", place.version))
}

/// The archive for all other systems: program, pages, completions, documents, units.
fn archive(place: &Place) -> Result<()> {
    let name = format!("tcptrace-{}-{}", place.version, cargo::host()?);
    let folder = place.stage().join(&name);
    super::place::empty(&folder)?;
    let copy = |from: &[PathBuf]| {
        setup::run(place.command("cp").args(["--recursive", "--target-directory"]).arg(&folder).args(from))
    };
    let staged = ["tcptrace", "man", "completions"].map(|it| place.stage().join(it));
    copy(&staged)?;
    copy(&stage::BILLS.map(|it| place.stage().join(format!("{it}.cdx.json"))))?;
    copy(&TOP.map(|it| place.root.join(it)))?;
    let schemas = ["events", "merge"].map(|name| format!("tcptrace/schema/{name}.schema.json"));
    copy(&["docs", "packaging"].map(|it| place.root.join(it)))?;
    copy(&schemas.map(|it| place.root.join(it)))?;
    place.tar(&["--gzip"], &place.stage(), &name, &place.result(&format!("{name}.tar.gz")))
}

fn sums(place: &Place) -> Result<()> {
    let out = place.out();
    let mut names = fs::read_dir(&out)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.retain(|name| name != SUMS);
    names.sort();
    let sums = capture(place.command("sha256sum").args(names).current_dir(&out))?;
    fs::write(out.join(SUMS), sums).with_context(|| format!("cannot write {SUMS}"))
}

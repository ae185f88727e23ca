//! Puts the files that are packed into one folder, from which the tables in tcptrace/Cargo.toml take them.

use super::place::Place;
use crate::{cargo, man, setup, subcommands::Subcommands};
use anyhow::{Context as _, Result, bail};
use std::{fs, path::Path};

/// What the list of what is linked in is called, for the program and for the kernel programs that are embedded in it.
pub(super) const BILLS: [&str; 2] = ["tcptrace", "tcptrace-ebpf"];

/// Makes them all.
pub(super) fn all(place: &Place, binary: &Path, tools: &Subcommands) -> Result<()> {
    let stage = place.stage();
    fs::create_dir_all(&stage).with_context(|| format!("cannot make {}", stage.display()))?;
    fs::copy(binary, stage.join("tcptrace")).with_context(|| format!("cannot copy {}", binary.display()))?;
    pages(place)?;
    fs::write(stage.join("changelog"), changelog(place)?)?;
    bills(place, tools)
}

/// Man pages, compressed as Debian and Fedora want them, and completions.
fn pages(place: &Place) -> Result<()> {
    // They come from the same sources, and depend on nothing of the place.
    man::write(&place.stage(), &place.epoch)?;
    let pages =
        fs::read_dir(place.stage().join("man"))?.map(|page| Ok(page?.path())).collect::<Result<Vec<_>>>()?;
    setup::run(place.command("gzip").args(["--best", "--no-name", "--force"]).args(pages))
}

/// Debian's form of a change log; what changed is in ours.
fn changelog(place: &Place) -> Result<String> {
    let date = crate::shell::capture(place.command("date").args([
        "--rfc-email",
        "--date",
        &format!("@{}", place.epoch),
    ]))?;
    let Place { version, .. } = place;
    Ok(format!(
        "tcptrace-ebpf ({version}-1) unstable; urgency=medium\n\n  * Version {version}. What changed is in CHANGELOG.md, in \
         the sources.\n\n -- tcptrace developers <maintainers@tcptrace.invalid>  {}\n",
        date.trim()
    ))
}

/// The lists of what is linked in (`CycloneDX`). The tool writes one beside the manifest of each crate.
fn bills(place: &Place, tools: &Subcommands) -> Result<()> {
    const NAME: &str = "bill-of-materials";
    let mut command = place.command(tools.path("cargo-cyclonedx"));
    command.args(["cyclonedx", "--format", "json", "--no-build-deps", "--override-filename", NAME]);
    command.args(["--target", &cargo::host()?]);
    let made = setup::run(&mut command);
    let here = place.root.to_string_lossy().into_owned();
    for member in fs::read_dir(&place.root)? {
        let member = member?;
        let (path, name) = (member.path().join(NAME).with_extension("json"), member.file_name());
        let Ok(bill) = fs::read_to_string(&path) else { continue };
        fs::remove_file(&path)?;
        if let Some(name) = BILLS.iter().find(|it| name == **it) {
            // It names crates of the workspace by their paths.
            fs::write(place.stage().join(format!("{name}.cdx.json")), bill.replace(&here, "/tcptrace"))?;
        }
    }
    made?;
    for name in BILLS {
        if !place.stage().join(format!("{name}.cdx.json")).exists() {
            bail!("cargo-cyclonedx wrote no list for {name}");
        }
    }
    Ok(())
}

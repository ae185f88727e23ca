//! `cargo xtask dist`: everything that a release has, into `target/dist`: a static program, packages for Debian's and for
//! RPM's systems, an archive of the same files, an image for containers, the list of what is linked in, and checksums.

mod build;
mod image;
mod lint;
mod pack;
mod place;
mod stage;
mod trial;

use crate::{packages, setup, shell::say, subcommands};
use anyhow::{Result, bail};
use place::Place;
use std::fs;

/// What makes the packages and looks at them.
const PACKAGES: [&str; 5] = ["umoci", "binutils", "lintian", "rpmlint", "rpm"];

/// cargo-deb makes Debian's packages, with the scripts by which debhelper would handle a service.
const SUBCOMMANDS: [(&str, &str); 3] =
    [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1"), ("cargo-cyclonedx", "0.5.9")];

/// Makes all of it. With `twice` it does so again from a copy of the sources at another place, and compares every file.
/// With `trial` it installs, runs and removes what was made.
pub(crate) fn run(twice: bool, trial: bool) -> Result<()> {
    let env = setup::ensure()?;
    packages::ensure(&PACKAGES, "packages and the image are made and looked at with them")?;
    let tools = subcommands::ensure(&SUBCOMMANDS)?;
    let first = Place::here()?;
    let binary = build::binary(&env, &first)?;
    stage::all(&first, &binary, &tools)?;
    pack::all(&first, &tools)?;
    if twice {
        let second = Place::copy_of(&first)?;
        let binary = build::binary(&env, &second)?;
        stage::all(&second, &binary, &tools)?;
        pack::all(&second, &tools)?;
        compare(&first, &second)?;
    }
    lint::all(&first)?;
    if trial {
        trial::run(&first, &tools)?;
    }
    for line in fs::read_to_string(first.out().join(pack::SUMS))?.lines() {
        let name = line.split_whitespace().next_back().unwrap_or_default();
        let kib = fs::metadata(first.out().join(name)).map_or(0, |it| it.len().div_ceil(1024));
        say(format_args!("{kib:>8} KiB  {name}"));
    }
    say(format_args!("all of it is in {}", first.out().display()));
    Ok(())
}

/// The checksums of both places are equal, line by line.
fn compare(first: &Place, second: &Place) -> Result<()> {
    let sums = |place: &Place| fs::read_to_string(place.out().join(pack::SUMS));
    let (one, two) = (sums(first)?, sums(second)?);
    let differ: Vec<_> = one.lines().filter(|line| !two.lines().any(|other| other == *line)).collect();
    if !differ.is_empty() || one.lines().count() != two.lines().count() {
        bail!(
            "two builds of the same sources differ: {}; compare {} with {}",
            differ
                .iter()
                .filter_map(|line| line.split_whitespace().next_back())
                .collect::<Vec<_>>()
                .join(", "),
            first.out().display(),
            second.out().display()
        );
    }
    say(format_args!(
        "{} files are the same, bit by bit, built in {} and in {}",
        one.lines().count(),
        first.root.display(),
        second.root.display()
    ));
    Ok(())
}

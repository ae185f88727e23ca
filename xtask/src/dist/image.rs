//! Makes the image for containers: the program, its settings and the licences, and nothing else. No daemon is needed.

use super::{place::Place, stage};
use crate::{
    setup,
    shell::{capture, is_root},
};
use anyhow::{Context as _, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// What runs when nothing else is said; packaging/kubernetes says the same.
const COMMAND: [&str; 2] = ["--config", "/etc/tcptrace/tcptrace.toml"];

/// Where the image is, as an archive of an OCI layout.
pub(super) fn path(place: &Place) -> PathBuf {
    place.result(&format!("tcptrace-{}-oci.tar", place.version))
}

/// Makes it.
pub(super) fn make(place: &Place) -> Result<()> {
    let (tree, layout) = (place.stage().join("image-root"), place.stage().join("image"));
    fill(place, &tree)?;
    super::place::empty(&layout)?;
    fs::remove_dir(&layout)?;
    let created = created(place)?;
    let image = format!("{}:{}", layout.display(), place.version);
    let umoci = |command: &str, words: &[&str]| {
        // Files of the image belong to root, whoever makes it.
        let rootless: &[&str] = if command == "insert" && !is_root() { &["--rootless"] } else { &[] };
        let mut umoci = place.command("umoci");
        setup::run(umoci.arg(command).args(rootless).args(words))
    };
    umoci("init", &["--layout", &layout.to_string_lossy()])?;
    umoci("new", &["--image", &image])?;
    let history = ["--history.created", &created, "--history.created_by", "cargo xtask dist"];
    umoci("insert", &[&["--image", &image], &history[..], &[&tree.to_string_lossy(), "/"]].concat())?;
    let label = format!("--config.label=org.opencontainers.image.version={}", place.version);
    let command = COMMAND.map(|word| format!("--config.cmd={word}"));
    umoci(
        "config",
        &[
            "--image",
            &image,
            "--no-history",
            "--created",
            &created,
            "--os=linux",
            architecture(),
            "--config.entrypoint=/usr/bin/tcptrace",
            &command[0],
            &command[1],
            "--config.label=org.opencontainers.image.title=tcptrace",
            "--config.label=org.opencontainers.image.licenses=MIT OR Apache-2.0",
            &label,
        ],
    )?;
    umoci("gc", &["--layout", &layout.to_string_lossy()])?;
    place.tar(&[], &layout, ".", &path(place))
}

/// What images call this processor.
fn architecture() -> &'static str {
    if env::consts::ARCH == "aarch64" { "--architecture=arm64" } else { "--architecture=amd64" }
}

/// The files of the image. All have the same time.
fn fill(place: &Place, tree: &Path) -> Result<()> {
    super::place::empty(tree)?;
    let mut files = vec![
        (place.stage().join("tcptrace"), "usr/bin/tcptrace".to_owned(), "755"),
        (place.root.join("packaging/service.toml"), "etc/tcptrace/tcptrace.toml".to_owned(), "644"),
    ];
    let documents = stage::BILLS.map(|it| place.stage().join(format!("{it}.cdx.json"))).into_iter();
    for from in documents.chain(["LICENSE-MIT", "LICENSE-APACHE"].map(|it| place.root.join(it))) {
        let name = from.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        files.push((from, format!("usr/share/doc/tcptrace/{name}"), "644"));
    }
    for (from, to, mode) in files {
        setup::run(place.command("install").args(["-D", "--mode", mode]).arg(from).arg(tree.join(to)))?;
    }
    let find = ["-exec", "chmod", "go=rX,u+rw", "{}", "+", "-exec", "touch", "--no-dereference", "--date"];
    setup::run(place.command("find").arg(tree).args(find).args([&format!("@{}", place.epoch), "{}", "+"]))
}

/// The time as images write it (RFC 3339).
fn created(place: &Place) -> Result<String> {
    let date =
        capture(place.command("date").args(["--date", &format!("@{}", place.epoch), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    Ok(date.trim().to_owned())
}

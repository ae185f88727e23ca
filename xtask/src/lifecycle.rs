//! `cargo xtask lifecycle`: what the tracker makes of a script of segments, in the script's own language.

use crate::setup;
use anyhow::{Context as _, Result};
use std::{
    path::{self, PathBuf},
    process::ExitCode,
};

/// Runs the example that plays the scripts through the tracker and prints what it reports, or writes that into the
/// scripts.
pub(crate) fn run(write: bool, files: &[PathBuf]) -> Result<ExitCode> {
    let mut command = setup::ensure()?.cargo([
        "run",
        "--quiet",
        "--package",
        "tcptrace-testing",
        "--example",
        "lifecycle",
        "--",
    ]);
    if write {
        command.arg("--write");
    }
    for file in files {
        // Cargo starts it in the repository.
        command.arg(path::absolute(file).with_context(|| format!("cannot find {}", file.display()))?);
    }
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

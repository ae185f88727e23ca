//! `cargo xtask man`: man pages and completions, from the definition of the command line and from the schema of the events.

use crate::{setup, shell::root};
use anyhow::{Context as _, Result};
use std::{
    path::{self, Path},
    process::{Command, ExitCode},
};

/// Runs the example that writes the pages and completions. It is built with tcptrace's own definitions, which xtask
/// does not depend on.
pub(crate) fn run(folder: Option<&Path>) -> Result<ExitCode> {
    let folder = match folder {
        // Cargo starts it in the repository.
        Some(folder) => {
            path::absolute(folder).with_context(|| format!("cannot find {}", folder.display()))?
        }
        None => root().join("target"),
    };
    let status = command(&folder)?.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes them with the day of that second (`SOURCE_DATE_EPOCH`), and says nothing.
pub(crate) fn write(folder: &Path, epoch: &str) -> Result<()> {
    setup::run(command(folder)?.env("SOURCE_DATE_EPOCH", epoch))
}

fn command(folder: &Path) -> Result<Command> {
    let mut command =
        setup::ensure()?.cargo(["run", "--quiet", "--package", "tcptrace", "--example", "man", "--"]);
    command.arg(folder);
    Ok(command)
}

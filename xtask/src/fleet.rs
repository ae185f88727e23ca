//! `cargo xtask fleet`: tries what `packaging/fleet` has for the events of many hosts, with chdb, which is `ClickHouse` as a
//! library. That is 180 MB to download, so that it is no part of `cargo xtask test`.

#[cfg(test)]
mod columns;

use crate::{
    packages,
    shell::{capture, root, say, typed},
};
use anyhow::{Context as _, Result};
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

/// What the programs of `packaging/fleet/try` import and call, in the versions that the figures of docs/fleet.md are of.
const PYTHON_PACKAGES: [&str; 2] = ["chdb-core==26.9.0", "duckdb-cli==1.5.6"];

/// Checks the tables and the questions; with `outage` also that nothing is lost when the store and the shipper are killed.
pub(crate) fn run(outage: bool) -> Result<ExitCode> {
    let python = python()?;
    let tried = root().join("packaging/fleet/try");
    let mut good = runs(Command::new(&python).arg(tried.join("check.py")))?;
    if outage {
        packages::ensure(&["syslog-ng-core", "syslog-ng-mod-http"], "the lines are sent with it")?;
        let folder = root().join("target/fleet/outage");
        good &= runs(Command::new(&python).arg(tried.join("outage.py")).arg(folder))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a program ends well.
fn runs(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("cannot run `{}`", typed(command)))?.success())
}

/// A Python that has the packages, in an environment of its own.
fn python() -> Result<PathBuf> {
    let folder = root().join("target/fleet/python");
    let python = folder.join("bin/python");
    if !python.exists() {
        packages::ensure(&["python3-venv"], "chdb is put into an environment of its own")?;
        capture(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    say("getting chdb and DuckDB, unless they are there (chdb is 180 MB)");
    capture(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES))?;
    Ok(python)
}

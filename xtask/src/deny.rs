//! Checks the dependencies with cargo-deny, by the rules in deny.toml: their licences, where they come from, which
//! there are twice, and known vulnerabilities.

use crate::{
    cargo::{self, BuildEnv},
    setup,
    shell::{capture, say, which},
    toolchain::{cargo_home, own_tools},
};
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The version of cargo-deny that is used, as another one may read deny.toml differently.
const VERSION: &str = "0.20.2";

/// The command, with cargo-deny installed.
pub(crate) fn command(env: &BuildEnv) -> Result<Command> {
    let deny = ensure()?;
    let mut command = env.as_cargo(&deny);
    command.args([
        "--workspace",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    // The list of advisories is a repository on GitHub, which cannot be reached from everywhere.
    if has_database() {
        command.args(["advisories", "--disable-fetch"]);
    } else {
        say("    known vulnerabilities are not looked for: `cargo deny fetch db` gets the list of them");
    }
    Ok(command)
}

/// Finds cargo-deny, or builds it.
fn ensure() -> Result<PathBuf> {
    let own = own_tools().join("bin/cargo-deny");
    let found = which("cargo-deny").into_iter().chain([own.clone()]).find(|program| is_ours(program));
    if let Some(found) = found {
        return Ok(found);
    }
    say(format_args!("building cargo-deny {VERSION} into {} (some minutes)", own.display()));
    let folder = own_tools();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut install = cargo::install("cargo-deny", VERSION, &folder);
    // Without optimization it is there in a third of the time, and still takes only seconds to run.
    install.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "false");
    setup::run(&mut install)?;
    Ok(own)
}

fn is_ours(program: &Path) -> bool {
    let said = capture(Command::new(program).arg("--version")).unwrap_or_default();
    version(&said) == Some(VERSION)
}

/// The version in the output of `cargo-deny --version`, which is like `cargo-deny 0.20.2`.
fn version(said: &str) -> Option<&str> {
    said.trim().strip_prefix("cargo-deny ")
}

/// Whether there is a list of advisories where cargo-deny keeps it.
fn has_database() -> bool {
    fs::read_dir(cargo_home().join("advisory-dbs")).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_read_from_what_it_says() {
        assert_eq!(version("cargo-deny 0.20.2\n"), Some("0.20.2"));
        assert_eq!(version("error: no such command"), None);
    }
}

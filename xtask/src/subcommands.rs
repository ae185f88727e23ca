//! Subcommands of cargo that are no part of it: the versions that are asked for, installed into `target/tools` and nowhere
//! else.

use crate::{
    cargo, setup,
    shell::{capture, is_executable, root, say},
};
use anyhow::Result;
use std::path::PathBuf;

/// Where they are.
#[derive(Debug)]
pub(crate) struct Subcommands(PathBuf);

/// Installs those that are missing, each of a name and a version.
pub(crate) fn ensure(wanted: &[(&str, &str)]) -> Result<Subcommands> {
    let tools = Subcommands(root().join("target/tools"));
    // Cargo's own list, with lines such as `cargo-deb v3.8.0:`.
    let mut list = cargo::command();
    list.args(["install", "--list", "--root"]).arg(&tools.0);
    let listed = capture(&mut list)?;
    for (name, version) in wanted {
        let line = format!("{name} v{version}:");
        if listed.lines().any(|it| it == line) && is_executable(&tools.0.join("bin").join(name)) {
            continue;
        }
        say(format_args!("installing {name} {version} into {} (a few minutes)", tools.0.display()));
        let mut install = cargo::install(name, version, &tools.0);
        install
            // They do little themselves: what takes minutes is to build them.
            .envs([("CARGO_PROFILE_RELEASE_LTO", "false"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")])
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        setup::run(&mut install)?;
    }
    Ok(tools)
}

impl Subcommands {
    /// The program of that name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }
}

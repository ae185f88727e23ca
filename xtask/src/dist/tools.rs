//! The subcommands of cargo that make packages: these versions, installed into `target/tools` and nowhere else.

use crate::{
    cargo, setup,
    shell::{capture, is_executable, root, say},
};
use anyhow::Result;
use std::{ffi::OsStr, path::PathBuf, process::Command};

/// What is installed. cargo-deb makes Debian's packages, with the scripts by which debhelper would handle a service.
const TOOLS: [(&str, &str); 3] =
    [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1"), ("cargo-cyclonedx", "0.5.9")];

/// Where the tools are.
#[derive(Debug)]
pub(super) struct Tools(PathBuf);

/// Installs those that are missing.
pub(super) fn ensure() -> Result<Tools> {
    let tools = Tools(root().join("target/tools"));
    // Cargo's own list, with lines such as `cargo-deb v3.8.0:`.
    let mut list = cargo::command();
    list.args(["install", "--list", "--root"]).arg(&tools.0);
    let listed = capture(&mut list)?;
    for (name, version) in TOOLS {
        let line = format!("{name} v{version}:");
        if listed.lines().any(|it| it == line) && is_executable(&tools.0.join("bin").join(name)) {
            continue;
        }
        say(format_args!("installing {name} {version} into {} (a few minutes)", tools.0.display()));
        let mut install = cargo::command();
        install
            .args(["install", name, "--version", version, "--locked", "--force", "--quiet", "--root"])
            .arg(&tools.0)
            // They run for a second: what takes minutes is to build them.
            .envs([("CARGO_PROFILE_RELEASE_LTO", "false"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")])
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            // Outside of the repository, so that none of its configuration applies.
            .current_dir("/");
        setup::run(&mut install)?;
    }
    Ok(tools)
}

impl Tools {
    /// The program of that name.
    pub(super) fn path(&self, name: &str) -> impl AsRef<OsStr> + use<> {
        self.0.join("bin").join(name)
    }

    /// A command of that program.
    pub(super) fn command(&self, place: &super::place::Place, name: &str) -> Command {
        place.command(self.path(name).as_ref())
    }
}

//! Calls cargo with what the kernel programs need in its environment.

use crate::{
    shell::{capture, is_root, root, sudo_works, which},
    toolchain::{Compiler, LINKED, Origin, is_linked, path_with},
};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The variable by which tcptrace/build.rs is told the rustup toolchain of the kernel programs.
const TOOLCHAIN: &str = "TCPTRACE_BPF_TOOLCHAIN";

/// What a build of the kernel programs finds in its environment.
#[derive(Debug)]
pub(crate) struct BuildEnv {
    /// What compiles them.
    pub(crate) compiler: Compiler,
    /// With the right bpf-linker first.
    pub(crate) path: OsString,
    /// Set only where the build script would choose otherwise by itself, so that plain `cargo build` and the tasks
    /// do not rebuild the kernel programs in turn.
    toolchain: Option<&'static str>,
}

impl BuildEnv {
    /// For that compiler and that bpf-linker.
    pub(crate) fn new(compiler: Compiler, linker: &Path) -> Self {
        let toolchain = match compiler.origin {
            Origin::Nightly => (which("rustup").is_some() && is_linked()).then_some("nightly"),
            Origin::Debian => None,
        };
        let first = linker.parent().unwrap_or(Path::new("/"));
        // Untouched where the shell would find that linker anyway: no reason to differ from a plain `cargo build`.
        let path = match which("bpf-linker") {
            Some(found) if found == linker => env::var_os("PATH").unwrap_or_default(),
            _ => path_with(first),
        };
        Self { compiler, path, toolchain }
    }

    /// Cargo, in the repository, with this environment.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = command();
        self.prepare(&mut command);
        command.args(args);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(root()).env("PATH", &self.path);
        if let Some(toolchain) = self.toolchain {
            command.env(TOOLCHAIN, toolchain);
        }
    }

    /// A call of the nightly toolchain's cargo. rustup starts it, as the cargo that runs this task need not know what
    /// `+nightly` is.
    pub(crate) fn nightly_cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("rustup");
        self.prepare(&mut command);
        command.args(["run", "nightly", "cargo"]).args(args);
        command
    }

    /// A call of cargo for subcommands that run what they build as root, as tests and benchmarks attach programs.
    pub(crate) fn cargo_as_root<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let mut command = self.cargo(args);
        if !is_root() {
            if !sudo_works() {
                bail!("attaching kernel programs takes root: run this as root, or where `sudo -n` works");
            }
            command.env(runner_variable()?, "sudo --non-interactive --preserve-env");
        }
        Ok(command)
    }

    /// Builds the `tcptrace` binary and says where it is.
    pub(crate) fn build_tcptrace(&self, release: bool) -> Result<PathBuf> {
        let mut command = self.cargo(["build", "--package", "tcptrace", "--bin", "tcptrace"]);
        command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
        if release {
            command.arg("--release");
        }
        let output = command.output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("tcptrace did not build");
        }
        executable(&String::from_utf8_lossy(&output.stdout)).context("cargo did not say where tcptrace is")
    }
}

/// The cargo that runs this task.
pub(crate) fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The path of the one binary in cargo's JSON messages.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    })
}

/// The variable by which cargo is told how to run what it builds, such as
/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER`.
fn runner_variable() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}

impl Compiler {
    /// The compiler's toolchain as rustup calls it; None if there is no rustup.
    pub(crate) fn rustup_name(self) -> Option<&'static str> {
        which("rustup").map(|_| match self.origin {
            Origin::Nightly => "nightly",
            Origin::Debian => LINKED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::executable;
    use std::path::Path;

    #[test]
    fn the_binary_is_found_in_the_messages_of_cargo() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
             {\"reason\":\"compiler-artifact\",\"executable\":\"/w/target/debug/tcptrace\"}\n\
             {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages).as_deref(), Some(Path::new("/w/target/debug/tcptrace")));
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}\n"), None);
    }
}

//! Calls cargo with what the kernel programs need in its environment.

use crate::{
    shell::{capture, is_root, root, sudo_works, typed, which},
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

    /// A subcommand of cargo that is no part of it, which calls the cargo that runs this task.
    pub(crate) fn as_cargo(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.prepare(&mut command);
        command.env("CARGO", self::command().get_program());
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
            command.env(target_variable(&host()?, "RUNNER"), "sudo --non-interactive --preserve-env");
        }
        Ok(command)
    }

    /// A program as root, in this environment.
    pub(crate) fn as_root(&self, program: &Path) -> Result<Command> {
        let mut command = if is_root() {
            Command::new(program)
        } else if sudo_works() {
            let mut command = Command::new("sudo");
            command.args(["--non-interactive", "--preserve-env"]).arg(program);
            command
        } else {
            bail!("attaching kernel programs takes root: run this as root, or where `sudo -n` works");
        };
        self.prepare(&mut command);
        Ok(command)
    }

    /// Builds all tests, and the program that they start.
    pub(crate) fn build_tests(&self) -> Command {
        self.cargo(["test", "--no-run", "--workspace", "--exclude", "tcptrace-ebpf"])
    }

    /// Likewise, and says where they are; what cargo says goes there.
    pub(crate) fn tests(&self, stderr: Stdio) -> Result<Vec<Executable>> {
        built(&mut self.build_tests(), stderr)
    }

    /// Builds the `tcptrace` binary and says where it is.
    pub(crate) fn build_tcptrace(&self, release: bool) -> Result<PathBuf> {
        let mut command = self.cargo(["build", "--package", "tcptrace", "--bin", "tcptrace"]);
        if release {
            command.arg("--release");
        }
        let last =
            built(&mut command, Stdio::inherit())?.pop().context("cargo did not say where tcptrace is")?;
        Ok(last.path)
    }
}

/// A program that cargo built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// What cargo calls it.
    pub(crate) name: String,
    /// `bin`, `test` and the like; of unit tests, what they are tests of.
    pub(crate) kind: String,
    pub(crate) is_test: bool,
    /// The folder of its package, in which its tests run.
    pub(crate) package: PathBuf,
    pub(crate) path: PathBuf,
}

/// Builds, and says what; what cargo has to say to a person goes to `stderr`.
pub(crate) fn built(command: &mut Command, stderr: Stdio) -> Result<Vec<Executable>> {
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(stderr);
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed", typed(command));
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// The cargo that runs this task.
pub(crate) fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The cargo that runs this task, to install this version of a program into `folder`, in place of another one there.
pub(crate) fn install(name: &str, version: &str, folder: &Path) -> Command {
    let mut command = command();
    command
        .args(["install", name, "--version", version, "--locked", "--force", "--quiet", "--root"])
        .arg(folder)
        // Outside the repository, so that none of its configuration applies.
        .current_dir("/");
    command
}

/// The programs in cargo's JSON messages, in their order.
fn executables(messages: &str) -> Vec<Executable> {
    let of_line = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let target = message.get("target")?;
        Some(Executable {
            name: target.get("name")?.as_str()?.to_owned(),
            kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
            is_test: message.get("profile")?.get("test")?.as_bool()?,
            package: Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_owned(),
            path: message.get("executable")?.as_str()?.into(),
        })
    };
    messages.lines().filter_map(of_line).collect()
}

/// The variable by which cargo is told something about what it builds for a target, such as
/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER`.
pub(crate) fn target_variable(target: &str, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", target.to_uppercase().replace('-', "_"))
}

/// What rustc calls this machine, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
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
    use super::executables;

    #[test]
    fn programs_are_found_in_the_messages_of_cargo() {
        let line = |name: &str, kind: &str, test: bool, path: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/w/{name}/Cargo.toml\",\
                 \"target\":{{\"name\":\"{name}\",\"kind\":[\"{kind}\"]}},\"profile\":{{\"test\":{test}}},\
                 \"executable\":{path}}}\n"
            )
        };
        let messages = line("aya", "lib", false, "null")
            + &line("tcptrace", "bin", false, "\"/t/tcptrace\"")
            + &line("live", "test", true, "\"/t/live-1\"")
            + "{\"reason\":\"build-finished\",\"success\":true}\n";
        let found = executables(&messages);
        let short = |it: &super::Executable| {
            format!("{} {} {} {} {}", it.name, it.kind, it.is_test, it.package.display(), it.path.display())
        };
        let found: Vec<_> = found.iter().map(short).collect();
        assert_eq!(found, ["tcptrace bin false /w/tcptrace /t/tcptrace", "live test true /w/live /t/live-1"]);
    }
}

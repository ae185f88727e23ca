//! Runs other programs, and prints messages.

use anyhow::{Context as _, Result, bail};
use std::{
    env,
    fmt::Display,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The path of the repository, wherever the task was started from.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Prints one line on stderr, for the person at the terminal. A closed stderr is no reason to fail.
pub(crate) fn say(line: impl Display) {
    _ = writeln!(io::stderr(), "{line}");
}

/// The command as it would be typed.
pub(crate) fn typed(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a program that must succeed, and returns its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", typed(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", typed(command), stderr.lines().last().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first executable of that name in `PATH`, then in the directories where Debian keeps root's commands, which
/// are not in everybody's `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// Whether the path is a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process runs as root: `/proc/self` belongs to the effective user.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

/// Whether sudo works without asking for a password.
pub(crate) fn sudo_works() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A hint for the end of an error if a program's output shows that the network is missing; empty otherwise.
pub(crate) fn network_hint(output: &str) -> &'static str {
    const SIGNS: [&str; 6] = [
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Network is unreachable",
        "spurious network error",
        "Unable to fetch",
    ];
    if SIGNS.iter().any(|sign| output.contains(sign)) { " (is the network up?)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::network_hint;

    #[test]
    fn a_missing_network_is_recognised_in_the_words_of_apt_and_cargo() {
        let apt = "Err:1 http://mirror bookworm InRelease\n  Temporary failure resolving 'mirror'";
        let cargo = "warning: spurious network error (3 tries remaining): [6] Could not resolve hostname";
        assert!(!network_hint(apt).is_empty());
        assert!(!network_hint(cargo).is_empty());
        assert!(network_hint("error: linking with `cc` failed").is_empty());
    }
}

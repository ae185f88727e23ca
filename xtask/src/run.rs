//! `cargo xtask run`: tcptrace as it would be installed, but from here.

use crate::{
    setup,
    shell::{is_root, typed},
};
use anyhow::{Result, anyhow};
use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt as _, process::Command};

/// Builds tcptrace and becomes it, so that its signals and its exit status are its own.
pub(crate) fn run(release: bool, args: &[OsString]) -> Result<Infallible> {
    let binary = setup::ensure()?.build_tcptrace(release)?;
    let mut command = if is_root() || !needs_root(args) {
        Command::new(binary)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(binary);
        sudo
    };
    let error = command.args(args).exec();
    Err(anyhow!(error).context(format!("cannot run `{}`", typed(&command))))
}

/// Whether tcptrace needs root with these arguments. Reading files and answering questions takes none.
fn needs_root(args: &[OsString]) -> bool {
    const COMMANDS: [&str; 3] = ["schema", "report", "merge"];
    const FLAGS: [&str; 6] = ["-h", "--help", "-V", "--version", "-D", "--read"];
    let harmless =
        |word: &str| FLAGS.contains(&word) || word.starts_with("--read=") || word.starts_with("-r");
    let command = args.first().is_some_and(|word| COMMANDS.iter().any(|command| word == command));
    !command && !args.iter().any(|word| harmless(&word.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::needs_root;
    use std::ffi::OsString;

    #[test]
    fn only_live_tracing_needs_root() {
        let needs = |line: &[&str]| needs_root(&line.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(needs(&["-i", "lo", "--json"]));
        assert!(needs(&["-i", "lo", "port 443"]));
        assert!(needs(&["check", "-i", "lo"]));
        assert!(!needs(&["-r", "trace.pcap"]));
        assert!(!needs(&["--json", "-rtrace.pcap"]));
        assert!(!needs(&["--read=trace.pcap"]));
        assert!(!needs(&["--help"]));
        assert!(!needs(&["schema"]));
    }
}

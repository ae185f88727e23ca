//! Finds out which Debian packages are missing, and installs them.

use crate::shell::{is_root, network_hint, say, sudo_works, typed, which};
use anyhow::{Context as _, Result, bail};
use std::process::{Command, Stdio};

/// The wanted packages that dpkg does not know as installed.
fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    if which("dpkg-query").is_none() || which("apt-get").is_none() {
        bail!(
            "this is not a Debian system; it needs what these packages hold: {} \
             (for the kernel programs: a rustup nightly with rust-src, and bpf-linker)",
            wanted.join(" ")
        );
    }
    // The exit status is not looked at: it is 1 if any package is unknown, and the others are listed all the same.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Abbrev} ${Package}\n"])
        .args(wanted)
        .stdin(Stdio::null())
        .output()
        .context("cannot run dpkg-query")?;
    Ok(not_installed(wanted, &String::from_utf8_lossy(&output.stdout)))
}

/// The wanted packages that a listing does not have as installed. Its lines are like `ii  rustc-web`; `rc` and `un` are
/// of packages that left only traces.
fn not_installed<'a>(wanted: &[&'a str], listing: &str) -> Vec<&'a str> {
    let installed = |package: &str| {
        listing.lines().any(|line| {
            line.strip_prefix("ii").is_some_and(|rest| rest.split_whitespace().next_back() == Some(package))
        })
    };
    wanted.iter().copied().filter(|package| !installed(package)).collect()
}

/// Installs those of the wanted packages that are missing.
pub(crate) fn ensure(wanted: &[&str], purpose: &str) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() && !sudo_works() {
        bail!("{purpose} needs packages; run: sudo apt-get install --no-install-recommends {list}");
    }
    say(format_args!("installing {list}: {purpose}"));
    // An update succeeds without a network too, with warnings. One broken source among several is no reason to stop.
    let update = apt(&["update"])?;
    let install = apt(&[&["install", "--yes", "--no-install-recommends"], &missing[..]].concat())?;
    if install.success {
        return Ok(());
    }
    say(&install.said);
    bail!("cannot install {list}{}", reason(&update.said, &install.said))
}

/// Does what [`ensure`] does, but asks nothing of the system if the list is empty.
pub(crate) fn ensure_any(wanted: &[&str], purpose: &str) -> Result<()> {
    if wanted.is_empty() { Ok(()) } else { ensure(wanted, purpose) }
}

/// How a run of apt-get went.
struct Apt {
    success: bool,
    said: String,
}

fn apt(args: &[&str]) -> Result<Apt> {
    // env, because sudo drops the variable that keeps debconf from asking questions.
    let words =
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2", "-oDPkg::Lock::Timeout=300"];
    let mut command = Command::new(if is_root() { "env" } else { "sudo" });
    command.args(if is_root() { &words[1..] } else { &words[..] }).args(args).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run `{}`", typed(&command)))?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok(Apt { success: output.status.success(), said: said.trim_end().to_owned() })
}

/// Why an installation failed. A package may be unknown only because the lists could not be read.
fn reason(update: &str, install: &str) -> String {
    match (unknown_package(install), network_hint(update), network_hint(install)) {
        (None, _, hint) => hint.to_owned(),
        (Some(_), hint, _) if !hint.is_empty() => hint.to_owned(),
        (Some(package), ..) => format!(
            ": this release has no package {package}; a rustup nightly with rust-src and a bpf-linker for its LLVM \
             serve instead of Debian's packages"
        ),
    }
}

/// The package that apt cannot find, from its error message.
fn unknown_package(said: &str) -> Option<&str> {
    said.lines().find_map(|line| {
        line.strip_prefix("E: Unable to locate package ")
            .or_else(|| line.strip_prefix("E: Package '")?.strip_suffix("' has no installation candidate"))
    })
}

#[cfg(test)]
mod tests {
    use super::{not_installed, reason, unknown_package};

    #[test]
    fn only_fully_installed_packages_count() {
        let listing = "ii  rustc-web\nrc  llvm-22-dev\nun  nftables\niU  curl\nii  libz3-dev:amd64\n";
        let wanted = ["rustc-web", "llvm-22-dev", "nftables", "curl", "tcpdump"];
        assert_eq!(not_installed(&wanted, listing), ["llvm-22-dev", "nftables", "curl", "tcpdump"]);
        assert!(not_installed(&["rustc-web"], listing).is_empty());
        assert_eq!(not_installed(&["rustc"], listing), ["rustc"], "a prefix is another package");
    }

    #[test]
    fn a_release_without_the_package_is_recognised() {
        assert_eq!(unknown_package("E: Unable to locate package rustc-web\n"), Some("rustc-web"));
        assert_eq!(
            unknown_package("Reading...\nE: Package 'rustc-web' has no installation candidate"),
            Some("rustc-web")
        );
        assert_eq!(unknown_package("E: Failed to fetch something"), None);
    }

    #[test]
    fn a_dead_network_is_not_taken_for_a_missing_package() {
        let unknown = "E: Unable to locate package rustc-web";
        let dead = "W: Failed to fetch http://mirror/InRelease  Temporary failure resolving 'mirror'";
        assert_eq!(reason(dead, unknown), " (is the network up?)");
        assert!(reason("", unknown).contains("no package rustc-web"));
        assert_eq!(reason("", "E: You don't have enough free space"), "");
    }
}

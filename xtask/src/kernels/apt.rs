//! apt with sources and lists of its own, in target/kernels: so proxies and credentials are those of the system, and
//! nothing is taken whose signature or checksum is wrong.

use super::arch::Arch;
use crate::shell::{capture, network_hint, typed};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Which of Debian's releases.
#[derive(Clone, Copy)]
pub(super) enum Release<'a> {
    /// The one of this name.
    Named(&'a str),
    /// That which the system is of, with its updates.
    Own,
}

/// Knows no package as installed.
pub(super) struct Apt {
    place: PathBuf,
    arch: &'static str,
    /// What it asks.
    pub(super) mirrors: String,
}

impl Apt {
    /// Anew, for packages of a release and a processor.
    pub(super) fn new(release: Release<'_>, arch: &Arch, place: &Path) -> Result<Self> {
        let place = place.join("apt");
        _ = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("lists/partial"))?;
        fs::create_dir_all(place.join("cache/archives/partial"))?;
        // Its directory is also where apt locks.
        fs::write(place.join("status"), "")?;
        let format = "--format=$(REPO_URI)\t$(LABEL)\t$(RELEASE)\t$(SIGNED_BY)";
        let targets =
            capture(Command::new("apt-get").args(["indextargets", format, "Created-By: Packages"]))?;
        let sources = sources(&targets, release);
        if sources.is_empty() {
            bail!("apt knows no mirror of Debian: the system's sources name none, or run apt-get update");
        }
        let mirrors: BTreeSet<&str> = sources.iter().map(|it| it.uri).collect();
        let mirrors = mirrors.into_iter().collect::<Vec<_>>().join(" and ");
        let lines: String = sources.iter().map(Source::line).collect();
        fs::write(place.join("sources.list"), lines)?;
        let apt = Self { place, arch: arch.debian, mirrors };
        // Without this a list that cannot be had is a warning.
        run(apt.command("apt-get").args(["-o", "APT::Update::Error-Mode=any", "--quiet=2", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.place.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            // It may not be able to write here, and there is nothing to protect.
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            format!("APT::Architecture={}", self.arch),
            format!("APT::Architectures={}", self.arch),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.place);
        command
    }

    /// The names of the packages that a package needs, the first of each choice.
    pub(super) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown = capture(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        Ok(depends(&shown))
    }

    /// Downloads packages, and puts what is in them under `root`.
    pub(super) fn extract<S: AsRef<OsStr>>(&self, packages: &[S], root: &Path) -> Result<()> {
        run(self.command("apt-get").args(["--quiet=2", "download"]).args(packages))?;
        unpack(&self.place, root)
    }

    /// The same with all that they need.
    pub(super) fn extract_all<S: AsRef<OsStr>>(&self, packages: &[S], root: &Path) -> Result<()> {
        let words = ["--quiet=2", "--yes", "--download-only", "--no-install-recommends", "install"];
        run(self.command("apt-get").args(words).args(packages))?;
        unpack(&self.place.join("cache/archives"), root)
    }

    /// Removes what apt noted.
    pub(super) fn finish(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.place)?)
    }
}

/// A line of `sources.list`.
#[derive(Debug, PartialEq, Eq)]
struct Source<'a> {
    uri: &'a str,
    release: &'a str,
    key: Option<&'a str>,
}

impl Source<'_> {
    fn line(&self) -> String {
        let key = self.key.map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
        format!("deb {key}{} {} main\n", self.uri, self.release)
    }
}

/// Of lines of address, label, release and key those of Debian, each once: its archive for a release that is named, or
/// that and the security updates as the system has them.
fn sources<'a>(targets: &'a str, wanted: Release<'a>) -> Vec<Source<'a>> {
    let mut found = Vec::new();
    for line in targets.lines() {
        let [uri, label, release, key] = *line.split('\t').collect::<Vec<_>>() else { continue };
        // What apt has no value for it leaves as it stands. A key that is itself in the sources has several lines.
        let key = key.starts_with('/').then_some(key);
        let source = match (wanted, label) {
            (Release::Named(_), "Debian") if !found.is_empty() => continue,
            (Release::Named(release), "Debian") => Source { uri, release, key },
            (Release::Own, "Debian" | "Debian-Security") => Source { uri, release, key },
            _ => continue,
        };
        if !found.contains(&source) {
            found.push(source);
        }
    }
    found
}

/// `Depends: a (= 1), b | c` are `a` and `b`.
fn depends(shown: &str) -> Vec<String> {
    let line = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    line.split(", ").filter_map(|item| item.split_whitespace().next()).map(str::to_owned).collect()
}

/// Moves what is in the packages in a directory to `root`.
fn unpack(directory: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(root))?;
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Runs a command that must succeed, and tells its error if it does not.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| line.starts_with("E:")).or(said.lines().next_back());
    bail!("`{}` failed: {}{}", short(&typed(command)), last.unwrap_or("it said nothing"), network_hint(&said))
}

/// Without apt's options, which are long and always the same.
fn short(typed: &str) -> String {
    let Some((start, last)) = typed.rsplit_once(" -o ") else { return typed.to_owned() };
    let program = start.split(' ').next().unwrap_or_default();
    let words = last.split_once(' ').map_or("", |(_, words)| words);
    format!("{program} {words}")
}

#[cfg(test)]
mod tests {
    use super::{Release, Source, depends, short, sources};

    const TARGETS: &str = "https://other.example/\tOther\tbookworm\t$(SIGNED_BY)\n\
                           http://mirror.example/debian-security/\tDebian-Security\tbookworm-security\t/k.gpg\n\
                           http://mirror.example/debian/\tDebian\tbookworm\t/k.gpg\n\
                           http://mirror.example/debian/\tDebian\tbookworm\t/k.gpg\n\
                           http://mirror.example/debian/\tDebian\tbookworm-updates\t/k.gpg\n";

    fn lines(targets: &str, release: Release<'_>) -> Vec<String> {
        sources(targets, release).iter().map(Source::line).collect()
    }

    #[test]
    fn a_release_is_on_the_mirror_of_debian_itself() {
        let sid = Release::Named("sid");
        assert_eq!(lines(TARGETS, sid), ["deb [signed-by=/k.gpg] http://mirror.example/debian/ sid main\n"]);
        assert_eq!(
            lines("http://m.example/\tDebian\tx\t$(SIGNED_BY)\n", sid),
            ["deb http://m.example/ sid main\n"]
        );
        assert!(lines("http://m.example/\tOther\tx\t\n", sid).is_empty());
    }

    #[test]
    fn the_own_release_is_as_the_system_has_it() {
        assert_eq!(
            lines(TARGETS, Release::Own),
            [
                "deb [signed-by=/k.gpg] http://mirror.example/debian-security/ bookworm-security main\n",
                "deb [signed-by=/k.gpg] http://mirror.example/debian/ bookworm main\n",
                "deb [signed-by=/k.gpg] http://mirror.example/debian/ bookworm-updates main\n",
            ]
        );
    }

    #[test]
    fn dependencies_are_names() {
        let shown =
            "Package: a\nDepends: linux-base (= 7.2-1), linux-image-7.2-amd64 (= 7.2-1), x | y\nSize: 1\n";
        assert_eq!(depends(shown), ["linux-base", "linux-image-7.2-amd64", "x"]);
        assert!(depends("Package: a\n").is_empty());
    }

    #[test]
    fn a_command_that_failed_is_told_without_its_options() {
        assert_eq!(short("apt-get -o A=1 -o B=2 --quiet=2 download x"), "apt-get --quiet=2 download x");
        assert_eq!(short("dpkg-deb --extract x.deb /r"), "dpkg-deb --extract x.deb /r");
    }
}

//! Where the sources are that are built and packed, and where the results go.

use crate::{
    setup,
    shell::{capture, root, say},
};
use anyhow::{Context as _, Result};
use std::{
    env,
    fs::{self, File, FileTimes},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// Sources, and the folders beside them.
#[derive(Debug)]
pub(super) struct Place {
    /// The top of the repository, or of a copy of it.
    pub(super) root: PathBuf,
    /// The time that stands in all files that are made: when the commit was made, or what `SOURCE_DATE_EPOCH` says
    /// (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub(super) epoch: String,
    /// The version of the workspace.
    pub(super) version: String,
}

impl Place {
    /// The repository itself.
    pub(super) fn here() -> Result<Self> {
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => capture(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))?
                .trim()
                .to_owned(),
        };
        let place = Self { root: root().to_owned(), epoch, version: env!("CARGO_PKG_VERSION").to_owned() };
        empty(&place.out())?;
        empty(&place.stage())?;
        Ok(place)
    }

    /// A copy of those files that git knows, in a folder of another name and depth, so that a path that gets into the
    /// results makes them differ. What was built there before stays, and the files keep their times, so that cargo knows what
    /// is still the same.
    pub(super) fn copy_of(other: &Self) -> Result<Self> {
        let root = other.root.join("target/again/the-same-sources");
        say(format_args!("copying the sources to {}", root.display()));
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true if entry.file_name() == "target" => {}
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        let list = capture(Command::new("git").args(["ls-files", "-z"]).current_dir(&other.root))?;
        for name in list.split_terminator('\0') {
            copy(&other.root.join(name), &root.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
        let place = Self { root, epoch: other.epoch.clone(), version: other.version.clone() };
        empty(&place.out())?;
        empty(&place.stage())?;
        Ok(place)
    }

    /// Where the results go.
    pub(super) fn out(&self) -> PathBuf {
        self.root.join("target/dist")
    }

    /// The files as the packages have them; tcptrace/Cargo.toml names this folder.
    pub(super) fn stage(&self) -> PathBuf {
        self.root.join("target/stage")
    }

    /// Where cargo builds: what it keeps of its own is called like profiles, and `dist` is one.
    pub(super) fn build(&self) -> PathBuf {
        self.root.join("target/dist-build")
    }

    /// A result of that name.
    pub(super) fn result(&self, name: &str) -> PathBuf {
        self.out().join(name)
    }

    /// A command in the sources, which puts the right time into what it makes.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("SOURCE_DATE_EPOCH", &self.epoch)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Makes an archive that is the same for the same files: sorted, without owners, with the commit's time.
    pub(super) fn tar(&self, options: &[&str], folder: &Path, what: &str, to: &Path) -> Result<()> {
        const SAME: [&str; 6] =
            ["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw,a-s"];
        let mut tar = self.command("tar");
        tar.args(SAME).arg(format!("--mtime=@{}", self.epoch)).args(options);
        tar.arg("--directory").arg(folder).arg("--file").arg(to).arg(what);
        setup::run(&mut tar)
    }
}

/// Copies a file with its rights and its time.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to)?;
    let times = FileTimes::new().set_modified(from.metadata()?.modified()?);
    File::options().append(true).open(to)?.set_times(times)
}

/// Makes the folder, without anything in it.
pub(super) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

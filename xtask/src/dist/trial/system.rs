//! A Debian system in a folder, whose first process is its own systemd, in namespaces of its own.

use crate::{
    dist::place::{Place, empty},
    setup,
    shell::{capture, say, typed},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The release of Debian that packages are tried in.
const SUITE: &str = "bookworm";
/// What is in the system before a package is installed.
const INCLUDED: &str = "systemd,dbus,rpm";
/// Folders in which dpkg, apt, rpm and systemd keep lists of their own, and those that are empty after each start.
const BOOKS: [&str; 10] = [
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/rpm",
    "/root/.rpmdb",
    "/var/lib/systemd",
    "/var/cache",
    "/var/log",
    "/var/tmp",
    "/tmp",
    "/run",
];
/// How long the system has to do what it was asked for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Mounts cgroups of the second version, has a cgroup for the system, and removes that and all below when the system has ended.
/// Everything that the system mounts is in its namespace and goes with it.
const HOUSE: &str = r#"
umount --lazy /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup || exit 1
cgroup=/sys/fs/cgroup/$2
mkdir "$cgroup" || exit 1
trap : INT TERM
echo 0 > "$cgroup/cgroup.procs"
unshare --cgroup --pid --mount --net --uts --ipc --fork --kill-child sh -c "$3" boot "$1"
echo 0 > /sys/fs/cgroup/cgroup.procs
find "$cgroup" -depth -type d -exec rmdir {} +
"#;

/// Makes the folder the root of a system as a container has it (systemd's "container interface"), and starts its systemd.
const BOOT: &str = r#"
set -e
root=$1
ip link set lo up
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs tmp tmp
for place in run dev; do mount -t tmpfs -o mode=755 "$place" "$place"; done
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs shm dev/shm
pivot_root . mnt
umount --lazy /mnt
export container=trial
exec /lib/systemd/systemd --log-target=null
"#;

/// A system that runs. It ends, with everything in it, when this is dropped.
pub(super) struct System {
    root: PathBuf,
    house: Child,
    /// The process that is the first one of the system, by its number outside of it.
    first: u32,
}

impl System {
    /// A new one, which has started. What it begins with is downloaded once.
    pub(super) fn start(place: &Place) -> Result<Self> {
        let folder = place.root.join("target/trial");
        fs::create_dir_all(&folder)?;
        let base = folder.join(format!("{SUITE}-{}.tar", INCLUDED.replace(',', "-")));
        if !base.exists() {
            say(format_args!("downloading Debian {SUITE} into {}", base.display()));
            let include = format!("--include={INCLUDED}");
            setup::run(
                place.command("mmdebstrap").args(["--variant=apt", &include, "--quiet", SUITE]).arg(&base),
            )?;
        }
        let root = folder.join("root");
        empty(&root)?;
        setup::run(
            place.command("tar").arg("--extract").arg("--directory").arg(&root).arg("--file").arg(&base),
        )?;
        let mut house = Command::new("unshare");
        house.args(["--mount", "--", "sh", "-c", HOUSE, "house"]).arg(&root);
        house.arg(format!("tcptrace-trial-{}", std::process::id())).arg(BOOT);
        let house = house.stdin(Stdio::null()).spawn().context("cannot run unshare")?;
        let mut system = Self { root, house, first: 0 };
        system.first = system.until("has no first process", |system| {
            // The shell's child is unshare, and that one's is systemd.
            Ok(child(system.house.id()).and_then(child).filter(|&it| is_systemd(it)))
        })?;
        system.until("is not running", |system| {
            let output = system.output(&["systemctl", "is-system-running"])?;
            Ok((output.stdout == b"running\n").then_some(()))
        })?;
        Ok(system)
    }

    /// A command in it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.first.to_string(), "--"]).args(words);
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        command.env("SYSTEMD_COLORS", "0").env("SYSTEMD_URLIFY", "0").env("SYSTEMD_PAGER", "");
        command
    }

    /// Runs it, prints it as it would be typed, and returns what it said.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        say(format_args!("  # {}", words.join(" ")));
        self.ask(words)
    }

    /// Runs it, and returns what it said.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String> {
        capture(&mut self.command(words))
    }

    /// Runs it, whether it succeeds or not.
    pub(super) fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", typed(&command)))
    }

    /// Asks again and again until there is an answer. The error says that the system `lacks` it.
    pub(super) fn until<T>(&self, lacks: &str, ask: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let begin = Instant::now();
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            ensure!(begin.elapsed() < PATIENCE, "after {} s the system {lacks}", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A file or folder in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
    }

    /// The paths of all files, but for the books of dpkg and the like.
    pub(super) fn files(&self) -> Result<BTreeSet<String>> {
        let mut find = Command::new("find");
        let list = capture(find.arg(&self.root).args(["-xdev", "-printf", "/%P\\n"]))?;
        let booked = |path: &str| BOOKS.iter().any(|book| path.starts_with(book));
        Ok(list.lines().filter(|path| !booked(path)).map(str::to_owned).collect())
    }

    /// Copies a file into it.
    pub(super) fn put(&self, file: &Path, name: &str) -> Result<()> {
        fs::copy(file, self.path(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        Ok(())
    }

    /// Turns it off, and takes the folder away.
    pub(super) fn end(mut self) -> Result<()> {
        // The connection to systemd may break before it has answered.
        self.output(&["systemctl", "poweroff", "--force"])?;
        let status = self.house.wait()?;
        if !status.success() {
            bail!("the system's cgroups could not be removed");
        }
        empty(&self.root)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if matches!(self.house.try_wait(), Ok(None)) {
            // With their first process all others of the namespace end, and then the shell that waits tidies up.
            _ = Command::new("kill").args(["-KILL", &self.first.to_string()]).status();
            _ = self.house.wait();
        }
    }
}

/// The only child of a process.
fn child(parent: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?.trim().parse().ok()
}

fn is_systemd(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "systemd\n")
}

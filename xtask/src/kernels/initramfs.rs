//! What a kernel under test starts with: the test binaries where cargo made them, the commands that they call, and
//! an init that runs them.

use super::{
    arch::Arch,
    archive::Unpacked,
    cpio::Archive,
    plan::Suite,
    programs::{PROGRAM, Programs, read},
};
use crate::{
    cargo::BuildEnv,
    shell::{capture, root},
};
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Commands that the tests call and busybox has not, or not with all their options; its shell would call its own. Each with
/// its Debian package.
const COMMANDS: [(&str, &str); 16] = [
    ("bash", "bash"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("bpftool", "bpftool"),
    ("ethtool", "ethtool"),
    ("perl", "perl-base"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("prlimit", "util-linux"),
    ("setcap", "libcap2-bin"),
    ("xdp-filter", "xdp-tools"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("sh", "dash"),
];
const BUSYBOX: (&str, &str) = ("busybox", "busybox-static");
/// Names of ports and protocols, of users, and where they are looked up.
const NAMES: [&str; 5] =
    ["/etc/services", "/etc/protocols", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// What is the same for every kernel of a kind of processor.
pub(super) struct Contents {
    /// By their paths inside.
    files: BTreeMap<PathBuf, Vec<u8>>,
    binaries: BTreeMap<String, PathBuf>,
    applets: Vec<String>,
}

impl Contents {
    /// Builds the tests and gathers what these suites need, for one kind of processor.
    pub(super) fn gather(env: &BuildEnv, arch: &Arch, suites: &[&Suite], home: &Path) -> Result<Self> {
        let packages = COMMANDS.iter().chain([&BUSYBOX]).map(|(_, package)| *package).collect();
        let programs = Programs::get(arch, &packages, home)?;
        let mut binaries = programs.build(env, suites)?;
        // The program is started by tests.
        binaries.retain(|name, _| name == PROGRAM || suites.iter().any(|suite| suite.binary == name));
        let mut files = BTreeMap::new();
        for path in binaries.values() {
            files.insert(path.clone(), programs.stripped(path)?);
            programs.add_libraries(path, &mut files)?;
        }
        for (name, _) in COMMANDS {
            let path = programs.command(name)?;
            files.insert(Path::new("/usr/sbin").join(name), read(&path)?);
            programs.add_libraries(&path, &mut files)?;
        }
        for name in NAMES {
            files.insert(name.into(), read(Path::new(name))?);
        }
        let stories = root().join("tcptrace-testing/stories");
        files.extend(tree(&stories, &stories)?);
        let objects = programs.root().join(arch.objects.trim_start_matches('/'));
        files.extend(tree(&objects, Path::new(arch.objects))?);
        files.insert("/bin/busybox".into(), read(&programs.command(BUSYBOX.0)?)?);
        // Whatever the processor, it is the same package, and this machine's is the one that runs here.
        let list = capture(Command::new(Programs::Own.command(BUSYBOX.0)?).arg("--list"))?;
        Ok(Self { files, binaries, applets: list.lines().map(str::to_owned).collect() })
    }

    /// Writes it for one kernel and some suites.
    pub(super) fn write(&self, path: &Path, kernel: &Unpacked, suites: &[&Suite]) -> Result<()> {
        let mut archive = Archive::create(path)?;
        // Before init has mounted anything, the kernel opens it for init.
        archive.device(Path::new("/dev/console"), 5, 1)?;
        for directory in ["/proc", "/sys", "/tmp", "/run", "/mnt", "/root", "/var/run"] {
            archive.directory(Path::new(directory))?;
        }
        for (path, content) in &self.files {
            archive.file(path, content)?;
        }
        for applet in &self.applets {
            if COMMANDS.iter().all(|(name, _)| name != applet) {
                archive.link(&Path::new("/bin").join(applet), "/bin/busybox")?;
            }
        }
        // Where the kernel looks for it.
        archive.link(Path::new("/sbin/modprobe"), "/bin/busybox")?;
        archive.file(Path::new("/init"), include_bytes!("init.sh"))?;
        archive.file(Path::new("/suites"), self.script(suites)?.as_bytes())?;
        for (path, content) in tree(&kernel.modules, &Path::new("/lib/modules").join(&kernel.release))? {
            archive.file(&path, &content)?;
        }
        archive.finish()?;
        Ok(())
    }

    /// The lines that init reads.
    fn script(&self, suites: &[&Suite]) -> Result<String> {
        let mut script = format!("cd {}\n", root().join("tcptrace").display());
        for Suite { binary, only, without, seconds } in suites {
            let path = self.binaries.get(*binary).with_context(|| format!("cargo built no test {binary}"))?;
            write!(script, "suite {binary} {seconds} {} {}", path.display(), only.join(" "))?;
            for (name, _) in *without {
                write!(script, " --skip {name}")?;
            }
            script.push('\n');
        }
        Ok(script)
    }
}

/// All files under a directory, by their paths under another.
fn tree(here: &Path, inside: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(here).with_context(|| format!("cannot read {}", here.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, inside) = (entry.path(), inside.join(entry.file_name()));
        if path.is_dir() {
            files.extend(tree(&path, &inside)?);
        } else {
            files.insert(inside, read(&path)?);
        }
    }
    Ok(files)
}

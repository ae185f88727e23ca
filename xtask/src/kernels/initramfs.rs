//! What a kernel under test starts with: the test binaries where cargo made them, the commands that they call, and
//! an init that runs them.

use super::{archive::Unpacked, cpio::Archive, plan::Suite};
use crate::{
    cargo::BuildEnv,
    shell::{capture, root, typed, which},
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Commands that the tests call and busybox has not, or not with all their options; its shell would call its own.
const COMMANDS: [&str; 10] =
    ["ip", "tc", "nft", "bpftool", "ethtool", "perl", "unshare", "mount", "umount", "sh"];
const PROGRAM: &str = "tcptrace";
/// Names of ports and protocols, of users, and where they are looked up.
const NAMES: [&str; 5] =
    ["/etc/services", "/etc/protocols", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// What is the same for every kernel.
pub(super) struct Contents {
    /// By their paths inside.
    files: BTreeMap<PathBuf, Vec<u8>>,
    binaries: BTreeMap<String, PathBuf>,
    applets: Vec<String>,
}

impl Contents {
    /// Builds the tests and gathers what these suites need.
    pub(super) fn gather(env: &BuildEnv, suites: &[&Suite]) -> Result<Self> {
        let mut binaries = build(env)?;
        // The program is started by tests.
        binaries.retain(|name, _| name == PROGRAM || suites.iter().any(|suite| suite.binary == name));
        let mut files = BTreeMap::new();
        for path in binaries.values() {
            files.insert(path.clone(), stripped(path)?);
            add_libraries(path, &mut files)?;
        }
        for name in COMMANDS {
            let path = which(name).with_context(|| format!("no command {name}"))?;
            files.insert(Path::new("/usr/sbin").join(name), read(&path)?);
            add_libraries(&path, &mut files)?;
        }
        for name in NAMES {
            files.insert(name.into(), read(Path::new(name))?);
        }
        add_tree(&root().join("tcptrace/tests/lifecycle"), &mut files)?;
        let busybox = which("busybox").context("no busybox")?;
        files.insert("/bin/busybox".into(), read(&busybox)?);
        let list = capture(Command::new(busybox).arg("--list"))?;
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
            if !COMMANDS.contains(&applet.as_str()) {
                archive.link(&Path::new("/bin").join(applet), "/bin/busybox")?;
            }
        }
        // Where the kernel looks for it.
        archive.link(Path::new("/sbin/modprobe"), "/bin/busybox")?;
        archive.file(Path::new("/init"), include_bytes!("init.sh"))?;
        archive.file(Path::new("/suites"), self.script(suites)?.as_bytes())?;
        let mut modules = BTreeMap::new();
        add_tree(&kernel.modules, &mut modules)?;
        let place = Path::new("/lib/modules").join(&kernel.release);
        for (path, content) in modules {
            archive.file(&place.join(path.strip_prefix(&kernel.modules)?), &content)?;
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

/// Builds all that `cargo test` builds, so that neither makes the other build again. The binaries by their names:
/// the integration tests, and the program that they start.
fn build(env: &BuildEnv) -> Result<BTreeMap<String, PathBuf>> {
    let words = "test --workspace --exclude tcptrace-ebpf --no-run --message-format=json-render-diagnostics";
    let mut command = env.cargo(words.split(' '));
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`{}` failed", typed(&command));
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// Of cargo's messages the binaries whose targets are tests or programs.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let of_line = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        let target = message.get("target")?;
        let kind = target.get("kind")?.get(0)?.as_str()?;
        // The unit tests of a program have its name.
        let is_test = message.get("profile")?.get("test")?.as_bool()?;
        let name = target.get("name")?.as_str()?;
        (kind == "test" || (kind == "bin" && !is_test && name == PROGRAM)).then(|| (name.to_owned(), path))
    };
    messages.lines().filter_map(of_line).collect()
}

/// The binary without what only a debugger reads, which is most of it.
fn stripped(path: &Path) -> Result<Vec<u8>> {
    let short = std::env::temp_dir().join(format!("tcptrace-stripped-{}", std::process::id()));
    let done = capture(Command::new("strip").args(["--strip-debug", "-o"]).arg(&short).arg(path));
    let content = done.and_then(|_| read(&short));
    _ = fs::remove_file(short);
    content
}

/// The shared libraries of a program, and what loads them.
fn add_libraries(program: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for path in libraries(&capture(Command::new("ldd").arg(program))?) {
        if let Entry::Vacant(place) = files.entry(path) {
            let content = read(place.key())?;
            place.insert(content);
        }
    }
    Ok(())
}

/// `libc.so.6 => /lib/libc.so.6 (0x1)`, and `/lib64/ld.so (0x2)` without an arrow.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            let path = line.rsplit("=> ").next()?.split_whitespace().next()?;
            path.starts_with('/').then(|| path.into())
        })
        .collect()
}

/// All files under a directory, by their paths here.
fn add_tree(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            add_tree(&path, files)?;
        } else {
            let content = read(&path)?;
            files.insert(path, content);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{executables, libraries};
    use std::path::PathBuf;

    #[test]
    fn libraries_are_paths() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f1)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let expected = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(ldd), expected);
        assert!(libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn tests_and_the_program_are_found_in_the_messages_of_cargo() {
        let line = |name: &str, kind: &str, test: bool, path: &str| {
            format!(
                "{{\"target\":{{\"name\":\"{name}\",\"kind\":[\"{kind}\"]}},\"profile\":{{\"test\":{test}}},\
                 \"executable\":{path}}}\n"
            )
        };
        let messages = line("live", "test", true, "\"/t/live-1\"")
            + &line("tcptrace", "bin", true, "\"/t/unit-2\"")
            + &line("tcptrace", "bin", false, "\"/t/tcptrace\"")
            + &line("tcptrace", "lib", true, "\"/t/lib-3\"")
            + &line("aya", "lib", false, "null");
        let found: Vec<_> = executables(&messages).into_iter().collect();
        let expected = [("live", "/t/live-1"), ("tcptrace", "/t/tcptrace")];
        assert_eq!(found, expected.map(|(name, path)| (name.to_owned(), path.into())));
    }
}

//! Kernels of Debian's releases, from the mirror that apt is configured with.
//!
//! apt itself gets them, with lists of its own in target/kernels: so proxies and credentials are those of the system,
//! and nothing is taken whose signature or checksum is wrong.

use super::plan::Kernel;
use crate::shell::{capture, network_hint, say, typed};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A kernel on disk, ready to be started.
pub(super) struct Unpacked {
    /// `uname -r`
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// What belongs into `/lib/modules/RELEASE`: the modules for networking, not compressed, and depmod's files.
    pub(super) modules: PathBuf,
}

/// The kernel, from earlier or downloaded now.
pub(super) fn get(kernel: &Kernel, home: &Path) -> Result<Unpacked> {
    let place = home.join(kernel.suite);
    // Written last: with it everything is there.
    let marker = place.join("release");
    let release = if let Ok(release) = fs::read_to_string(&marker) {
        release
    } else {
        _ = fs::remove_dir_all(&place);
        let release = download(kernel, &place)
            .with_context(|| format!("no kernel {} from Debian's {}", kernel.name, kernel.suite))?;
        fs::write(&marker, &release)?;
        release
    };
    if !release.starts_with(kernel.starts) {
        bail!("Debian's {} has {release}, not {}: mend KERNELS in xtask", kernel.suite, kernel.name);
    }
    Ok(Unpacked { image: place.join("vmlinuz"), modules: place.join("modules"), release })
}

/// Returns the release.
fn download(kernel: &Kernel, place: &Path) -> Result<String> {
    let apt = Apt::new(kernel.suite, place)?;
    apt.update()?;
    let meta = "linux-image-cloud-amd64";
    let depends = apt.depends(meta)?;
    let image = depends
        .iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{meta} depends on no kernel: {}", depends.join(" ")))?;
    let release = image["linux-image-".len()..].to_owned();
    // Newer releases have the kernel and its modules in packages of their own.
    let parts = ["linux-binary-", "linux-modules-"].map(|part| format!("{part}{release}"));
    let mut packages = vec![image.clone()];
    packages.extend(apt.depends(image)?.into_iter().filter(|name| parts.contains(name)));
    say(format_args!("downloading {} of Debian's {} from {}", packages.join(" "), kernel.suite, apt.mirror));
    let root = place.join("root");
    for package in apt.download(&packages)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root))?;
        fs::remove_file(package)?;
    }
    // With or without a merged /usr.
    let modules = ["lib/modules", "usr/lib/modules"].map(|it| root.join(it).join(&release));
    let modules = modules.iter().find(|it| it.is_dir()).context("the package has no modules")?;
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.iter().find(|it| it.is_file()).context("the package has no kernel")?;
    fs::rename(image, place.join("vmlinuz"))?;
    select_modules(modules, &root, &place.join("modules"), &release)?;
    fs::remove_dir_all(root)?;
    fs::remove_dir_all(place.join("apt"))?;
    Ok(release)
}

/// apt with sources and lists of its own.
struct Apt {
    place: PathBuf,
    mirror: String,
}

impl Apt {
    fn new(suite: &str, place: &Path) -> Result<Self> {
        let place = place.join("apt");
        fs::create_dir_all(place.join("lists/partial"))?;
        fs::create_dir_all(place.join("cache/archives/partial"))?;
        let format = "--format=$(REPO_URI)\t$(LABEL)\t$(SIGNED_BY)";
        let targets =
            capture(Command::new("apt-get").args(["indextargets", format, "Created-By: Packages"]))?;
        let (mirror, key) = mirror(&targets).context(
            "apt knows no mirror of Debian: the system's sources name none, or run apt-get update",
        )?;
        fs::write(place.join("sources.list"), format!("deb {key}{mirror} {suite} main\n"))?;
        Ok(Self { place, mirror })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.place.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            // It may not be able to write here, and there is nothing to protect.
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "APT::Architecture=amd64".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.place);
        command
    }

    fn update(&self) -> Result<()> {
        // Without this a list that cannot be had is a warning.
        let mut command = self.command("apt-get");
        command.args(["-o", "APT::Update::Error-Mode=any", "--quiet=2", "update"]);
        run(&mut command)
    }

    /// The names of the packages that a package needs, the first of each choice.
    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown = capture(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        Ok(depends(&shown))
    }

    /// Where the packages are.
    fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        run(self.command("apt-get").args(["--quiet=2", "download"]).args(packages))?;
        let entries = fs::read_dir(&self.place)?.collect::<Result<Vec<_>, _>>()?;
        let debs = entries.iter().map(fs::DirEntry::path);
        Ok(debs.filter(|path| path.extension().is_some_and(|it| it == "deb")).collect())
    }
}

/// Of lines of address, label and key the address of Debian's own archive, and the option that names its key.
fn mirror(targets: &str) -> Option<(String, String)> {
    targets.lines().find_map(|line| {
        let [uri, label, key] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        // What apt has no value for it leaves as it stands. A key that is itself in the sources has several lines.
        let key = if key.starts_with('/') { format!("[signed-by={key}] ") } else { String::new() };
        (label == "Debian").then(|| (uri.to_owned(), key))
    })
}

/// `Depends: a (= 1), b | c` are `a` and `b`.
fn depends(shown: &str) -> Vec<String> {
    let line = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    line.split(", ").filter_map(|item| item.split_whitespace().next()).map(str::to_owned).collect()
}

/// Copies the modules that make networks, with what they depend on, from `all` to `place`.
fn select_modules(all: &Path, root: &Path, place: &Path, release: &str) -> Result<()> {
    let tree = all.parent().and_then(Path::parent).and_then(Path::parent).unwrap_or(root);
    depmod(tree, release)?;
    let dependencies = fs::read_to_string(all.join("modules.dep"))?;
    // depmod wants lib/modules/RELEASE above it.
    let new_tree = place.with_extension("tree");
    let new = new_tree.join("lib/modules").join(release);
    let mut packed = Vec::new();
    for module in selected(&dependencies) {
        let to = new.join(&module);
        fs::create_dir_all(to.parent().unwrap_or(&new))?;
        fs::copy(all.join(&module), &to).with_context(|| format!("cannot copy {module}"))?;
        if to.extension().is_some_and(|it| it == "xz") {
            packed.push(to);
        }
    }
    if !packed.is_empty() {
        run(Command::new("xz").arg("--decompress").args(packed))?;
    }
    // What is built in; not every release has all of them.
    for name in ["modules.builtin", "modules.builtin.modinfo"] {
        let from = all.join(name);
        if from.exists() {
            fs::copy(from, new.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    depmod(&new_tree, release)?;
    fs::rename(new, place)?;
    Ok(fs::remove_dir_all(new_tree)?)
}

fn depmod(tree: &Path, release: &str) -> Result<()> {
    run(Command::new("depmod").arg("--basedir").arg(tree).arg(release))
}

/// From lines such as `kernel/net/a.ko: kernel/lib/b.ko` those for networks that need no hardware, and all that
/// they need.
fn selected(dependencies: &str) -> BTreeSet<String> {
    const HARDWARE: [&str; 5] = ["ethernet/", "hyperv/", "vmxnet3/", "xen-", "phy/"];
    let wanted = |module: &str| {
        module.starts_with("kernel/net/")
            || module
                .strip_prefix("kernel/drivers/net/")
                .is_some_and(|rest| !HARDWARE.iter().any(|it| rest.starts_with(it)))
    };
    let lines = dependencies.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(module, _)| wanted(module))
        .flat_map(|(module, needs)| [module].into_iter().chain(needs.split_whitespace()))
        .map(str::to_owned)
        .collect()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| line.starts_with("E:")).or(said.lines().next_back());
    bail!(
        "`{}` failed: {}{}",
        // The options are long and always the same.
        typed(command).rsplit(" -o ").next().unwrap_or_default(),
        last.unwrap_or("it said nothing"),
        network_hint(&said)
    )
}

#[cfg(test)]
mod tests {
    use super::{depends, mirror, selected};

    #[test]
    fn the_mirror_is_that_of_debian_itself() {
        let targets = "https://other.example/\tOther\t$(SIGNED_BY)\n\
                       http://mirror.example/debian-security/\tDebian-Security\t/k.gpg\n\
                       http://mirror.example/debian/\tDebian\t/k.gpg\n";
        let (uri, key) = mirror(targets).expect("it is there");
        assert_eq!((uri.as_str(), key.as_str()), ("http://mirror.example/debian/", "[signed-by=/k.gpg] "));
        assert_eq!(
            mirror("http://m.example/\tDebian\t$(SIGNED_BY)\n"),
            Some(("http://m.example/".into(), String::new()))
        );
        assert_eq!(mirror("http://m.example/\tOther\t\n"), None);
    }

    #[test]
    fn dependencies_are_names() {
        let shown =
            "Package: a\nDepends: linux-base (= 7.2-1), linux-image-7.2-amd64 (= 7.2-1), x | y\nSize: 1\n";
        assert_eq!(depends(shown), ["linux-base", "linux-image-7.2-amd64", "x"]);
        assert!(depends("Package: a\n").is_empty());
    }

    #[test]
    fn modules_come_with_what_they_need() {
        let dependencies = "kernel/drivers/net/veth.ko:\n\
                            kernel/drivers/net/ethernet/intel/e1000.ko:\n\
                            kernel/net/netfilter/nf_tables.ko.xz: kernel/net/netfilter/nfnetlink.ko.xz kernel/lib/libcrc32c.ko.xz\n\
                            kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n";
        let names: Vec<_> = selected(dependencies).into_iter().collect();
        assert_eq!(
            names,
            [
                "kernel/drivers/net/veth.ko",
                "kernel/lib/libcrc32c.ko.xz",
                "kernel/net/netfilter/nf_tables.ko.xz",
                "kernel/net/netfilter/nfnetlink.ko.xz",
            ]
        );
    }
}

//! Kernels of Debian's releases, from the mirror that apt is configured with.

use super::{
    apt::{Apt, Release, run},
    arch::Arch,
    plan::Kernel,
};
use crate::shell::say;
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A kernel on disk, ready to be started.
pub(super) struct Unpacked {
    pub(super) arch: &'static Arch,
    /// `uname -r`
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// What belongs into `/lib/modules/RELEASE`: the modules for networking, not compressed, and depmod's files.
    pub(super) modules: PathBuf,
}

/// The kernel, from earlier or downloaded now.
pub(super) fn get(kernel: &Kernel, home: &Path) -> Result<Unpacked> {
    let place = home.join(kernel.place());
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
    Ok(Unpacked { arch: kernel.arch, image: place.join("vmlinuz"), modules: place.join("modules"), release })
}

/// Returns the release.
fn download(kernel: &Kernel, place: &Path) -> Result<String> {
    let apt = Apt::new(Release::Named(kernel.suite), kernel.arch, place)?;
    let meta = format!("linux-image-cloud-{}", kernel.arch.debian);
    let depends = apt.depends(&meta)?;
    let image = depends
        .iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{meta} depends on no kernel: {}", depends.join(" ")))?;
    let release = image["linux-image-".len()..].to_owned();
    // Newer releases have the kernel and its modules in packages of their own.
    let parts = ["linux-binary-", "linux-modules-"].map(|part| format!("{part}{release}"));
    let mut packages = vec![image.clone()];
    packages.extend(apt.depends(image)?.into_iter().filter(|name| parts.contains(name)));
    say(format_args!("downloading {} of Debian's {} from {}", packages.join(" "), kernel.suite, apt.mirrors));
    let root = place.join("root");
    apt.extract(&packages, &root)?;
    // With or without a merged /usr.
    let modules = ["lib/modules", "usr/lib/modules"].map(|it| root.join(it).join(&release));
    let modules = modules.iter().find(|it| it.is_dir()).context("the package has no modules")?;
    let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.iter().find(|it| it.is_file()).context("the package has no kernel")?;
    fs::rename(image, place.join("vmlinuz"))?;
    select_modules(modules, &root, &place.join("modules"), &release)?;
    fs::remove_dir_all(root)?;
    apt.finish()?;
    Ok(release)
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

#[cfg(test)]
mod tests {
    use super::selected;

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

//! Builds the kernel programs and puts the object where `kernel/load/object.rs` embeds it from.
#![expect(unsafe_code, reason = "setting an environment variable for the inner build")]

use anyhow::Context as _;
use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use std::{env, fs, path::Path, process::Command};

/// Names the rustup toolchain of the inner build; `cargo xtask` sets it, everybody else may.
const TOOLCHAIN: &str = "TCPTRACE_BPF_TOOLCHAIN";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tcptrace-ebpf");
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tcptrace-common");
    println!("cargo:rerun-if-changed={}", common.display());
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");

    let toolchain = env::var(TOOLCHAIN).unwrap_or_else(|_| detect());
    // The stable compilers of distributions need leave for the one unstable feature that aya-ebpf uses. Naming
    // that crate gives it to no other, and keeps aya-build from asking for -Z build-std, which `core` prebuilt
    // for BPF makes needless. A nightly ignores it.
    // SAFETY: this program has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf") };

    // aya-build passes the inner cargo's lines on as warnings; its warnings and errors are lines enough.
    // SAFETY: as above.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };

    // Debian's compiler has no cargo of its own. That rustup then takes another toolchain's, it says with each build; what
    // goes wrong it still says.
    if env::var_os("RUSTUP_LOG").is_none() {
        // SAFETY: as above.
        unsafe { env::set_var("RUSTUP_LOG", "error") };
    }

    let package = Package { name: "tcptrace-ebpf", root_dir: &root.to_string_lossy(), ..Package::default() };
    let built = aya_build::build_ebpf([package], Toolchain::Custom(&toolchain));
    if let Err(error) = built.and_then(|()| strip(&Path::new(&env::var("OUT_DIR")?).join("tcptrace"))) {
        println!(
            "cargo:error=the kernel programs did not build with the toolchain '{toolchain}': {}; \
             `cargo xtask setup` installs what is missing",
            one_line(&error)
        );
        std::process::exit(1);
    }
}

/// Removes the debug information: the linker makes BTF of it, which is what the kernel reads. It would be six sevenths of
/// the object, all of it looked at when the programs are loaded, and in memory from then on.
fn strip(object: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot take debug information out of {}", object.display());
    let data = fs::read(object).with_context(failed)?;
    let mut elf = Builder::read(&*data).with_context(failed)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // The linker keeps the names of sections and symbols together, the builder apart.
    let names = elf.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    elf.write(&mut stripped).with_context(failed)?;
    fs::write(object, stripped).with_context(failed)
}

/// `debian` (Debian's rustc-web, linked into rustup by `cargo xtask setup`) where it is there, else nightly.
fn detect() -> String {
    let linked = Command::new("rustup")
        .args(["run", "debian", "rustc", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if linked { "debian" } else { "nightly" }.to_owned()
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

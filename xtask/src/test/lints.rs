//! What is checked besides the tests: format, lints, documentation, dependencies.

use crate::{
    cargo::BuildEnv,
    deny, fuzz,
    shell::{capture, root},
    toolchain::Origin,
};
use anyhow::Result;
use std::process::Command;

/// A check by its name. Its command is made late, so that one that cannot be made is only one failed step.
pub(super) type Lint = (&'static str, fn(&BuildEnv) -> Result<Command>);

/// The check of the format needs no build.
pub(super) const FORMAT: Lint = ("format", |env| Ok(env.cargo(["fmt", "--all", "--check"])));

/// The others, the quickest first. They wait for the build of the tests, with which some of them share a target folder, and
/// then run beside tests that wait.
pub(super) const LINTS: [Lint; 6] = [
    ("dependencies", deny::command),
    ("clippy for the kernel programs", clippy_bpf),
    ("clippy", |env| {
        let words = "clippy --workspace --exclude tcptrace-ebpf --all-targets -- -D warnings";
        Ok(env.cargo(words.split(' ')))
    }),
    // Without what only tests need, whose features the workspace has on.
    ("clippy for what ships", |env| Ok(env.cargo("clippy --package tcptrace -- -D warnings".split(' ')))),
    ("documentation", |env| {
        let words = "doc --workspace --exclude tcptrace-ebpf --no-deps --document-private-items";
        let mut command = env.cargo(words.split(' '));
        command.env("RUSTDOCFLAGS", "-D warnings");
        Ok(command)
    }),
    ("fuzz targets", |env| Ok(fuzz::check(env))),
];

/// Clippy for the kernel programs must come with the compiler that has `core` for BPF: metadata of another version
/// cannot be read. Debian packages its clippy apart, a nightly builds `core` itself.
fn clippy_bpf(env: &BuildEnv) -> Result<Command> {
    let mut command = match (env.compiler.origin, env.compiler.rustup_name()) {
        (Origin::Debian, _) => Command::new("/usr/bin/cargo-clippy"),
        (Origin::Nightly, _) => Command::new("cargo-clippy"),
    };
    command.arg("clippy").env("PATH", &env.path).env_remove("CARGO").current_dir(root());
    match env.compiler.rustup_name() {
        Some(name) => command.env("RUSTUP_TOOLCHAIN", name),
        None => &mut command,
    };
    command.args(["--package", "tcptrace-ebpf", "--target", "bpfel-unknown-none"]);
    if env.compiler.origin == Origin::Nightly {
        command.args(["-Z", "build-std=core"]);
    }
    // Apart from target/debug, because another compiler fills it.
    command.args(["--target-dir", "target/clippy-bpf", "--", "-D", "warnings"]);
    let machine = capture(Command::new("uname").arg("-m"))?;
    command
        .env("RUSTC_BOOTSTRAP", "aya_ebpf")
        .env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", machine.trim()));
    Ok(command)
}

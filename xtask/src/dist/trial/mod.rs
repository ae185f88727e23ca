//! Tries what was made: the packages under a systemd of their own, from installation to purge, and the image in a container with
//! the rights that the `DaemonSet` gives it.

mod container;
mod package;
mod service;
mod system;

use super::place::Place;
use crate::{
    packages, setup,
    shell::{capture, is_root, say},
    subcommands::Subcommands,
};
use anyhow::{Result, bail};
use serde_json::Value;
use std::{fs, process::Stdio};

/// What makes systems and containers, and reads what Kubernetes gets.
const PACKAGES: [&str; 5] = ["mmdebstrap", "crun", "iproute2", "util-linux", "python3-venv"];
/// The check of manifests, by the schemas of Kubernetes that it brings along.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// A program in Perl that opens and closes one connection to itself. The names of a cgroup are looked up within a tenth of a second,
/// and it goes with its last process.
const CONNECT: &str = r#"use IO::Socket::INET;
$listener = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:8080", ReuseAddr => 1) or die;
$client = IO::Socket::INET->new("127.0.0.1:8080") or die;
$server = $listener->accept; close $client; close $server;
sleep 1;
"#;

/// Tries all of it.
pub(super) fn run(place: &Place, tools: &Subcommands) -> Result<()> {
    if !is_root() {
        bail!("packages are installed in a system of its own by root: run this as root");
    }
    packages::ensure(&PACKAGES, "the packages and the image are tried with them")?;
    manifests(place)?;
    package::debian(place, tools)?;
    package::rpm(place)?;
    container::run(place)
}

/// A connection that was told of, in a line for a person.
fn in_words(connection: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let end = |role: &str| format!("{}:{}", text(&connection[role]["ip"]), connection[role]["port"]);
    let unit = text(&connection["client_cgroup"]["unit"]);
    format!("connection {} > {} {} by {unit}", end("client"), end("server"), text(&connection["outcome"]))
}

/// The manifests are what Kubernetes takes.
fn manifests(place: &Place) -> Result<()> {
    let folder = place.root.join("target/tools/kubernetes");
    let validator = folder.join("bin/kubernetes-validate");
    if !validator.exists() {
        say(format_args!("installing {VALIDATOR} into {}", folder.display()));
        setup::run(place.command("python3").args(["-m", "venv"]).arg(&folder))?;
        setup::run(place.command(folder.join("bin/pip")).args(["install", "--quiet", VALIDATOR]))?;
    }
    let list = fs::read_to_string(place.root.join("packaging/kubernetes/kustomization.yaml"))?;
    let names = list.lines().filter_map(|line| line.strip_prefix("  - ")?.strip_suffix(".yaml"));
    for name in names {
        let file = place.root.join(format!("packaging/kubernetes/{name}.yaml"));
        let mut validate = place.command(&validator);
        validate.arg("--strict").arg(file).stderr(Stdio::inherit());
        capture(&mut validate)?;
    }
    Ok(())
}

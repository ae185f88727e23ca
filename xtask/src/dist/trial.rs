//! Tries what was made: the package in a Debian system of its own, from installation to purge, and the image in a container
//! with the rights that the `DaemonSet` gives it.

use super::{
    pack,
    place::{Place, empty},
    tools::Tools,
};
use crate::{
    packages, setup,
    shell::{capture, is_root, say, typed},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The release of Debian that the package is tried in.
const SUITE: &str = "bookworm";
/// What makes systems and containers, and reads what Kubernetes gets.
const PACKAGES: [&str; 5] = ["mmdebstrap", "crun", "iproute2", "util-linux", "python3-venv"];
/// The check of manifests, by the schemas of Kubernetes that it brings along.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// Folders in which dpkg and apt keep lists of their own, and those that are empty after each start of a system.
const BOOKS: [&str; 6] = ["/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/tmp", "/run"];

/// Tries all of it.
pub(super) fn run(place: &Place, tools: &Tools) -> Result<()> {
    if !is_root() {
        bail!("packages are installed in a system of its own by root: run this as root");
    }
    packages::ensure(&PACKAGES, "the packages and the image are tried with them")?;
    manifests(place)?;
    package(place, tools)?;
    container(place)
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

/// A Debian system in a folder.
struct System {
    root: PathBuf,
}

impl System {
    /// A new one. What it begins with is downloaded once.
    fn new(place: &Place) -> Result<Self> {
        let folder = place.root.join("target/trial");
        fs::create_dir_all(&folder)?;
        let base = folder.join(format!("{SUITE}.tar"));
        if !base.exists() {
            say(format_args!("downloading Debian {SUITE} into {}", base.display()));
            setup::run(
                place
                    .command("mmdebstrap")
                    .args(["--variant=apt", "--include=systemd", "--quiet", SUITE])
                    .arg(&base),
            )?;
        }
        let root = folder.join("root");
        empty(&root)?;
        setup::run(
            place.command("tar").arg("--extract").arg("--directory").arg(&root).arg("--file").arg(&base),
        )?;
        Ok(Self { root })
    }

    /// A command in it, with a network and processes of its own; nothing of that is left when it ends.
    fn command(&self, words: &[&str]) -> Command {
        const ENTER: &str = "mount -t proc proc \"$0/proc\" && mount --rbind /sys \"$0/sys\" && ip link set lo up \
                             && exec chroot \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c", ENTER]);
        command.arg(&self.root).args(words).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        command.env("SYSTEMD_COLORS", "0").env("SYSTEMD_URLIFY", "0");
        command
    }

    /// Runs it, prints it as it would be typed, and returns what it said.
    fn run(&self, words: &[&str]) -> Result<String> {
        say(format_args!("  # {}", words.join(" ")));
        capture(&mut self.command(words))
    }

    /// The paths of all files, but for the books of dpkg and the like.
    fn files(&self) -> Result<BTreeSet<String>> {
        let mut find = Command::new("find");
        let list = capture(find.arg(&self.root).args(["-xdev", "-printf", "/%P\\n"]))?;
        let booked = |path: &str| BOOKS.iter().any(|book| path.starts_with(book));
        Ok(list.lines().filter(|path| !booked(path)).map(str::to_owned).collect())
    }

    fn put(&self, file: &Path, name: &str) -> Result<()> {
        fs::copy(file, self.root.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        Ok(())
    }
}

/// What runs beside the service: one connection is opened and closed, and the service is ended when it has told of it.
/// The first words are the service's command.
const SERVE: &str = r#"
"$@" > /tmp/events 2> /tmp/notices &
pid=$!
tries=0
until grep -q tracing /tmp/notices; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || { cat /tmp/notices >&2; exit 1; }
    sleep 0.1
done
grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs|VmRSS|VmHWM):' /proc/$pid/status > /tmp/status
perl -MIO::Socket::INET -e '
    $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:8080") or die;
    $client = IO::Socket::INET->new("127.0.0.1:8080") or die;
    $server = $listener->accept; close $client; close $server'
tries=0
until grep -q '"outcome":"closed"' /tmp/events; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || { cat /tmp/events /tmp/notices >&2; exit 1; }
    sleep 0.1
done
kill -TERM $pid
wait $pid
"#;

/// From installation to purge.
fn package(place: &Place, tools: &Tools) -> Result<()> {
    let system = System::new(place)?;
    let older = place.root.join("target/trial/older.deb");
    pack::deb(place, tools, &format!("{}~before-1", place.version), &older)?;
    system.put(&older, "tmp/older.deb")?;
    system.put(&pack::deb_path(place), "tmp/newer.deb")?;
    system.put(&place.root.join("packaging/systemd/run-unit"), "tmp/run-unit")?;
    let before = system.files()?;

    say("beside Debian's package tcptrace:");
    beside_the_other(place, &system)?;

    say("from installation to purge:");
    system.run(&["apt-get", "--quiet=2", "install", "/tmp/older.deb"])?;
    let installed = system.files()?;
    say(format_args!("  {} files and folders more", installed.difference(&before).count()));
    ensure!(installed.contains("/usr/lib/systemd/system/tcptrace.service"), "the unit is not installed");
    let enabled = "/etc/systemd/system/multi-user.target.wants/tcptrace.service";
    ensure!(!installed.contains(enabled), "an installation enables the service");
    let settings = system.root.join("etc/tcptrace/tcptrace.toml");
    let changed = fs::read_to_string(&settings)? + "latency = \"50ms\"\n";
    fs::write(&settings, &changed)?;
    system.run(&["systemctl", "enable", "tcptrace"])?;

    system.run(&["apt-get", "--quiet=2", "install", "/tmp/newer.deb"])?;
    let version =
        system.run(&["dpkg-query", "--show", "--showformat=${Version} ${Status}", "tcptrace-ebpf"])?;
    ensure!(version == format!("{}-1 install ok installed", place.version), "after the upgrade: {version}");
    ensure!(fs::read_to_string(&settings)? == changed, "the upgrade changed the settings");
    ensure!(system.files()?.contains(enabled), "the upgrade disabled the service");

    let said = system.run(&["/usr/bin/tcptrace", "-V"])?;
    ensure!(said.contains(&place.version), "tcptrace -V says {said}");
    let unit = "/usr/lib/systemd/system/tcptrace.service";
    // There is no man(1), which would look for the pages that the unit names.
    system.run(&["systemd-analyze", "verify", "--man=no", unit])?;
    let rating = system.run(&["systemd-analyze", "security", "--offline=yes", unit])?;
    say(format_args!("    {}", rating.lines().next_back().unwrap_or_default().trim()));
    fs::write(system.root.join("tmp/serve"), SERVE)?;
    system.run(&["sh", "/tmp/serve", "/tmp/run-unit", unit])?;
    told(&system.root.join("tmp"))?;

    system.run(&["apt-get", "--quiet=2", "remove", "tcptrace-ebpf"])?;
    ensure!(!system.root.join("usr/bin/tcptrace").exists(), "the program is still there after removal");
    ensure!(settings.exists(), "removal took the settings, which a purge should");
    fs::create_dir_all(system.root.join("var/log/private/tcptrace"))?;
    system.run(&["apt-get", "--quiet=2", "purge", "tcptrace-ebpf"])?;
    let after = system.files()?;
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    ensure!(left.is_empty(), "after the purge these are left, or gone: {left:?}");
    ensure!(!system.root.join("var/log/private/tcptrace").exists(), "what the service wrote is left");
    say("  nothing is left");
    empty(&system.root)
}

/// The two packages exclude each other: dpkg refuses the second, and apt takes the first away and says so.
fn beside_the_other(place: &Place, system: &System) -> Result<()> {
    let folder = place.root.join("target/trial/other");
    empty(&folder)?;
    setup::run(Command::new("apt-get").args(["--quiet=2", "download", "tcptrace"]).current_dir(&folder))?;
    let other = fs::read_dir(&folder)?.next().context("apt downloaded nothing")??.path();
    system.put(&other, "tmp/other.deb")?;
    // Its library is not there, and it need not run.
    system.run(&["dpkg", "--install", "--force-depends", "/tmp/other.deb"])?;
    let mut ours = system.command(&["dpkg", "--install", "/tmp/newer.deb"]);
    let output =
        ours.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", typed(&ours)))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("conflict")).map(str::trim);
    ensure!(!output.status.success(), "dpkg installed both packages");
    say(format_args!("  # dpkg --install /tmp/newer.deb\n  {}", line.context("dpkg names no conflict")?));
    system.run(&["dpkg", "--purge", "tcptrace"])?;
    Ok(())
}

/// What a trace in that folder told: one connection that was closed, and that nothing was lost.
fn told(folder: &Path) -> Result<Value> {
    let events = fs::read_to_string(folder.join("events"))?;
    let events = events.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let of_kind = |kind: &str| events.iter().filter(|it| it["event"] == kind).collect::<Vec<_>>();
    let connections = of_kind("connection");
    let [connection] = &connections[..] else { bail!("it told of {} connections", connections.len()) };
    ensure!(connection["server"]["port"] == 8080 && connection["complete"] == true, "{connection}");
    let stats = of_kind("stats");
    ensure!(of_kind("start").len() == 1 && !stats.is_empty(), "the trace has no beginning or no end");
    ensure!(stats.iter().all(|it| it["records_lost"] == 0), "records were lost: {stats:?}");
    for line in fs::read_to_string(folder.join("status"))?.lines() {
        say(format_args!("    {line}"));
    }
    say(format_args!(
        "    connection {}:{} > {}:{} {}, cgroup {}",
        connection["client"]["ip"],
        connection["client"]["port"],
        connection["server"]["ip"],
        connection["server"]["port"],
        connection["outcome"],
        connection["client_cgroup"]
    ));
    Ok((*connection).clone())
}

/// The image, as the `DaemonSet` runs it: in namespaces of its own but for the network, with three capabilities, nothing
/// to write to, and the host's cgroups to read.
fn container(place: &Place) -> Result<()> {
    // The runtime wants a host with cgroups of the second version alone, and is shown one. The container is in a cgroup that
    // the client is not in.
    const ENTER: &str =
        "umount --lazy /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && ip link set lo up || exit 1
cgroups=/sys/fs/cgroup/tcptrace-trial
trap 'echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir $cgroups/* $cgroups' EXIT
mkdir -p $cgroups/container $cgroups/client.service
echo $$ > $cgroups/container/cgroup.procs";
    let folder = place.root.join("target/trial/container");
    empty(&folder)?;
    let bundle = folder.join("bundle");
    let image = format!("{}:{}", place.stage().join("image").display(), place.version);
    setup::run(place.command("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let path = bundle.join("config.json");
    let config = configured(serde_json::from_str(&fs::read_to_string(&path)?)?, place)?;
    fs::write(&path, serde_json::to_string_pretty(&config)?)?;
    say("in a container, with the rights that packaging/kubernetes/daemonset.yaml gives:");
    // The service's script runs outside of the container, in its network; what the container knows is its own.
    let name = format!("tcptrace-trial-{}", std::process::id());
    let script = SERVE
        .replace("/tmp/", &format!("{}/", folder.display()))
        .replace("kill -TERM $pid", &format!("crun kill {name} TERM"))
        .replace("perl -M", "echo $$ > $cgroups/client.service/cgroup.procs\nperl -M");
    let script = script.replace(
        "/proc/$pid/status",
        &format!("/proc/$(crun state {name} | sed -n 's/.*\"pid\": //p' | tr -d ,)/status"),
    );
    fs::write(folder.join("serve"), format!("{ENTER}\n{script}"))?;
    let mut command = place.command("unshare");
    command.args(["--mount", "--net", "--", "sh"]).arg(folder.join("serve"));
    command.args(["crun", "--cgroup-manager=disabled", "run", "--bundle"]);
    say(format_args!("  # crun run {name}"));
    capture(command.arg(&bundle).arg(&name))?;
    let connection = told(&folder)?;
    let unit = &connection["client_cgroup"]["unit"];
    ensure!(unit == "client.service", "the container sees another cgroup of the client: {unit}");
    Ok(())
}

/// The runtime's settings, with what the manifest says.
fn configured(mut config: Value, place: &Place) -> Result<Value> {
    let manifest = fs::read_to_string(place.root.join("packaging/kubernetes/daemonset.yaml"))?;
    let capabilities: Vec<String> = listed(&manifest, "add:")
        .context("the manifest adds no capabilities")?
        .map(|it| format!("CAP_{it}"))
        .collect();
    ensure!(manifest.contains("readOnlyRootFilesystem: true"), "the manifest lets the container write");
    ensure!(manifest.contains("privileged: false"), "the container is privileged");
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        // A runtime for Kubernetes gives no ambient ones: root needs none.
        config["process"]["capabilities"][set] =
            if set == "ambient" { json!([]) } else { json!(capabilities) };
    }
    config["process"]["terminal"] = json!(false);
    config["root"]["readonly"] = json!(true);
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup"];
    config["linux"]["namespaces"] = namespaces.map(|it| json!({ "type": it })).as_slice().into();
    let mounts = config["mounts"].as_array_mut().context("the runtime has no mounts")?;
    mounts.retain(|it| it["type"] != "sysfs");
    let bind = |from: &str, to: &str, kind: &str| json!({ "destination": to, "type": "bind", "source": from, "options": [kind, "ro"] });
    // As a runtime does it: the container's own view of the cgroups is what is at /sys/fs/cgroup.
    mounts.insert(0, bind("/sys", "/sys", "rbind"));
    mounts.push(bind("/sys/fs/cgroup", "/host/cgroup", "bind"));
    Ok(config)
}

/// The words of a list in brackets behind that key of a manifest.
fn listed<'a>(manifest: &'a str, key: &str) -> Option<impl Iterator<Item = &'a str>> {
    let list = manifest.lines().find_map(|line| line.trim().strip_prefix(key))?;
    Some(list.trim().strip_prefix('[')?.strip_suffix(']')?.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn a_list_of_a_manifest_is_read() {
        let list = |text: &'static str| listed(text, "add:").map(Iterator::collect::<Vec<_>>);
        assert_eq!(list("x:\n    add: [BPF, NET_ADMIN]\n"), Some(vec!["BPF", "NET_ADMIN"]));
        assert_eq!(list("drop: [ALL]\n"), None);
        assert_eq!(list("add:\n  - BPF\n"), None);
    }
}

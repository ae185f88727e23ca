//! The image in a container, with the rights that the `DaemonSet` gives it.

use super::{CONNECT, in_words};
use crate::{
    dist::place::{Place, empty},
    setup,
    shell::{capture, say},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// What runs beside the program, in its network and outside of its container: one connection is opened and closed, and the program
/// is ended when it has told of it. The words are a folder, the container's name, and what starts it.
///
/// The runtime wants a host with cgroups of the second version alone, and is shown one. The container is in a cgroup that the
/// client is not in.
const SERVE: &str = r#"
umount --lazy /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && ip link set lo up || exit 1
cgroups=/sys/fs/cgroup/tcptrace-trial
trap 'echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir $cgroups/* $cgroups' EXIT
mkdir -p $cgroups/container $cgroups/client.service
echo $$ > $cgroups/container/cgroup.procs
cd "$1" || exit 1
name=$2
shift 2
"$@" > events 2> notices &
runtime=$!
tries=0
until grep -q tracing notices; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || { cat notices >&2; exit 1; }
    sleep 0.1
done
pid=$(crun state "$name" | sed -n 's/.*"pid": //p' | tr -d ,)
grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs|VmRSS|VmHWM):' "/proc/$pid/status" > status
echo $$ > $cgroups/client.service/cgroup.procs
perl connect
tries=0
until grep -q '"outcome":"closed"' events; do
    tries=$((tries + 1)); [ $tries -lt 200 ] || { cat events notices >&2; exit 1; }
    sleep 0.1
done
crun kill "$name" TERM
wait $runtime
"#;

/// The image, as the `DaemonSet` runs it: in namespaces of its own but for the network, with three capabilities, nothing
/// to write to, and the host's cgroups to read.
pub(super) fn run(place: &Place) -> Result<()> {
    let folder = place.root.join("target/trial/container");
    empty(&folder)?;
    let bundle = folder.join("bundle");
    let image = format!("{}:{}", place.stage().join("image").display(), place.version);
    setup::run(place.command("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let path = bundle.join("config.json");
    let config = configured(serde_json::from_str(&fs::read_to_string(&path)?)?, place)?;
    fs::write(&path, serde_json::to_string_pretty(&config)?)?;
    say("in a container, with the rights that packaging/kubernetes/daemonset.yaml gives:");
    fs::write(folder.join("connect"), CONNECT)?;
    let name = format!("tcptrace-trial-{}", std::process::id());
    let mut command = place.command("unshare");
    command.args(["--mount", "--net", "--", "sh", "-c", SERVE, "serve"]).arg(&folder).arg(&name);
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
    say(format_args!("    {}", in_words(connection)));
    Ok((*connection).clone())
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

//! What is said of cgroups and of the containers that they stand for, and what is said where somebody else has their hooks.

use crate::{
    Test,
    owners::{connection, serve},
    roles::{Told, client, client_in},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::Duration,
};
use tcptrace_testing::{
    folder::Folder,
    lab::Host,
    stranger::Stranger,
    trace::{Trace, command, command_of, of_kind},
};

pub(crate) const TESTS: &[Test] = &[
    ("cgroups::that_comes_later", that_comes_later),
    ("cgroups::of_a_pod", of_a_pod),
    ("cgroups::of_the_first_version", of_the_first_version),
    ("cgroups::with_a_hook_that_is_taken", with_a_hook_that_is_taken),
];

/// A cgroup that is made for a test.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In the second version of the hierarchy.
    fn new(path: &str) -> Self {
        Self::within(&mounted(" - cgroup2 ").expect("the second version is mounted"), path)
    }

    fn within(root: &Path, path: &str) -> Self {
        let place = root.join(path);
        fs::create_dir_all(&place).expect("root may make one");
        Self(place)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended may still be there for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // As far as they are empty.
        let mut above = self.0.ancestors().skip(1);
        while above.next().is_some_and(|above| fs::remove_dir(above).is_ok()) {}
    }
}

/// Where the first file system is mounted whose line in the table of mounts contains this.
fn mounted(containing: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc");
    let line = mounts.lines().find(|line| line.contains(containing))?;
    Some(line.split(' ').nth(4).expect("a place").into())
}

/// The identifier of a container, and the path of its cgroup as Docker makes it with systemd.
fn container() -> (String, String) {
    let id = format!("{:064x}", process::id());
    let path = format!("tcptrace-test-{}.slice/docker-{id}.scope", process::id());
    (id, path)
}

/// Made while the trace runs, as that of a container is.
fn that_comes_later() {
    let host = Host::alone();
    let to = serve(&host);
    let (id, name) = container();
    let mut made = None;
    let event = connection(&host, &["--container", &id[..60]], || {
        let cgroup = made.insert(Cgroup::new(&name));
        Told::by(client_in(cgroup.path(), to))
    });
    drop(made);
    let path = format!("/{name}");
    let expected = json!({"path": path, "unit": format!("docker-{id}.scope"), "container": id, "pod": null});
    assert_eq!(event["client_cgroup"], expected, "{event}");
    // A container has a list of users of its own.
    assert_eq!(
        (&event["client_process"]["uid"], &event["client_process"]["user"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(event["server_cgroup"]["container"], Value::Null, "{event}");
}

/// As the kubelet makes it with systemd and containerd; the folder of the pod's logs comes before its first container.
fn of_a_pod() {
    let host = Host::alone();
    let to = serve(&host);
    let (id, logs) = (format!("{:064x}", process::id()), Folder::new());
    let uid = "6f2c9c4e-1f0a-4b7e-9a3b-2d1c0e9f8a7b";
    let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
    let name = format!("tcptrace-test-{}.slice/{slice}/cri-containerd-{id}.scope", process::id());
    let mut made = None;
    let option = format!("--pod-names={}", logs.display());
    let event = connection(&host, &[&option, "--container", &id[..60]], || {
        fs::create_dir(logs.join(format!("shop_web-0_{uid}"))).expect("a folder");
        let cgroup = made.insert(Cgroup::new(&name));
        Told::by(client_in(cgroup.path(), to))
    });
    drop(made);
    let client = &event["client_cgroup"];
    assert_eq!((&client["pod"], &client["pod_name"]), (&json!(uid), &json!("shop/web-0")), "{event}");
    assert_eq!(event["server_cgroup"].get("pod_name"), None, "{event}");
}

/// A hierarchy of the first version, mounted for a test where there is none yet.
struct FirstVersion {
    root: PathBuf,
    is_ours: bool,
}

impl FirstVersion {
    fn new() -> Self {
        if let Some(root) = mounted(" - cgroup ") {
            return Self { root, is_ours: false };
        }
        let root = std::env::temp_dir().join(format!("tcptrace-test-cgroup-{}", process::id()));
        fs::create_dir_all(&root).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "cgroup", "-o", "none,name=tcptrace-test", "none"]).arg(&root);
        assert!(mount.status().expect("mount runs").success(), "the kernel has the first version");
        Self { root, is_ours: true }
    }
}

impl Drop for FirstVersion {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = Command::new("umount").arg(&self.root).status();
            let _ = fs::remove_dir(&self.root);
        }
    }
}

/// A process that goes into it before it runs its program, as the first of a container does, and makes a client that ends at once.
fn of_the_first_version() {
    const SCRIPT: &str = "echo 0 > \"$0/cgroup.procs\" && exec sh -c 'sleep 1; \"$@\"; true' sh \"$@\"";
    let host = Host::alone();
    let to = serve(&host);
    let first = FirstVersion::new();
    let (id, name) = container();
    let cgroup = Cgroup::within(&first.root, &name);
    let event = connection(&host, &["--process"], || {
        let client = client(to);
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, cgroup.path()]);
        shell.arg(client.get_program()).args(client.get_args());
        shell.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Told::by(shell)
    });
    drop(cgroup);
    assert_eq!(event["client_cgroup"]["container"], id, "{event}");
    assert_eq!(event["client_cgroup"]["path"], format!("/{name}"), "{event}");
    assert_eq!(event["client_process"]["user"], Value::Null, "{event}");
    assert_eq!(event["server_cgroup"]["container"], Value::Null, "{event}");
}

/// Somebody has attached a program at a hook of the cgroups so that there can be no other. The tracer runs in a namespace whose
/// root of the cgroups is that one, as the root of the host is not for a test to take.
fn with_a_hook_that_is_taken() {
    let host = Host::alone();
    let to = serve(&host);
    let cgroup = Cgroup::new(&format!("tcptrace-test-taken-{}", process::id()));
    let stranger = Stranger::connect4("theirs");
    stranger.take_hook(cgroup.path());
    let tracer = command(&["-i", host.dev, "--process", "--json", "--events", "connection"]);
    let root = std::env::temp_dir().join(format!("tcptrace-test-taken-{}", process::id()));
    fs::create_dir_all(&root).expect("a folder to mount it at");
    let (at, program) = (root.to_str().expect("text"), tracer.get_program().to_str().expect("text"));
    // Where the host's hierarchy is mounted too, that is the one that a trace takes.
    let within = "echo 0 > \"$0/cgroup.procs\" && exec unshare --cgroup --mount sh -c \
        'umount -l \"$1\" && mount -t cgroup2 none \"$0\" && shift && exec \"$@\"' \"$@\"";
    let host_s = mounted(" - cgroup2 ").expect("the second version is mounted");
    let host_s = host_s.to_str().expect("text");
    let arguments: Vec<_> = tracer.get_args().map(|it| it.to_str().expect("text")).collect();
    let arguments = [&["-c", within, cgroup.path(), at, host_s, program], &arguments[..]].concat();
    let mut trace = Trace::spawn(&host, &mut command_of("sh", &arguments));
    trace.wait_until_attached();
    host.ns.enter(|| Told::by(client(to)));
    trace.wait_for_connections(1);
    let report = trace.stop();
    fs::remove_dir(&root).expect("the mount ended with its namespace");
    let events = report.events();
    let event = of_kind(&events, "connection").next().expect("one");
    assert_eq!((&event["client_process"]["pid"], &event["client_process"]["uid"]), (&Value::Null, &json!(0)));
    let said: Vec<_> = report.stderr.lines().filter(|line| line.contains("processes are")).collect();
    let [said] = said[..] else { panic!("{}", report.stderr) };
    assert!(
        said.contains("a program of somebody else's is attached where tcptrace_connect4 would be"),
        "{said}"
    );
}

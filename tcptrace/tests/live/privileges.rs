//! Who may trace: an ordinary user with a few capabilities, each of which is needed; and what is said without them.

use crate::{
    lab::{Family, Host, Lab},
    netns::{has_tcx, kernel_is},
    stranger::Stranger,
    trace::{Report, Trace, binary, command_of, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use aya::programs::{TcAttachType, XdpMode};
use serde_json::Value;
use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// A user whom nobody knows.
const USER: &str = "54321";
/// What tracing needs, as setpriv(1) calls them.
const NEEDED: [&str; 3] = ["bpf", "net_admin", "perfmon"];

/// The program where everybody may execute it: where the build is, others may not be let in.
pub(super) struct Installed {
    folder: PathBuf,
}

impl Installed {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("tcptrace-privileges-{}-{number}", process::id()));
        fs::create_dir(&folder).expect("a folder can be made");
        fs::copy(binary(), folder.join("tcptrace")).expect("it can be copied");
        Self { folder }
    }

    /// Where it is, and what else a test puts there.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self) -> String {
        self.folder.join("tcptrace").to_str().expect("text").to_owned()
    }

    /// The program run by an ordinary user who has just these capabilities, and can never have others than `bound`.
    fn by_user(&self, capabilities: &[&str], bound: &[&str], args: &[&str]) -> Command {
        let set = |option: &str, capabilities: &[&str]| {
            capabilities.iter().fold(format!("--{option}=-all"), |set, it| format!("{set},+{it}"))
        };
        let mut words = vec![
            "setpriv".to_owned(),
            format!("--reuid={USER}"),
            format!("--regid={USER}"),
            "--clear-groups".to_owned(),
            set("inh-caps", capabilities),
            set("ambient-caps", capabilities),
            set("bounding-set", bound),
            self.path(),
        ];
        words.extend(args.iter().map(|&arg| arg.to_owned()));
        if !kernel_is(5, 11) {
            // BPF memory is locked memory there.
            words.splice(..0, ["prlimit", "--memlock=unlimited"].map(str::to_owned));
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        command_of(words[0], &words[1..])
    }

    /// The same, who cannot get any others.
    fn with(&self, capabilities: &[&str], args: &[&str]) -> Command {
        self.by_user(capabilities, capabilities, args)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts it in a host's namespace, and waits until it traces.
fn start(host: &Host, command: &mut Command) -> Trace {
    let mut trace = Trace::spawn(host, command);
    trace.wait_until_attached();
    trace
}

/// A line of a process' status.
pub(super) fn status(trace: &Trace, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", trace.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("{field} is in {status}")).trim().to_owned()
}

/// Ends a trace that has seen this connection; it is reported once, closed.
pub(super) fn assert_saw(trace: Trace, flow: Flow) -> Vec<Value> {
    trace.wait_for_connections(1);
    let events = trace.stop().events();
    let outcomes: Vec<_> = of_kind(&events, "connection")
        .filter(|event| flow_of(event) == flow)
        .map(|event| event["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["closed"], "{flow}: {events:#?}");
    events
}

/// It ended with one line on standard error, and that has all of these and none of those.
fn assert_refused(report: &Report, words: &[&str], others: &[&str]) {
    assert_eq!(report.status.code(), Some(1), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "one line: {}", report.stderr);
    for word in words {
        assert!(report.stderr.contains(word), "{word:?} is in {:?}", report.stderr);
    }
    for word in others {
        assert!(!report.stderr.contains(word), "{word:?} is not in {:?}", report.stderr);
    }
    assert!(report.lines.is_empty(), "stdout has events only: {:?}", report.lines);
}

#[test]
fn an_ordinary_user_with_three_capabilities_traces() {
    let (installed, lab) = (Installed::new(), Lab::new());
    for args in [&[][..], &["--ingress", "xdp"], &["--decap"], &["portrange", "1-65535"]] {
        let args = [&["-i", lab.a.dev, "--json"], args].concat();
        let trace = start(&lab.a, &mut installed.with(&NEEDED, &args));
        assert_eq!(status(&trace, "Uid:"), [USER; 4].join("\t"));
        let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        let events = assert_saw(trace, flow);
        // The kernel's statistics are the one thing that takes CAP_SYS_ADMIN.
        assert_eq!(last_stats(&events)["cost"]["kernel_packets_timed"], Value::Null);
        lab.a.assert_nothing_attached();
    }
    let host = Host::alone();
    let trace = start(&host, &mut installed.with(&NEEDED, &["-i", "any", "--json"]));
    let flow = drive(Kind::ServerCloses, &host, &host, Family::V6);
    assert_saw(trace, flow);
    host.assert_nothing_attached();
}

/// Whoever may trace may ask what is there, but for the names of programs, which are told to `CAP_SYS_ADMIN` alone.
#[test]
fn an_ordinary_user_with_three_capabilities_checks() {
    let (installed, lab) = (Installed::new(), Lab::new());
    let check = |line: &str| {
        let report = Trace::spawn(&lab.a, &mut installed.with(&NEEDED, &["check", "-i", lab.a.dev])).end();
        let said = report.lines.join("\n");
        assert_eq!((report.status.code(), &*report.stderr), (Some(0), ""), "{said}");
        assert!(said.contains(line), "{line} is in\n{said}");
    };
    check("is there      nothing");
    let mut xdp = Stranger::xdp("their_xdp", 2);
    xdp.link_xdp(&lab.a.ns, lab.a.dev, XdpMode::Driver);
    check("XDP native: (its name is told to CAP_SYS_ADMIN alone)");
    if has_tcx() {
        let mut tcx = Stranger::tc("their_tcx", 0);
        tcx.link(&lab.a.ns, lab.a.dev, TcAttachType::Egress);
        check("TCX egress: (its name is told to CAP_SYS_ADMIN alone)");
    }
}

#[test]
fn a_binary_with_file_capabilities_traces_for_everybody() {
    let (installed, lab) = (Installed::new(), Lab::new());
    let output = Command::new("setcap")
        .args(["cap_bpf,cap_net_admin,cap_perfmon+ep", &installed.path()])
        .output()
        .unwrap_or_else(|error| panic!("cannot run setcap: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let args = ["-i", lab.a.dev, "--json"];
    let trace = start(&lab.a, &mut installed.by_user(&[], &NEEDED, &args));
    assert_eq!(status(&trace, "Uid:"), [USER; 4].join("\t"));
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V6);
    assert_saw(trace, flow);
    lab.a.assert_nothing_attached();
}

#[test]
fn each_missing_capability_is_named_with_what_it_is_for() {
    let (installed, lab) = (Installed::new(), Lab::new());
    let names = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"];
    let purposes = ["to make maps", "to load programs that see packets", "for the verifier"];
    let path = installed.path();
    let to_do = ["sudo", "setcap cap_bpf,cap_net_admin,cap_perfmon+ep", &path];
    for hook in ["tc", "xdp"] {
        let args = ["-i", lab.a.dev, "--ingress", hook];
        for left_out in 0..NEEDED.len() {
            let others = |all: [&'static str; 3]| -> Vec<_> {
                (0..all.len()).filter(|it| *it != left_out).map(|it| all[it]).collect()
            };
            let report = Trace::spawn(&lab.a, &mut installed.with(&others(NEEDED), &args)).end();
            let said = [&[names[left_out], purposes[left_out], "missing"][..], &to_do].concat();
            assert_refused(&report, &said, &others(names));
        }
        let report = Trace::spawn(&lab.a, &mut installed.with(&[], &args)).end();
        assert_refused(&report, &[&names[..], &purposes, &to_do].concat(), &[]);
    }
    lab.a.assert_nothing_attached();
}

#[test]
fn files_and_lists_take_no_capability() {
    let (installed, lab) = (Installed::new(), Lab::new());
    // A pcap file without packets (Ethernet, microseconds).
    let mut empty =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
    // And one packet, of zeros.
    empty.extend([0; 8]);
    empty.extend([16, 0, 0, 0, 16, 0, 0, 0]);
    empty.extend([0; 16]);
    let mut reading = installed.with(&[], &["-r", "-", "--json"]);
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let trace = Trace::spawn(&lab.a, reading.stdin(reader));
    drop(reading);
    writer.write_all(&empty).expect("it reads");
    drop(writer);
    let events = trace.end().events();
    assert_eq!(last_stats(&events)["packets"], 1);

    let report = Trace::spawn(&lab.a, &mut installed.with(&[], &["-D"])).end();
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.lines.iter().any(|line| line.contains("\ttt0\t")), "{:?}", report.lines);
    let report = Trace::spawn(&lab.a, &mut installed.with(&[], &["schema"])).end();
    assert!(report.status.success() && report.lines.len() > 10, "{}", report.stderr);
}

#[test]
fn another_namespace_takes_one_capability_more() {
    let (installed, lab, outside) = (Installed::new(), Lab::new(), Host::alone());
    let path = lab.a.ns.path();
    let args = ["--netns", &path, "-i", lab.a.dev, "--json"];
    // It stands for the three others, too.
    let trace = start(&outside, &mut installed.with(&["sys_admin", "net_admin"], &args));
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    let events = assert_saw(trace, flow);
    assert!(last_stats(&events)["cost"]["kernel_packets_timed"].as_u64() > Some(0));
    let report = Trace::spawn(&outside, &mut installed.with(&NEEDED, &args)).end();
    assert_refused(&report, &["enter network namespace", &path, "CAP_SYS_ADMIN missing", "setcap"], &[]);
    lab.a.assert_nothing_attached();
}

#[test]
fn a_trace_has_no_socket_but_those_to_the_kernel() {
    let (lab, host) = (Lab::new(), Host::alone());
    for args in [&["-i", "tt0"][..], &["-i", "any"], &["--netns", &host.ns.path(), "-i", "lo"]] {
        let trace = start(&lab.a, &mut command_of(binary(), args));
        let process = format!("/proc/{}", trace.id());
        let targets = fs::read_dir(format!("{process}/fd")).expect("it runs").map(|fd| {
            // One that was closed meanwhile is nowhere.
            fs::read_link(fd.expect("it runs").path()).unwrap_or_default().to_string_lossy().into_owned()
        });
        let table = |name: &str| fs::read_to_string(format!("{process}/net/{name}")).expect("its namespace");
        let mut found = 0;
        for inode in targets.filter_map(|it| Some(it.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        {
            let is_in = |name: &str| {
                table(name).lines().any(|line| line.split_whitespace().any(|word| word == inode))
            };
            for name in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"] {
                assert!(!is_in(name), "{args:?}: a socket of {name}");
            }
            // The runtime's pair for signals has no name.
            let named = table("unix").lines().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.get(6) == Some(&&*inode) && words.len() > 7
            });
            assert!(!named, "{args:?}: a socket with a name");
            found += 1;
        }
        assert!(found > 0, "{args:?}: it hears of interfaces");
        assert!(trace.stop().status.success());
    }
}

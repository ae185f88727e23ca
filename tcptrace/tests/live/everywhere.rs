//! `--all-netns`. Each test is in a world of its own, where no namespace of another test can be found: it would be
//! traced, and that test would see it.

#![expect(clippy::print_stdout, reason = "a figure, for who runs it with --nocapture")]

use crate::{
    interfaces::take_off,
    lab::{Family, Host, assert_no_link_is_left, eventually, programs_on},
    netns::{Netns, has_tcx, kernel_is},
    stranger::Stranger,
    trace::{Report, Trace, binary, command, command_of, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use aya::programs::XdpMode;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    net::Ipv4Addr,
    process::{Child, Command},
    time::Instant,
};

/// The index of several devices, each in another namespace.
const SAME: &str = "7";

/// Runs the test of this name again, and only it, with processes, mounts and a network of its own, and there `body`.
fn in_a_world(test: &str, body: impl FnOnce()) {
    const WITHIN: &str = "TCPTRACE_TEST_WORLD";
    /// Namespaces that others have mounted, and a place for ours. One that goes meanwhile, with a test beside this one, cannot be
    /// unmounted and need not be.
    const CLEAR: &str = "set -e
        named() { awk '$4 ~ /^net:/ { print $5 }' /proc/self/mountinfo; }
        named | while read -r at; do umount -l \"$at\" || true; done
        test -z \"$(named)\"
        mkdir -p /run/netns
        mount -t tmpfs tcptrace /run/netns";
    if env::var_os(WITHIN).is_some() {
        let cleared = Command::new("sh").args(["-c", CLEAR]).status().expect("a program of every system");
        assert!(cleared.success());
        return body();
    }
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"])
        .arg(env::current_exe().expect("it runs"))
        .args(["--exact", test, "--nocapture"])
        .env(WITHIN, "1")
        .output()
        .expect("a program of every system");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    let [printed, errors] = &said;
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}\n{errors}");
    println!("{printed}");
}

/// What its interfaces are called after.
fn name(ns: &Netns) -> String {
    ns.path().rsplit('/').next().expect("a path").to_owned()
}

/// Traces everything from the namespace of `from`.
fn start(from: &Host, args: &[&str]) -> Trace {
    let mut trace = Trace::spawn(from, &mut command(&[&["--json", "--all-netns"], args].concat()));
    trace.wait_until_attached();
    trace
}

/// Two hosts with a router between. Three of the four devices have the same index.
struct Equal {
    client: Host,
    router: Netns,
    server: Host,
}

impl Equal {
    fn new() -> Self {
        let host = |net| Host::new(Netns::new(), "eth0", Ipv4Addr::new(10, 125, net, 1));
        let lab = Self { client: host(1), router: Netns::new(), server: host(2) };
        for (host, port, net, index) in [(&lab.client, "r1", 1, SAME), (&lab.server, "r2", 2, "8")] {
            let peer = ["peer", "name", port, "index", index, "netns", &name(&lab.router)];
            host.ns.ip(&[&["link", "add", "eth0", "index", SAME, "type", "veth"][..], &peer].concat());
            for (ns, dev, n) in [(&host.ns, "eth0", 1), (&lab.router, port, 254)] {
                ns.ip(&["addr", "add", &format!("10.125.{net}.{n}/24"), "dev", dev]);
                ns.ip(&["link", "set", dev, "up"]);
            }
            host.ns.ip(&["route", "add", "default", "via", &format!("10.125.{net}.254")]);
        }
        lab.router.enter(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may set it"));
        lab
    }

    /// Interface to vantage.
    fn vantages(&self) -> BTreeMap<String, &'static str> {
        BTreeMap::from([
            (format!("{}/eth0", name(&self.client.ns)), "client"),
            (format!("{}/r1", name(&self.router)), "middle"),
            (format!("{}/r2", name(&self.router)), "middle"),
            (format!("{}/eth0", name(&self.server.ns)), "server"),
        ])
    }
}

/// The connection events of a flow, by interface.
fn by_interface(events: &[Value], flow: Flow) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    for event in of_kind(events, "connection").filter(|event| flow_of(event) == flow) {
        let interface = event["interface"].as_str().expect("a name").to_owned();
        assert_eq!(found.insert(interface, event), None, "once an interface: {event:#}");
    }
    found
}

/// Nothing of a tracer's is on the devices.
fn assert_nothing_on(places: &[(&Netns, &str)]) {
    for (ns, dev) in places {
        eventually(&format!("nothing is attached to {dev}"), || {
            let found = programs_on(ns, dev);
            if found.is_empty() { Ok(()) } else { Err(found.join(", ")) }
        });
    }
}

#[test]
fn equal_indexes_and_addresses_in_several_namespaces_are_told_apart() {
    in_a_world("everywhere::equal_indexes_and_addresses_in_several_namespaces_are_told_apart", || {
        const TIMES: usize = 20;
        let (lab, outside) = (Equal::new(), Host::alone());
        let trace = start(&outside, &[]);
        let flows: Vec<_> =
            (0..TIMES).map(|_| drive(Kind::ClientCloses, &lab.client, &lab.server, Family::V4)).collect();
        let own = drive(Kind::ClientCloses, &outside, &outside, Family::V4);
        trace.wait_for_connections(4 * TIMES + 1);
        let events = trace.stop().events();
        for flow in flows {
            let found = by_interface(&events, flow);
            let vantages: BTreeMap<_, _> = found
                .iter()
                .map(|(interface, event)| (interface.clone(), event["vantage"].as_str().unwrap_or("null")))
                .collect();
            assert_eq!(vantages, lab.vantages());
            for event in found.values() {
                assert_eq!(
                    (&event["outcome"], &event["complete"]),
                    (&"closed".into(), &true.into()),
                    "{event:#}"
                );
                // The third segment and the last acknowledgement are known by the pending table alone.
                for time in
                    ["syn_to_established_ns", "syn_to_synack_ns", "synack_to_ack_ns", "second_fin_to_ack_ns"]
                {
                    assert!(event[time].is_u64(), "{time} of {event:#}");
                }
            }
        }
        let own = by_interface(&events, own);
        assert_eq!(own.keys().collect::<Vec<_>>(), ["lo"], "the tracer's own has no prefix");
        let router = &lab.router;
        assert_nothing_on(&[
            (&lab.client.ns, "eth0"),
            (router, "r1"),
            (router, "r2"),
            (&lab.server.ns, "eth0"),
        ]);
    });
}

#[test]
fn programs_that_are_taken_off_in_one_namespace_are_named_and_the_others_traced_on() {
    const TEST: &str =
        "everywhere::programs_that_are_taken_off_in_one_namespace_are_named_and_the_others_traced_on";
    in_a_world(TEST, || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let trace = start(&outside, &[]);
        take_off(&lab.client.ns, "eth0");
        let blind = format!("{}/eth0", name(&lab.client.ns));
        trace.wait_for_notice(&format!("somebody has taken the programs off {blind}"));
        let flow = drive(Kind::ClientCloses, &lab.client, &lab.server, Family::V4);
        trace.wait_for_connections(3);
        // Namespaces that end take their programs along, whether or not that is heard before it is looked for them.
        drop(lab);
        let report = trace.stop();
        assert_eq!(report.stderr.matches("taken the programs off").count(), 2, "{}", report.stderr);
        let events = report.events();
        assert_eq!(last_stats(&events)["interfaces_taken_off"], 1);
        let found = by_interface(&events, flow);
        assert!(found.len() == 3 && !found.contains_key(&blind), "{found:#?}");
    });
}

/// A process in a namespace that has no name.
struct Nameless(Child);

impl Nameless {
    fn new() -> Self {
        let mut unshare = Command::new("unshare");
        let child = unshare.args(["--net", "sleep", "600"]).spawn().expect("a program of every system");
        let here = fs::read_link("/proc/self/ns/net").expect("every process has one");
        let there = format!("/proc/{}/ns/net", child.id());
        eventually("it is in a namespace of its own", || match fs::read_link(&there) {
            Ok(net) if net != here => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Self(child)
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        // It is ours, and has nothing to say.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn namespaces_are_followed_as_they_come_and_go_and_not_kept() {
    in_a_world("everywhere::namespaces_are_followed_as_they_come_and_go_and_not_kept", || {
        let outside = Host::new(Netns::new(), "out0", Ipv4Addr::new(10, 77, 9, 1));
        let trace = start(&outside, &[]);
        let inside = Host::new(Netns::new(), "eth0", Ipv4Addr::new(10, 77, 9, 2));
        outside.ns.veth("out0", &inside.ns, "eth0", 9);
        inside.wait_until_attached_to("eth0");
        outside.wait_until_attached_to("out0");
        let flow = drive(Kind::ClientCloses, &inside, &outside, Family::V4);
        trace.wait_for_connections(2);
        let called = name(&inside.ns);
        // Nobody is in it: without its name it is nobody's, and a pair does not outlive one of its ends.
        drop(inside);
        let links = || outside.ns.ip(&["-o", "link"]);
        eventually("a namespace that was traced is gone", || {
            let links = links();
            if links.contains("out0") { Err(links) } else { Ok(()) }
        });

        let nameless = Nameless::new();
        let pid = nameless.0.id().to_string();
        outside.ns.ip(&["link", "add", "out0", "type", "veth", "peer", "name", "eth0", "netns", &pid]);
        outside.ns.ip(&["addr", "add", "10.77.9.1/24", "dev", "out0"]);
        outside.ns.ip(&["link", "set", "out0", "up"]);
        let within = ["-t", &pid, "-n", "sh", "-c", "ip addr add 10.77.9.2/24 dev eth0; ip link set eth0 up"];
        assert!(Command::new("nsenter").args(within).status().expect("it starts").success());
        outside.wait_until_attached_to("out0");
        let prefix = format!("pid:{pid}/eth0");
        eventually("a namespace without a name is traced", || {
            // Refused, and so at an end at once.
            let within = ["-t", &pid, "-n", "bash", "-c", "exec 3<>/dev/tcp/10.77.9.1/81"];
            let _ = Command::new("nsenter").args(within).output().expect("it starts");
            if trace.count(|line| line.contains(&prefix)) > 0 { Ok(()) } else { Err(String::new()) }
        });
        drop(nameless);
        eventually("it is gone with its process", || {
            let links = links();
            if links.contains("out0") { Err(links) } else { Ok(()) }
        });
        let events = trace.stop().events();
        let found: BTreeSet<_> = by_interface(&events, flow).into_keys().collect();
        assert_eq!(found, BTreeSet::from([format!("{called}/eth0"), "out0".to_owned()]));
    });
}

#[test]
fn interfaces_of_a_name_are_traced_in_every_namespace_that_has_one() {
    in_a_world("everywhere::interfaces_of_a_name_are_traced_in_every_namespace_that_has_one", || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let trace = start(&outside, &["-i", "eth0"]);
        let flow = drive(Kind::ServerCloses, &lab.client, &lab.server, Family::V4);
        trace.wait_for_connections(2);
        let events = trace.stop().events();
        let expected: Vec<_> = lab.vantages().into_keys().filter(|it| it.ends_with("/eth0")).collect();
        assert_eq!(by_interface(&events, flow).into_keys().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn the_interfaces_of_all_namespaces_are_listed() {
    in_a_world("everywhere::the_interfaces_of_all_namespaces_are_listed", || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let report = Trace::spawn(&outside, &mut command(&["-D", "--all-netns"])).end();
        let listed: Vec<_> = report.lines.iter().filter_map(|line| line.split('\t').nth(1)).collect();
        for interface in lab.vantages().keys().map(String::as_str).chain(["lo"]) {
            assert_eq!(listed.iter().filter(|it| **it == interface).count(), 1, "{interface} in {listed:?}");
        }
        assert!(report.status.success() && listed[0] == "lo", "{listed:?}: {}", report.stderr);
    });
}

/// What a check finds, as text or JSON, whose one line the caller reads.
fn check(from: &Host, args: &[&str]) -> String {
    let report = Trace::spawn(from, &mut command(&[&["check", "--all-netns"], args].concat())).end();
    let said = report.lines.join("\n");
    assert_eq!((report.status.code(), &*report.stderr), (Some(0), ""), "{said}");
    said
}

/// The interfaces that a check is about.
fn checked(from: &Host, args: &[&str]) -> BTreeSet<String> {
    let report: Value = serde_json::from_str(&check(from, &[args, &["--json"]].concat())).expect("JSON");
    let interfaces = report["interfaces"].as_array().expect("a list");
    interfaces.iter().map(|it| it["interface"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_check_is_about_all_that_a_trace_takes() {
    in_a_world("everywhere::a_check_is_about_all_that_a_trace_takes", || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let text = check(&outside, &[]);
        let report: Value = serde_json::from_str(&check(&outside, &["--json"])).expect("JSON");
        // Beside those of the lab and the own one there is that of the test.
        assert_eq!(report["all_netns"], json!({"traced": 5, "hidden_processes": 0, "left_out": []}));
        assert!(report["programs"]["tcptrace_tc_egress"].is_u64() || !kernel_is(5, 16), "{report:#}");
        assert_eq!((&report["netns"], &report["problems"]), (&Value::Null, &json!([])));
        assert!(
            text.contains("\nnetwork namespaces: a trace takes 5, and those that come later\n"),
            "{text}"
        );
        let veth = format!("\n{}/eth0: Ethernet, up, driver veth, MTU 1500", name(&lab.client.ns));
        assert!(text.contains(&veth) && text.ends_with("\nok: a trace can begin"), "{text}");
        assert_nothing_on(&[(&lab.client.ns, "eth0"), (&lab.router, "r1"), (&outside.ns, "lo")]);

        let said = start(&outside, &[]).stop().stderr;
        let tracing = said.lines().find_map(|line| line.strip_prefix("tcptrace: tracing ")).expect(&said);
        let traced = tracing.split(';').next().expect("a list").split(", ");
        let traced: BTreeSet<_> = traced.map(|it| it.trim_end_matches(" (TC)").to_owned()).collect();
        assert_eq!(checked(&outside, &[]), traced);
        let named = [&lab.client, &lab.server].map(|host| format!("{}/eth0", name(&host.ns)));
        assert_eq!(checked(&outside, &["-i", "eth0"]), BTreeSet::from(named));
        // A trace would wait for one.
        let text = check(&outside, &["-i", "eth7"]);
        assert!(text.ends_with("\nok: a trace can begin, on no interface yet"), "{text}");
    });
}

#[test]
fn a_check_leaves_out_what_a_trace_of_all_leaves_out() {
    in_a_world("everywhere::a_check_leaves_out_what_a_trace_of_all_leaves_out", || {
        const WITHOUT: &str = "--bounding-set=-sys_ptrace";
        let (lab, outside) = (Equal::new(), Host::alone());
        let mut stranger = Stranger::xdp("their_xdp", 2);
        stranger.link_xdp(&lab.client.ns, "eth0", XdpMode::Driver);
        let args = ["--all-netns", "--ingress", "xdp"];
        let run = |args: &[&str]| {
            Trace::spawn(&outside, &mut command_of("setpriv", &[&[WITHOUT, binary()], args].concat()))
        };
        let mut trace = run(&args);
        trace.wait_until_attached();
        let said = trace.stop().stderr;
        let report = run(&[&["check"], &args[..]].concat()).end();
        let text = report.lines.join("\n");
        assert!(report.status.success() && text.ends_with("\nok: a trace can begin"), "{text}");
        let left_out = format!("interface {}/eth0 is not traced: an XDP program", name(&lab.client.ns));
        for begins in [&*left_out, "processes that may not be looked at: "] {
            let line = |text: &str| {
                let mut lines = text.lines().map(|line| line.trim_start_matches("tcptrace: "));
                lines.find(|line| line.starts_with(begins)).expect(text).to_owned()
            };
            assert_eq!(line(&text), line(&said));
        }
    });
}

#[test]
fn what_a_trace_of_all_lacks_a_check_says_too() {
    let outside = Host::alone();
    let said = |args: &[&str]| {
        let args = [&["--bounding-set=-net_broadcast", binary()], args, &["--all-netns"]].concat();
        let report = Trace::spawn(&outside, &mut command_of("setpriv", &args)).end();
        assert_eq!((report.status.code(), report.lines.len()), (Some(1), 0), "{}", report.stderr);
        report.stderr
    };
    let lacks = said(&["check"]);
    assert!(
        lacks.starts_with(
            "tcptrace: not permitted to trace all network namespaces: CAP_NET_BROADCAST missing"
        )
    );
    assert_eq!(lacks, said(&[]));
}

#[test]
fn when_killed_nothing_is_left_in_any_namespace() {
    in_a_world("everywhere::when_killed_nothing_is_left_in_any_namespace", || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let places =
            [(&lab.client.ns, "eth0"), (&lab.router, "r1"), (&lab.router, "r2"), (&outside.ns, "lo")];
        let mounts = || fs::read_to_string("/proc/self/mounts").expect("it is there");
        let before = mounts();
        let trace = start(&outside, &[]);
        for (ns, dev) in places {
            assert_ne!(programs_on(ns, dev), Vec::<String>::new(), "{dev}");
        }
        assert_eq!(mounts(), before, "nothing is mounted");
        trace.signal(Signal::KILL);
        let _: Report = trace.end();
        for (ns, dev) in places {
            assert_no_link_is_left(ns, dev);
        }
        assert_eq!(mounts(), before);
    });
}

/// The programs that a process has descriptors of.
#[derive(Debug, PartialEq, Eq)]
struct Loaded {
    /// Those that look at packets.
    whole: usize,
    /// The few instructions by which a TCX link gets to one of them.
    gates: usize,
}

impl Loaded {
    fn by(trace: &Trace) -> Self {
        /// What the kernel keeps at least, which is room for some hundred instructions.
        const PAGE: usize = 4096;
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", trace.id())).expect("it runs");
        // One that is closed meanwhile is none.
        let said = descriptors.filter_map(|it| fs::read_to_string(it.expect("it runs").path()).ok());
        let size = |said: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix("memlock:"));
            line.expect("a program has a size").trim().parse::<usize>().expect("a number")
        };
        let sizes: Vec<_> = said.filter(|said| said.contains("prog_type:")).map(|said| size(&said)).collect();
        let whole = sizes.iter().filter(|size| **size > PAGE).count();
        // On clsact the small one is that which tells that the tracer is alive.
        Self { whole, gates: if has_tcx() { sizes.len() - whole } else { 0 } }
    }
}

/// Waits until a process has just these.
fn wait_until_loaded(trace: &Trace, expected: &Loaded) {
    eventually("no other programs are loaded than expected", || {
        let loaded = Loaded::by(trace);
        if loaded == *expected { Ok(()) } else { Err(format!("{loaded:?} instead of {expected:?}")) }
    });
}

#[test]
fn the_programs_are_loaded_once_for_all_other_namespaces_and_for_those_that_come_later() {
    const TEST: &str =
        "everywhere::the_programs_are_loaded_once_for_all_other_namespaces_and_for_those_that_come_later";
    in_a_world(TEST, || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let trace = start(&outside, &[]);
        let before = Loaded::by(&trace);
        // In and out for all others; with TCX one more for what comes in on the loopback device of the tracer's own, and for each
        // of the lab's namespaces two gates. In that of the test its loopback device may be up, too.
        assert_eq!(before.whole, if has_tcx() { 3 } else { 2 });
        assert!(!has_tcx() || (6..=7).contains(&before.gates), "{before:?}");
        let later = Equal::new();
        for host in [&later.client, &later.server] {
            host.wait_until_attached_to("eth0");
        }
        let more = if has_tcx() { 6 } else { 0 };
        wait_until_loaded(&trace, &Loaded { whole: before.whole, gates: before.gates + more });
        // Both have the same addresses, and devices of the same index.
        let flows = [&lab, &later].map(|lab| drive(Kind::ClientCloses, &lab.client, &lab.server, Family::V4));
        trace.wait_for_connections(8);
        drop(later);
        wait_until_loaded(&trace, &before);
        let events = trace.stop().events();
        let whole = of_kind(&events, "connection").filter(|event| event["outcome"] == "closed");
        let interfaces: Vec<_> =
            whole.filter(|event| flows.contains(&flow_of(event))).map(|it| &it["interface"]).collect();
        assert_eq!(interfaces.len(), 8, "{interfaces:?}");
        assert_eq!(interfaces.into_iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), 8);
    });
}

#[test]
fn with_xdp_each_namespace_has_programs_of_its_own() {
    in_a_world("everywhere::with_xdp_each_namespace_has_programs_of_its_own", || {
        let (lab, outside) = (Equal::new(), Host::alone());
        let trace = start(&outside, &["--ingress", "xdp", "-i", "eth0"]);
        // One of XDP and one for what goes out, on the devices of that name.
        assert_eq!(Loaded::by(&trace).whole, 4);
        let flow = drive(Kind::ClientCloses, &lab.client, &lab.server, Family::V4);
        trace.wait_for_connections(2);
        let events = trace.stop().events();
        for event in by_interface(&events, flow).values() {
            assert_eq!(
                (&event["outcome"], &event["complete"]),
                (&"closed".into(), &true.into()),
                "{event:#}"
            );
        }
    });
}

#[test]
fn fifty_namespaces_are_traced_at_once() {
    in_a_world("everywhere::fifty_namespaces_are_traced_at_once", || {
        const PAIRS: u8 = 25;
        let outside = Host::alone();
        let pairs: Vec<_> = (0..PAIRS)
            .map(|net| {
                let [a, b] = [1, 2].map(|n| Host::new(Netns::new(), "eth0", Ipv4Addr::new(10, 77, net, n)));
                a.ns.veth("eth0", &b.ns, "eth0", net);
                (a, b)
            })
            .collect();
        let began = Instant::now();
        let trace = start(&outside, &[]);
        let took = began.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", trace.id())).expect("it runs");
        let memory = status.lines().find(|line| line.starts_with("VmRSS")).expect("every process has it");
        println!("{} namespaces: attached after {took:?}, {memory}", 2 * PAIRS);
        let flows: Vec<_> = pairs.iter().map(|(a, b)| drive(Kind::ClientCloses, a, b, Family::V4)).collect();
        trace.wait_for_connections(2 * flows.len());
        let events = trace.stop().events();
        for (flow, (a, b)) in flows.into_iter().zip(&pairs) {
            let found: BTreeSet<_> = by_interface(&events, flow).into_keys().collect();
            assert_eq!(
                found,
                BTreeSet::from([a, b].map(|host| format!("{}/eth0", name(&host.ns)))),
                "{flow}"
            );
        }
    });
}

//! `tcptrace check`: what it says is there, what a trace would attach, its exit status; and that it attaches nothing.

use crate::{
    lab::{Host, Lab},
    netns::{has_tcx, kernel_is},
    stranger::Stranger,
    trace::{Report, Trace, binary, command, command_of},
};
use aya::programs::{
    TcAttachType::{Egress, Ingress},
    XdpMode,
};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::{Command, Stdio},
};

fn check(host: &Host, args: &[&str]) -> Report {
    Trace::spawn(host, &mut command(&[&["check"], args].concat())).end()
}

/// It ended with this status and said nothing on stderr; what it said.
fn said(report: &Report, status: i32) -> String {
    assert_eq!(report.status.code(), Some(status), "{}\n{}", report.lines.join("\n"), report.stderr);
    assert_eq!(report.stderr, "");
    report.lines.join("\n")
}

fn json(host: &Host, args: &[&str], status: i32) -> Value {
    let text = said(&check(host, &[args, &["--json"]].concat()), status);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// One failed line on stderr, and nothing on stdout.
fn assert_fails(report: &Report, status: i32, words: &[&str]) {
    assert_eq!(report.status.code(), Some(status), "{}", report.stderr);
    assert_eq!(report.stderr.lines().count(), 1, "{}", report.stderr);
    assert!(words.iter().all(|word| report.stderr.contains(word)), "{}", report.stderr);
    assert_eq!(report.lines, [""; 0]);
}

/// How TC programs are attached here.
fn tc() -> &'static str {
    if has_tcx() { "TCX" } else { "clsact" }
}

/// The kernel tells what XDP a driver has.
fn tells_of_xdp() -> bool {
    kernel_is(6, 3)
}

#[test]
fn a_quiet_interface_is_told_in_full_and_nothing_is_attached() {
    let lab = Lab::new();
    // Of which kernels have other defaults.
    lab.a.ns.run("ethtool", &["-K", "tt0", "rxvlan", "off", "gro", "on"]);
    let text = said(&check(&lab.a, &["-i", "tt0"]), 0);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux tells");
    let tcx = if has_tcx() { "TCX links, " } else { "" };
    let kernel = format!("kernel {}: ring buffer, {tcx}XDP links", release.trim());
    assert!(text.starts_with(&kernel), "{text}");
    // What it lacks comes behind: TCX before 6.6, BTF where it was built without.
    let has = text.lines().next().and_then(|line| line.split("; without ").next());
    assert!(has.is_some_and(|has| has.ends_with(", JIT")), "{text}");
    assert!(text.contains("\nprograms: the kernel takes tcptrace_tc_egress"), "{text}");
    let begin = text.find("\ntt0: ").expect("the interface");
    let of_interface: Vec<_> = text[begin..].trim().lines().collect();
    let tc = tc();
    let ours = [
        format!("  a trace adds  {tc} ingress: tcptrace_tc_ingress, before all others"),
        format!("                {tc} egress: tcptrace_tc_egress, before all others"),
    ];
    let veth = "the peer is without segmentation offload while it is there, which halves bulk throughput";
    let mut expected = vec![
        "tt0: Ethernet, up, driver veth, MTU 1500, queues 1 in and 1 out",
        "  offloads      VLAN in off, VLAN out on, LRO off, GRO on, GRO_HW off, TSO on, GSO on",
        "  qdiscs        noqueue",
        "  is there      nothing",
        &ours[0],
        &ours[1],
    ];
    let (unknown, native) = (
        "  native XDP    this kernel does not tell whether the driver has it (6.3 and newer do)",
        [format!("  native XDP    {veth}"), format!("                {veth}")],
    );
    if tells_of_xdp() {
        expected.push(&native[0]);
    } else {
        expected.extend([unknown, &native[1]]);
    }
    let tags = "                VLAN tags are not told of and tell no connections apart: the device may take them off before \
                XDP sees the packet";
    expected.extend([tags, "", "ok: a trace can begin"]);
    assert_eq!(of_interface, expected);
    lab.a.assert_nothing_attached();
}

#[test]
fn what_is_there_is_told_with_hook_name_and_number() {
    let lab = Lab::new();
    let (ns, dev) = (&lab.a.ns, lab.a.dev);
    let mut filter = Stranger::tc("their_filter", 0);
    ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    filter.filter(ns, dev, Egress, 7);
    let mut xdp = Stranger::xdp("their_xdp", 2);
    xdp.link_xdp(ns, dev, XdpMode::Skb);
    let mut expected = vec![json!({"hook": "XDP generic", "program": "their_xdp", "id": xdp.info().id()})];
    let mut tcx = Stranger::tc("their_tcx", 0);
    if has_tcx() {
        tcx.link(ns, dev, Ingress);
        expected.push(json!({"hook": "TCX ingress", "program": "their_tcx", "id": tcx.info().id()}));
    }
    let id = filter.info().id();
    expected.push(json!({"hook": "clsact egress", "program": "their_filter", "id": id, "priority": 7}));
    let before = lab.a.programs();
    let report = json(&lab.a, &["-i", "tt0"], 0);
    let interface = &report["interfaces"][0];
    assert_eq!(interface["programs"], Value::from(expected), "{interface:#}");
    assert_eq!(interface["qdiscs"], json!(["noqueue", "clsact"]));
    let tc = tc();
    assert_eq!(
        interface["would_attach"],
        json!([
            {"hook": format!("{tc} ingress"), "program": "tcptrace_tc_ingress"},
            {"hook": format!("{tc} egress"), "program": "tcptrace_tc_egress"},
        ])
    );
    let text = said(&check(&lab.a, &["-i", "tt0"]), 0);
    let line = format!("clsact egress: their_filter (program {id}), priority 7");
    assert!(text.contains(&line), "{line} is in\n{text}");
    assert_eq!(lab.a.programs(), before);
}

/// Without TCX a filter of another kind that has the first priority cannot be got before.
#[test]
fn whether_ours_would_be_first_is_said() {
    let lab = Lab::new();
    let (ns, dev) = (&lab.a.ns, lab.a.dev);
    ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    let all = ["pref", "1", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1"];
    ns.tc(&[&["filter", "add", "dev", dev, "egress"], &all[..]].concat());
    let interface = json(&lab.a, &["-i", dev], 0)["interfaces"][0].clone();
    let theirs = json!([{"hook": "clsact egress", "program": "u32", "priority": 1}]);
    assert_eq!(interface["programs"], theirs, "its table is no filter");
    let ours = &interface["would_attach"];
    let behind = if has_tcx() { Value::Null } else { "u32".into() };
    assert_eq!((&ours[0]["behind"], &ours[1]["behind"]), (&Value::Null, &behind), "{ours:#}");
    let text = said(&check(&lab.a, &["-i", dev]), 0);
    let place =
        if has_tcx() { "before all others" } else { "behind a filter (u32) that has the first priority" };
    assert!(text.contains(&format!("egress: tcptrace_tc_egress, {place}")), "{text}");
}

#[test]
fn an_xdp_program_in_the_way_is_a_problem_for_xdp_only() {
    for (name, whose) in
        [("xdp_dispatcher", "libxdp's dispatcher is there"), ("their_xdp", "a program is there")]
    {
        let lab = Lab::new();
        let mut stranger = Stranger::xdp(name, 2);
        stranger.link_xdp(&lab.a.ns, lab.a.dev, XdpMode::Driver);
        let text = said(&check(&lab.a, &["-i", "tt0"]), 0);
        let id = stranger.info().id();
        assert!(text.contains(&format!("is there      XDP native: {name} (program {id})")), "{text}");
        assert!(text.contains(&format!("native XDP    is refused: {whose}")), "{text}");
        let text = said(&check(&lab.a, &["-i", "tt0", "--ingress", "xdp"]), 1);
        assert!(text.contains("\nproblem: an XDP program is already on tt0"), "{text}");
        assert!(text.ends_with("not ok: a trace would fail"), "{text}");
        let report = json(&lab.a, &["-i", "tt0", "--ingress", "xdp"], 1);
        assert_eq!(report["ok"], false);
        assert_eq!(report["interfaces"][0]["problems"].as_array().map(Vec::len), Some(1), "{report:#}");
        let ours = report["interfaces"][0]["would_attach"][0]["hook"].as_str();
        assert_eq!(ours, Some(if tells_of_xdp() { "XDP native" } else { "XDP" }));
    }
}

/// What a trace would load is what is tried.
#[test]
fn the_programs_that_look_into_tunnels_are_verified_where_these_are_asked_for() {
    let host = Host::alone();
    let walked = |args: &[&str]| {
        let report = json(&host, &[&["-i", "lo"], args].concat(), 0);
        report["programs"]["tcptrace_tc_ingress"].as_u64()
    };
    let (plain, tunnels) = (walked(&[]), walked(&["--decap", "--ring-size", "64K"]));
    // Kernels before 5.16 do not say.
    assert!(plain.is_none() || plain < tunnels, "{plain:?}, {tunnels:?}");
    let report = check(&host, &["-i", "lo", "--ring-size", "5K"]);
    assert!(report.stderr.contains("5K") && report.status.code() == Some(2), "{}", report.stderr);
    host.assert_nothing_attached();
}

#[test]
fn on_loopback_one_hook_is_enough_and_xdp_is_not_used() {
    let host = Host::alone();
    let report = json(&host, &["-i", "lo", "--ingress", "xdp"], 0);
    let interface = &report["interfaces"][0];
    let hooks = json!([{"hook": format!("{} egress", tc()), "program": "tcptrace_tc_egress"}]);
    assert_eq!(interface["would_attach"], hooks, "{interface:#}");
    assert_eq!((&interface["mtu"], &interface["driver"]), (&65536.into(), &Value::Null));
    let native = interface["native_xdp"].to_string();
    assert!(native.contains("loopback has no driver") && !native.contains("VLAN"), "{native}");
    host.assert_nothing_attached();
}

#[test]
fn what_would_make_a_trace_fail_is_said_and_the_status_is_1() {
    let lab = Lab::new();
    lab.a.ns.ip(&["link", "set", "tt0", "mtu", "9000"]);
    let text = said(&check(&lab.a, &["-i", "tt0"]), 0);
    assert!(text.contains("MTU 9000: drivers refuse it where a packet does not fit a page"), "{text}");
    assert!(text.contains("VLAN tags are not told of and tell no connections apart"), "{text}");
    lab.a.ns.ip(&["link", "set", "tt0", "down"]);
    let text = said(&check(&lab.a, &["-i", "tt0"]), 1);
    assert!(text.contains("tt0: Ethernet, down,"), "{text}");
    assert!(text.contains("\nproblem: interface tt0 is down: ip link set tt0 up\n"), "{text}");
    // Of several one is enough.
    let report = json(&lab.a, &["-i", "lo", "-i", "tt0"], 1);
    assert_eq!(report["interfaces"].as_array().map(Vec::len), Some(2));
    // Of all those that are up are meant.
    let report = json(&lab.a, &["-i", "any"], 0);
    assert_eq!(report["interfaces"][0]["interface"], "lo");
    lab.a.ns.ip(&["link", "set", "lo", "down"]);
    let report = json(&lab.a, &["-i", "any"], 1);
    assert!(report["problems"][0].as_str().is_some_and(|it| it.contains("no interface is up")), "{report:#}");
}

/// What a trace says of the interface that it leaves out, as a line; and it goes on as that.
fn left_out_by_trace(host: &Host, args: &[&str], dev: &str, tracing: &str) -> String {
    let mut trace = Trace::spawn(host, &mut command(args));
    trace.wait_until_attached();
    let Report { stderr, .. } = trace.stop();
    assert!(stderr.contains(tracing), "{stderr}");
    let start = format!("tcptrace: interface {dev} is not traced: ");
    let line = stderr.lines().find(|line| line.starts_with(&start));
    format!("\n{}\n", line.and_then(|line| line.strip_prefix("tcptrace: ")).expect(&stderr))
}

/// With `-i any` what cannot be attached to is left out, and the trace begins, on no interface if need be.
#[test]
fn of_all_interfaces_one_that_cannot_be_traced_is_left_out_as_a_trace_does_it() {
    let lab = Lab::new();
    let mut stranger = Stranger::xdp("their_xdp", 2);
    stranger.link_xdp(&lab.a.ns, lab.a.dev, XdpMode::Driver);
    let args = ["-i", "any", "--ingress", "xdp"];
    for (tracing, verdict) in [
        ("tracing lo (TC)", "\nok: a trace can begin"),
        ("tracing no interface yet", "\nok: a trace can begin, on no interface yet"),
    ] {
        let left_out = left_out_by_trace(&lab.a, &args, "tt0", tracing);
        let text = said(&check(&lab.a, &args), 0);
        assert!(text.contains(&left_out), "{left_out} is in\n{text}");
        assert!(text.ends_with(verdict) && !text.contains("problem: "), "{text}");
        let report = json(&lab.a, &args, 0);
        assert_eq!(report["ok"], true);
        let interfaces = report["interfaces"].as_array().expect("a list");
        let it = interfaces.iter().find(|it| it["interface"] == "tt0").expect("it is up");
        assert_eq!((&it["would_attach"], it["problems"].as_array().map(Vec::len)), (&json!([]), Some(1)));
        lab.a.ns.ip(&["link", "set", "lo", "down"]);
    }
}

/// On clsact there is room for more.
#[test]
fn a_hook_that_takes_no_more_programs_is_a_problem() {
    const MOST: u16 = 63;
    let lab = Lab::new();
    let (ns, dev) = (&lab.a.ns, lab.a.dev);
    if !has_tcx() {
        ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    }
    let add = |stranger: &mut Stranger, side, nth: u16| {
        if has_tcx() {
            stranger.link(ns, dev, side);
        } else {
            stranger.filter(ns, dev, side, 100 + nth);
        }
    };
    let mut strangers: Vec<_> = (0..MOST).map(|_| Stranger::tc("their_tcx", -1)).collect();
    for (nth, stranger) in (1..MOST).zip(&mut strangers) {
        add(stranger, Ingress, nth);
        add(stranger, Egress, nth);
    }
    said(&check(&lab.a, &["-i", dev]), 0);
    drop(Trace::start(&lab.a, &[]).stop());
    for (side, called) in [(Egress, "egress"), (Ingress, "ingress")] {
        add(&mut strangers[usize::from(MOST) - 1], side, MOST);
        if !has_tcx() {
            said(&check(&lab.a, &["-i", dev]), 0);
            continue;
        }
        let problem = format!("as many TCX programs are on {dev} for {called} as the kernel allows, {MOST}");
        assert_fails(&Trace::spawn(&lab.a, &mut command(&["-i", dev])).end(), 1, &[&problem, "take one off"]);
        let text = said(&check(&lab.a, &["-i", dev]), 1);
        assert!(text.contains(&format!("\nproblem: {problem}")), "{text}");
        let rows = text.matches("their_tcx").count();
        assert_eq!(rows, usize::from(if called == "egress" { 2 * MOST - 1 } else { 2 * MOST }), "{text}");
    }
    if has_tcx() {
        let left_out = left_out_by_trace(&lab.a, &["-i", "any"], dev, "tracing lo (TC);");
        let text = said(&check(&lab.a, &["-i", "any"]), 0);
        assert!(text.contains(&left_out), "{left_out} is in\n{text}");
    }
}

/// Any octets but a few are a name to the kernel (`net/core/dev.c`, `dev_valid_name`).
#[test]
fn an_interface_whose_name_is_no_text_hides_no_other() {
    let (host, name) = (Host::alone(), OsStr::from_bytes(b"\xff\xfe"));
    let ip = |before: &[&str], after: &[&str]| {
        let status = host.ns.enter(|| Command::new("ip").args(before).arg(name).args(after).status());
        assert!(status.is_ok_and(|it| it.success()), "{before:?} {after:?}");
    };
    ip(&["link", "add"], &["type", "veth", "peer", "name", "tt9"]);
    ip(&["link", "set"], &["up"]);
    let (args, shown) = (["-i", "any"], "\u{fffd}\u{fffd}");
    let text = said(&check(&host, &args), 0);
    assert!(text.ends_with("\nok: a trace can begin"), "{text}");
    let report = json(&host, &args, 0);
    assert_eq!(report["interfaces"][0]["interface"], "lo");
    let interface = &report["interfaces"][1];
    assert_eq!((&interface["interface"], &interface["driver"]), (&shown.into(), &"veth".into()));
    assert_eq!(
        (&interface["unknown"], interface["would_attach"].as_array().map(Vec::len)),
        (&json!({}), Some(2))
    );
    let mut trace = Trace::spawn(&host, &mut command(&args));
    trace.wait_until_attached();
    let report = trace.stop();
    assert!(report.stderr.contains(&format!("tracing lo (TC), {shown} (TC);")), "{}", report.stderr);
}

#[test]
fn an_interface_whose_name_would_act_on_a_terminal_is_named_with_numbers() {
    let host = Host::alone();
    let name = "e\u{1b}[31mx";
    host.ns.ip(&["link", "add", name, "type", "veth", "peer", "name", "tt9"]);
    let text = said(&check(&host, &["-i", name]), 1);
    assert!(text.contains("\ne\\u{1b}[31mx: Ethernet, down"), "{text:?}");
    assert!(text.contains("\nproblem: interface e\\u{1b}[31mx is down"), "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(json(&host, &["-i", name], 1)["interfaces"][0]["interface"], name);
}

/// There the capabilities are of no use for BPF, not even to ask (kernel/bpf/syscall.c, `bpf_prog_query`).
#[test]
fn what_a_user_namespace_may_not_ask_is_not_told_as_a_fact() {
    let host = Host::alone();
    let check = |args: &[&str]| {
        let args = [&["-Urn", binary(), "check", "-i", "lo"], args].concat();
        said(&Trace::spawn(&host, &mut command_of("unshare", &args)).end(), 1)
    };
    let report: Value = serde_json::from_str(&check(&["--json"])).expect("JSON");
    let (kernel, interface) = (&report["kernel"], &report["interfaces"][0]);
    assert_eq!((&kernel["tcx_links"], &kernel["jit"]), (&Value::Null, &Value::Null), "{kernel:#}");
    assert_ne!(kernel["ring_buffer"], false, "all kernels that we run on have it");
    assert_eq!(interface["programs"], json!([]), "{interface:#}");
    let why = interface["unknown"]["TCX programs"].as_str().expect("a reason");
    assert!(why.starts_with("Operation not permitted"), "{why}");
    assert_eq!(interface["would_attach"][0]["hook"], "TC egress", "by whatever way");
    let text = check(&[]);
    let first = text.lines().next().expect("the kernel");
    let (known, unknown) = first.split_once("; unknown: ").expect(first);
    assert!(unknown.contains("TCX links") && unknown.ends_with("JIT"), "{first}");
    assert!(!known.contains("TCX links") && !known.contains("without ring buffer"), "{first}");
    assert!(text.contains(&format!("\n  is there      TCX programs: unknown ({why})\n")), "{text}");
    assert!(text.contains("\n  a trace adds  TC egress: tcptrace_tc_egress\n"), "{text}");
    assert!(text.contains("\nproblem: the kernel refuses BPF although"), "{text}");
}

/// Neither the verifier's fault nor ours.
#[test]
fn too_many_open_files_are_called_that_wherever_they_are_met() {
    let host = Host::alone();
    let with = |limit: u32, args: &[&str]| {
        let limit = format!("--nofile={limit}:{limit}");
        Trace::spawn(&host, &mut command_of("prlimit", &[&[&limit, binary()], args].concat()))
    };
    let assert_said = |said: &str| {
        assert!(said.contains("Too many open files") && said.contains("(ulimit -n 1024)"), "{said}");
        assert!(!said.contains("rejected") && !said.contains("report"), "{said}");
    };
    let (mut limit, mut met) = (5, String::new());
    // A file that is never there: nothing is traced where all could be opened.
    let args = ["-i", "lo", "--ingress", "tc", "-w", "/nonexistent/file"];
    while let said = with(limit, &args).end().stderr
        && !said.contains("/nonexistent/file")
    {
        assert!(limit < 64 && said.lines().count() == 1, "{limit}: {said}");
        assert_said(&said);
        (limit, met) = (limit + 1, met + &said);
    }
    assert!(met.contains("cannot load tcptrace_tc_egress: "), "{met}");
    // Check needs fewer.
    for limit in 5..limit {
        let report = with(limit, &["check", "-i", "lo"]).end();
        if !report.status.success() {
            let said = report.lines.join("\n");
            assert!(said.ends_with("not ok: a trace would fail") && report.stderr.is_empty(), "{said}");
            assert_said(&said);
        }
    }
}

#[test]
fn another_namespace_is_looked_at_from_outside() {
    let lab = Lab::new();
    let (here, there) = (Host::alone(), lab.a.ns.path());
    let report = json(&here, &["-i", "tt0", "--netns", &there], 0);
    assert_eq!(
        (&report["netns"], &report["interfaces"][0]["driver"]),
        (&there.as_str().into(), &"veth".into())
    );
    let report = check(&here, &["-i", "tt7", "--netns", &there]);
    assert_fails(&report, 1, &["no such interface: tt7", "did you mean tt0", &there]);
}

#[test]
fn what_makes_looking_pointless_is_one_line_on_stderr() {
    let lab = Lab::new();
    assert_fails(&check(&lab.a, &["-i", "tt7"]), 1, &["no such interface: tt7"]);
    assert_fails(&check(&lab.a, &[]), 1, &["no default route", "-i"]);
    assert_fails(&check(&lab.a, &["-i", "tt0", "--netns", "nowhere"]), 1, &["no such network namespace"]);
    for args in
        [&["-i"][..], &["--nonsense"], &["-i", "any", "-i", "lo"], &["--ingress", "nic"], &["port 80"]]
    {
        let report = check(&lab.a, args);
        assert_eq!(report.status.code(), Some(2), "{args:?}: {}", report.stderr);
        assert!(
            report.stderr.starts_with("error: ") && report.lines.is_empty(),
            "{args:?}: {}",
            report.stderr
        );
    }
    let directory = std::env::temp_dir().join(format!("tcptrace-check-{}", std::process::id()));
    // Where the build is, others may not be let in.
    fs::create_dir(&directory).expect("a directory can be made");
    let copy = directory.join("tcptrace");
    fs::copy(binary(), &copy).expect("it can be copied");
    let mut nobody = Command::new(&copy);
    nobody.args(["check", "-i", lab.a.dev]).uid(65534).gid(65534);
    nobody.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let report = Trace::spawn(&lab.a, &mut nobody).end();
    fs::remove_dir_all(&directory).expect("it is ours");
    assert_fails(&report, 1, &["not permitted", "CAP_BPF", "sudo"]);
}

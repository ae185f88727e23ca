//! An interface with programs of others that changes under a trace.

use crate::{
    lab::{Family, Lab, eventually, programs_on},
    netns::{Netns, has_tcx},
    stranger::Stranger,
    trace::{Trace, command},
    traffic::{Kind, drive},
};
use aya::programs::{
    TcAttachType::{Egress, Ingress},
    XdpMode,
};

const TC_ACT_OK: i32 = 0;
const XDP_PASS: i32 = 2;

/// The programs on an interface, by the words that tell whose they are: bpftool names no XDP program.
fn on(ns: &Netns, dev: &str) -> Vec<&'static str> {
    let known = ["their_in", "their_out", "driver", "tcptrace"];
    let whose = |it: &String| known.into_iter().find(|name| it.contains(name));
    programs_on(ns, dev).iter().filter_map(whose).collect()
}

/// Theirs on all hooks of an interface: on TC by links where the kernel has them, as filters otherwise.
fn theirs(lab: &Lab) -> Vec<Stranger> {
    let (ns, dev) = (&lab.a.ns, lab.a.dev);
    let mut all = vec![Stranger::xdp("their_xdp", XDP_PASS)];
    all[0].link_xdp(ns, dev, XdpMode::Driver);
    if !has_tcx() {
        ns.tc(&["qdisc", "add", "dev", dev, "clsact"]);
    }
    for (name, side) in [("their_in", Ingress), ("their_out", Egress)] {
        let mut stranger = Stranger::tc(name, TC_ACT_OK);
        if has_tcx() {
            stranger.link(ns, dev, side);
        } else {
            stranger.filter(ns, dev, side, 7);
        }
        all.push(stranger);
    }
    all
}

fn start(lab: &Lab, interface: &str) -> Trace {
    let mut trace = Trace::spawn(&lab.a, &mut command(&["-i", interface, "--json"]));
    trace.wait_until_attached();
    trace
}

#[test]
fn an_interface_with_programs_of_others_keeps_them_through_renames_and_down_and_up() {
    for interface in ["tt0", "any"] {
        let lab = Lab::new();
        let theirs = theirs(&lab);
        let before = on(&lab.a.ns, "tt0");
        assert_eq!(before.len(), 3, "{before:?}");
        let trace = start(&lab, interface);
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        lab.a.ns.rename("tt0", "uplink0");
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        lab.a.ns.ip(&["link", "set", "uplink0", "down"]);
        lab.a.ns.ip(&["link", "set", "uplink0", "up"]);
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.wait_for_connections(3);
        let report = trace.stop();
        assert!(report.status.success(), "{}", report.stderr);
        assert_eq!(report.stderr.matches("tt0 is called uplink0 now").count(), 1, "{}", report.stderr);
        assert_eq!(on(&lab.a.ns, "uplink0"), before, "-i {interface}");
        drop(theirs);
    }
}

#[test]
fn an_interface_that_moves_takes_programs_of_others_along_and_none_of_ours() {
    let (lab, elsewhere) = (Lab::new(), Netns::new());
    let _theirs = theirs(&lab);
    // What of theirs outlives a move is the kernel's business: qdiscs do not (net/core/dev.c, dev_shutdown), and links do.
    let moves = |from: &Netns, to: &Netns| {
        let name = to.path().rsplit('/').next().expect("a path").to_owned();
        from.ip(&["link", "set", "tt0", "netns", &name]);
    };
    moves(&lab.a.ns, &elsewhere);
    let without_us = on(&elsewhere, "tt0");
    moves(&elsewhere, &lab.a.ns);
    lab.a.ns.ip(&["addr", "add", &format!("{}/24", lab.a.ip(Family::V4)), "dev", "tt0"]);
    lab.a.ns.ip(&["link", "set", "tt0", "up"]);
    let (named, any) = (start(&lab, "tt0"), start(&lab, "any"));
    moves(&lab.a.ns, &elsewhere);
    let report = named.end();
    assert!(report.status.success(), "{}", report.stderr);
    assert_eq!(report.stderr.matches("tt0 is gone").count(), 1, "{}", report.stderr);
    eventually("ours are off it", || {
        let now = on(&elsewhere, "tt0");
        if now == without_us { Ok(()) } else { Err(format!("{now:?}, not {without_us:?}")) }
    });
    let report = any.stop();
    assert!(report.status.success(), "{}", report.stderr);
}

#[test]
fn interfaces_that_go_while_they_are_attached_to_end_no_trace_of_any() {
    const ROUNDS: usize = 40;
    let lab = Lab::new();
    let trace = start(&lab, "any");
    let round = |n: usize| {
        let [a, b, c] = ["a", "b", "c"].map(|it| format!("{it}{n}"));
        format!(
            "link add {a} up type veth peer name {b}\nlink set {b} up\nlink set {a} down\nlink set {a} name {c}\nlink set {c} up\nlink del {c}\n"
        )
    };
    let batch: String = (0..ROUNDS).map(round).collect();
    lab.a.ns.run("sh", &["-c", &format!("ip -batch - <<'END'\n{batch}END")]);
    drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    let report = trace.stop();
    assert!(report.status.success(), "{}", report.stderr);
    assert!(!report.stderr.contains("is not traced"), "{}", report.stderr);
    lab.a.assert_nothing_attached();
}

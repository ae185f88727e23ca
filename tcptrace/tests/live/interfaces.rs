//! Interfaces that change while they are traced: they are renamed, go down and up, and move away.

use crate::{
    lab::{Family, Lab, eventually},
    netns::{Netns, has_tcx, renames_while_up},
    schema,
    stranger::detach,
    trace::{Trace, command, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use aya::programs::{SchedClassifier, TcAttachType};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};

/// Each report of a flow: the interface and the outcome.
fn reports(events: &[Value], flow: Flow) -> Vec<[&str; 2]> {
    of_kind(events, "connection")
        .filter(|event| flow_of(event) == flow)
        .map(|event| ["interface", "outcome"].map(|field| event[field].as_str().expect("text")))
        .collect()
}

/// Traces this, from the first host of the lab.
fn start(lab: &Lab, interface: &str) -> Trace {
    let mut trace = Trace::spawn(&lab.a, &mut command(&["-i", interface, "--json"]));
    trace.wait_until_attached();
    trace
}

#[test]
fn a_renamed_interface_is_traced_on_under_its_new_name() {
    for interface in ["tt0", "any"] {
        let lab = Lab::new();
        let trace = start(&lab, interface);
        let before = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.wait_for_connections(1);
        // While it is up, which kernels before 6.2 refuse.
        lab.a.ns.rename("tt0", "uplink0");
        let after = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.wait_for_connections(2);
        // To the name that it had comes another, and what was is not mistaken for it.
        lab.a.ns.veth("tt0", &lab.b.ns, "tt9", 201);
        let again = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
        trace.wait_for_connections(3);
        let report = trace.stop();
        let events = report.events();
        assert_eq!(reports(&events, before), [["tt0", "closed"]], "-i {interface}");
        for flow in [after, again] {
            assert_eq!(reports(&events, flow), [["uplink0", "closed"]], "-i {interface}");
        }
        assert!(report.stderr.contains("interface tt0 is called uplink0 now"), "{}", report.stderr);
    }
}

#[test]
fn a_renamed_interface_goes_under_its_new_name() {
    let lab = Lab::new();
    let trace = start(&lab, "tt0");
    lab.a.ns.rename("tt0", "uplink0");
    lab.a.ns.ip(&["link", "del", "uplink0"]);
    let report = trace.end();
    assert!(report.status.success(), "{}", report.stderr);
    assert!(report.stderr.contains("interface uplink0 is gone"), "{}", report.stderr);
}

/// As whoever knows no better does: the program for what goes out, of the only tracer of this interface.
pub(crate) fn take_off(ns: &Netns, dev: &str) {
    if !has_tcx() {
        ns.tc(&["filter", "del", "dev", dev, "ingress"]);
        return;
    }
    let (_, programs) =
        ns.enter(|| SchedClassifier::query_tcx(dev, TcAttachType::Ingress)).expect("it has TCX");
    let [program] = &programs[..] else { panic!("{} programs are on {dev}", programs.len()) };
    detach(program.id());
}

#[test]
fn programs_that_somebody_takes_off_end_the_trace_with_an_error() {
    for args in [&[][..], &["-q"]] {
        let lab = Lab::new();
        let args = [&["-i", lab.a.dev, "--json", "--events", "all"], args].concat();
        let trace = Trace::spawn(&lab.a, &mut command(&args));
        // One that is quiet does not say that it has begun.
        eventually("it traces", || {
            drive(Kind::Silent, &lab.a, &lab.b, Family::V6);
            let has_begun = trace.count(|line| line.contains(r#""event":"established""#)) > 0;
            has_begun.then_some(()).ok_or_else(String::new)
        });
        let server = lab.b.ns.enter(|| TcpListener::bind((lab.b.ip(Family::V4), 0)).expect("a free port"));
        let address = server.local_addr().expect("it is bound");
        let _open = lab.a.ns.enter(|| TcpStream::connect(address).expect("it listens"));
        let of_it = format!("\"port\":{}}}", address.port());
        eventually("it is seen to be open", || {
            let is_seen =
                trace.count(|line| line.contains(r#""event":"established""#) && line.contains(&of_it)) > 0;
            is_seen.then_some(()).ok_or_else(String::new)
        });
        take_off(&lab.a.ns, lab.a.dev);
        drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V6);
        let report = trace.end();
        assert_eq!(report.status.code(), Some(1), "{}", report.stderr);
        let said: Vec<_> = report.stderr.lines().collect();
        let error = said.last().expect("it says why");
        assert!(error.starts_with("tcptrace: the trace of tt0 ended before its time"), "{error}");
        let rest = said[..said.len() - 1].join("\n");
        if args.contains(&"-q") {
            assert_eq!(rest, "");
        } else {
            assert!(rest.contains("tcptrace: somebody has taken the programs off tt0"), "{rest}");
            assert!(rest.contains("lost: 1 interface that somebody has taken the programs off"), "{rest}");
        }
        schema::assert_valid(&report.lines.join("\n"));
        let events: Vec<Value> =
            report.lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(last_stats(&events)["interfaces_taken_off"], 1);
        let open = of_kind(&events, "connection").find(|event| flow_of(event).server == address);
        let open = open.expect("what is known of it is told");
        assert_eq!((&open["outcome"], &open["complete"]), (&"open".into(), &false.into()), "{open:#}");
        lab.a.assert_nothing_attached();
    }
}

#[test]
fn with_any_a_trace_goes_on_where_its_programs_still_are() {
    let lab = Lab::new();
    let trace = start(&lab, "any");
    take_off(&lab.a.ns, "tt0");
    trace.wait_for_notice("somebody has taken the programs off tt0");
    let unseen = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    let seen = drive(Kind::ClientCloses, &lab.a, &lab.a, Family::V4);
    trace.wait_for_connections(1);
    let report = trace.stop();
    let events = report.events();
    assert_eq!(reports(&events, seen), [["lo", "closed"]]);
    assert_eq!(reports(&events, unseen), [[""; 2]; 0]);
    assert_eq!(last_stats(&events)["interfaces_taken_off"], 1);
    lab.a.assert_nothing_attached();
}

#[test]
fn an_interface_that_was_down_meanwhile_is_traced_on() {
    for interface in ["tt0", "any"] {
        let lab = Lab::new();
        let trace = start(&lab, interface);
        let mut flows = vec![drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4)];
        for n in 2..4 {
            lab.a.ns.ip(&["link", "set", "tt0", "down"]);
            lab.a.ns.ip(&["link", "set", "tt0", "up"]);
            flows.push(drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4));
            trace.wait_for_connections(n);
        }
        let events = trace.stop().events();
        for flow in flows {
            assert_eq!(reports(&events, flow), [["tt0", "closed"]], "-i {interface}");
        }
        lab.a.assert_nothing_attached();
    }
}

#[test]
fn any_takes_up_what_comes_up_later() {
    let lab = Lab::new();
    lab.a.ns.ip(&["link", "set", "tt0", "down"]);
    let trace = start(&lab, "any");
    assert!(lab.a.programs().is_empty(), "{:?}", lab.a.programs());
    lab.a.ns.ip(&["link", "set", "tt0", "up"]);
    lab.a.wait_until_attached_to("tt0");
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    trace.wait_for_connections(1);
    assert_eq!(reports(&trace.stop().events(), flow), [["tt0", "closed"]]);
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_let_go_and_taken_up_when_it_is_back() {
    let (lab, elsewhere) = (Lab::new(), Netns::new());
    let (named, any) = (start(&lab, "tt0"), start(&lab, "any"));
    let name = |path: &str| path.rsplit('/').next().expect("a path").to_owned();
    lab.a.ns.ip(&["link", "set", "tt0", "netns", &name(&elsewhere.path())]);
    let report = named.end();
    assert!(report.stderr.contains("interface tt0 is gone"), "{}", report.stderr);
    let address = format!("{}/24", lab.a.ip(Family::V4));
    elsewhere.ip(&["link", "set", "tt0", "netns", &name(&lab.a.ns.path())]);
    lab.a.ns.ip(&["addr", "add", &address, "dev", "tt0"]);
    lab.a.ns.ip(&["link", "set", "tt0", "up"]);
    lab.a.wait_until_attached_to("tt0");
    let flow = drive(Kind::ClientCloses, &lab.a, &lab.b, Family::V4);
    any.wait_for_connections(1);
    assert_eq!(reports(&any.stop().events(), flow), [["tt0", "closed"]]);
}

#[test]
fn names_that_change_hands_at_once_mislead_nobody() {
    const PAIRS: usize = 25;
    let lab = Lab::new();
    let trace = start(&lab, "any");
    let rename = |from: &str, to: &str| {
        if renames_while_up() {
            return format!("link set {from} name {to}\n");
        }
        format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up\n")
    };
    let swap = |n| {
        let [a, b, c] = ["a", "b", "c"].map(|it| format!("{it}{n}"));
        let made = format!("link add {a} type veth peer name {b}\nlink set {a} up\n");
        made + &rename(&a, &c) + &format!("link set {b} up\n") + &rename(&b, &a) + &rename(&c, &b)
    };
    let batch: String = (0..PAIRS).map(swap).collect();
    lab.a.ns.run("sh", &["-c", &format!("ip -batch - <<'END'\n{batch}END")]);
    for n in 0..PAIRS {
        for dev in [format!("a{n}"), format!("b{n}")] {
            lab.a.wait_until_attached_to(&dev);
            // Without TCX there is the qdisc clsact as well.
            let found = lab.a.programs_on(&dev);
            assert_eq!(found.iter().filter(|it| it.contains("tcptrace")).count(), 2, "{dev}: {found:?}");
        }
    }
    let report = trace.stop();
    assert!(report.status.success() && !report.stderr.contains("is not traced"), "{}", report.stderr);
}

//! `--once`: one report a connection, where the host's packets pass several interfaces.

use crate::{
    lab::{Family, Host, Routed},
    loss::lose_segments,
    netns::Netns,
    trace::{Trace, command, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use serde_json::Value;
use std::{fs, net::Ipv4Addr};

/// Traces all interfaces of a host.
fn start(host: &Host, args: &[&str]) -> Trace {
    let mut trace =
        Trace::spawn(host, &mut command(&[&["-i", "any", "--json", "--syn-timeout", "2s"], args].concat()));
    trace.wait_until_attached();
    trace
}

/// `outcome interface vantage path` of each report of a flow.
fn said(events: &[Value], flow: Flow) -> Vec<String> {
    let mine = of_kind(events, "connection").filter(|event| flow_of(event) == flow);
    let words = |event: &Value| {
        ["outcome", "interface", "vantage", "path"]
            .map(|field| event[field].to_string())
            .join(" ")
            .replace('"', "")
    };
    mine.map(words).collect()
}

#[test]
fn a_router_reports_each_connection_once_with_its_path() {
    let lab = Routed::new();
    lose_segments(&lab.server);
    lose_segments(&lab.client);
    let (once, each) = (start(&lab.router, &["--once"]), start(&lab.router, &[]));
    let named = Trace::spawn(
        &lab.router,
        &mut command(&["-i", "tt2", "-i", "tt1", "--json", "--once", "-v", "--syn-timeout", "2s"]),
    );
    let mut named = named;
    named.wait_until_attached();
    let kinds = [
        (Kind::ClientCloses, "closed"),
        (Kind::ServerCloses, "closed"),
        (Kind::ResetByServer, "reset"),
        (Kind::Refused, "refused"),
        (Kind::Unanswered, "unanswered"),
    ];
    // Opened from both sides.
    let ways = [(&lab.client, &lab.server, ["tt1", "tt2"]), (&lab.server, &lab.client, ["tt2", "tt1"])];
    let mut expected = Vec::new();
    for (from, to, path) in ways {
        for family in Family::BOTH {
            for (kind, outcome) in kinds {
                expected.push((drive(kind, from, to, family), outcome, path));
            }
        }
    }
    each.wait_for_connections(2 * expected.len());
    for trace in [once, named] {
        trace.wait_for_connections(expected.len());
        let events = trace.stop().events();
        assert_eq!(of_kind(&events, "connection").count(), expected.len());
        for &(flow, outcome, [first, second]) in &expected {
            assert_eq!(
                said(&events, flow),
                [format!("{outcome} {first} middle [{first},{second}]")],
                "{flow}"
            );
            let mine = |kind| of_kind(&events, kind).filter(|event| flow_of(event) == flow);
            let established = usize::from(outcome == "closed" || outcome == "reset");
            assert_eq!(mine("established").count(), established, "{flow}");
            let id = &mine("connection").next().expect("it is there")["id"];
            for event in mine("transition").chain(mine("established")) {
                assert_eq!((&event["id"], event["interface"].as_str()), (id, Some(first)), "{event:#}");
            }
        }
        let stats = last_stats(&events);
        assert_eq!((&stats["records_lost"], &stats["connections"]["refused"]), (&0.into(), &4.into()));
    }
    let events = each.stop().events();
    for (flow, outcome, path) in expected {
        let mut each = said(&events, flow);
        each.sort_unstable();
        let mut two = path.map(|name| format!("{outcome} {name} middle null"));
        two.sort_unstable();
        assert_eq!(each, two, "{flow}");
    }
}

/// A host whose address is on the bridge `br0`, with these ports, and the namespaces that these lead to.
fn bridge<const N: usize>(net: u8, ports: [&str; N]) -> (Host, [Netns; N]) {
    let ns = Netns::new();
    ns.ip(&["link", "add", "br0", "type", "bridge"]);
    let others = ports.map(|port| {
        let other = Netns::new();
        ns.veth(port, &other, "eth0", net);
        ns.ip(&["addr", "flush", "dev", port]);
        ns.ip(&["link", "set", port, "master", "br0"]);
        other
    });
    let address = Ipv4Addr::new(10, 77, net, 1);
    ns.ip(&["addr", "add", &format!("{address}/24"), "dev", "br0"]);
    ns.ip(&["link", "set", "br0", "up"]);
    (Host::new(ns, "br0", address), others)
}

fn second(ns: Netns, net: u8) -> Host {
    Host::new(ns, "eth0", Ipv4Addr::new(10, 77, net, 2))
}

#[test]
fn a_host_whose_address_is_on_a_bridge_reports_as_that_end() {
    let (host, [far]) = bridge(209, ["v0"]);
    let far = second(far, 209);
    let trace = start(&host, &["--once"]);
    let out = drive(Kind::ClientCloses, &host, &far, Family::V4);
    let refused = drive(Kind::Refused, &host, &far, Family::V4);
    let came_in = drive(Kind::ClientCloses, &far, &host, Family::V4);
    trace.wait_for_connections(3);
    let events = trace.stop().events();
    assert_eq!(said(&events, out), ["closed br0 client [br0,v0]"]);
    assert_eq!(said(&events, refused), ["refused br0 client [br0,v0]"]);
    assert_eq!(said(&events, came_in), ["closed br0 server [v0,br0]"]);
}

/// Containers behind a bridge, as their host sees it: it routes, and the bridge's own address is the gateway.
#[test]
fn containers_behind_a_bridge_are_seen_next_to_them() {
    let (host, [container, _other]) = bridge(210, ["veth1", "veth2"]);
    let outside = Netns::new();
    host.ns.veth("up0", &outside, "eth0", 211);
    container.ip(&["route", "add", "default", "via", "10.77.210.1"]);
    outside.ip(&["route", "add", "default", "via", "10.77.211.1"]);
    host.ns.enter(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root may set it"));
    let (container, outside) = (second(container, 210), second(outside, 211));
    let trace = start(&host, &["--once"]);
    let out = drive(Kind::ClientCloses, &container, &outside, Family::V4);
    let came_in = drive(Kind::Refused, &outside, &container, Family::V4);
    let to_host = drive(Kind::ClientCloses, &container, &host, Family::V4);
    trace.wait_for_connections(3);
    let events = trace.stop().events();
    assert_eq!(said(&events, out), ["closed veth1 middle [veth1,br0,up0]"]);
    assert_eq!(said(&events, came_in), ["refused up0 middle [up0,br0,veth1]"]);
    assert_eq!(said(&events, to_host), ["closed br0 server [veth1,br0]"]);
}

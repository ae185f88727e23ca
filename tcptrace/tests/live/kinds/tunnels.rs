//! What goes through a tunnel's device, seen on the cable below it with `--decap`: the connection of the inner hosts, with
//! the tunnel's ends and identifier. For kinds that the kernel has no device of, frames made by hand.

use super::stages::{self, Stage};
use crate::{
    frames::Wire,
    lab::{Family, Host, a_few_at_a_time},
    packets::{Frame, tunnel::Wrap},
    trace::{Report, Trace, command, flow_of, last_stats, of_kind},
    traffic::{Flow, Kind, drive},
};
use serde_json::{Value, json};
use std::{io::Write as _, net::SocketAddr};

/// The device, the kind that it is called, and its identifier.
const DEVICES: [(&str, &str, Option<u32>); 6] = [
    ("vxlan id 42 dstport 4789", "vxlan", Some(42)),
    ("vxlan id 7 dstport 8472", "vxlan", Some(7)),
    ("geneve id 5", "geneve", Some(5)),
    ("gretap", "gre", None),
    ("gre", "gre", None),
    ("ipip", "ipip", None),
];

#[test]
fn connections_in_tunnels_are_seen_below_them() {
    let devices: Vec<_> = (30..).zip(DEVICES).collect();
    let said = a_few_at_a_time(&devices, 2, |&(net, (device, kind, id))| {
        let said = match stages::tunnel(device, net) {
            Ok(stage) => look_below(&stage, net, kind, id),
            Err(why) => format!("not run  {why}"),
        };
        format!("  {device:<26}{said}\n")
    });
    let said: Vec<_> = said.into_iter().map(|it| it.unwrap_or_else(|| "FAILED\n".to_owned())).collect();
    let table = format!("tunnels, seen below their devices\n{}", said.concat());
    // Past the harness, which would keep it to itself: what did not run must be seen.
    std::io::stdout().write_all(table.as_bytes()).expect("stdout");
    assert!(said.iter().all(|line| !line.contains("FAILED")), "{table}");
    assert!(said.iter().any(|line| line.contains("ok ")), "{table}");
}

fn start(host: &Host, args: &[&str]) -> Trace {
    let mut trace = Trace::spawn(host, &mut command(&[&["-i", "v0", "--json"], args].concat()));
    trace.wait_until_attached();
    trace
}

fn connections(report: &Report, flow: Flow) -> Vec<Value> {
    let events = report.events();
    assert_eq!(last_stats(&events)["records_lost"], 0);
    of_kind(&events, "connection").filter(|event| flow_of(event) == flow).cloned().collect()
}

fn look_below(stage: &Stage, net: u8, kind: &str, id: Option<u32>) -> String {
    let server = stage.server.as_ref().expect("a tunnel has two ends");
    let listed = format!("--decap={kind}");
    let (all, this) = (start(&stage.client, &["--decap"]), start(server, &[&listed]));
    let without = start(&stage.client, &[]);
    let flow = drive(Kind::ClientCloses, &stage.client, server, Family::V4);
    let [near, far] = [1, 2].map(|host| format!("10.77.{net}.{host}"));
    for trace in [all, this] {
        trace.wait_for_connections(1);
        let report = trace.stop();
        let found = connections(&report, flow);
        let [connection] = &found[..] else { panic!("{kind}: {flow}: {found:#?}") };
        assert_eq!((&connection["outcome"], &connection["complete"]), (&json!("closed"), &json!(true)));
        let tunnel = json!([{ "kind": kind, "id": id, "client_ip": near, "server_ip": far }]);
        assert_eq!(connection["tunnel"], tunnel, "{connection:#}");
        assert!(connection["syn_to_established_ns"].as_u64() > Some(0), "{connection:#}");
        let stats = last_stats(&report.events())["tunnels"][kind].as_u64();
        assert!(stats >= Some(8), "{kind}: {stats:?} packets");
    }
    let report = without.stop();
    assert!(connections(&report, flow).is_empty(), "{kind}");
    assert_eq!(last_stats(&report.events()).get("tunnels"), None);
    "ok       closed, with its ends".to_owned()
}

/// From the one host to the other by a packet socket; the other's stack has no use for them.
#[test]
fn tunnels_made_by_hand_are_seen_live() {
    let stage = stages::veth();
    let server = stage.server.as_ref().expect("there are two");
    let trace = start(server, &["--decap"]);
    let wire = Wire::of(&stage.client);
    let mut expected = Vec::new();
    for (src_port, wrap) in (1001..).zip(Wrap::ALL) {
        for (outer_v6, inner_v6) in [(false, false), (true, true), (false, true), (true, false)] {
            let outer = Frame { ipv6: outer_v6, src: 0xc0a8_0001, dst: 0xc0a8_0002, ..Frame::default() };
            let port = src_port + 100 * u16::from(outer_v6) + 200 * u16::from(inner_v6);
            let client = Frame { ipv6: inner_v6, src_port: port, ..Frame::default() };
            for (from_client, flags, seq, ack) in [
                (true, 0x02, 100, 0),
                (false, 0x12, 500, 101),
                (true, 0x10, 101, 501),
                (true, 0x11, 101, 501),
                (false, 0x11, 501, 102),
                (true, 0x10, 102, 502),
            ] {
                let way = |frame: &Frame| if from_client { frame.clone() } else { frame.reversed() };
                let inner = Frame { flags, seq, ack, ..way(&client) };
                wire.send(&wrap.around(&way(&outer), &inner).bytes());
            }
            expected.push((port, outer_v6, wrap));
        }
    }
    trace.wait_for_connections(expected.len());
    let events = trace.stop().events();
    for (port, outer_v6, wrap) in expected {
        let mine = |event: &&Value| event["client"]["port"] == port;
        let found: Vec<_> = of_kind(&events, "connection").filter(mine).collect();
        let [connection] = found[..] else { panic!("{wrap:?}: {found:#?}") };
        assert_eq!(connection["outcome"], "closed", "{wrap:?}: {connection:#}");
        let tunnel = &connection["tunnel"][0];
        let ends =
            if outer_v6 { ["2001:db8::c0a8:1", "2001:db8::c0a8:2"] } else { ["192.168.0.1", "192.168.0.2"] };
        assert_eq!([&tunnel["client_ip"], &tunnel["server_ip"]], ends, "{wrap:?}: {connection:#}");
        if let Wrap::GtpU(teid, _) = wrap {
            assert_eq!(tunnel["teid"], json!({ "to_server": teid, "to_client": teid }), "{connection:#}");
        }
    }
    assert_eq!(last_stats(&events)["unparsable"]["tunnel_depth"], 0);
}

/// Two tenants of one host, each behind a VXLAN device of its own, use the same addresses and ports at once.
#[test]
fn two_tenants_with_the_same_addresses_are_two_connections() {
    let stage = stages::veth();
    let server = stage.server.as_ref().expect("there are two");
    let trace = start(server, &["--decap=vxlan"]);
    let wire = Wire::of(&stage.client);
    let outer = Frame { src: 0xc0a8_0001, dst: 0xc0a8_0002, ..Frame::default() };
    let client = Frame::default();
    // Each step of both, one after the other: the first is refused, the second is answered.
    let steps =
        |server_flags, last| [(true, 0x02, 100, 0), (false, server_flags, 500, 101), (true, last, 101, 501)];
    for ((from_client, flags, seq, ack), other) in steps(0x12, 0x10).into_iter().zip(steps(0x14, 0x02)) {
        for (id, (flags, seq, ack)) in [(1, (flags, seq, ack)), (2, (other.1, other.2, other.3))] {
            let way = |frame: &Frame| if from_client { frame.clone() } else { frame.reversed() };
            let inner = Frame { flags, seq, ack, ..way(&client) };
            wire.send(&Wrap::Vxlan(4789, id).around(&way(&outer), &inner).bytes());
        }
    }
    trace.wait_for_lines(1, r#""outcome":"refused""#);
    trace.wait_for_lines(1, r#""event":"established""#);
    let events = trace.stop().events();
    let id = |kind, outcome: Option<&str>| -> Vec<u64> {
        of_kind(&events, kind)
            .filter(|event| outcome.is_none_or(|outcome| event["outcome"] == outcome))
            .filter_map(|event| event["tunnel"][0]["id"].as_u64())
            .collect()
    };
    assert_eq!((id("established", None), id("connection", Some("refused"))), (vec![1], vec![2]));
    let ends = |event: &Value| -> (SocketAddr, SocketAddr) { (flow_of(event).client, flow_of(event).server) };
    let all: Vec<_> = of_kind(&events, "connection").map(ends).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
}

//! Refused by the network: a router (or the server's own firewall) answers the SYN with an ICMP or ICMPv6 error, made by
//! the real kernel. The client's stack gives up, and tcptrace says why, on the client's host and on the router.

use crate::{
    lab::{Family, Host, Routed},
    loss::Loss,
    trace::{Trace, flow_of, last_stats, of_flow, of_kind},
    traffic::{Flow, bound, connect},
};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, UdpSocket},
    thread,
};

/// Who refuses, and how.
struct Refusal {
    /// By the router or by the server's host.
    by_router: bool,
    /// A rule for `nft`, or a kind of route to the server for `ip`.
    how: How,
    /// Type and code, and what `connect` says then (`icmp_err_convert` in `net/ipv4/icmp.c`, `icmpv6_err_convert` in
    /// `net/ipv6/icmp.c`).
    v4: (u8, u8, Errno),
    v6: (u8, u8, Errno),
}

enum How {
    Route(&'static str),
    /// `icmp type ...` and `icmpv6 type ...`.
    Reject(&'static str, &'static str),
}

const REFUSALS: [Refusal; 5] = [
    Refusal {
        by_router: true,
        how: How::Route("unreachable"),
        v4: (3, 1, Errno::HOSTUNREACH),
        // RTN_UNREACHABLE is the reject route of IPv6, and no route is what it says (net/ipv6/route.c, ip6_pkt_drop).
        v6: (1, 0, Errno::NETUNREACH),
    },
    Refusal {
        by_router: true,
        how: How::Route("prohibit"),
        v4: (3, 13, Errno::HOSTUNREACH),
        v6: (1, 1, Errno::ACCESS),
    },
    Refusal {
        by_router: true,
        how: How::Reject("net-unreachable", "no-route"),
        v4: (3, 0, Errno::NETUNREACH),
        v6: (1, 0, Errno::NETUNREACH),
    },
    Refusal {
        by_router: true,
        how: How::Reject("admin-prohibited", "addr-unreachable"),
        v4: (3, 13, Errno::HOSTUNREACH),
        v6: (1, 3, Errno::HOSTUNREACH),
    },
    Refusal {
        by_router: false,
        how: How::Reject("port-unreachable", "port-unreachable"),
        v4: (3, 3, Errno::CONNREFUSED),
        v6: (1, 4, Errno::CONNREFUSED),
    },
];

impl Refusal {
    fn apply(&self, lab: &Routed) {
        let (host, hook) = if self.by_router { (&lab.router, "forward") } else { (&lab.server, "input") };
        match self.how {
            How::Route(kind) => {
                for (family, length) in [(Family::V4, 32), (Family::V6, 128)] {
                    let to = format!("{}/{length}", lab.server.ip(family));
                    let of = if family == Family::V4 { "-4" } else { "-6" };
                    host.ns.ip(&[of, "route", "add", kind, &to]);
                }
            }
            How::Reject(v4, v6) => host.filter(&format!(
                "table inet refusal {{ chain c {{ type filter hook {hook} priority 0\n\
                 meta l4proto tcp meta nfproto ipv4 reject with icmp type {v4}\n\
                 meta l4proto tcp meta nfproto ipv6 reject with icmpv6 type {v6}\n}}\n}}"
            )),
        }
    }

    fn of(&self, family: Family) -> (u8, u8, Errno) {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Whose address the error comes from.
    fn from<'a>(&self, lab: &'a Routed) -> &'a Host {
        if self.by_router { &lab.router } else { &lab.server }
    }
}

/// A SYN that is refused so, behind enough other packets on a slow line that `connect` waits when the error comes: in the
/// middle of a system call the stack would only note it (`net/ipv4/tcp_ipv4.c`, `tcp_v4_err`, `sock_owned_by_user`).
fn try_to_connect(lab: &Routed, family: Family, expected: Errno) -> Flow {
    let flow = Loss::Nothing.flow(&lab.client, &lab.server, family);
    let udp = |host: &Host| {
        let any = SocketAddr::new(host.ip(family), 0);
        host.ns.enter(|| UdpSocket::bind(any).expect("a UDP socket"))
    };
    // Taken there: an error in answer to these would count towards the router's limit.
    let (other, taker) = (udp(&lab.client), udp(&lab.router));
    for _ in 0..3 {
        let taker = taker.local_addr().expect("it is bound");
        other.send_to(&[0; 1400], taker).expect("there is a route");
    }
    let client = lab.client.ns.enter(|| bound(flow.client));
    assert_eq!(connect(&client, &flow.server), Err(expected), "{flow}");
    flow
}

/// The client's line: 50 ms for a datagram, once the first has used up what may pass at once.
fn slow_down(lab: &Routed) {
    let tbf = ["rate", "240kbit", "burst", "1600", "limit", "100000"];
    lab.client.ns.tc(&[&["qdisc", "add", "dev", lab.client.dev, "root", "tbf"], &tbf[..]].concat());
}

#[test]
fn the_networks_answer_to_a_syn_refuses_it() {
    thread::scope(|scope| {
        for refusal in &REFUSALS {
            scope.spawn(|| is_told(refusal));
        }
    });
}

fn is_told(refusal: &Refusal) {
    let lab = Routed::new();
    refusal.apply(&lab);
    slow_down(&lab);
    let traces = [&lab.client, &lab.router].map(|host| Trace::all_events(host, &["--syn-timeout", "3s"]));
    let flows = Family::BOTH.map(|family| try_to_connect(&lab, family, refusal.of(family).2));
    for (trace, vantage) in traces.into_iter().zip(["client", "middle"]) {
        trace.wait_for_connections(flows.len());
        let events = trace.stop().events();
        assert_eq!(last_stats(&events)["records_lost"], 0);
        for (family, flow) in Family::BOTH.into_iter().zip(flows) {
            check(refusal, &lab, family, flow, &events, vantage);
        }
    }
}

fn check(refusal: &Refusal, lab: &Routed, family: Family, flow: Flow, events: &[Value], vantage: &str) {
    let mine: Vec<Value> = of_flow(events, flow).cloned().collect();
    let (kind, code, _) = refusal.of(family);
    let errors: Vec<_> = of_kind(&mine, "icmp_error").collect();
    assert!(!errors.is_empty(), "{flow} at the {vantage}: {mine:#?}");
    for (field, expected) in [
        ("type", json!(kind)),
        ("code", json!(code)),
        ("from", json!(refusal.from(lab).ip(family).to_string())),
        ("quoted_sender", json!("client")),
    ] {
        assert_eq!(errors[0][field], expected, "{flow}: {field} in {:#}", errors[0]);
    }
    let connections: Vec<_> = of_kind(&mine, "connection").collect();
    assert_eq!(connections.len(), 1, "{flow}: {mine:#?}");
    assert_eq!(connections[0]["outcome"], "refused_icmp", "{flow} at the {vantage}: {mine:#?}");
    assert_eq!(connections[0]["icmp_error"]["code"], code, "{flow}: {mine:#?}");
    assert_eq!(connections[0]["vantage"], vantage, "{flow}: {mine:#?}");
    // Each SYN was answered once: on a machine that is not too busy for it, there was one.
    let retries = connections[0]["syn_retransmits"].as_u64().expect("a number");
    assert!(errors.len() as u64 <= retries + 1, "{flow}: {mine:#?}");
}

/// On a cable without delay the error is there before `connect` has let go of the socket, and then Linux only notes it
/// (`net/ipv4/tcp_ipv4.c`, `tcp_v4_err`, `sock_owned_by_user`): the SYN is sent again, and the second error is the end.
#[test]
fn an_error_in_the_middle_of_connect_is_only_noted() {
    let refusal = &REFUSALS[4];
    let lab = Routed::new();
    refusal.apply(&lab);
    let trace = Trace::all_events(&lab.client, &["--syn-timeout", "3s"]);
    let flows = Family::BOTH.map(|family| {
        let flow = Loss::Nothing.flow(&lab.client, &lab.server, family);
        let client = lab.client.ns.enter(|| bound(flow.client));
        assert_eq!(connect(&client, &flow.server), Err(Errno::CONNREFUSED), "{flow}");
        flow
    });
    trace.wait_for_connections(flows.len());
    let events = trace.stop().events();
    for flow in flows {
        let of_flow = |kind| of_kind(&events, kind).filter(|event| flow_of(event) == flow);
        let connections: Vec<_> = of_flow("connection").collect();
        assert_eq!(connections.len(), 1, "{flow}: one try: {connections:#?}");
        assert_eq!(connections[0]["outcome"], "refused_icmp", "{flow}: {connections:#?}");
        // Two, on a machine that is not too busy to deliver the first at once.
        let errors = of_flow("icmp_error").count() as u64;
        let retries = connections[0]["syn_retransmits"].as_u64().expect("a number");
        assert!((1..=retries + 1).contains(&errors), "{flow}: {errors} errors, {connections:#?}");
    }
}

//! ICMP errors of the real kernel, seen by the live source where they arrive, where they are sent and on the way. Needs
//! root and the commands `ip` and `nft`; fails without them.

use netns::Netns;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};
use tcptrace::{
    kernel::attach::IngressHook,
    segment::{Direction, IcmpError, Input, Sender, mapped},
    source::live::{LiveConfig, LiveSource, Selection},
};
use tcptrace_common::tcp::TcpFlags;
use tcptrace_testing::netns;

/// Long enough for a busy machine; nothing waits for it unless something is broken.
const DEADLINE: Duration = Duration::from_mins(1);

fn on(interfaces: &[&str]) -> LiveConfig {
    let names = interfaces.iter().map(|&name| name.to_owned()).collect();
    LiveConfig { interfaces: Selection::Named(names), ..LiveConfig::default() }
}

/// Begins to trace in `ns`, tries to connect from `client`, and says which errors were seen and on what. There may be
/// several: one that comes while `connect` still holds the socket does not end it, and the SYN is sent again
/// (`net/ipv4/tcp_ipv4.c`, `tcp_v4_err`: `sock_owned_by_user`).
fn errors(ns: &Netns, config: &LiveConfig, client: &Netns, to: IpAddr) -> Vec<(String, IcmpError)> {
    let connect = || {
        client.enter(|| {
            let error = TcpStream::connect_timeout(&SocketAddr::new(to, 81), DEADLINE).expect_err("refused");
            assert!(error.raw_os_error().is_some(), "{error}");
        });
    };
    let trace = async || {
        let (mut source, _) = LiveSource::open(config).unwrap_or_else(|error| panic!("{error}"));
        thread::scope(|scope| scope.spawn(connect).join().expect("it was refused"));
        let mut inputs = Vec::new();
        source.finish(&mut inputs).expect("it finishes");
        let errors: Vec<_> = inputs
            .iter()
            .filter_map(|input| if let Input::Icmp(error) = input { Some(error.clone()) } else { None })
            .map(|error| {
                let name = source.names().get(error.quoted.flow.interface).expect("it has a name");
                (name.to_string(), error)
            })
            .collect();
        assert_eq!(source.counters().expect("counters").segments.icmp, errors.len() as u64);
        assert_eq!((source.records_lost(), source.records_undecodable()), (0, 0));
        assert!(!errors.is_empty(), "{inputs:#?}");
        errors
    };
    ns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(trace())
    })
}

/// Refuses TCP to port 81 in the namespace.
fn refuse(ns: &Netns, chain: &str, reason: &str) {
    ns.run("nft", &["add", "table", "inet", "t"]);
    let hook = format!("{{ type filter hook {chain} priority 0; }}");
    ns.run("nft", &["add", "chain", "inet", "t", "c", &hook]);
    ns.run(
        "nft",
        &["add", "rule", "inet", "t", "c", "tcp", "dport", "81", "reject", "with", "icmpx", reason],
    );
}

fn is_for(error: &IcmpError, from: IpAddr, to: IpAddr) {
    assert_eq!((error.from, error.quoted.flow.dst), (mapped(from), mapped(to)), "{error:?}");
    assert_eq!(error.quoted.flow.ipv6, to.is_ipv6());
    assert_eq!(error.quoted.flow.dst_port, 81);
    // Linux quotes the whole SYN.
    assert_eq!(error.quoted.flags, TcpFlags::SYN);
    assert!(error.quoted.window > 0 && error.quoted.payload_len == 0 && error.quoted.options.is_none());
}

#[test]
fn the_refusing_host_and_the_refused_one_see_it() {
    let (here, there) = (Netns::new(), Netns::new());
    here.veth("tt0", &there, "tt1", 0);
    for (ns, device, host) in [(&here, "tt0", 1), (&there, "tt1", 2)] {
        ns.ip(&["addr", "add", &format!("fd77::{host}/64"), "dev", device, "nodad"]);
    }
    refuse(&there, "input", "port-unreachable");
    let v6 = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));
    for (server, kind, code) in [(IpAddr::from([10, 77, 0, 2]), 3, 3), (v6, 1, 4)] {
        let xdp = LiveConfig { ingress: IngressHook::Xdp, ..on(&["tt0"]) };
        for (ns, config, direction, sender) in [
            (&here, &on(&["tt0"]), Direction::Ingress, Sender::There),
            (&here, &xdp, Direction::Ingress, Sender::There),
            (&there, &on(&["tt1"]), Direction::Egress, Sender::Here),
        ] {
            for (_, error) in errors(ns, config, &here, server) {
                is_for(&error, server, server);
                assert_eq!((error.kind, error.code), (kind, code));
                assert_eq!((error.quoted.direction, error.quoted.sender), (direction, sender), "{config:?}");
            }
        }
    }
}

#[test]
fn on_a_router_it_passes_twice_and_nobody_knows_the_sender() {
    let (client, router, server) = (Netns::new(), Netns::new(), Netns::new());
    router.veth("rc", &client, "cr", 1);
    router.veth("rs", &server, "sr", 2);
    router.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).expect("a sysctl of the namespace");
    client.ip(&["route", "add", "default", "via", "10.77.1.1"]);
    server.ip(&["route", "add", "default", "via", "10.77.2.1"]);
    let far = IpAddr::from([10, 77, 2, 2]);

    refuse(&server, "input", "admin-prohibited");
    let passed = errors(&router, &on(&["rc", "rs"]), &client, far);
    let on_device = |device: &str| passed.iter().filter(|(name, _)| name == device).count();
    assert_eq!(on_device("rc"), on_device("rs"));
    for (name, error) in &passed {
        is_for(error, far, far);
        assert_eq!(error.quoted.direction, if name == "rc" { Direction::Egress } else { Direction::Ingress });
        assert_eq!((error.kind, error.code, error.quoted.sender), (3, 13, Sender::Unknown));
    }

    // Its own errors are from itself.
    refuse(&router, "forward", "host-unreachable");
    for (name, error) in errors(&router, &on(&["rc", "rs"]), &client, far) {
        is_for(&error, IpAddr::from([10, 77, 1, 1]), far);
        assert_eq!((name.as_str(), error.kind, error.code), ("rc", 3, 1));
        assert_eq!((error.quoted.direction, error.quoted.sender), (Direction::Egress, Sender::Here));
    }
}

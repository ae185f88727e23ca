//! What is used of the kernel that runs: newer ways where it is new enough for them, the older ones where not. Says what it
//! finds in lines such as `feature TC: TCX links`, for `cargo xtask test --kernels`. Needs root; fails without.

use aya::programs::{TcAttachType, links::LinkType, loaded_links};
use netns::{Netns, has_tcx, kernel_is};
use std::io::Write as _;
use tcptrace::{
    kernel::attach::{IngressHook, Notice},
    source::live::{LiveConfig, LiveSource, Selection},
};
use tcptrace_common::abi::SEED_WORDS;
use tcptrace_testing::kernel::test_run::{Harness, Program};
use tcptrace_testing::{hooks, netns};

/// Past the harness, which would keep it to itself.
fn say(name: &str, value: &str) {
    let line = format!("\nfeature {name}: {value}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("stdout");
}

/// Opens a trace of `device`, and says which links of a type are there with it that were not before.
fn with_trace(ns: &Netns, device: &str, ingress: IngressHook, look: impl FnOnce(&[Notice]) + Send) {
    let config = LiveConfig {
        interfaces: Selection::Named(vec![device.to_owned()]),
        ingress,
        ..LiveConfig::default()
    };
    ns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (_source, notices) = LiveSource::open(&config).unwrap_or_else(|error| panic!("{error}"));
            look(&notices);
        });
    });
}

fn links(kind: LinkType) -> usize {
    loaded_links().filter_map(Result::ok).filter(|link| link.link_type().is_ok_and(|it| it == kind)).count()
}

/// One test, because others would make links meanwhile.
#[test]
fn the_hooks_are_those_of_this_kernel() {
    let (here, there) = (Netns::new(), Netns::new());
    here.veth("tt0", &there, "tt1", 0);
    with_trace(&here, "tt0", IngressHook::Tc, |notices| {
        assert_eq!(notices, []);
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            assert_eq!(hooks::ids(&here, "tt0", side).len(), 1);
        }
        let clsact = here.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact");
        assert_eq!(clsact, !has_tcx());
    });
    assert!(hooks::are(&here, "tt0", &[], &[]));
    say("TC", if has_tcx() { "TCX links" } else { "clsact" });

    with_trace(&here, "tt0", IngressHook::Xdp, |notices| {
        assert_eq!(notices, []);
        let shown = here.run("bpftool", &["net", "show", "dev", "tt0"]);
        assert!(shown.contains("driver"), "{shown}");
        assert!(links(LinkType::Xdp) > 0, "from 5.9 on XDP goes by a link");
    });
    here.ip(&["link", "add", "br0", "type", "bridge"]);
    here.ip(&["link", "set", "br0", "up"]);
    with_trace(&here, "br0", IngressHook::Xdp, |notices| {
        assert!(matches!(notices, [Notice::XdpGeneric { .. }]), "{notices:?}");
    });
    say("XDP", "links; native on veth, generic on a bridge");
}

#[test]
fn the_verifier_says_what_it_walked() {
    let seeds = [1; SEED_WORDS];
    for (whose, harness) in [
        ("of one namespace", Harness::load(&seeds, 64, 1 << 16)),
        ("of several namespaces", Harness::load_shared(&seeds, 64, 1 << 16)),
    ] {
        let harness = harness.unwrap_or_else(|error| panic!("{whose}: {error}"));
        let walked = Program::ALL.map(|program| {
            let walked = harness.verified_instructions(program).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(walked.is_some(), kernel_is(5, 16), "{program:?}");
            walked.map_or_else(|| "not told".to_owned(), |count| count.to_string())
        });
        let name = format!("instructions walked, {whose} (TC in, out, without a link header in, out; XDP)");
        say(&name, &walked.join(", "));
    }
}

//! Filters on clsact, as on kernels before 6.6: beside those of others, and after a tracer that was killed.

use crate::{
    Child, closed, clsact, hold_if_told, hooks, netns::Netns, open, open_error, pair, programs_on,
    read_until, serve_one, stranger::Stranger, talk_to_from, within,
};
use aya::{
    programs::TcAttachType::{self, Egress, Ingress},
    sys::{Stats, enable_stats},
};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, recv, socket_with,
};
use std::os::fd::OwnedFd;
use tcptrace::kernel::attach::Notice;

const TC_ACT_OK: i32 = 0;

fn filters(ns: &Netns, side: &str) -> String {
    ns.tc(&["filter", "show", "dev", "tt0", side])
}

fn has_clsact(ns: &Netns) -> bool {
    ns.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact")
}

/// Somebody else's filter, which lets every packet go, so that whatever is behind it sees none.
fn theirs(ns: &Netns, side: TcAttachType, priority: u16) -> Stranger {
    let mut program = Stranger::tc("theirs", TC_ACT_OK);
    program.filter(ns, "tt0", side, priority);
    program
}

#[test]
fn our_clsact_goes_with_us() {
    let (here, _there) = pair();
    within(&here, async || {
        let (source, _) = open(&clsact("tt0"));
        let shown = programs_on(&here, "tt0");
        assert!(shown.contains("clsact/ingress") && shown.contains("clsact/egress"), "{shown}");
        drop(source);
    });
    assert!(!has_clsact(&here));
}

#[test]
fn ours_sees_what_filters_of_others_take_for_themselves() {
    let _counting = enable_stats(Stats::RunTime).expect("root may");
    // 0 is what the kernel chooses; where the first is taken it is shared.
    for priorities in [&[0][..], &[7], &[1], &[1, 2], &[300, 40000]] {
        let (here, there) = pair();
        here.tc(&["qdisc", "add", "dev", "tt0", "clsact"]);
        let strangers: Vec<_> = [Ingress, Egress]
            .into_iter()
            .flat_map(|side| priorities.iter().map(|it| theirs(&here, side, *it)).collect::<Vec<_>>())
            .collect();
        let before = ["ingress", "egress"].map(|side| filters(&here, side));
        let (address, server) = serve_one(&there);
        let inputs = within(&here, async || {
            let (mut source, said) = open(&clsact("tt0"));
            assert_eq!(said, [], "{priorities:?}");
            talk_to_from(&here, address);
            read_until(&mut source, closed).await
        });
        server.join().expect("the server is done");
        assert!(!inputs.is_empty());
        let lowest = priorities.iter().min().expect("one at least");
        for (stranger, priority) in strangers.iter().zip(priorities.iter().cycle()) {
            // Behind the first of them, which lets every packet go, the others see none.
            assert_eq!(stranger.runs() > 0, priority == lowest, "{priorities:?}: {priority}");
        }
        assert_eq!(["ingress", "egress"].map(|side| filters(&here, side)), before, "{priorities:?}");
        assert!(has_clsact(&here), "{priorities:?}");
    }
}

#[test]
fn a_filter_that_cannot_be_got_before_is_named() {
    let (here, _there) = pair();
    here.tc(&["qdisc", "add", "dev", "tt0", "clsact"]);
    let all = ["pref", "1", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1"];
    here.tc(&[&["filter", "add", "dev", "tt0", "ingress"], &all[..]].concat());
    let before = filters(&here, "ingress");
    within(&here, async || {
        let (_source, said) = open(&clsact("tt0"));
        assert_eq!(said, [Notice::BehindFilter { interface: "tt0".into(), kind: "u32".into() }]);
        assert!(filters(&here, "ingress").contains("pref 2 bpf"), "{}", filters(&here, "ingress"));
    });
    assert_eq!(filters(&here, "ingress"), before);
}

#[test]
fn our_clsact_stays_while_somebody_uses_it() {
    let (here, _there) = pair();
    within(&here, async || {
        let (source, _) = open(&clsact("tt0"));
        theirs(&here, Egress, 7);
        drop(source);
    });
    let left = filters(&here, "egress");
    assert!(left.contains("pref 7"), "{left}");
    assert!(!left.contains("tcptrace"), "{left}");
    assert!(has_clsact(&here));
}

/// Whoever of them ends first.
#[test]
fn the_clsact_of_several_tracers_goes_with_the_last() {
    for first in [0, 1] {
        let (here, _there) = pair();
        within(&here, async || {
            let mut sources = vec![open(&clsact("tt0")).0, open(&clsact("tt0")).0];
            drop(sources.remove(first));
            assert_eq!(filters(&here, "ingress").matches("tcptrace_tc_ingress").count(), 1);
            assert!(has_clsact(&here));
        });
        assert!(!has_clsact(&here), "the one that began as number {first} ended first");
    }
}

#[test]
fn what_is_left_after_sigkill_goes_with_the_next() {
    const NAME: &str = "clsact::what_is_left_after_sigkill_goes_with_the_next";
    hold_if_told(&clsact("tt0"));
    let (here, there) = pair();
    Child::start(NAME, &here).kill();
    let _theirs = theirs(&here, Ingress, 7);
    assert_eq!(filters(&here, "ingress").matches("tcptrace_tc_ingress").count(), 1);
    assert_eq!(filters(&here, "egress").matches("tcptrace_tc_egress").count(), 1);
    // Beside one that runs.
    let running = Child::start(NAME, &here);
    let ours = || filters(&here, "ingress").matches("tcptrace_tc_ingress").count();
    assert_eq!(ours(), 1, "the first one's went: {}", filters(&here, "ingress"));
    Child::start(NAME, &here).kill();
    assert_eq!(ours(), 2, "it removed nothing of what runs: {}", filters(&here, "ingress"));
    let (address, server) = serve_one(&there);
    within(&here, async || {
        let (mut source, said) = open(&clsact("tt0"));
        assert_eq!(said, [Notice::Leftovers { interface: "tt0".into(), count: 2 }]);
        assert_eq!(ours(), 2, "{}", filters(&here, "ingress"));
        talk_to_from(&here, address);
        read_until(&mut source, closed).await;
    });
    server.join().expect("the server is done");
    running.kill();
    // The qdisc was made by the first, and theirs is on it.
    within(&here, async || drop(open(&clsact("tt0"))));
    assert_eq!(ours(), 0);
    let left = filters(&here, "ingress");
    assert!(left.contains("pref 7") && has_clsact(&here), "{left}");
    here.tc(&["filter", "del", "dev", "tt0", "ingress", "pref", "7"]);
    within(&here, async || drop(open(&clsact("tt0"))));
    assert!(has_clsact(&here), "by now nobody knows whose it is");
}

#[test]
fn the_clsact_of_a_killed_tracer_goes_with_the_next() {
    hold_if_told(&clsact("tt0"));
    let (here, _there) = pair();
    Child::start("clsact::the_clsact_of_a_killed_tracer_goes_with_the_next", &here).kill();
    assert!(has_clsact(&here));
    within(&here, async || drop(open(&clsact("tt0"))));
    assert!(!has_clsact(&here));
    assert!(hooks::are(&here, "tt0", &[], &[]));
}

/// What tells whose it is comes with it, and goes with it.
#[test]
fn a_qdisc_of_ours_is_never_without_a_filter_of_ours() {
    hold_if_told(&clsact("tt0"));
    let (here, _there) = pair();
    for _ in 0..10 {
        let changes = changes(&here);
        let child = Child::spawn("clsact::a_qdisc_of_ours_is_never_without_a_filter_of_ours", &here);
        wait_for_a_new_qdisc(&changes);
        child.kill();
        let filters = ["ingress", "egress"].map(|side| filters(&here, side)).concat();
        assert!(filters.contains("/clsact"), "on the qdisc there is only: {filters}");
        within(&here, async || drop(open(&clsact("tt0"))));
        assert!(!has_clsact(&here));
    }
}

/// A socket that hears what becomes of qdiscs and filters in a namespace.
fn changes(ns: &Netns) -> OwnedFd {
    const RTMGRP_TC: u32 = 8;
    ns.enter(|| {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("a socket");
        bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_TC)).expect("a group");
        socket
    })
}

fn wait_for_a_new_qdisc(changes: &OwnedFd) {
    const RTM_NEWQDISC: [u8; 2] = 36_u16.to_ne_bytes();
    let mut message = [0; 1024];
    while message[4..6] != RTM_NEWQDISC {
        recv(changes, &mut message, RecvFlags::empty()).expect("it comes");
    }
}

#[test]
fn an_ingress_qdisc_in_the_way_is_named() {
    let (here, _there) = pair();
    here.tc(&["qdisc", "add", "dev", "tt0", "ingress"]);
    let error = open_error(&here, &clsact("tt0"));
    assert!(error.contains("an ingress qdisc is on tt0"), "{error}");
    assert!(here.tc(&["qdisc", "show", "dev", "tt0"]).contains("qdisc ingress"));
}

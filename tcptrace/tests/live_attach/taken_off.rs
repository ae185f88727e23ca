//! Somebody takes our programs off an interface that stays: a trace does not go on blind, and does not end as if nothing had
//! passed.

use crate::{
    DEADLINE, clsact, config, hooks,
    netns::{Netns, has_tcx},
    open, pair, programs_on, serve_one,
    stranger::detach,
    talk_to_from, within, xdp,
};
use aya::programs::TcAttachType::{Egress, Ingress};
use tcptrace::{
    kernel::attach::{AttachMode, Notice},
    segment::Input,
    source::{
        clock::monotonic_now,
        live::{AfterBatch, LiveConfig, LiveSource, Selection},
    },
};

/// Does it, in a namespace.
type Deed = fn(&Netns);

fn detach_ingress(ns: &Netns) {
    hooks::ids(ns, "tt0", Ingress).into_iter().for_each(detach);
}

fn detach_egress(ns: &Netns) {
    hooks::ids(ns, "tt0", Egress).into_iter().for_each(detach);
}

fn detach_xdp(ns: &Netns) {
    // `prog/xdp id 17 name tcptrace_xdp tag 0123`
    let shown = ns.ip(&["link", "show", "dev", "tt0"]);
    let id = shown.split("prog/xdp id ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    detach(id.unwrap_or_else(|| panic!("an XDP program is there: {shown}")));
}

fn remove_egress(ns: &Netns) {
    ns.tc(&["filter", "del", "dev", "tt0", "egress"]);
}

fn remove_qdisc(ns: &Netns) {
    ns.tc(&["qdisc", "del", "dev", "tt0", "clsact"]);
}

/// What a trace is by, and how somebody takes it off.
fn ways() -> Vec<(LiveConfig, Deed)> {
    let mut ways: Vec<(LiveConfig, Deed)> =
        vec![(xdp("tt0"), detach_xdp), (clsact("tt0"), remove_egress), (clsact("tt0"), remove_qdisc)];
    // Before 6.6 there are no links for TC.
    if has_tcx() {
        ways.push((config("tt0"), detach_ingress));
        ways.push((config("tt0"), detach_egress));
    }
    ways
}

fn assert_told(notices: &[Notice], interface: &str) {
    let [Notice::TakenOff { interface: told, since }] = notices else { panic!("{notices:?}") };
    assert_eq!(&**told, interface);
    let age = jiff::Timestamp::now().duration_since(*since);
    assert!(!age.is_negative() && age.unsigned_abs() < 2 * DEADLINE, "since {since}");
}

fn nothing_of_ours_is_on(ns: &Netns) -> bool {
    let tc = ["ingress", "egress"].map(|side| ns.tc(&["filter", "show", "dev", "tt0", side])).concat();
    let others = programs_on(ns, "tt0");
    !tc.contains("tcptrace") && !others.contains("tcptrace") && !others.contains("driver")
}

async fn next(source: &mut LiveSource, inputs: &mut Vec<Input>) -> AfterBatch {
    let next = tokio::time::timeout(DEADLINE, source.next_batch(inputs)).await;
    next.expect("there are ticks").expect("it goes well")
}

#[test]
fn programs_that_are_taken_off_end_the_trace_of_a_named_interface() {
    for (config, take_off) in ways() {
        let (here, _there) = pair();
        within(&here, async || {
            let (mut source, said) = open(&config);
            assert_eq!(said, []);
            let mut inputs = Vec::new();
            assert_eq!(next(&mut source, &mut inputs).await, AfterBatch::More, "it ticks");
            take_off(&here);
            let off = monotonic_now();
            while next(&mut source, &mut inputs).await == AfterBatch::More {}
            assert_told(&source.take_notices(), "tt0");
            let lost =
                inputs.iter().find_map(|it| if let Input::Lost(lost) = it { Some(lost) } else { None });
            let lost = lost.expect("what was open there is not known to the end");
            assert!(lost.after < off && lost.until >= off, "{lost:?}, and it was at {off:?}");
            assert_eq!((source.records_lost(), source.taken_off()), (0, 1));
            let error = source.verdict().expect_err("not all was seen").to_string();
            assert!(error.starts_with("the trace of tt0 ended before its time"), "{error}");
            assert!(nothing_of_ours_is_on(&here), "{}", programs_on(&here, "tt0"));
        });
    }
}

#[test]
fn it_is_found_out_at_the_end_however_short_the_trace_was() {
    for (config, take_off) in ways() {
        let (here, there) = pair();
        let (address, server) = serve_one(&there);
        within(&here, async || {
            let (mut source, _) = open(&config);
            take_off(&here);
            talk_to_from(&here, address);
            let mut inputs = Vec::new();
            source.finish(&mut inputs).expect("it finishes");
            assert!(inputs.iter().any(|it| matches!(it, Input::Lost(_))), "{inputs:?}");
            assert_told(&source.take_notices(), "tt0");
            assert!(source.verdict().is_err());
        });
        server.join().expect("the server is done");
    }
}

#[test]
fn with_any_the_trace_goes_on_with_the_others() {
    let (auto, clsact) = (AttachMode::Auto, AttachMode::Clsact);
    let ways: [(AttachMode, Deed); 2] =
        [(auto, if has_tcx() { detach_ingress } else { remove_egress }), (clsact, remove_qdisc)];
    for (attach, take_off) in ways {
        let (here, _there) = pair();
        within(&here, async || {
            let any = LiveConfig { interfaces: Selection::Any, attach, ..LiveConfig::default() };
            let (mut source, _) = open(&any);
            let mut inputs = Vec::new();
            take_off(&here);
            let mut notices = Vec::new();
            while notices.is_empty() {
                assert_eq!(next(&mut source, &mut inputs).await, AfterBatch::More);
                notices = source.take_notices();
            }
            assert_told(&notices, "tt0");
            assert_eq!(source.describe(), "lo (TC)");
            // They are not put back where somebody does not want them.
            here.ip(&["link", "set", "tt0", "down"]);
            here.ip(&["link", "set", "tt0", "up"]);
            here.rename("tt0", "tt2");
            while source.names().changes() == 0 {
                next(&mut source, &mut inputs).await;
            }
            assert_eq!(source.describe(), "lo (TC)");
            assert_eq!(source.take_notices(), []);
            // One of the same name is another interface.
            here.ip(&["link", "del", "tt2"]);
            here.ip(&["link", "add", "tt0", "type", "bridge"]);
            here.ip(&["link", "set", "tt0", "up"]);
            while source.describe() == "lo (TC)" {
                next(&mut source, &mut inputs).await;
            }
            source.finish(&mut inputs).expect("it finishes");
            assert_eq!(source.take_notices(), []);
            assert!(source.verdict().is_ok());
        });
    }
}

/// An interface takes its programs along: that it is gone is not heard yet when it is looked for them.
#[test]
fn an_interface_that_vanishes_is_not_one_that_programs_were_taken_off() {
    for config in [config("tt0"), clsact("tt0"), xdp("tt0")] {
        let (here, _there) = pair();
        within(&here, async || {
            let (mut source, _) = open(&config);
            here.ip(&["link", "del", "tt0"]);
            source.finish(&mut Vec::new()).expect("it finishes");
            let said = source.take_notices();
            assert!(!said.iter().any(|it| matches!(it, Notice::TakenOff { .. })), "{said:?}");
            assert_eq!(source.taken_off(), 0);
            assert!(source.verdict().is_ok());
        });
    }
}

/// Ours is gone with our filters; what is there then was made by somebody else.
#[test]
fn a_qdisc_that_somebody_has_made_in_the_place_of_ours_stays() {
    let (here, _there) = pair();
    within(&here, async || {
        let (mut source, _) = open(&clsact("tt0"));
        remove_qdisc(&here);
        here.tc(&["qdisc", "add", "dev", "tt0", "clsact"]);
        source.finish(&mut Vec::new()).expect("it finishes");
        assert_told(&source.take_notices(), "tt0");
    });
    assert!(here.tc(&["qdisc", "show", "dev", "tt0"]).contains("clsact"));
}

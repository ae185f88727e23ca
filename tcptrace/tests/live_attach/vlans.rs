//! Connections within a VLAN whose tag is beside the packet and not in it, as a device leaves it that takes tags off.

use super::{
    closed, config, open, pair, pending, read_until, segments, serve_one, skips::skip, stranger::Stranger,
    talk_to_from, within, xdp,
};
use crate::netns::has_tcx;
use aya::programs::TcAttachType::{Egress, Ingress};
use std::thread;
use tcptrace::{
    event::Outcome,
    kernel::attach::{IngressHook, Notice},
    segment::{Direction, Flow, Input, Segment},
    source::live::LiveConfig,
};

const VLAN: u16 = 5;

/// Of what comes in, XDP does not see the tag, which TC sees of what goes out.
fn is_one_connection(config: &LiveConfig) {
    let is_told = config.ingress == IngressHook::Tc;
    let Some(inputs) = one_connection(config, true, is_told) else { return };
    let vlan = if is_told { VLAN } else { Flow::NO_VLAN };
    assert!(segments(&inputs).iter().all(|it| it.flow.vlan == [vlan, Flow::NO_VLAN]), "{inputs:#?}");
}

/// What is seen of a connection whose client, or each end, sends with a tag. `None` where that cannot be.
fn one_connection(config: &LiveConfig, both: bool, is_told: bool) -> Option<Vec<Input>> {
    if !has_tcx() {
        skip("VLAN tags beside packets", "before Linux 6.6 no program can tag before ours looks");
        return None;
    }
    let (here, there) = pair();
    let (address, server) = serve_one(&there);
    let inputs = within(&here, async || {
        let (mut source, said) = open(config);
        assert_eq!(said, []);
        let ways = [(&here, "tt0", &there, "tt1"), (&there, "tt1", &here, "tt0")];
        let tagged = &ways[..if both { 2 } else { 1 }];
        let mut taggers = Vec::new();
        for &(from, out, to, inward) in tagged {
            let (mut on, mut off) = (Stranger::tagger("tag", Some(VLAN)), Stranger::tagger("untag", None));
            on.link_first(from, out, Egress);
            off.link(to, inward, Ingress);
            taggers.extend([on, off]);
        }
        let client = thread::scope(|scope| scope.spawn(|| talk_to_from(&here, address)).join());
        client.expect("the client is served");
        let mut inputs = read_until(&mut source, closed).await;
        source.finish(&mut inputs).expect("it finishes");
        let said = source.take_notices();
        assert_eq!(said.iter().filter(|it| **it == Notice::TagsNotTold).count(), usize::from(!is_told));
        inputs
    });
    server.join().expect("the server is done");
    let found = pending::connections(&inputs, address.port());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].outcome, found[0].common.complete), (Outcome::Closed, true), "{found:#?}");
    Some(inputs)
}

#[test]
fn a_tag_on_one_direction_makes_no_halves() {
    let Some(inputs) = one_connection(&config("tt0"), false, true) else { return };
    let fits = |it: &Segment| (it.flow.vlan[0] == VLAN) == (it.direction == Direction::Egress);
    assert!(segments(&inputs).iter().all(fits), "{inputs:#?}");
}

#[test]
fn a_tag_that_tc_sees_is_told() {
    is_one_connection(&config("tt0"));
}

#[test]
fn a_tag_that_xdp_does_not_see_tells_no_halves_apart() {
    is_one_connection(&xdp("tt0"));
}

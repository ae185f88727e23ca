//! The limit on the connections in the table, and which of them are evicted to stay within it.

use super::script::{OPEN, Run, config, segment};
use tcptrace_core::{
    event::{Kinds, Outcome},
    segment::Input,
    track::Config,
};

#[test]
fn the_table_never_exceeds_its_limit() {
    let mut r = Run::new(Config { max_connections: 3, wants: Kinds::ALL, ..config() });
    for port in 0..10u16 {
        let mut seg = segment("0 C S 1000");
        seg.flow.src_port = 1000 + port;
        r = r.input(&Input::Segment(seg));
        assert!(r.tracker.remembered() <= 3);
    }
    assert_eq!(r.connections().len(), 7);
    assert!(r.connections().iter().all(|c| c.outcome == Outcome::Evicted));
    assert_eq!(r.tracker.counts().evicted, 7);
}

#[test]
fn a_flood_of_syns_does_not_push_out_an_open_connection() {
    let mut r = Run::new(Config { max_connections: 3, wants: Kinds::ALL, ..config() }).feed(OPEN);
    for port in 0..10u16 {
        let mut seg = segment("20 C S 1000");
        seg.flow.src_port = 1000 + port;
        r = r.input(&Input::Segment(seg));
    }
    let r = r.finish("5000");
    let open: Vec<_> = r.connections().into_iter().filter(|c| c.outcome == Outcome::Open).collect();
    assert_eq!(open.len(), 1);
}

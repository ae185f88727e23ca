//! The names of interfaces, which come and go.

use super::script::{OPEN, Run, config};

#[test]
fn a_name_is_let_go_of_when_no_connection_is_to_be_told_of_with_it() {
    let mut run = Run::new(config()).feed(OPEN);
    run.tracker.name_interface(2, "veth2".into());
    let mut gone = vec![1, 2];
    run.tracker.forget_interfaces(&mut gone);
    assert_eq!(gone, [1], "its connection is open");
    let mut run = run.feed("20 S R 5001");
    assert_eq!(&*run.only().common.interface, "eth0");
    // Later segments of the connection may still be reported; one that is forgotten is not.
    run.tracker.forget_interfaces(&mut gone);
    assert_eq!(gone, [1]);
    let mut run = run.feed("20min tick");
    run.tracker.forget_interfaces(&mut gone);
    assert_eq!(gone, [0; 0]);
}

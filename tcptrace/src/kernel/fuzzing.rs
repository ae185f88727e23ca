//! What fuzzing runs of the kernel side, which is for tcptrace-testing and not in the program: the parsers of what the kernel
//! says. Others choose a part of that: names, paths, how much of it there is.
#![expect(clippy::missing_panics_doc, reason = "a panic is a finding")]

use crate::kernel::{
    attach::clsact,
    calls::netlink,
    interfaces::{self, Interface, watch::Links},
    namespaces::{self, nsid},
};

/// A datagram of rtnetlink, as an answer and as notifications of any kind.
pub fn netlink(datagram: &[u8]) {
    let messages = netlink::messages(datagram);
    assert!(messages.iter().map(|message| message.body.len()).sum::<usize>() <= datagram.len());
    let mut links = Links::default();
    for message in &messages {
        // Whatever it is taken for.
        let _ = (interfaces::default_route_of(message), nsid::gone(message));
        if let Some(filter) = clsact::Filter::from_message(message) {
            let _ = filter.label();
        }
        if let Some(interface) = Interface::from_message(message) {
            assert!(interface.name.len() <= 3 * message.body.len());
        }
        links.apply(message);
    }
    assert!(links.interfaces().count() <= messages.len());
}

/// A table of mounts, a list of control groups, and the target of a link in /proc.
pub fn tables(bytes: &[u8]) {
    for (_, mount) in namespaces::mounts(bytes) {
        assert!(mount.as_os_str().len() <= bytes.len());
    }
    let groups = String::from_utf8_lossy(bytes);
    if let Some(id) = namespaces::container(&groups) {
        assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let _ = namespaces::of_link(bytes);
}

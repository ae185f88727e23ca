//! The clsact qdisc, for kernels without TCX links: is there one, is anything on it, add one, remove one.

use super::netlink::{self, Message, Socket, push_attribute, text, u32_at};
use std::io;

/// `tcmsg` (`linux/rtnetlink.h`).
const TC_FIXED: usize = 20;
const TCA_KIND: u16 = 1;
/// `TC_H_CLSACT`: the handle that clsact and the older ingress qdisc share.
const HANDLE: u32 = 0xffff_fff1;
const HANDLE_QDISC: u32 = 0xffff_0000;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and its egress sibling.
const PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

/// What sits at the place of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    Nothing,
    Clsact,
    /// The older qdisc of the same handle: it has no egress side, and clsact cannot be added beside it.
    Ingress,
}

pub(super) fn present(index: u32) -> io::Result<Present> {
    let qdiscs = Socket::open()?.dump(netlink::RTM_GETQDISC, &fixed(index, 0, 0))?;
    // Kernels before 5.x ignore the index in a dump and list every interface.
    let kind = qdiscs
        .iter()
        .filter(|m| m.kind == netlink::RTM_NEWQDISC && is_at(m, index, HANDLE))
        .find_map(|m| m.attribute(TC_FIXED, TCA_KIND).map(text));
    Ok(match kind.as_deref() {
        None => Present::Nothing,
        Some("ingress") => Present::Ingress,
        Some(_) => Present::Clsact,
    })
}

/// Adds it; fails with `EEXIST` where there is one.
pub(super) fn add(index: u32) -> io::Result<()> {
    Socket::open()?.change(netlink::RTM_NEWQDISC, true, &qdisc(index))
}

/// Removes it if no filter of anybody is on it. True if it did.
pub(super) fn remove_if_unused(index: u32) -> io::Result<bool> {
    let socket = Socket::open()?;
    for parent in PARENTS {
        let filters = socket.dump(netlink::RTM_GETTFILTER, &fixed(index, 0, parent))?;
        if filters.iter().any(|m| m.kind == netlink::RTM_NEWTFILTER) {
            return Ok(false);
        }
    }
    socket.change(netlink::RTM_DELQDISC, false, &qdisc(index)).map(|()| true)
}

fn qdisc(index: u32) -> Vec<u8> {
    let mut body = fixed(index, HANDLE_QDISC, HANDLE).to_vec();
    push_attribute(&mut body, TCA_KIND, b"clsact\0");
    body
}

/// A `tcmsg`: family and padding, index, handle, parent, info.
fn fixed(index: u32, handle: u32, parent: u32) -> [u8; TC_FIXED] {
    let mut fixed = [0; TC_FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&handle.to_ne_bytes());
    fixed[12..16].copy_from_slice(&parent.to_ne_bytes());
    fixed
}

pub(super) fn is_at(message: &Message, index: u32, parent: u32) -> bool {
    message
        .fixed(TC_FIXED)
        .is_some_and(|fixed| u32_at(fixed, 4) == Some(index) && u32_at(fixed, 12) == Some(parent))
}

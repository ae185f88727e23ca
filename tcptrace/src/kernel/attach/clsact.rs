//! The clsact qdisc and its filters, for kernels without TCX links: lists those that are there, puts ours before them,
//! and removes ours.
//!
//! The kernel keeps a filter when the process that made it ends. So our filters name a program that is loaded only as
//! long as the tracer runs: the next tracer can tell the filters that a killed one left from those of a running one.

use super::hooks::Side;
use crate::kernel::calls::{
    errors::errno,
    netlink::{self, Message, Socket, nested, push_attribute, text, u32_at},
};
use rustix::io::Errno;
use std::{
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Octets of `tcmsg` (`linux/rtnetlink.h`).
const TC_FIXED: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
/// Options of a filter of the kind bpf (`linux/pkt_cls.h`).
const TCA_BPF_CLASSID: u16 = 3;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// Packets of all protocols.
const ETH_P_ALL: u16 = 3;
/// `TC_H_CLSACT`: the handle that clsact and the older ingress qdisc share.
const HANDLE: u32 = 0xffff_fff1;
const HANDLE_QDISC: u32 = 0xffff_0000;
/// What the names of all our filters begin with.
const OURS: &str = "tcptrace_tc_";

/// The parent of the filters of a side: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`, or the same with `TC_H_MIN_EGRESS`.
const fn parent(side: Side) -> u32 {
    match side {
        Side::Ingress => 0xffff_fff2,
        Side::Egress => 0xffff_fff3,
    }
}

/// Which qdisc has the handle of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    Nothing,
    Clsact,
    /// The older ingress qdisc, which has the same handle. It has no egress side, and clsact cannot be added beside it.
    Ingress,
}

/// The kinds of the qdiscs of an interface, from the one at its root on.
pub(super) fn qdiscs(index: u32) -> io::Result<Vec<String>> {
    let all = Socket::open()?.dump(netlink::RTM_GETQDISC, &fixed(index, 0, 0, 0))?;
    // Kernels before 5.x ignore the index in a dump and list every interface.
    let here = all.iter().filter(|m| m.kind == netlink::RTM_NEWQDISC && index_of(m) == Some(index));
    Ok(here.filter_map(|m| m.attribute(TC_FIXED, TCA_KIND).map(text)).collect())
}

/// Which qdisc of an interface has the handle of clsact.
pub(super) fn present(index: u32) -> io::Result<Present> {
    Ok(Present::among(&qdiscs(index)?))
}

impl Present {
    /// Finds it among the kinds of an interface's qdiscs. Both kinds exist only with this handle.
    pub(super) fn among(kinds: &[String]) -> Self {
        let has = |kind: &str| kinds.iter().any(|it| it == kind);
        if has("clsact") {
            Self::Clsact
        } else if has("ingress") {
            Self::Ingress
        } else {
            Self::Nothing
        }
    }
}

/// Removes the clsact qdisc with its filters if `is_ours` is true of all of them. Returns whether it did.
pub(super) fn remove_if_all(index: u32, is_ours: impl Fn(&Filter) -> bool) -> io::Result<bool> {
    let socket = Socket::open()?;
    for side in Side::BOTH {
        if !dump(&socket, index, side)?.iter().all(|it| it.is_head() || is_ours(it)) {
            return Ok(false);
        }
    }
    socket.change(netlink::RTM_DELQDISC, false, &qdisc(index)).map(|()| true)
}

/// The body of a message about the clsact qdisc of an interface.
fn qdisc(index: u32) -> Vec<u8> {
    let mut body = fixed(index, HANDLE_QDISC, HANDLE, 0).to_vec();
    push_attribute(&mut body, TCA_KIND, b"clsact\0");
    body
}

/// A filter, or the head of the filters of one priority, which has the handle 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(super) chain: u32,
    pub(super) priority: u16,
    /// The protocol of the packets that it sees, as an Ethernet type.
    pub(super) protocol: u16,
    pub(super) handle: u32,
    pub(super) kind: String,
    /// The name that its maker gave it, if it is of the kind bpf.
    pub(super) name: Option<String>,
    /// The kernel's number for its program, if it is of the kind bpf.
    pub(super) program: Option<u32>,
}

impl Filter {
    /// Reads a filter from a message; None if the message lacks what every filter has.
    pub(crate) fn from_message(message: &Message) -> Option<Self> {
        let fixed = message.fixed(TC_FIXED)?;
        let info = u32_at(fixed, 16)?;
        let kind = text(message.attribute(TC_FIXED, TCA_KIND)?);
        let options = message.attribute(TC_FIXED, TCA_OPTIONS).filter(|_| kind == "bpf").unwrap_or_default();
        Some(Self {
            chain: message.attribute(TC_FIXED, TCA_CHAIN).and_then(|chain| u32_at(chain, 0)).unwrap_or(0),
            priority: u16::try_from(info >> 16).ok()?,
            // The protocol is in network order, in the lower half of a number that is in the host's order.
            protocol: u16::from_be(u16::try_from(info & 0xffff).ok()?),
            handle: u32_at(fixed, 8)?,
            kind,
            name: nested(options, TCA_BPF_NAME).map(text),
            program: nested(options, TCA_BPF_ID).and_then(|id| u32_at(id, 0)),
        })
    }

    /// The filter's label, if a tracer made the filter.
    pub(crate) fn label(&self) -> Option<Label> {
        Label::parse(self.name.as_deref()?)
    }

    /// Whether it is the head of the filters of one priority, and no filter itself.
    fn is_head(&self) -> bool {
        self.handle == 0
    }

    /// Whether a filter of ours can have the same priority: those of one priority are of one kind and protocol.
    fn is_shareable(&self) -> bool {
        self.kind == "bpf" && self.protocol == ETH_P_ALL
    }
}

/// The filters of one side, heads included, in the order in which packets meet them.
pub(super) fn filters(index: u32, side: Side) -> io::Result<Vec<Filter>> {
    dump(&Socket::open()?, index, side)
}

fn dump(socket: &Socket, index: u32, side: Side) -> io::Result<Vec<Filter>> {
    let messages = socket.dump(netlink::RTM_GETTFILTER, &fixed(index, 0, parent(side), 0))?;
    let filters = messages.iter().filter(|m| m.kind == netlink::RTM_NEWTFILTER);
    Ok(filters.filter_map(Filter::from_message).collect())
}

/// The place of a filter that packets meet before all others, as far as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// The filter's priority; 0 lets the kernel choose.
    priority: u16,
    /// The first filter that packets meet before it all the same.
    behind: Option<Filter>,
}

/// The slot before these filters.
///
/// If the kernel chooses a priority, it is just before the filters from priority 32,768 on, which are those whose
/// priorities it has chosen, and so behind all filters whose makers chose a lower one (`net/sched/cls_api.c`,
/// `tc_new_tfilter`). We choose the priority just before all filters, so that the first one stays free for a program
/// that asks for it.
fn slot(filters: &[Filter]) -> Slot {
    // Packets begin in chain 0. Filters of other chains are met only if one of chain 0 goes there.
    let mut first: Vec<_> = filters.iter().filter(|it| it.chain == 0).collect();
    first.sort_by_key(|it| it.priority);
    let Some(lowest) = first.first().map(|it| it.priority) else { return Slot { priority: 0, behind: None } };
    if lowest > 1 {
        return Slot { priority: lowest - 1, behind: None };
    }
    // Within a priority the filter that came last is met first (net/sched/cls_bpf.c, cls_bpf_change), but all have to
    // be of one kind and protocol.
    let mut priority = 1;
    let mut behind = None;
    for filter in first {
        if filter.priority > priority || (filter.priority == priority && filter.is_shareable()) {
            break;
        }
        if filter.priority == priority {
            behind.get_or_insert_with(|| filter.clone());
            priority = priority.saturating_add(1);
        }
    }
    Slot { priority, behind }
}

/// The first of a side's filters that packets would meet before one of ours all the same.
pub(super) fn in_front(filters: &[Filter]) -> Option<Filter> {
    slot(filters).behind
}

/// The name of a filter of ours: `tcptrace_tc_egress/4711`, with `/clsact` behind it if a tracer made the qdisc. It has
/// the name of the program in the filter, and the number of the program that is loaded as long as the filter's tracer
/// runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    entry: String,
    /// The kernel's number for the program that is loaded as long as the tracer runs.
    pub(super) alive: u32,
    /// Whether a tracer made the qdisc, so that the last tracer to end removes it.
    pub(super) owns_qdisc: bool,
}

impl Label {
    pub(super) fn new(entry: &str, alive: u32, owns_qdisc: bool) -> Self {
        Self { entry: entry.to_owned(), alive, owns_qdisc }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let entry = parts.next().filter(|entry| entry.starts_with(OURS))?;
        let alive = parts.next()?.parse().ok()?;
        Some(Self::new(entry, alive, parts.next() == Some("clsact")))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let qdisc = if self.owns_qdisc { "/clsact" } else { "" };
        write!(f, "{}/{}{qdisc}", self.entry, self.alive)
    }
}

/// A filter of ours on an interface, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct OwnFilter {
    index: u32,
    side: Side,
    priority: u16,
    handle: u32,
    program: u32,
}

impl OwnFilter {
    /// Whether this is the filter that the kernel describes.
    pub(super) fn is(&self, filter: &Filter) -> bool {
        (filter.priority, filter.handle, filter.program) == (self.priority, self.handle, Some(self.program))
    }

    /// Whether somebody has removed the filter from an interface that is still there.
    pub(super) fn is_removed(&self) -> bool {
        // When an interface is deleted, the kernel first forgets its index and then removes filters (net/core/dev.c,
        // unregister_netdevice_many). Asked a second time, it then says that there is no such interface.
        self.is_missing() && self.is_missing()
    }

    /// Whether the kernel says that the interface has no such filter. Any other error tells nothing.
    fn is_missing(&self) -> bool {
        let info = info(self.priority, ETH_P_ALL);
        let mut body = fixed(self.index, self.handle, parent(self.side), info).to_vec();
        push_attribute(&mut body, TCA_KIND, b"bpf\0");
        match Socket::open().and_then(|socket| socket.ask(netlink::RTM_GETTFILTER, &body)) {
            Ok(found) => !found.iter().filter_map(Filter::from_message).any(|it| self.is(&it)),
            // EINVAL is that there is no qdisc, ENOENT that there is no such filter (net/sched/cls_api.c,
            // tc_get_tfilter).
            Err(error) => matches!(errno(&error), Some(Errno::INVAL | Errno::NOENT)),
        }
    }
}

/// A loaded program, by its descriptor and the kernel's number for it, with the `tc_classid` that it finds beside each
/// packet.
#[derive(Clone, Copy)]
pub(super) struct Loaded<'a> {
    pub(super) program: BorrowedFd<'a>,
    pub(super) id: u32,
    pub(super) classid: u16,
}

/// Puts a filter with a program of ours before all filters of a side. Returns also the first filter that is before it
/// all the same.
pub(super) fn attach(
    index: u32,
    side: Side,
    program: Loaded<'_>,
    label: &Label,
) -> io::Result<(OwnFilter, Option<Filter>)> {
    let socket = Socket::open()?;
    let Slot { priority, behind } = slot(&dump(&socket, index, side)?);
    let answers = socket.create(netlink::RTM_NEWTFILTER, &filter(index, side, priority, program, label))?;
    Ok((made(index, side, program, &answers)?, behind))
}

/// Makes the qdisc and a filter on it in one system call, so that the qdisc is never there without a filter that tells
/// whose it is. Fails with `EEXIST` if there is a qdisc already.
pub(super) fn attach_with_qdisc(
    index: u32,
    side: Side,
    program: Loaded<'_>,
    label: &Label,
) -> io::Result<OwnFilter> {
    let filter = filter(index, side, 0, program, label);
    let (qdisc, filter) = Socket::open()?
        .create_both((netlink::RTM_NEWQDISC, &qdisc(index)), (netlink::RTM_NEWTFILTER, &filter))?;
    // If the qdisc was there already, `qdisc?` drops the filter, which removes it.
    let filter = filter.and_then(|answers| made(index, side, program, &answers));
    qdisc?;
    if filter.is_err() {
        let _ = remove_if_all(index, |_| false);
    }
    filter
}

/// The body of the message that makes a filter of ours.
fn filter(index: u32, side: Side, priority: u16, loaded: Loaded<'_>, label: &Label) -> Vec<u8> {
    let mut body = fixed(index, 0, parent(side), info(priority, ETH_P_ALL)).to_vec();
    push_attribute(&mut body, TCA_KIND, b"bpf\0");
    let mut options = Vec::new();
    // Without the attribute the packet's tc_classid is 0.
    if loaded.classid != 0 {
        push_attribute(&mut options, TCA_BPF_CLASSID, &u32::from(loaded.classid).to_ne_bytes());
    }
    push_attribute(&mut options, TCA_BPF_FD, &loaded.program.as_raw_fd().to_ne_bytes());
    push_attribute(&mut options, TCA_BPF_NAME, format!("{label}\0").as_bytes());
    push_attribute(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
    push_attribute(&mut body, TCA_OPTIONS, &options);
    body
}

/// The filter that the kernel has made, by its answer.
fn made(index: u32, side: Side, loaded: Loaded<'_>, answers: &[Message]) -> io::Result<OwnFilter> {
    let made = answers.iter().filter_map(Filter::from_message).find(|it| !it.is_head());
    let made = made.ok_or_else(|| io::Error::other("the kernel does not say where it put the filter"))?;
    Ok(OwnFilter { index, side, priority: made.priority, handle: made.handle, program: loaded.id })
}

impl Drop for OwnFilter {
    fn drop(&mut self) {
        // This fails if the interface is gone, and the filter with it. There is nobody to report an error to.
        let _ = remove(self.index, self.side, |it| self.is(it));
    }
}

/// Removes the filters of a side that `is_ours` is true of, and no others. Returns those that it removed.
pub(super) fn remove(index: u32, side: Side, is_ours: impl Fn(&Filter) -> bool) -> io::Result<Vec<Filter>> {
    let socket = Socket::open()?;
    let mut found = dump(&socket, index, side)?;
    // Removing a head, which has no handle, would remove all filters of its priority.
    found.retain(|it| !it.is_head() && it.chain == 0 && is_ours(it));
    for filter in &found {
        let body = fixed(index, filter.handle, parent(side), info(filter.priority, filter.protocol));
        socket.change(netlink::RTM_DELTFILTER, false, &body)?;
    }
    Ok(found)
}

/// The bytes of a `tcmsg`: family and padding, index, handle, parent, info.
fn fixed(index: u32, handle: u32, parent: u32, info: u32) -> [u8; TC_FIXED] {
    let mut fixed = [0; TC_FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&handle.to_ne_bytes());
    fixed[12..16].copy_from_slice(&parent.to_ne_bytes());
    fixed[16..20].copy_from_slice(&info.to_ne_bytes());
    fixed
}

/// The info of a filter's `tcmsg`: the priority in the upper half, and in the lower one the protocol in network order.
const fn info(priority: u16, protocol: u16) -> u32 {
    (priority as u32) << 16 | protocol.to_be() as u32
}

fn index_of(message: &Message) -> Option<u32> {
    u32_at(message.fixed(TC_FIXED)?, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(priority: u16, kind: &str, protocol: u16) -> Filter {
        Filter { chain: 0, priority, protocol, handle: 1, kind: kind.to_owned(), name: None, program: None }
    }

    #[test]
    fn a_slot_is_before_all_filters_that_are_there() {
        let (bpf, ip) = (|priority| filter(priority, "bpf", ETH_P_ALL), |p| filter(p, "flower", 0x0800));
        let elsewhere = Filter { chain: 7, ..ip(1) };
        for (filters, priority, behind) in [
            (vec![], 0, None),
            (vec![elsewhere], 0, None),
            (vec![bpf(49152)], 49151, None),
            (vec![ip(9), bpf(7)], 6, None),
            (vec![ip(2)], 1, None),
            // A priority is shared with filters of the same kind.
            (vec![bpf(1), ip(2)], 1, None),
            (vec![ip(1)], 2, Some(ip(1))),
            (vec![ip(1), ip(1), ip(2), bpf(3)], 3, Some(ip(1))),
            (vec![ip(1), ip(2), ip(5)], 3, Some(ip(1))),
        ] {
            assert_eq!(slot(&filters), Slot { priority, behind }, "{filters:?}");
        }
    }

    #[test]
    fn a_label_is_read_back_and_others_are_not_taken_for_one() {
        for owns_qdisc in [true, false] {
            let label = Label::new("tcptrace_tc_egress", 4711, owns_qdisc);
            assert_eq!(Label::parse(&label.to_string()), Some(label));
        }
        for other in ["", "tcptrace_tc_egress", "tcptrace_tc_egress/x", "cil_from_netdev", "from/17/clsact"] {
            assert_eq!(Label::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_filter_is_read_from_its_message() {
        let mut body = fixed(3, 1, parent(Side::Egress), 7 << 16 | u32::from(ETH_P_ALL.to_be())).to_vec();
        push_attribute(&mut body, TCA_KIND, b"bpf\0");
        push_attribute(&mut body, TCA_CHAIN, &2_u32.to_ne_bytes());
        let mut options = Vec::new();
        push_attribute(&mut options, TCA_BPF_NAME, b"theirs\0");
        push_attribute(&mut options, TCA_BPF_ID, &99_u32.to_ne_bytes());
        push_attribute(&mut body, TCA_OPTIONS, &options);
        let message = Message { kind: netlink::RTM_NEWTFILTER, body };
        let expected = Filter {
            chain: 2,
            name: Some("theirs".to_owned()),
            program: Some(99),
            ..filter(7, "bpf", ETH_P_ALL)
        };
        assert_eq!(Filter::from_message(&message), Some(expected));
    }
}

//! The clsact qdisc and its filters, for kernels without TCX links: what is there, and ours put before it and taken off.
//!
//! A filter belongs to nobody: it stays when its maker goes. So ours name a program that is loaded only as long as the
//! tracer runs, and whoever comes next can tell what a killed one left from what a running one has there.

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

/// `tcmsg` (`linux/rtnetlink.h`).
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

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` and its egress sibling.
const fn parent(side: Side) -> u32 {
    match side {
        Side::Ingress => 0xffff_fff2,
        Side::Egress => 0xffff_fff3,
    }
}

/// What sits at the place of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    Nothing,
    Clsact,
    /// The older qdisc of the same handle: it has no egress side, and clsact cannot be added beside it.
    Ingress,
}

/// The kinds of the qdiscs of an interface, from the one at its root on.
pub(super) fn qdiscs(index: u32) -> io::Result<Vec<String>> {
    let all = Socket::open()?.dump(netlink::RTM_GETQDISC, &fixed(index, 0, 0, 0))?;
    // Kernels before 5.x ignore the index in a dump and list every interface.
    let here = all.iter().filter(|m| m.kind == netlink::RTM_NEWQDISC && index_of(m) == Some(index));
    Ok(here.filter_map(|m| m.attribute(TC_FIXED, TCA_KIND).map(text)).collect())
}

pub(super) fn present(index: u32) -> io::Result<Present> {
    Ok(Present::among(&qdiscs(index)?))
}

impl Present {
    /// Among the kinds of an interface's qdiscs: both are found nowhere but at this place.
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

/// Removes it, with the filters on it, if all of them are such. True if it did.
pub(super) fn remove_if_all(index: u32, such: impl Fn(&Filter) -> bool) -> io::Result<bool> {
    let socket = Socket::open()?;
    for side in Side::BOTH {
        if !dump(&socket, index, side)?.iter().all(|it| it.is_head() || such(it)) {
            return Ok(false);
        }
    }
    socket.change(netlink::RTM_DELQDISC, false, &qdisc(index)).map(|()| true)
}

fn qdisc(index: u32) -> Vec<u8> {
    let mut body = fixed(index, HANDLE_QDISC, HANDLE, 0).to_vec();
    push_attribute(&mut body, TCA_KIND, b"clsact\0");
    body
}

/// A filter, or the head of several filters of one priority, which has the handle 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(super) chain: u32,
    pub(super) priority: u16,
    /// As in an Ethernet header.
    pub(super) protocol: u16,
    pub(super) handle: u32,
    pub(super) kind: String,
    /// Of the kind bpf: what its maker called it, and the program.
    pub(super) name: Option<String>,
    pub(super) program: Option<u32>,
}

impl Filter {
    pub(crate) fn from_message(message: &Message) -> Option<Self> {
        let fixed = message.fixed(TC_FIXED)?;
        let info = u32_at(fixed, 16)?;
        let kind = text(message.attribute(TC_FIXED, TCA_KIND)?);
        let options = message.attribute(TC_FIXED, TCA_OPTIONS).filter(|_| kind == "bpf").unwrap_or_default();
        Some(Self {
            chain: message.attribute(TC_FIXED, TCA_CHAIN).and_then(|chain| u32_at(chain, 0)).unwrap_or(0),
            priority: u16::try_from(info >> 16).ok()?,
            // In network order in the lower half, wherever that is.
            protocol: u16::from_be(u16::try_from(info & 0xffff).ok()?),
            handle: u32_at(fixed, 8)?,
            kind,
            name: nested(options, TCA_BPF_NAME).map(text),
            program: nested(options, TCA_BPF_ID).and_then(|id| u32_at(id, 0)),
        })
    }

    /// The label, if a tracer made it.
    pub(crate) fn label(&self) -> Option<Label> {
        Label::parse(self.name.as_deref()?)
    }

    /// What filters of one priority hang on; there is none without them.
    fn is_head(&self) -> bool {
        self.handle == 0
    }

    fn is_shareable(&self) -> bool {
        self.kind == "bpf" && self.protocol == ETH_P_ALL
    }
}

/// The filters of one side, with the heads, in the order that packets meet them.
pub(super) fn filters(index: u32, side: Side) -> io::Result<Vec<Filter>> {
    dump(&Socket::open()?, index, side)
}

fn dump(socket: &Socket, index: u32, side: Side) -> io::Result<Vec<Filter>> {
    let messages = socket.dump(netlink::RTM_GETTFILTER, &fixed(index, 0, parent(side), 0))?;
    let filters = messages.iter().filter(|m| m.kind == netlink::RTM_NEWTFILTER);
    Ok(filters.filter_map(Filter::from_message).collect())
}

/// Where a filter is put so that packets meet it before all others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// 0 lets the kernel choose.
    priority: u16,
    /// Those that could not be got before.
    behind: Option<Filter>,
}

/// Left to itself the kernel puts a filter before those from priority 32,768 on, where it has put the others that were left
/// to it, and behind all whose makers chose a lower one (`net/sched/cls_api.c`, `tc_new_tfilter`). We choose the one just
/// before all of them, so that the place of whoever asks for the first stays free.
fn slot(filters: &[Filter]) -> Slot {
    // The others are entered from this chain alone.
    let mut first: Vec<_> = filters.iter().filter(|it| it.chain == 0).collect();
    first.sort_by_key(|it| it.priority);
    let Some(lowest) = first.first().map(|it| it.priority) else { return Slot { priority: 0, behind: None } };
    if lowest > 1 {
        return Slot { priority: lowest - 1, behind: None };
    }
    // Within a priority the filter that came last is met first (net/sched/cls_bpf.c, cls_bpf_change), but all have to be
    // of one kind and protocol.
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

/// The filter of a side, of all of these, that one of ours would be behind.
pub(super) fn in_front(filters: &[Filter]) -> Option<Filter> {
    slot(filters).behind
}

/// What our filters are called: by the program in it, by that which is loaded while its tracer lives, and by who made the
/// qdisc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    entry: String,
    /// The number of a program.
    pub(super) alive: u32,
    /// The qdisc was made by a tracer and goes with the last one.
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

/// A filter of ours, removed when it is dropped.
#[derive(Debug)]
pub(super) struct OwnFilter {
    index: u32,
    side: Side,
    priority: u16,
    handle: u32,
    program: u32,
}

impl OwnFilter {
    pub(super) fn is(&self, filter: &Filter) -> bool {
        (filter.priority, filter.handle, filter.program) == (self.priority, self.handle, Some(self.program))
    }

    /// Somebody has removed it, and the interface is there.
    pub(super) fn is_removed(&self) -> bool {
        // From an interface that is deleted the kernel takes the index first and filters then (net/core/dev.c,
        // unregister_netdevice_many): when asked once more, it knows none.
        self.is_missing() && self.is_missing()
    }

    /// The kernel says so of this interface; where it says something else, nothing is known.
    fn is_missing(&self) -> bool {
        let info = info(self.priority, ETH_P_ALL);
        let mut body = fixed(self.index, self.handle, parent(self.side), info).to_vec();
        push_attribute(&mut body, TCA_KIND, b"bpf\0");
        match Socket::open().and_then(|socket| socket.ask(netlink::RTM_GETTFILTER, &body)) {
            Ok(found) => !found.iter().filter_map(Filter::from_message).any(|it| self.is(&it)),
            // No qdisc, and no such filter (net/sched/cls_api.c, tc_get_tfilter).
            Err(error) => matches!(errno(&error), Some(Errno::INVAL | Errno::NOENT)),
        }
    }
}

/// A program that is loaded, by its descriptor and number, and the `tc_classid` that it finds with each packet.
#[derive(Clone, Copy)]
pub(super) struct Loaded<'a> {
    pub(super) program: BorrowedFd<'a>,
    pub(super) id: u32,
    pub(super) classid: u16,
}

/// Puts a program before all filters of a side; says which one it is behind all the same.
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

/// Makes the qdisc and puts a program on it, in one step: there is no moment at which the qdisc is there and nothing tells
/// whose it is. Fails with `EEXIST` where there is one.
pub(super) fn attach_with_qdisc(
    index: u32,
    side: Side,
    program: Loaded<'_>,
    label: &Label,
) -> io::Result<OwnFilter> {
    let filter = filter(index, side, 0, program, label);
    let (qdisc, filter) = Socket::open()?
        .create_both((netlink::RTM_NEWQDISC, &qdisc(index)), (netlink::RTM_NEWTFILTER, &filter))?;
    // Dropped, and so removed, if the qdisc was somebody else's.
    let filter = filter.and_then(|answers| made(index, side, program, &answers));
    qdisc?;
    if filter.is_err() {
        let _ = remove_if_all(index, |_| false);
    }
    filter
}

/// The message that makes a filter of ours.
fn filter(index: u32, side: Side, priority: u16, loaded: Loaded<'_>, label: &Label) -> Vec<u8> {
    let mut body = fixed(index, 0, parent(side), info(priority, ETH_P_ALL)).to_vec();
    push_attribute(&mut body, TCA_KIND, b"bpf\0");
    let mut options = Vec::new();
    // Without it the number is 0.
    if loaded.classid != 0 {
        push_attribute(&mut options, TCA_BPF_CLASSID, &u32::from(loaded.classid).to_ne_bytes());
    }
    push_attribute(&mut options, TCA_BPF_FD, &loaded.program.as_raw_fd().to_ne_bytes());
    push_attribute(&mut options, TCA_BPF_NAME, format!("{label}\0").as_bytes());
    push_attribute(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
    push_attribute(&mut body, TCA_OPTIONS, &options);
    body
}

/// What the kernel made of it.
fn made(index: u32, side: Side, loaded: Loaded<'_>, answers: &[Message]) -> io::Result<OwnFilter> {
    let made = answers.iter().filter_map(Filter::from_message).find(|it| !it.is_head());
    let made = made.ok_or_else(|| io::Error::other("the kernel does not say where it put the filter"))?;
    Ok(OwnFilter { index, side, priority: made.priority, handle: made.handle, program: loaded.id })
}

impl Drop for OwnFilter {
    fn drop(&mut self) {
        // The interface may be gone, and the filter with it; there is nobody left to tell.
        let _ = remove(self.index, self.side, |it| self.is(it));
    }
}

/// Removes the filters that are such, and no others; those that were.
pub(super) fn remove(index: u32, side: Side, such: impl Fn(&Filter) -> bool) -> io::Result<Vec<Filter>> {
    let socket = Socket::open()?;
    let mut found = dump(&socket, index, side)?;
    // Without a handle all of a priority would go.
    found.retain(|it| !it.is_head() && it.chain == 0 && such(it));
    for filter in &found {
        let body = fixed(index, filter.handle, parent(side), info(filter.priority, filter.protocol));
        socket.change(netlink::RTM_DELTFILTER, false, &body)?;
    }
    Ok(found)
}

/// A `tcmsg`: family and padding, index, handle, parent, info.
fn fixed(index: u32, handle: u32, parent: u32, info: u32) -> [u8; TC_FIXED] {
    let mut fixed = [0; TC_FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&handle.to_ne_bytes());
    fixed[12..16].copy_from_slice(&parent.to_ne_bytes());
    fixed[16..20].copy_from_slice(&info.to_ne_bytes());
    fixed
}

/// Of a filter: the protocol is in network order in the lower half, wherever that is.
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

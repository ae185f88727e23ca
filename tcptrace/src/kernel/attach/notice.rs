//! Notices for the user about the interfaces of a trace.

use std::{fmt, sync::Arc};

/// Something that the user should know about a trace, and that does not end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The driver refuses native XDP, and generic XDP is used.
    XdpGeneric {
        /// The interface.
        interface: Arc<str>,
        /// Why the driver refuses.
        reason: String,
    },
    /// XDP makes no sense on an interface, and TC is used.
    XdpNotThere {
        /// The interface.
        interface: Arc<str>,
        /// Why XDP makes no sense there.
        why: &'static str,
    },
    /// A VLAN tag was seen where not all tags are seen, so that tags are ignored.
    TagsNotTold,
    /// An interface that was asked for by name is gone.
    Vanished {
        /// The interface.
        interface: Arc<str>,
    },
    /// Somebody has taken programs off an interface that is still there.
    TakenOff {
        /// The interface.
        interface: Arc<str>,
        /// When all programs were last seen there.
        since: jiff::Timestamp,
    },
    /// A traced interface has another name now.
    Renamed {
        /// The name that it had.
        interface: Arc<str>,
        /// The name that it has now.
        name: Arc<str>,
    },
    /// Filters that a killed tracer had left were removed.
    Leftovers {
        /// The interface.
        interface: Arc<str>,
        /// How many filters were removed.
        count: usize,
    },
    /// Packets meet a filter of somebody else's before ours.
    BehindFilter {
        /// The interface.
        interface: Arc<str>,
        /// The kind of the other filter.
        kind: String,
    },
    /// An interface could not be attached to and is left out, in a trace of all interfaces or of all namespaces.
    LeftOut {
        /// The interface.
        interface: Arc<str>,
        /// Why it could not be attached to.
        reason: String,
    },
    /// A namespace cannot be traced and is left out, in a trace of all namespaces.
    NamespaceLeftOut {
        /// The namespace's name.
        netns: String,
        /// Why it cannot be traced.
        reason: String,
    },
    /// Processes may not be looked at, so that a namespace that only they are in is not found.
    HiddenProcesses {
        /// How many processes these are.
        count: u64,
    },
    /// Processes were asked for, and cannot be seen.
    NoProcesses {
        /// Why they cannot.
        reason: String,
    },
    /// Which programs processes run cannot be seen.
    NoExecutables {
        /// Why it cannot.
        reason: String,
    },
    /// The kernel programs were built without a log.
    NoKernelLog,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XdpGeneric { interface, reason } => write!(
                f,
                "{interface} refuses native XDP ({reason}): using generic XDP, which is slower than \
                 --ingress tc, and for which the kernel switches LRO and GRO_HW off for good where they are on"
            ),
            Self::XdpNotThere { interface, why } => {
                write!(f, "XDP is not used on {interface} ({why}): using TC there")
            }
            Self::TagsNotTold => f.write_str(
                "there are VLAN tags, which are not told of and tell no connections apart with --ingress xdp: a device may \
                 take them off before XDP sees the packet; --ingress tc sees all",
            ),
            Self::Leftovers { interface, count } => {
                write!(f, "removed {count} filters from {interface} that a killed tcptrace had left there")
            }
            Self::BehindFilter { interface, kind } => write!(
                f,
                "a filter ({kind}) has the first priority on {interface}: packets that it takes for itself are not \
                 seen (tc filter show dev {interface} ingress, egress)"
            ),
            Self::Vanished { interface } => write!(f, "interface {interface} is gone: its trace ends here"),
            Self::TakenOff { interface, since } => write!(
                f,
                "somebody has taken the programs off {interface} (bpftool link detach, tc qdisc del, or the like): it is \
                 not traced any more, since about {since:.0}"
            ),
            Self::Renamed { interface, name } => write!(f, "interface {interface} is called {name} now"),
            Self::LeftOut { interface, reason } => write!(f, "interface {interface} is not traced: {reason}"),
            Self::NamespaceLeftOut { netns, reason } => {
                write!(f, "network namespace {netns} is not traced: {reason}")
            }
            Self::HiddenProcesses { count } => write!(
                f,
                "processes that may not be looked at: {count} (CAP_SYS_PTRACE, or a security module); a network \
                 namespace that nobody else is in is not traced"
            ),
            Self::NoProcesses { reason } => write!(f, "processes are not known: {reason}"),
            Self::NoExecutables { reason } => write!(f, "the programs of processes are not known: {reason}"),
            Self::NoKernelLog => f.write_str("the kernel programs were built without a log"),
        }
    }
}

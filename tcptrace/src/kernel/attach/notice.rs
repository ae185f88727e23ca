//! What the user should hear of a trace's interfaces.

use std::{fmt, sync::Arc};

/// Something that the user should hear and that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The driver has no native XDP.
    XdpGeneric {
        /// Where.
        interface: Arc<str>,
        /// What it said.
        reason: String,
    },
    /// XDP makes no sense there.
    XdpNotThere {
        /// Where.
        interface: Arc<str>,
        /// Why not.
        why: &'static str,
    },
    /// A VLAN tag was seen where not all are.
    TagsNotTold,
    /// A named interface is gone.
    Vanished {
        /// Which.
        interface: Arc<str>,
    },
    /// Somebody has taken programs off an interface that is still there.
    TakenOff {
        /// Which.
        interface: Arc<str>,
        /// They were all there then.
        since: jiff::Timestamp,
    },
    /// A traced interface has another name now.
    Renamed {
        /// What it was called.
        interface: Arc<str>,
        /// What it is called.
        name: Arc<str>,
    },
    /// Filters that a killed tracer had left are removed.
    Leftovers {
        /// Where.
        interface: Arc<str>,
        /// So many.
        count: usize,
    },
    /// A filter of somebody else's is before ours and cannot be got before.
    BehindFilter {
        /// Where.
        interface: Arc<str>,
        /// Of this kind.
        kind: String,
    },
    /// With `-i any` or in all namespaces: one could not be attached to and is left out.
    LeftOut {
        /// Which.
        interface: Arc<str>,
        /// Why.
        reason: String,
    },
    /// In all namespaces: one cannot be traced and is left out.
    NamespaceLeftOut {
        /// What it is called.
        netns: String,
        /// Why.
        reason: String,
    },
    /// In all namespaces: some may be hidden.
    HiddenProcesses {
        /// So many may not be looked at.
        count: u64,
    },
    /// The programs cannot tell what they do.
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
            Self::NoKernelLog => f.write_str("the kernel programs were built without a log"),
        }
    }
}

//! The hooks of an interface, and how programs are attached to them.

use std::fmt;

/// Which hook sees the packets that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IngressHook {
    /// Traffic control, which sees packets as the stack does and never disturbs the link.
    #[default]
    Tc,
    /// XDP, which sees packets before the stack does. Attaching can reset the device's queues.
    Xdp,
}

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AttachMode {
    /// TCX links, or clsact where the kernel has no such links.
    #[default]
    Auto,
    /// TCX links. Where the kernel has none, attaching fails.
    Tcx,
    /// clsact, even where the kernel has TCX links.
    Clsact,
}

/// A side of an interface: where packets come in, or where they go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Ingress,
    Egress,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

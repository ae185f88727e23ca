//! The hooks of an interface, and how programs come onto them.

use std::fmt;

/// Which hook sees what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IngressHook {
    /// TC: as the stack sees it, never disturbs the link.
    #[default]
    Tc,
    /// XDP: before the stack; attaching can reset queues.
    Xdp,
}

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AttachMode {
    /// TCX links, or clsact where the kernel has no such links.
    #[default]
    Auto,
    /// TCX links or nothing.
    Tcx,
    /// clsact, even where TCX is there.
    Clsact,
}

/// The two sides of an interface.
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

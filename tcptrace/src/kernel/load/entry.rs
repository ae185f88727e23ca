//! The programs in the object, by their names.

/// The entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entry {
    Ingress,
    Egress,
    IngressL3,
    EgressL3,
    Xdp,
}

impl Entry {
    pub(crate) const ALL: [Self; 5] =
        [Self::Ingress, Self::Egress, Self::IngressL3, Self::EgressL3, Self::Xdp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "tcptrace_tc_ingress",
            Self::Egress => "tcptrace_tc_egress",
            Self::IngressL3 => "tcptrace_tc_ingress_l3",
            Self::EgressL3 => "tcptrace_tc_egress_l3",
            Self::Xdp => "tcptrace_xdp",
        }
    }
}

/// The program of [`super::Programs::alive`]. The kernel keeps all of this name: it is not longer than 15 letters.
pub(crate) const ALIVE: &str = "tcptrace_alive";

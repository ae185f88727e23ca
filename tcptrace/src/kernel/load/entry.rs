//! The kernel programs in the object, by their names.

/// A kernel program that sees packets: TC's, for Ethernet devices or for those without a link header (L3), or XDP's.
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

/// The name of the program that [`super::Programs::alive`] loads. The kernel keeps names of up to 15 letters whole.
pub(crate) const ALIVE: &str = "tcptrace_alive";

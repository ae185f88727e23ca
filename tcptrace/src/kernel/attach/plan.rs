//! Decides which programs are attached to which hooks of an interface.

use super::hooks::{IngressHook, Side};
use crate::kernel::{
    interfaces::{Interface, LinkType},
    load::Entry,
};

/// The programs for the hooks of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) xdp: Option<Entry>,
    /// Why XDP makes no sense on the interface, if it was asked for.
    pub(crate) not_xdp: Option<&'static str>,
    pub(super) tc: Vec<(Entry, Side)>,
}

/// The plan for an interface; None if it carries frames that are not traced.
pub(super) fn plan(interface: &Interface, ingress: IngressHook) -> Option<Plan> {
    let (inside, outside) = match interface.link {
        LinkType::Ethernet => (Entry::Ingress, Entry::Egress),
        LinkType::Layer3 => (Entry::IngressL3, Entry::EgressL3),
        LinkType::Unsupported(_) => return None,
    };
    let no_xdp = why_no_xdp(interface);
    let xdp = (ingress == IngressHook::Xdp && no_xdp.is_none()).then_some(Entry::Xdp);
    let mut tc = Vec::new();
    // On loopback every packet that goes out comes in again, and is to be seen once: on its way out, where it still refers to
    // the socket that sent it (drivers/net/loopback.c, loopback_xmit).
    if xdp.is_none() && !interface.loopback {
        tc.push((inside, Side::Ingress));
    }
    tc.push((outside, Side::Egress));
    Some(Plan { xdp, not_xdp: no_xdp.filter(|_| ingress == IngressHook::Xdp), tc })
}

/// Why XDP makes no sense on an interface; None if it does.
pub(crate) fn why_no_xdp(interface: &Interface) -> Option<&'static str> {
    if interface.loopback {
        Some("loopback has no driver")
    } else if interface.link == LinkType::Layer3 {
        Some("its packets have no Ethernet header")
    } else {
        None
    }
}

impl Plan {
    /// The name of the XDP program, if there is to be one.
    pub(crate) fn xdp(&self) -> Option<&'static str> {
        self.xdp.map(Entry::name)
    }

    /// The sides and names of the TC programs.
    pub(crate) fn tc(&self) -> impl Iterator<Item = (Side, &'static str)> {
        self.tc.iter().map(|(entry, side)| (*side, entry.name()))
    }

    /// Whether XDP is used for packets that come in.
    pub(crate) const fn has_xdp(&self) -> bool {
        self.xdp.is_some()
    }
}

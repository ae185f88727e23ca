//! The interfaces of a network namespace: their names, what their frames begin with, whether they are up, and which of
//! them the default route leaves by.

use crate::{
    kernel::{
        calls::netlink::{self, Message, Socket, all_nested, nested, text, u16_at, u32_at},
        namespaces::NetnsError,
    },
    near::{Suggestion, near_names},
};
use std::{fmt, io, sync::Arc};
use thiserror::Error;

/// Octets of `ifinfomsg` (`linux/rtnetlink.h`).
pub(crate) const LINK_FIXED: usize = 16;
/// Octets of `rtmsg` (`linux/rtnetlink.h`).
const ROUTE_FIXED: usize = 12;

pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_LINKINFO: u16 = 18;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;

const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u8 = 254;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Why an interface cannot be traced.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// There is no interface of this name.
    #[error("no such interface: {name}{}; tcptrace -D lists them", Suggestion(.near))]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// The names that may have been meant.
        near: Vec<String>,
    },
    /// The interface is administratively down.
    #[error("interface {name} is down: ip link set {name} up")]
    Down {
        /// The interface's name.
        name: String,
    },
    /// The interface's frames are neither Ethernet nor bare IP.
    #[error(
        "interface {name} carries {}, not Ethernet or IP: choose another one; tcptrace -D lists them",
        LinkType::Unsupported(*.arphrd)
    )]
    UnsupportedLink {
        /// The interface's name.
        name: String,
        /// The kernel's hardware type (`linux/if_arp.h`).
        arphrd: u16,
    },
    /// There is no default route to choose an interface by.
    #[error("no default route to choose an interface by: name one with -i; tcptrace -D lists them")]
    NoDefaultRoute,
    /// There is no interface that could be traced.
    #[error("no interface is up: bring one up with ip link set NAME up")]
    NoneUp,
    /// The interface's namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel or the driver did not tell something about the interface.
    #[error("cannot read the {what} of {name}: {source}")]
    Property {
        /// The interface's name.
        name: Arc<str>,
        /// What was not told.
        what: &'static str,
        /// Why it was not told.
        source: io::Error,
    },
    /// A list could not be read from the kernel.
    #[error("cannot read the list of {what} from the kernel over netlink: {source}")]
    Netlink {
        /// What the list is of.
        what: &'static str,
        /// Why it could not be read.
        source: io::Error,
    },
}

/// The kind of header that the frames of an interface begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Frames begin with an Ethernet header, also on loopback.
    Ethernet,
    /// Frames begin with an IP header, as on tun, `WireGuard`, IP tunnels and PPP.
    Layer3,
    /// Frames begin with something that is not traced, given by the kernel's hardware type.
    Unsupported(u16),
}

impl LinkType {
    /// The link type by the kernel's hardware type (`ARPHRD_*`, `linux/if_arp.h`).
    #[must_use]
    pub const fn from_arphrd(arphrd: u16) -> Self {
        match arphrd {
            // ETHER; LOOPBACK
            1 | 772 => Self::Ethernet,
            // PPP; RAWIP; TUNNEL (ipip); TUNNEL6; SIT; IPGRE; IP6GRE; NONE (tun, WireGuard)
            512 | 519 | 768 | 769 | 776 | 778 | 823 | 65534 => Self::Layer3,
            other => Self::Unsupported(other),
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Ethernet => return f.write_str("Ethernet"),
            Self::Layer3 => return f.write_str("IP"),
            Self::Unsupported(280) => "CAN",
            Self::Unsupported(32) => "InfiniBand",
            Self::Unsupported(24) => "IEEE 1394",
            Self::Unsupported(801..=803) => "802.11 frames (monitor mode)",
            Self::Unsupported(804 | 805 | 825 | 820) => "802.15.4 or 6LoWPAN frames",
            Self::Unsupported(824) => "Netlink messages",
            Self::Unsupported(826) => "a vsock monitor's messages",
            Self::Unsupported(_) => "an unknown kind of frame",
        };
        let Self::Unsupported(arphrd) = self else { return f.write_str(name) };
        write!(f, "{name} (link type {arphrd})")
    }
}

/// One interface, as the kernel last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The index by which the kernel knows the interface in its namespace.
    pub index: u32,
    /// The interface's name.
    pub name: Arc<str>,
    /// The alternative names that it can be asked for by (`ip link property add dev NAME altname OTHER`).
    pub other_names: Vec<String>,
    /// Whether the interface is administratively up.
    pub up: bool,
    /// Whether it is the loopback device, which carries every packet twice, out and in again.
    pub loopback: bool,
    /// What the interface's frames begin with.
    pub link: LinkType,
    /// Whether it is a port of a bridge, which sees the same packets.
    pub bridge_port: bool,
}

impl Interface {
    /// Reads an interface from a link message. None for a message that lacks a name, or is of another family: a bridge
    /// sends an `RTM_DELLINK` of its own when a port leaves it (`net/bridge/br_netlink.c`).
    pub(crate) fn from_message(message: &Message) -> Option<Self> {
        let fixed = message.fixed(LINK_FIXED)?;
        if *fixed.first()? != AF_UNSPEC {
            return None;
        }
        let flags = u32_at(fixed, 8)?;
        let info = message.attribute(LINK_FIXED, IFLA_LINKINFO);
        let others = message.attribute(LINK_FIXED, IFLA_PROP_LIST).unwrap_or_default();
        let port_of = info.and_then(|info| nested(info, IFLA_INFO_SLAVE_KIND)).map(text);
        Some(Self {
            index: u32_at(fixed, 4)?,
            name: text(message.attribute(LINK_FIXED, IFLA_IFNAME)?).into(),
            other_names: all_nested(others, IFLA_ALT_IFNAME).map(text).collect(),
            up: flags & IFF_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            link: LinkType::from_arphrd(u16_at(fixed, 2)?),
            bridge_port: port_of.as_deref() == Some("bridge"),
        })
    }

    /// The interface with the name `NETNS/NAME`, for a trace of several namespaces. No interface has a '/' in its own
    /// name (`net/core/dev.c`, `dev_valid_name`).
    #[must_use]
    pub fn within(self, netns: &str) -> Self {
        Self { name: format!("{netns}/{}", self.name).into(), ..self }
    }

    /// Whether the interface is up and of a kind that is traced.
    #[must_use]
    pub fn traceable(&self) -> bool {
        self.up && self.is_of_a_traced_kind()
    }

    /// Whether this is the interface's name, or one of its alternative names.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        *self.name == *name || self.other_names.iter().any(|other| **other == *name)
    }

    /// Whether the interface can be traced when it is up.
    #[must_use]
    pub fn is_of_a_traced_kind(&self) -> bool {
        !matches!(self.link, LinkType::Unsupported(_))
    }
}

/// The interfaces of the namespace that the thread is in, in the order of their indexes.
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
    let messages = dump("interfaces", netlink::RTM_GETLINK, &[0; LINK_FIXED])?;
    let mut interfaces: Vec<_> = messages
        .iter()
        .filter(|m| m.kind == netlink::RTM_NEWLINK)
        .filter_map(Interface::from_message)
        .collect();
    interfaces.sort_by_key(|i| i.index);
    Ok(interfaces)
}

/// The interface of this name among `interfaces`, or an error if it cannot be traced now.
pub fn find<'a>(interfaces: &'a [Interface], name: &str) -> Result<&'a Interface, InterfaceError> {
    // No two interfaces of a namespace have a name in common, be it an alternative one (net/core/dev.c,
    // __dev_get_by_name).
    let is_called = |i: &&Interface| i.is_called(name);
    let found = interfaces.iter().find(is_called).ok_or_else(|| InterfaceError::NotFound {
        name: name.to_owned(),
        near: near_names(name, interfaces.iter().map(|i| &*i.name)),
    })?;
    match found.link {
        LinkType::Unsupported(arphrd) => {
            Err(InterfaceError::UnsupportedLink { name: name.to_owned(), arphrd })
        }
        _ if !found.up => Err(InterfaceError::Down { name: name.to_owned() }),
        _ => Ok(found),
    }
}

/// The index of the interface that the default route leaves by. The IPv4 route counts before the IPv6 one, and of
/// several routes the one with the lowest metric.
pub fn default_route() -> Result<u32, InterfaceError> {
    for family in [AF_INET, AF_INET6] {
        let mut fixed = [0; ROUTE_FIXED];
        fixed[0] = family;
        let routes = dump("routes", netlink::RTM_GETROUTE, &fixed)?;
        if let Some((_, index)) = routes.iter().filter_map(default_route_of).min() {
            return Ok(index);
        }
    }
    Err(InterfaceError::NoDefaultRoute)
}

/// The metric and the interface's index of a default route; None if the message is no default route of the main table.
pub(crate) fn default_route_of(message: &Message) -> Option<(u32, u32)> {
    let fixed = message.fixed(ROUTE_FIXED)?;
    let (destination_len, table, kind) = (fixed[1], fixed[4], fixed[7]);
    if message.kind != netlink::RTM_NEWROUTE
        || destination_len != 0
        || table != RT_TABLE_MAIN
        || kind != RTN_UNICAST
    {
        return None;
    }
    let metric = message.attribute(ROUTE_FIXED, RTA_PRIORITY).and_then(|m| u32_at(m, 0)).unwrap_or(0);
    let index = match message.attribute(ROUTE_FIXED, RTA_OIF) {
        Some(index) => u32_at(index, 0)?,
        // Of several next hops, the first one's interface counts (struct rtnexthop: 4 bytes, then the index).
        None => u32_at(message.attribute(ROUTE_FIXED, RTA_MULTIPATH)?, 4)?,
    };
    Some((metric, index))
}

/// Asks the kernel for everything of a kind. `what` names that in an error.
pub(crate) fn dump(what: &'static str, kind: u16, fixed: &[u8]) -> Result<Vec<Message>, InterfaceError> {
    Socket::open()
        .and_then(|socket| socket.dump(kind, fixed))
        .map_err(|source| InterfaceError::Netlink { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::calls::netlink::push_attribute;

    #[test]
    fn errors_say_what_to_do_in_one_line() {
        let near = vec!["eth0".to_owned(), "eth1".to_owned()];
        for (error, text) in [
            (
                InterfaceError::NotFound { name: "eth2".into(), near },
                "no such interface: eth2 (did you mean eth0 or eth1?); tcptrace -D lists them",
            ),
            (InterfaceError::Down { name: "eth0".into() }, "interface eth0 is down: ip link set eth0 up"),
            (
                InterfaceError::UnsupportedLink { name: "can0".into(), arphrd: 280 },
                "interface can0 carries CAN (link type 280), not Ethernet or IP: choose another one; \
                 tcptrace -D lists them",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    fn link(family: u8, arphrd: u16, flags: u32, slave_of: Option<&str>) -> Message {
        let mut body = vec![family, 0];
        body.extend_from_slice(&arphrd.to_ne_bytes());
        body.extend_from_slice(&7_u32.to_ne_bytes());
        body.extend_from_slice(&flags.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        push_attribute(&mut body, IFLA_IFNAME, b"wg0\0");
        if let Some(kind) = slave_of {
            let mut info = Vec::new();
            push_attribute(&mut info, IFLA_INFO_SLAVE_KIND, kind.as_bytes());
            push_attribute(&mut body, IFLA_LINKINFO | 0x8000, &info);
        }
        Message { kind: netlink::RTM_NEWLINK, body }
    }

    #[test]
    fn a_link_message_becomes_an_interface() {
        let i = Interface::from_message(&link(0, 65534, 0x1, None)).expect("a link");
        assert_eq!((i.index, &*i.name, i.up, i.link), (7, "wg0", true, LinkType::Layer3));
        assert!(i.traceable() && !i.loopback && !i.bridge_port);
        let i = Interface::from_message(&link(0, 772, 0x8, None)).expect("a link");
        assert!(i.loopback && !i.up && !i.traceable());
        assert!(Interface::from_message(&link(0, 1, 1, Some("bridge"))).expect("a link").bridge_port);
        assert!(!Interface::from_message(&link(0, 1, 1, Some("bond"))).expect("a link").bridge_port);
        assert_eq!(Interface::from_message(&link(7, 1, 1, None)), None, "a bridge's own notification");
    }

    #[test]
    fn the_default_route_is_the_one_of_the_lowest_metric_in_the_main_table() {
        let route = |destination_len, table, kind, metric: u32, index: u32| {
            let mut body = vec![AF_INET, destination_len, 0, 0, table, 0, 0, kind, 0, 0, 0, 0];
            push_attribute(&mut body, RTA_PRIORITY, &metric.to_ne_bytes());
            push_attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
            default_route_of(&Message { kind: netlink::RTM_NEWROUTE, body })
        };
        assert_eq!(route(0, 254, 1, 100, 2), Some((100, 2)));
        assert_eq!(route(24, 254, 1, 0, 3), None, "not a default route");
        assert_eq!(route(0, 255, 1, 0, 4), None, "another table");
        assert_eq!(route(0, 254, 7, 0, 5), None, "unreachable");
    }
}

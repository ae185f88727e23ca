//! Interfaces: lists them, says what they are like, and follows their changes.

pub(crate) mod ethtool;
mod interface;
pub mod watch;

pub(crate) use interface::{IFLA_IFNAME, IFLA_LINKINFO, LINK_FIXED, default_route_of, dump};
pub use interface::{Interface, InterfaceError, LinkType, default_route, find, list};

//! Interfaces: lists them, says what they are like, and follows their changes.

pub(crate) mod ethtool;
mod interface;
pub mod watch;

#[cfg(feature = "testing")]
pub(crate) use interface::default_route_of;
pub(crate) use interface::{IFLA_IFNAME, IFLA_LINKINFO, LINK_FIXED, dump};
pub use interface::{Interface, InterfaceError, LinkType, default_route, find, list};

//! Names of hosts and ports.

use std::net::IpAddr;

/// Where names are looked up.
pub trait Names {
    /// The addresses of a host.
    fn host(&self, name: &str) -> Vec<IpAddr>;
    /// The TCP port of a service.
    fn port(&self, name: &str) -> Option<u16>;
}

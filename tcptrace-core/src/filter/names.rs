//! The names of hosts and services in filter expressions.

use std::net::IpAddr;

/// Looks up names of hosts and services.
pub trait Names {
    /// The addresses of a host; none if the name is not known.
    fn host(&self, name: &str) -> Vec<IpAddr>;
    /// The TCP port of a service.
    fn port(&self, name: &str) -> Option<u16>;
}

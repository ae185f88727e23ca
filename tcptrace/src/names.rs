//! Looks up the names of hosts and ports that a filter mentions.

use crate::filter::Names;
use std::{fs, net::IpAddr, net::ToSocketAddrs as _, str::SplitWhitespace};

/// Names as this system knows them: hosts by its resolver, ports by `/etc/services`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> =
            (name, 0).to_socket_addrs().into_iter().flatten().map(|address| address.ip()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn port(&self, name: &str) -> Option<u16> {
        service(&fs::read_to_string("/etc/services").ok()?, name)
    }
}

/// The TCP port that `name` has in the text of `/etc/services`.
fn service(services: &str, name: &str) -> Option<u16> {
    tcp_ports(services)
        .find(|(_, first, aliases)| *first == name || aliases.clone().any(|alias| alias == name))
        .map(|(port, ..)| port)
}

/// The TCP ports in the text of `/etc/services`, each with its name and its aliases. By services(5) a line has the name, the port
/// with its protocol, and then aliases.
pub(crate) fn tcp_ports(services: &str) -> impl Iterator<Item = (u16, &str, SplitWhitespace<'_>)> {
    services.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, port) = (words.next()?, words.next()?);
        Some((port.strip_suffix("/tcp")?.parse().ok()?, name, words))
    })
}

#[test]
fn services_have_aliases_and_protocols() {
    let file = "# comment\nhttp\t80/tcp\twww\t# web\ndomain 53/udp\ndomain 53/tcp\nsyslog 514/udp\n";
    assert_eq!(service(file, "http"), Some(80));
    assert_eq!(service(file, "www"), Some(80));
    assert_eq!(service(file, "domain"), Some(53));
    assert_eq!(service(file, "syslog"), None);
    assert_eq!(service(file, "web"), None);
}

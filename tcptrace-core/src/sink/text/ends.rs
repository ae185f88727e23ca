//! The ends of a connection in a line: their addresses, or names for these, and who they are.

use crate::{
    event::{Address, Cgroup, Common, Process, Role},
    sink::units::plain,
};
use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    sync::Arc,
};

/// Gives names to addresses and ports, as far as they are known by now.
pub trait Naming: fmt::Debug + Send + Sync {
    /// The name of a host.
    fn host(&self, ip: IpAddr) -> Option<Arc<str>>;
    /// The name of a TCP port.
    fn port(&self, port: u16) -> Option<Arc<str>>;
    /// How many hosts were found to have a name, or none, so far: what was shown before has to be shown anew if it is more.
    fn answers(&self) -> u64;
}

/// An address and a port, with names for what has any.
pub(crate) struct NamedAddress<'a>(pub(crate) Address, pub(crate) Option<&'a dyn Naming>);

impl fmt::Display for NamedAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Address { ip, port }, names) = *self;
        match (names.and_then(|names| names.host(ip)), ip) {
            (Some(name), _) => write!(f, "{}:", plain(&name))?,
            (None, IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            (None, IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
        }
        match names.and_then(|names| names.port(port)) {
            Some(name) => write!(f, "{}", plain(&name)),
            None => write!(f, "{port}"),
        }
    }
}

/// An end of a connection: `curl[1234] 192.0.2.1:40000` where the process is known.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    address: Address,
    process: Option<&'a Process>,
    cgroup: Option<&'a Cgroup>,
}

impl<'a> End<'a> {
    /// An end of which the address alone is told.
    pub(super) const fn at(address: Address) -> Self {
        Self { address, process: None, cgroup: None }
    }

    /// An end of which is told whose it is too.
    pub(super) const fn of(
        address: Address,
        process: Option<&'a Process>,
        cgroup: Option<&'a Cgroup>,
    ) -> Self {
        Self { address, process, cgroup }
    }

    /// Writes whose the end is, if that is known: the process, or where names are wanted the unit.
    fn write_owner(&self, named: bool, out: &mut String) -> fmt::Result {
        match (self.process, self.cgroup) {
            (Some(process), _) if process.pid.is_some() => write!(out, "{} ", Named(process)),
            (_, Some(Cgroup { unit: Some(unit), .. })) if named => write!(out, "{} ", plain(unit)),
            _ => Ok(()),
        }
    }
}

/// Writes `FROM > TO` in place of what is in `out`.
pub(super) fn write_pair(
    (from, to): (End<'_>, End<'_>),
    names: Option<&dyn Naming>,
    owners: bool,
    out: &mut String,
) -> fmt::Result {
    out.clear();
    for (before, end) in [("", from), (" > ", to)] {
        out.push_str(before);
        if owners {
            end.write_owner(names.is_some(), out)?;
        }
        write!(out, "{}", NamedAddress(end.address, names))?;
    }
    Ok(())
}

/// The sender and the receiver of a segment of the connection.
pub(super) const fn directed(common: &Common, sender: Role) -> (End<'static>, End<'static>) {
    let (client, server) = (End::at(common.client), End::at(common.server));
    match sender {
        Role::Client => (client, server),
        Role::Server => (server, client),
    }
}

/// A process that is known: `curl[1234]`.
pub(super) struct Named<'a>(pub(super) &'a Process);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A process gives itself any name.
        write!(f, "{}[{}]", plain(self.0.comm.as_deref().unwrap_or_default()), self.0.pid.unwrap_or_default())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NamedAddress(*self, None).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Naming, write_pair};
    use crate::event::{Address, Cgroup};
    use std::{net::IpAddr, sync::Arc};

    /// Knows one host, whose owner of its name has chosen a bad one, and one port.
    #[derive(Debug)]
    struct Few;

    impl Naming for Few {
        fn host(&self, ip: IpAddr) -> Option<Arc<str>> {
            (ip == IpAddr::from([192, 0, 2, 1])).then(|| "web\u{1b}[2J.example".into())
        }

        fn port(&self, port: u16) -> Option<Arc<str>> {
            (port == 443).then(|| "https".into())
        }

        fn answers(&self) -> u64 {
            1
        }
    }

    #[test]
    fn what_has_no_name_keeps_its_number() {
        let at = |ip: &str, port| Address { ip: ip.parse().expect("an address"), port };
        let cgroup = Cgroup {
            path: "/system.slice/web.service".into(),
            unit: Some("web.service".into()),
            container: None,
            pod: None,
            pod_name: None,
        };
        let pair = (End::at(at("2001:db8::1", 40000)), End::of(at("192.0.2.1", 443), None, Some(&cgroup)));
        let mut out = "before".to_owned();
        let mut write = |names, owners| {
            write_pair(pair, names, owners, &mut out).expect("a String takes everything");
            out.clone()
        };
        assert_eq!(write(None, true), "[2001:db8::1]:40000 > 192.0.2.1:443");
        assert_eq!(write(Some(&Few), false), "[2001:db8::1]:40000 > web\\u{1b}[2J.example:https");
        assert_eq!(write(Some(&Few), true), "[2001:db8::1]:40000 > web.service web\\u{1b}[2J.example:https");
    }
}

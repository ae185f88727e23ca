//! What connections are grouped by, and which group a connection is in as far as it is known by now.

use crate::{
    event::{Address, Cgroup, Common, Connection, Established, Process, Role},
    sink::{
        text::{NamedAddress, Naming},
        units::{plain, shortened},
    },
};
use std::{fmt, net::IpAddr, sync::Arc};

/// The digits of a container's identifier that are shown, as Docker and podman show it.
const CONTAINER_DIGITS: usize = 12;

/// What connections are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The address and port of the server.
    Service,
    /// The name of the server that the client asked for, with the port; the address where there is no name.
    Name,
    /// The address of the client.
    Client,
    /// The process or unit that uses the socket of this host.
    Process,
    /// The container or pod that uses the socket of this host.
    Container,
    /// The interface.
    Interface,
}

impl By {
    /// Each of them, in the order in which a key goes through them.
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Name, Self::Client, Self::Process, Self::Container, Self::Interface];

    /// The word for one group.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Name => "name",
            Self::Client => "client",
            Self::Process => "process",
            Self::Container => "container",
            Self::Interface => "interface",
        }
    }

    /// The place in [`Self::ALL`].
    pub(super) fn place(self) -> usize {
        Self::ALL.iter().position(|by| *by == self).unwrap_or_default()
    }

    /// The next one, and after the last the first.
    #[must_use]
    pub(super) fn next(self) -> Self {
        Self::ALL[(self.place() + 1) % Self::ALL.len()]
    }
}

/// What the connections of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An address and a port.
    Service(Address),
    /// An address.
    Host(IpAddr),
    /// A name that others chose. It may have any characters in it.
    Name(Arc<str>),
    /// Who uses the socket of that end.
    User(Role, Arc<str>),
    /// Nobody knows.
    Unknown,
    /// The groups that are not kept apart, as there are too many.
    Other,
}

impl Key {
    /// The group as it is shown, with names for addresses where there are any.
    pub(super) fn named(&self, names: Option<&dyn Naming>) -> String {
        match self {
            Self::Service(address) => NamedAddress(*address, names).to_string(),
            Self::Host(ip) => match names.and_then(|names| names.host(*ip)) {
                Some(name) => plain(&name).to_string(),
                None => ip.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(address) => write!(f, "{address}"),
            Self::Host(ip) => write!(f, "{ip}"),
            Self::Name(name) | Self::User(Role::Server, name) => f.write_str(name),
            Self::User(Role::Client, name) => write!(f, "{name} (client)"),
            Self::Unknown => f.write_str("(not known)"),
            Self::Other => f.write_str("(others)"),
        }
    }
}

/// What an event tells of its connection that groups are made by.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    common: &'a Common,
    /// The name that the client asked for.
    name: Option<&'a str>,
    /// Who uses the sockets of the server and the client.
    users: [(Role, Option<&'a Process>, Option<&'a Cgroup>); 2],
}

impl<'a> From<&'a Common> for Facts<'a> {
    fn from(common: &'a Common) -> Self {
        Self { common, name: None, users: [(Role::Server, None, None), (Role::Client, None, None)] }
    }
}

impl<'a> From<&'a Established> for Facts<'a> {
    fn from(event: &'a Established) -> Self {
        let server = (Role::Server, event.server_process.as_ref(), event.server_cgroup.as_ref());
        let client = (Role::Client, event.client_process.as_ref(), event.client_cgroup.as_ref());
        Self { users: [server, client], ..Self::from(&event.common) }
    }
}

impl<'a> From<&'a Connection> for Facts<'a> {
    fn from(event: &'a Connection) -> Self {
        let server = (Role::Server, event.server_process.as_ref(), event.server_cgroup.as_ref());
        let client = (Role::Client, event.client_process.as_ref(), event.client_cgroup.as_ref());
        let first = &event.first_data;
        let name = first.server_name.as_deref().or_else(|| first.http_host.as_deref().map(without_port));
        Self { name, users: [server, client], ..Self::from(&event.common) }
    }
}

impl<'a> Facts<'a> {
    /// The group that the connection is in. What an event does not tell makes no difference to what earlier ones told: then there
    /// is none.
    pub(super) fn key(&self, by: By) -> Option<Key> {
        let Common { client, server, interface, .. } = self.common;
        match by {
            By::Service => Some(Key::Service(*server)),
            By::Name => self.server_name().map(|name| Key::Name(format!("{name}:{}", server.port).into())),
            By::Client => Some(Key::Host(client.ip)),
            By::Process => self.user(|process, cgroup| {
                process
                    .and_then(|it| it.comm.as_deref())
                    .or_else(|| cgroup.and_then(|it| it.unit.as_deref()))
                    .or_else(|| process.and_then(|it| it.user.as_deref()))
            }),
            By::Container => self
                .user(|_, cgroup| {
                    let cgroup = cgroup?;
                    let container = cgroup.container.as_deref().map(short);
                    let pod = cgroup.pod_name.as_deref();
                    pod.or(container).or(cgroup.pod.as_deref()).or(cgroup.unit.as_deref())
                })
                .map(|key| if let Key::User(_, name) = key { Key::Name(name) } else { key }),
            By::Interface => Some(Key::Name(kept(interface))),
        }
    }

    /// The group of a connection of which nothing more is known.
    pub(super) fn first_key(&self, by: By) -> Key {
        let default = if by == By::Name { Key::Service(self.common.server) } else { Key::Unknown };
        self.key(by).unwrap_or(default)
    }

    /// The name of the server that the client asked for.
    pub(super) fn server_name(&self) -> Option<Arc<str>> {
        self.name.filter(|name| !name.is_empty()).map(kept)
    }

    /// The process or unit that the service is, or else the one that asks it.
    pub(super) fn owner(&self) -> Option<Key> {
        self.key(By::Process)
    }

    /// The first end of which `name` finds something: a service before those that ask it.
    fn user(&self, name: impl Fn(Option<&'a Process>, Option<&'a Cgroup>) -> Option<&'a str>) -> Option<Key> {
        self.users
            .into_iter()
            .find_map(|(role, process, cgroup)| Some(Key::User(role, kept(name(process, cgroup)?))))
    }
}

/// As much of a name as is kept.
fn kept(name: &str) -> Arc<str> {
    shortened(name).into()
}

/// A container's identifier as it is shown.
fn short(id: &str) -> &str {
    id.get(..CONTAINER_DIGITS).unwrap_or(id)
}

/// The host that a request in HTTP names, without its port: services have that already.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

//! The scene of a script: hosts, vantage, configuration.

use super::{Problem, words::Words};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tcptrace_core::{
    event::{Kind, Kinds, Vantage},
    segment::{Direction, Flow, Sender},
    track::Config,
};

/// The address of C where the script does not set it.
pub const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);
/// The address of S where the script does not set it.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 80);

/// The scene of a script: who the hosts are, and where the capture point stands.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Where the capture point stands.
    pub vantage: Vantage,
    /// The host that the lines call C.
    pub client: SocketAddr,
    /// The host that the lines call S.
    pub server: SocketAddr,
    /// The configuration of the tracker.
    pub config: Config,
    /// The levels that the script is played at; `None` for all of them.
    pub levels: Option<Levels>,
    /// The names of the interfaces; the first has the number 1.
    pub interfaces: Vec<String>,
    seen: Vec<String>,
}

/// A restriction of a script to some levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The levels that the script is played at.
    pub only: Vec<Level>,
    /// Why it is not played at the others.
    pub reason: String,
}

/// What is between the script and the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing: the segments go to the tracker as they are.
    Tracker,
    /// The segments become packets, and go through the header parser and the lifecycle test in user space.
    Packets,
    /// The segments become packets, and go through the loaded kernel programs.
    Kernel,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 3] = [Self::Tracker, Self::Packets, Self::Kernel];

    /// The name of the level on a line with `levels`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Packets => "packets",
            Self::Kernel => "kernel",
        }
    }
}

/// One of the two hosts, in one of the connections between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) is_client: bool,
    /// The number of the connection, from 1.
    pub(super) connection: u16,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            vantage: Vantage::Middle,
            client: CLIENT,
            server: SERVER,
            config: Config { wants: Kinds::ALL.without(Kind::Segment), ..Config::default() },
            levels: None,
            interfaces: vec!["eth0".to_owned()],
            seen: Vec::new(),
        }
    }
}

impl Scene {
    /// Whether the script is played at this level.
    #[must_use]
    pub fn has_level(&self, level: Level) -> bool {
        self.levels.as_ref().is_none_or(|levels| levels.only.contains(&level))
    }

    /// Parses the rest of a line that begins with `name`; false where that is not a line that sets the scene.
    pub(super) fn line(&mut self, name: &str, words: &mut Words<'_>) -> Result<bool, Problem> {
        match name {
            "vantage" => {
                self.vantage = match words.need("a vantage")? {
                    "client" => Vantage::Client,
                    "server" => Vantage::Server,
                    "middle" => Vantage::Middle,
                    other => return Err(Problem::Unknown(other.to_owned(), "client, server or middle")),
                }
            }
            "client" => self.client = address(words)?,
            "server" => self.server = address(words)?,
            "give-up" => self.config.give_up_ns = words.time()?,
            "time-wait" => self.config.time_wait_ns = words.time()?,
            "max-connections" => self.config.max_connections = words.parse("a number of connections")?,
            "first-byte" => self.config.first_byte = true,
            "levels" => self.levels = Some(levels(words)?),
            _ => return Ok(false),
        }
        if self.seen.iter().any(|known| known == name) {
            return Err(Problem::Twice(name.to_owned()));
        }
        self.seen.push(name.to_owned());
        Ok(true)
    }

    /// Checks that both hosts have addresses of the same version of IP.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.client.is_ipv4() == self.server.is_ipv4() { Ok(()) } else { Err(Problem::Versions) }
    }

    /// The directed four-tuple of what `who` sends.
    pub(super) fn flow(&self, who: Who) -> Flow {
        let client_port = self.client.port().wrapping_add(who.connection - 1);
        let flow = Flow {
            src: mapped(self.client.ip()),
            dst: mapped(self.server.ip()),
            src_port: client_port,
            dst_port: self.server.port(),
            interface: 1,
            vlan: [Flow::NO_VLAN; 2],
            ipv6: self.client.is_ipv6(),
            tunnel: 0,
        };
        if who.is_client { flow } else { flow.reversed() }
    }

    /// How a segment of one of the hosts passes the capture point, and whether that host is the capturing one.
    pub(super) fn passes(&self, from_client: bool) -> (Direction, Sender) {
        match (self.vantage, from_client) {
            (Vantage::Middle, _) => (Direction::Unknown, Sender::Unknown),
            (Vantage::Client, true) | (Vantage::Server, false) => (Direction::Egress, Sender::Here),
            (Vantage::Client, false) | (Vantage::Server, true) => (Direction::Ingress, Sender::There),
        }
    }

    /// The number of an interface; a new name gets the next number.
    pub(super) fn interface(&mut self, name: &str) -> u32 {
        let place = self.interfaces.iter().position(|known| known == name).unwrap_or_else(|| {
            self.interfaces.push(name.to_owned());
            self.interfaces.len() - 1
        });
        u32::try_from(place + 1).unwrap_or(u32::MAX)
    }

    /// The host that has the address `end`, in the connection to the address `other`.
    pub(super) fn who(&self, end: SocketAddr, other: SocketAddr) -> Who {
        let is_client = end != self.server;
        let port = if is_client { end.port() } else { other.port() };
        Who { is_client, connection: port.wrapping_sub(self.client.port()).wrapping_add(1) }
    }
}

impl Who {
    pub(super) fn parse(word: &str) -> Result<Self, Problem> {
        let unknown = || Problem::Unknown(word.to_owned(), "C or S");
        let (is_client, rest) = match word.split_at_checked(1) {
            Some(("C", rest)) => (true, rest),
            Some(("S", rest)) => (false, rest),
            _ => return Err(unknown()),
        };
        let connection = match rest {
            "" => 1,
            number => number.parse().ok().filter(|&n| (2..1000).contains(&n)).ok_or_else(unknown)?,
        };
        Ok(Self { is_client, connection })
    }

    pub(super) fn name(self) -> String {
        let side = if self.is_client { "C" } else { "S" };
        if self.connection == 1 { side.to_owned() } else { format!("{side}{}", self.connection) }
    }
}

pub(super) fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address(words: &mut Words<'_>) -> Result<SocketAddr, Problem> {
    words.parse("an address with a port")
}

fn levels(words: &mut Words<'_>) -> Result<Levels, Problem> {
    let mut only = Vec::new();
    loop {
        let word = words.need("a level")?;
        let name = word.strip_suffix(':').unwrap_or(word);
        let level = Level::ALL.into_iter().find(|level| level.name() == name);
        only.push(level.ok_or_else(|| Problem::Unknown(name.to_owned(), "tracker, packets or kernel"))?);
        if word.ends_with(':') {
            break;
        }
        if words.peek().is_none() {
            return Err(Problem::NoReason);
        }
    }
    let reason = words.rest();
    if reason.is_empty() { Err(Problem::NoReason) } else { Ok(Levels { only, reason }) }
}

//! Two network namespaces, a client's and a server's, with a pair of veth between them.

pub(crate) use netns::{Netns, enter_path};

use std::{
    error::Error,
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};
use tcptrace_testing::netns;

/// The client's end, which is what is traced.
pub(crate) const CLIENT_DEVICE: &str = "c0";
/// The server's end.
pub(crate) const SERVER_DEVICE: &str = "s0";
/// The server's address.
pub(crate) const SERVER: [u8; 4] = [10, 77, 0, 2];
/// The client's addresses of each of its threads.
pub(crate) const ADDRESSES: u8 = 64;

/// Gone when dropped.
pub(crate) struct World {
    pub(crate) client: Netns,
    pub(crate) server: Netns,
}

impl World {
    /// With [`ADDRESSES`] addresses of the client for each of `threads` threads: see [`client_address`].
    pub(crate) fn new(threads: u8) -> Result<Self, Box<dyn Error>> {
        let world = Self { client: Netns::new(), server: Netns::new() };
        world.client.veth(CLIENT_DEVICE, &world.server, SERVER_DEVICE, 0);
        let mut commands = String::new();
        for thread in 0..threads {
            for index in 0..ADDRESSES {
                let [a, b, c, d] = client_address(thread, index);
                // A String takes everything.
                let _ = writeln!(commands, "addr add {a}.{b}.{c}.{d}/32 dev {CLIENT_DEVICE}");
            }
        }
        world.client.enter(|| batch(&commands))?;
        world.server.ip(&["route", "add", "10.78.0.0/16", "via", "10.77.0.1"]);
        Ok(world)
    }

    /// Switches a feature of both devices, as `ethtool -K` names them.
    pub(crate) fn offload(&self, feature: &str, on: bool) {
        let state = if on { "on" } else { "off" };
        self.client.run("ethtool", &["-K", CLIENT_DEVICE, feature, state]);
        self.server.run("ethtool", &["-K", SERVER_DEVICE, feature, state]);
    }
}

/// One of the addresses that a thread of the client connects from.
pub(crate) const fn client_address(thread: u8, index: u8) -> [u8; 4] {
    [10, 78, thread, index + 1]
}

fn batch(commands: &str) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("ip -batch: {error}");
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().map_err(fail)?;
    ip.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(commands.as_bytes())).map_err(fail)?;
    let status = ip.wait().map_err(fail)?;
    if status.success() { Ok(()) } else { Err(format!("ip -batch failed: {status}")) }
}

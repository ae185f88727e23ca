//! More ways to live and die than `traffic.rs` has, driven through ordinary sockets too: those for which it takes a
//! setting of the kernel, a firewall, a second life of the same four-tuple, or a clock. The kernel's own account of
//! each is known beforehand, and so is the outcome.

mod closing;
mod dying;
mod opening;
mod options;

use crate::{
    lab::{Family, Host, Lab, eventually},
    loss::Loss,
    traffic::{Flow, bound, connect, impatient, listener},
};
use rustix::io::Errno;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
};

/// One way.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What happens, and where in the kernel.
    pub(crate) about: &'static str,
    pub(crate) phase: Phase,
    /// It waits for a timer of the kernel's: such run side by side.
    pub(crate) slow: bool,
    pub(crate) loss: Loss,
    /// What the kernel says of the traced host's socket, as client and as server; the one or the other where the
    /// kernel may merge or hurry.
    pub(crate) paths: [&'static [&'static str]; 2],
    /// What we say of each life of the four-tuple, at the client's host and at the server's.
    pub(crate) outcomes: [&'static [&'static str]; 2],
    /// Fields of the last life's `connection`, as JSON, at the client's host and at the server's.
    pub(crate) says: [&'static [(&'static str, &'static str)]; 2],
    /// The kernel counts each of these (`/proc/net/netstat`), on either host.
    pub(crate) counter: Option<&'static str>,
    drive: fn(&Ends<'_>),
    /// Why it cannot be run on this kernel, if so.
    lacks: fn() -> Option<String>,
}

/// Settings of both hosts that some scenes need and others do not bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Usual,
    /// Every SYN is answered with a cookie.
    Cookies,
    /// Fast Open without cookies.
    Bold,
    /// Explicit congestion notification is asked for.
    Ecn,
    /// No room for TIME-WAIT.
    NoTimeWait,
}

impl Phase {
    pub(crate) const ALL: [Self; 5] = [Self::Usual, Self::Cookies, Self::Bold, Self::Ecn, Self::NoTimeWait];

    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Usual => &[],
            Self::Cookies => &[("tcp_syncookies", "2")],
            // 0x4 and 0x200: without a cookie (Documentation/networking/ip-sysctl.rst).
            Self::Bold => &[("tcp_fastopen", "1543")],
            Self::Ecn => &[("tcp_ecn", "1")],
            Self::NoTimeWait => &[("tcp_max_tw_buckets", "0")],
        }
    }

    /// Fast Open for every listener; TIME-WAIT used again as soon as time stamps allow; servers that give up a handshake
    /// after seven seconds.
    const USUAL: [(&'static str, &'static str); 6] = [
        ("tcp_fastopen", "1027"),
        ("tcp_tw_reuse", "1"),
        ("tcp_synack_retries", "2"),
        ("tcp_syncookies", "1"),
        ("tcp_ecn", "2"),
        ("tcp_max_tw_buckets", "65536"),
    ];

    pub(crate) fn begin(self, lab: &Lab) {
        for host in [&lab.a, &lab.b] {
            for (name, value) in Self::USUAL.iter().chain(self.settings()) {
                // /proc/sys/net is that of the thread's namespace.
                let path = format!("/proc/sys/net/ipv4/{name}");
                host.ns.enter(|| fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
            }
        }
    }
}

/// Where a scene is played.
pub(crate) struct Ends<'a> {
    pub(crate) from: &'a Host,
    pub(crate) to: &'a Host,
    pub(crate) flow: Flow,
    pub(crate) local_is_client: bool,
}

impl Ends<'_> {
    fn client(&self) -> OwnedFd {
        self.from.ns.enter(|| bound(self.flow.client))
    }

    fn listener(&self) -> TcpListener {
        listener(self.to, self.flow.server, 1)
    }

    /// A client's socket, connected.
    fn connect(&self) -> TcpStream {
        let client = self.client();
        connect(&client, &self.flow.server).unwrap_or_else(|error| panic!("{}: {error}", self.flow));
        impatient(client)
    }

    /// The same for a four-tuple that was used before: its socket is gone once no child that is just being started holds
    /// a copy of it, its TIME-WAIT gives way after a second (`net/ipv4/tcp_ipv4.c`, `tcp_twsk_unique`).
    fn connect_again(&self) -> TcpStream {
        let mut connected = None;
        eventually(&format!("{} is free", self.flow), || {
            let client = self.client();
            match connect(&client, &self.flow.server) {
                Ok(()) => connected = Some(impatient(client)),
                Err(Errno::ADDRNOTAVAIL) => return Err("it is taken".to_owned()),
                Err(error) => panic!("{}: {error}", self.flow),
            }
            Ok(())
        });
        connected.expect("it is")
    }

    /// What the listener has for us.
    fn accept(&self, listener: &TcpListener) -> TcpStream {
        let (server, _) = listener.accept().unwrap_or_else(|error| panic!("{}: {error}", self.flow));
        impatient(server.into())
    }

    /// Both ends of an open connection.
    fn open(&self) -> (TcpStream, TcpStream) {
        let listener = self.listener();
        let client = self.connect();
        let server = self.accept(&listener);
        (client, server)
    }
}

impl Scene {
    /// Every scene.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        opening::SCENES.iter().chain(&closing::SCENES).chain(&dying::SCENES)
    }

    /// Why it cannot be run here, if so.
    pub(crate) fn lacks(&self) -> Option<String> {
        (self.lacks)()
    }

    /// One connection, or several of one four-tuple.
    pub(crate) fn drive(&self, from: &Host, to: &Host, family: Family, local_is_client: bool) -> Flow {
        let flow = self.loss.flow(from, to, family);
        (self.drive)(&Ends { from, to, flow, local_is_client });
        flow
    }

    /// Played with the usual settings in no time, closed by the client.
    const fn new(name: &'static str, about: &'static str, drive: fn(&Ends<'_>)) -> Self {
        Self {
            name,
            about,
            phase: Phase::Usual,
            slow: false,
            loss: Loss::Nothing,
            paths: CLIENT_CLOSES,
            outcomes: [CLOSED, CLOSED],
            says: [&[], &[]],
            counter: None,
            drive,
            lacks: || None,
        }
    }
}

/// The kernel's states of a client and a server, the client closing first.
const CLIENT_CLOSES: [&[&str]; 2] = [
    &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
    &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
];
/// The server closing first.
const SERVER_CLOSES: [&[&str]; 2] = [
    &["CLOSED SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
    &["LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
];
/// Open, and then not.
const CUT_SHORT: [&[&str]; 2] =
    [&["CLOSED SYN_SENT ESTABLISHED CLOSED"], &["LISTEN SYN_RECEIVED ESTABLISHED CLOSED"]];

const CLOSED: &[&str] = &["closed"];
const RESET: &[&str] = &["reset"];
const OPEN: &[&str] = &["open"];

/// What the kernel has counted on a host by now under this name.
pub(crate) fn counted(host: &Host, counter: &str) -> u64 {
    let text = host.ns.enter(|| {
        let read = |path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // The namespace of the thread, where /proc/net is that of the process's first one.
        read("/proc/thread-self/net/netstat")
    });
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        if let Some((_, value)) = pairs.find(|(name, _)| *name == counter) {
            return value.parse().expect("a number");
        }
    }
    panic!("the kernel counts no {counter}");
}

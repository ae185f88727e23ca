//! Connections of every kind, driven through ordinary sockets. One thread plays both ends wherever it can, so that
//! what happens first is known and not hoped for.

pub use crate::lab::Flow;

use crate::{
    lab::{DEADLINE, Family, Host, eventually},
    loss::{Loss, wait_for_loss},
};
use rustix::{
    io::{self as system, Errno, retry_on_intr},
    net::{
        AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
        sockopt::{self, Timeout},
    },
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

/// Octets of a request and its answer.
pub const REQUEST: usize = 100;
pub const ANSWER: usize = 1000;
/// More than one GSO packet can carry (64 KiB), in both directions.
pub const BULK: usize = 300_000;
/// What the server still sends after the client has closed its direction.
pub const AFTERWARDS: usize = 5000;
/// How long a client waits that gets no answer: one retry, as the kernel's first one comes after 1 s (RFC 6298 §2).
const PATIENCE: Duration = Duration::from_millis(1500);

/// Ways to live and die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Request, answer, the client closes, the server acknowledges and then closes.
    ClientCloses,
    /// Request, answer, the server closes, the client acknowledges and then closes.
    ServerCloses,
    /// As `ClientCloses`, with the server's FIN and its acknowledgement in one segment where the kernel merges them.
    ThreeSegmentClose,
    /// Opened and closed by the client without a word.
    Silent,
    /// The server goes on sending after the client's FIN.
    HalfClose,
    /// Both send a FIN before they see the other's: the client's is lost until then.
    SimultaneousClose,
    /// Both send a SYN, and the client's is lost.
    SimultaneousOpen,
    /// RST by the client while open.
    ResetByClient,
    /// RST by the server while open.
    ResetByServer,
    /// RST by the server after the client's FIN.
    ResetWhenClosing,
    /// Nobody listens.
    Refused,
    /// A firewall drops every SYN.
    Unanswered,
    /// The first SYN is lost.
    SynRetry,
    /// The third segment of the handshake is lost, so the SYN-ACK comes again.
    SynAckRetry,
    /// The third segment of the handshake carries the request.
    ThirdSegmentCarriesData,
    /// More data both ways than one packet can be.
    Bulk,
}

impl Kind {
    pub const ALL: [Self; 16] = [
        Self::ClientCloses,
        Self::ServerCloses,
        Self::ThreeSegmentClose,
        Self::Silent,
        Self::HalfClose,
        Self::SimultaneousClose,
        Self::SimultaneousOpen,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::ResetWhenClosing,
        Self::Refused,
        Self::Unanswered,
        Self::SynRetry,
        Self::SynAckRetry,
        Self::ThirdSegmentCarriesData,
        Self::Bulk,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ClientCloses => "ClientCloses",
            Self::ServerCloses => "ServerCloses",
            Self::ThreeSegmentClose => "ThreeSegmentClose",
            Self::Silent => "Silent",
            Self::HalfClose => "HalfClose",
            Self::SimultaneousClose => "SimultaneousClose",
            Self::SimultaneousOpen => "SimultaneousOpen",
            Self::ResetByClient => "ResetByClient",
            Self::ResetByServer => "ResetByServer",
            Self::ResetWhenClosing => "ResetWhenClosing",
            Self::Refused => "Refused",
            Self::Unanswered => "Unanswered",
            Self::SynRetry => "SynRetry",
            Self::SynAckRetry => "SynAckRetry",
            Self::ThirdSegmentCarriesData => "ThirdSegmentCarriesData",
            Self::Bulk => "Bulk",
        }
    }

    /// Needs a firewall that loses segments (`loss::lose_segments`).
    pub fn needs_loss(self) -> bool {
        self.loss() != Loss::Nothing
    }

    /// What a firewall has to lose for it.
    fn loss(self) -> Loss {
        match self {
            Self::Unanswered => Loss::EverySyn,
            Self::SynRetry => Loss::FirstSyn,
            Self::SynAckRetry => Loss::FirstAck,
            Self::SimultaneousOpen => Loss::SynsUntilAnswered,
            Self::SimultaneousClose => Loss::FinsUntilAnswered,
            _ => Loss::Nothing,
        }
    }
}

/// One connection of this kind, from its first segment to its last but for retransmissions.
pub fn drive(kind: Kind, from: &Host, to: &Host, family: Family) -> Flow {
    let flow = kind.loss().flow(from, to, family);
    let client = from.ns.enter(|| bound(flow.client));
    match kind {
        Kind::Refused => {
            assert_eq!(connect(&client, &flow.server), Err(Errno::CONNREFUSED), "{flow}");
            return flow;
        }
        Kind::Unanswered => {
            try_in_vain(&client, flow);
            return flow;
        }
        Kind::ThirdSegmentCarriesData => {
            // The acknowledgement waits for data then (net/ipv4/tcp_input.c, tcp_rcv_synsent_state_process).
            sockopt::set_tcp_quickack(&client, false).expect("a TCP socket");
        }
        _ => {}
    }
    let (mut client, mut server) = if kind == Kind::SimultaneousOpen {
        open_simultaneously(flow, client, to)
    } else {
        open(kind, flow, client, to)
    };
    talk(kind, &mut client, &mut server);
    if kind == Kind::SimultaneousClose {
        end(&client);
        wait_for_loss(to, flow);
        end(&server);
    }
    close(kind, client, server);
    flow
}

fn open(kind: Kind, flow: Flow, client: OwnedFd, to: &Host) -> (TcpStream, TcpStream) {
    let listener = listener(to, flow.server, 1);
    connect(&client, &flow.server).unwrap_or_else(|error| panic!("{flow}: {error}"));
    let mut client = impatient(client);
    if kind == Kind::ThirdSegmentCarriesData {
        client.write_all(&[b'x'; REQUEST]).unwrap_or_else(|error| panic!("{flow}: {error}"));
    }
    let (server, _) = listener.accept().unwrap_or_else(|error| panic!("{flow}: {error}"));
    (client, impatient(server.into()))
}

/// The client's SYN is on its way (and lost) when the server's goes out.
fn open_simultaneously(flow: Flow, client: OwnedFd, to: &Host) -> (TcpStream, TcpStream) {
    let server = to.ns.enter(|| bound(flow.server));
    let client = TcpStream::from(client);
    client.set_nonblocking(true).expect("a socket");
    assert_eq!(connect(&client, &flow.server), Err(Errno::INPROGRESS), "{flow}");
    wait_for_loss(to, flow);
    connect(&server, &flow.client).unwrap_or_else(|error| panic!("{flow}: {error}"));
    client.set_nonblocking(false).expect("a socket");
    (impatient(client.into()), impatient(server))
}

fn talk(kind: Kind, client: &mut TcpStream, server: &mut TcpStream) {
    let (request, answer) = match kind {
        Kind::Silent => return,
        Kind::Bulk => (BULK, BULK),
        _ => (REQUEST, ANSWER),
    };
    if kind == Kind::ThirdSegmentCarriesData {
        server.read_exact(&mut [0; REQUEST]).expect("it came with the handshake");
    } else {
        send(client, server, request);
    }
    send(server, client, answer);
}

/// `n` octets from one to the other, all of them read; from a thread, for they may not fit the buffers.
pub fn send(from: &mut TcpStream, to: &mut TcpStream, n: usize) {
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![b'x'; n]).expect("the peer reads"));
        to.read_exact(&mut vec![0; n]).expect("the peer writes");
    });
}

fn close(kind: Kind, client: TcpStream, server: TcpStream) {
    match kind {
        Kind::ServerCloses => in_turn(&server, client),
        Kind::ThreeSegmentClose => {
            sockopt::set_tcp_quickack(&server, false).expect("a TCP socket");
            end(&client);
            read_to_end(&server);
            drop(server);
            read_to_end(&client);
        }
        Kind::HalfClose => {
            end(&client);
            read_to_end(&server);
            acknowledge_now(&server);
            let (mut server, mut client) = (server, client);
            send(&mut server, &mut client, AFTERWARDS);
            drop(server);
            read_to_end(&client);
        }
        Kind::SimultaneousClose => {
            read_to_end(&client);
            read_to_end(&server);
        }
        Kind::ResetByClient => reset(client, &server),
        Kind::ResetByServer => reset(server, &client),
        Kind::ResetWhenClosing => {
            end(&client);
            read_to_end(&server);
            acknowledge_now(&server);
            reset(server, &client);
        }
        _ => in_turn(&client, server),
    }
}

/// The close of four segments.
pub fn in_turn(first: &TcpStream, second: TcpStream) {
    end(first);
    read_to_end(&second);
    acknowledge_now(&second);
    drop(second);
    read_to_end(first);
}

pub fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("it is open");
}

pub fn read_to_end(mut stream: &TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the peer closes");
    assert_eq!(rest.len(), 0, "nothing else was sent");
}

/// The kernel may keep back the acknowledgement of a FIN, to merge it with data or with its own FIN. Asking for
/// quick ones sends it (`net/ipv4/tcp.c`, `__tcp_sock_set_quickack`).
pub fn acknowledge_now(stream: &TcpStream) {
    sockopt::set_tcp_quickack(stream, true).expect("a TCP socket");
}

/// Connects; goes on where it was if the process was stopped meanwhile (signal(7): with a time-out the kernel does not).
pub fn connect(socket: impl AsFd, to: &SocketAddr) -> system::Result<()> {
    retry_on_intr(|| rustix::net::connect(&socket, to))
}

/// Connects to where nobody answers, for as long as the patience lasts, stopped meanwhile or not.
fn try_in_vain(client: &OwnedFd, flow: Flow) {
    let start = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        sockopt::set_socket_timeout(client, Timeout::Send, Some(left)).expect("a socket");
        match rustix::net::connect(client, &flow.server) {
            // The second is what the kernel says where it was called before.
            Err(Errno::INPROGRESS | Errno::ALREADY) => return,
            Err(Errno::INTR) => {}
            other => panic!("{flow}: {other:?}"),
        }
    }
}

/// Why nothing can be read.
pub fn failure(mut stream: &TcpStream) -> ErrorKind {
    loop {
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind(),
            Ok(n) => panic!("{n} octets of none"),
        }
    }
}

/// Closing without lingering is a RST.
pub fn reset(from: TcpStream, to: &TcpStream) {
    sockopt::set_socket_linger(&from, Some(Duration::ZERO)).expect("a socket");
    drop(from);
    assert_eq!(failure(to), ErrorKind::ConnectionReset);
}

/// A socket of the calling thread's namespace, so that its port is known before the first segment.
pub fn bound(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a TCP socket");
    // Ports come round while an earlier connection on them still waits out its TIME-WAIT.
    sockopt::set_socket_reuseaddr(&socket, true).expect("a socket");
    // A child that another thread just starts holds what was closed here until it runs.
    eventually(&format!("{address} is free"), || match bind(&socket, &address) {
        Ok(()) => Ok(()),
        Err(Errno::ADDRINUSE) => Err("it is in use".to_owned()),
        Err(error) => panic!("cannot bind to {address}: {error}"),
    });
    for timeout in [Timeout::Send, Timeout::Recv] {
        sockopt::set_socket_timeout(&socket, timeout, Some(DEADLINE)).expect("a socket");
    }
    socket
}

pub fn local_address(socket: impl AsFd) -> SocketAddr {
    let address = rustix::net::getsockname(socket).expect("it is bound");
    SocketAddr::try_from(address).expect("an IP address")
}

/// Listens on a host, for so many connections that nobody has accepted yet.
pub fn listener(host: &Host, address: SocketAddr, backlog: i32) -> TcpListener {
    let socket = host.ns.enter(|| bound(address));
    listen(&socket, backlog).expect("it can listen");
    socket.into()
}

/// Reads and writes that fail rather than hang.
pub fn impatient(socket: OwnedFd) -> TcpStream {
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

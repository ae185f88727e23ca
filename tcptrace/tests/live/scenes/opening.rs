//! Ways to open.

use super::{CLOSED, Ends, Phase, SERVER_CLOSES, Scene, options};
use crate::{
    lab::eventually,
    loss::{Loss, wait_for_loss, wait_for_second_try},
    scenes::{CUT_SHORT, RESET, counted},
    traffic::{ANSWER, REQUEST, bound, connect, end, failure, impatient, in_turn, read_to_end, send},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt},
};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

/// From <linux/socket.h>.
const MSG_FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// Data in the SYN count, and so do those on both sides of the number 0.
const BYTES: &[(&str, &str)] = &[("client_bytes", "100"), ("server_bytes", "1000")];

pub(super) const SCENES: [Scene; 22] = [
    Scene::new(
        "DataBeforeAccept",
        "request and FIN are there before the server's application takes the connection",
        data_before_accept,
    ),
    Scene {
        counter: Some("TCPDeferAcceptDrop"),
        ..Scene::new(
            "DeferAccept",
            "the third segment makes no socket, the request does (net/ipv4/tcp_minisocks.c, tcp_check_req)",
            defer_accept,
        )
    },
    Scene {
        slow: true,
        counter: Some("TCPDeferAcceptDrop"),
        says: [&[("synack_again", "\"lost_or_not_accepted\"")], &[("synack_again", "\"not_accepted\"")]],
        ..Scene::new(
            "DeferAcceptInVain",
            "the same without a request: a second later the SYN-ACK comes again, and its acknowledgement is enough",
            defer_accept_in_vain,
        )
    },
    Scene {
        slow: true,
        counter: Some("TCPDeferAcceptDrop"),
        says: [&[("synack_again", "\"deferred\"")], &[("synack_again", "\"deferred\"")]],
        ..Scene::new(
            "DeferAcceptLong",
            "the first time-out passes in silence, as the third segment is remembered; after the second, three seconds on, \
             the SYN-ACK comes again (net/ipv4/inet_connection_sock.c, syn_ack_recalc), and only then the request",
            defer_accept_long,
        )
    },
    Scene {
        counter: Some("TCPFastOpenCookieReqd"),
        ..Scene::new("FastOpenAsks", "an empty SYN that asks for a cookie (RFC 7413 §4.1.1)", fast_open_asks)
    },
    Scene {
        counter: Some("TCPFastOpenActive"),
        says: [BYTES, BYTES],
        ..Scene::new("FastOpen", "the request in the SYN, with a cookie (RFC 7413 §4.2)", fast_open)
    },
    Scene {
        counter: Some("TCPFastOpenPassiveFail"),
        says: [BYTES, BYTES],
        ..Scene::new(
            "FastOpenStale",
            "the cookie is of another key: the SYN-ACK acknowledges the SYN only, the request is sent again",
            fast_open_stale,
        )
    },
    Scene {
        phase: Phase::Bold,
        says: [BYTES, BYTES],
        counter: Some("TCPFastOpenPassive"),
        ..Scene::new("FastOpenBold", "the request in the SYN, without a cookie", fast_open_bold)
    },
    Scene {
        phase: Phase::Cookies,
        counter: Some("SyncookiesRecv"),
        ..Scene::new("Cookie", "the server remembers nothing of the SYN (tcp_syncookies=2)", plain)
    },
    Scene {
        phase: Phase::Cookies,
        counter: Some("SyncookiesRecv"),
        paths: SERVER_CLOSES,
        ..Scene::new("CookieServerCloses", "the same, closed by the server", server_closes)
    },
    Scene { phase: Phase::Ecn, ..Scene::new("Ecn", "SYN with ECE and CWR (RFC 3168 §6.1.1)", plain) },
    Scene {
        slow: true,
        loss: Loss::FirstAck,
        says: [&[("synack_again", "\"lost_or_not_accepted\"")], &[("synack_again", "\"not_accepted\"")]],
        ..Scene::new(
            "AcceptQueueFull",
            "the third segment is lost, and again when it comes to a full accept queue \
             (net/ipv4/tcp_minisocks.c, tcp_check_req, listen_overflow)",
            accept_queue_full,
        )
    },
    Scene {
        slow: true,
        loss: Loss::FirstSynAck,
        ..Scene::new("SynAckLost", "the SYN-ACK does not arrive, both ends send again", plain)
    },
    Scene {
        slow: true,
        loss: Loss::ClientSilent,
        paths: [&["CLOSED SYN_SENT ESTABLISHED CLOSED"], &[""]],
        outcomes: [&["synack_unanswered"], &["synack_unanswered"]],
        ..Scene::new(
            "ThirdSegmentNever",
            "the client vanishes in the handshake, the server gives up",
            third_never,
        )
    },
    Scene {
        loss: Loss::Rejected,
        paths: [&["CLOSED SYN_SENT CLOSED"], &[""]],
        outcomes: [&["refused"], &["refused"]],
        ..Scene::new("Rejected", "a firewall answers the SYN with RST", rejected)
    },
    Scene {
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        ..Scene::new(
            "NeverAccepted",
            "the listener closes with the connection in its queue (net/ipv4/inet_connection_sock.c, \
             inet_csk_listen_stop)",
            never_accepted,
        )
    },
    Scene {
        says: [BYTES, BYTES],
        ..Scene::new("WrapInRequest", "the client's numbers wrap within the request", |ends| {
            wraps(ends, REQUEST / 2);
        })
    },
    Scene {
        says: [BYTES, BYTES],
        ..Scene::new("WrapAfterSyn", "the client's SYN has the last number", |ends| wraps(ends, 0))
    },
    Scene {
        says: [BYTES, BYTES],
        ..Scene::new("WrapAfterFin", "the client's FIN has the last number", |ends| {
            wraps(ends, REQUEST + 1);
        })
    },
    Scene {
        counter: Some("MPCapableSYNACKRX"),
        lacks: no_mptcp,
        ..Scene::new("Mptcp", "Multipath TCP at both ends (RFC 8684 §3.1)", |ends| mptcp(ends, true))
    },
    Scene {
        counter: Some("MPCapableFallbackSYNACK"),
        lacks: no_mptcp,
        ..Scene::new("MptcpFallsBack", "Multipath TCP at the client only", |ends| mptcp(ends, false))
    },
    Scene { outcomes: [CLOSED, CLOSED], ..Scene::new("Urgent", "with an urgent octet", urgent) },
];

/// Request, answer, and the client closes.
fn converse(mut client: TcpStream, mut server: TcpStream) {
    send(&mut client, &mut server, REQUEST);
    send(&mut server, &mut client, ANSWER);
    in_turn(&client, server);
}

fn plain(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    converse(client, server);
}

fn server_closes(ends: &Ends<'_>) {
    let (mut client, mut server) = ends.open();
    send(&mut client, &mut server, REQUEST);
    in_turn(&server, client);
}

fn urgent(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    rustix::net::send(&client, b"!", SendFlags::OOB).expect("it is open");
    converse(client, server);
}

fn data_before_accept(ends: &Ends<'_>) {
    let listener = ends.listener();
    let mut client = ends.connect();
    client.write_all(&[b'x'; REQUEST]).expect("it is open");
    end(&client);
    let mut server = ends.accept(&listener);
    server.read_exact(&mut [0; REQUEST]).expect("the client wrote");
    read_to_end(&server);
    drop(server);
    read_to_end(&client);
}

fn defer_accept(ends: &Ends<'_>) {
    let listener = ends.listener();
    options::defer_accept(&listener, 1);
    let mut client = ends.connect();
    client.write_all(&[b'x'; REQUEST]).expect("it is open");
    let mut server = ends.accept(&listener);
    server.read_exact(&mut [0; REQUEST]).expect("the client wrote");
    in_turn(&client, server);
}

fn defer_accept_in_vain(ends: &Ends<'_>) {
    let listener = ends.listener();
    options::defer_accept(&listener, 1);
    let client = ends.connect();
    let server = ends.accept(&listener);
    in_turn(&client, server);
}

fn defer_accept_long(ends: &Ends<'_>) {
    let listener = ends.listener();
    options::defer_accept(&listener, 3);
    let client = ends.connect();
    converse(client, ends.accept(&listener));
}

/// Connects with the request in the SYN, if the kernel can; else it follows.
fn open_fast(ends: &Ends<'_>) -> (TcpStream, TcpStream) {
    let listener = ends.listener();
    let mut client = TcpStream::from(ends.client());
    // Where it may wait it may be interrupted, and then nobody knows what was sent.
    client.set_nonblocking(true).expect("a socket");
    let request = [b'x'; REQUEST];
    let sent = match rustix::net::sendto(&client, &request, MSG_FASTOPEN, &ends.flow.server) {
        Ok(sent) => sent,
        Err(Errno::INPROGRESS) => 0,
        Err(error) => panic!("{}: {error}", ends.flow),
    };
    options::wait_until_writable(&client);
    client.set_nonblocking(false).expect("a socket");
    client.write_all(&request[sent..]).expect("it is open");
    let mut server = ends.accept(&listener);
    server.read_exact(&mut [0; REQUEST]).expect("the client wrote");
    (client, server)
}

/// A host that knows the other's cookie asks for none, so it has to forget it.
fn fast_open_asks(ends: &Ends<'_>) {
    ends.from.ns.ip(&["tcp_metrics", "flush", "all"]);
    let (client, server) = open_fast(ends);
    in_turn(&client, server);
}

fn fast_open(ends: &Ends<'_>) {
    fast_open_bold(ends);
}

/// The server draws another key, as after a restart.
fn fast_open_stale(ends: &Ends<'_>) {
    let n = ends.flow.client.port();
    let key = format!("{n:08x}-{n:08x}-{n:08x}-{n:08x}");
    ends.to.ns.enter(|| fs::write("/proc/sys/net/ipv4/tcp_fastopen_key", key).expect("root may set it"));
    fast_open_bold(ends);
}

fn fast_open_bold(ends: &Ends<'_>) {
    let (mut client, mut server) = open_fast(ends);
    send(&mut server, &mut client, ANSWER);
    in_turn(&client, server);
}

/// While the client's third segment is lost, the queue becomes smaller than what is in it: a connection of the server's
/// host to itself.
fn accept_queue_full(ends: &Ends<'_>) {
    let listener = ends.listener();
    let here = SocketAddr::new(ends.flow.server.ip(), ends.flow.client.port());
    let filler = ends.to.ns.enter(|| bound(here));
    connect(&filler, &ends.flow.server).unwrap_or_else(|error| panic!("{}: {error}", ends.flow));
    let client = ends.connect();
    wait_for_loss(ends.to, ends.flow);
    let before = counted(ends.to, "ListenOverflows");
    listen(&listener, 0).expect("it listens already");
    wait_for_second_try(ends.to, ends.flow);
    eventually("the queue overflows", || {
        let now = counted(ends.to, "ListenOverflows");
        if now > before { Ok(()) } else { Err(format!("{now} times")) }
    });
    drop(ends.accept(&listener));
    converse(client, ends.accept(&listener));
}

fn third_never(ends: &Ends<'_>) {
    let _listener = ends.listener();
    let client = ends.connect();
    options::forget(client);
}

fn rejected(ends: &Ends<'_>) {
    let _listener = ends.listener();
    assert_eq!(connect(ends.client(), &ends.flow.server), Err(Errno::CONNREFUSED), "{}", ends.flow);
}

fn never_accepted(ends: &Ends<'_>) {
    let listener = ends.listener();
    let client = ends.connect();
    drop(listener);
    assert_eq!(failure(&client), ErrorKind::ConnectionReset);
}

/// After the SYN and so many octets (or the FIN) the client's next number is 0.
fn wraps(ends: &Ends<'_>, after: usize) {
    let isn = u32::MAX - u32::try_from(after).expect("small");
    let listener = ends.listener();
    let client = ends.client();
    options::choose_isn(&client, isn);
    connect(&client, &ends.flow.server).unwrap_or_else(|error| panic!("{}: {error}", ends.flow));
    let server = ends.accept(&listener);
    converse(impatient(client), server);
}

fn mptcp_socket(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::MPTCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

fn no_mptcp() -> Option<String> {
    let socket = mptcp_socket("127.0.0.1:0".parse().expect("an address"));
    socket.err().map(|error| format!("the kernel makes no socket of IPPROTO_MPTCP: {error}"))
}

fn mptcp(ends: &Ends<'_>, both: bool) {
    let make = |address| mptcp_socket(address).unwrap_or_else(|error| panic!("{}: {error}", ends.flow));
    let listener = if both {
        let socket = ends.to.ns.enter(|| make(ends.flow.server));
        listen(&socket, 1).expect("it can listen");
        TcpListener::from(socket)
    } else {
        ends.listener()
    };
    let client = ends.from.ns.enter(|| make(ends.flow.client));
    connect(&client, &ends.flow.server).unwrap_or_else(|error| panic!("{}: {error}", ends.flow));
    let (mut client, mut server) = (impatient(client), ends.accept(&listener));
    send(&mut client, &mut server, REQUEST);
    send(&mut server, &mut client, ANSWER);
    end(&client);
    read_to_end(&server);
    drop(server);
    read_to_end(&client);
}

//! Ways to die without a proper end.

use super::{CUT_SHORT, Ends, OPEN, RESET, Scene, options};
use crate::{
    loss::{Loss, vanish},
    traffic::{ANSWER, REQUEST, end, failure, in_turn, send},
};
use rustix::net::sockopt;
use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
    time::Duration,
};

pub(super) const SCENES: [Scene; 9] = [
    Scene {
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        counter: Some("TCPAbortOnClose"),
        ..Scene::new(
            "ClientLeavesUnread",
            "close() with data unread: RST (RFC 9293 §3.10.4)",
            client_leaves_unread,
        )
    },
    Scene {
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        counter: Some("TCPAbortOnClose"),
        ..Scene::new("ServerLeavesUnread", "the same by the server", server_leaves_unread)
    },
    Scene {
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        ..Scene::new(
            "ServerForgets",
            "the server's host knows nothing of the connection any more",
            server_forgets,
        )
    },
    Scene {
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        ..Scene::new(
            "ClientForgets",
            "the client's host knows nothing of the connection any more",
            client_forgets,
        )
    },
    Scene {
        slow: true,
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT CLOSED"],
        ],
        outcomes: [RESET, RESET],
        ..Scene::new(
            "ResetInCloseWait",
            "RST by the server, which has data unread before the FIN, and has acknowledged both",
            reset_in_close_wait,
        )
    },
    Scene {
        paths: [
            &[
                "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 CLOSED",
                "CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED",
            ],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT CLOSED"],
        ],
        outcomes: [RESET, RESET],
        ..Scene::new(
            "ResetForFin",
            "the same before it acknowledged the FIN, unless it was too late",
            reset_for_fin,
        )
    },
    Scene {
        slow: true,
        loss: Loss::UntilVanished,
        paths: CUT_SHORT,
        outcomes: [RESET, RESET],
        counter: Some("TCPAbortOnTimeout"),
        ..Scene::new("KeepAliveDeath", "keep-alives find nobody: RST (RFC 9293 §3.8.4)", keep_alive_death)
    },
    Scene {
        slow: true,
        loss: Loss::UntilVanished,
        paths: CUT_SHORT,
        outcomes: [OPEN, OPEN],
        counter: Some("TCPAbortOnTimeout"),
        ..Scene::new("UserTimeout", "data find nobody for a second: closed without a segment", user_timeout)
    },
    Scene {
        slow: true,
        loss: Loss::Nothing,
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSED / \
               LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
        ],
        outcomes: [&["reset", "closed"], &["reset", "closed"]],
        says: [&[("challenge_ack", "true")], &[("challenge_ack", "true")]],
        counter: Some("TCPSYNChallenge"),
        ..Scene::new(
            "ClientCrashes",
            "a new SYN on a connection that only the server knows of: challenge ACK, RST, SYN (RFC 5961 §4)",
            client_crashes,
        )
    },
];

fn expect_reset(stream: &TcpStream) {
    assert_eq!(failure(stream), ErrorKind::ConnectionReset);
}

fn leaves_unread(leaver: TcpStream, mut other: TcpStream) {
    other.write_all(&[b'x'; ANSWER]).expect("it is open");
    options::wait_for_data(&leaver);
    drop(leaver);
    expect_reset(&other);
}

fn client_leaves_unread(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    leaves_unread(client, server);
}

fn server_leaves_unread(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    leaves_unread(server, client);
}

/// What comes next is answered with RST.
fn forgets(who: TcpStream, mut other: TcpStream) {
    options::forget(who);
    other.write_all(&[b'x'; REQUEST]).expect("it is open");
    expect_reset(&other);
}

fn server_forgets(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    forgets(server, client);
}

fn client_forgets(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    forgets(client, server);
}

/// The request and the FIN are there, and nobody has read them.
fn unread_and_closed(ends: &Ends<'_>) -> (TcpStream, TcpStream) {
    let (mut client, server) = ends.open();
    client.write_all(&[b'x'; REQUEST]).expect("it is open");
    end(&client);
    options::wait_for_fin(&server);
    (client, server)
}

fn reset_in_close_wait(ends: &Ends<'_>) {
    let (client, server) = unread_and_closed(ends);
    // With data unread no quick acknowledgement can be had, but a delayed one comes.
    options::wait_for_fin_wait_2(&client);
    drop(server);
    expect_reset(&client);
}

fn reset_for_fin(ends: &Ends<'_>) {
    let (client, server) = unread_and_closed(ends);
    drop(server);
    expect_reset(&client);
}

/// The traced host's end, and the one that vanishes.
fn survivor(ends: &Ends<'_>) -> (TcpStream, TcpStream) {
    let (mut client, mut server) = ends.open();
    send(&mut client, &mut server, REQUEST);
    let other = if ends.local_is_client { ends.to } else { ends.from };
    vanish(other, ends.flow);
    if ends.local_is_client { (client, server) } else { (server, client) }
}

/// The end that vanished has no way to be closed but silently.
fn dies(survivor: &TcpStream, vanished: TcpStream) {
    assert_eq!(failure(survivor), ErrorKind::TimedOut, "nobody is there");
    options::forget(vanished);
}

fn keep_alive_death(ends: &Ends<'_>) {
    let (survivor, vanished) = survivor(ends);
    options::keep_alive(&survivor);
    dies(&survivor, vanished);
}

fn user_timeout(ends: &Ends<'_>) {
    let (mut survivor, vanished) = survivor(ends);
    let ms = Duration::from_secs(1).as_millis();
    sockopt::set_tcp_user_timeout(&survivor, u32::try_from(ms).expect("small")).expect("a TCP socket");
    survivor.write_all(&[b'x'; REQUEST]).expect("it is open");
    dies(&survivor, vanished);
}

/// The challenge ACK makes the new client's host send a RST, and its next SYN, a second after the first, is welcome.
fn client_crashes(ends: &Ends<'_>) {
    let listener = ends.listener();
    let mut client = ends.connect();
    let mut server = ends.accept(&listener);
    send(&mut client, &mut server, REQUEST);
    options::forget(client);
    let client = ends.connect_again();
    expect_reset(&server);
    drop(server);
    let server = ends.accept(&listener);
    in_turn(&client, server);
}

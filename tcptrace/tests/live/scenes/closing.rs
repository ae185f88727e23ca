//! Ways to close, and to open again.

use super::{CLOSED, Ends, Phase, RESET, SERVER_CLOSES, Scene, options};
use crate::{
    lab::eventually,
    loss::Loss,
    traffic::{ANSWER, REQUEST, acknowledge_now, end, in_turn, read_to_end, send},
};
use rustix::net::sockopt;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

pub(super) const SCENES: [Scene; 15] = [
    Scene::new("FinCarriesData", "the client's request and FIN are one segment", fin_carries_data),
    Scene {
        paths: SERVER_CLOSES,
        ..Scene::new(
            "HalfCloseByServer",
            "the client goes on sending after the server's FIN",
            half_close_by_server,
        )
    },
    Scene {
        slow: true,
        loss: Loss::FirstFin,
        counter: Some("TCPTimeouts"),
        ..Scene::new("FinLost", "the client's FIN is lost and sent again", plain)
    },
    Scene {
        slow: true,
        loss: Loss::LastAck,
        ..Scene::new(
            "LastAckLost",
            "the server's FIN is sent again, TIME-WAIT acknowledges again",
            last_ack_lost,
        )
    },
    Scene {
        slow: true,
        loss: Loss::LastAckUnsent,
        ..Scene::new(
            "LastAckUnsent",
            "the same, and the first acknowledgement is not on the wire",
            last_ack_lost,
        )
    },
    Scene {
        slow: true,
        phase: Phase::NoTimeWait,
        loss: Loss::LastAckUnsent,
        outcomes: [RESET, RESET],
        ..Scene::new(
            "ResetAfterBothFins",
            "the server's FIN, sent again, finds nobody in TIME-WAIT",
            last_ack_lost,
        )
    },
    Scene {
        phase: Phase::NoTimeWait,
        counter: Some("TCPTimeWaitOverflow"),
        ..Scene::new("NoTimeWait", "no room for TIME-WAIT: closed at once", plain)
    },
    Scene {
        slow: true,
        ..Scene::new(
            "ZeroWindowClose",
            "close() with data unsent for the peer's full window, so that the FIN waits behind them",
            zero_window_close,
        )
    },
    Scene {
        ..Scene::new(
            "Orphan",
            "close() and not shutdown(): the kernel keeps FIN-WAIT-2 without a socket \
             (net/ipv4/tcp.c, __tcp_close)",
            orphan,
        )
    },
    Scene {
        outcomes: [RESET, RESET],
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT CLOSED"],
        ],
        ..Scene::new("OrphanGetsData", "the same, and data come: RST (RFC 9293 §3.10.7.4)", orphan_gets_data)
    },
    Scene {
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED \
               SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED / \
               LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
        ],
        outcomes: [&["closed", "closed"], &["closed", "closed"]],
        ..Scene::new(
            "SynInTimeWait",
            "a SYN for the same four-tuple while the server is in TIME-WAIT (RFC 9293 §3.10.7.4)",
            syn_in_time_wait,
        )
    },
    Scene {
        slow: true,
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED \
               SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED / \
               LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
        ],
        outcomes: [&["closed", "closed"], &["closed", "closed"]],
        ..Scene::new(
            "TimeWaitUsedAgain",
            "the client opens the same four-tuple again from TIME-WAIT (tcp_tw_reuse)",
            time_wait_used_again,
        )
    },
    Scene {
        phase: Phase::NoTimeWait,
        paths: [
            &["CLOSED SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED \
               SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED"],
            &["LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED / \
               LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"],
        ],
        outcomes: [&["closed", "closed"], &["closed", "closed"]],
        ..Scene::new("AgainAtOnce", "the same four-tuple again where there is no TIME-WAIT", again_at_once)
    },
    Scene {
        slow: true,
        ..Scene::new("KeepAlive", "idle for two seconds, with keep-alives and their answers", keep_alive)
    },
    Scene {
        paths: SERVER_CLOSES,
        outcomes: [CLOSED, CLOSED],
        ..Scene::new("ServerSpeaksFirst", "the server says something and closes, as daytime does", daytime)
    },
];

/// Request, answer, and the client closes.
fn plain(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    talk_and_close(client, server);
}

fn talk_and_close(mut client: TcpStream, mut server: TcpStream) {
    send(&mut client, &mut server, REQUEST);
    send(&mut server, &mut client, ANSWER);
    in_turn(&client, server);
}

fn fin_carries_data(ends: &Ends<'_>) {
    let (mut client, mut server) = ends.open();
    sockopt::set_tcp_cork(&client, true).expect("a TCP socket");
    client.write_all(&[b'x'; REQUEST]).expect("it is open");
    end(&client);
    server.read_exact(&mut [0; REQUEST]).expect("the client wrote");
    read_to_end(&server);
    drop(server);
    read_to_end(&client);
}

fn half_close_by_server(ends: &Ends<'_>) {
    let (mut client, mut server) = ends.open();
    end(&server);
    read_to_end(&client);
    acknowledge_now(&client);
    send(&mut client, &mut server, REQUEST);
    drop(client);
    read_to_end(&server);
}

fn daytime(ends: &Ends<'_>) {
    let (mut client, mut server) = ends.open();
    send(&mut server, &mut client, ANSWER);
    in_turn(&server, client);
}

/// The server's application has closed long before its FIN is acknowledged.
fn last_ack_lost(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    end(&client);
    read_to_end(&server);
    acknowledge_now(&server);
    drop(server);
    read_to_end(&client);
    drop(client);
}

/// The server's application reads nothing before the client's has written all that fits, and closed.
fn zero_window_close(ends: &Ends<'_>) {
    let (mut client, mut server) = ends.open();
    client.set_nonblocking(true).expect("a socket");
    let mut written = 0;
    let stuck = loop {
        match client.write(&vec![b'x'; 65_536]) {
            Ok(n) => written += n,
            Err(error) => break error,
        }
    };
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock, "{}: after {written}", ends.flow);
    drop(client);
    let mut all = vec![0; written];
    server.read_exact(&mut all).expect("it is sent still");
    read_to_end(&server);
    acknowledge_now(&server);
}

fn orphan(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    drop(client);
    read_to_end(&server);
    acknowledge_now(&server);
}

fn orphan_gets_data(ends: &Ends<'_>) {
    let (client, mut server) = ends.open();
    drop(client);
    read_to_end(&server);
    acknowledge_now(&server);
    server.write_all(&[b'x'; ANSWER]).expect("it may send");
    eventually("the server is reset", || match server.write(b"x") {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// An open connection of the same four-tuple as one before.
fn open_again(ends: &Ends<'_>) -> (TcpStream, TcpStream) {
    let listener = ends.listener();
    let client = ends.connect_again();
    (client, ends.accept(&listener))
}

fn syn_in_time_wait(ends: &Ends<'_>) {
    let (client, server) = ends.open();
    in_turn(&server, client);
    let (client, server) = open_again(ends);
    in_turn(&server, client);
}

fn again_at_once(ends: &Ends<'_>) {
    plain(ends);
    let (client, server) = open_again(ends);
    talk_and_close(client, server);
}

fn time_wait_used_again(ends: &Ends<'_>) {
    plain(ends);
    // The kernel's clock for this has whole seconds; before, each try would be a change of state without a segment.
    thread::sleep(Duration::from_millis(1500));
    let (client, server) = open_again(ends);
    talk_and_close(client, server);
}

fn keep_alive(ends: &Ends<'_>) {
    let (client, mut server) = ends.open();
    options::keep_alive(&client);
    options::wait_for_answered_probe(&client);
    server.write_all(b"!").expect("it is open");
    (&client).read_exact(&mut [0]).expect("it is open");
    in_turn(&client, server);
}

//! Sent to a server.

use super::{CLOSED_BY_CLIENT, Expected, Peer, SERVER, Stage, check};
use crate::{
    frames::{ACK, FIN, PSH, RST, SYN, URG},
    traffic::{failure, impatient, listener},
};
use std::{
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
};

/// Octets of data in one segment.
const DATA: usize = 10;

fn listen(stage: &Stage, peer: &Peer<'_>) -> TcpListener {
    listener(stage.host(), peer.other, 1)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (server, _) = listener.accept().expect("a connection");
    impatient(server.into())
}

/// Both ends of an open connection.
fn open(stage: &Stage, peer: &mut Peer<'_>) -> TcpStream {
    let listener = listen(stage, peer);
    peer.open();
    accept(&listener)
}

/// The connection is alive: the application gets what is sent.
fn talk(peer: &mut Peer<'_>, server: &mut TcpStream) {
    peer.say(PSH | ACK, DATA);
    server.read_exact(&mut [0; DATA]).expect("the connection goes on");
    peer.wait_until_acknowledged();
}

#[test]
fn a_rst_before_the_window_is_ignored() {
    check(&Expected { anomalies: &["rst_out_of_window"], ..SERVER }, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        let mut rst = peer.segment(RST, 0);
        rst.seq = peer.next.wrapping_sub(1000);
        peer.send(&rst);
        talk(peer, &mut server);
        peer.close(server);
    });
}

/// Data is not recorded, so nobody but the receiver knows where its window begins and ends: such a RST is doubted, until the
/// endpoint in whose name it came goes on.
const DOUBTED: Expected = Expected { anomalies: &["rst_ignored"], ..SERVER };

#[test]
fn a_rst_far_beyond_the_window_is_ignored() {
    check(&DOUBTED, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        let mut rst = peer.segment(RST, 0);
        rst.seq = peer.next.wrapping_add(0x4000_0000);
        peer.send(&rst);
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn a_rst_within_the_window_but_not_at_its_edge_is_ignored() {
    check(&DOUBTED, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        let mut rst = peer.segment(RST, 0);
        rst.seq = peer.next.wrapping_add(100);
        peer.send(&rst);
        // The challenge (RFC 5961 §3.2).
        peer.wait_until_acknowledged();
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn a_rst_at_the_edge_of_the_window_resets() {
    let expected =
        Expected { outcomes: &["reset"], path: "LISTEN SYN_RECEIVED ESTABLISHED CLOSED", ..SERVER };
    check(&expected, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        peer.say(RST, 0);
        assert_eq!(failure(&server), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_blind_syn_into_an_open_connection_is_challenged() {
    // Of itself it is a try that nobody answered, late or not when the trace ends.
    let expected = Expected { outcomes: &["closed", "open"], anomalies: &["syn_in_connection"], ..SERVER };
    check(&expected, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        let mut syn = peer.segment(SYN, 0);
        syn.seq = peer.next.wrapping_add(0x1234_5678);
        peer.send(&syn);
        peer.wait_until_acknowledged();
        talk(peer, &mut server);
        peer.close(server);
    });
}

/// The stack drops them or asks back (`net/ipv4/tcp_input.c`, `tcp_rcv_established`, `tcp_validate_incoming`).
#[test]
fn impossible_flags_change_no_open_connection() {
    let anomalies = &["impossible_flags"; 5];
    check(&Expected { anomalies, ..SERVER }, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        for flags in [0, PSH, FIN | PSH | URG, FIN, SYN | FIN] {
            let segment = peer.segment(flags, 0);
            peer.send(&segment);
        }
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn impossible_flags_open_no_connection() {
    let anomalies = &["impossible_flags"; 3];
    check(&Expected { anomalies, ..SERVER }, |stage, peer| {
        let listener = listen(stage, peer);
        for flags in [0, FIN | PSH | URG, SYN | FIN] {
            let segment = peer.segment(flags, 0);
            peer.send(&segment);
        }
        peer.open();
        let mut server = accept(&listener);
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn the_third_segment_carries_data() {
    check(&SERVER, |stage, peer| {
        let listener = listen(stage, peer);
        peer.say(SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        let mut server = {
            peer.say(PSH | ACK, DATA);
            accept(&listener)
        };
        server.read_exact(&mut [0; DATA]).expect("it came with the handshake");
        peer.close(server);
    });
}

#[test]
fn the_third_segment_is_a_fin() {
    check(&SERVER, |stage, peer| {
        let listener = listen(stage, peer);
        peer.say(SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        peer.say(FIN | ACK, 0);
        let server = accept(&listener);
        peer.wait_until_acknowledged();
        drop(server);
        peer.take("the server's FIN", FIN | ACK);
        peer.say(ACK, 0);
    });
}

/// The acknowledgement itself is of no number that the kernel programs wait for, the RST in answer is a record.
#[test]
fn a_third_segment_with_an_old_number_is_answered_by_rst_and_the_right_one_still_counts() {
    check(&Expected { anomalies: &["rst_out_of_window"], ..SERVER }, |stage, peer| {
        let listener = listen(stage, peer);
        peer.say(SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        let mut wrong = peer.segment(ACK, 0);
        wrong.ack = wrong.ack.wrapping_sub(1000);
        peer.send(&wrong);
        peer.hear("a RST", |segment| segment.flags & RST != 0);
        peer.say(ACK, 0);
        let mut server = accept(&listener);
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn a_blind_rst_in_the_handshake_is_ignored() {
    check(&Expected { anomalies: &["rst_out_of_window"], ..SERVER }, |stage, peer| {
        let listener = listen(stage, peer);
        peer.say(SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        let mut rst = peer.segment(RST, 0);
        rst.seq = peer.next.wrapping_add(0x4000_0000);
        peer.send(&rst);
        peer.say(ACK, 0);
        let mut server = accept(&listener);
        talk(peer, &mut server);
        peer.close(server);
    });
}

#[test]
fn a_fin_comes_before_the_last_data() {
    check(&SERVER, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        let data = peer.segment(PSH | ACK, DATA);
        let after = u32::try_from(DATA).expect("small");
        peer.next = peer.next.wrapping_add(after);
        let fin = peer.say(FIN | ACK, 0);
        peer.hear("a duplicate acknowledgement", |segment| segment.ack == data.seq && segment.flags == ACK);
        peer.send(&data);
        server.read_exact(&mut [0; DATA]).expect("the gap is filled");
        peer.wait_until_acknowledged();
        assert_eq!(fin.seq.wrapping_add(1), peer.next);
        drop(server);
        peer.take("the server's FIN", FIN | ACK);
        peer.say(ACK, 0);
    });
}

#[test]
fn every_packet_comes_twice() {
    check(&SERVER, |stage, peer| {
        let listener = listen(stage, peer);
        let twice = |peer: &mut Peer<'_>, flags, payload| {
            let segment = peer.say(flags, payload);
            peer.send(&segment);
        };
        twice(peer, SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        twice(peer, ACK, 0);
        let mut server = accept(&listener);
        twice(peer, PSH | ACK, DATA);
        server.read_exact(&mut [0; DATA]).expect("it is open");
        twice(peer, FIN | ACK, 0);
        peer.wait_until_acknowledged();
        drop(server);
        peer.take("the server's FIN", FIN | ACK);
        twice(peer, ACK, 0);
    });
}

#[test]
fn a_fin_that_moves_is_an_anomaly() {
    let expected = Expected { anomalies: &["fin_moved"], path: CLOSED_BY_CLIENT, ..SERVER };
    check(&expected, |stage, peer| {
        let mut server = open(stage, peer);
        talk(peer, &mut server);
        peer.say(FIN | ACK, 0);
        peer.wait_until_acknowledged();
        let mut moved = peer.segment(FIN | ACK, 0);
        moved.seq = moved.seq.wrapping_add(500);
        peer.send(&moved);
        drop(server);
        peer.take("the server's FIN", FIN | ACK);
        peer.say(ACK, 0);
    });
}

#[test]
fn a_blind_syn_in_the_handshake_is_ignored() {
    let expected = Expected { outcomes: &["closed", "open"], anomalies: &["syn_in_connection"], ..SERVER };
    check(&expected, |stage, peer| {
        let listener = listen(stage, peer);
        peer.say(SYN, 0);
        peer.take("the SYN-ACK", SYN | ACK);
        let mut syn = peer.segment(SYN, 0);
        syn.seq = peer.next.wrapping_add(0x1234_5678);
        peer.send(&syn);
        peer.wait_until_acknowledged();
        peer.say(ACK, 0);
        let mut server = accept(&listener);
        talk(peer, &mut server);
        peer.close(server);
    });
}

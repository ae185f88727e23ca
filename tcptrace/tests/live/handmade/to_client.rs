//! Sent to a client.

use super::{CLIENT, Expected, Peer, Stage, check};
use crate::{
    frames::{ACK, FIN, PSH, RST, SYN},
    traffic::{bound, connect, end, impatient, read_to_end},
};
use std::{io::Read as _, net::TcpStream, thread};

/// Octets of data in one segment.
const DATA: usize = 10;

/// The real client connects while `serve` plays the server; then the server says something, and the client closes.
fn with_client(stage: &Stage, peer: &mut Peer<'_>, serve: impl FnOnce(&mut Peer<'_>)) {
    let mut client = thread::scope(|scope| {
        let (from, to) = (peer.other, peer.me);
        let client = scope.spawn(move || {
            let client = stage.host().ns.enter(|| bound(from));
            connect(&client, &to).unwrap_or_else(|error| panic!("{from}: {error}"));
            impatient(client)
        });
        serve(peer);
        client.join().expect("it connects")
    });
    talk_and_close(peer, &mut client);
}

fn talk_and_close(peer: &mut Peer<'_>, client: &mut TcpStream) {
    peer.say(PSH | ACK, DATA);
    client.read_exact(&mut [0; DATA]).expect("the connection is open");
    end(client);
    peer.take("the client's FIN", FIN | ACK);
    peer.say(ACK, 0);
    peer.say(FIN | ACK, 0);
    read_to_end(client);
    peer.wait_until_acknowledged();
}

#[test]
fn the_syn_ack_comes_twice() {
    check(&CLIENT, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let synack = peer.say(SYN | ACK, 0);
            peer.send(&synack);
            peer.take("its acknowledgement", ACK);
        });
    });
}

#[test]
fn a_syn_ack_for_another_syn_is_answered_by_rst_and_the_right_one_still_counts() {
    check(&Expected { anomalies: &["synack_ack_mismatch"], ..CLIENT }, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let mut wrong = peer.segment(SYN | ACK, 0);
            wrong.ack = wrong.ack.wrapping_add(0x1234_5678);
            peer.send(&wrong);
            peer.hear("a RST", |segment| segment.flags & RST != 0);
            peer.say(SYN | ACK, 0);
            peer.take("its acknowledgement", ACK);
        });
    });
}

#[test]
fn a_second_syn_ack_with_another_number_is_ignored() {
    check(&Expected { anomalies: &["synack_isn_changed"], ..CLIENT }, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let mut other = peer.say(SYN | ACK, 0);
            peer.take("its acknowledgement", ACK);
            other.seq = other.seq.wrapping_add(0x1234_5678);
            peer.send(&other);
        });
    });
}

#[test]
fn a_rst_in_answer_with_a_wrong_number_refuses_nothing() {
    check(&Expected { anomalies: &["rst_out_of_window"], ..CLIENT }, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let mut wrong = peer.segment(RST | ACK, 0);
            (wrong.seq, wrong.ack) = (0, wrong.ack.wrapping_add(1000));
            peer.send(&wrong);
            peer.say(SYN | ACK, 0);
            peer.take("its acknowledgement", ACK);
        });
    });
}

#[test]
fn a_rst_in_answer_without_an_acknowledgement_refuses_nothing() {
    check(&Expected { anomalies: &["rst_out_of_window"], ..CLIENT }, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let rst = peer.segment(RST, 0);
            peer.send(&rst);
            peer.say(SYN | ACK, 0);
            peer.take("its acknowledgement", ACK);
        });
    });
}

#[test]
fn both_syns_cross() {
    let expected =
        Expected { path: "CLOSED SYN_SENT SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED", ..CLIENT };
    check(&expected, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            peer.say(SYN, 0);
            peer.take("the answer to a SYN that crossed", SYN | ACK);
            peer.say(ACK, 0);
        });
    });
}

#[test]
fn both_syns_and_both_answers_cross() {
    let expected =
        Expected { path: "CLOSED SYN_SENT SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 CLOSED", ..CLIENT };
    check(&expected, |stage, peer| {
        with_client(stage, peer, |peer| {
            let syn = peer.take("the SYN", SYN);
            let mut answer = peer.say(SYN, 0);
            peer.take("the answer to a SYN that crossed", SYN | ACK);
            (answer.flags, answer.ack) = (SYN | ACK, syn.seq.wrapping_add(1));
            peer.send(&answer);
        });
    });
}

#[test]
fn a_syn_ack_with_a_wrong_number_is_answered_by_rst_and_the_right_one_still_counts() {
    check(&Expected { anomalies: &["synack_ack_mismatch"], ..CLIENT }, |stage, peer| {
        with_client(stage, peer, |peer| {
            peer.take("the SYN", SYN);
            let mut wrong = peer.segment(SYN | ACK, 0);
            wrong.ack = wrong.ack.wrapping_add(1000);
            peer.send(&wrong);
            peer.hear("a RST", |segment| segment.flags & RST != 0);
            peer.say(SYN | ACK, 0);
            peer.take("its acknowledgement", ACK);
        });
    });
}

//! `tcptrace show`: the ladders of the textbook connection.

use crate::{icmp::Scratch, textbook};
use flate2::{Compression, write::GzEncoder};
use insta::assert_snapshot;
use std::{
    env,
    io::Write as _,
    process::{Command, Output, Stdio},
};

fn run(words: &[&str], file: &Scratch, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(words).arg(&file.0).args(more).env("TZ", "UTC").output().expect("it starts")
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn the_textbook_connection_is_a_ladder() {
    let file = Scratch::holding(&textbook::capture());
    assert_snapshot!(text(run(&["show"], &file, &[])), @"
    2020-06-10 06:59:50.330991  CLOSED       192.168.64.128:60592 > 180.101.49.11:80   66.336 ms  by client, 172 B sent, 2781 B received, close_wait 18.874 ms
           ms       +ms  CLIENT                                         SERVER
        0.000            SYN-SENT     |-- SYN 0, mss 1460 ----------->| LISTEN?
       28.789    28.789               |<-- SYN ACK 0 ack 1 -----------| SYN-RECEIVED
       28.820     0.031  ESTABLISHED  |-- ACK 1 ack 1 --------------->| ESTABLISHED
       47.243    18.423  FIN-WAIT-1   |-- FIN ACK 173 ack 2782 ------>|
       47.445     0.202  FIN-WAIT-2   |<-- ACK 2782 ack 174 ----------| CLOSE-WAIT
       66.319    18.874               |<-- FIN ACK 2782 ack 174 ------| LAST-ACK
       66.336     0.017  TIME-WAIT    |-- ACK 174 ack 2783 ---------->| CLOSED
    ");
    // In the least width the acknowledgements give way.
    assert_snapshot!(text(run(&["show"], &file, &["1", "--width", "72"])), @"
    06:59:50.330991  CLOSED  192.168.64.128:60592 > 180.101.49.11:80
                     66.336 ms  by client, 172 B sent, 2781 B received,
                     close_wait 18.874 ms (2020-06-10)
           ms       +ms  CLIENT                                 SERVER
        0.000            SYN-SENT     |-- SYN 0, mss 1460 --->| LISTEN?
       28.789    28.789               |<-- SYN ACK 0 ack 1 ---| SYN-RECEIVED
       28.820     0.031  ESTABLISHED  |-- ACK 1 ack 1 ------->| ESTABLISHED
       47.243    18.423  FIN-WAIT-1   |-- FIN ACK 173 ------->|
       47.445     0.202  FIN-WAIT-2   |<-- ACK 2782 ack 174 --| CLOSE-WAIT
       66.319    18.874               |<-- FIN ACK 2782 ------| LAST-ACK
       66.336     0.017  TIME-WAIT    |-- ACK 174 ack 2783 -->| CLOSED
    ");
}

/// The lines of JSON have all that the ladder shows.
#[test]
fn events_give_the_ladder_of_the_capture() {
    let file = Scratch::holding(&textbook::capture());
    let json = text(run(&["--json", "--events", "all", "-q", "-r"], &file, &[]));
    let events = Scratch::holding(json.as_bytes());
    for more in [&[][..], &["1"], &["--svg"], &["port", "80"]] {
        let of_capture = text(run(&["show"], &file, more));
        assert!(of_capture.contains("SYN ACK"), "{of_capture}");
        assert_eq!(text(run(&["show"], &events, more)), of_capture);
    }
    for which in ["2", "port 81", "src host 180.101.49.11"] {
        for file in [&file, &events] {
            let output = run(&["show"], file, &[which]);
            assert_eq!(
                (output.stdout.len(), &*said(&output)),
                (0, "tcptrace: no connection matches\n"),
                "{which}"
            );
        }
    }
}

/// Lines that were rotated away may be compressed, and those of a trace that goes on come by a pipe.
#[test]
fn events_may_be_compressed_or_come_by_a_pipe() {
    let capture = Scratch::holding(&textbook::capture());
    let json = text(run(&["--json", "--events", "all", "-q", "-r"], &capture, &[]));
    let expected = text(run(&["show"], &capture, &[]));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json.as_bytes()).expect("a Vec takes everything");
    let compressed = Scratch::holding(&gzip.finish().expect("a Vec takes everything"));
    assert_eq!(text(run(&["show"], &compressed, &[])), expected);
    for bytes in [json.as_bytes(), &textbook::capture()] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
            .args(["show", "-"])
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
        assert_eq!(text(child.wait_with_output().expect("it ends")), expected);
    }
}

#[test]
fn the_picture_has_the_segments_and_states() {
    let file = Scratch::holding(&textbook::capture());
    let picture = text(run(&["show"], &file, &["--svg"]));
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 "), "{picture}");
    assert!(picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("marker-end").count(), picture.matches("ACK ").count() + 1, "{picture}");
    for shown in [
        "SYN ACK 0 ack 1",
        "FIN-WAIT-1",
        "TIME-WAIT",
        "28.789",
        "192.168.64.128:60592 &gt; 180.101.49.11:80: closed",
    ] {
        assert!(picture.contains(shown), "{shown}: {picture}");
    }
}

#[test]
fn what_cannot_be_shown_is_told() {
    let other = Scratch::holding(b"{\"a\":1}\n");
    let output = run(&["show"], &other, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(":1 is no event of tcptrace: missing field `schema`"),
        "{}",
        said(&output)
    );
    let mut cut = textbook::capture();
    cut.truncate(cut.len() - 5);
    let output = run(&["show"], &Scratch::holding(&cut), &[]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "what came before the damage is drawn, and then the damage is told"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("SYN ACK 0 ack 1"));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    let missing = Scratch::new();
    assert!(said(&run(&["show"], &missing, &[])).starts_with("tcptrace: cannot open "));
}

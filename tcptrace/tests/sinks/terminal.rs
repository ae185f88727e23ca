//! What the command prints on a real pseudo-terminal, and that nothing of it is another where there is none.

use crate::{icmp::Scratch, packets::Frame};
use nix::pty::{OpenptyResult, openpty};
use rustix::termios::{Winsize, tcsetwinsize};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    process::{Command, Output, Stdio},
};

/// A terminal, and its other end.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let OpenptyResult { master, slave } = openpty(None, None).expect("a pseudo-terminal");
    resize(&master, columns);
    (File::from(master), slave)
}

fn resize(terminal: impl AsFd, columns: u16) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

/// Two connections that open and close, as the octets of a capture.
fn capture() -> Vec<u8> {
    let frames = [40000, 40001].into_iter().flat_map(|src_port| {
        let client = Frame { ipv6: true, src_port, ..Frame::default() };
        [(true, 2, 100, 0), (false, 0x12, 500, 101), (true, 0x10, 101, 501), (true, 0x14, 101, 501)].map(
            |(by_client, flags, seq, ack)| {
                let base = if by_client { client.clone() } else { client.reversed() };
                Frame { flags, seq, ack, ..base }.bytes()
            },
        )
    });
    let file = Scratch::capture(&frames.collect::<Vec<_>>());
    fs::read(&file.0).expect("it was written")
}

fn tcptrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptrace"));
    command.args(["-r", "-", "--color", "never"]).args(args).env("TZ", "UTC").stdin(Stdio::piped());
    command
}

/// What comes on the terminal until all of these have come, or the other end is closed.
fn read_until(terminal: &mut File, all: &[&str]) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&text).replace("\r\n", "\n");
        if !all.is_empty() && all.iter().all(|piece| so_far.contains(piece)) {
            return so_far;
        }
        // EIO is how a terminal says that nobody is there any more.
        match terminal.read(&mut buffer) {
            Ok(len @ 1..) => text.extend(&buffer[..len]),
            Ok(0) | Err(_) => return so_far,
        }
    }
}

#[test]
fn lines_are_as_wide_as_the_terminal_also_after_a_resize() {
    let (mut here, there) = terminal(80);
    let mut child = tcptrace(&["-q"]).stdout(Stdio::from(there)).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let capture = capture();
    let middle = 24 + (capture.len() - 24) / 2;
    stdin.write_all(&capture[..middle]).expect("it reads");
    let narrow = read_until(&mut here, &["ESTABLISHED", "= syn 1.000 + ack 1.000\n"]);
    assert!(narrow.lines().count() > 1 && narrow.lines().all(|line| line.len() <= 80), "{narrow}");
    resize(&here, 200);
    stdin.write_all(&capture[middle..]).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    // What it said would else be waited for.
    drop(child);
    let wide = read_until(&mut here, &[]);
    let lines: Vec<_> = wide.lines().filter(|line| line.contains(":40001 >")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.len() > 80), "{wide}");
}

#[test]
fn the_summary_is_as_wide_as_its_own_terminal() {
    let (mut here, there) = terminal(60);
    let mut child =
        tcptrace(&[]).stdout(Stdio::null()).stderr(Stdio::from(there)).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&capture()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    let text = read_until(&mut here, &[]);
    assert!(text.contains("lost: nothing\n") && text.contains("\n      "), "{text}");
    assert!(text.lines().all(|line| line.len() <= 60), "{text}");
}

fn piped(args: &[&str]) -> Output {
    let mut child = tcptrace(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(&capture()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn what_goes_into_a_pipe_is_shortened_only_when_asked() {
    let (plain, endless, narrow) = (piped(&[]), piped(&["--width", "none"]), piped(&["--width", "72"]));
    assert_eq!((&plain.stdout, &plain.stderr), (&endless.stdout, &endless.stderr));
    let is_within =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().all(|line| line.chars().count() <= 72);
    assert!(!is_within(&plain.stdout) && !is_within(&plain.stderr));
    assert!(is_within(&narrow.stdout) && is_within(&narrow.stderr));
}

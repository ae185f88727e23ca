//! The summary so far, of a capture that is still being read.

use crate::{
    files::{connection, pcap, snapped},
    packets::Frame,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_capture_that_is_read_has_its_counters_so_far() {
    let bytes =
        fs::read(&pcap(&snapped(connection(&Frame::default(), &[]), 1 << 16)).0).expect("it is there");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcptrace"))
        .args(["-r", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (mut stdin, mut stderr) = (child.stdin.take().expect("piped"), child.stderr.take().expect("piped"));
    let (sender, said) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(len @ 1..) = stderr.read(&mut block) {
            let _ = sender.send(String::from_utf8_lossy(&block[..len]).into_owned());
        }
    });
    stdin.write_all(&bytes).expect("it reads");
    let pid = Pid::from_raw(child.id().try_into().expect("small")).expect("it has one");
    // Its handler may not be there yet: before, the signal would end it.
    let mut text = String::new();
    let deadline = Instant::now() + Duration::from_mins(1);
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> 9 & 1 == 1)
    };
    while !caught(&status()) {
        assert!(Instant::now() < deadline, "it listens for no signal");
        thread::sleep(Duration::from_millis(5));
    }
    while !text.contains("\nread: ") {
        assert!(Instant::now() < deadline, "{text}");
        kill_process(pid, Signal::USR1).expect("it runs");
        // What it waits for shows it that it was asked: the last packet once more.
        stdin.write_all(&bytes[bytes.len() - 70..]).expect("it reads");
        if let Ok(more) = said.recv_timeout(Duration::from_millis(100)) {
            text += &more;
        }
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    reader.join().expect("it reads to the end");
    let rest: String = said.try_iter().collect();
    let first = text.split("so far: ").nth(1).expect("it was asked");
    assert!(
        first.contains("lost: nothing that is known by now: what a capture lacks may stand at its end\n"),
        "{first}"
    );
    assert!((text + &rest).contains("\nlost: nothing\nread: "), "the last one knows");
}

//! What the command gives up before it looks at strangers' bytes, and what it writes to.

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
};
use signal_hook::{consts::SIGHUP, flag};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tcptrace_testing::folder::Folder;

const BINARY: &str = env!("CARGO_BIN_EXE_tcptrace");

/// A folder of the test's own with this access mode.
fn folder_of_mode(mode: u32) -> Folder {
    let folder = Folder::new();
    fs::set_permissions(&*folder, fs::Permissions::from_mode(mode)).expect("our folder");
    folder
}

/// A pcap file without packets (Ethernet, microseconds).
const EMPTY: [u8; 24] =
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// That, and the half of a packet's header.
const HALF: [u8; 32] = {
    let mut half = [0; 32];
    half.first_chunk_mut::<24>().unwrap().copy_from_slice(&EMPTY);
    half
};

/// The fields of a thread's status that say what it may.
fn rights(task: &Path) -> Vec<(String, String)> {
    let status = fs::read_to_string(task.join("status")).expect("a thread");
    status
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .filter(|(name, _)| ["CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn tasks(child: &Child) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs");
    tasks.map(|task| task.expect("a thread").path()).collect()
}

fn is_confined(child: &Child) -> bool {
    tasks(child).iter().all(|task| rights(task).contains(&("Seccomp".to_owned(), "2".to_owned())))
}

/// Reads a capture from a pipe.
fn reader() -> Child {
    Command::new(BINARY)
        .args(["-r", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn over_a_file_every_thread_may_next_to_nothing() {
    let mut child = reader();
    // Confined before the first byte: none is written yet.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_confined(&child) {
        assert!(Instant::now() < deadline, "it is not confined");
        thread::sleep(Duration::from_millis(5));
    }
    let mut input = child.stdin.take().expect("piped");
    input.write_all(&EMPTY).expect("it reads");
    // The thread that writes is there once it reads on.
    while tasks(&child).len() < 2 {
        assert!(Instant::now() < deadline, "no thread writes");
        thread::sleep(Duration::from_millis(5));
    }
    for task in tasks(&child) {
        for (name, value) in rights(&task) {
            let expected = match name.as_str() {
                "NoNewPrivs" => "1",
                "Seccomp" => "2",
                _ => "0000000000000000",
            };
            assert_eq!(value, expected, "{name} of {}", task.display());
        }
    }
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn write_to(path: &Path, input: &Path) -> Output {
    Command::new(BINARY).args(["-q", "-r"]).arg(input).arg("-w").arg(path).output().expect("it starts")
}

#[test]
fn a_new_capture_is_its_owners_alone() {
    let folder = folder_of_mode(0o755);
    let input = folder.join("in.pcap");
    fs::write(&input, EMPTY).expect("our folder");
    let path = folder.join("out.pcapng");
    assert!(write_to(&path, &input).status.success());
    let metadata = fs::metadata(&path).expect("it was created");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert!(metadata.len() > 0);
}

#[test]
fn a_link_in_a_shared_folder_is_not_followed() {
    let folder = folder_of_mode(0o1777);
    let input = folder.join("in.pcap");
    fs::write(&input, EMPTY).expect("our folder");
    let (target, link) = (folder.join("precious"), folder.join("out.pcapng"));
    fs::write(&target, "precious").expect("our folder");
    symlink(&target, &link).expect("our folder");
    let output = write_to(&link, &input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a link in a folder that everybody can write to"), "{said}");
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "precious");
    // In a folder of one's own a link is as good as a file.
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o755)).expect("our folder");
    assert!(write_to(&link, &input).status.success());
    assert_ne!(fs::read(&target).expect("it is there"), b"precious");
}

#[test]
fn what_cannot_be_read_costs_no_capture() {
    let folder = folder_of_mode(0o755);
    let input = folder.join("in.pcap");
    fs::write(&input, "no capture at all").expect("our folder");
    let path = folder.join("out.pcapng");
    let mut before: File =
        OpenOptions::new().create(true).write(true).truncate(true).open(&path).expect("ours");
    before.write_all(b"precious").expect("a disk");
    let output = write_to(&path, &input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("in.pcap") && !said.contains("permitted"), "{said}");
    assert_eq!(fs::read(&path).expect("it is there"), b"precious");
}

#[test]
fn the_capture_that_is_read_is_not_written_over() {
    let folder = folder_of_mode(0o755);
    let (input, link) = (folder.join("in.pcap"), folder.join("link.pcap"));
    fs::write(&input, EMPTY).expect("our folder");
    fs::hard_link(&input, &link).expect("our folder");
    let mut commands = [Command::new(BINARY), Command::new(BINARY)];
    commands[0].args(["-q", "-r"]).arg(&input).arg("-w").arg(&link);
    commands[1].args(["-q", "-r", "-", "-w"]).arg(&input).stdin(File::open(&input).expect("it is there"));
    for mut command in commands {
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(".pcap is a capture that is read"), "{said}");
        assert_eq!(fs::read(&input).expect("it is there"), EMPTY);
    }
}

fn pipe_in(folder: &Folder) -> PathBuf {
    let path = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    path
}

#[test]
fn a_pipe_that_nobody_reads_is_not_waited_for() {
    let folder = folder_of_mode(0o755);
    let input = folder.join("in.pcap");
    fs::write(&input, EMPTY).expect("our folder");
    let output = write_to(&pipe_in(&folder), &input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nobody reads from this pipe"), "{said}");
}

#[test]
fn somebody_else_s_pipe_in_a_shared_folder_is_not_written_to() {
    let folder = folder_of_mode(0o1777);
    let input = folder.join("in.pcap");
    fs::write(&input, EMPTY).expect("our folder");
    let path = pipe_in(&folder);
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
    let mut reader = OpenOptions::new().read(true).custom_flags(no_wait).open(&path).expect("a pipe");
    assert!(write_to(&path, &input).status.success(), "our own is as good as a file");
    let mut written = Vec::new();
    reader.read_to_end(&mut written).expect("a pipe");
    assert!(!written.is_empty());
    chown(&path, Some(54321), None).expect("root may");
    let output = write_to(&path, &input);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("it is somebody else's"), "{said}");
}

/// Before the first octet, and in the middle of a packet.
#[test]
fn a_signal_ends_the_wait_for_a_pipe() {
    // Of what is ignored here, as under nohup(1), children would ignore it too; of what is handled they do not (execve(2)).
    flag::register(SIGHUP, Arc::default()).expect("it can be handled");
    for (begun, signal) in [(&[][..], Signal::TERM), (&EMPTY[..], Signal::INT), (&HALF[..], Signal::HUP)] {
        let mut child = reader();
        let mut input = child.stdin.take().expect("piped");
        input.write_all(begun).expect("it reads");
        let deadline = Instant::now() + Duration::from_secs(20);
        // It waits for more once it has started the thread that writes, or, before anything came, once it is confined.
        let waits = |child: &Child| is_confined(child) && (begun.is_empty() || tasks(child).len() > 1);
        while !waits(&child) {
            assert!(Instant::now() < deadline, "it does not wait");
            thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        while child.try_wait().expect("our child").is_none() {
            assert!(Instant::now() < deadline, "{signal:?} does not end it");
            thread::sleep(Duration::from_millis(5));
        }
        drop(input);
        let output = child.wait_with_output().expect("it ended");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(!begun.is_empty(), String::from_utf8_lossy(&output.stderr).contains("no connections"));
    }
}

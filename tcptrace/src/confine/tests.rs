//! Tests of what a confined thread may do. A filter is for one thread, so each test confines a thread of its own.

use super::{Purpose, confine, confine_at_terminal, confine_to_folder};
use libc::{O_CREAT, O_TRUNC};
use memmap2::MmapMut;
use nix::pty::openpty;
use rustix::{
    fs::{AtFlags, CWD, RenameFlags, renameat_with, unlinkat},
    net::{AddressFamily, SocketType, socket},
    termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr},
    thread::capabilities,
};
use std::{
    env, fs,
    fs::{File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd as _, AsRawFd as _, RawFd},
        unix::{
            fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

/// A folder with one file, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("tcptrace-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join("file"), "precious").expect("our folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `f` returns on a thread that was confined.
fn confined<R: Send>(purpose: Purpose, f: impl FnOnce() -> R + Send) -> R {
    confined_with(purpose, &[], f)
}

/// What `f` returns on a thread that was confined, but may accept connections on `listeners`.
fn confined_with<R: Send>(purpose: Purpose, listeners: &[RawFd], f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            confine(purpose, listeners).expect("it can be confined");
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

type Attempt = (&'static str, io::Result<()>);

/// Tries what no trace may do after its beginning.
fn attempts(folder: &Path) -> Vec<Attempt> {
    let file = folder.join("file");
    vec![
        ("start a program", Command::new("true").status().map(drop)),
        ("create", File::create(folder.join("new")).map(drop)),
        ("append", OpenOptions::new().append(true).open(&file).map(drop)),
        ("read and write", OpenOptions::new().read(true).write(true).open(&file).map(drop)),
        (
            "create in passing",
            OpenOptions::new().read(true).custom_flags(O_CREAT).open(folder.join("new")).map(drop),
        ),
        ("empty in passing", OpenOptions::new().read(true).custom_flags(O_TRUNC).open(&file).map(drop)),
        ("remove", fs::remove_file(&file)),
        ("rename", fs::rename(&file, folder.join("other"))),
        ("link", fs::hard_link(&file, folder.join("other"))),
        ("link by name", symlink(&file, folder.join("other"))),
        ("make a folder", fs::create_dir(folder.join("folder"))),
        ("allow others", fs::set_permissions(&file, Permissions::from_mode(0o777))),
        ("make code of data", MmapMut::map_anon(1).and_then(MmapMut::make_exec).map(drop)),
        ("go elsewhere", env::set_current_dir(folder)),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("connect", TcpStream::connect("127.0.0.1:9").map(drop)),
        ("take datagrams", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("listen locally", UnixListener::bind(folder.join("socket")).map(drop)),
        ("connect locally", UnixStream::connect(folder.join("socket")).map(drop)),
        ("make a local socket", UnixDatagram::unbound().map(drop)),
        ("see packets", socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop).map_err(Into::into)),
    ]
}

fn assert_all_refused(attempts: &[Attempt]) {
    for (what, result) in attempts {
        let error = result.as_ref().expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{what}: {error}");
    }
}

#[test]
fn a_live_trace_reads_and_asks_the_kernel_and_no_more() {
    for (name, purpose) in [
        ("settled", Purpose::Live { settled: true, elsewhere: false }),
        ("live", Purpose::Live { settled: false, elsewhere: true }),
        ("everywhere", Purpose::Everywhere),
    ] {
        let folder = Folder::new(name);
        let path = folder.0.clone();
        let (attempts, read, netlink) = confined(purpose, move || {
            let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None);
            (attempts(&path), fs::read(path.join("file")), netlink)
        });
        assert_all_refused(&attempts);
        assert_eq!(read.expect("reading is allowed"), b"precious");
        assert!(netlink.is_ok());
        assert_eq!(fs::read(folder.0.join("file")).expect("it is there"), b"precious");
    }
}

#[test]
fn over_a_file_nothing_is_opened_either() {
    let folder = Folder::new("file");
    let path = folder.0.clone();
    let (attempts, read, netlink) = confined(Purpose::File, move || {
        let netlink =
            socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop).map_err(io::Error::from);
        (attempts(&path), fs::read(path.join("file")).map(drop), netlink)
    });
    assert_all_refused(&attempts);
    assert_all_refused(&[("read", read), ("ask the kernel", netlink)]);
}

/// What `f` returns on a thread that writes files in a folder.
fn confined_to<R: Send>(folder: &Path, f: impl FnOnce() -> R + Send) -> R {
    let folder = File::open(folder).expect("a folder");
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            confine_to_folder(folder.as_fd(), false).expect("it can be confined");
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_thread_that_writes_files_does_so_in_its_folder_alone() {
    let (inside, outside) = (Folder::new("inside"), Folder::new("outside"));
    // As the thread does it: the system calls that the standard library takes for these are refused altogether.
    let rename = |from: PathBuf, to: PathBuf| {
        renameat_with(CWD, from, CWD, to, RenameFlags::empty()).map_err(io::Error::from)
    };
    let remove = |path: PathBuf| unlinkat(CWD, path, AtFlags::empty()).map_err(io::Error::from);
    let (own, other) = (inside.0.clone(), outside.0.clone());
    let (within, without, everywhere) = confined_to(&inside.0, move || {
        let within = [
            ("create", File::create(own.join("new")).map(drop)),
            ("append", OpenOptions::new().append(true).open(own.join("new")).map(drop)),
            ("rename", rename(own.join("new"), own.join("renamed"))),
            ("look", fs::read_dir(&own).map(drop)),
            ("remove", remove(own.join("renamed"))),
        ];
        let without = [
            ("create", File::create(other.join("new")).map(drop)),
            ("append", OpenOptions::new().append(true).open(other.join("file")).map(drop)),
            ("read", File::open(other.join("file")).map(drop)),
            ("remove", remove(other.join("file"))),
            ("rename", rename(other.join("file"), other.join("other"))),
            ("take away", rename(other.join("file"), own.join("file"))),
            ("give", rename(own.join("file"), other.join("new"))),
            ("read the system", File::open("/etc/passwd").map(drop)),
        ];
        let everywhere = [
            ("start a program", Command::new("true").status().map(drop)),
            ("link", fs::hard_link(own.join("file"), own.join("other"))),
            ("link by name", symlink(other.join("file"), own.join("other"))),
            ("make a folder", fs::create_dir(own.join("folder"))),
            ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
            ("connect", TcpStream::connect("127.0.0.1:9").map(drop)),
            ("connect locally", UnixStream::connect(own.join("socket")).map(drop)),
            ("make code of data", MmapMut::map_anon(1).and_then(MmapMut::make_exec).map(drop)),
        ];
        (within, without, everywhere)
    });
    for (what, result) in within {
        result.expect(what);
    }
    assert_all_refused(&everywhere);
    // Landlock came with Linux 5.13, and takes no file to another folder before 5.19, by another error.
    if tcptrace_testing::netns::kernel_is(5, 19) {
        assert_all_refused(&without);
    } else if tcptrace_testing::netns::kernel_is(5, 13) {
        for (what, result) in &without {
            assert!(result.is_err(), "{what}");
        }
    }
    assert_eq!(fs::read(inside.0.join("file")).expect("it is there"), b"precious");
}

#[test]
fn capabilities_are_given_up_for_good() {
    // Over a file there are none, and none may be asked for: tests/sinks/confined.rs looks from outside.
    for (purpose, left) in [
        (Purpose::Live { settled: true, elsewhere: false }, &["BPF", "SYS_ADMIN"][..]),
        (Purpose::Live { settled: false, elsewhere: false }, &["BPF", "SYS_ADMIN", "NET_ADMIN", "PERFMON"]),
    ] {
        let sets = confined(purpose, || capabilities(None)).expect("its own");
        let mut names: Vec<_> = sets.permitted.iter_names().map(|(name, _)| name).collect();
        let mut expected = left.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        // As root, which these tests run as.
        assert_eq!(names, expected, "{purpose:?}");
        assert_eq!(sets.effective, sets.permitted);
        assert!(sets.inheritable.is_empty());
    }
}

#[test]
fn connections_are_accepted_where_they_are_to_be_and_nowhere_else() {
    let folder = Folder::new("serve");
    let path = folder.0.clone();
    let [ours, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let clients = [&ours, &other].map(|listener| {
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(b"question").expect("it is open");
        client
    });
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let to = udp.local_addr().expect("it is bound");
    let purpose = Purpose::Live { settled: true, elsewhere: false };
    let (attempts, question, refused) = confined_with(purpose, &[ours.as_raw_fd()], || {
        let (mut stream, _) = ours.accept().expect("it is allowed");
        let mut question = [0; 8];
        stream.read_exact(&mut question).expect("it is allowed");
        stream.write_all(b"answer").expect("it is allowed");
        stream.shutdown(Shutdown::Both).expect("it is allowed");
        let refused = vec![
            ("accept elsewhere", other.accept().map(drop)),
            ("send to any address", udp.send_to(b"x", to).map(drop)),
        ];
        (attempts(&path), question, refused)
    });
    assert_all_refused(&attempts);
    assert_all_refused(&refused);
    assert_eq!(&question, b"question");
    let [mut client, _] = clients;
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it was sent");
    assert_eq!(answer, "answer");
}

#[test]
fn the_modes_of_its_terminal_may_be_changed_and_of_no_other() {
    let pairs = [(); 2].map(|()| openpty(None, None).expect("a pseudo-terminal"));
    let [ours, other] = &pairs;
    let modes = tcgetattr(&ours.slave).expect("a terminal");
    for purpose in [Purpose::File, Purpose::Live { settled: true, elsewhere: false }] {
        let fd = ours.slave.as_raw_fd();
        let (changed, refused, size) = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                confine_at_terminal(purpose, &[], Some(fd)).expect("it can be confined");
                let change =
                    |terminal| tcsetattr(terminal, OptionalActions::Now, &modes).map_err(io::Error::from);
                (change(&ours.slave), change(&other.slave), tcgetwinsize(&ours.slave).map(drop))
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        changed.expect("it is allowed");
        size.expect("it is allowed");
        assert_all_refused(&[("change the modes of another terminal", refused)]);
    }
    let changed = confined(Purpose::File, || {
        tcsetattr(&ours.slave, OptionalActions::Now, &modes).map_err(io::Error::from)
    });
    assert_all_refused(&[("change the modes of a terminal", changed)]);
}

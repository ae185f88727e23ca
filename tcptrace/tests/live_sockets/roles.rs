//! The processes that the tests start: this program, with a role in its environment.

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
    thread::set_name,
};
use std::{
    env, fs,
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{self, Child, Command, Output, Stdio},
};

const ROLE: &str = "TCPTRACE_TEST_ROLE";

/// The names that the processes give themselves.
pub(crate) const CLIENT: &str = "tt-client";
pub(crate) const WORKER: &str = "tt-worker";

/// A client that connects, reads what the server writes, and ends. It prints [`Told`].
pub(crate) fn client(to: SocketAddr) -> Command {
    role(&format!("connect {to}"))
}

/// The same, after it has gone into a cgroup.
pub(crate) fn client_in(cgroup: &str, to: SocketAddr) -> Command {
    role(&format!("connect {to} {cgroup}"))
}

/// A client that connects, passes its socket on through `stream`, and ends. It prints [`Told`], without the worker.
pub(crate) fn giver(to: SocketAddr, stream: UnixStream) -> Command {
    let mut command = role(&format!("give {to}"));
    command.stdin(Stdio::from(OwnedFd::from(stream)));
    command
}

/// A process that gets a socket through `stream`, and does with it what a client does.
pub(crate) fn taker(stream: UnixStream) -> Command {
    let mut command = role("take");
    command.stdin(Stdio::from(OwnedFd::from(stream)));
    command
}

/// A worker that accepts connections of a listener until it is killed. To each it writes its process number and the client's port.
pub(crate) fn worker(listener: &TcpListener) -> Worker {
    let listener = listener.as_fd().try_clone_to_owned().expect("a descriptor");
    Worker(role("accept").stdin(Stdio::from(listener)).spawn().expect("this program starts"))
}

/// A worker that runs; it is killed when it is dropped.
pub(crate) struct Worker(pub(crate) Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn role(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a test has a path"));
    command.env(ROLE, role).stdin(Stdio::null());
    command
}

/// What a client tells: its port, its process number, and that of the worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) port: u16,
    pub(crate) pid: u32,
    pub(crate) worker: u32,
}

impl Told {
    /// Waits for a client's end.
    pub(crate) fn by(mut client: Command) -> Self {
        let output = client.stdout(Stdio::piped()).output().expect("this program starts");
        Self::of_output(&output)
    }

    /// By all that a client has printed.
    pub(crate) fn of_output(output: &Output) -> Self {
        assert!(output.status.success(), "{output:?}");
        Self::of(std::str::from_utf8(&output.stdout).expect("numbers"))
    }

    /// By the line of a client.
    pub(crate) fn of(line: &str) -> Self {
        let numbers: Vec<u32> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [port, pid, worker] = numbers[..] else { panic!("{line}") };
        Self { port: port.try_into().expect("a port"), pid, worker }
    }
}

/// Plays the role that the environment names. Returns false if it names none.
pub(crate) fn play() -> bool {
    let Ok(role) = env::var(ROLE) else { return false };
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["accept"] => accept(),
        ["take"] => take(),
        ["give", to] => give(to.parse().expect("an address")),
        ["connect", to] => connect(to.parse().expect("an address")),
        ["connect", to, cgroup] => {
            fs::write(format!("{cgroup}/cgroup.procs"), "0").expect("root may go there");
            connect(to.parse().expect("an address"));
        }
        _ => panic!("no role: {role}"),
    }
    true
}

fn name(name: &str) {
    set_name(&std::ffi::CString::new(name).expect("no zero byte")).expect("a name");
}

fn connect(to: SocketAddr) {
    name(CLIENT);
    read_and_tell(TcpStream::connect(to).expect("it listens"));
}

fn read_and_tell(mut stream: TcpStream) {
    let port = stream.local_addr().expect("connected").port();
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it closes");
    drop(stream);
    tell(port, said.split(' ').next().filter(|worker| !worker.is_empty()).unwrap_or("0"));
}

fn tell(port: u16, worker: &str) {
    writeln!(io::stdout(), "{port} {} {worker}", process::id()).expect("somebody reads");
}

fn give(to: SocketAddr) {
    name(CLIENT);
    let stream = TcpStream::connect(to).expect("it listens");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let sockets = [stream.as_fd()];
    assert!(rights.push(SendAncillaryMessage::ScmRights(&sockets)));
    sendmsg(io::stdin(), &[IoSlice::new(b"x")], &mut rights, SendFlags::empty()).expect("somebody takes it");
    tell(stream.local_addr().expect("connected").port(), "0");
}

fn take() {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    recvmsg(io::stdin(), &mut [IoSliceMut::new(&mut [0])], &mut rights, RecvFlags::empty())
        .expect("somebody gives it");
    let message = rights.drain().next().expect("a message");
    let RecvAncillaryMessage::ScmRights(mut sockets) = message else { panic!("it has no socket") };
    // The other process has the socket too, until it has ended: then this one is the last to have it.
    let rest = io::stdin().read(&mut [0]).expect("the other ends");
    assert_eq!(rest, 0, "it says no more");
    read_and_tell(TcpStream::from(sockets.next().expect("one")));
}

fn accept() {
    name(WORKER);
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let port = stream.peer_addr().map_or(0, |client| client.port());
        writeln!(stream, "{} {port}", process::id()).expect("the client reads");
    }
}

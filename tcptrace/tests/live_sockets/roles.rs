//! The processes that the tests start: this program, with a role in its environment.

use rustix::thread::set_name;
use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::{self, Child, Command, Stdio},
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

/// A worker that accepts connections of a listener until it is killed. To each it writes its process number.
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
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("numbers");
        let numbers: Vec<u32> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let [port, pid, worker] = numbers[..] else { panic!("{text}") };
        Self { port: port.try_into().expect("a port"), pid, worker }
    }
}

/// Plays the role that the environment names. Returns false if it names none.
pub(crate) fn play() -> bool {
    let Ok(role) = env::var(ROLE) else { return false };
    match role.split(' ').collect::<Vec<_>>()[..] {
        ["accept"] => accept(),
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
    let mut stream = TcpStream::connect(to).expect("it listens");
    let port = stream.local_addr().expect("connected").port();
    let mut worker = String::new();
    stream.read_to_string(&mut worker).expect("it closes");
    drop(stream);
    let worker = if worker.is_empty() { "0" } else { &worker };
    writeln!(io::stdout(), "{port} {} {worker}", process::id()).expect("somebody reads");
}

fn accept() {
    name(WORKER);
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned().expect("a descriptor"));
    for stream in listener.incoming() {
        write!(stream.expect("a connection"), "{}", process::id()).expect("the client reads");
    }
}

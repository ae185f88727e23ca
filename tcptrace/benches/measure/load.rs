//! The load: connections that are opened, carry an octet each way and are closed, the client first, as fast as two
//! threads for each processor make them, or at a rate. No port is used twice within two minutes, so TIME-WAIT
//! neither runs out of ports nor is cut short.

use crate::world::{ADDRESSES, SERVER, World, client_address, enter_path};
use hdrhistogram::Histogram;
use rustix::{
    net::{
        AddressFamily, Shutdown, SocketType, bind, connect, ipproto, shutdown, socket,
        sockopt::set_socket_reuseaddr,
    },
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use std::{
    error::Error,
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

/// What an ordinary connection carries; the last one of a thread carries something else, which tells the server.
const GO: u8 = b'g';
const STOP: u8 = b's';
/// Of the client; the first ones are left to whoever needs them.
const FIRST_PORT: u64 = 2000;
const PORTS: u64 = 60_000;
/// For an octet that was sent already, a retransmission included.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than one in so many that fail are an error.
const FEW: u64 = 1000;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) time: Duration,
    /// Connections a second, of all threads; None is as many as can be.
    pub(crate) rate: Option<f64>,
    /// The first thread's server listens here, the others' at the next ones.
    pub(crate) port: u16,
    pub(crate) placement: Placement,
}

/// Which processors a client and its server are on. It makes a factor of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Placement {
    /// The scheduler says, as where nobody cares.
    Free,
    /// Both on one, so each waits for the other without waking another processor up.
    Together,
    /// On two.
    Apart,
}

impl Placement {
    fn client(self, pair: u8) -> io::Result<()> {
        if self == Self::Free { Ok(()) } else { pin(pair) }
    }

    fn server(self, pair: u8) -> io::Result<()> {
        match self {
            Self::Free => Ok(()),
            Self::Together => pin(pair),
            Self::Apart => pin((pair + 1) % pairs()),
        }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// Opened, used and closed.
    pub(crate) connections: u64,
    /// Lost in a flood; or reset by the server's kernel, which does not find a socket in the instant in which it puts the connection in the
    /// place of the request (`net/ipv4/inet_hashtables.c`, `inet_ehash_insert`) if the first data come on another
    /// processor just then: some in a million, where the client's end has native XDP.
    pub(crate) failed: u64,
    pub(crate) elapsed: Duration,
    /// From connect(2) to its return, nanoseconds.
    pub(crate) connect: Histogram<u64>,
    /// CPU seconds of the clients and servers, what the kernel did on their behalf included.
    pub(crate) own_cpu: f64,
    /// CPU seconds of the whole machine meanwhile, by `/proc/stat`.
    pub(crate) machine_cpu: f64,
}

impl Made {
    /// An error if more than a few failed.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.failed * FEW > self.connections {
            return Err(format!("of {} connections {} failed", self.connections + self.failed, self.failed));
        }
        Ok(self)
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 connections")]
    pub(crate) fn rate(&self) -> f64 {
        self.connections as f64 / self.elapsed.as_secs_f64()
    }

    /// Of a figure of the whole, the part of 100,000 connections.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 connections")]
    pub(crate) fn per_100k(&self, whole: f64) -> f64 {
        whole * 1e5 / self.connections as f64
    }
}

/// Pairs of a client and a server, one for each processor.
pub(crate) fn pairs() -> u8 {
    // Asked once: of a thread that is bound to a processor the answer is one.
    static PAIRS: OnceLock<u8> = OnceLock::new();
    *PAIRS.get_or_init(|| {
        thread::available_parallelism().map_or(1, |n| u8::try_from(n.get()).unwrap_or(u8::MAX))
    })
}

/// Makes the connections.
pub(crate) fn run(world: &World, load: Load) -> Result<Made, Box<dyn Error>> {
    let listeners = (0..pairs())
        .map(|pair| {
            let address = SocketAddrV4::new(SERVER.into(), load.port + u16::from(pair));
            world.server.enter(|| TcpListener::bind(address))
        })
        .collect::<io::Result<Vec<_>>>()?;
    let (own, machine, start) = (own_cpu(), machine_cpu()?, Instant::now());
    let clients = thread::scope(|scope| -> io::Result<Vec<_>> {
        let mut threads = Vec::new();
        for (pair, listener) in (0..pairs()).zip(listeners) {
            let accepting = listener.try_clone()?;
            let server = scope.spawn(move || load.placement.server(pair).and_then(|()| serve(&accepting)));
            let namespace = world.client.path();
            let client = scope.spawn(move || {
                enter_path(&namespace);
                let made = load.placement.client(pair).and_then(|()| Client::new(pair, load).run(start));
                if made.is_err() {
                    // So that the server does not wait for the next one.
                    shutdown(&listener, Shutdown::Both)?;
                }
                made
            });
            threads.push((client, server));
        }
        let join = |(client, server): (ScopedJoinHandle<'_, _>, ScopedJoinHandle<'_, io::Result<()>>)| {
            let made: io::Result<Client> =
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")));
            let served = server.join().unwrap_or_else(|_| Err(io::Error::other("a server panicked")));
            // The client's error is the cause of the server's.
            made.and_then(|made| served.map(|()| made))
        };
        threads.into_iter().map(join).collect()
    })?;
    let (elapsed, own_cpu, machine_cpu) = (start.elapsed(), own_cpu() - own, machine_cpu()? - machine);
    let mut connect = histogram();
    for client in &clients {
        connect.add(&client.connect)?;
    }
    let (connections, failed) = (connect.len(), clients.iter().map(|client| client.failed).sum());
    Ok(Made { connections, failed, elapsed, connect, own_cpu, machine_cpu })
}

fn pin(processor: u8) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor.into());
    Ok(sched_setaffinity(None, &set)?)
}

/// One thread's side of the clients.
struct Client {
    pair: u8,
    load: Load,
    connect: Histogram<u64>,
    failed: u64,
}

impl Client {
    fn new(pair: u8, load: Load) -> Self {
        Self { pair, load, connect: histogram(), failed: 0 }
    }

    fn run(mut self, start: Instant) -> io::Result<Self> {
        let step = self.load.rate.map(|rate| Duration::from_secs_f64(f64::from(pairs()) / rate));
        let mut next = start;
        while start.elapsed() < self.load.time {
            if let Some(step) = step {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                next += step;
            }
            self.once(GO)?;
        }
        while !self.once(STOP)? {}
        Ok(self)
    }

    /// False if it failed as some do.
    fn once(&mut self, octet: u8) -> io::Result<bool> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Never the same on two threads: each has addresses of its own, and numbers of all.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let index = (number / PORTS % u64::from(ADDRESSES)).to_le_bytes()[0];
        let port = u16::try_from(FIRST_PORT + number % PORTS).map_err(io::Error::other)?;
        let from = SocketAddrV4::new(client_address(self.pair, index).into(), port);
        let to = SocketAddrV4::new(Ipv4Addr::from(SERVER), self.load.port + u16::from(self.pair));

        let fd = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        set_socket_reuseaddr(&fd, true)?;
        bind(&fd, &from)?;
        let start = Instant::now();
        connect(&fd, &to)?;
        let took = start.elapsed();
        let mut stream = TcpStream::from(fd);
        stream.set_read_timeout(Some(PATIENCE))?;
        let used = stream.write_all(&[octet]).and_then(|()| stream.read_exact(&mut [0]));
        drop(stream);
        if let Err(error) = used {
            self.failed += 1;
            // In a flood an octet and all its retransmissions may be lost; and a server whose patience ended has closed.
            let is_usual = matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof
            );
            return if is_usual { Ok(false) } else { Err(error) };
        }
        self.connect.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        Ok(true)
    }
}

/// Answers until told to stop.
fn serve(listener: &TcpListener) -> io::Result<()> {
    let mut octet = [0];
    while octet[0] != STOP {
        let (mut stream, _) = listener.accept()?;
        // Of one that failed the client alone may know.
        stream.set_read_timeout(Some(PATIENCE / 10))?;
        if stream.read_exact(&mut octet).and_then(|()| stream.write_all(&octet)).is_ok() {
            // The client closes first; what it sends is only its FIN.
            let _ = stream.read(&mut [0]);
        }
    }
    Ok(())
}

/// Up to a minute, three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .unwrap_or_else(|error| panic!("constant bounds: {error}"))
}

/// CPU seconds of this process so far.
#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU seconds of the whole machine so far: everything in the first line of `/proc/stat` (proc(5)) that is neither
/// idle, waiting nor stolen.
pub(crate) fn machine_cpu() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/stat")?;
    let numbers =
        stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or("/proc/stat is odd")?;
    let ticks = numbers.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [user, nice, system, _idle, _wait, irq, softirq, ..] = ticks[..] else {
        return Err("/proc/stat is short".into());
    };
    let busy = user + nice + system + irq + softirq;
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}
